//! What each part of the gateway counts by itself.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use tokio::time::Instant;

use super::{
    RetryMetrics, Timed,
    labels::{Asked, Cause, Certificate, Outcome, Partner, Role, TicketCheck, Upstreamed},
};
use crate::domain::ticket::SaleVerdict;

/// Counts one memory's hits.
#[derive(Debug, Clone, Default)]
pub struct CacheMetrics {
    pub(super) hit: Counter,
    pub(super) miss: Counter,
    pub(super) stale: Counter,
}

impl CacheMetrics {
    /// It served.
    pub fn hit(&self) {
        self.hit.inc();
    }

    /// It did not.
    pub fn miss(&self) {
        self.miss.inc();
    }

    /// It was asked, and served if it knew.
    pub fn asked(&self, known: bool) {
        if known { self.hit() } else { self.miss() }
    }

    /// It would serve if nobody could be asked.
    pub fn stale(&self) {
        self.stale.inc();
    }
}

/// Times questions to one thing behind the gateway.
#[derive(Debug, Clone)]
pub struct UpstreamMetrics {
    pub(super) upstream: &'static str,
    pub(super) seconds: Timed<Upstreamed>,
}

/// Counts what the breaker of one thing behind the gateway does.
#[derive(Debug, Clone, Default)]
pub struct BreakerMetrics {
    pub(super) skipped: Counter,
    pub(super) open: Gauge,
}

impl BreakerMetrics {
    /// A question was not asked, because nobody answers.
    pub(crate) fn skipped(&self) {
        self.skipped.inc();
    }

    /// Whether it is only tried now and then.
    pub(crate) fn open(&self, open: bool) {
        self.open.set(open.into());
    }
}

impl UpstreamMetrics {
    /// A question that was asked at `since` has come to `outcome`.
    pub fn asked(&self, call: &'static str, outcome: &'static str, since: Instant) {
        let label = Upstreamed { upstream: self.upstream, call, outcome };
        self.seconds.get_or_create(&label).observe(since.elapsed().as_secs_f64());
    }
}

/// Times questions to one partner who alone can read its codes.
#[derive(Debug, Clone)]
pub struct ResolverMetrics {
    pub(super) partner: Partner,
    pub(super) seconds: Timed<Asked>,
    pub(super) busy: Counter,
    pub(super) breaker: Counter,
    pub(super) up: Gauge,
    pub(super) retries: RetryMetrics,
}

impl ResolverMetrics {
    /// A question that was asked at `since` has come to `outcome`.
    pub(crate) fn asked(&self, outcome: &'static str, since: Instant) {
        let label = Asked { partner: self.partner.clone(), outcome };
        self.seconds.get_or_create(&label).observe(since.elapsed().as_secs_f64());
    }

    /// A code was not asked about: the partner is asked too much already.
    pub(crate) fn busy(&self) {
        self.busy.inc();
    }

    /// A code was not asked about: the partner does not answer.
    pub(crate) fn skipped(&self) {
        self.breaker.inc();
    }

    /// For second tries.
    pub(crate) fn retries(&self) -> RetryMetrics {
        self.retries.clone()
    }

    /// Whether the partner is asked, or only tried now and then.
    pub(crate) fn up(&self, up: bool) {
        self.up.set(up.into());
    }
}

/// Counts connections.
#[derive(Debug, Clone, Default)]
pub struct DoorMetrics {
    open: Family<Role, Gauge>,
    refused: Family<Cause, Counter>,
    left: Family<Cause, Counter>,
}

/// A connection that is counted as open until this is dropped.
pub(crate) struct Connected(Gauge);

impl DoorMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Open connections, by the caller's role", self.open.clone());
        registry.register("connections_refused", "Connections not let in, by cause", self.refused.clone());
        registry.register("connections_left", "Connections asked to leave, by cause", self.left.clone());
    }

    pub(super) fn begin(&self) {
        for cause in
            ["full", "caller_full", "address_full", "tls", "too_slow", "not_http2", "closing", "lost"]
        {
            drop(self.refused.get_or_create(&Cause { cause }));
        }
        for cause in ["idle", "age", "closing", "cut", "disowned"] {
            drop(self.left.get_or_create(&Cause { cause }));
        }
    }

    pub(crate) fn connected(&self, role: &'static str) -> Connected {
        let open = self.open.get_or_create_owned(&Role { role });
        open.inc();
        Connected(open)
    }

    pub(crate) fn refused(&self, cause: &'static str) {
        self.refused.get_or_create(&Cause { cause }).inc();
    }

    pub(crate) fn left(&self, cause: &'static str) {
        self.left.get_or_create(&Cause { cause }).inc();
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Tells of certificates.
#[derive(Debug, Clone, Default)]
pub struct TlsMetrics {
    expiry: Family<Certificate, Gauge>,
    reloads: Family<Outcome, Counter>,
    /// Those of partners' resolvers, which may go.
    of_resolvers: Arc<Mutex<Vec<Cow<'static, str>>>>,
}

/// Counts what was decided about sales of tickets.
#[derive(Debug, Clone, Default)]
pub struct TicketMetrics {
    checks: Family<TicketCheck, Counter>,
}

impl TicketMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("ticket_checks", "Verdicts on sales of tickets, by reason", self.checks.clone());
    }

    pub(super) fn begin(&self) {
        use crate::domain::verdict::Inspect::{
            HealthAbnormal, HealthPopup, LookupFailed, NoRecord, TestMissing, TestOverdue,
        };
        let asked = [NoRecord, HealthAbnormal, HealthPopup, TestMissing, TestOverdue, LookupFailed];
        for verdict in asked.map(SaleVerdict::inspect).into_iter().chain([SaleVerdict::TicketOpen]) {
            drop(self.counter(verdict));
        }
    }

    /// One was decided.
    pub(crate) fn checked(&self, verdict: SaleVerdict) {
        self.counter(verdict).inc();
    }

    fn counter(&self, verdict: SaleVerdict) -> Counter {
        self.checks.get_or_create_owned(&TicketCheck { verdict: verdict.name(), reason: verdict.reason() })
    }
}

/// Tells how partners' budgets are counted.
#[derive(Debug, Clone, Default)]
pub struct QuotaMetrics {
    replicas: Gauge,
    leased: Gauge,
}

impl QuotaMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("quota_replicas", "Replicas that share partners' budgets", self.replicas.clone());
        registry.register(
            "quota_leased",
            "1 while partners' budgets are the whole fleet's, 0 while this replica counts alone",
            self.leased.clone(),
        );
    }

    pub(super) fn begin(&self) {
        self.counted(1, false);
    }

    pub(crate) fn counted(&self, replicas: u32, leased: bool) {
        self.replicas.set(replicas.into());
        self.leased.set(leased.into());
    }
}

/// Counts changes of partners.
#[derive(Debug, Clone, Default)]
pub struct RosterMetrics {
    reloads: Family<Outcome, Counter>,
}

impl RosterMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("partner_reloads", "Changed partner files, by outcome", self.reloads.clone());
    }

    pub(super) fn begin(&self) {
        for outcome in ["taken", "refused"] {
            drop(self.reloads.get_or_create(&Outcome { outcome }));
        }
    }

    pub(crate) fn reloaded(&self, taken: bool) {
        let outcome = if taken { "taken" } else { "refused" };
        self.reloads.get_or_create(&Outcome { outcome }).inc();
    }
}

impl TlsMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When the first certificate of a file ends, in Unix time",
            Unit::Seconds,
            self.expiry.clone(),
        );
        registry.register("certificate_reloads", "Changed certificates, by outcome", self.reloads.clone());
    }

    pub(super) fn begin(&self) {
        for outcome in ["taken", "refused"] {
            drop(self.reloads.get_or_create(&Outcome { outcome }));
        }
    }

    /// The ends of partners' certificates, all of them: of others nothing is shown any more.
    pub(crate) fn ends_of_resolvers(&self, ends: &[(Cow<'static, str>, Timestamp)]) {
        let names = ends.iter().map(|(certificate, _)| certificate.clone()).collect();
        let mut shown = self.of_resolvers.lock().unwrap_or_else(PoisonError::into_inner);
        for certificate in std::mem::replace(&mut *shown, names) {
            self.expiry.remove(&Certificate { certificate });
        }
        self.ends(ends);
    }

    pub(crate) fn ends(&self, ends: &[(Cow<'static, str>, Timestamp)]) {
        for (certificate, at) in ends {
            let certificate = certificate.clone();
            self.expiry.get_or_create(&Certificate { certificate }).set(at.as_second());
        }
    }

    pub(crate) fn reloaded(&self, taken: bool) {
        let outcome = if taken { "taken" } else { "refused" };
        self.reloads.get_or_create(&Outcome { outcome }).inc();
    }
}
