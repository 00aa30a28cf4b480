//! Asking the authority: one look-up a subject however many wait for it, many subjects a call when it is busy, and
//! never more calls at once than it was agreed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};

use crate::{
    backends::{
        authority::{Authority, AuthorityError, MAX_BATCH},
        redis::shared::SharedFacts,
    },
    domain::facts::Subject,
    metrics::CacheMetrics,
    resolve::{desk::Desk, facts::Known},
};

/// Subjects that may wait for a call. More than the budget lets through would only be answered too late.
const QUEUE: usize = 16_384;

/// Facts, from memory or from the authority.
#[derive(Debug)]
pub struct Lookups {
    queue: mpsc::Sender<Subject>,
    desk: Arc<Desk>,
    served: CacheMetrics,
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

/// Sends subjects on their way. While calls are free each goes alone; when all are taken, those that wait go
/// together, so that the authority is asked in batches exactly when it is busy.
async fn dispatch(
    authority: Authority,
    desk: Arc<Desk>,
    mut asked: mpsc::Receiver<Subject>,
    calls: usize,
    cap: Duration,
) {
    let free = Arc::new(Semaphore::new(calls));
    let mut batch = Vec::new();
    loop {
        let Ok(turn) = Arc::clone(&free).acquire_owned().await else { return };
        if asked.recv_many(&mut batch, MAX_BATCH).await == 0 {
            return;
        }
        let taken_up: Vec<_> = batch
            .drain(..)
            .filter_map(|subject| desk.take_up(&subject).map(|tell| (subject, tell)))
            .collect();
        let (authority, desk) = (authority.clone(), Arc::clone(&desk));
        tokio::spawn(async move {
            call(&authority, &desk, taken_up, cap).await;
            drop(turn);
        });
    }
}

async fn call(
    authority: &Authority,
    desk: &Desk,
    asked: Vec<(Subject, watch::Sender<Option<Known>>)>,
    cap: Duration,
) {
    let subjects: Vec<_> = asked.iter().map(|(subject, _)| subject.clone()).collect();
    let mut answers = match subjects.as_slice() {
        [] => return,
        [one] => HashMap::from([(one.clone(), authority.lookup(one, cap).await)]),
        many => authority.batch_lookup(many, cap).await,
    };
    for (subject, tell) in asked {
        let answer = answers.remove(&subject).unwrap_or(Err(AuthorityError::Unavailable));
        tell.send_replace(desk.complete(&subject, answer));
    }
}
