//! Callers at constant load: what they ask, how often they must ask again, and everything that was seen.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ridegate_proto::validator::v1::{
    CheckRequest, CheckResponse, DegradedCause, Direction, Reason, check_request::Medium,
    validator_service_client::ValidatorServiceClient,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use crate::{
    city::City,
    history::History,
    links::Ledger,
    oracle::{Expect, Promise, Ruling, Seen, judge, may_close},
    plan::{Class, Part, Plan, REPLICAS, STATIONS},
    stand::{Stand, lock},
};

/// The longest that one answer may take; after it nobody is there.
const ANSWER: Duration = Duration::from_secs(20);
/// The longest until a question is answered, however often it broke.
const PATIENCE: Duration = Duration::from_mins(1);
const BEFORE_AGAIN: Duration = Duration::from_millis(20);
/// Wrong things that are told one by one.
const TOLD: usize = 40;

/// An answer, for the times.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub asked: Duration,
    pub answered: Duration,
    pub replica: u8,
    pub degraded: Option<DegradedCause>,
    pub failed: bool,
}

/// What was seen.
#[derive(Default)]
pub struct Records {
    pub samples: Vec<Sample>,
    /// How often each class was answered what.
    pub said: BTreeMap<(Class, String), u64>,
    pub excused: BTreeMap<&'static str, u64>,
    pub wrong: Vec<String>,
    pub wrong_count: u64,
    pub copies: u64,
    pub retries: u64,
}

/// A caller's connections to each replica.
struct Line {
    endpoints: Vec<Endpoint>,
    channels: Mutex<Vec<Option<(Channel, Instant)>>>,
}

pub struct Load {
    pub plan: Plan,
    pub city: City,
    pub stand: Stand,
    pub promise: Promise,
    lines: BTreeMap<String, Line>,
    /// How long a caller keeps a connection; for good where there is none.
    keeps: Option<Duration>,
    began: Instant,
    history: RwLock<History>,
    pub records: Mutex<Records>,
    pub ledger: Ledger,
    /// Calls that found a closed connection, of any kind.
    pub closed: AtomicU64,
    pub answers: AtomicU64,
    over: AtomicBool,
}

/// One code at one gate.
pub struct Show {
    pub id: String,
    pub code: Vec<u8>,
    pub direction: Direction,
    pub gate: u16,
    pub replica: u8,
}

/// The answer to it.
pub struct Told {
    pub seen: Seen,
    pub answer: CheckResponse,
}

impl Load {
    pub fn new(plan: Plan, city: City, stand: Stand, promise: Promise, keeps: Option<Duration>) -> Self {
        let stations = (0..STATIONS).map(station);
        let partners = city.partners().into_iter().map(|partner| format!("urn:ridegate:partner:{partner}"));
        let line = |identity: String| {
            let files = stand.certify(&identity);
            let endpoint = |address| files.endpoint(&format!("https://{address}"), &stand.ca()).unwrap();
            let endpoints: Vec<_> = stand.addresses.iter().map(endpoint).collect();
            let channels = Mutex::new(vec![None; endpoints.len()]);
            (identity, Line { endpoints, channels })
        };
        let lines = stations.chain(partners).map(line).collect();
        Self {
            plan,
            city,
            stand,
            promise,
            lines,
            keeps,
            began: Instant::now(),
            history: RwLock::default(),
            records: Mutex::default(),
            ledger: Ledger::default(),
            closed: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// The run begins now.
    pub fn begin(&mut self) {
        self.began = Instant::now();
    }

    /// Since the start of the run.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub async fn wait_until(&self, at: Duration) {
        sleep_until(self.began + at).await;
    }

    /// Nothing new is begun from now on.
    pub fn finish(&self) {
        self.over.store(true, Relaxed);
    }

    pub fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    pub fn history(&self) -> History {
        self.history.read().unwrap().clone()
    }

    pub fn note_end(&self, part: Part) -> usize {
        self.history.write().unwrap().begin(part, self.now())
    }

    pub fn note_start(&self, span: usize) {
        self.history.write().unwrap().end(span, self.now());
    }

    /// A caller's connection to a replica; a new one if the last was kept long enough.
    pub fn channel(&self, identity: &str, replica: u8) -> Channel {
        let line = &self.lines[identity];
        let place = &mut lock(&line.channels)[usize::from(replica)];
        let now = Instant::now();
        match place {
            Some((channel, until)) if *until > now => channel.clone(),
            _ => {
                let channel = line.endpoints[usize::from(replica)].connect_lazy();
                // Not all at once.
                let keeps = self.keeps.map(|keeps| keeps.mul_f64(rand::random_range(0.5..1.5)));
                let until = now + keeps.unwrap_or(Duration::from_hours(48));
                *place = Some((channel.clone(), until));
                channel
            }
        }
    }

    /// Shows a code until it is answered: at the next replica where a connection is closed.
    pub async fn show(&self, show: &Show) -> Option<Told> {
        let identity = station(u8::try_from(show.gate % u16::from(STATIONS)).unwrap());
        let request = CheckRequest {
            request_id: show.id.clone(),
            medium: Some(Medium::QrCode(show.code.clone().into())),
            direction: show.direction.into(),
            location: "xizhimen".into(),
            device_id: format!("gate-{}", show.gate),
            scanned_at: None,
        };
        let asked = self.now();
        for attempt in 0.. {
            let replica = (show.replica + attempt % REPLICAS) % REPLICAS;
            let mut client = ValidatorServiceClient::new(self.channel(&identity, replica));
            let tried = self.now();
            let answer = timeout(ANSWER, client.check(request.clone())).await;
            let answered = self.now();
            match answer {
                Ok(Ok(answer)) => {
                    let answer = answer.into_inner();
                    let degraded =
                        answer.degraded.as_ref().map(ridegate_proto::validator::v1::Degraded::cause);
                    let seen = Seen { reason: answer.reason(), degraded, asked, answered, replica };
                    // What is repeated was marked at another time.
                    let first = answer.retry_of.is_empty();
                    self.note(&Seen { degraded: degraded.filter(|_| first), ..seen }, attempt);
                    return Some(Told { seen, answer });
                }
                Ok(Err(status)) if is_closed(&status) => self.left(replica, tried),
                Ok(Err(status)) => {
                    self.wrong(&format!("a tap was answered with a status: {status:?}"));
                    return None;
                }
                Err(_) => {
                    self.wrong("a tap was not answered in time");
                    return None;
                }
            }
            if self.is_over() {
                return None;
            }
            if self.now() - asked > PATIENCE {
                self.wrong("a tap was answered nowhere");
                return None;
            }
            sleep(BEFORE_AGAIN).await;
        }
        None
    }

    /// A replica has closed a connection since then: only one that was ended may.
    pub fn left(&self, replica: u8, since: Duration) {
        self.closed.fetch_add(1, Relaxed);
        let may = may_close(replica, since, self.now(), &self.history(), &self.promise);
        if !may && !self.is_over() {
            self.wrong(&format!("replica {replica} closed a connection, and nobody had ended it"));
        }
    }

    fn note(&self, seen: &Seen, attempts: u8) {
        let Seen { asked, answered, replica, degraded, reason } = *seen;
        self.answers.fetch_add(1, Relaxed);
        // One mark is told; it may stand in the place of Redis's.
        if degraded.is_some() {
            let alone = &mut self.history.write().unwrap().alone[usize::from(replica)];
            *alone = answered.max(*alone);
        }
        let mut records = lock(&self.records);
        records.retries += u64::from(attempts > 0);
        let failed = reason == Reason::LookupFailed;
        records.samples.push(Sample { asked, answered, replica, degraded, failed });
    }

    /// Judges an answer, and keeps what came of it.
    pub fn judge(&self, class: Class, expect: Expect<'_>, told: &Told) -> Ruling {
        let history = self.history();
        let ruling = judge(expect, &told.seen, &history, &self.promise);
        let reason = told.answer.reason().as_str_name().trim_start_matches("REASON_").to_owned();
        let mut records = lock(&self.records);
        *records.said.entry((class, reason)).or_default() += 1;
        match ruling {
            Ruling::Right => {}
            Ruling::Excused(why) => *records.excused.entry(why).or_default() += 1,
            Ruling::Wrong(why) => {
                let recent: Vec<_> = history
                    .spans
                    .iter()
                    .filter(|span| span.touches(told.seen.asked, told.seen.answered, Duration::from_secs(30)))
                    .collect();
                let told = format!("{why}: {class:?}, {expect:?}, {:?}; away {recent:?}", told.seen);
                records.wrong_count += 1;
                if records.wrong.len() < TOLD {
                    records.wrong.push(told);
                }
            }
        }
        ruling
    }

    /// Something that must not be.
    pub fn wrong(&self, what: &str) {
        let mut records = lock(&self.records);
        records.wrong_count += 1;
        let at = self.now();
        if records.wrong.len() < TOLD {
            records.wrong.push(format!("{:.3} s: {what}", at.as_secs_f64()));
        }
    }
}

pub fn station(number: u8) -> String {
    format!("urn:ridegate:validator:bjsubway:station-{number}")
}

/// Whether no answer came because the connection was refused, cut or asked to leave: nobody at the other end has said
/// this status.
pub fn is_closed(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// What the run shares.
pub type Shared = Arc<Load>;
