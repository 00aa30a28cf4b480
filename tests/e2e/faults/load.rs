//! Taps at a constant rate, whatever becomes of the one before: how long one takes is counted from when it was due. Each
//! is of a class, of which it is known what is right.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha20Rng;
use ridegate_proto::{
    partner::v1::{LinkResult, partner_service_client::PartnerServiceClient},
    validator::v1::{
        CheckRequest, Degraded, DegradedCause, Direction, validator_service_client::ValidatorServiceClient,
    },
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tonic::{Code, transport::Channel};

use super::riders::{Class, Riders};
use crate::house::{PARTNER, as_partner, identified, link_request, request, said};

/// Of so many.
const MIX: [(Class, usize); 13] = [
    (Class::Warm, 7),
    (Class::Overdue, 1),
    (Class::Abnormal, 1),
    (Class::Cold, 3),
    (Class::ColdOverdue, 1),
    (Class::Unlinked, 1),
    (Class::Forged, 1),
    (Class::Expired, 1),
    (Class::Replay, 3),
    (Class::Online, 3),
    (Class::OtherOnline, 1),
    (Class::Leaving, 1),
    (Class::Linking, 1),
];
const GATES: usize = 40;

/// What one of them came to.
#[derive(Debug, Clone)]
pub struct Seen {
    pub class: Class,
    /// Since the load began.
    pub due: Duration,
    pub took: Duration,
    pub told: Result<Told, Code>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Verdict and reason.
    pub said: String,
    pub cause: Option<DegradedCause>,
}

/// A load that goes on until it is stopped.
pub struct Load {
    began: Instant,
    shared: Arc<Shared>,
    driver: tokio::task::JoinHandle<Duration>,
    over: tokio::sync::watch::Sender<bool>,
}

struct Shared {
    channels: Vec<Channel>,
    seen: Mutex<Vec<Seen>>,
    /// Codes that were used.
    used: Mutex<Vec<Vec<u8>>>,
    /// Accounts whose link was acknowledged, and those for which it was not.
    links: Mutex<HashMap<u64, bool>>,
}

/// What a load leaves.
pub struct Left {
    pub seen: Vec<Seen>,
    /// Accounts whose link was acknowledged, and those for which it was not.
    pub links: HashMap<u64, bool>,
    /// How late this process itself was with a tap, at the most.
    pub late: Duration,
}

impl Load {
    /// So many a second over these connections, from now on.
    pub fn start(channels: Vec<Channel>, riders: Riders, rate: u32, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            channels,
            seen: Mutex::default(),
            used: Mutex::default(),
            links: Mutex::default(),
        });
        let (over, stopped) = tokio::sync::watch::channel(false);
        let began = Instant::now();
        let driver = tokio::spawn(drive(Arc::clone(&shared), riders, began, rate, seed, stopped));
        Self { began, shared, driver, over }
    }

    /// How long it has run.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// When the last tap was due that was not as it is when all is well, since the load began.
    pub fn last_unwell(&self) -> Duration {
        let seen = self.shared.seen.lock().unwrap();
        let unwell = seen.iter().filter(|seen| !seen.is_well());
        unwell.map(|seen| seen.due).max().unwrap_or_default()
    }

    /// Stops, when all who are under way have been answered.
    pub async fn stop(self) -> Left {
        self.over.send_replace(true);
        let late = self.driver.await.unwrap();
        let seen = std::mem::take(&mut *self.shared.seen.lock().unwrap());
        let links = std::mem::take(&mut *self.shared.links.lock().unwrap());
        Left { seen, links, late }
    }
}

impl Seen {
    pub fn is_well(&self) -> bool {
        let well = |told: &Told| told.said == self.class.well() && told.cause.is_none();
        self.told.as_ref().is_ok_and(well)
    }
}

async fn drive(
    shared: Arc<Shared>,
    mut riders: Riders,
    began: Instant,
    rate: u32,
    seed: u64,
    over: tokio::sync::watch::Receiver<bool>,
) -> Duration {
    let mut chance = ChaCha20Rng::seed_from_u64(seed);
    let every: Vec<_> = MIX.iter().flat_map(|(class, often)| std::iter::repeat_n(*class, *often)).collect();
    let mut turn = Vec::new();
    let mut under_way = JoinSet::new();
    let mut late = Duration::ZERO;
    for number in 0_u32.. {
        let due = Duration::from_secs(1) * number / rate;
        sleep_until(began + due).await;
        late = late.max(began.elapsed().saturating_sub(due));
        if *over.borrow() {
            break;
        }
        if turn.is_empty() {
            turn.clone_from(&every);
            turn.shuffle(&mut chance);
        }
        let class = turn.pop().unwrap();
        let number = usize::try_from(number).unwrap();
        let at = (began, due, number);
        let shared = Arc::clone(&shared);
        match class {
            Class::Linking => drop(under_way.spawn(shared.link(at, riders.next_link()))),
            Class::Replay => {
                // Any of them: used before it broke, while it is broken, or since.
                let used = {
                    let mut used = shared.used.lock().unwrap();
                    let many = used.len();
                    (many > 0).then(|| used.swap_remove(chance.random_range(0..many)))
                };
                if let Some(code) = used {
                    under_way.spawn(shared.tap(at, class, code));
                }
            }
            class => {
                let (class, code) = riders.code(class);
                under_way.spawn(shared.tap(at, class, code));
            }
        }
        while let Some(ended) = under_way.try_join_next() {
            ended.unwrap();
        }
    }
    while let Some(ended) = under_way.join_next().await {
        ended.unwrap();
    }
    late
}

impl Shared {
    async fn tap(
        self: Arc<Self>,
        (began, due, number): (Instant, Duration, usize),
        class: Class,
        code: Vec<u8>,
    ) {
        // A code that is shown again is shown elsewhere.
        let (place, gate) = (if class == Class::Replay { "other" } else { "gate" }, number % GATES);
        let identity = format!("urn:ridegate:validator:bjsubway:{place}-{gate}");
        let mut tap: CheckRequest = request(&format!("tap-{number}"), code.clone());
        if class == Class::Leaving {
            tap.direction = Direction::Exit.into();
        }
        let mut client = ValidatorServiceClient::new(self.channels[number % self.channels.len()].clone());
        let answer = client.check(identified(&identity, tap)).await;
        let told = answer.map_err(|status| status.code()).map(|answer| {
            let answer = answer.into_inner();
            Told { said: said(&answer), cause: answer.degraded.as_ref().map(Degraded::cause) }
        });
        let is_used = told.as_ref().is_ok_and(|told| told.said == "ALLOW HEALTH_OK");
        if is_used && matches!(class, Class::Warm | Class::Cold) {
            self.used.lock().unwrap().push(code);
        }
        let took = began.elapsed().saturating_sub(due);
        self.seen.lock().unwrap().push(Seen { class, due, took, told });
    }

    async fn link(self: Arc<Self>, (began, due, number): (Instant, Duration, usize), account: u64) {
        let mut client = PartnerServiceClient::new(self.channels[number % self.channels.len()].clone());
        let answer = client.link_rider(as_partner(PARTNER, link_request(account))).await;
        let told = answer.map_err(|status| status.code()).map(|answer| {
            let linked = answer.into_inner().result() == LinkResult::Linked;
            Told { said: if linked { "LINKED" } else { "NOT LINKED" }.into(), cause: None }
        });
        self.links.lock().unwrap().insert(account, told.is_ok());
        let took = began.elapsed().saturating_sub(due);
        self.seen.lock().unwrap().push(Seen { class: Class::Linking, due, took, told });
    }
}

impl Told {
    pub fn is_failed_by(&self, cause: DegradedCause) -> bool {
        self.said == "INSPECT LOOKUP_FAILED" && self.cause == Some(cause)
    }
}

impl Class {
    /// Whether everything is as it must be, whatever is broken: right, or less than that and said to be so. Nobody is let
    /// in who should not be, nobody told what nobody knows.
    pub fn is_honest(self, told: &Result<Told, Code>) -> bool {
        match (self, told) {
            // Nothing was acknowledged, so it may be repeated.
            (Self::Linking, Err(code)) => *code == Code::Unavailable,
            (_, Err(_)) => false,
            (Self::Forged | Self::Expired | Self::Replay | Self::Linking, Ok(told)) => {
                told.said == self.well() && told.cause.is_none()
            }
            (_, Ok(told)) => {
                told.said == self.well() || (told.said == "INSPECT LOOKUP_FAILED" && told.cause.is_some())
            }
        }
    }
}
