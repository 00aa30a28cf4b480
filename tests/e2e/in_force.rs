//! Four replicas on one Redis, taps at all of them: how long until a change is in force everywhere. Within a second, always.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ridegate_proto::{
    partner::v1::ReportLostRequest,
    validator::v1::{CheckRequest, DegradedCause},
};
use ridegate_sim::riders::Rider;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    batches::{row, rows, senior, start},
    errands::{COMPANY, MANY_TAPS, tap_of},
    fleet::{Fleet, one},
    house::{GATE, PARTNER, request, said, subject},
    redis::Redis,
};

const SECOND: Duration = Duration::from_secs(1);
/// Changes of each kind.
const CHANGES: u64 = 6;
/// Riders who tap all the time.
const CROWD: u64 = 20;

const PROFILE: &str = "id = \"suzhou-metro\"\nname = { zh = \"苏州\", en = \"Suzhou\" }\ncity = \"Suzhou\"\n\
                       kind = \"metro\"\ntest = true\n[[mot]]\nplatform = \"99993205\"\nissuer = \"99990001\"\naccount_types = [1]\n";

/// How long a machine with other things to do let nobody run, in all.
#[derive(Clone, Default)]
struct Standstill(Arc<AtomicU64>);

impl Standstill {
    const GRAIN: Duration = Duration::from_millis(10);
    /// What every machine does now and then.
    const USUAL: Duration = Duration::from_millis(50);

    /// Looks until this is dropped.
    fn watched() -> (Self, JoinSet<()>) {
        let (lost, mut watching) = (Self::default(), JoinSet::new());
        let noted = lost.clone();
        watching.spawn(async move {
            loop {
                let began = Instant::now();
                tokio::time::sleep(Self::GRAIN).await;
                let took = began.elapsed();
                if took > Self::USUAL {
                    noted.0.fetch_add(u64::try_from(took.as_millis()).unwrap(), Relaxed);
                }
            }
        });
        (lost, watching)
    }

    fn until_now(&self) -> Duration {
        Duration::from_millis(self.0.load(Relaxed))
    }
}

/// The slowest replica, from the acknowledgement on. What is asked later than a second after it is answered by it, or says
/// that the registry is not heard of; what the machine stood still is not counted.
async fn slowest(
    fleet: &Fleet,
    lost: &Standstill,
    tap: impl Fn() -> CheckRequest,
    was: &str,
    is: &str,
) -> Duration {
    let (changed, before, mut slowest) = (Instant::now(), lost.until_now(), Duration::ZERO);
    for replica in 0..fleet.replicas() {
        loop {
            let asked = changed.elapsed();
            let checked = fleet.check(replica, GATE, tap()).await;
            let doubts = checked.degraded.is_some_and(|degraded| degraded.cause() == DegradedCause::Registry);
            let answer = said(&checked);
            if answer == is {
                slowest = slowest.max(asked);
                break;
            }
            // A partner that is new has no budget in hand yet.
            assert!(answer == was || answer == "INSPECT THROTTLED", "{answer} at replica {replica}");
            let late = asked.saturating_sub(lost.until_now().saturating_sub(before));
            assert!(late <= SECOND || doubts, "{was} at replica {replica}, {late:?} after it had changed");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    slowest
}

/// Taps of a crowd at every replica, until this is dropped.
struct Crowd {
    over: Arc<AtomicBool>,
    taps: Arc<AtomicU64>,
    _walking: JoinSet<()>,
}

impl Crowd {
    fn start(fleet: &Arc<Fleet>) -> Self {
        let (over, taps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut walking = JoinSet::new();
        for replica in 0..fleet.replicas() {
            let (fleet, over, taps) = (Arc::clone(fleet), Arc::clone(&over), Arc::clone(&taps));
            walking.spawn(async move {
                for rider in (1_000..1_000 + CROWD).cycle().take_while(|_| !over.load(Relaxed)) {
                    let tap = taps.fetch_add(1, Relaxed);
                    let answer = fleet.check(replica, GATE, tap_of(&senior(rider))).await;
                    assert_eq!(said(&answer), "ALLOW HEALTH_OK", "tap {tap}");
                }
            });
        }
        Self { over, taps, _walking: walking }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

async fn senior_card(fleet: &Fleet, number: u64) {
    let code = format!("senior-{number}");
    fleet.house.agree(number, &code);
    let batch = vec![start(&code), rows(0, vec![row(senior(number), &code)])];
    assert_eq!(fleet.house.batch(COMPANY, batch).await.unwrap().progress.unwrap().counts[0].result, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_change_is_in_force_at_every_replica_within_a_second() {
    let redis = Redis::start();
    let fleet = Arc::new(Fleet::of(4, &one(&redis), MANY_TAPS).await);
    let house = &fleet.house;
    for number in (1_000..1_000 + CROWD).chain(2_000..2_000 + CHANGES) {
        senior_card(&fleet, number).await;
    }
    for account in 1..=2 * CHANGES {
        house.settle(account, Rider::Healthy).await;
    }
    // Everybody is known everywhere.
    for replica in 0..fleet.replicas() {
        for account in 1..=2 * CHANGES {
            let tap = request(&format!("{replica}-{account}"), house.fresh(&house.phone(account)));
            assert_eq!(said(&fleet.check(replica, GATE, tap).await), "ALLOW HEALTH_OK");
        }
        for number in 2_000..2_000 + CHANGES {
            assert_eq!(said(&fleet.check(replica, GATE, tap_of(&senior(number))).await), "ALLOW HEALTH_OK");
        }
    }
    let crowd = Crowd::start(&fleet);
    let (lost, _watching) = Standstill::watched();
    let tap = |account| {
        move || {
            let code = house.fresh(&house.phone(account));
            request(&format!("tap-{}", hex::encode(&code[code.len() - 16..])), code)
        }
    };
    let (allow, mut longest) = ("ALLOW HEALTH_OK", [Duration::ZERO; 5]);
    for change in 1..=CHANGES {
        house.authority.set(&subject(change), Rider::Abnormal.facts(house.clock.now()).unwrap());
        longest[0] = longest[0].max(slowest(&fleet, &lost, tap(change), allow, "INSPECT HEALTH").await);

        let account = CHANGES + change;
        assert!(house.unlink(PARTNER, account).await.unwrap());
        longest[1] = longest[1].max(slowest(&fleet, &lost, tap(account), allow, "INSPECT NOT_LINKED").await);

        let card = senior(1_999 + change);
        let report = ReportLostRequest { medium: Some(card.clone()) };
        assert!(house.report_lost(COMPANY, report).await.unwrap().unlinked);
        longest[2] =
            longest[2].max(slowest(&fleet, &lost, || tap_of(&card), allow, "INSPECT NOT_LINKED").await);
    }
    let profiles = house.folder.path().join("profiles");
    let suzhou = || {
        let code = house.fresh(&house.phone_on(77, "99993205"));
        request(&format!("suzhou-{}", hex::encode(&code[code.len() - 16..])), code)
    };
    fs::write(profiles.join("new"), PROFILE).unwrap();
    fs::rename(profiles.join("new"), profiles.join("suzhou-metro.toml")).unwrap();
    longest[3] = slowest(&fleet, &lost, suzhou, "INSPECT CODE_UNTRUSTED", "INSPECT NOT_LINKED").await;

    // The issuer's certificate, of everybody's phones.
    let trust = house.folder.path().join("mot-trust.toml");
    let revoked =
        format!("{}\n[[revoked]]\nissuer = \"99990001\"\nserial = 1\n", fs::read_to_string(&trust).unwrap());
    fs::write(trust.with_extension("new"), revoked).unwrap();
    fs::rename(trust.with_extension("new"), &trust).unwrap();
    longest[4] = slowest(&fleet, &lost, suzhou, "INSPECT NOT_LINKED", "INSPECT CODE_UNTRUSTED").await;

    let kinds = ["status", "link withdrawn", "card lost", "new profile", "certificate revoked"];
    for (kind, longest) in kinds.iter().zip(longest) {
        println!("{kind}: in force at all of 4 replicas after {longest:?} at the most");
    }
    assert!(crowd.taps.load(Relaxed) > CROWD, "there were taps beside");
}
