//! Links, remembered until they change.
//!
//! What another replica has left in Redis is judged by what was heard here: whoever asked the registry says how far it had
//! heard of links that ended, and it counts if none of this name ended since. So nothing in Redis needs to be deleted for
//! a verdict to be right, and a Redis that was away or lost something cannot bring an ended link back.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use quick_cache::sync::Cache;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{
    backends::{
        redis::shared::SharedLink,
        registry::{Found, Registry, RegistryError, ask},
    },
    breaker::{Change, Circuit, End},
    domain::{facts::Subject, pseudonym::Pseudonym},
    metrics::{BreakerMetrics, CacheMetrics, Metrics, UpstreamMetrics},
    resolve::finds::Finds,
};

const SHARDS: usize = 64;
/// Rows of ends. Two names that share one cost a question to the registry, never a wrong answer.
const ROWS: usize = 1 << 16;
/// For so long after the change log was last followed to its end, what is remembered is taken for true.
const FRESH: Duration = Duration::from_secs(1);

/// Links of the registry. Whatever ends one goes through [`forget`](Self::forget): this process's own changes at once,
/// those of others when the change log tells of them. An account that is not linked is never remembered as such.
pub struct Links {
    finds: Finds,
    known: Cache<Pseudonym, Subject>,
    /// Changes so far, so that a row read before a change is not remembered after it.
    changes: Vec<Mutex<u64>>,
    /// By name, the last change that ended a link.
    ended: Vec<AtomicI64>,
    /// Every change after this was heard of here.
    since: AtomicI64,
    /// The last change that was heard of.
    heard: AtomicI64,
    /// When every change up to then had been heard of.
    vouched: Mutex<Option<Instant>>,
    stale_max: Duration,
    served: CacheMetrics,
    asked: UpstreamMetrics,
    circuit: Circuit,
    breaker: BreakerMetrics,
}

/// Whose account it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linked {
    /// The person.
    pub subject: Subject,
    /// The registry does not answer, and this was so when it last did.
    pub stale: bool,
}

impl Links {
    /// Starts asking `registry`, which has `timeout` to answer. Remembers up to `capacity` links; while it does not answer for
    /// `stale_max` at most.
    pub fn start(
        registry: Arc<Registry>,
        capacity: usize,
        [timeout, stale_max]: [Duration; 2],
        metrics: &Metrics,
    ) -> Self {
        let changes = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        let (served, asked) = (metrics.cache("links"), metrics.upstream("registry"));
        let ended = std::iter::repeat_with(|| AtomicI64::new(i64::MIN)).take(ROWS).collect();
        let (since, heard) = (AtomicI64::new(i64::MAX), AtomicI64::new(i64::MIN));
        let (known, vouched) = (Cache::new(capacity), Mutex::default());
        let breaker = metrics.breaker("registry");
        let circuit = Circuit::new(timeout, told(breaker.clone()));
        let finds = Finds::start(registry, timeout);
        Self {
            finds,
            known,
            changes,
            ended,
            since,
            heard,
            vouched,
            stale_max,
            served,
            asked,
            circuit,
            breaker,
        }
    }

    /// Whose account it is that may have these names, as far as it is remembered here.
    pub fn recall(&self, names: &[Pseudonym]) -> Option<Linked> {
        let linked = self.known(names);
        match &linked {
            Some(Linked { stale: false, .. }) => self.served.hit(),
            Some(Linked { stale: true, .. }) => self.served.stale(),
            None => self.served.miss(),
        }
        linked
    }

    /// As [`recall`](Self::recall), and not counted: nobody is decided by it.
    pub fn known(&self, names: &[Pseudonym]) -> Option<Linked> {
        let known = names.iter().find_map(|name| self.known.get(name));
        known.and_then(|subject| self.linked(subject))
    }

    /// Takes over what another replica found, if it still holds.
    pub fn adopt(&self, names: &[Pseudonym], shared: &SharedLink) -> Option<Linked> {
        let SharedLink { name, subject, heard } = shared;
        let linked = self.linked(subject.clone()).filter(|_| names.contains(name))?;
        // Under the lock, so that no end comes between.
        let _changes = self.changes(name);
        let ended = self.ended(name).load(Relaxed);
        // Who had heard more than this process may have heard it of another log: a backup was restored.
        let span = self.since.load(Relaxed)..=self.heard.load(Relaxed);
        let holds = span.contains(heard) && *heard >= ended;
        holds.then(|| {
            self.known.insert(*name, subject.clone());
            linked
        })
    }

    fn linked(&self, subject: Subject) -> Option<Linked> {
        let unheard = self.unheard().filter(|unheard| *unheard <= self.stale_max.max(FRESH))?;
        Some(Linked { subject, stale: unheard > FRESH })
    }

    /// Asks the registry whose account it is that may have these names, if that is worth it; `None` if it is not linked.
    pub async fn find(
        &self,
        names: &[Pseudonym],
        cap: Duration,
    ) -> Result<Option<SharedLink>, RegistryError> {
        let Some(call) = self.circuit.begin() else {
            self.breaker.skipped();
            return Err(RegistryError::Skipped);
        };
        let (seen, heard) = (self.seen(names), self.heard.load(Relaxed));
        let found = ask(&self.asked, "find", cap, self.finds.find(names)).await;
        call.end(match &found {
            Err(RegistryError::TimedOut) => End::TimedOut,
            Err(RegistryError::Unavailable(_)) => End::Absent,
            Ok(_) | Err(_) => End::Answered,
        });
        Ok(found?.map(|Found { name, subject }| {
            if let Some((_, seen)) = seen.iter().find(|(known, _)| *known == name) {
                self.remember(&name, &subject, *seen);
            }
            SharedLink { name, subject, heard }
        }))
    }

    /// For how long no changes have been heard of; `None` if none ever were.
    fn unheard(&self) -> Option<Duration> {
        let vouched = *self.vouched.lock().unwrap_or_else(PoisonError::into_inner);
        vouched.map(|at| at.elapsed())
    }

    fn seen(&self, names: &[Pseudonym]) -> Vec<(Pseudonym, u64)> {
        names.iter().map(|name| (*name, *self.changes(name))).collect()
    }

    /// Remembers what the registry said when so many changes had been `seen`, unless there was one since.
    fn remember(&self, name: &Pseudonym, subject: &Subject, seen: u64) {
        let changes = self.changes(name);
        if *changes == seen {
            self.known.insert(*name, subject.clone());
        }
    }

    /// This link has ended, or may have: by the change of this number, or by one that was not heard of yet. Tells whose it
    /// was, if that was remembered.
    pub fn forget(&self, name: &Pseudonym, by: Option<i64>) -> Option<Subject> {
        let mut changes = self.changes(name);
        *changes += 1;
        let by = by.unwrap_or_else(|| self.heard.load(Relaxed).saturating_add(1));
        self.ended(name).fetch_max(by, Relaxed);
        self.known.remove(name).map(|(_, subject)| subject)
    }

    /// Every change up to this number was heard of.
    pub fn hear(&self, upto: i64) {
        self.heard.store(upto, Relaxed);
    }

    /// Of what ended from this change on everything will be heard of here. What others found before does not count.
    pub fn begin(&self, from: i64) {
        self.since.store(from, Relaxed);
        self.hear(from);
    }

    /// Every link has ended, or may have.
    pub fn forget_all(&self) {
        for changes in &self.changes {
            *changes.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        }
        self.known.clear();
    }

    /// Every change before this moment was heard of.
    pub fn vouch(&self, at: Instant) {
        *self.vouched.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        self.circuit.sign_of_life();
    }

    /// Whether every change before this moment was heard of.
    pub fn is_vouched_since(&self, at: Instant) -> bool {
        self.vouched.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|vouched| vouched >= at)
    }

    fn ended(&self, name: &Pseudonym) -> &AtomicI64 {
        let [_, first, second, ..] = name.0;
        let row = usize::from(u16::from_be_bytes([first, second]));
        #[expect(clippy::indexing_slicing, reason = "there is a row for every two bytes")]
        &self.ended[row]
    }

    fn changes(&self, name: &Pseudonym) -> MutexGuard<'_, u64> {
        let [first, ..] = name.0;
        let shard = usize::from(first) % self.changes.len();
        #[expect(clippy::indexing_slicing, reason = "a remainder by the length lies inside")]
        self.changes[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says when look-ups of links find nobody, and when they do again.
fn told(metrics: BreakerMetrics) -> impl Fn(Change) {
    move |change| match change {
        Change::Opened => {
            metrics.open(true);
            warn!(
                "the registry does not answer look-ups; it is tried now and then, accounts that are not remembered are LOOKUP_FAILED"
            );
        }
        Change::Closed => {
            metrics.open(false);
            info!("the registry answers look-ups again");
        }
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Links({})", self.known.len())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{backends::registry::Location, keyring::Keyring};

    const NAME: Pseudonym = Pseudonym([1; 32]);

    pub(in crate::resolve) async fn links() -> (tempfile::TempDir, Links) {
        let folder = tempfile::tempdir().unwrap();
        let keys = Arc::new(Keyring::new(&[7; 32]));
        let file = Location::File(folder.path().join("ridegate.db"));
        let registry = Registry::open(&file, keys).await.unwrap();
        let links = Links::start(
            Arc::new(registry),
            100,
            [Duration::from_secs(5), Duration::from_mins(5)],
            &Metrics::default(),
        );
        (folder, links)
    }

    #[tokio::test]
    async fn a_row_read_before_a_change_is_not_remembered_after_it() {
        let (_folder, links) = links().await;
        let subject = Subject::new("rider");
        for forget in [(|links: &Links| drop(links.forget(&NAME, None))) as fn(&Links), Links::forget_all] {
            let seen = *links.changes(&NAME);
            links.remember(&NAME, &subject, seen);
            assert!(links.known.get(&NAME).is_some(), "without a change it is");
            forget(&links);
            links.remember(&NAME, &subject, seen);
            assert!(links.known.get(&NAME).is_none());
        }
    }

    #[tokio::test]
    async fn what_nobody_vouches_for_serves_for_a_while_and_says_so() {
        let (_folder, links) = links().await;
        let subject = Subject::new("rider");
        links.remember(&NAME, &subject, 0);
        let recall = || links.recall(&[NAME]);
        assert_eq!(recall(), None, "no change was ever heard of: the registry is asked");
        let now = Instant::now();
        let vouched = |ago| links.vouch(now.checked_sub(Duration::from_secs(ago)).unwrap());
        vouched(0);
        assert_eq!(recall(), Some(Linked { subject: subject.clone(), stale: false }));
        vouched(2);
        assert_eq!(recall(), Some(Linked { subject: subject.clone(), stale: true }));
        vouched(301);
        assert_eq!(recall(), None, "too long ago: the registry is asked");
    }

    #[tokio::test]
    async fn what_another_replica_found_counts_if_no_end_of_it_was_missed() {
        let (_folder, links) = links().await;
        let found = |name, heard| SharedLink { name, subject: Subject::new("rider"), heard };
        let adopted = |heard| {
            let adopted = links.adopt(&[NAME], &found(NAME, heard)).is_some();
            links.known.clear();
            adopted
        };
        links.begin(5);
        links.hear(10);
        assert!(!adopted(7), "no change was ever heard of");
        links.vouch(Instant::now());
        assert!(!adopted(4), "what ended before this process began it does not know");
        assert!(adopted(5) && adopted(10));
        assert!(!adopted(11), "of another log, perhaps");
        assert!(links.adopt(&[NAME], &found(Pseudonym([2; 32]), 7)).is_none(), "somebody else's");
        links.forget(&NAME, Some(8));
        assert!(!adopted(7));
        assert!(adopted(8), "found after that: linked anew");
        links.forget(&NAME, None);
        assert!(!adopted(10), "ended here, by a change that the log has yet to tell of");
        links.hear(12);
        links.begin(12);
        assert!(!adopted(11) && adopted(12));
    }
}
