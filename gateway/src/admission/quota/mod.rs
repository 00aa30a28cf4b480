//! How often a partner may come, so that a flood on one costs the others nothing.
//!
//! Where replicas share Redis a partner's budgets are the whole fleet's: each replica has some of them in hand (`lease`),
//! and asks for more in the background ([`Fleet`]). While Redis is away, and where there is none, each counts alone
//! (`local`).

mod budget;
mod fleet;
mod lease;
mod local;

pub use budget::Named;
pub use fleet::Fleet;

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use ridegate_adapters::{
    self as adapters, CodeError, Medium, OnlineCode, PartnerId, Partners, Profile, Recognised, UnixSeconds,
};

use self::budget::{Budget, Standing};
use super::{cards::Tapped, identity::Validator, rate::Rate, turns::Unverified};
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
    partners: HashMap<PartnerId, Budgets>,
    defaults: DefaultRates,
    standing: Arc<Standing>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Clone)]
struct Budgets {
    codes: Arc<Budget>,
    calls: Arc<Budget>,
}

/// How a partner's budgets stand. What is left is an estimate: it is of a moment ago, and of many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// Codes on the verdict path.
    pub codes: (Rate, u32),
    /// Calls of the partner's own.
    pub calls: (Rate, u32),
    /// They are the whole fleet's; else this replica counts alone.
    pub whole_fleet: bool,
    /// Replicas that share them: with `whole_fleet` those alive now; else this one has one of so many shares.
    pub replicas: u32,
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

/// A code that could be used now, as far as can be seen without a signature: the proof that a core may be spent on it, or a
/// question to its partner.
#[derive(Debug)]
pub enum Accepted<'a> {
    /// If its signatures are good.
    Signed(Unverified<'a>),
    /// If its partner says so.
    Online(OnlineCode),
}

impl<'a> Admitted<'a> {
    /// Checks everything about the code at `now` that costs no signature.
    pub fn accept(self, now: UnixSeconds) -> Result<Accepted<'a>, CodeError> {
        Ok(match self.0.accept(now)? {
            adapters::Accepted::Signed(code) => Accepted::Signed(Unverified::new(code)),
            adapters::Accepted::Online(code) => Accepted::Online(code),
        })
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
    /// Budgets for every partner: its profile's, and where that is silent the defaults. This process's, or the fleet's.
    pub fn new(
        partners: &Partners,
        defaults: DefaultRates,
        fleet: Option<&Fleet>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let standing = fleet.map_or_else(|| Standing::new(false), |fleet| Arc::clone(&fleet.standing));
        Self { partners: HashMap::new(), defaults, standing, metrics }.renewed(partners)
    }

    /// Budgets for other partners. Who had the same before has what is left of them.
    #[must_use]
    pub fn renewed(&self, partners: &Partners) -> Self {
        let budgets = partners.iter().map(|profile| {
            let (own, before) = (profile.quota, self.partners.get(&profile.id));
            let budget = |rate, before: Option<&Arc<Budget>>| match before {
                Some(before) if before.rate == rate => Arc::clone(before),
                before => {
                    let fresh = Budget::new(rate, &self.standing);
                    before.inspect(|before| fresh.take_over(before));
                    Arc::new(fresh)
                }
            };
            let codes = Rate::of(own.codes_per_second, own.codes_burst, self.defaults.codes);
            let calls = Rate::of(own.calls_per_second, own.calls_burst, self.defaults.calls);
            let codes = budget(codes, before.map(|before| &before.codes));
            let calls = budget(calls, before.map(|before| &before.calls));
            (profile.id.clone(), Budgets { codes, calls })
        });
        Self {
            partners: budgets.collect(),
            defaults: self.defaults,
            standing: Arc::clone(&self.standing),
            metrics: Arc::clone(&self.metrics),
        }
    }

    /// Every budget, for [`Fleet::keep`].
    pub fn budgets(&self) -> Vec<Named> {
        let named = |(partner, Budgets { codes, calls }): (&PartnerId, &Budgets)| {
            [("codes", codes), ("calls", calls)]
                .map(|(what, budget)| Named { name: format!("{partner}:{what}"), budget: Arc::clone(budget) })
        };
        self.partners.iter().flat_map(named).collect()
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
        let admitted = budgets.is_none_or(|budgets| budgets.codes.spend().is_ok());
        self.metrics.quota(partner, "codes", admitted);
        admitted
    }

    /// Spends one call of the partner's budget. May wait a little for the fleet's answer: nobody stands at a gate.
    pub async fn call(&self, partner: &PartnerId) -> Result<(), OverQuota> {
        let Some(budgets) = self.partners.get(partner) else { return Ok(()) };
        let spent = budgets.calls.spend_in_time().await;
        self.metrics.quota(Some(partner), "calls", spent.is_ok());
        spent.map_err(|retry_after| OverQuota { retry_after, limit: budgets.calls.rate.burst.get() })
    }

    /// How a partner's budgets stand; `None` if it has none.
    pub fn stand(&self, partner: &PartnerId) -> Option<Stand> {
        let Budgets { codes, calls } = self.partners.get(partner)?;
        Some(Stand {
            codes: (codes.rate, codes.left()),
            calls: (calls.rate, calls.left()),
            whole_fleet: self.standing.is_leased(),
            replicas: self.standing.replicas(),
        })
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
            retry_after: not_until.wait_time_from(self.devices.clock().now()),
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

    #[tokio::test]
    async fn a_change_of_partners_gives_nobody_a_new_budget_whose_rates_are_the_same() {
        let one = NonZeroU32::MIN;
        let rate = Rate { per_second: one, burst: one };
        let defaults = DefaultRates { codes: rate, calls: rate };
        let quotas = Quotas::new(&partners(1), defaults, None, Arc::default());
        let [a, b] = ["a", "b"].map(|id| PartnerId::new(id).unwrap());
        let left = async |quotas: &Quotas, of: &PartnerId| {
            let mut left = 0;
            while quotas.call(of).await.is_ok() {
                left += 1;
            }
            left
        };
        assert_eq!(quotas.stand(&a).unwrap().calls.1, 2);
        assert_eq!((left(&quotas, &a).await, left(&quotas, &b).await), (2, 1));
        let stand = quotas.stand(&a).unwrap();
        assert_eq!((stand.calls.1, stand.codes.1, stand.whole_fleet, stand.replicas), (0, 1, false, 1));
        let same = quotas.renewed(&partners(1));
        assert_eq!((left(&same, &a).await, left(&same, &b).await), (0, 0));
        let other = same.renewed(&partners(3));
        assert_eq!(
            (left(&other, &a).await, left(&other, &b).await),
            (2, 0),
            "another rate is another budget"
        );
    }
}
