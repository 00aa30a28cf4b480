//! Signatures verified before, so that a rider's next code costs one, and the first code of a new phone two.

use std::{fmt, hash::Hash, sync::Arc};

use quick_cache::{Weighter, sync::Cache};
use ridegate_adapters::{CertificateId, IssuerMemory, LevelsId, UserKey, sm2};

use crate::metrics::{CacheMetrics, Metrics};

/// Remembers the most used, as many as there is memory for. What is over by time is refused by the code's own
/// checks long before it falls out here, and so is what was revoked.
pub struct Levels {
    known: Tables<LevelsId, Arc<UserKey>>,
    served: CacheMetrics,
    /// With tables as large as the roots' have.
    issuers: Tables<CertificateId, sm2::PublicKey>,
    issuers_served: CacheMetrics,
}

type Tables<Name, Key> = Arc<Cache<Name, Key, Weight>>;

impl Levels {
    /// So many bytes for riders' keys, and so many for issuers', with their tables.
    pub fn new(riders: u64, issuers: u64, metrics: &Metrics) -> Self {
        Self {
            known: tables("levels", riders, sm2::PublicKey::SEEN_BYTES, metrics),
            served: metrics.cache("levels"),
            issuers: tables("issuers", issuers, sm2::PublicKey::FIXED_BYTES, metrics),
            issuers_served: metrics.cache("issuers"),
        }
    }
}

/// Room for so many bytes of tables, most of which are so large.
fn tables<Name, Key>(name: &'static str, bytes: u64, each: usize, metrics: &Metrics) -> Tables<Name, Key>
where
    Name: Eq + Hash + Send + Sync + 'static,
    Key: Clone + Send + Sync + 'static,
    Weight: Weighter<Name, Key>,
{
    let expected = usize::try_from(bytes).unwrap_or(usize::MAX) / each;
    let tables = Arc::new(Cache::with_weighter(expected, bytes, Weight));
    let held = Arc::clone(&tables);
    metrics.holds(name, move || held.weight());
    tables
}

/// What is remembered takes of memory, in bytes.
#[derive(Debug, Clone)]
struct Weight;

/// What the cache itself has for each, and the allocator leaves empty beside a table.
const BESIDE: usize = 400;

impl Weighter<LevelsId, Arc<UserKey>> for Weight {
    fn weight(&self, _: &LevelsId, user: &Arc<UserKey>) -> u64 {
        (user.bytes() + BESIDE) as u64
    }
}

impl Weighter<CertificateId, sm2::PublicKey> for Weight {
    fn weight(&self, _: &CertificateId, issuer: &sm2::PublicKey) -> u64 {
        (issuer.bytes() + BESIDE) as u64
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
        let levels = Levels::new(1_000_000, 1_000_000, &metrics);
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
    fn no_more_is_remembered_than_there_is_memory_for_and_what_is_held_is_told() {
        let metrics = Metrics::default();
        let (riders, issuers) = (100_000, 300_000);
        let levels = Levels::new(riders, issuers, &metrics);
        let user = Arc::new(UserKey::Sm2(key().seen()));
        for number in 0..=200 {
            levels.remember(LevelsId([number; 32]), Arc::clone(&user));
            levels.remember_issuer(CertificateId([number; 32]), key());
        }
        assert!(levels.known.weight() <= riders && levels.issuers.weight() <= issuers, "{levels:?}");
        // 2 KiB and 128 KiB, and a little for what is around them.
        assert!((30..=45).contains(&levels.known.len()), "{levels:?}");
        assert_eq!(levels.issuers.len(), 2, "{levels:?}");
        assert!(levels.recall(&LevelsId([200; 32])).is_some(), "the newest is");
        assert!(levels.recall_issuer(&CertificateId([200; 32])).is_some(), "the newest is");
        let page = metrics.encode();
        for (cache, bytes) in [("levels", levels.known.weight()), ("issuers", levels.issuers.weight())] {
            let sample = format!("cache_held_bytes{{cache=\"{cache}\"}} {bytes}\n");
            assert!(page.contains(&sample), "{sample} in {page}");
        }
    }
}
