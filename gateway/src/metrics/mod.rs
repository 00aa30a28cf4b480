//! What is counted and timed, as Prometheus reads it. Every label has a fixed set of values, none of which comes from
//! a rider or from anything a caller may choose.

mod held;
mod labels;
mod parts;
mod process;
mod retries;

pub use parts::{
    BreakerMetrics, CacheMetrics, DoorMetrics, QuotaMetrics, ResolverMetrics, RosterMetrics, TicketMetrics,
    TlsMetrics, UpstreamMetrics,
};
pub use retries::RetryMetrics;

use std::{sync::Mutex, time::Duration};

use prometheus_client::{
    encoding::text,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};
use ridegate_adapters::PartnerId;

use self::labels::{
    Asked, Budget, CacheLookup, Call, Dependency, NotAsked, OfPartner, Outcome, Partner, Rpc, StageName,
    Upstream, Upstreamed, Verdict,
};
use self::{held::Held, process::Process, retries::AllRetries};
use crate::{
    domain::verdict,
    stages::{Stage, Stages},
};

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
    /// Those of all stages, in their order: every verdict fills most of them.
    stages: [Histogram; Stage::ALL.len()],
    claims: Family<Outcome, Counter>,
    quota: Family<Budget, Counter>,
    quotas: QuotaMetrics,
    many_cards: Counter,
    caches: Family<CacheLookup, Counter>,
    held: Held,
    upstream_seconds: Timed<Upstreamed>,
    upstream_skipped: Family<Upstream, Counter>,
    upstream_breakers: Family<Upstream, Gauge>,
    resolver_seconds: Timed<Asked>,
    resolver_skipped: Family<NotAsked, Counter>,
    resolver_asked: Family<OfPartner, Gauge>,
    retries: AllRetries,
    inspections: Family<Outcome, Counter>,
    rpcs: Family<Rpc, Counter>,
    rpc_seconds: Timed<Call>,
    dependencies: Family<Dependency, Gauge>,
    door: DoorMetrics,
    tls: TlsMetrics,
    roster: RosterMetrics,
    tickets: TicketMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new([])
    }
}

impl Metrics {
    /// Everything at nothing. What has a fixed set of names is there from the start, so that its first increase is seen.
    pub fn new<'p>(partners: impl IntoIterator<Item = &'p PartnerId>) -> Self {
        let stage_seconds: Timed<StageName> = Family::new_with_constructor(|| Histogram::new(STAGE_SECONDS));
        let stages =
            Stage::ALL.map(|stage| stage_seconds.get_or_create_owned(&StageName { stage: stage.name() }));
        let metrics = Self {
            registry: Mutex::default(),
            reached: Counter::default(),
            verdicts: Family::default(),
            verdict_seconds: Histogram::new(SECONDS),
            stage_seconds,
            stages,
            claims: Family::default(),
            quota: Family::default(),
            quotas: QuotaMetrics::default(),
            many_cards: Counter::default(),
            caches: Family::default(),
            held: Held::default(),
            upstream_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            upstream_skipped: Family::default(),
            upstream_breakers: Family::default(),
            resolver_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            resolver_skipped: Family::default(),
            resolver_asked: Family::default(),
            retries: AllRetries::default(),
            inspections: Family::default(),
            rpcs: Family::default(),
            rpc_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            dependencies: Family::default(),
            door: DoorMetrics::default(),
            tls: TlsMetrics::default(),
            roster: RosterMetrics::default(),
            tickets: TicketMetrics::default(),
        };
        metrics.register();
        metrics.begin(partners);
        metrics
    }

    /// These partners may come from now on.
    pub fn partners<'p>(&self, partners: impl IntoIterator<Item = &'p PartnerId>) {
        for partner in partners {
            self.partner(&Some(partner.clone()).into());
        }
    }

    fn partner(&self, partner: &Partner) {
        for verdict in verdict::Inspect::ALL.map(verdict::Verdict::Inspect) {
            let (verdict, reason) = (verdict.name(), verdict.reason());
            drop(self.verdicts.get_or_create(&Verdict { partner: partner.clone(), verdict, reason }));
        }
    }

    fn begin<'p>(&self, partners: impl IntoIterator<Item = &'p PartnerId>) {
        self.partner(&None.into());
        self.partners(partners);
        for outcome in ["fresh", "repeat", "replayed"] {
            drop(self.claims.get_or_create(&Outcome { outcome }));
        }
        for outcome in ["passed", "refused", "left"] {
            drop(self.inspections.get_or_create(&Outcome { outcome }));
        }
        self.quotas.begin();
        self.door.begin();
        self.tls.begin();
        self.roster.begin();
        self.tickets.begin();
    }

    fn register(&self) {
        let mut all = self.lock();
        all.register_collector(Box::new(Process));
        let registry = all.sub_registry_with_prefix("ridegate");
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
        registry.register(
            "many_cards_alarms",
            "Readers that tapped many different cards, once a window each",
            self.many_cards.clone(),
        );
        registry.register("cache_lookups", "What was remembered: hit, miss, stale", self.caches.clone());
        registry.register_collector(Box::new(self.held.clone()));
        registry.register_with_unit(
            "upstream_duration",
            "Questions to what lies behind the gateway, by outcome",
            Unit::Seconds,
            self.upstream_seconds.clone(),
        );
        registry.register(
            "upstream_skipped",
            "Questions that were not asked, because nobody answers",
            self.upstream_skipped.clone(),
        );
        registry.register(
            "upstream_breaker_open",
            "1 while it does not answer and is only tried now and then",
            self.upstream_breakers.clone(),
        );
        registry.register_with_unit(
            "resolver_duration",
            "Questions to partners who alone can read their codes, by outcome",
            Unit::Seconds,
            self.resolver_seconds.clone(),
        );
        registry.register(
            "resolver_skipped",
            "Codes whose partner was not asked: busy, breaker",
            self.resolver_skipped.clone(),
        );
        registry.register(
            "resolver_up",
            "0 while a partner does not answer and is only tried now and then",
            self.resolver_asked.clone(),
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
        self.quotas.register(registry);
        self.retries.register(registry);
        self.door.register(registry);
        self.tls.register(registry);
        self.roster.register(registry);
        self.tickets.register(registry);
    }

    /// A verdict was reached.
    pub fn verdict(&self, partner: Option<&PartnerId>, verdict: verdict::Verdict, stages: &Stages) {
        let partner = partner.cloned().into();
        let label = Verdict { partner, verdict: verdict.name(), reason: verdict.reason() };
        self.verdicts.get_or_create(&label).inc();
        self.reached.inc();
        self.verdict_seconds.observe(stages.total().as_secs_f64());
        for (stage, took) in stages.took() {
            if let Some(seconds) = self.stages.get(stage as usize) {
                seconds.observe(took.as_secs_f64());
            }
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

    /// A reader taps many different cards.
    pub(crate) fn many_cards(&self) {
        self.many_cards.inc();
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

    /// What this one takes of memory, in bytes: asked whenever metrics are.
    pub(crate) fn holds(&self, cache: &'static str, bytes: impl Fn() -> u64 + Send + Sync + 'static) {
        self.held.ask(cache, bytes);
    }

    /// For what asks behind the gateway.
    pub fn upstream(&self, upstream: &'static str) -> UpstreamMetrics {
        UpstreamMetrics { upstream, seconds: self.upstream_seconds.clone() }
    }

    /// For its breaker.
    pub fn breaker(&self, upstream: &'static str) -> BreakerMetrics {
        let label = Upstream { upstream };
        BreakerMetrics {
            skipped: self.upstream_skipped.get_or_create_owned(&label),
            open: self.upstream_breakers.get_or_create_owned(&label),
        }
    }

    /// For second tries of what asks behind the gateway.
    pub fn retries(&self, upstream: &'static str) -> RetryMetrics {
        self.retries.of(upstream)
    }

    /// For what asks this partner to read its codes.
    pub fn resolver(&self, id: &PartnerId) -> ResolverMetrics {
        let partner = Partner::from(Some(id.clone()));
        let skipped = |cause| {
            let label = NotAsked { partner: partner.clone(), cause };
            self.resolver_skipped.get_or_create_owned(&label)
        };
        // A gauge of its own: whoever was asked before, and still has calls under way, tells of itself no more.
        let label = OfPartner { partner: partner.clone() };
        self.resolver_asked.remove(&label);
        let up = self.resolver_asked.get_or_create_owned(&label);
        up.set(1);
        ResolverMetrics {
            busy: skipped("busy"),
            breaker: skipped("breaker"),
            up,
            seconds: self.resolver_seconds.clone(),
            retries: self.retries.of_resolver(id),
            partner,
        }
    }

    /// This partner is asked no more.
    pub fn resolver_gone(&self, partner: &PartnerId) {
        self.resolver_asked.remove(&OfPartner { partner: Some(partner.clone()).into() });
        self.retries.resolver_gone(partner);
    }

    /// For partners' budgets.
    pub fn quotas(&self) -> QuotaMetrics {
        self.quotas.clone()
    }

    /// For the door.
    pub fn door(&self) -> DoorMetrics {
        self.door.clone()
    }

    /// For certificates.
    pub fn tls(&self) -> TlsMetrics {
        self.tls.clone()
    }

    /// For changes of partners.
    pub fn roster(&self) -> RosterMetrics {
        self.roster.clone()
    }

    /// For sales of tickets.
    pub fn tickets(&self) -> TicketMetrics {
        self.tickets.clone()
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
