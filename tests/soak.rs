//! Kills and restarts of everything under constant load, and an hour of it: four replicas of the real binary on one
//! PostgreSQL, one Redis and one authority, with certificates, while clients tap and link. See `docs/soak.md`.
//!
//! `RIDEGATE_SOAK_SEED` repeats a run's plan, `RIDEGATE_SOAK_KILLS` and `RIDEGATE_SOAK_MINUTES` make it longer,
//! `RIDEGATE_SOAK_RATE` is verdicts a second, `RIDEGATE_SOAK_BINARY` the gateway that is run. `make test` runs a slice.
#![allow(clippy::cast_precision_loss, clippy::unchecked_time_subtraction)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs, clippy::print_stdout, clippy::print_stderr)]

#[path = "e2e/postgres.rs"]
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
mod postgres;
#[path = "e2e/process.rs"]
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
mod process;
#[path = "e2e/redis.rs"]
#[allow(dead_code, reason = "the end-to-end tests use more of it")]
mod redis;

#[path = "soak/city.rs"]
mod city;
#[path = "soak/history.rs"]
mod history;
#[path = "soak/hour.rs"]
mod hour;
#[path = "soak/judge.rs"]
mod judge;
#[path = "soak/killer.rs"]
mod killer;
#[path = "soak/links.rs"]
mod links;
#[path = "soak/load.rs"]
mod load;
#[path = "soak/oracle.rs"]
mod oracle;
#[path = "soak/plan.rs"]
mod plan;
#[path = "soak/report.rs"]
mod report;
#[path = "soak/run.rs"]
mod run;
#[path = "soak/stand.rs"]
mod stand;
#[path = "soak/taps.rs"]
mod taps;
