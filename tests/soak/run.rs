//! A run from its start to its end, and the two tests.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use tokio::task::JoinSet;

use crate::{
    city::{City, Rider},
    hour::{self, Watcher},
    judge,
    killer::kill,
    load::{Load, Shared},
    oracle::Promise,
    plan::{Class, Plan, REPLICAS},
    report,
    stand::{Stand, Temper, lock},
    taps::{story, visit},
};

/// In one run of `make test`.
const KILLS: usize = 8;
const SLICE: Duration = Duration::from_secs(15);
const RATE: u32 = 25;
/// Partners' calls at once while everybody is linked, and looked at.
const AT_ONCE: usize = 12;
/// What is known a while before anything is killed.
const TOGETHER: Duration = Duration::from_millis(500);

const PROMISE: Promise = Promise {
    in_force: Duration::from_secs(1),
    recovered: Duration::from_secs(5),
    told: Duration::from_secs(7),
    hurries: true,
};
/// On a machine that does other things too.
const PATIENT: Promise = Promise {
    in_force: Duration::from_secs(10),
    recovered: Duration::from_mins(1),
    told: Duration::from_mins(1),
    hurries: true,
};

pub fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name}={value}: expected a number")))
}

fn seed() -> u64 {
    let seed = from_environment("RIDEGATE_SOAK_SEED").unwrap_or_else(|| rand::random::<u32>().into());
    println!("RIDEGATE_SOAK_SEED={seed}");
    seed
}

#[test]
fn kills_at_constant_load_lose_nothing_and_let_nobody_in() {
    let kills = from_environment("RIDEGATE_SOAK_KILLS");
    let plan = Plan::of_kills(
        seed(),
        kills.unwrap_or(KILLS),
        from_environment("RIDEGATE_SOAK_RATE").unwrap_or(RATE),
    );
    let promise = if kills.is_some() { PROMISE } else { PATIENT };
    in_runtime(async {
        let load = open(plan, Temper::Patient, promise, None).await;
        let killer = tokio::spawn(kill(Arc::clone(&load), load.plan.outages.clone()));
        drive(&load).await;
        killer.await.unwrap();
        look_at_everything(&load).await;
        report::print(&load);
        assert!(!load.is_over(), "stopped before its end");
        report::assert_right(&load, kills.is_some());
        report::assert_worth_it(&load);
    });
}

#[test]
fn churn_at_constant_load_keeps_memory_and_latency_flat() {
    let minutes: Option<f64> = from_environment("RIDEGATE_SOAK_MINUTES");
    let lasts = minutes.map_or(SLICE, |minutes| Duration::from_secs_f64(minutes * 60.0));
    let millis = u32::try_from(lasts.as_millis()).unwrap();
    let plan = Plan::of_time(seed(), millis, from_environment("RIDEGATE_SOAK_RATE").unwrap_or(RATE));
    let (promise, temper) = match minutes {
        Some(_) => (PROMISE, Temper::AsShipped),
        None => (PATIENT, Temper::Patient),
    };
    in_runtime(async {
        let keeps = Duration::from_secs(if minutes.is_some() { 20 } else { 3 });
        let load = open(plan, temper, promise, Some(keeps)).await;
        let watcher = Watcher::begin(Arc::clone(&load), hour::file(), lasts);
        let killer = tokio::spawn(kill(Arc::clone(&load), load.plan.outages.clone()));
        drive(&load).await;
        killer.await.unwrap();
        let rows = watcher.end().await;
        look_at_everything(&load).await;
        report::print(&load);
        report::assert_right(&load, minutes.is_some());
        assert!(!load.is_over(), "stopped before its end");
        report::assert_worth_it(&load);
        assert!(rows.len() >= 3, "nothing was watched");
        if let Some(wrong) = minutes.and_then(|_| judge::print(&rows)) {
            panic!("{wrong}");
        }
    });
}

fn in_runtime(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(work);
}

/// Starts everything; everybody who is there from the start is linked.
async fn open(plan: Plan, temper: Temper, promise: Promise, keeps: Option<Duration>) -> Shared {
    println!("plan {}: {}", plan.digest(), report::of_plan(&plan));
    let opened = tokio::task::spawn_blocking(move || {
        let mut city = City::of(&plan);
        let stand = Stand::start(&mut city, temper);
        Load::new(plan, city, stand, promise, keeps)
    });
    let mut load = opened.await.unwrap();
    eprintln!("{}: {REPLICAS} replicas serve", load.stand.binary().display());
    for (class, rider) in load.city.riders() {
        if let Some(facts) = class.facts(&load.stand.clock) {
            load.stand.authority.set(&rider.subject, facts);
        }
    }
    let riders: Vec<(Class, Rider)> =
        load.city.riders().map(|(class, rider)| (class, rider.clone())).collect();
    let linked = riders.iter().filter(|(class, _)| class.is_linked());
    stream::iter(linked.enumerate())
        .for_each_concurrent(AT_ONCE, |(number, (_, rider))| {
            let (load, replica) = (&load, u8::try_from(number % usize::from(REPLICAS)).unwrap());
            async move {
                load.link(rider, replica).await;
            }
        })
        .await;
    tokio::time::sleep(TOGETHER).await;
    load.begin();
    Arc::new(load)
}

/// Everything of the plan at its time; returns when everything was answered.
async fn drive(load: &Shared) {
    let stop = tokio::spawn({
        let load = Arc::clone(load);
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                eprintln!("told to stop");
                load.finish();
            }
        }
    });
    let stories = tokio::spawn({
        let load = Arc::clone(load);
        async move {
            let mut tasks = JoinSet::new();
            for (number, one) in load.plan.stories.iter().enumerate() {
                load.wait_until(Duration::from_millis(one.at.into())).await;
                if load.is_over() {
                    break;
                }
                tasks.spawn(story(Arc::clone(&load), number));
                reap(&mut tasks);
            }
            tasks.join_all().await;
        }
    });
    let mut tasks = JoinSet::new();
    for (number, one) in load.plan.visits.iter().enumerate() {
        load.wait_until(Duration::from_millis(one.at.into())).await;
        if load.is_over() {
            break;
        }
        tasks.spawn(visit(Arc::clone(load), number));
        reap(&mut tasks);
    }
    tasks.join_all().await;
    stories.await.unwrap();
    stop.abort();
}

fn reap(tasks: &mut JoinSet<()>) {
    while let Some(done) = tasks.try_join_next() {
        done.unwrap();
    }
}

/// Every account is as it was acknowledged, at a replica of the seed's.
async fn look_at_everything(load: &Shared) {
    // Ctrl-C ends the replicas too.
    if load.is_over() {
        return;
    }
    let mut rng = ChaCha20Rng::seed_from_u64(load.plan.seed);
    let accounts = load.ledger.accounts();
    let accounts = accounts.into_iter().map(|account| (account, rng.random_range(0..REPLICAS)));
    stream::iter(accounts)
        .for_each_concurrent(AT_ONCE, |((partner, medium, linked), replica)| async move {
            load.look(&partner, &medium, linked, replica).await;
        })
        .await;
    let looked_at = load.ledger.looked_at.load(Relaxed);
    assert!(looked_at > 0 && !lock(&load.records).samples.is_empty(), "a run with something to lose");
}
