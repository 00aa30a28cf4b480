//! Links, remembered until they change.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quick_cache::sync::Cache;
use tokio::time::{Instant, timeout};

use crate::{
    backends::sqlite::{Registry, RegistryError},
    domain::{facts::Subject, pseudonym::Pseudonym},
    metrics::{CacheMetrics, Metrics, UpstreamMetrics},
};

const SHARDS: usize = 64;

/// Links of this process's registry. Every change goes through [`forget`](Self::forget), so what is remembered is
/// what the registry holds; an account that is not linked is never remembered as such.
pub struct Links {
    registry: Arc<Registry>,
    known: Cache<Pseudonym, Subject>,
    /// Changes so far, so that a row read before a change is not remembered after it.
    changes: Vec<Mutex<u64>>,
    served: CacheMetrics,
    asked: UpstreamMetrics,
}

impl Links {
    /// Remembers up to `capacity` links.
    pub fn new(registry: Arc<Registry>, capacity: usize, metrics: &Metrics) -> Self {
        let changes = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        let (served, asked) = (metrics.cache("links"), metrics.upstream("registry"));
        Self { registry, known: Cache::new(capacity), changes, served, asked }
    }

    /// Whose account it is; `None` if it is not linked.
    pub async fn find(&self, key: &Pseudonym, cap: Duration) -> Result<Option<Subject>, RegistryError> {
        if let Some(subject) = self.known.get(key) {
            self.served.hit();
            return Ok(Some(subject));
        }
        self.served.miss();
        let (seen, began) = (*self.changes(key), Instant::now());
        let found = timeout(cap, self.registry.find(key)).await.unwrap_or(Err(RegistryError::TimedOut));
        self.asked.asked("find", found.as_ref().err().map_or("ok", RegistryError::name), began);
        let found = found?;
        if let Some(subject) = &found {
            self.remember(key, subject, seen);
        }
        Ok(found)
    }

    /// Remembers what the registry said when so many changes had been `seen`, unless there was one since.
    fn remember(&self, key: &Pseudonym, subject: &Subject, seen: u64) {
        let changes = self.changes(key);
        if *changes == seen {
            self.known.insert(*key, subject.clone());
        }
    }

    /// The registry has just changed this link.
    pub fn forget(&self, key: &Pseudonym) {
        let mut changes = self.changes(key);
        *changes += 1;
        self.known.remove(key);
    }

    fn changes(&self, key: &Pseudonym) -> MutexGuard<'_, u64> {
        let [first, ..] = key.0;
        let shard = usize::from(first) % self.changes.len();
        #[expect(clippy::indexing_slicing, reason = "a remainder by the length lies inside")]
        self.changes[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Links({})", self.known.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::Keyring;

    const KEY: Pseudonym = Pseudonym([1; 32]);

    #[tokio::test]
    async fn a_row_read_before_a_change_is_not_remembered_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Arc::new(Keyring::new(&[7; 32]));
        let registry = Registry::open(&folder.path().join("ridegate.db"), keys).await.unwrap();
        let links = Links::new(Arc::new(registry), 10, &Metrics::default());
        let subject = Subject::new("rider");

        let seen = *links.changes(&KEY);
        links.remember(&KEY, &subject, seen);
        assert!(links.known.get(&KEY).is_some(), "without a change it is");
        links.forget(&KEY);
        links.remember(&KEY, &subject, seen);
        assert!(links.known.get(&KEY).is_none());
    }
}
