//! End to end: a real gateway over real gRPC, a real SQLite file, an authority on loopback. Clocks stand still and
//! are moved by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(missing_docs, clippy::print_stdout)]

#[path = "e2e/card_desk.rs"]
mod card_desk;
#[path = "e2e/errands.rs"]
mod errands;
#[path = "e2e/frames.rs"]
mod frames;
#[path = "e2e/house.rs"]
mod house;
#[path = "e2e/postgres.rs"]
mod postgres;
#[path = "e2e/process.rs"]
mod process;
#[path = "e2e/redis.rs"]
mod redis;

#[path = "e2e/app_versions.rs"]
mod app_versions;
#[path = "e2e/architecture.rs"]
mod architecture;
#[path = "e2e/asking.rs"]
mod asking;
#[path = "e2e/bad_input.rs"]
mod bad_input;
#[path = "e2e/batch_failures.rs"]
mod batch_failures;
#[path = "e2e/batch_streams.rs"]
mod batch_streams;
#[path = "e2e/batches.rs"]
mod batches;
#[path = "e2e/bench.rs"]
mod bench;
#[path = "e2e/binary.rs"]
mod binary;
#[path = "e2e/breakers.rs"]
mod breakers;
#[path = "e2e/canary.rs"]
mod canary;
#[path = "e2e/cards.rs"]
mod cards;
#[path = "e2e/certificates.rs"]
mod certificates;
#[path = "e2e/claims.rs"]
mod claims;
#[path = "e2e/crashes.rs"]
mod crashes;
#[path = "e2e/delegations.rs"]
mod delegations;
#[path = "e2e/digits.rs"]
mod digits;
#[path = "e2e/drills.rs"]
mod drills;
#[path = "e2e/facts.rs"]
mod facts;
#[path = "e2e/failures.rs"]
mod failures;
#[path = "e2e/faults/mod.rs"]
mod faults;
#[path = "e2e/fleet.rs"]
mod fleet;
#[path = "e2e/fleet_quotas.rs"]
mod fleet_quotas;
#[path = "e2e/foreign.rs"]
mod foreign;
#[path = "e2e/front_door.rs"]
mod front_door;
#[path = "e2e/hostile.rs"]
mod hostile;
#[path = "e2e/import.rs"]
mod import;
#[path = "e2e/in_force.rs"]
mod in_force;
#[path = "e2e/leaks.rs"]
mod leaks;
#[path = "e2e/leaving.rs"]
mod leaving;
#[path = "e2e/linking_cards.rs"]
mod linking_cards;
#[path = "e2e/links.rs"]
mod links;
#[path = "e2e/lost_cards.rs"]
mod lost_cards;
#[path = "e2e/observed.rs"]
mod observed;
#[path = "e2e/overload.rs"]
mod overload;
#[path = "e2e/partner_check.rs"]
mod partner_check;
#[path = "e2e/partners.rs"]
mod partners;
#[path = "e2e/pictures.rs"]
mod pictures;
#[path = "e2e/quotas.rs"]
mod quotas;
#[path = "e2e/redis_lines.rs"]
mod redis_lines;
#[path = "e2e/redis_settings.rs"]
mod redis_settings;
#[path = "e2e/registry/mod.rs"]
mod registry;
#[path = "e2e/registry_tls.rs"]
mod registry_tls;
#[path = "e2e/replicas.rs"]
mod replicas;
#[path = "e2e/resolvers.rs"]
mod resolvers;
#[path = "e2e/restarts.rs"]
mod restarts;
#[path = "e2e/roles.rs"]
mod roles;
#[path = "e2e/shared_readings.rs"]
mod shared_readings;
#[path = "e2e/stream.rs"]
mod stream;
#[path = "e2e/tickets.rs"]
mod tickets;
#[path = "e2e/upkeep.rs"]
mod upkeep;
#[path = "e2e/vectors.rs"]
mod vectors;
