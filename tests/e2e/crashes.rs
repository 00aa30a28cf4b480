//! Kill −9 and power cuts at any moment: of gateways and of the database, while clients link, unlink and report. Nothing
//! that was acknowledged is lost, nothing is there that nobody asked for, nothing is done twice.
//!
//! `RIDEGATE_CRASH_SEED` repeats a run's plan, `RIDEGATE_CRASH_KILLS` makes it longer.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use ridegate_proto::{
    partner::v1::{
        BatchRow, BatchRowResult, Client, ConfirmDelegatedLinkRequest, ConfirmationResult, DelegationResult,
        GetBatchRequest, GetLinkRequest, LinkResult, LinkRiderRequest, LinkRiderResponse, Medium, MediumKind,
        Os, ReissueResult, ReportLostRequest, ReportReissuedRequest, StartDelegatedLinkRequest,
        UnlinkRiderRequest, partner_service_client::PartnerServiceClient,
    },
    validator::v1::{
        CardKind, CardTap, CheckRequest, Reason, check_request,
        validator_service_client::ValidatorServiceClient,
    },
};
use ridegate_sim::{authority::Authority, riders::Rider};
use tokio::{
    task::{JoinSet, LocalSet},
    time::sleep,
};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt;

use crate::{
    batches::{row, rows, start},
    house::{GATE, House, PARTNER, as_partner, identified, link_request, medium, request, subject},
    postgres::Postgres,
    process::{Process, ridegate, text},
};

const CLIENTS: u64 = 8;
/// In one run of `make test`.
const KILLS: usize = 10;
/// Riders for whose only card several clients race.
const RIVALS: u64 = 6;
/// Longest for one call to be answered, however often it broke.
const PATIENCE: Duration = Duration::from_mins(1);
/// So wide that none is over them; cards are tapped as often as they are.
const WIDE: &str = "[quota]\ncalls_per_second = 100000\ncalls_burst = 100000\n[cards]\nper_device_per_second = 100000\nper_device_burst = 100000\n";

/// A house's database: SQLite beside its configuration, or a PostgreSQL of its own.
pub struct Store(Option<(Postgres, String)>);

impl Store {
    pub const fn file() -> Self {
        Self(None)
    }

    pub fn server() -> Self {
        let server = Postgres::start();
        let url = server.create_database();
        let name = url.rsplit('/').next().unwrap().to_owned();
        Self(Some((server, name)))
    }

    /// Has the gateways of this configuration use it from now on. They must not run.
    pub fn furnish(&self, folder: &Path) -> PathBuf {
        let config = folder.join("ridegate.toml");
        if let Some((server, name)) = &self.0 {
            std::fs::write(folder.join("postgres.password"), server.password()).unwrap();
            let keys = format!(
                "[registry]\nurl = \"{}\"\npassword_file = \"postgres.password\"\n",
                server.address(name)
            );
            let written = std::fs::read_to_string(&config).unwrap().replacen("[registry]\n", &keys, 1);
            std::fs::write(&config, written).unwrap();
            let migrate = ridegate().args(["migrate", "--insecure-dev", "--config"]).arg(&config).output();
            let migrate = migrate.unwrap();
            assert!(migrate.status.success(), "{}", text(&migrate.stderr));
        }
        config
    }

    pub const fn postgres(&self) -> Option<&(Postgres, String)> {
        self.0.as_ref()
    }

    /// What this statement counts.
    async fn count(&self, folder: &Path, statement: &'static str) -> i64 {
        if let Some((server, name)) = &self.0 {
            return server.sql(name, statement).trim().parse().unwrap();
        }
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("ridegate.db"));
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        let count = sqlx::query_scalar(statement).fetch_one(&pool).await.unwrap();
        pool.close().await;
        count
    }
}

/// Two gateways over one database.
struct Fleet {
    house: House,
    store: Store,
    config: PathBuf,
    processes: [Option<Process>; 2],
    line: Line,
}

/// Where the gateways are just now, and how many calls they have answered.
#[derive(Clone)]
struct Line {
    channels: Arc<Mutex<Vec<Channel>>>,
    answered: Arc<AtomicU64>,
}

impl Line {
    fn to(&self, which: usize) -> Channel {
        self.channels.lock().unwrap()[which].clone()
    }

    /// Waits until so many more calls were answered: there is something to lose then, however slow the machine is.
    async fn lives(&self, calls: u64) {
        let (enough, began) = (self.answered.load(Relaxed) + calls, Instant::now());
        while self.answered.load(Relaxed) < enough {
            assert!(began.elapsed() < PATIENCE, "nothing is answered any more");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Fleet {
    async fn start(store: Store) -> Self {
        let mut house = House::with(WIDE).await;
        house.close().await;
        std::fs::remove_file(house.folder.path().join("ridegate.db")).unwrap();
        let config = store.furnish(house.folder.path());
        let processes = [0, 1].map(|_| Some(Process::start(&config)));
        let channels = processes.iter().flatten().map(channel).collect();
        Self {
            house,
            store,
            config,
            processes,
            line: Line { channels: Arc::new(Mutex::new(channels)), answered: Arc::default() },
        }
    }

    /// One of the gateways, or the database, ends at once and comes back.
    async fn kill(mut self, victim: usize) -> Self {
        let work = move || {
            match (victim, &mut self.store.0) {
                (2, Some((server, _))) => {
                    server.kill();
                    server.restart();
                }
                (which, _) => {
                    let which = which % 2;
                    self.processes[which].take().unwrap().kill();
                    let process = Process::start(&self.config);
                    self.line.channels.lock().unwrap()[which] = channel(&process);
                    self.processes[which] = Some(process);
                }
            }
            self
        };
        tokio::task::spawn_blocking(work).await.unwrap()
    }
}

fn channel(process: &Process) -> Channel {
    tonic::transport::Endpoint::from_shared(process.endpoint.clone()).unwrap().connect_lazy()
}

fn yikatong(number: u64) -> Medium {
    card(MediumKind::YikatongCard, "01001000", number)
}

fn senior(number: u64) -> Medium {
    card(MediumKind::SeniorCard, "01001001", number)
}

fn card(kind: MediumKind, issuer: &str, number: u64) -> Medium {
    Medium { kind: kind.into(), issuer: issuer.into(), account: format!("{number:016}") }
}

/// A medium, as what is known of it is kept.
type Name = (i32, String);

fn name(medium: &Medium) -> Name {
    (medium.kind, medium.account.clone())
}

/// What one client does to media that nobody else touches, and what it was told.
struct Worker {
    number: u64,
    line: Line,
    authority: Authority,
    rng: ChaCha20Rng,
    made: u64,
    /// Whether each medium that was ever asked for is linked now, and its rider.
    model: BTreeMap<Name, (Medium, Option<String>)>,
    /// What was asked under each idempotency key, and what was answered.
    answered: Vec<(LinkRiderRequest, LinkRiderResponse)>,
    told: Told,
}

/// What came to pass: a run in which nothing broke shows nothing.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    linked: u64,
    unlinked: u64,
    lost: u64,
    rows: u64,
    delegated: u64,
    refused: u64,
    broken: u64,
}

impl Worker {
    fn new(fleet: &Fleet, seed: u64, number: u64) -> Self {
        Self {
            number,
            line: fleet.line.clone(),
            authority: fleet.house.authority.clone(),
            rng: ChaCha20Rng::seed_from_u64(seed.wrapping_mul(1000) + number),
            made: 0,
            model: BTreeMap::new(),
            answered: Vec::new(),
            told: Told::default(),
        }
    }

    async fn work(mut self, over: Arc<AtomicBool>) -> Self {
        while !over.load(Relaxed) {
            match self.rng.random_range(0..10) {
                0..=2 => self.link_codes().await,
                3..=4 => self.link_for_a_rival().await,
                5..=6 => self.unlink().await,
                7 => self.batch().await,
                8 => self.lose().await,
                _ => self.delegate().await,
            }
            self.look_again().await;
        }
        self
    }

    /// A number that nobody else uses.
    fn fresh(&mut self) -> u64 {
        self.made += 1;
        self.number * 100_000 + self.made
    }

    /// Makes a call, at whichever gateway, until it is answered. Tells how often it broke: then it may have been
    /// carried out before.
    async fn call<T>(
        &mut self,
        call: impl AsyncFn(&mut PartnerServiceClient<Channel>) -> Result<T, Status>,
    ) -> (T, u64) {
        let (began, mut broken) = (Instant::now(), 0);
        let mut which = self.rng.random_range(0..2);
        loop {
            let mut client = PartnerServiceClient::new(self.line.to(which));
            let status = match tokio::time::timeout(Duration::from_secs(10), call(&mut client)).await {
                Ok(Ok(answer)) => {
                    self.told.broken += broken;
                    self.line.answered.fetch_add(1, Relaxed);
                    return (answer, broken);
                }
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("no answer"),
            };
            let may_be_repeated = matches!(
                status.code(),
                Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::DeadlineExceeded
            );
            let reason = status.get_details_error_info().map(|info| info.reason);
            assert!(reason.as_deref() != Some("REGISTRY_UNREADABLE"), "{status:?}");
            assert!(may_be_repeated && began.elapsed() < PATIENCE, "{status:?}");
            broken += 1;
            which = 1 - which;
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn request(&mut self, media: Vec<Medium>, rider: &str) -> LinkRiderRequest {
        let key = format!("crash-{}", self.fresh());
        let code = format!("{key}-code");
        self.authority.authorise(&code, rider);
        let client = Some(Client { os: Os::Ios.into(), app_version: "6.0".into() });
        LinkRiderRequest { idempotency_key: key, media, authorization_code: code, client, ..link_request(1) }
    }

    async fn link(&mut self, media: Vec<Medium>, rider: &str) -> LinkResult {
        let asked = self.request(media, rider);
        let (answer, _) = self
            .call(async |client| {
                Ok(client.link_rider(as_partner(PARTNER, asked.clone())).await?.into_inner())
            })
            .await;
        let result = answer.result();
        let linked = (result == LinkResult::Linked).then(|| rider.to_owned());
        for medium in &asked.media {
            self.model.insert(name(medium), (medium.clone(), linked.clone()));
        }
        if linked.is_some() {
            self.answered.push((asked, answer));
        }
        result
    }

    /// Accounts of a rider of its own.
    async fn link_codes(&mut self) {
        let media = (0..self.rng.random_range(1..4)).map(|_| medium(self.fresh())).collect();
        let rider = subject(self.fresh());
        assert_eq!(self.link(media, &rider).await, LinkResult::Linked, "also where it was repeated");
        self.told.linked += 1;
    }

    /// A card of this client's, for a rider for whom others link theirs at the same time: one place (D6).
    async fn link_for_a_rival(&mut self) {
        let card = yikatong(self.fresh());
        let rider = format!("rival-{}", self.rng.random_range(0..RIVALS));
        match self.link(vec![card], &rider).await {
            LinkResult::Linked => self.told.linked += 1,
            LinkResult::LimitReached => self.told.refused += 1,
            other => panic!("{other:?}"),
        }
    }

    /// A medium that is linked now, of these kinds.
    fn linked(&mut self, kinds: &[MediumKind]) -> Option<(Medium, String)> {
        let linked = self.model.values().filter_map(|(medium, rider)| {
            kinds.contains(&medium.kind()).then(|| Some((medium.clone(), rider.clone()?))).flatten()
        });
        let linked: Vec<_> = linked.collect();
        (!linked.is_empty()).then(|| linked[self.rng.random_range(0..linked.len())].clone())
    }

    async fn unlink(&mut self) {
        let Some((medium, _)) = self.linked(&[MediumKind::MotCode, MediumKind::YikatongCard]) else { return };
        let asked = UnlinkRiderRequest { medium: Some(medium.clone()) };
        let (answer, broken) = self
            .call(async |client| {
                Ok(client.unlink_rider(as_partner(PARTNER, asked.clone())).await?.into_inner())
            })
            .await;
        assert!(answer.unlinked || broken > 0, "an acknowledged link was not there: {medium:?}");
        self.model.insert(name(&medium), (medium, None));
        self.told.unlinked += 1;
    }

    /// Concession cards, in messages of a few; what broke is sent again, from the start or from where it is said to be.
    async fn batch(&mut self) {
        let id = format!("batch-{}", self.fresh());
        let mut cards = Vec::new();
        for _ in 0..self.rng.random_range(3..15) {
            let number = self.fresh();
            let (card, rider, code) = (senior(number), subject(number), format!("row-{number}"));
            self.authority.authorise(&code, &rider);
            cards.push((card, rider, code));
        }
        let sent: Vec<_> = cards.iter().map(|(card, _, code)| row(card.clone(), code)).collect();
        let (from_the_start, size) = (self.rng.random_bool(0.5), self.rng.random_range(1..6));
        let (progress, _) =
            self.call(async |client| carry_out(client, &id, &sent, size, from_the_start).await).await;
        assert_eq!(progress, [(BatchRowResult::Linked.into(), sent.len() as u64)].into(), "once each");
        self.told.rows += sent.len() as u64;
        for (card, rider, _) in cards {
            self.model.insert(name(&card), (card, Some(rider)));
        }
    }

    /// A concession card is lost; now and then another takes its place.
    async fn lose(&mut self) {
        let Some((card, rider)) = self.linked(&[MediumKind::SeniorCard]) else { return };
        let asked = ReportLostRequest { medium: Some(card.clone()) };
        let (answer, broken) = self
            .call(async |client| {
                Ok(client.report_lost(as_partner(PARTNER, asked.clone())).await?.into_inner())
            })
            .await;
        assert!(answer.unlinked || broken > 0, "an acknowledged row was not there: {card:?}");
        self.model.insert(name(&card), (card.clone(), None));
        self.told.lost += 1;
        if self.rng.random_bool(0.5) {
            let next = senior(self.fresh());
            let asked = ReportReissuedRequest { lost: Some(card), reissued: Some(next.clone()) };
            let (answer, _) = self
                .call(async |client| {
                    Ok(client.report_reissued(as_partner(PARTNER, asked.clone())).await?.into_inner())
                })
                .await;
            assert_eq!(answer.result(), ReissueResult::Linked, "an acknowledged loss is remembered");
            self.model.insert(name(&next), (next, Some(rider)));
        }
    }

    /// An account of somebody else's, with the digits that they were sent.
    async fn delegate(&mut self) {
        let number = self.fresh();
        let (account, person, key) = (medium(number), subject(number), format!("delegated-{number}"));
        let code = format!("{key}-code");
        self.authority.authorise_for(&code, &format!("agent-{number}"), &person, true);
        let LinkRiderRequest { consent, channel, client, .. } = self.request(vec![], &person);
        let asked = StartDelegatedLinkRequest {
            idempotency_key: key,
            media: vec![account.clone()],
            authorization_code: code,
            consent,
            channel,
            client,
        };
        let (started, _) = self
            .call(async |client| {
                Ok(client.start_delegated_link(as_partner(PARTNER, asked.clone())).await?.into_inner())
            })
            .await;
        assert_eq!(started.result(), DelegationResult::Started);
        let texts = self.authority.texted(&person);
        assert_eq!(texts.len(), 1, "repeats send nothing");
        let confirm =
            ConfirmDelegatedLinkRequest { delegation_id: started.delegation_id, code: texts[0].clone() };
        let (answer, broken) = self
            .call(async |client| {
                Ok(client.confirm_delegated_link(as_partner(PARTNER, confirm.clone())).await?.into_inner())
            })
            .await;
        let rider = match answer.result() {
            ConfirmationResult::Confirmed => {
                assert_eq!(answer.link.unwrap().result(), LinkResult::Linked);
                Some(person)
            }
            // Every crash may have taken a try.
            ConfirmationResult::CodeExpired if broken >= 5 => None,
            other => panic!("{other:?} after {broken}"),
        };
        self.told.delegated += u64::from(rider.is_some());
        self.model.insert(name(&account), (account, rider));
    }

    /// Anything at all that this client knows of is as it was told, wherever it is asked.
    async fn look_again(&mut self) {
        if self.model.is_empty() {
            return;
        }
        let which = self.rng.random_range(0..self.model.len());
        let (medium, rider) = self.model.values().nth(which).unwrap().clone();
        assert_eq!(self.is_linked(&medium).await, rider.is_some(), "{medium:?}");
    }

    async fn is_linked(&mut self, medium: &Medium) -> bool {
        let asked = GetLinkRequest { medium: Some(medium.clone()) };
        let get = async |client: &mut PartnerServiceClient<Channel>| {
            Ok(client.get_link(as_partner(PARTNER, asked.clone())).await?.into_inner().link.is_some())
        };
        self.call(get).await.0
    }

    /// Everything is as it was acknowledged; repeats of what was answered answer the same and change nothing.
    async fn settle_up(&mut self) {
        for (asked, answer) in std::mem::take(&mut self.answered) {
            let again = self
                .call(async |client| {
                    Ok(client.link_rider(as_partner(PARTNER, asked.clone())).await?.into_inner())
                })
                .await;
            assert_eq!(again.0, answer, "a repeat answers the same");
        }
        for (medium, rider) in self.model.clone().into_values() {
            assert_eq!(self.is_linked(&medium).await, rider.is_some(), "{medium:?}");
        }
    }
}

/// Sends a batch; tells how many rows came to what.
async fn carry_out(
    client: &mut PartnerServiceClient<Channel>,
    id: &str,
    sent: &[BatchRow],
    size: usize,
    from_the_start: bool,
) -> Result<BTreeMap<i32, u64>, Status> {
    let asked = GetBatchRequest { batch_id: id.to_owned(), from_row: 0 };
    let done = match client.get_batch(as_partner(PARTNER, asked.clone())).await {
        Ok(answer) => answer.into_inner().progress.unwrap_or_default().rows_done,
        Err(status) if status.code() == Code::NotFound => 0,
        Err(status) => return Err(status),
    };
    let first = if from_the_start { 0 } else { usize::try_from(done).unwrap() };
    let mut messages = vec![start(id)];
    let chunks = sent[first..].chunks(size).zip((first as u64..).step_by(size));
    messages.extend(chunks.map(|(chunk, first)| rows(first, chunk.to_vec())));
    client.batch_link(as_partner(PARTNER, tokio_stream::iter(messages))).await?;
    let progress = client.get_batch(as_partner(PARTNER, asked)).await?.into_inner().progress.unwrap();
    assert_eq!(progress.rows_done, sent.len() as u64);
    Ok(progress.counts.iter().map(|count| (count.result, count.rows)).collect())
}

fn from_environment<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

/// A seeded run: clients work while gateways and the database are killed. Returns when everything was looked at.
async fn run(store: Store) {
    let seed = from_environment("RIDEGATE_CRASH_SEED").unwrap_or_else(rand::random::<u32>);
    let kills: usize = from_environment("RIDEGATE_CRASH_KILLS").unwrap_or(KILLS);
    println!("RIDEGATE_CRASH_SEED={seed}");
    let victims = if store.postgres().is_some() { 3 } else { 2 };
    let mut fleet = Fleet::start(store).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut workers = JoinSet::new();
    for number in 1..=CLIENTS {
        workers.spawn_local(Worker::new(&fleet, seed.into(), number).work(Arc::clone(&over)));
    }
    let mut rng = ChaCha20Rng::seed_from_u64(seed.into());
    for kill in 0..kills {
        fleet.line.lives(5 * CLIENTS).await;
        sleep(Duration::from_millis(rng.random_range(0..400))).await;
        // A client that saw something wrong is heard at once.
        if let Some(done) = workers.try_join_next() {
            done.unwrap();
        }
        // Every victim has its turns, in an order of the seed's.
        let victim = if kill < victims { kill } else { rng.random_range(0..victims) };
        fleet = fleet.kill(victim).await;
    }
    over.store(true, Relaxed);
    let mut workers = workers.join_all().await;
    let mut all = Told::default();
    for worker in &mut workers {
        worker.settle_up().await;
        let Told { linked, unlinked, lost, rows, delegated, refused, broken } = worker.told;
        all = Told {
            linked: all.linked + linked,
            unlinked: all.unlinked + unlinked,
            lost: all.lost + lost,
            rows: all.rows + rows,
            delegated: all.delegated + delegated,
            refused: all.refused + refused,
            broken: all.broken + broken,
        };
    }
    println!("{kills} kills, {all:?}");
    assert!(
        all.linked > 0 && all.unlinked > 0 && all.rows > 0 && all.refused > 0,
        "a run with something to lose"
    );
    assert!(kills == 0 || all.broken > 0, "kills that nobody noticed");
    nothing_else_is_there(&fleet, &workers).await;
    gates_know(&fleet, &workers).await;
}

/// In the database there is what was acknowledged, and no more.
async fn nothing_else_is_there(fleet: &Fleet, workers: &[Worker]) {
    let mut linked = 0;
    let mut cards = HashMap::<_, u32>::new();
    for (medium, rider) in workers.iter().flat_map(|worker| worker.model.values()) {
        let Some(rider) = rider else { continue };
        linked += 1;
        if medium.kind() == MediumKind::YikatongCard {
            *cards.entry(rider).or_default() += 1;
        }
    }
    assert!(cards.values().all(|cards| *cards == 1), "one card for each person: {cards:?}");
    let folder = fleet.house.folder.path();
    let count = async |statement| fleet.store.count(folder, statement).await;
    assert_eq!(
        count("SELECT count(*) FROM link WHERE lost_at IS NULL").await,
        linked,
        "nothing else is linked"
    );
    let twice = "SELECT count(*) FROM (SELECT person FROM link WHERE kind = 'yikatong-card' GROUP BY person HAVING count(*) > 1) AS twice";
    assert_eq!(count(twice).await, 0);
    // What ended was noted, each once, and no number is left out.
    let ended: u64 = workers.iter().map(|worker| worker.told.unlinked + worker.told.lost).sum();
    assert_eq!(count("SELECT count(*) FROM change").await, i64::try_from(ended).unwrap());
    assert_eq!(count("SELECT seq FROM change_head").await, i64::try_from(ended).unwrap());
    let rows: u64 = workers.iter().map(|worker| worker.told.rows).sum();
    assert_eq!(
        count("SELECT CAST(sum(many) AS BIGINT) FROM batch_count WHERE result = 1").await,
        i64::try_from(rows).unwrap()
    );
    assert_eq!(count("SELECT CAST(sum(rows_done) AS BIGINT) FROM batch").await, i64::try_from(rows).unwrap());
}

/// At both gates who is linked is let in, and who is not is not.
async fn gates_know(fleet: &Fleet, workers: &[Worker]) {
    let mut taps = 0;
    let codes = [true, false].into_iter().flat_map(|wanted| {
        let of = |worker: &Worker| {
            let model = worker.model.values();
            let of_kind = model
                .filter(|(medium, rider)| medium.kind() != MediumKind::MotCode && rider.is_some() == wanted);
            of_kind.take(5).cloned().collect::<Vec<_>>()
        };
        workers.iter().flat_map(of).collect::<Vec<_>>()
    });
    for (medium, rider) in codes {
        if let Some(rider) = &rider {
            fleet.house.authority.set(rider, Rider::Healthy.facts(fleet.house.clock.now()).unwrap());
        }
        let kind = if medium.kind() == MediumKind::YikatongCard {
            CardKind::YikatongCard
        } else {
            CardKind::SeniorCard
        };
        for which in [0, 1] {
            let card =
                CardTap { kind: kind.into(), number: medium.account.clone(), issuer: medium.issuer.clone() };
            let tap = CheckRequest {
                medium: Some(check_request::Medium::Card(card)),
                ..request(&format!("crash-{taps}"), vec![])
            };
            taps += 1;
            let mut gate = ValidatorServiceClient::new(fleet.line.to(which));
            let tapped: Request<_> = identified(GATE, tap);
            let answer = gate.check(tapped).await.unwrap().into_inner();
            assert_eq!(answer.reason() != Reason::NotLinked, rider.is_some(), "{medium:?}: {answer:?}");
            assert_ne!(answer.reason(), Reason::LookupFailed, "{medium:?}");
        }
    }
    assert!(taps > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_gateways_on_one_sqlite_file_loses_nothing_and_invents_nothing() {
    LocalSet::new().run_until(Box::pin(run(Store::file()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_of_gateways_and_of_postgresql_loses_nothing_and_invents_nothing() {
    LocalSet::new().run_until(Box::pin(run(Store::server()))).await;
}
