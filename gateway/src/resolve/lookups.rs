//! Asking the authority: one look-up a subject however many wait for it, many subjects a call when it is busy, and
//! never more calls at once than it was agreed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};

use crate::{
    backends::authority::{Authority, AuthorityError, MAX_BATCH},
    clock::Clock,
    domain::facts::{Facts, Subject},
    resolve::facts::{Entry, FactsCache, Freshness, Known, Watch},
};

/// Subjects that may wait for a call. More than the budget lets through would only be answered too late.
const QUEUE: usize = 16_384;

/// Facts, from memory or from the authority.
#[derive(Debug)]
pub struct Lookups {
    queue: mpsc::Sender<Subject>,
    desk: Arc<Desk>,
}

/// What is shared by those who ask, those who call and the watch.
#[derive(Debug)]
pub struct Desk {
    clock: Clock,
    freshness: Freshness,
    cache: FactsCache,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watch: Watch,
    pending: HashMap<Subject, Pending>,
}

/// A look-up on its way.
#[derive(Debug)]
struct Pending {
    /// Told the answer; closed without one if it came to nothing.
    answer: watch::Receiver<Option<Known>>,
    tell: Option<watch::Sender<Option<Known>>>,
    /// The epoch in which it was asked.
    epoch: u64,
    /// A change that arrived meanwhile.
    pushed: Option<Entry>,
}

impl Lookups {
    /// Starts asking `authority`, with at most `calls` calls at once.
    pub fn start(authority: Authority, desk: Arc<Desk>, calls: usize, cap: Duration) -> Self {
        let (queue, asked) = mpsc::channel(QUEUE);
        tokio::spawn(dispatch(authority, Arc::clone(&desk), asked, calls, cap));
        Self { queue, desk }
    }

    /// What is known of a subject, asking the authority if memory does not serve. Never waits longer than `cap`.
    pub async fn find(&self, subject: &Subject, cap: Duration) -> Known {
        match self.desk.recall(subject) {
            known @ (Known::Facts { .. } | Known::NoRecord) => return known,
            Known::Stale { .. } | Known::Nothing => {}
        }
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

impl Desk {
    /// An empty memory.
    pub fn new(clock: Clock, freshness: Freshness, capacity: usize) -> Self {
        Self { clock, freshness, cache: FactsCache::new(capacity), state: Mutex::default() }
    }

    fn recall(&self, subject: &Subject) -> Known {
        let Some(entry) = self.cache.get(subject) else { return Known::Nothing };
        let watch = self.state().watch;
        entry.worth(&watch, self.clock.now(), &self.freshness)
    }

    /// Joins the look-up of a subject; the first to ask must send it on its way.
    fn join(&self, subject: &Subject) -> (watch::Receiver<Option<Known>>, bool) {
        let mut state = self.state();
        let epoch = state.watch.epoch;
        if let Some(pending) = state.pending.get(subject)
            && pending.answer.has_changed().is_ok()
        {
            return (pending.answer.clone(), false);
        }
        let (tell, answer) = watch::channel(None);
        let pending = Pending { answer: answer.clone(), tell: Some(tell), epoch, pushed: None };
        state.pending.insert(subject.clone(), pending);
        (answer, true)
    }

    fn abandon(&self, subject: &Subject) {
        self.state().pending.remove(subject);
    }

    /// Takes up a look-up whose turn has come, unless everybody who asked has gone.
    fn take_up(&self, subject: &Subject) -> Option<watch::Sender<Option<Known>>> {
        let mut state = self.state();
        let pending = state.pending.get_mut(subject)?;
        let tell = pending.tell.take()?;
        // The desk's own receiver is one; anybody else still waiting makes two.
        if tell.receiver_count() > 1 {
            return Some(tell);
        }
        state.pending.remove(subject);
        None
    }

    /// What the authority's answer comes to, and remembers it. A change that arrived meanwhile and is newer wins.
    fn complete(&self, subject: &Subject, answer: Result<Option<Facts>, AuthorityError>) -> Option<Known> {
        let mut state = self.state();
        let pending = state.pending.remove(subject)?;
        let now = self.clock.now();
        let answered = answer.ok().map(|facts| Entry {
            facts: facts.map(Arc::new),
            fetched_at: now,
            epoch: pending.epoch,
        });
        let entry = match (answered, pending.pushed) {
            (Some(answered), Some(pushed)) if answered.facts.is_none() || !answered.supersedes(&pushed) => {
                pushed
            }
            (Some(answered), _) => answered,
            (None, pushed) => pushed?,
        };
        // An answer asked for before changes were missed may have missed them too: it serves, but is not remembered.
        if entry.epoch == state.watch.epoch {
            self.cache.merge(subject, entry.clone());
        }
        Some(entry.worth(&state.watch, now, &self.freshness))
    }

    /// A change arrived. Kept for subjects that are remembered or being asked for; the rest of the city is not ours
    /// to remember.
    pub fn change(&self, subject: &Subject, facts: Facts) {
        let mut state = self.state();
        let entry =
            Entry { facts: Some(Arc::new(facts)), fetched_at: self.clock.now(), epoch: state.watch.epoch };
        if let Some(pending) = state.pending.get_mut(subject)
            && pending.pushed.as_ref().is_none_or(|known| entry.supersedes(known))
        {
            pending.pushed = Some(entry.clone());
        }
        if self.cache.get(subject).is_some() {
            self.cache.merge(subject, entry);
        }
    }

    /// Every change up to now has arrived.
    pub fn vouch(&self) {
        let mut state = self.state();
        state.watch.running = true;
        state.watch.vouched = Some(self.clock.now());
    }

    /// Changes no longer arrive, but none was missed yet.
    pub fn pause(&self) {
        self.state().watch.running = false;
    }

    /// Changes were missed, or may have been: nothing before this is trusted.
    pub fn lose_track(&self) {
        let mut state = self.state();
        state.watch = Watch { epoch: state.watch.epoch + 1, vouched: None, running: false };
        self.cache.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
