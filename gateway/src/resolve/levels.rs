//! Issuer levels verified before, so that a rider's next code costs one signature, not two or three.

use std::{fmt, sync::Arc};

use quick_cache::sync::Cache;
use ridegate_adapters::{IssuerMemory, LevelsId, UserKey};

use crate::metrics::{CacheMetrics, Metrics};

/// Remembers the most used, as many as it was given room for. What is over by time is refused by the code's own
/// checks long before it falls out here.
pub struct Levels {
    known: Cache<LevelsId, Arc<UserKey>>,
    served: CacheMetrics,
}

impl Levels {
    /// Room for so many riders.
    pub fn new(capacity: usize, metrics: &Metrics) -> Self {
        Self { known: Cache::new(capacity), served: metrics.cache("levels") }
    }
}

impl IssuerMemory for Levels {
    fn recall(&self, levels: &LevelsId) -> Option<Arc<UserKey>> {
        let known = self.known.get(levels);
        if known.is_some() {
            self.served.hit();
        } else {
            self.served.miss();
        }
        known
    }

    fn remember(&self, levels: LevelsId, user: Arc<UserKey>) {
        self.known.insert(levels, user);
    }
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Levels({})", self.known.len())
    }
}
