//! Several gateways on one Redis and one registry answer as one gateway would.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use futures_util::future::join_all;
use jiff::SignedDuration;
use ridegate_adapters::{Account, Medium, PartnerId};
use ridegate_gateway::{
    backends::registry::{Location, Registry},
    keyring::Keyring,
};
use ridegate_proto::validator::v1::{
    CheckRequest, CheckResponse, Degraded, DegradedCause, Direction,
    validator_service_client::ValidatorServiceClient,
};
use ridegate_sim::riders::Rider;
use tonic::transport::Channel;

use crate::{
    errands::{COMPANY, MANY_TAPS, of_media, tap_of, yikatong},
    house::{GATE, House, ISSUER, PARTNER, digits, identified, medium, request, said, subject, wait_until},
    observed::{counted_to_at, metric_at},
    process::{ridegate, text},
    redis::{Cluster, MASTER, Redis, Sentinel},
    replicas::Replica,
};

const LET_THROUGH: &str = "ALLOW HEALTH_OK";
const REPLAYED: &str = "INSPECT CODE_REPLAYED";
/// As patient as the house: a busy machine changes no answer.
const PATIENT: &str = "timeout = \"1s\"\n";

/// A house, and more replicas on its configuration.
pub struct Fleet {
    pub house: House,
    others: Vec<Replica>,
}

impl Fleet {
    /// So many replicas on this Redis, with more configuration.
    pub async fn of(replicas: usize, redis: &str, more: &str) -> Self {
        Self::around(replicas, House::with(&format!("[redis]\n{redis}{PATIENT}{more}")).await).await
    }

    /// So many replicas, the first of which is this house's.
    async fn around(replicas: usize, house: House) -> Self {
        let mut fleet = Self { house, others: Vec::new() };
        for _ in 1..replicas {
            fleet.others.push(Replica::of(&fleet.house).await);
        }
        fleet.uses_redis(true).await;
        fleet
    }

    pub fn replicas(&self) -> usize {
        1 + self.others.len()
    }

    pub fn channel(&self, replica: usize) -> Channel {
        let others = self.others.iter().map(|other| &other.channel);
        std::iter::once(&self.house.channel).chain(others).nth(replica).unwrap().clone()
    }

    fn operations(&self, replica: usize) -> SocketAddr {
        match replica.checked_sub(1) {
            None => self.house.operations(),
            Some(other) => self.others[other].gateway.operations().unwrap(),
        }
    }

    /// Waits until every replica says so of Redis.
    pub async fn uses_redis(&self, up: bool) {
        for replica in 0..self.replicas() {
            let sample = "ridegate_dependency_up{dependency=\"redis\"}";
            while metric_at(self.operations(replica), sample).await != i64::from(up) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// A tap at a replica.
    pub async fn check(&self, replica: usize, gate: &str, request: CheckRequest) -> CheckResponse {
        let mut client = ValidatorServiceClient::new(self.channel(replica));
        client.check(identified(gate, request)).await.unwrap().into_inner()
    }

    /// How often a replica asked, and was answered.
    pub async fn asked(&self, replica: usize, upstream: &str, call: &str) -> i64 {
        metric_at(self.operations(replica), &asked(upstream, call)).await
    }

    /// Waits until a replica has asked so often.
    async fn asked_to(&self, replica: usize, upstream: &str, call: &str, least: i64) {
        counted_to_at(self.operations(replica), &asked(upstream, call), least).await;
    }

    /// Waited-for round trips to Redis that verdicts of a replica made.
    async fn round_trips(&self, replica: usize) -> i64 {
        let mut trips = 0;
        for call in ["take", "recall", "reading"] {
            trips += self.asked(replica, "redis", call).await;
        }
        trips
    }
}

fn asked(upstream: &str, call: &str) -> String {
    format!(
        "ridegate_upstream_duration_seconds_count{{upstream=\"{upstream}\",call=\"{call}\",outcome=\"ok\"}}"
    )
}

pub fn one(redis: &Redis) -> String {
    format!("nodes = [\"{}\"]\n", redis.url())
}

pub fn gate(number: usize) -> String {
    format!("urn:ridegate:validator:bjsubway:gate-{number}")
}

const DEGRADED: Option<Degraded> = Some(Degraded { cause: DegradedCause::Redis as i32 });

async fn of_fifty_gates_at_once_one_is_fresh(redis: &str) {
    let fleet = Fleet::of(4, redis, "").await;
    for account in 1..=4 {
        fleet.house.settle(account, Rider::Healthy).await;
        let code = fleet.house.fresh(&fleet.house.phone(account));
        let taps = (0..50).map(|number| {
            let (fleet, request) = (&fleet, request("r", code.clone()));
            async move { fleet.check(number % 4, &gate(number), request).await }
        });
        let answers = join_all(taps).await;
        let let_in: Vec<_> = (0..50).filter(|number| said(&answers[*number]) == LET_THROUGH).collect();
        assert_eq!(answers.iter().filter(|answer| said(answer) == REPLAYED).count(), 49);
        let [first] = let_in[..] else { panic!("let in at {let_in:?}") };

        // The same reader asks again, wherever: the same answer.
        for replica in 0..4 {
            let again = fleet.check(replica, &gate(first), request("r", code.clone())).await;
            assert_eq!((said(&again).as_str(), &again.retry_of), (LET_THROUGH, &answers[first].verdict_id));
            assert_eq!(again.degraded, None);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_gates_at_once_one_is_fresh_on_one_redis() {
    let redis = Redis::start();
    of_fifty_gates_at_once_one_is_fresh(&one(&redis)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_gates_at_once_one_is_fresh_on_a_cluster() {
    let cluster = Cluster::start();
    of_fifty_gates_at_once_one_is_fresh(&format!("nodes = {:?}\ncluster = true\n", cluster.urls())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_gates_at_once_one_is_fresh_under_sentinels() {
    let sentinel = Sentinel::start();
    let redis = format!("nodes = {:?}\nsentinel = \"{MASTER}\"\n", sentinel.urls());
    of_fifty_gates_at_once_one_is_fresh(&redis).await;
}

/// Whatever the replica: double reads, codes that were not used up, the way out.
#[tokio::test]
async fn replicas_judge_as_one_gateway_would() {
    let redis = Redis::start();
    let fleet = Fleet::of(2, &one(&redis), "").await;
    fleet.house.settle(1, Rider::Healthy).await;
    fleet.house.settle(2, Rider::Overdue).await;

    let code = fleet.house.fresh(&fleet.house.phone(1));
    let first = fleet.check(0, GATE, request("a", code.clone())).await;
    let twice = fleet.check(1, GATE, request("b", code.clone())).await;
    assert_eq!((said(&twice).as_str(), &twice.retry_of), (LET_THROUGH, &first.verdict_id), "read twice");
    fleet.house.clock.advance(SignedDuration::from_secs(4));
    assert_eq!(said(&fleet.check(1, GATE, request("c", code.clone())).await), REPLAYED, "too late");
    let out = CheckRequest { direction: Direction::Exit.into(), ..request("d", code) };
    assert_eq!(said(&fleet.check(1, GATE, out).await), "ALLOW NOT_ENFORCED", "the way out is another claim");

    // Not used up: shown again anywhere.
    let code = fleet.house.fresh(&fleet.house.phone(2));
    for (tap, replica) in [0, 1, 0].into_iter().enumerate() {
        let id = format!("tap-{tap}");
        let answer = fleet.check(replica, &gate(10 + tap), request(&id, code.clone())).await;
        assert_eq!((said(&answer).as_str(), answer.retry_of.as_str()), ("INSPECT HEALTH", ""));
        // The outcome is not waited for.
        settled(&redis).await;
    }
}

/// Waits until no claim is being decided any more, as far as Redis knows.
async fn settled(redis: &Redis) {
    wait_until(|| {
        let keys = redis.cli(&["--scan", "--pattern", "*:c:*"]);
        keys.lines().all(|key| !redis.cli(&["GETRANGE", key, "0", "0"]).starts_with('d'))
    })
    .await;
}

#[tokio::test]
async fn a_verdict_costs_one_round_trip_at_most() {
    let redis = Redis::start();
    let fleet = Fleet::of(2, &one(&redis), MANY_TAPS).await;
    let house = &fleet.house;
    for account in 1..=10 {
        house.settle(account, Rider::Healthy).await;
    }
    // Cold, warm, at a replica that has never seen them, on the way out, not linked, cards.
    let mut taps = 0;
    for (replica, round) in [(0, "cold"), (0, "warm"), (1, "elsewhere")] {
        for account in 1..=11 {
            let code = house.fresh(&house.phone(account));
            let answer =
                fleet.check(replica, GATE, request(&format!("{round}-{account}"), code.clone())).await;
            assert_eq!(said(&answer), if account == 11 { "INSPECT NOT_LINKED" } else { LET_THROUGH });
            let out = CheckRequest {
                direction: Direction::Exit.into(),
                ..request(&format!("{round}-{account}-out"), code)
            };
            assert_eq!(said(&fleet.check(replica, GATE, out).await), "ALLOW NOT_ENFORCED");
            taps += 2;
        }
    }
    assert_eq!(fleet.round_trips(0).await + fleet.round_trips(1).await, taps);

    house.authority.authorise("code-card", &subject(1));
    let card = yikatong(1);
    let linked = house.link(COMPANY, of_media("code-card", vec![card.clone()])).await.unwrap();
    assert_eq!(linked.result, 1);
    let before = fleet.round_trips(1).await;
    for (tap, trips) in [("cold", 1), ("warm", 1)] {
        let answer = fleet.check(1, GATE, tap_of(&card)).await;
        assert_eq!(said(&answer), LET_THROUGH, "{tap}");
        assert_eq!(fleet.round_trips(1).await - before, trips, "a card that is known costs none");
    }
}

/// What one replica has asked for the others know: neither registry nor authority is asked again.
#[tokio::test]
async fn what_one_has_asked_for_the_others_know() {
    let redis = Redis::start();
    let fleet = Fleet::of(2, &one(&redis), "").await;
    let house = &fleet.house;
    house.settle(1, Rider::Healthy).await;
    watched(&fleet).await;
    assert_eq!(said(&fleet.check(0, GATE, request("a", house.fresh(&house.phone(1)))).await), LET_THROUGH);
    fleet.asked_to(0, "redis", "put", 1).await;
    let (registry, authority) = (fleet.asked(1, "registry", "find").await, house.authority.asked());
    assert_eq!(said(&fleet.check(1, GATE, request("b", house.fresh(&house.phone(1)))).await), LET_THROUGH);
    assert_eq!(fleet.asked(1, "registry", "find").await, registry);
    assert_eq!(house.authority.asked(), authority);
}

/// Both replicas hear of changes, and have for a while.
async fn watched(fleet: &Fleet) {
    for replica in 0..fleet.replicas() {
        let sample = "ridegate_dependency_up{dependency=\"authority\"}";
        counted_to_at(fleet.operations(replica), sample, 1).await;
    }
    fleet.house.clock.advance(SignedDuration::from_secs(10));
}

/// What lies in Redis is as it was when somebody asked. A replica that never saw the rider must not believe it.
#[tokio::test]
async fn facts_in_redis_that_have_changed_since_are_not_believed() {
    let redis = Redis::start();
    let fleet = Fleet::of(2, &one(&redis), "").await;
    let house = &fleet.house;
    for account in [1, 2, 3] {
        house.settle(account, Rider::Healthy).await;
    }
    watched(&fleet).await;
    let at = async |replica: usize, id: &str, account| {
        said(&fleet.check(replica, GATE, request(id, house.fresh(&house.phone(account)))).await)
    };
    for (replica, account) in [(0, 1), (1, 2), (0, 3)] {
        assert_eq!(at(replica, "first", account).await, LET_THROUGH);
    }
    fleet.asked_to(0, "redis", "put", 2).await;
    house.clock.advance(SignedDuration::from_secs(10));
    for account in [1, 2] {
        house.authority.set(&subject(account), Rider::Abnormal.facts(house.clock.now()).unwrap());
    }
    // Changes come in their order: who has heard of the second has heard of the first.
    for tap in 0.. {
        if at(1, &format!("again-{tap}"), 2).await == "INSPECT HEALTH" {
            break;
        }
        assert!(tap < 1_000, "never heard of");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let asked = house.authority.asked();
    assert_eq!(at(1, "elsewhere", 3).await, LET_THROUGH);
    assert_eq!(house.authority.asked(), asked, "the third rider's facts are believed");
    assert_eq!(at(1, "elsewhere", 1).await, "INSPECT HEALTH");
}

/// A link that an operator ended, or another replica that could not reach Redis: it still lies there.
#[tokio::test]
async fn links_in_redis_that_have_ended_since_are_not_believed() {
    let redis = Redis::start();
    let fleet = Fleet::of(2, &one(&redis), "").await;
    let house = &fleet.house;
    for account in [1, 2] {
        house.settle(account, Rider::Healthy).await;
        let code = house.fresh(&house.phone(account));
        assert_eq!(said(&fleet.check(0, GATE, request("a", code)).await), LET_THROUGH);
    }
    fleet.asked_to(0, "redis", "put", 2).await;
    let keys = Arc::new(Keyring::load(&house.folder.path().join("ridegate.key")).unwrap());
    let file = Location::File(house.folder.path().join("ridegate.db"));
    let registry = Registry::open(&file, Arc::clone(&keys)).await.unwrap();
    let partner = PartnerId::new(PARTNER).unwrap();
    let account = Account::new(digits(1));
    let medium = Medium::MotCode { issuer: ISSUER.parse().unwrap(), account };
    let names = keys.link_names(&partner, &medium);
    assert_eq!(registry.unlink(&names, None, house.clock.now()).await.unwrap().len(), 1);
    // The first replica remembers the link until it hears of its end; the other does then as well, or soon.
    let said_at = async |replica: usize, id: &str, account| {
        said(&fleet.check(replica, GATE, request(id, house.fresh(&house.phone(account)))).await)
    };
    for replica in [0, 1] {
        let polled = fleet.asked(replica, "registry", "changes").await;
        fleet.asked_to(replica, "registry", "changes", polled + 2).await;
    }
    let found = fleet.asked(1, "registry", "find").await;
    assert_eq!(said_at(1, "b", 2).await, LET_THROUGH);
    assert_eq!(fleet.asked(1, "registry", "find").await, found, "the other rider's link is believed");
    assert_eq!(said_at(1, "c", 1).await, "INSPECT NOT_LINKED");
}

/// While Redis is away each replica lets a code in once; when it is back all of them know.
#[tokio::test]
async fn without_redis_each_replica_is_alone_and_says_so() {
    let mut redis = Redis::start();
    let fleet = Fleet::of(3, &one(&redis), "").await;
    let house = &fleet.house;
    house.settle(1, Rider::Healthy).await;
    let before = house.fresh(&house.phone(1));
    assert_eq!(said(&fleet.check(0, GATE, request("before", before.clone())).await), LET_THROUGH);
    redis.kill();
    fleet.uses_redis(false).await;

    let code = house.fresh(&house.phone(1));
    for replica in [0, 1] {
        let answer = fleet.check(replica, &gate(replica + 10), request("r", code.clone())).await;
        assert_eq!((said(&answer).as_str(), answer.degraded), (LET_THROUGH, DEGRADED), "once each");
        let again = fleet.check(replica, &gate(20), request("s", code.clone())).await;
        assert_eq!(said(&again), REPLAYED, "and not twice");
    }
    let out = CheckRequest { direction: Direction::Exit.into(), ..request("o", code.clone()) };
    assert_eq!(fleet.check(0, GATE, out).await.degraded, DEGRADED);

    // It has lost everything. What was used before, and what was used meanwhile, is told again.
    redis.restart();
    fleet.uses_redis(true).await;
    wait_until(|| redis.cli(&["--scan", "--pattern", "*:c:*"]).lines().count() >= 3).await;
    for (id, code) in [("x", &code), ("y", &before)] {
        let answer = fleet.check(2, &gate(30), request(id, code.clone())).await;
        assert_eq!((said(&answer).as_str(), answer.degraded), (REPLAYED, None), "{id}");
    }
    let next = fleet.check(2, GATE, request("z", house.fresh(&house.phone(1)))).await;
    assert_eq!((said(&next).as_str(), next.degraded), (LET_THROUGH, None));
}

/// The follower that becomes master has never heard of the claims: who decided tells it. In between a code may be let in once
/// more at a replica that has not seen it, and never at one that has.
#[tokio::test(flavor = "multi_thread")]
async fn through_a_failover_a_used_code_stays_used() {
    let mut sentinel = Sentinel::start();
    let redis = format!("nodes = {:?}\nsentinel = \"{MASTER}\"\n", sentinel.urls());
    let fleet = Fleet::of(3, &redis, "").await;
    let house = &fleet.house;
    house.settle(1, Rider::Healthy).await;
    let mut codes = Vec::new();
    for tap in 0..10 {
        let code = house.fresh(&house.phone(1));
        let answer = fleet.check(tap % 2, &gate(tap), request("r", code.clone())).await;
        assert_eq!(said(&answer), LET_THROUGH);
        codes.push((tap % 2, code));
    }
    // Long ago, and acknowledged.
    fleet.asked_to(0, "redis", "settle", 5).await;
    fleet.asked_to(1, "redis", "settle", 5).await;
    house.clock.advance(SignedDuration::from_secs(60));
    let follower = 1 - sentinel.master();
    sentinel.servers[follower].cli(&["CONFIG", "SET", "replica-read-only", "no"]);
    sentinel.servers[follower].cli(&["FLUSHALL"]);
    let master = sentinel.fail_over();
    assert_eq!(master, follower);
    let claims = || sentinel.servers[master].cli(&["--scan", "--pattern", "*:c:*"]).lines().count();
    for _ in 0..2_000 {
        if claims() == 10 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(claims(), 10, "told again");
    fleet.uses_redis(true).await;
    for (seen, code) in &codes {
        for replica in [*seen, 1 - seen, 2] {
            let answer = fleet.check(replica, &gate(90), request("again", code.clone())).await;
            assert_eq!(said(&answer), REPLAYED, "at {replica}");
        }
    }
}

/// A caller with no time left gets no verdict of one replica alone: Redis knows that the code is used.
#[tokio::test]
async fn a_verdict_with_no_time_to_ask_is_not_one_of_a_replica_alone() {
    let redis = Redis::start();
    // The caller waits much longer for the answer to come than the verdict has time.
    let wide = "[verdict]\nbudget = \"10s\"\nwait = \"10s\"\nreply_margin = \"9s\"\n[limits]\ncall = \"60s\"\n[registry]\ntimeout = \"5s\"\n";
    let config = format!("{wide}[redis]\n{}{PATIENT}", one(&redis));
    let fleet = Fleet::around(2, House::exactly(&config, "lookup_timeout = \"5s\"").await).await;
    let house = &fleet.house;
    house.settle(1, Rider::Healthy).await;
    let code = house.fresh(&house.phone(1));
    assert_eq!(said(&fleet.check(0, GATE, request("a", code.clone())).await), LET_THROUGH);
    redis.pause();
    let out =
        CheckRequest { direction: Direction::Exit.into(), ..request("b", house.fresh(&house.phone(1))) };
    let mut hurried = identified(&gate(2), out);
    hurried.set_timeout(Duration::from_millis(9300));
    let answer = ValidatorServiceClient::new(fleet.channel(1)).check(hurried).await;
    redis.resume();
    let answer = answer.unwrap().into_inner();
    assert_eq!((said(&answer).as_str(), answer.degraded), ("INSPECT LOOKUP_FAILED", DEGRADED));
}

/// Nobody in Redis: no account, subject or device, in no key and no value.
#[tokio::test]
async fn nothing_in_redis_names_a_rider_a_gate_or_a_place() {
    let redis = Redis::start();
    let fleet = Fleet::of(2, &one(&redis), "").await;
    let house = &fleet.house;
    house.settle(1, Rider::Healthy).await;
    house.settle(2, Rider::Overdue).await;
    for (number, account) in [1, 2].into_iter().enumerate() {
        let code = house.fresh(&house.phone(account));
        fleet.check(number, GATE, request("canary-request", code)).await;
        fleet.asked_to(number, "redis", "settle", 1).await;
        fleet.asked_to(number, "redis", "put", 1).await;
    }
    let dump = dumped(&redis);
    assert!(dump.len() > 1_000, "there is something");
    for secret in ["canary", "gate-1", "bjsubway", "xizhimen", "HEALTH", "TEST_", "GREEN"] {
        assert!(!contains(&dump, secret.as_bytes()), "{secret}");
    }
    for account in [1, 2] {
        let medium = medium(account);
        for secret in [subject(account), medium.account, format!("code-{account}")] {
            assert!(!contains(&dump, secret.as_bytes()), "{secret}");
        }
    }
}

/// Every key and value.
fn dumped(redis: &Redis) -> Vec<u8> {
    assert_eq!(redis.cli(&["SAVE"]).trim(), "OK");
    let named = |what: &str| redis.cli(&["CONFIG", "GET", what]).lines().nth(1).unwrap().to_owned();
    // Uncompressed, so that what is in it can be seen.
    redis.cli(&["CONFIG", "SET", "rdbcompression", "no"]);
    assert_eq!(redis.cli(&["SAVE"]).trim(), "OK");
    std::fs::read(Path::new(&named("dir")).join(named("dbfilename"))).unwrap()
}

fn contains(dump: &[u8], secret: &[u8]) -> bool {
    dump.windows(secret.len()).any(|window| window == secret)
}

/// What is purged is purged in Redis as well; codes that were used stay used.
#[tokio::test]
async fn a_purge_deletes_what_replicas_share() {
    let cluster = Cluster::start();
    let fleet = Fleet::of(2, &format!("nodes = {:?}\ncluster = true\n", cluster.urls()), "").await;
    let house = &fleet.house;
    let mut codes = Vec::new();
    for account in 1..=6 {
        house.settle(account, Rider::Healthy).await;
        let code = house.fresh(&house.phone(account));
        assert_eq!(
            said(&fleet.check(0, GATE, request(&account.to_string(), code.clone())).await),
            LET_THROUGH
        );
        codes.push(code);
    }
    fleet.asked_to(0, "redis", "put", 6).await;
    fleet.asked_to(0, "redis", "settle", 6).await;
    let accounts = || cluster.scan().iter().filter(|key| key.ends_with(":a")).count();
    assert_eq!(accounts(), 6);
    let config = house.folder.path().join("ridegate.toml");
    let purge = tokio::task::spawn_blocking(move || {
        let mut purge = ridegate();
        purge.args(["purge", "everything", "--insecure-dev", "--yes", "--config"]).arg(config);
        purge.output().unwrap()
    });
    let done = purge.await.unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert!(text(&done.stdout).contains("in Redis was deleted: 6 entries"), "{}", text(&done.stdout));
    assert_eq!(accounts(), 0);
    for code in codes {
        assert_eq!(said(&fleet.check(1, &gate(9), request("again", code)).await), REPLAYED);
    }
}
