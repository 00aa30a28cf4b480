//! What was read before: in this process, and behind it in Redis.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use quick_cache::sync::Cache;
use ridegate_adapters::{Reading, UnixSeconds};
use tokio::time::Instant;

use super::Shared;
use crate::{
    domain::pseudonym::Pseudonym,
    keyring::Keyring,
    metrics::{CacheMetrics, Metrics},
};

/// What was read before. It outlives a change of partners.
pub struct Memory {
    pub(super) known: Cache<Pseudonym, Reading>,
    /// Readings since those were last swept out whose code is over.
    since_sweep: AtomicUsize,
    /// After so many they are swept again: what was known after the last time. What is known now grows with what is read.
    sweep_after: AtomicUsize,
    /// What all replicas have read.
    shared: Option<Shared>,
    /// The longest that any verdict may take.
    pub(super) longest: Duration,
    pub(super) keys: Arc<Keyring>,
    pub(super) served: CacheMetrics,
    pub(super) metrics: Arc<Metrics>,
}

/// Sweeping is worth it from so many readings on.
const SWEEP_FROM: usize = 1024;

impl Memory {
    /// Remembers what was read of up to so many codes, and what the other replicas have read, if there is a place for it.
    /// No verdict takes longer than `longest`.
    pub fn new(
        capacity: usize,
        longest: Duration,
        keys: Arc<Keyring>,
        shared: Option<Shared>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (known, served) = (Cache::new(capacity), metrics.cache("readings"));
        let (since_sweep, sweep_after) = (AtomicUsize::new(0), AtomicUsize::new(SWEEP_FROM));
        Self { known, since_sweep, sweep_after, shared, longest, keys, served, metrics }
    }

    /// One more was read. What is over is forgotten each time that as many were read as are known: a constant share of
    /// every reading.
    pub(super) fn grown(&self, now: UnixSeconds) {
        let since = self.since_sweep.fetch_add(1, Relaxed) + 1;
        if since >= self.sweep_after.load(Relaxed) {
            self.since_sweep.store(0, Relaxed);
            self.known.retain(|_, reading| !reading.is_over(now));
            self.sweep_after.store(SWEEP_FROM.max(self.known.len()), Relaxed);
        }
    }

    /// What another replica has read, if it can be used at `now`.
    pub(super) async fn shared(&self, name: &Pseudonym, until: Instant, now: UnixSeconds) -> Option<Reading> {
        self.shared.as_ref()?.find(name, until.saturating_duration_since(Instant::now()), now).await
    }

    /// Tells the other replicas. Nobody waits for it.
    pub(super) fn share(&self, name: Pseudonym, reading: &Reading, now: UnixSeconds) {
        if let Some(shared) = &self.shared {
            shared.tell(name, reading, now);
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Memory({})", self.known.len())
    }
}
