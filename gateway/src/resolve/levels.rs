//! Issuer levels verified before, so that a rider's next code costs one signature, not three.

use std::{fmt, sync::Arc};

use quick_cache::sync::Cache;
use ridegate_adapters::{IssuerMemory, LevelsId, sm2::PublicKey};

/// Remembers the most used, as many as it was given room for. What is over by time is refused by the code's own
/// checks long before it falls out here.
pub struct Levels(Cache<LevelsId, Arc<PublicKey>>);

impl Levels {
    /// Room for so many riders.
    pub fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }
}

impl IssuerMemory for Levels {
    fn recall(&self, levels: &LevelsId) -> Option<Arc<PublicKey>> {
        self.0.get(levels)
    }

    fn remember(&self, levels: LevelsId, user: Arc<PublicKey>) {
        self.0.insert(levels, user);
    }
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Levels({})", self.0.len())
    }
}
