//! Fills a registry with links and looks them up, and tells how long it took.
//!
//! `cargo run --release -p ridegate-gateway --example registry_load -- <SQLite file | postgres://…> <links> [<links> …]`
//!
//! The links come through batches, as a card company's do, but for the health authority. At every number of links the
//! look-up is measured: by random account, one in ten of nobody's. `scripts/registry-load` does it all, with a PostgreSQL
//! of its own.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use jiff::Timestamp;
use rand::RngExt;
use ridegate_adapters::{Account, CardKind, Medium, PartnerId};
use ridegate_gateway::{
    backends::registry::{Batch, BatchRow, Location, Registry},
    domain::{facts::Subject, link::Consent},
    keyring::{Keyring, Use},
};
use tokio::task::JoinSet;

const ROWS: u64 = 500;
const ASKERS: usize = 8;
const ASKED_FOR: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let location = if arguments[0].starts_with("postgres") {
        Location::server(&arguments[0], None, 32, true).unwrap()
    } else {
        Location::File(PathBuf::from(&arguments[0]))
    };
    let keys = Arc::new(Keyring::new(&[7; 32]));
    if arguments[0].starts_with("postgres") {
        Registry::migrate(&location, Arc::clone(&keys)).await.unwrap();
    }
    let registry = Arc::new(Registry::open(&location, Arc::clone(&keys)).await.unwrap());
    let writers = if arguments[0].starts_with("postgres") { 4 } else { 1 };
    let mut linked = 0;
    for goal in arguments[1..].iter().map(|goal| goal.parse::<u64>().unwrap()) {
        fill(&registry, &keys, linked, goal, writers).await;
        linked = goal;
        look_up(&registry, &keys, linked).await;
    }
    registry.close().await;
}

fn card(number: u64) -> Medium {
    let issuer = "01001001".parse().unwrap();
    Medium::Card { kind: CardKind::SeniorCard, issuer, number: Account::new(format!("{number:016}")) }
}

/// Each writer has a batch of its own.
async fn fill(registry: &Arc<Registry>, keys: &Arc<Keyring>, from: u64, to: u64, writers: u64) {
    let (began, next) = (Instant::now(), Arc::new(AtomicU64::new(from)));
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let (registry, keys, next) = (Arc::clone(registry), Arc::clone(keys), Arc::clone(&next));
        tasks.spawn(async move {
            let consent = Consent {
                wording_version: "2022-06".into(),
                granted_at: Timestamp::UNIX_EPOCH,
                purpose: "health check at gates".into(),
            };
            let batch = Batch {
                key: keys.pseudonym(Use::Batch, &[&from.to_be_bytes(), &writer.to_be_bytes()]),
                partner: PartnerId::new("yikatong").unwrap(),
                consent,
                channel: 4,
            };
            let mut done = 0;
            loop {
                let first = next.fetch_add(ROWS, Relaxed);
                if first >= to {
                    return;
                }
                let holder = |number: u64| Subject::new(format!("{number:032x}"));
                let rows: Vec<_> = (first..(first + ROWS).min(to))
                    .map(|number| BatchRow::Card(card(number), holder(number)))
                    .collect();
                done = registry.carry_out(&batch, done, &rows, Timestamp::UNIX_EPOCH).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    let took = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "printed with no decimals")]
    let rate = (to - from) as f64 / took;
    println!("links {from} to {to}: {took:.1} s, {rate:.0} a second, {writers} at once");
}

async fn look_up(registry: &Arc<Registry>, keys: &Arc<Keyring>, linked: u64) {
    let mut tasks = JoinSet::new();
    let began = Instant::now();
    for _ in 0..ASKERS {
        let (registry, keys) = (Arc::clone(registry), Arc::clone(keys));
        tasks.spawn(async move {
            let mut took = Histogram::<u64>::new(3).unwrap();
            while began.elapsed() < ASKED_FOR {
                let number = rand::rng().random_range(0..linked + linked / 9);
                let names = keys.link_names(None, &card(number));
                let asked = Instant::now();
                let found = registry.find(&names).await.unwrap();
                took.record(asked.elapsed().as_micros().try_into().unwrap()).unwrap();
                assert_eq!(found.is_some(), number < linked);
            }
            took
        });
    }
    let mut all = Histogram::<u64>::new(3).unwrap();
    for took in tasks.join_all().await {
        all.add(took).unwrap();
    }
    let at = |quantile: f64| all.value_at_quantile(quantile);
    println!(
        "at {linked} links: {} look-ups in {} s by {ASKERS} at once, p50 {} µs, p99 {} µs, p99.9 {} µs",
        all.len(),
        ASKED_FOR.as_secs(),
        at(0.5),
        at(0.99),
        at(0.999)
    );
}
