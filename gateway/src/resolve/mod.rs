//! Who is linked, and what the authority says of them: cache, registry, authority, in that order.

mod beside;
mod changed;
pub mod coherence;
#[cfg(test)]
mod days;
pub mod desk;
pub mod facts;
mod finds;
pub mod levels;
pub mod links;
pub mod lookups;
pub mod watch;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use ridegate_adapters::{Medium, PartnerId};

use self::beside::Beside;
use crate::{
    backends::{
        redis::shared::{Shared, SharedFacts, SharedLink},
        registry::RegistryError,
    },
    budget::Budget,
    domain::{
        decide::Evidence,
        facts::{Facts, Subject},
        pseudonym::Pseudonym,
        verdict::{Degraded, Finding, Verdict},
    },
    keyring::Keyring,
    presented::Presented,
    resolve::{
        facts::Known,
        links::{Linked, Links},
        lookups::Lookups,
    },
    stages::{Stage, Stages},
};

/// Finds evidence.
#[derive(Debug, Clone)]
pub struct Resolver {
    /// Links.
    pub links: Arc<Links>,
    /// Facts.
    pub lookups: Arc<Lookups>,
    /// What the fleet shares.
    pub fleet: Option<Arc<Shared>>,
    /// Names accounts.
    pub keys: Arc<Keyring>,
    /// Longest wait for the registry.
    pub registry_cap: Duration,
    /// Longest wait for the authority.
    pub authority_cap: Duration,
}

/// What was found about the rider, and what was missing on the way.
#[derive(Debug)]
pub struct Resolution {
    found: Found,
    degraded: Option<Degraded>,
}

#[derive(Debug)]
enum Found {
    NotAsked,
    NotLinked,
    NoRecord,
    Facts { facts: Arc<Facts>, as_of: Timestamp },
    Failed,
}

impl Resolver {
    /// What the link of an account may be called; of a card, which is the same whoever linked it, without a partner.
    pub fn names(&self, partner: Option<&PartnerId>, medium: &Medium) -> Vec<Pseudonym> {
        self.keys.link_names(partner, medium)
    }

    /// Finds what is known of the rider whose link has one of these names, inside the budget: here, in what the fleet shares, and
    /// where it comes from, in that order. What had to be asked for is left for the others.
    pub async fn resolve(
        &self,
        presented: &Presented,
        names: &[Pseudonym],
        budget: Budget,
        stages: &mut Stages,
    ) -> Resolution {
        let mut beside = self.fleet.as_ref().map(|fleet| Beside::of(fleet, presented));
        let link = self.link(names, beside.as_mut(), budget).await;
        stages.passed(Stage::Link);
        let (Linked { subject, stale }, new_link) = match link {
            Ok(Some(linked)) => linked,
            Ok(None) => return Found::NotLinked.into(),
            Err(_) => return Resolution { found: Found::Failed, degraded: Some(Degraded::Registry) },
        };
        let (known, new_facts) = self.facts(&subject, beside.as_mut(), budget).await;
        stages.passed(Stage::Facts);
        if let Some(beside) = beside {
            beside.leave(new_link, new_facts);
        }
        let registry = stale.then_some(Degraded::Registry);
        match known {
            Known::Facts { facts, as_of } => {
                Resolution { found: Found::Facts { facts, as_of }, degraded: registry }
            }
            Known::NoRecord => Resolution { found: Found::NoRecord, degraded: registry },
            Known::Stale { facts, as_of } => {
                Resolution { found: Found::Facts { facts, as_of }, degraded: Some(Degraded::Authority) }
            }
            Known::Nothing => Resolution { found: Found::Failed, degraded: Some(Degraded::Authority) },
        }
    }

    /// Whether the fleet need not be asked for this account together with the claim, since this process remembers all of it. Who
    /// it is and how they are is told to nobody who has not taken the claim.
    pub fn remembers(&self, names: &[Pseudonym]) -> bool {
        self.fleet.is_some()
            && self.links.known(names).is_some_and(|linked| self.lookups.remembers(&linked.subject))
    }

    /// Whose account it is, and what the registry said if it was asked.
    async fn link(
        &self,
        names: &[Pseudonym],
        beside: Option<&mut Beside<'_>>,
        budget: Budget,
    ) -> Result<Option<(Linked, Option<SharedLink>)>, RegistryError> {
        if let Some(linked) = self.links.recall(names) {
            return Ok(Some((linked, None)));
        }
        let shared = match beside {
            Some(beside) => beside.link(budget).await,
            None => None,
        };
        if let Some(linked) = shared.and_then(|shared| self.links.adopt(names, &shared)) {
            return Ok(Some((linked, None)));
        }
        let found = self.links.find(names, budget.capped(self.registry_cap)).await?;
        Ok(found.map(|found| (Linked { subject: found.subject.clone(), stale: false }, Some(found))))
    }

    /// What is known of a subject, and what the authority said if it was asked.
    async fn facts(
        &self,
        subject: &Subject,
        beside: Option<&mut Beside<'_>>,
        budget: Budget,
    ) -> (Known, Option<SharedFacts>) {
        let known = self.lookups.recall(subject);
        if known.may_be_believed() {
            return (known, None);
        }
        let shared = match beside {
            Some(beside) => beside.facts(subject, budget).await,
            None => None,
        };
        let adopted = shared.map_or(Known::Nothing, |shared| self.lookups.adopt(&shared));
        if adopted.may_be_believed() {
            return (adopted, None);
        }
        match self.lookups.ask(subject, budget.capped(self.authority_cap)).await {
            Known::Nothing => (adopted, None),
            known @ Known::Facts { .. } => (known, self.lookups.shared(subject)),
            known => (known, None),
        }
    }
}

impl Resolution {
    /// Nothing is enforced, so nothing was asked (D25).
    pub const fn not_asked() -> Self {
        Self { found: Found::NotAsked, degraded: None }
    }

    /// What the policy decides by.
    pub fn evidence(&self) -> Evidence<'_> {
        match &self.found {
            Found::NotAsked => Evidence::NotAsked,
            Found::NotLinked => Evidence::NotLinked,
            Found::NoRecord => Evidence::NoRecord,
            Found::Facts { facts, .. } => Evidence::Facts(facts),
            Found::Failed => Evidence::Failed,
        }
    }

    /// A verdict with what it rests on, and what was missing, here or before. Where it was both ways, it is told for which a
    /// look-up failed; else that of the claim: a code that may have been let in elsewhere says so, also with stale facts.
    pub fn stamp(&self, verdict: Verdict, missing: Option<Degraded>) -> Finding {
        let degraded = match self.found {
            Found::Failed => self.degraded.or(missing),
            Found::NotAsked | Found::NotLinked | Found::NoRecord | Found::Facts { .. } => {
                missing.or(self.degraded)
            }
        };
        let evidence_as_of = match self.found {
            Found::Facts { as_of, .. } => Some(as_of),
            Found::NotAsked | Found::NotLinked | Found::NoRecord | Found::Failed => None,
        };
        Finding { verdict, evidence_as_of, degraded }
    }
}

impl From<Found> for Resolution {
    fn from(found: Found) -> Self {
        Self { found, degraded: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::verdict::Inspect;

    #[test]
    fn of_two_that_were_missing_the_one_is_told_that_the_verdict_hangs_on() {
        let verdict = Verdict::Inspect(Inspect::LookupFailed);
        let told = |found, degraded, missing| Resolution { found, degraded }.stamp(verdict, missing).degraded;
        let (redis, authority) = (Some(Degraded::Redis), Some(Degraded::Authority));
        assert_eq!(told(Found::Failed, authority, redis), authority, "why it is LOOKUP_FAILED");
        assert_eq!(told(Found::NoRecord, authority, redis), redis, "perhaps let in elsewhere");
        assert_eq!(told(Found::NoRecord, authority, None), authority);
        assert_eq!(told(Found::Failed, None, redis), redis);
        assert_eq!(told(Found::NotLinked, None, None), None);
    }
}
