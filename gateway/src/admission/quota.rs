//! How often a partner may come, so that a flood on one costs the others nothing.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{
    DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use ridegate_adapters::{
    CodeError, IssuerMemory, Medium, Opened, PartnerId, Partners, Profile, QuotaProfile, Recognised,
    UnixSeconds,
};

use super::{cards::Tapped, identity::Validator, rate::Rate};
use crate::metrics::Metrics;

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
    partners: HashMap<PartnerId, Arc<Budgets>>,
    defaults: DefaultRates,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Budgets {
    codes: DefaultDirectRateLimiter,
    codes_rate: Rate,
    calls: DefaultDirectRateLimiter,
    calls_rate: Rate,
}

/// A call that came too soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverQuota {
    /// When it may come again.
    pub retry_after: Duration,
    /// Calls at once.
    pub limit: u32,
}

/// How often each ticket window or machine may ask, so that guessing ID numbers is useless (D13). There are as many
/// budgets as devices that somebody has certified and that have asked.
#[derive(Debug)]
pub struct DeviceRates {
    devices: DefaultKeyedRateLimiter<Validator>,
    burst: NonZeroU32,
}

/// A code whose partner had budget left for it: the proof that more may be spent on it.
#[derive(Debug, Clone, Copy)]
pub struct Admitted<'a>(Recognised<'a>);

impl Admitted<'_> {
    /// Checks everything about the code at `now` that can be checked here.
    pub fn open(self, now: UnixSeconds, memory: &dyn IssuerMemory) -> Result<Opened, CodeError> {
        self.0.open(now, memory)
    }
}

/// A card whose company had budget left for it: the proof that its link may be looked for.
#[derive(Debug, Clone)]
pub struct AdmittedCard(Medium);

impl AdmittedCard {
    /// The card.
    pub const fn medium(&self) -> &Medium {
        &self.0
    }
}

impl Quotas {
    /// Budgets for every partner: its profile's, and where that is silent the defaults.
    pub fn new(partners: &Partners, defaults: DefaultRates, metrics: Arc<Metrics>) -> Self {
        Self { partners: HashMap::new(), defaults, metrics }.renewed(partners)
    }

    /// Budgets for other partners. Who had the same before has what is left of them.
    #[must_use]
    pub fn renewed(&self, partners: &Partners) -> Self {
        let budgets = partners.iter().map(|profile| {
            let fresh = Budgets::new(profile.quota, self.defaults);
            let before = self.partners.get(&profile.id).filter(|before| before.rates() == fresh.rates());
            (profile.id.clone(), before.cloned().unwrap_or_else(|| Arc::new(fresh)))
        });
        Self { partners: budgets.collect(), defaults: self.defaults, metrics: Arc::clone(&self.metrics) }
    }

    /// Spends one code of the partner's budget. A code of nobody's costs no signature, so it needs no budget.
    pub fn admit<'a>(&self, scanned: Recognised<'a>) -> Option<Admitted<'a>> {
        self.spend(scanned.partner()).then_some(Admitted(scanned))
    }

    /// Spends one code of the budget of the card's company. A card of nobody's costs no more than its reader may tap.
    pub fn admit_card(&self, tapped: Tapped<'_>, company: Option<&Profile>) -> Option<AdmittedCard> {
        self.spend(company).then(|| AdmittedCard(tapped.card().medium()))
    }

    fn spend(&self, partner: Option<&Profile>) -> bool {
        let partner = partner.map(|profile| &profile.id);
        let budgets = partner.and_then(|partner| self.partners.get(partner));
        let admitted = budgets.is_none_or(|budgets| budgets.codes.check().is_ok());
        self.metrics.quota(partner, "codes", admitted);
        admitted
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
        Self { codes: codes.limiter(), codes_rate: codes, calls: calls.limiter(), calls_rate: calls }
    }

    const fn rates(&self) -> [Rate; 2] {
        [self.codes_rate, self.calls_rate]
    }
}

impl DeviceRates {
    /// So many a minute of each device, so many at once.
    pub fn new(per_minute: NonZeroU32, burst: NonZeroU32) -> Self {
        Self { devices: RateLimiter::keyed(Quota::per_minute(per_minute).allow_burst(burst)), burst }
    }

    /// Spends one of the device's.
    pub fn spend(&self, device: &Validator) -> Result<(), OverQuota> {
        self.devices.check_key(device).map_err(|not_until| OverQuota {
            retry_after: not_until.wait_time_from(DefaultClock::default().now()),
            limit: self.burst.get(),
        })
    }
}

#[cfg(test)]
mod tests {
    use ridegate_adapters::{MotTrust, Profile};

    use super::*;

    fn partners(rate: u32) -> Partners {
        let quota = format!("[quota]\ncalls_per_second = {rate}\ncalls_burst = 2\n");
        let of = |id: &str, platform: &str, more: &str| {
            let profile = format!(
                "id = '{id}'\nname = {{ zh = '某', en = 'X' }}\ncity = 'X'\nkind = 'metro'\n\
                 [[mot]]\nplatform = '{platform}'\nissuer = '99990001'\naccount_types = [1]\n{more}"
            );
            Profile::from_toml(&profile).unwrap()
        };
        let both = vec![of("a", "00000001", &quota), of("b", "00000002", "")];
        Partners::new(both, MotTrust::default()).unwrap()
    }

    #[test]
    fn a_device_spends_its_own_budget_and_nobody_elses() {
        let rates = DeviceRates::new(NonZeroU32::MIN, NonZeroU32::new(3).unwrap());
        let device = |device: &str| Validator { operator: "o".into(), device: device.into() };
        let left = |of: &Validator| (0..9).filter(|_| rates.spend(of).is_ok()).count();
        assert_eq!((left(&device("a")), left(&device("a")), left(&device("b"))), (3, 0, 3));
        let over = rates.spend(&device("a")).unwrap_err();
        assert!(over.limit == 3 && over.retry_after > Duration::ZERO);
    }

    #[test]
    fn a_change_of_partners_gives_nobody_a_new_budget_whose_rates_are_the_same() {
        let one = NonZeroU32::MIN;
        let rate = Rate { per_second: one, burst: one };
        let defaults = DefaultRates { codes: rate, calls: rate };
        let quotas = Quotas::new(&partners(1), defaults, Arc::default());
        let [a, b] = ["a", "b"].map(|id| PartnerId::new(id).unwrap());
        let left = |quotas: &Quotas, of: &PartnerId| (0..5).filter(|_| quotas.call(of).is_ok()).count();
        assert_eq!((left(&quotas, &a), left(&quotas, &b)), (2, 1));
        let same = quotas.renewed(&partners(1));
        assert_eq!((left(&same, &a), left(&same, &b)), (0, 0));
        let other = same.renewed(&partners(3));
        assert_eq!((left(&other, &a), left(&other, &b)), (2, 0), "another rate is another budget");
    }
}
