//! What of the memory is taken by what is remembered.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Unit,
};

use super::labels::Cache;

type Bytes = Box<dyn Fn() -> u64 + Send + Sync>;

/// Whom to ask when it is scraped.
#[derive(Clone, Default)]
pub(super) struct Held(Arc<Mutex<BTreeMap<&'static str, Bytes>>>);

impl Held {
    pub(super) fn ask(&self, cache: &'static str, bytes: impl Fn() -> u64 + Send + Sync + 'static) {
        self.lock().insert(cache, Box::new(bytes));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Held {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Memory that keys and their tables take";
        let mut family =
            encoder.encode_descriptor("cache_held", help, Some(&Unit::Bytes), MetricType::Gauge)?;
        for (cache, bytes) in &*self.lock() {
            let bytes = ConstGauge::new(i64::try_from(bytes()).unwrap_or(i64::MAX));
            bytes.encode(family.encode_family(&Cache { cache })?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.lock().keys()).finish()
    }
}
