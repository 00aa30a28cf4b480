//! Signatures verified before, so that a rider's next code costs one, and the first code of a new phone two.

use std::{fmt, sync::Arc};

use quick_cache::sync::Cache;
use ridegate_adapters::{CertificateId, IssuerMemory, LevelsId, UserKey, sm2};

use crate::metrics::{CacheMetrics, Metrics};

/// Remembers the most used, as many as it was given room for. What is over by time is refused by the code's own
/// checks long before it falls out here, and so is what was revoked.
pub struct Levels {
    known: Cache<LevelsId, Arc<UserKey>>,
    served: CacheMetrics,
    /// With tables as large as the roots' have.
    issuers: Cache<CertificateId, sm2::PublicKey>,
    issuers_served: CacheMetrics,
}

impl Levels {
    /// Room for so many riders, and so many issuers.
    pub fn new(riders: usize, issuers: usize, metrics: &Metrics) -> Self {
        Self {
            known: Cache::new(riders),
            served: metrics.cache("levels"),
            issuers: Cache::new(issuers),
            issuers_served: metrics.cache("issuers"),
        }
    }
}

impl IssuerMemory for Levels {
    fn recall(&self, levels: &LevelsId) -> Option<Arc<UserKey>> {
        let known = self.known.get(levels);
        self.served.asked(known.is_some());
        known
    }

    fn remember(&self, levels: LevelsId, user: Arc<UserKey>) {
        self.known.insert(levels, user);
    }

    fn recall_issuer(&self, certificate: &CertificateId) -> Option<sm2::PublicKey> {
        let known = self.issuers.get(certificate);
        self.issuers_served.asked(known.is_some());
        known
    }

    fn remember_issuer(&self, certificate: CertificateId, issuer: sm2::PublicKey) {
        self.issuers.insert(certificate, issuer.fixed());
    }
}

impl fmt::Debug for Levels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Levels({} of {} issuers)", self.known.len(), self.issuers.len())
    }
}
