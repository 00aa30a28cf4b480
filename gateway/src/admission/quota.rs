//! How often a partner may come, so that a flood on one costs the others nothing.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use ridegate_adapters::{
    CodeError, IssuerMemory, PartnerId, Partners, QuotaProfile, Recognised, RideCode, UnixSeconds,
};

use crate::metrics::Metrics;

/// A budget: so many a second, so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// A second.
    pub per_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

/// Budgets of a partner whose profile does not say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DefaultRates {
    /// Codes on the verdict path.
    pub codes: Rate,
    /// Calls of the partner's own.
    pub calls: Rate,
}

/// Every partner's budgets.
#[derive(Debug)]
pub struct Quotas {
    partners: HashMap<PartnerId, Budgets>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Budgets {
    codes: DefaultDirectRateLimiter,
    calls: DefaultDirectRateLimiter,
    calls_rate: Rate,
}

/// A partner's call that came too soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverQuota {
    /// When it may come again.
    pub retry_after: Duration,
    /// Calls at once.
    pub limit: u32,
}

/// A code whose partner had budget left for it: the proof that more may be spent on it.
#[derive(Debug, Clone, Copy)]
pub struct Admitted<'a>(Recognised<'a>);

impl Admitted<'_> {
    /// Checks everything about the code at `now`.
    pub fn open(self, now: UnixSeconds, memory: &dyn IssuerMemory) -> Result<RideCode, CodeError> {
        self.0.open(now, memory)
    }
}

impl Quotas {
    /// Budgets for every partner: its profile's, and where that is silent the defaults.
    pub fn new(partners: &Partners, defaults: DefaultRates, metrics: Arc<Metrics>) -> Self {
        let budgets =
            partners.iter().map(|profile| (profile.id.clone(), Budgets::new(profile.quota, defaults)));
        Self { partners: budgets.collect(), metrics }
    }

    /// Spends one code of the partner's budget. A code of nobody's costs no signature, so it needs no budget.
    pub fn admit<'a>(&self, scanned: Recognised<'a>) -> Option<Admitted<'a>> {
        let partner = scanned.partner().map(|profile| &profile.id);
        let budgets = partner.and_then(|partner| self.partners.get(partner));
        let admitted = budgets.is_none_or(|budgets| budgets.codes.check().is_ok());
        self.metrics.quota(partner, "codes", admitted);
        admitted.then_some(Admitted(scanned))
    }

    /// Spends one call of the partner's budget.
    pub fn call(&self, partner: &PartnerId) -> Result<(), OverQuota> {
        let Some(budgets) = self.partners.get(partner) else { return Ok(()) };
        let checked = budgets.calls.check();
        self.metrics.quota(Some(partner), "calls", checked.is_ok());
        checked.map_err(|not_until| OverQuota {
            retry_after: not_until.wait_time_from(DefaultClock::default().now()),
            limit: budgets.calls_rate.burst.get(),
        })
    }
}

impl Budgets {
    fn new(own: QuotaProfile, defaults: DefaultRates) -> Self {
        let codes = Rate::of(own.codes_per_second, own.codes_burst, defaults.codes);
        let calls = Rate::of(own.calls_per_second, own.calls_burst, defaults.calls);
        Self { codes: codes.limiter(), calls: calls.limiter(), calls_rate: calls }
    }
}

impl Rate {
    /// A profile that names a rate but no burst gets one second's worth.
    fn of(per_second: Option<NonZeroU32>, burst: Option<NonZeroU32>, default: Self) -> Self {
        match (per_second, burst) {
            (None, None) => default,
            (None, Some(burst)) => Self { burst, ..default },
            (Some(per_second), burst) => Self { per_second, burst: burst.unwrap_or(per_second) },
        }
    }

    fn limiter(self) -> DefaultDirectRateLimiter {
        RateLimiter::direct(Quota::per_second(self.per_second).allow_burst(self.burst))
    }
}
