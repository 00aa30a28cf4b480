//! A partner's budgets are the whole fleet's where replicas share Redis, and a share of them where Redis is away.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use ridegate_adapters::{Account, CardKind, PartnerId, Partners, Profile};
use ridegate_gateway::{
    admission::{
        cards::{CardLimits, CardTaps},
        identity::Validator,
        quota::{DefaultRates, Fleet, Quotas, Stand},
        rate::Rate,
        tap::{Card, Device},
    },
    app::{Running, Settings},
    backends::redis::{Access, Bank, Form, Place, Redis as Shared},
    config::ConfigFile,
    cores::Cores,
    health::Health,
    keyring::Keyring,
    metrics::Metrics,
};
use ridegate_proto::partner::v1::{
    GetLinkRequest, GetQuotaRequest, GetQuotaResponse, partner_service_client::PartnerServiceClient,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Code, transport::Channel};
use tonic_types::StatusExt;

use crate::{
    house::{House, PARTNER, as_partner, connect, medium, wait_until},
    observed::{counted, metric},
    redis::Redis,
};

const UNEVEN: [f64; 4] = [0.7, 0.2, 0.08, 0.02];
const EVEN: [f64; 4] = [0.25; 4];

fn rate(per_second: u32, burst: u32) -> Rate {
    Rate { per_second: NonZeroU32::new(per_second).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
}

/// A gateway's budgets, and nothing else of it.
struct Replica {
    quotas: Arc<Quotas>,
    partner: Arc<Profile>,
    /// What goes on in the background; ends with this.
    _beside: JoinSet<()>,
}

impl Replica {
    /// On this Redis; without one it counts alone, as if there were no others.
    fn new(redis: Option<&Redis>, rate: Rate) -> Self {
        let (metrics, mut beside) = (Arc::new(Metrics::default()), JoinSet::new());
        let fleet = redis.map(|redis| {
            let place = Place {
                form: Form::Single,
                nodes: vec![Place::node(&redis.url()).unwrap()],
                access: Access::default(),
                sentinel_access: Access::default(),
                timeout: Duration::from_secs(1),
                certificates: None,
            };
            let shared = Shared::new(place, &Cores::here(), metrics.upstream("redis"), Health::new(false));
            beside.spawn(Arc::clone(&shared).keep());
            Fleet::new(Bank::new(shared, &Keyring::new(&[7; 32])), metrics.quotas())
        });
        let partners = Partners::shipped().unwrap();
        let partner = Arc::clone(partners.get(&PartnerId::new(PARTNER).unwrap()).unwrap());
        let rates = DefaultRates { codes: rate, calls: rate };
        let quotas = Arc::new(Quotas::new(&partners, rates, fleet.as_deref(), metrics));
        if let Some(fleet) = fleet {
            let quotas = Arc::clone(&quotas);
            beside.spawn(fleet.keep(move || quotas.budgets()));
        }
        Self { quotas, partner, _beside: beside }
    }

    /// Four of them, who know each other.
    async fn four(redis: &Redis, rate: Rate) -> Vec<Self> {
        let replicas: Vec<_> = (0..4).map(|_| Self::new(Some(redis), rate)).collect();
        wait_until(|| replicas.iter().all(|one| one.stand().whole_fleet && one.stand().replicas == 4)).await;
        replicas
    }

    fn stand(&self) -> Stand {
        self.quotas.stand(&self.partner.id).unwrap()
    }

    async fn calls(&self, times: u32) -> u32 {
        let partner = PartnerId::new(PARTNER).unwrap();
        let mut admitted = 0;
        for _ in 0..times {
            admitted += u32::from(self.quotas.call(&partner).await.is_ok());
        }
        admitted
    }
}

/// What a load came to.
#[derive(Debug)]
struct Came {
    admitted: Vec<u32>,
    took: f64,
}

impl Came {
    /// The part of what one budget allows in that time.
    fn of(&self, rate: Rate) -> f64 {
        let allowed = f64::from(rate.per_second.get()) * self.took + f64::from(rate.burst.get());
        f64::from(self.admitted.iter().sum::<u32>()) / allowed
    }
}

/// So many codes a second, in these shares, until told to stop. As on a verdict's way: nobody waits for anything.
async fn flood(replicas: &[Replica], per_second: f64, shares: [f64; 4], stop: &Arc<AtomicBool>) -> Came {
    let mut floods = JoinSet::new();
    let began = Instant::now();
    for (index, (replica, share)) in replicas.iter().zip(shares).enumerate() {
        let (quotas, partner, stop) =
            (Arc::clone(&replica.quotas), Arc::clone(&replica.partner), Arc::clone(stop));
        floods.spawn(async move {
            let one = NonZeroU32::new(1_000_000).unwrap();
            let taps = Rate { per_second: one, burst: one };
            let limits = CardLimits { taps, many: 90, window: Duration::from_mins(1) };
            let reader = CardTaps::new(limits, Arc::new(Keyring::new(&[1; 32])), Arc::default());
            let validator = Validator { operator: "o".into(), device: "d".into() };
            let device = Device { validator, gate: String::new() };
            let card = Card {
                kind: CardKind::YikatongCard,
                issuer: "01001000".parse().unwrap(),
                number: Account::new("1000751012345678"),
            };
            let tapped = reader.tap(&card, &device).unwrap();
            let (mut wanted, mut admitted) = (0_u32, 0_u32);
            while !stop.load(Relaxed) {
                sleep(Duration::from_millis(1)).await;
                while f64::from(wanted) < began.elapsed().as_secs_f64() * per_second * share {
                    wanted += 1;
                    admitted += u32::from(quotas.admit_card(tapped, Some(&partner)).is_some());
                }
            }
            (index, admitted)
        });
    }
    let mut admitted = floods.join_all().await;
    admitted.sort_unstable();
    Came {
        admitted: admitted.into_iter().map(|(_, admitted)| admitted).collect(),
        took: began.elapsed().as_secs_f64(),
    }
}

async fn flood_for(replicas: &[Replica], time: Duration, per_second: f64, shares: [f64; 4]) -> Came {
    let stop = Arc::new(AtomicBool::new(false));
    let ends = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            sleep(time).await;
            stop.store(true, Relaxed);
        }
    });
    let came = flood(replicas, per_second, shares, &stop).await;
    ends.await.unwrap();
    came
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_replicas_admit_what_one_would() {
    let redis = Redis::start();
    let rate = rate(1000, 1000);
    for shares in [UNEVEN, EVEN, [1.0, 0.0, 0.0, 0.0]] {
        let replicas = Replica::four(&redis, rate).await;
        let came = flood_for(&replicas, Duration::from_secs(2), 8000.0, shares).await;
        println!("leased, {shares:?}: {:.3} of the budget, {came:?}", came.of(rate));
        // Five percent are allowed; leases need none, but for what clocks differ.
        assert!(came.of(rate) <= 1.01, "{} of the budget with {shares:?}: {came:?}", came.of(rate));
        assert!(came.of(rate) >= 0.5, "{} of the budget with {shares:?}: {came:?}", came.of(rate));
        drop(replicas);
        redis.cli(&["FLUSHALL"]);
    }
    // Without leases the same load is four budgets.
    let alone: Vec<_> = (0..4).map(|_| Replica::new(None, rate)).collect();
    let came = flood_for(&alone, Duration::from_secs(2), 8000.0, EVEN).await;
    println!("each alone, {EVEN:?}: {:.3} of the budget, {came:?}", came.of(rate));
    assert!(came.of(rate) > 2.0, "the load would be too much: {came:?}");
}

/// From the whole fleet's budgets to shares and back: at no time more than one budget, whoever counts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_redis_is_away_each_has_its_share_and_no_more() {
    let mut redis = Redis::start();
    // Another burst would be seen.
    let rate = rate(500, 3000);
    let replicas = Arc::new(Replica::four(&redis, rate).await);
    let stop = Arc::new(AtomicBool::new(false));
    let all = tokio::spawn({
        let (replicas, stop) = (Arc::clone(&replicas), Arc::clone(&stop));
        async move { flood(&replicas, 8000.0, EVEN, &stop).await }
    });
    sleep(Duration::from_secs(1)).await;
    redis.kill();
    let away = Instant::now();
    wait_until(|| replicas.iter().all(|one| !one.stand().whole_fleet)).await;
    assert!(replicas.iter().all(|one| one.stand().replicas == 4), "each has one of four shares");
    sleep(Duration::from_secs(1)).await;
    redis.restart();
    wait_until(|| replicas.iter().all(|one| one.stand().whole_fleet && one.stand().replicas == 4)).await;
    let away = away.elapsed();
    sleep(Duration::from_secs(1)).await;
    stop.store(true, Relaxed);
    let came = all.await.unwrap();
    println!("away for {away:?}: {:.3} of the budget, {came:?}", came.of(rate));
    // What came in between its last answer and Redis' end a replica may count twice: never for more than a second.
    let twice = 500.0 / (500.0 * came.took + 3000.0);
    assert!(came.of(rate) <= 1.05 + twice, "{} of the budget: {came:?}", came.of(rate));
    assert!(came.of(rate) >= 0.5, "{} of the budget: {came:?}", came.of(rate));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_replica_had_in_hand_comes_back() {
    let redis = Redis::start();
    let mut replicas = Replica::four(&redis, rate(1, 4000)).await;
    let hold = |replicas: &[Replica]| replicas.iter().map(|one| one.stand().codes.1).min().unwrap();
    wait_until(|| hold(&replicas) > 3990).await;
    drop(replicas.drain(1..));
    wait_until(|| replicas[0].stand().replicas == 1).await;
    assert_eq!(
        replicas[0].calls(100).await,
        100,
        "the others' share of the calls was not used, and is there"
    );
    let keys = redis.cli(&["KEYS", "rg1:*:*"]);
    assert!(
        !keys.is_empty() && keys.lines().all(|key| key.starts_with("rg1:") && key.contains(":{quota}:")),
        "{keys}"
    );
    for key in keys.lines() {
        assert!(redis.cli(&["TTL", key]).parse::<i64>().unwrap() > 0, "{key} stays for ever");
    }
}

/// A budget of one token: it is at one place only, and found wherever it is asked for, if the asker has a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smallest_budget_works_at_every_replica() {
    let redis = Redis::start();
    let replicas = Replica::four(&redis, rate(1, 1)).await;
    let began = Instant::now();
    let mut admitted = 0;
    for replica in [2, 0, 3, 1] {
        let mut here = 0;
        while here == 0 && began.elapsed() < Duration::from_mins(1) {
            here = replicas[replica].calls(1).await;
            admitted += here;
            sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(here, 1, "nothing came to replica {replica}");
        assert!(
            f64::from(admitted) <= 1.0 + began.elapsed().as_secs_f64(),
            "{admitted} within {:?}",
            began.elapsed()
        );
    }
}

async fn quota(at: &Channel) -> GetQuotaResponse {
    let mut client = PartnerServiceClient::new(at.clone());
    client.get_quota(as_partner(PARTNER, GetQuotaRequest {})).await.unwrap().into_inner()
}

/// Another gateway on a house's configuration.
async fn another(house: &House) -> (Running, Channel) {
    let file = ConfigFile::load(&house.folder.path().join("ridegate.toml")).unwrap();
    let gateway = Settings::new(file, house.clock.clone(), true).unwrap().start().await.unwrap();
    let channel = connect(&format!("http://{}", gateway.address())).await;
    (gateway, channel)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_have_one_budget_of_calls_and_say_so() {
    let mut redis = Redis::start();
    let config =
        format!("[redis]\nnodes = [\"{}\"]\n[quota]\ncalls_per_second = 1\ncalls_burst = 60\n", redis.url());
    let house = House::with(&config).await;
    let (second, channel) = another(&house).await;
    let began = Instant::now();
    let mut told = quota(&channel).await;
    let mut calls = 1;
    while !(told.whole_fleet && told.replicas == 2) {
        assert!(calls < 20, "never the whole fleet: {told:?}");
        sleep(Duration::from_millis(200)).await;
        told = quota(&channel).await;
        calls += 1;
    }
    let budget = told.calls.unwrap();
    assert_eq!((budget.per_second, budget.burst), (1, 60));
    assert!(budget.remaining < 60, "the call itself counts");
    assert_eq!(told.codes.unwrap().remaining, 4000, "nobody showed a code");
    assert_eq!(counted(&house, "ridegate_quota_leased").await, 1);

    let (mut refused, mut turn) = (None, 0);
    // What one lost hand of a budget held comes back at its rate, one a second.
    while turn < 400 || calls < 60 && began.elapsed() < Duration::from_mins(1) {
        turn += 1;
        let at = if turn % 2 == 0 { &house.channel } else { &channel };
        let request = as_partner(PARTNER, GetLinkRequest { medium: Some(medium(1)) });
        match PartnerServiceClient::new(at.clone()).get_link(request).await {
            Ok(_) => calls += 1,
            Err(status) => refused = Some(status),
        }
    }
    let most = 60.0 + began.elapsed().as_secs_f64();
    assert!(f64::from(calls) <= most, "{calls} calls of {most}");
    assert!(calls >= 60, "{calls} calls of sixty");
    let refused = refused.expect("four hundred calls of a budget of sixty");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    let trailer = |name| refused.metadata().get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(
        [trailer("ratelimit-limit"), trailer("ratelimit-remaining"), trailer("ratelimit-reset")],
        ["60", "0", "1"]
    );

    redis.kill();
    let killed = Instant::now();
    for _ in 0..1000 {
        if metric(&house, "ridegate_quota_leased").await == 0 {
            break;
        }
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(metric(&house, "ridegate_quota_leased").await, 0);
    assert_eq!(metric(&house, "ridegate_quota_replicas").await, 2);
    let mut client = PartnerServiceClient::new(house.channel.clone());
    let told = loop {
        // A call of a share of one in two seconds.
        match client.get_quota(as_partner(PARTNER, GetQuotaRequest {})).await {
            Ok(told) => break told.into_inner(),
            Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
        }
        assert!(killed.elapsed() < Duration::from_mins(1), "no call is let in");
        sleep(Duration::from_millis(50)).await;
    };
    assert!(!told.whole_fleet && told.replicas == 2, "{told:?}");
    second.stop().await;
}
