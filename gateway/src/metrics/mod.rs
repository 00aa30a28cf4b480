//! What is counted and timed, as Prometheus reads it. Every label has a fixed set of values, none of which comes from
//! a rider or from anything a caller may choose.

mod labels;

use std::{sync::Mutex, time::Duration};

use jiff::Timestamp;
use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};
use ridegate_adapters::PartnerId;
use tokio::time::Instant;

use self::labels::{
    Budget, CacheLookup, Call, Cause, Certificate, Dependency, Outcome, Partner, Role, Rpc, StageName,
    Upstreamed, Verdict,
};
use crate::{domain::verdict, stages::Stages};

/// From a tenth of a millisecond to ten seconds: a verdict from memory takes less than one, its budget is 150 ms.
const SECONDS: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.015, 0.025, 0.05, 0.08, 0.1, 0.15, 0.25, 1.0,
    10.0,
];
/// From a microsecond on.
const STAGE_SECONDS: [f64; 14] = [
    0.000_001, 0.000_004, 0.000_016, 0.000_064, 0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.015, 0.05, 0.08,
    0.15, 1.0,
];

type Timed<L> = Family<L, Histogram, fn() -> Histogram>;

/// All of it.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    reached: Counter,
    verdicts: Family<Verdict, Counter>,
    verdict_seconds: Histogram,
    stage_seconds: Timed<StageName>,
    claims: Family<Outcome, Counter>,
    quota: Family<Budget, Counter>,
    caches: Family<CacheLookup, Counter>,
    upstream_seconds: Timed<Upstreamed>,
    inspections: Family<Outcome, Counter>,
    rpcs: Family<Rpc, Counter>,
    rpc_seconds: Timed<Call>,
    dependencies: Family<Dependency, Gauge>,
    door: DoorMetrics,
    tls: TlsMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new([])
    }
}

impl Metrics {
    /// Everything at nothing. What has a fixed set of names is there from the start, so that its first increase is seen.
    pub fn new<'p>(partners: impl IntoIterator<Item = &'p PartnerId>) -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("ridegate")),
            reached: Counter::default(),
            verdicts: Family::default(),
            verdict_seconds: Histogram::new(SECONDS),
            stage_seconds: Family::new_with_constructor(|| Histogram::new(STAGE_SECONDS)),
            claims: Family::default(),
            quota: Family::default(),
            caches: Family::default(),
            upstream_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            inspections: Family::default(),
            rpcs: Family::default(),
            rpc_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            dependencies: Family::default(),
            door: DoorMetrics::default(),
            tls: TlsMetrics::default(),
        };
        metrics.register();
        metrics.begin(partners);
        metrics
    }

    fn begin<'p>(&self, partners: impl IntoIterator<Item = &'p PartnerId>) {
        let partners = partners.into_iter().map(|partner| Partner::from(Some(partner.clone())));
        for partner in partners.chain([None.into()]) {
            for verdict in verdict::Inspect::ALL.map(verdict::Verdict::Inspect) {
                let (verdict, reason) = (verdict.name(), verdict.reason());
                drop(self.verdicts.get_or_create(&Verdict { partner: partner.clone(), verdict, reason }));
            }
        }
        for outcome in ["fresh", "repeat", "replayed"] {
            drop(self.claims.get_or_create(&Outcome { outcome }));
        }
        for outcome in ["passed", "refused", "left"] {
            drop(self.inspections.get_or_create(&Outcome { outcome }));
        }
        self.door.begin();
        self.tls.begin();
    }

    fn register(&self) {
        let mut registry = self.lock();
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", build);
        registry.register("verdicts", "Verdicts, by partner and reason", self.verdicts.clone());
        registry.register_with_unit(
            "verdict_duration",
            "From a tap's arrival to its verdict",
            Unit::Seconds,
            self.verdict_seconds.clone(),
        );
        registry.register_with_unit(
            "stage_duration",
            "Each stage of a verdict",
            Unit::Seconds,
            self.stage_seconds.clone(),
        );
        registry.register("claims", "Claims on codes: fresh, repeat, replayed", self.claims.clone());
        registry.register("quota_checks", "Partners' budgets: admitted, refused", self.quota.clone());
        registry.register("cache_lookups", "What was remembered: hit, miss, stale", self.caches.clone());
        registry.register_with_unit(
            "upstream_duration",
            "Questions to what lies behind the gateway, by outcome",
            Unit::Seconds,
            self.upstream_seconds.clone(),
        );
        registry.register("inspections", "What staff decided after INSPECT", self.inspections.clone());
        registry.register("grpc_handled", "RPCs, by the status they ended with", self.rpcs.clone());
        registry.register_with_unit(
            "grpc_handling",
            "RPCs, from the request to the end of the answer",
            Unit::Seconds,
            self.rpc_seconds.clone(),
        );
        registry.register("dependency_up", "1 while it answers", self.dependencies.clone());
        self.door.register(&mut registry);
        self.tls.register(&mut registry);
    }

    /// A verdict was reached.
    pub fn verdict(&self, partner: Option<&PartnerId>, verdict: verdict::Verdict, stages: &Stages) {
        let partner = partner.cloned().into();
        let label = Verdict { partner, verdict: verdict.name(), reason: verdict.reason() };
        self.verdicts.get_or_create(&label).inc();
        self.reached.inc();
        self.verdict_seconds.observe(stages.total().as_secs_f64());
        for (stage, took) in stages.took() {
            let label = StageName { stage: stage.name() };
            self.stage_seconds.get_or_create(&label).observe(took.as_secs_f64());
        }
    }

    /// How many verdicts were reached in all.
    pub fn reached(&self) -> u64 {
        self.reached.get()
    }

    /// A claim was judged.
    pub fn claim(&self, outcome: &'static str) {
        self.claims.get_or_create(&Outcome { outcome }).inc();
    }

    /// A partner's budget was asked.
    pub fn quota(&self, partner: Option<&PartnerId>, budget: &'static str, admitted: bool) {
        let outcome = if admitted { "admitted" } else { "refused" };
        let label = Budget { partner: partner.cloned().into(), budget, outcome };
        self.quota.get_or_create(&label).inc();
    }

    /// Staff decided.
    pub fn inspection(&self, outcome: &'static str) {
        self.inspections.get_or_create(&Outcome { outcome }).inc();
    }

    /// An RPC ended, and took so long if that says anything.
    pub fn rpc(
        &self,
        service: &'static str,
        method: &'static str,
        code: &'static str,
        took: Option<Duration>,
    ) {
        self.rpcs.get_or_create(&Rpc { service, method, code }).inc();
        if let Some(took) = took {
            self.rpc_seconds.get_or_create(&Call { service, method }).observe(took.as_secs_f64());
        }
    }

    /// Whether something behind the gateway answers.
    pub fn dependency(&self, dependency: &'static str, up: bool) {
        self.dependencies.get_or_create(&Dependency { dependency }).set(up.into());
    }

    /// For what remembers.
    pub fn cache(&self, cache: &'static str) -> CacheMetrics {
        let counter = |outcome| self.caches.get_or_create_owned(&CacheLookup { cache, outcome });
        CacheMetrics { hit: counter("hit"), miss: counter("miss"), stale: counter("stale") }
    }

    /// For what asks behind the gateway.
    pub fn upstream(&self, upstream: &'static str) -> UpstreamMetrics {
        UpstreamMetrics { upstream, seconds: self.upstream_seconds.clone() }
    }

    /// For the door.
    pub fn door(&self) -> DoorMetrics {
        self.door.clone()
    }

    /// For certificates.
    pub fn tls(&self) -> TlsMetrics {
        self.tls.clone()
    }

    /// In the text format of `OpenMetrics`.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _written = text::encode(&mut text, &self.lock());
        text
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Counts one memory's hits.
#[derive(Debug, Clone, Default)]
pub struct CacheMetrics {
    hit: Counter,
    miss: Counter,
    stale: Counter,
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

    /// It would serve if nobody could be asked.
    pub fn stale(&self) {
        self.stale.inc();
    }
}

/// Times questions to one thing behind the gateway.
#[derive(Debug, Clone)]
pub struct UpstreamMetrics {
    upstream: &'static str,
    seconds: Timed<Upstreamed>,
}

impl UpstreamMetrics {
    /// A question that was asked at `since` has come to `outcome`.
    pub fn asked(&self, call: &'static str, outcome: &'static str, since: Instant) {
        let label = Upstreamed { upstream: self.upstream, call, outcome };
        self.seconds.get_or_create(&label).observe(since.elapsed().as_secs_f64());
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
    fn register(&self, registry: &mut Registry) {
        registry.register("connections", "Open connections, by the caller's role", self.open.clone());
        registry.register("connections_refused", "Connections not let in, by cause", self.refused.clone());
        registry.register("connections_left", "Connections asked to leave, by cause", self.left.clone());
    }

    fn begin(&self) {
        for cause in ["full", "caller_full", "address_full", "tls", "too_slow", "not_http2", "closing"] {
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
}

impl TlsMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "certificate_expiry_timestamp",
            "When the first certificate of a file ends, in Unix time",
            Unit::Seconds,
            self.expiry.clone(),
        );
        registry.register("certificate_reloads", "Changed certificates, by outcome", self.reloads.clone());
    }

    fn begin(&self) {
        for outcome in ["taken", "refused"] {
            drop(self.reloads.get_or_create(&Outcome { outcome }));
        }
    }

    pub(crate) fn ends(&self, ends: &[(&'static str, Timestamp)]) {
        for (certificate, at) in ends {
            self.expiry.get_or_create(&Certificate { certificate }).set(at.as_second());
        }
    }

    pub(crate) fn reloaded(&self, taken: bool) {
        let outcome = if taken { "taken" } else { "refused" };
        self.reloads.get_or_create(&Outcome { outcome }).inc();
    }
}
