//! Second tries, by whom they went to.

use std::borrow::Cow;

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use ridegate_adapters::PartnerId;

use super::labels::Retried;

/// Of everybody who is asked.
#[derive(Debug, Default)]
pub(super) struct AllRetries(Family<Retried, Counter>);

/// Counts the second tries of one upstream.
#[derive(Debug, Clone, Default)]
pub struct RetryMetrics {
    tried: Counter,
    over_budget: Counter,
}

impl AllRetries {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("upstream_retries", "Second tries: tried, over_budget", self.0.clone());
    }

    pub(super) fn of(&self, upstream: impl Into<Cow<'static, str>>) -> RetryMetrics {
        let upstream = upstream.into();
        let counter = |outcome| self.0.get_or_create_owned(&Retried { upstream: upstream.clone(), outcome });
        RetryMetrics { tried: counter("tried"), over_budget: counter("over_budget") }
    }

    pub(super) fn of_resolver(&self, partner: &PartnerId) -> RetryMetrics {
        self.of(name(partner))
    }

    pub(super) fn resolver_gone(&self, partner: &PartnerId) {
        for outcome in ["tried", "over_budget"] {
            self.0.remove(&Retried { upstream: name(partner).into(), outcome });
        }
    }
}

/// As certificates for it are named.
fn name(partner: &PartnerId) -> String {
    format!("resolver/{partner}")
}

impl RetryMetrics {
    /// Another try would help: it was made, or there was none left.
    pub(crate) fn asked(&self, tried: bool) {
        let counter = if tried { &self.tried } else { &self.over_budget };
        counter.inc();
    }
}
