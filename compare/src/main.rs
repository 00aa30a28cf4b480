//! Ridegate beside what its users would pick instead, in one run on one machine: CPU of each server's process for one answer,
//! over mTLS, eight connections, sixty-four questions at once. `make compare` does it all.
//!
//! A peer answers a question of the same kind as cheaply as it can: whether one more tap of a partner's is within its budget. It
//! checks no signature, finds no link, applies no policy.

mod drive;
mod serve;

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use mimalloc::MiMalloc;
use ridegate_sim::machine;
use serde_json::Value;

use self::serve::Peer;

/// The peers' too: as cheap as they can be.
#[global_allocator]
static MEMORY: MiMalloc = MiMalloc;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Serve as one of those that are compared.
    Serve {
        peer: Peer,
        #[arg(long)]
        pki: PathBuf,
    },
    /// Compare.
    Run {
        /// The gateway.
        #[arg(long)]
        gateway: PathBuf,
        /// The same gateway, which verifies with the sm2 crate.
        #[arg(long)]
        kept: PathBuf,
        /// How long each is measured.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
}

/// One line of the table.
struct Row {
    name: String,
    answers_per_second: f64,
    cpu_us: f64,
    r_us: f64,
    memory_mb: f64,
}

#[tokio::main]
async fn main() -> Result<()> {
    match Cli::parse().command {
        Action::Serve { peer, pki } => serve::run(peer, &pki).await,
        Action::Run { gateway, kept, seconds } => {
            let mut rows = Vec::new();
            for peer in Peer::value_variants() {
                rows.push(drive::measure(*peer, Duration::from_secs(seconds)).await?);
            }
            for case in [RAN_OUT, RAN_OUT.on_streams(), KNOWN, KNOWN.on_streams(), NEW_PHONES] {
                rows.push(case.measure(&gateway, "ridegate", seconds)?);
            }
            for case in [KNOWN, NEW_PHONES] {
                rows.push(case.measure(&kept, "ridegate with the sm2 crate", seconds)?);
            }
            show(&rows);
            Ok(())
        }
    }
}

/// What the gateway is shown.
struct Case {
    name: &'static str,
    /// One stream for a connection's taps, as stations send them, instead of a call for each.
    stream: bool,
    new_phones: &'static str,
    expired: &'static str,
}

/// Refused before any signature: what a rate limit does, and more.
const RAN_OUT: Case = Case { name: "codes that ran out", stream: false, new_phones: "0", expired: "100%" };
const KNOWN: Case =
    Case { name: "riders and phones it knows, one signature", stream: false, new_phones: "0", expired: "0" };
const NEW_PHONES: Case =
    Case { name: "new phones, two signatures", stream: false, new_phones: "100%", expired: "0" };

/// As many calls at once as the peers are asked; by itself a gateway would say that so many are too much for two cores.
const AT_ONCE: &str = "64";
const PATIENT: &str = "[verdict]\nbudget = \"10s\"\nwait = \"10s\"\n";

impl Case {
    const fn on_streams(self) -> Self {
        Self { stream: true, ..self }
    }

    fn measure(&self, gateway: &Path, name: &str, seconds: u64) -> Result<Row> {
        let folder = tempfile::tempdir()?;
        let json = folder.path().join("bench.json");
        let done = Command::new(gateway)
            .args(["bench", "--max", "--seconds", &seconds.to_string()])
            .args(["--connections", "8", "--at-once", AT_ONCE, "--config", PATIENT])
            .args(["--fresh", "0", "--new-phones", self.new_phones, "--expired", self.expired])
            .args(self.stream.then_some("--stream"))
            .args(["--replays", "0", "--forged", "0", "--json"])
            .arg(&json)
            .output()
            .with_context(|| gateway.display().to_string())?;
        let said = [done.stdout, done.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        ensure!(done.status.success(), "{}", said.concat());
        let report: Value = serde_json::from_str(&std::fs::read_to_string(json)?)?;
        let step = report["steps"].get(0).context("no measurement")?;
        let number = |name: &str| step[name].as_f64().context("a number");
        Ok(Row {
            name: format!("{name}{}: {}", if self.stream { ", streams" } else { "" }, self.name),
            answers_per_second: number("answered_per_second")?,
            cpu_us: number("cpu_us_per_verdict")?,
            r_us: number("r_us")?,
            memory_mb: number("memory_bytes")? / 1e6,
        })
    }
}

#[expect(clippy::print_stdout, reason = "the result")]
fn show(rows: &[Row]) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "over mTLS, 8 connections, 64 at once",
        "answers/s",
        "CPU µs each",
        "÷ R",
        "R µs",
        "MB",
    ]);
    for Row { name, answers_per_second, cpu_us, r_us, memory_mb } in rows {
        table.add_row([
            name.clone(),
            format!("{answers_per_second:.0}"),
            format!("{cpu_us:.1}"),
            format!("{:.2}", cpu_us / r_us),
            format!("{r_us:.0}"),
            format!("{memory_mb:.0}"),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    println!("{table}");
}

/// R, now.
fn unit() -> Result<f64> {
    machine::unit().context("R cannot be measured here")
}
