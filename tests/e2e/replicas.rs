//! Two gateways on one registry: what ends at one, or by an operator's hand, is in force at the other within a second;
//! and what happens to both when the registry is away.

use std::{
    io::Write,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ridegate_gateway::{
    app::{Running, Settings},
    backends::registry::{Location, Registry},
    config::ConfigFile,
    keyring::Keyring,
};
use ridegate_proto::{
    partner::v1::{GetLinkRequest, Medium, ReportLostRequest, ReportReturnedRequest},
    validator::v1::{
        CheckResponse, Degraded, DegradedCause, validator_service_client::ValidatorServiceClient,
    },
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tonic::{Code, transport::Channel};

use crate::{
    batches::{row, rows, senior, start},
    errands::{COMPANY, MANY_TAPS, of_media, reason, tap_of, yikatong},
    house::{GATE, House, connect, identified, said},
    postgres::Postgres,
    process::{ridegate, text},
};

const LET_THROUGH: &str = "ALLOW HEALTH_OK";
const UNLINKED: &str = "INSPECT NOT_LINKED";
const FAILED: &str = "INSPECT LOOKUP_FAILED";
/// How long a change may take to be in force everywhere.
const SECOND: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

/// Another gateway on a house's configuration.
pub struct Replica {
    pub gateway: Running,
    pub channel: Channel,
}

impl Replica {
    pub async fn of(house: &House) -> Self {
        let file = ConfigFile::load(&house.folder.path().join("ridegate.toml")).unwrap();
        let gateway = Settings::new(file, house.clock.clone(), true).unwrap().start().await.unwrap();
        let channel = connect(&format!("http://{}", gateway.address())).await;
        Self { gateway, channel }
    }
}

async fn tapped(at: &Channel, card: &Medium) -> CheckResponse {
    let request = identified(GATE, tap_of(card));
    ValidatorServiceClient::new(at.clone()).check(request).await.unwrap().into_inner()
}

/// When a change is in force, from its acknowledgement on. What is asked later than a second after that is answered by
/// it, or says that the registry is not heard of.
async fn in_force(at: &Channel, card: &Medium, acknowledged: Instant) -> Duration {
    loop {
        let asked = acknowledged.elapsed();
        let answer = tapped(at, card).await;
        if said(&answer) == UNLINKED {
            return asked;
        }
        assert_eq!(said(&answer), LET_THROUGH);
        assert!(asked <= SECOND || answer.degraded.is_some(), "as it was, {asked:?} after it had changed");
        assert!(asked < PATIENCE, "never in force");
        sleep(Duration::from_millis(1)).await;
    }
}

/// Taps all cards at a gateway again and again, so that it remembers every link.
struct Warm {
    over: Arc<AtomicBool>,
    taps: Arc<AtomicU64>,
}

impl Warm {
    fn start(at: &Channel, cards: &[Medium]) -> Self {
        let (over, taps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (at, cards) = (at.clone(), cards.to_vec());
        let (stop, count) = (Arc::clone(&over), Arc::clone(&taps));
        tokio::spawn(async move {
            for card in cards.iter().cycle().take_while(|_| !stop.load(Relaxed)) {
                tapped(&at, card).await;
                count.fetch_add(1, Relaxed);
            }
        });
        Self { over, taps }
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
    }
}

/// `ridegate purge … --yes`, with this on standard input; when it has ended.
async fn purge(house: &House, what: &[&str], input: &str) -> Instant {
    let mut command = ridegate();
    command.arg("purge").args(what).arg("--config").arg(house.folder.path().join("ridegate.toml"));
    command.args(["--insecure-dev", "--yes"]).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{input}").unwrap();
    let done = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    assert!(done.status.success(), "{}{}", text(&done.stdout), text(&done.stderr));
    Instant::now()
}

async fn changes_are_in_force_at_both(house: &House) {
    let second = Replica::of(house).await;
    let cards: Vec<_> = (0..40).map(|n| if n % 3 == 2 { senior(n) } else { yikatong(n) }).collect();
    for (rider, card) in (0..).zip(&cards) {
        let code = format!("code-{rider}");
        house.agree(rider, &code);
        if rider % 3 == 2 {
            let batch = vec![start(&code), rows(0, vec![row(card.clone(), &code)])];
            assert_eq!(house.batch(COMPANY, batch).await.unwrap().progress.unwrap().counts[0].result, 1);
        } else {
            assert_eq!(house.link(COMPANY, of_media(&code, vec![card.clone()])).await.unwrap().result, 1);
        }
        assert_eq!(said(&tapped(&second.channel, card).await), LET_THROUGH);
    }
    let warm = Warm::start(&second.channel, &cards);
    let mut longest = Duration::ZERO;
    for (number, card) in cards.iter().enumerate().take(33) {
        let medium = Some(card.clone());
        let ended = match number % 3 {
            0 => house.unlink_medium(COMPANY, card).await,
            1 => house.report_returned(COMPANY, ReportReturnedRequest { medium }).await.unwrap().unlinked,
            _ => house.report_lost(COMPANY, ReportLostRequest { medium }).await.unwrap().unlinked,
        };
        let acknowledged = Instant::now();
        assert!(ended);
        assert_eq!(house.card(card).await, UNLINKED, "here at once");
        longest = longest.max(in_force(&second.channel, card, acknowledged).await);
    }
    println!("33 changes, in force at the other gateway after {longest:?} at the most");

    // An operator's hand reaches both.
    let person = ["person", "--kind", "yikatong-card", "--issuer", "01001000"];
    let purged = purge(house, &person, &cards[33].account).await;
    for at in [&house.channel, &second.channel] {
        longest = longest.max(in_force(at, &cards[33], purged).await);
    }
    assert_eq!(said(&tapped(&second.channel, &cards[34]).await), LET_THROUGH, "the others stay");
    let purged = purge(house, &["everything"], "").await;
    for at in [&house.channel, &second.channel] {
        for card in &cards[34..] {
            longest = longest.max(in_force(at, card, purged).await);
        }
    }
    println!("with purges {longest:?}; {} taps meanwhile", warm.taps.load(Relaxed));
    // What is linked at one is linked at the other.
    house.agree(0, "anew");
    assert_eq!(house.link(COMPANY, of_media("anew", vec![cards[0].clone()])).await.unwrap().result, 1);
    assert_eq!(said(&tapped(&second.channel, &cards[0]).await), LET_THROUGH);
    drop(warm);
    second.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_at_one_gateway_ends_at_the_other_on_one_sqlite() {
    changes_are_in_force_at_both(&House::with(MANY_TAPS).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_at_one_gateway_ends_at_the_other_on_one_postgresql() {
    let postgres = Postgres::start();
    let (house, _keys) = on(&postgres, "timeout = \"5s\"\n").await;
    changes_are_in_force_at_both(&house).await;
}

/// A house on this PostgreSQL, with more keys of `[registry]`; the folder holds its keys.
async fn on(postgres: &Postgres, registry: &str) -> (House, TempDir) {
    let (url, folder) = (postgres.create_database(), tempfile::tempdir().unwrap());
    let address = postgres.address(url.rsplit('/').next().unwrap());
    let [keys, password] = ["ridegate.key", "password"].map(|name| folder.path().join(name));
    std::fs::write(&password, postgres.password()).unwrap();
    let ring = Arc::new(Keyring::create(&keys).unwrap());
    let location = Location::server(&address, Some(postgres.password()), 2, true).unwrap();
    assert_eq!(Registry::migrate(&location, ring).await.unwrap(), 0);
    let config = format!(
        "[verdict]\nbudget = \"10s\"\nwait = \"10s\"\n{MANY_TAPS}[registry]\nurl = \"{address}\"\npassword_file = \"{}\"\nkey_file = \"{}\"\n{registry}",
        password.display(),
        keys.display()
    );
    (House::exactly(&config, "lookup_timeout = \"5s\"").await, folder)
}

/// Taps until the answer is this one; others may come before it, if they are among these. Tells when it was asked for.
async fn until(house: &House, card: &Medium, wanted: (&str, bool), before: &[(&str, bool)]) -> Instant {
    let began = Instant::now();
    loop {
        let asked = Instant::now();
        let answer = tapped(&house.channel, card).await;
        let cause = answer.degraded.as_ref().map(Degraded::cause);
        assert!(cause.is_none_or(|cause| cause == DegradedCause::Registry), "{cause:?}");
        let verdict = said(&answer);
        let now = (verdict.as_str(), cause.is_some());
        if now == wanted {
            return asked;
        }
        assert!(before.contains(&now), "{now:?} before {wanted:?}");
        assert!(began.elapsed() < PATIENCE, "never {wanted:?}, still {now:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_postgresql_known_links_serve_for_a_while_and_say_so() {
    let stale_max = Duration::from_secs(8);
    let mut postgres = Postgres::start();
    let (house, _keys) = on(&postgres, "timeout = \"2s\"\nstale_links_max = \"8s\"\n").await;
    let (known, unknown) = (yikatong(1), yikatong(2));
    house.agree(1, "code-1");
    assert_eq!(house.link(COMPANY, of_media("code-1", vec![known.clone()])).await.unwrap().result, 1);
    assert_eq!(house.card(&known).await, LET_THROUGH);

    postgres.kill();
    let killed = Instant::now();
    until(&house, &known, (LET_THROUGH, true), &[(LET_THROUGH, false)]).await;
    let stale = tapped(&house.channel, &unknown).await;
    assert_eq!(
        (said(&stale).as_str(), stale.degraded.is_some()),
        (FAILED, true),
        "nobody is called unlinked"
    );
    let over = until(&house, &known, (FAILED, true), &[(LET_THROUGH, true)]).await;
    println!("known links served for {:?}", over - killed);
    // Later than this nothing that was remembered serves.
    while killed.elapsed() < stale_max {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(house.card(&known).await, FAILED);
    house.agree(2, "code-2");
    let link = of_media("code-2", vec![unknown.clone()]);
    let failed = [
        house.link(COMPANY, link.clone()).await.unwrap_err(),
        house.get_link(COMPANY, GetLinkRequest { medium: Some(known.clone()) }).await.unwrap_err(),
        house
            .report_returned(COMPANY, ReportReturnedRequest { medium: Some(yikatong(3)) })
            .await
            .unwrap_err(),
    ];
    for failed in failed {
        assert_eq!((failed.code(), reason(&failed).as_str()), (Code::Unavailable, "REGISTRY_UNAVAILABLE"));
    }

    postgres.restart();
    until(&house, &known, (LET_THROUGH, false), &[(FAILED, true), (LET_THROUGH, true)]).await;
    until(&house, &unknown, (UNLINKED, false), &[(FAILED, true)]).await;
    let mut linked = house.link(COMPANY, link.clone()).await;
    for _ in 0..50 {
        // A connection of before may be found out to be gone by using it.
        if linked.is_ok() {
            break;
        }
        linked = house.link(COMPANY, link.clone()).await;
    }
    assert_eq!(linked.unwrap().result, 1, "the same request as before");
    assert_eq!(house.card(&unknown).await, LET_THROUGH);
    assert!(house.unlink_medium(COMPANY, &known).await);
    assert_eq!(house.card(&known).await, UNLINKED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_starts_without_postgresql_and_finds_it_when_it_comes() {
    let mut postgres = Postgres::start();
    let (house, _keys) = on(&postgres, "timeout = \"2s\"\n").await;
    house.agree(1, "code-1");
    assert_eq!(house.link(COMPANY, of_media("code-1", vec![yikatong(1)])).await.unwrap().result, 1);
    postgres.kill();
    let house = house.reopen().await;
    for card in [yikatong(1), yikatong(2)] {
        let answer = tapped(&house.channel, &card).await;
        assert_eq!((said(&answer).as_str(), answer.degraded.is_some()), (FAILED, true));
    }
    house.agree(2, "code-2");
    let link = of_media("code-2", vec![yikatong(2)]);
    let failed = house.link(COMPANY, link.clone()).await.unwrap_err();
    assert_eq!((failed.code(), reason(&failed).as_str()), (Code::Unavailable, "REGISTRY_UNAVAILABLE"));
    postgres.restart();
    until(&house, &yikatong(1), (LET_THROUGH, false), &[(FAILED, true)]).await;
    assert_eq!(house.link(COMPANY, link).await.unwrap().result, 1);
    assert_eq!(house.card(&yikatong(2)).await, LET_THROUGH);
}
