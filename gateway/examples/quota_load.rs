//! Floods a partner's budget at four replicas on one Redis, and tells how much was admitted of what one budget allows.
//!
//! `cargo run --release -p ridegate-gateway --example quota_load -- redis://127.0.0.1:6379 [<seconds>]`
//!
//! For every rate, load and way in which the load falls on the replicas: of rate × time + burst, and of rate × time alone;
//! and the same with four that count alone. Empty the Redis before, or wait a second or two between runs.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use ridegate_adapters::{Account, CardKind, Partners, Profile};
use ridegate_gateway::{
    admission::{
        cards::{CardLimits, CardTaps},
        identity::Validator,
        quota::{DefaultRates, Fleet, Quotas},
        rate::Rate,
        tap::{Card, Device},
    },
    backends::redis::{Access, Bank, Form, Place, Redis},
    cores::Cores,
    health::Health,
    keyring::Keyring,
    metrics::Metrics,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

const SHARES: [[f64; 4]; 3] = [[0.7, 0.2, 0.08, 0.02], [0.25; 4], [1.0, 0.0, 0.0, 0.0]];

struct Replica {
    quotas: Arc<Quotas>,
    partner: Arc<Profile>,
    _beside: JoinSet<()>,
}

impl Replica {
    /// Of one fleet are those of one secret.
    fn new(redis: Option<&str>, rate: Rate, secret: u8) -> Self {
        let (metrics, mut beside) = (Arc::new(Metrics::default()), JoinSet::new());
        let fleet = redis.map(|url| {
            let place = Place {
                form: Form::Single,
                nodes: vec![Place::node(url).unwrap()],
                access: Access::default(),
                sentinel_access: Access::default(),
                timeout: Duration::from_millis(250),
                certificates: None,
            };
            let redis = Redis::new(place, &Cores::here(), metrics.upstream("redis"), Health::new(false));
            beside.spawn(Arc::clone(&redis).keep());
            Fleet::new(Bank::new(redis, &Keyring::new(&[secret; 32])), metrics.quotas())
        });
        let partners = Partners::shipped().unwrap();
        let partner = Arc::new(partners.iter().next().unwrap().clone());
        let rates = DefaultRates { codes: rate, calls: rate };
        let quotas = Arc::new(Quotas::new(&partners, rates, fleet.as_deref(), metrics));
        if let Some(fleet) = fleet {
            let quotas = Arc::clone(&quotas);
            beside.spawn(fleet.keep(move || quotas.budgets()));
        }
        Self { quotas, partner, _beside: beside }
    }

    fn is_one_of(&self, replicas: u32) -> bool {
        let stand = self.quotas.stand(&self.partner.id).unwrap();
        stand.whole_fleet && stand.replicas == replicas
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap();
    let seconds = arguments.next().map_or(5, |seconds| seconds.parse().unwrap());
    println!("rate burst | load × rate | shares | of rate·T + burst | of rate·T | of what was wanted");
    let mut secret = 0;
    for (per_second, burst) in [(2000, 4000), (1000, 1000), (1000, 100), (100, 100), (20, 20), (5, 2), (1, 1)]
    {
        let one = |number| NonZeroU32::new(number).unwrap();
        let rate = Rate { per_second: one(per_second), burst: one(burst) };
        for load in [0.8, 1.5, 10.0] {
            for (shares, leased) in
                SHARES.map(|shares| (shares, true)).into_iter().chain([(SHARES[1], false)])
            {
                secret += 1;
                let redis = leased.then_some(&*url);
                let replicas: Vec<_> = (0..4).map(|_| Replica::new(redis, rate, secret)).collect();
                while leased && !replicas.iter().all(|replica| replica.is_one_of(4)) {
                    sleep(Duration::from_millis(10)).await;
                }
                flood(&replicas, rate, load, shares, seconds, leased).await;
            }
        }
    }
    burst(&url).await;
}

async fn flood(replicas: &[Replica], rate: Rate, load: f64, shares: [f64; 4], seconds: u64, leased: bool) {
    let (began, time) = (Instant::now(), Duration::from_secs(seconds));
    let mut floods = JoinSet::new();
    for (replica, share) in replicas.iter().zip(shares) {
        let wanted = load * f64::from(rate.per_second.get()) * share;
        floods.spawn(spend(Arc::clone(&replica.quotas), Arc::clone(&replica.partner), began, time, wanted));
    }
    let came = floods.join_all().await;
    let took = began.elapsed().as_secs_f64();
    let (wanted, admitted) = came.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let come_in = f64::from(rate.per_second.get()) * took;
    let (admitted, burst) = (f64::from(admitted), f64::from(rate.burst.get()));
    println!(
        "{:>5} {:>5} | {load:>4} | {shares:?}{} | {:.3} | {:.3} | {:.3}",
        rate.per_second,
        rate.burst,
        if leased { "" } else { " each alone" },
        admitted / (come_in + burst),
        admitted / come_in,
        admitted / f64::from(wanted.max(1)),
    );
}

/// So many codes a second; how many were wanted and admitted.
async fn spend(
    quotas: Arc<Quotas>,
    partner: Arc<Profile>,
    began: Instant,
    time: Duration,
    per_second: f64,
) -> (u32, u32) {
    let many = NonZeroU32::new(1_000_000).unwrap();
    let limits = CardLimits { taps: Rate { per_second: many, burst: many }, many: 90, window: time };
    let reader = CardTaps::new(limits, Arc::new(Keyring::new(&[1; 32])), Arc::default());
    let validator = Validator { operator: "o".into(), device: "d".into() };
    let card = Card {
        kind: CardKind::YikatongCard,
        issuer: "01001000".parse().unwrap(),
        number: Account::new("1000751012345678"),
    };
    let device = Device { validator, gate: String::new() };
    let tapped = reader.tap(&card, &device).unwrap();
    let (mut wanted, mut admitted) = (0_u32, 0_u32);
    while began.elapsed() < time {
        sleep(Duration::from_millis(1)).await;
        while f64::from(wanted) < began.elapsed().as_secs_f64() * per_second {
            wanted += 1;
            admitted += u32::from(quotas.admit_card(tapped, Some(&partner)).is_some());
        }
    }
    (wanted, admitted)
}

/// A partner's whole burst, at one of four replicas that have been idle, as fast as a replica decides: within a tenth of a
/// second.
async fn burst(url: &str) {
    let number = |number| NonZeroU32::new(number).unwrap();
    let rate = Rate { per_second: number(2000), burst: number(4000) };
    let replicas: Vec<_> = (0..4).map(|_| Replica::new(Some(url), rate, 255)).collect();
    while !replicas.iter().all(|replica| replica.is_one_of(4)) {
        sleep(Duration::from_millis(10)).await;
    }
    sleep(Duration::from_secs(1)).await;
    let one = &replicas[0];
    let time = Duration::from_millis(100);
    let (wanted, admitted) =
        spend(Arc::clone(&one.quotas), Arc::clone(&one.partner), Instant::now(), time, 40_000.0).await;
    println!(
        "a burst at one of four: {admitted} of {wanted} within {time:?}, of 2000 a second and 4000 at once"
    );
}
