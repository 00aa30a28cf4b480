//! Scripts against a Redis of the test's own.

use std::{
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use proptest::{prelude::*, test_runner::TestRunner};
use redis::IntoConnectionInfo;
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::timeout};
use uuid::Uuid;

use super::{
    Access, Away, Form, Lines, Place, Redis, Script,
    cause::Cause,
    connection::Question,
    line::Line,
    shared::{Ruling, Settled, Shared, SharedFacts, SharedLink},
};
use crate::{
    backends::memory::{ClaimName, ClaimTable},
    cores::Cores,
    domain::{
        claim::{self, Showing},
        decide::made_before,
        facts::{Facts, HealthState, PopupNumber, Report, Subject, Test, TestResult},
        pseudonym::{Pseudonym, Tag},
        verdict::{Degraded, Finding},
    },
    health::Health,
    keyring::Keyring,
    metrics::Metrics,
};

const DOUBLE_READ: SignedDuration = SignedDuration::from_secs(3);
const LONG: Duration = Duration::from_secs(5);
const ACCOUNT: Tag = Tag([9; 16]);

/// A server that keeps nothing and listens on no port.
pub(crate) struct Server {
    child: Child,
    folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("redis.sock");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(&socket);
        let child = command.current_dir(folder.path()).stdout(Stdio::null()).spawn().unwrap();
        while !socket.exists() {
            std::thread::yield_now();
        }
        Self { child, folder }
    }

    /// Connected to it.
    pub(crate) async fn shared(&self) -> Arc<Shared> {
        self.shared_by(&Cores::here()).await
    }

    async fn shared_by(&self, cores: &Cores) -> Arc<Shared> {
        let socket = self.folder.path().join("redis.sock");
        let node = format!("redis+unix://{}", socket.display()).into_connection_info().unwrap();
        let access = Access::default();
        let place = Place {
            form: Form::Single,
            nodes: vec![node],
            access: access.clone(),
            sentinel_access: access,
            timeout: LONG,
            certificates: None,
        };
        let redis = Redis::new(place, cores, Metrics::default().upstream("redis"), Health::new(false));
        let mut lives = redis.lives();
        tokio::spawn(Arc::clone(&redis).keep());
        lives.changed().await.unwrap();
        Arc::new(Shared::new(redis, Arc::new(Keyring::new(&[7; 32])), LONG))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// What Redis calls the connection that each core asks over.
async fn connections(redis: &Arc<Redis>, cores: &Cores) -> Vec<i64> {
    let asked = cores.runtimes().into_iter().map(|runtime| {
        let redis = Arc::clone(redis);
        runtime.spawn(async move { client(&redis, &["ID"]).await })
    });
    let asked = futures_util::future::try_join_all(asked).await.unwrap();
    asked.into_iter().map(|id| redis::from_redis_value(id).unwrap()).collect()
}

async fn client(redis: &Redis, words: &[&str]) -> redis::Value {
    let mut command = redis::cmd("CLIENT");
    line(redis).used().unwrap().here().send(command.arg(words).to_owned(), false).await.unwrap()
}

fn line(redis: &Redis) -> &Line {
    let Lines::One(line) = &redis.lines else { panic!("one server") };
    line
}

#[test]
fn every_core_asks_over_a_connection_of_its_own_and_when_one_ends_all_are_made_anew() {
    let cores = Cores::start(2).unwrap();
    Runtime::new().unwrap().block_on(async {
        let server = Server::start();
        let redis = Arc::clone(server.shared_by(&cores).await.redis());
        let before = connections(&redis, &cores).await;
        assert_ne!(before[0], before[1]);
        assert_eq!(connections(&redis, &cores).await, before);

        // That of the second core, where nobody asks: it is looked after all the same.
        let mut lives = redis.lives();
        lives.mark_unchanged();
        client(&redis, &["KILL", "ID", &before[1].to_string()]).await;
        timeout(LONG, lives.changed()).await.unwrap().unwrap();
        let after = connections(&redis, &cores).await;
        assert!(after.iter().all(|connection| !before.contains(connection)), "{before:?}, {after:?}");
    });
}

#[test]
fn a_connection_that_hangs_alone_is_given_up_after_five_questions_however_often_others_are_answered() {
    let cores = Cores::start(2).unwrap();
    Runtime::new().unwrap().block_on(async {
        let server = Server::start();
        let redis = Arc::clone(server.shared_by(&cores).await.redis());
        let connections = line(&redis).used().unwrap();
        let over = || async { timeout(Duration::ZERO, connections.over()).await.ok() };
        let ask = |cap| {
            let redis = Arc::clone(&redis);
            async move {
                let script = Script::new("return 1");
                let question = Question { script: &script, keys: &[], arguments: &[] };
                line(&redis).ask(question, (cap, LONG), false).await.is_ok()
            }
        };
        let ask_of_second = || cores.runtimes().remove(1).spawn(ask(Duration::from_millis(10)));

        // The server does as it is asked over this connection, and says nothing any more.
        let deaf = Arc::clone(&redis);
        let told = cores
            .runtimes()
            .remove(1)
            .spawn(async move { timeout(Duration::from_millis(10), client(&deaf, &["REPLY", "OFF"])).await });
        assert!(told.await.unwrap().is_err(), "that is not answered either");
        for question in 1..=5 {
            assert_eq!(over().await, None, "after {question}");
            assert!(!ask_of_second().await.unwrap());
            if question < 5 {
                assert!(ask(LONG).await, "over that of the first core");
            }
        }
        assert_eq!(over().await, Some(Cause::Silent));
    });
}

#[tokio::test]
async fn answers_that_say_no_are_no_sign_of_life_also_where_several_are_asked_at_once() {
    let server = Server::start();
    let redis = Arc::clone(server.shared().await.redis());
    let line = line(&redis);
    let connections = line.used().unwrap();
    let over = || async { timeout(Duration::ZERO, connections.over()).await.ok() };
    let (no, yes) = (Script::new("return redis.error_reply('OOM full')"), Script::new("return 1"));
    let ask = async |scripts: &[&Script]| {
        let questions: Vec<_> =
            scripts.iter().map(|script| Question { script, keys: &[], arguments: &[] }).collect();
        line.ask_each(&questions, (LONG, LONG)).await.iter().map(Result::is_ok).collect::<Vec<_>>()
    };
    assert_eq!(ask(&[&no, &no, &no, &no]).await, [false; 4]);
    assert_eq!(ask(&[&yes, &no]).await, [true, false]);
    for _ in 0..4 {
        assert_eq!(over().await, None);
        assert_eq!(ask(&[&no]).await, [false]);
    }
    assert_eq!(over().await, Some(Cause::Full));
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_655_265_600 + second).unwrap()
}

fn name(number: u64) -> ClaimName {
    let mut claim = [0; 16];
    claim[..8].copy_from_slice(&number.to_be_bytes());
    ClaimName { slot: ACCOUNT, claim: Tag(claim) }
}

fn showing(device: u8, request: u8, verdict: u128, second: i64) -> Showing {
    let named = |byte| Pseudonym([byte; 32]);
    let verdict_id = Uuid::from_u128(verdict);
    Showing { device: named(device), request: named(request), verdict_id, at: at(second) }
}

fn finding(reason: &str) -> Finding {
    let evidence_as_of = Some(at(-5));
    Finding { verdict: made_before(reason).unwrap(), evidence_as_of, degraded: Some(Degraded::Authority) }
}

async fn tell(shared: &Shared, name: &ClaimName, settled: &Settled, now: Timestamp) -> Result<(), Away> {
    shared.tell_each(std::iter::once((name, settled, now))).await.pop().unwrap()
}

/// What happens to one code.
#[derive(Debug, Clone)]
enum Step {
    Show {
        device: u8,
        request: u8,
        after: i64,
    },
    /// One of those being decided is, or never will be.
    Settle {
        which: usize,
        outcome: Option<bool>,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let show = (1..4_u8, 1..4_u8, 0..3_i64).prop_map(|(device, request, after)| Step::Show {
        device,
        request,
        after,
    });
    let settle = (0..8_usize, proptest::option::weighted(0.8, any::<bool>()))
        .prop_map(|(which, outcome)| Step::Settle { which, outcome });
    proptest::collection::vec(prop_oneof![3 => show, 2 => settle], 1..24)
}

/// Two tables of claims, one rule: whatever happens to a code, the script says what the process would.
#[test]
fn the_script_judges_as_the_process_does() {
    let (server, runtime) = (Server::start(), Runtime::new().unwrap());
    let shared = runtime.block_on(server.shared());
    let mut number = 0;
    let law = |steps: Vec<Step>| {
        number += 1;
        let (name, table) = (name(number), ClaimTable::default());
        let (mut now, mut deciding, mut verdict) = (0, Vec::new(), 0);
        for step in steps {
            match step {
                Step::Show { device, request, after } => {
                    (now, verdict) = (now + after, verdict + 1);
                    let next = showing(device, request, verdict, now);
                    let here = table.take(name, next.clone(), at(1_000), DOUBLE_READ);
                    let there = shared.take(&name, (&next, at(1_000)), DOUBLE_READ, false, LONG);
                    let there = runtime.block_on(there).unwrap().ruling;
                    let expected = match here {
                        claim::Ruling::Fresh => Ruling::Fresh,
                        claim::Ruling::Repeat { first, outcome } => Ruling::Repeat { first, outcome },
                        claim::Ruling::Replayed => Ruling::Replayed,
                    };
                    prop_assert_eq!(there, expected);
                    let first = match expected {
                        Ruling::Fresh => Some(next.verdict_id),
                        Ruling::Repeat { first, outcome: None } => Some(first),
                        Ruling::Repeat { .. } | Ruling::Replayed => None,
                    };
                    deciding.extend(first.map(|first| (first, next)));
                    // More than that no claim is decided by at once; see below.
                    prop_assume!(deciding.len() < 8);
                }
                Step::Settle { which, outcome } => {
                    if deciding.is_empty() {
                        continue;
                    }
                    let (first, showing) = deciding.swap_remove(which % deciding.len());
                    let outcome =
                        outcome.map(|allow| finding(if allow { "HEALTH_OK" } else { "NOT_LINKED" }));
                    match outcome {
                        Some(finding) => table.record(&name, first, finding),
                        None => table.release(&name, first),
                    }
                    let settled = Settled { showing, first, until: at(1_000), outcome };
                    runtime.block_on(tell(&shared, &name, &settled, at(now))).unwrap();
                }
            }
        }
        Ok(())
    };
    let mut law = law;
    let cell = std::cell::RefCell::new(&mut law);
    TestRunner::new(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })
        .run(&steps(), |steps| (cell.borrow_mut())(steps))
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_is_fresh() {
    let server = Server::start();
    let shared = server.shared().await;
    for code in 0..20 {
        let takes = (0..50_u8).map(|gate| {
            let shared = Arc::clone(&shared);
            tokio::spawn(async move {
                let next = showing(gate, gate, gate.into(), 0);
                shared.take(&name(code), (&next, at(60)), DOUBLE_READ, false, LONG).await.unwrap().ruling
            })
        });
        let mut rulings = Vec::new();
        for take in takes.collect::<Vec<_>>() {
            rulings.push(take.await.unwrap());
        }
        assert_eq!(rulings.iter().filter(|ruling| **ruling == Ruling::Fresh).count(), 1);
        assert_eq!(rulings.iter().filter(|ruling| **ruling == Ruling::Replayed).count(), 49);
    }
}

#[tokio::test]
async fn a_claim_that_redis_lost_is_made_again_and_used_up_wins() {
    let server = Server::start();
    let shared = server.shared().await;
    let take = async |next: Showing| {
        shared.take(&name(1), (&next, at(60)), DOUBLE_READ, false, LONG).await.unwrap().ruling
    };
    let settle = async |showing: Showing, outcome| {
        let settled = Settled { first: showing.verdict_id, showing, until: at(60), outcome };
        tell(&shared, &name(1), &settled, at(1)).await.unwrap();
    };
    // Never heard of: its claim was taken while Redis was away.
    settle(showing(1, 1, 1, 0), Some(finding("HEALTH_OK"))).await;
    assert_eq!(take(showing(2, 2, 2, 10)).await, Ruling::Replayed);
    let again = Ruling::Repeat { first: Uuid::from_u128(1), outcome: Some(finding("HEALTH_OK")) };
    assert_eq!(take(showing(1, 1, 3, 10)).await, again);
    // Told again, by whoever: nothing changes.
    settle(showing(2, 2, 4, 11), Some(finding("NOT_LINKED"))).await;
    settle(showing(3, 3, 5, 12), Some(finding("HEALTH_OK"))).await;
    settle(showing(3, 3, 5, 12), None).await;
    assert_eq!(take(showing(1, 1, 6, 13)).await, again);
}

#[tokio::test]
async fn what_was_not_used_up_elsewhere_is_used_up_by_whoever_did() {
    let server = Server::start();
    let shared = server.shared().await;
    let first = showing(1, 1, 1, 0);
    let taken = shared.take(&name(2), (&first, at(60)), DOUBLE_READ, false, LONG).await.unwrap();
    assert_eq!(taken.ruling, Ruling::Fresh);
    let settled = |showing: Showing, reason| Settled {
        first: showing.verdict_id,
        showing,
        until: at(60),
        outcome: Some(finding(reason)),
    };
    // Let in at another replica that could not ask, while this one is still deciding.
    tell(&shared, &name(2), &settled(showing(2, 2, 2, 0), "HEALTH_OK"), at(1)).await.unwrap();
    tell(&shared, &name(2), &settled(first, "NOT_LINKED"), at(1)).await.unwrap();
    let elsewhere = showing(3, 3, 3, 10);
    let taken = shared.take(&name(2), (&elsewhere, at(60)), DOUBLE_READ, false, LONG).await.unwrap();
    assert_eq!(taken.ruling, Ruling::Replayed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_at_once_is_told_together_and_each_has_its_own_answer() {
    let server = Server::start();
    let shared = server.shared().await;
    let settled = |number: u64| {
        let showing = showing(1, 1, number.into(), 0);
        let outcome = Some(finding("HEALTH_OK"));
        (name(number), Settled { first: showing.verdict_id, showing, until: at(60), outcome })
    };
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..300 {
        let (name, settled) = settled(number);
        let told = told.clone();
        shared.settle(name, settled, at(1), move || told.send(number).unwrap());
    }
    let mut all = Vec::new();
    while all.len() < 300 {
        all.push(timeout(LONG, heard.recv()).await.unwrap().unwrap());
    }
    all.sort_unstable();
    assert_eq!(all, (0..300).collect::<Vec<_>>(), "each once");
    for number in 0..300 {
        let elsewhere = showing(2, 2, 1000, 10);
        let taken = shared.take(&name(number), (&elsewhere, at(60)), DOUBLE_READ, false, LONG).await;
        assert_eq!(taken.unwrap().ruling, Ruling::Replayed, "{number}");
    }

    // The script is not known any more, and of one something else lies there.
    let line = line(shared.redis());
    let send = async |words: &[&str]| {
        let [command, arguments @ ..] = words else { panic!("a command") };
        line.used().unwrap().here().send(redis::cmd(command).arg(arguments).to_owned(), false).await.unwrap()
    };
    send(&["SCRIPT", "FLUSH"]).await;
    let spoilt = shared.claim_key(&name(401));
    send(&["RPUSH", &spoilt, "nonsense"]).await;
    let some: Vec<_> = (400..403).map(settled).collect();
    let told = shared.tell_each(some.iter().map(|(name, settled)| (name, settled, at(1)))).await;
    assert_eq!(told, [Ok(()), Err(Away::Refused), Ok(())]);
}

fn facts(as_of: i64, asked_at: i64) -> SharedFacts {
    let raised_at = Some(at(-100));
    let state = HealthState::Popup { number: PopupNumber::new(3).unwrap(), raised_at };
    let reported = Report { result: TestResult::Negative, sampled_at: None, reported_at: at(-50) };
    let tests = vec![Test::Pending { sampled_at: Some(at(-40)) }, Test::Reported(reported)];
    let facts = Facts { state, exempt: true, tests, as_of: at(as_of) };
    SharedFacts { subject: Subject::new("rider"), facts, asked_at: at(asked_at) }
}

#[tokio::test]
async fn older_facts_of_a_person_never_replace_newer_ones() {
    let server = Server::start();
    let shared = server.shared().await;
    let known = async || {
        let account = shared.recall(&ACCOUNT, LONG).await.unwrap();
        (shared.link_of(&ACCOUNT, &account), shared.facts_of(&ACCOUNT, &account))
    };
    let link = SharedLink { name: Pseudonym([3; 32]), subject: Subject::new("rider"), heard: 17 };
    let (older, newer) = (facts(10, 30), facts(20, 25));
    shared.write(&ACCOUNT, Some(&link), Some(&newer)).await.unwrap();
    shared.write(&ACCOUNT, None, Some(&older)).await.unwrap();
    assert_eq!(known().await, (Some(link.clone()), Some(newer.clone())));
    // Somebody else's are: the account is another's now.
    let other = SharedFacts { subject: Subject::new("another"), ..older };
    shared.write(&ACCOUNT, None, Some(&other)).await.unwrap();
    assert_eq!(known().await, (Some(link), Some(other)));
    shared.forget(ACCOUNT);
    while known().await != (None, None) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_was_sealed_for_one_place_is_nothing_in_another() {
    let server = Server::start();
    let shared = server.shared().await;
    shared.write(&ACCOUNT, None, Some(&facts(1, 1))).await.unwrap();
    let account = shared.recall(&ACCOUNT, LONG).await.unwrap();
    assert!(shared.facts_of(&ACCOUNT, &account).is_some());
    assert_eq!(shared.facts_of(&Tag([8; 16]), &account), None);
    assert_eq!(shared.link_of(&ACCOUNT, &account), None);
}
