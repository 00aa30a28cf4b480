//! Measures a fleet: replicas of the gateway as processes, with and without a Redis that they share, under taps of linked
//! riders, and tells what a verdict costs each of them.
//!
//! `scripts/fleet-load` does it all. By hand: `cargo run --release -p ridegate-sim --example fleet_load -- --gateway
//! target/release/ridegate [--riders 4000] [--replicas 1,2,4] [--registry postgres://… --postmaster PID] [--json FILE]`; with
//! `--overload SECONDS [--connections 10000] [--more TOML]` what one gateway does when far too much is asked of it.
//!
//! Everything is on loopback, is started here and ended here. Codes are signed before anything is measured. Times of the
//! CPU are the processes' own (`/proc`); R is one ECDSA P-256 verification by aws-lc-rs, measured beside every case.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_precision_loss,
    missing_docs
)]

mod crowd;
mod load;
mod overload;
mod stand;
mod tables;

use std::{path::PathBuf, time::Duration};

use ridegate_sim::{machine, redis::Redis};
use tokio::time::{sleep, timeout};

use crate::{
    crowd::{Case, Crowd},
    stand::{Fleet, Stand},
    tables::{Kept, Row, Run},
};

/// However slow the machine, nothing of it is left after so long.
const AT_MOST: Duration = Duration::from_mins(15);
const IDLE_FOR: Duration = Duration::from_secs(3);

pub struct Arguments {
    gateway: PathBuf,
    riders: usize,
    replicas: Vec<usize>,
    registry: Option<String>,
    postmaster: Option<u32>,
    json: Option<PathBuf>,
    /// Seconds of three times as much as can be done, instead of a fleet.
    overload: Option<u64>,
    /// Connections at once while it answers.
    connections: usize,
    /// The core that gateways have to themselves.
    core: Option<usize>,
    /// More configuration, in TOML.
    more: String,
}

impl Arguments {
    fn read() -> Self {
        let mut read = Self {
            gateway: "target/release/ridegate".into(),
            riders: 4000,
            replicas: vec![1, 2, 4],
            registry: None,
            postmaster: None,
            json: None,
            overload: None,
            connections: 10_000,
            core: None,
            more: String::new(),
        };
        let mut given = std::env::args().skip(1);
        while let Some(name) = given.next() {
            let value = given.next().unwrap_or_else(|| panic!("{name} needs a value"));
            match name.as_str() {
                "--gateway" => read.gateway = value.into(),
                "--riders" => read.riders = value.parse().unwrap(),
                "--replicas" => read.replicas = value.split(',').map(|one| one.parse().unwrap()).collect(),
                "--registry" => read.registry = Some(value),
                "--postmaster" => read.postmaster = Some(value.parse().unwrap()),
                "--overload" => read.overload = Some(value.parse().unwrap()),
                "--connections" => read.connections = value.parse().unwrap(),
                "--core" => read.core = Some(value.parse().unwrap()),
                "--more" => read.more = value,
                "--json" => read.json = Some(value.into()),
                _ => panic!("{name} is not known"),
            }
        }
        assert!((1..=100_000).contains(&read.riders), "--riders: 1 to 100000");
        assert!(read.replicas.iter().all(|count| (1..=16).contains(count)), "--replicas: 1 to 16 each");
        read
    }
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::read();
    tokio::select! {
        done = timeout(AT_MOST, measure(&arguments)) => done.expect("it took too long"),
        _ = tokio::signal::ctrl_c() => println!("stopped"),
    }
}

async fn measure(arguments: &Arguments) {
    let mut stand = Stand::build(arguments);
    println!("{} riders link, their codes are signed", arguments.riders);
    let crowd = Crowd::gather(arguments.riders, &stand).await;
    if let Some(seconds) = arguments.overload {
        return overload::run(&mut stand, &crowd, Duration::from_secs(seconds), arguments.connections).await;
    }
    let mut runs = Vec::new();
    for redis in [false, true] {
        for replicas in arguments.replicas.iter().copied() {
            let run = run(&stand, &crowd, replicas, redis).await;
            println!("\n{run}");
            runs.push(run);
        }
    }
    if let Some(file) = &arguments.json {
        std::fs::write(file, serde_json::to_string_pretty(&runs).unwrap() + "\n").unwrap();
        println!("\nall of it: {}", file.display());
    }
}

/// One fleet, new processes and an empty Redis, from its first verdict on.
async fn run(stand: &Stand, crowd: &Crowd, replicas: usize, with_redis: bool) -> Run {
    let redis =
        if with_redis { Some(Redis::start(&stand.folder().join("redis")).await.unwrap()) } else { None };
    let fleet = Fleet::start(stand, replicas, redis).await;
    let connections = load::connect(&fleet).await;
    load::warm_up(&connections, crowd, replicas).await;
    let memory = fleet.redis_memory().await;
    let mut rows = Vec::new();
    for case in Case::ALL.into_iter().filter(|case| replicas > 1 || *case != Case::Second) {
        rows.push(one(case, &fleet, &connections, crowd).await);
    }
    let kept = match memory {
        Some(before) => Some(Kept::of(&fleet, before, &rows).await),
        None => None,
    };
    let before = fleet.counts().await;
    sleep(IDLE_FOR).await;
    let idle = fleet.counts().await.since(&before).over(IDLE_FOR);
    Run { replicas, redis: with_redis, registry: stand.registry_name(), rows, kept, idle }
}

async fn one(case: Case, fleet: &Fleet, connections: &load::Connections, crowd: &Crowd) -> Row {
    let taps = crowd.taps(case, fleet.replicas());
    let unit_before = machine::unit().unwrap();
    let before = fleet.counts().await;
    let seen = connections.show(taps).await;
    let counts = fleet.counts().await.since(&before);
    let unit = f64::midpoint(unit_before, machine::unit().unwrap());
    Row::new(case, seen, &counts, unit)
}
