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

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "037b85b821bcf941c69d52bd3a52c01a735b870e653547db9bfa20f94c5a6b3560";

    fn key() -> sm2::PublicKey {
        sm2::PublicKey::from_compressed(&hex::decode(KEY).unwrap().try_into().unwrap()).unwrap()
    }

    #[test]
    fn issuers_are_remembered_beside_riders_and_counted_by_themselves() {
        let metrics = Metrics::default();
        let levels = Levels::new(8, 8, &metrics);
        // The same number names an issuer here and a rider there.
        let (certificate, rider) = (CertificateId([1; 32]), LevelsId([1; 32]));
        assert!(levels.recall_issuer(&certificate).is_none());
        levels.remember_issuer(certificate, key());
        assert!(levels.recall(&rider).is_none());
        assert!(levels.recall_issuer(&certificate).is_some());
        assert!(levels.recall_issuer(&CertificateId([2; 32])).is_none());
        let page = metrics.encode();
        for (cache, outcome, count) in
            [("issuers", "hit", 1), ("issuers", "miss", 2), ("levels", "hit", 0), ("levels", "miss", 1)]
        {
            let sample = format!("cache_lookups_total{{cache=\"{cache}\",outcome=\"{outcome}\"}} {count}\n");
            assert!(page.contains(&sample), "{sample} in {page}");
        }
    }

    #[test]
    fn no_more_issuers_are_remembered_than_there_is_room_for() {
        let levels = Levels::new(8, 2, &Metrics::default());
        for number in 0..9 {
            levels.remember_issuer(CertificateId([number; 32]), key());
        }
        assert!(levels.issuers.len() <= 2, "{levels:?}");
        assert!(levels.recall_issuer(&CertificateId([8; 32])).is_some(), "the newest is");
    }
}
