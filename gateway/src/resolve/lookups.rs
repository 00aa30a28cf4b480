//! Asking the authority: one look-up a subject however many wait for it, many subjects a call when many come, and never
//! more calls at once than it was agreed.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    backends::{
        authority::{Answers, Authority, AuthorityError, MAX_BATCH},
        redis::shared::SharedFacts,
    },
    domain::facts::Subject,
    metrics::CacheMetrics,
    resolve::{desk::Desk, facts::Known},
};

/// Subjects that may wait for a call. More than the budget lets through would only be answered too late.
const QUEUE: usize = 16_384;
/// How long a look-up waits for others to go along, while calls are under way.
const COMPANY: Duration = Duration::from_millis(1);

/// Facts, from memory or from the authority.
#[derive(Debug)]
pub struct Lookups {
    queue: mpsc::Sender<Subject>,
    desk: Arc<Desk>,
    served: CacheMetrics,
}

/// A subject that was taken up, and who is told of it.
struct Waiting {
    subject: Subject,
    tell: watch::Sender<Option<Known>>,
}

impl Lookups {
    /// Starts asking `authority`, with at most `calls` calls at once.
    pub fn start(
        authority: Authority,
        desk: Arc<Desk>,
        calls: usize,
        cap: Duration,
        served: CacheMetrics,
    ) -> Self {
        let (queue, asked) = mpsc::channel(QUEUE);
        tokio::spawn(dispatch(authority, Arc::clone(&desk), asked, calls, cap));
        Self { queue, desk, served }
    }

    /// What is known of a subject, asking the authority if memory does not serve. Never waits longer than `cap`.
    pub async fn find(&self, subject: &Subject, cap: Duration) -> Known {
        let known = self.recall(subject);
        if known.may_be_believed() { known } else { self.ask(subject, cap).await }
    }

    /// What is remembered of a subject.
    pub fn recall(&self, subject: &Subject) -> Known {
        let known = self.desk.recall(subject);
        match &known {
            Known::Facts { .. } | Known::NoRecord => self.served.hit(),
            Known::Stale { .. } => self.served.stale(),
            Known::Nothing => self.served.miss(),
        }
        known
    }

    /// Whether what is remembered of a subject may be believed. Not counted: nobody is decided by it.
    pub fn remembers(&self, subject: &Subject) -> bool {
        self.desk.recall(subject).may_be_believed()
    }

    /// Takes over what another replica was told, as far as it may be believed.
    pub fn adopt(&self, shared: &SharedFacts) -> Known {
        self.desk.adopt(shared)
    }

    /// What the authority said of a subject, for others to take over.
    pub fn shared(&self, subject: &Subject) -> Option<SharedFacts> {
        self.desk.shared(subject)
    }

    /// What the authority says of a subject; what is remembered if it says nothing. Never waits longer than `cap`.
    pub async fn ask(&self, subject: &Subject, cap: Duration) -> Known {
        let (mut answer, first) = self.desk.join(subject);
        if first && self.queue.try_send(subject.clone()).is_err() {
            self.desk.abandon(subject);
            return self.desk.recall(subject);
        }
        let answer = timeout(cap, answer.wait_for(Option::is_some)).await;
        match answer.ok().and_then(Result::ok).and_then(|answer| answer.clone()) {
            Some(known) => known,
            None => self.desk.recall(subject),
        }
    }
}

/// Sends subjects on their way. While nothing is under way nobody waits for company: a lone look-up goes at once. While
/// something is, those that come within [`COMPANY`] go together, or as soon as a batch is full, or by the time that a
/// call is free. A rush is so a call a millisecond at the most, each as full as the rush is thick; and whoever waits for
/// company waits for a fiftieth of what an answer may take.
async fn dispatch(
    authority: Authority,
    desk: Arc<Desk>,
    mut asked: mpsc::Receiver<Subject>,
    calls: usize,
    cap: Duration,
) {
    let free = Arc::new(Semaphore::new(calls));
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while asked.recv_many(&mut batch, MAX_BATCH).await > 0 {
        if free.available_permits() < calls {
            gather(&mut asked, &mut batch, Instant::now() + COMPANY).await;
        }
        let Ok(turn) = Arc::clone(&free).acquire_owned().await else { return };
        while batch.len() < MAX_BATCH
            && let Ok(subject) = asked.try_recv()
        {
            batch.push(subject);
        }
        let taken_up: Vec<_> = batch
            .drain(..)
            .filter_map(|subject| desk.take_up(&subject).map(|tell| Waiting { subject, tell }))
            .collect();
        if taken_up.is_empty() {
            continue;
        }
        let (authority, desk) = (authority.clone(), Arc::clone(&desk));
        tokio::spawn(async move {
            call(&authority, &desk, taken_up, cap).await;
            drop(turn);
        });
    }
}

/// Those that come until then, or until the batch is full.
async fn gather(asked: &mut mpsc::Receiver<Subject>, batch: &mut Vec<Subject>, until: Instant) {
    while batch.len() < MAX_BATCH {
        let room = MAX_BATCH - batch.len();
        match timeout_at(until, asked.recv_many(batch, room)).await {
            Ok(come) if come > 0 => {}
            Ok(_) | Err(_) => return,
        }
    }
}

/// Asks about all of them. A batch that is refused as a whole may be so for one of them (a subject that the authority
/// stumbles over, or an answer that is too large), who must not take everybody's answer away, and not again each time
/// that it comes along: the batch is asked in halves, and those in halves. One among 256 costs 16 calls, and half of the
/// others have their answer after one or two of them. They come out of the budget of second tries, since an authority
/// that refuses everything would be asked the more for it; they are made one after the other in this turn, since no more
/// calls at once were agreed; and nobody is waited for longer than for one call. What is left then failed this time.
async fn call(authority: &Authority, desk: &Desk, asked: Vec<Waiting>, cap: Duration) {
    let until = Instant::now() + cap;
    let mut parts = VecDeque::from([asked]);
    while let Some(part) = parts.pop_front() {
        let left = until.saturating_duration_since(Instant::now());
        match ask(authority, &part, left).await {
            Ok(answers) => tell(desk, part, answers),
            Err(AuthorityError::Refused) if part.len() > 1 => {
                for half in halves(part) {
                    if Instant::now() < until && authority.retries().take() {
                        parts.push_back(half);
                    } else {
                        tell(desk, half, Answers::new());
                    }
                }
            }
            Err(_) => tell(desk, part, Answers::new()),
        }
    }
}

async fn ask(authority: &Authority, part: &[Waiting], cap: Duration) -> Result<Answers, AuthorityError> {
    if let [one] = part {
        return Ok(Answers::from([(one.subject.clone(), authority.lookup(&one.subject, cap).await)]));
    }
    let subjects: Vec<_> = part.iter().map(|one| one.subject.clone()).collect();
    authority.batch_lookup(&subjects, cap).await
}

fn halves(mut part: Vec<Waiting>) -> [Vec<Waiting>; 2] {
    let rest = part.split_off(part.len() / 2);
    [part, rest]
}

fn tell(desk: &Desk, part: Vec<Waiting>, mut answers: Answers) {
    for Waiting { subject, tell } in part {
        let answer = answers.remove(&subject).unwrap_or(Err(AuthorityError::Unavailable));
        tell.send_replace(desk.complete(&subject, answer));
    }
}
