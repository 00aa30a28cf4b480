//! Who is linked, and what the authority says of them: cache, registry, authority, in that order.

pub mod coherence;
pub mod desk;
pub mod facts;
pub mod levels;
pub mod links;
pub mod lookups;
pub mod watch;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    budget::Budget,
    domain::{
        decide::Evidence,
        facts::Facts,
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
    /// Finds what is known of the rider, inside the budget.
    pub async fn resolve(&self, presented: &Presented, budget: Budget, stages: &mut Stages) -> Resolution {
        let (partner, medium) = presented.linked_as();
        let names = self.keys.link_names(partner, medium);
        let found = self.links.find(&names, budget.capped(self.registry_cap)).await;
        stages.passed(Stage::Link);
        let Linked { subject, stale } = match found {
            Ok(Some(linked)) => linked,
            Ok(None) => return Found::NotLinked.into(),
            Err(_) => return Resolution { found: Found::Failed, degraded: Some(Degraded::Registry) },
        };
        let registry = stale.then_some(Degraded::Registry);
        let known = self.lookups.find(&subject, budget.capped(self.authority_cap)).await;
        stages.passed(Stage::Facts);
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

    /// A verdict with what it rests on.
    pub const fn stamp(&self, verdict: Verdict) -> Finding {
        let evidence_as_of = match self.found {
            Found::Facts { as_of, .. } => Some(as_of),
            Found::NotAsked | Found::NotLinked | Found::NoRecord | Found::Failed => None,
        };
        Finding { verdict, evidence_as_of, degraded: self.degraded }
    }
}

impl From<Found> for Resolution {
    fn from(found: Found) -> Self {
        Self { found, degraded: None }
    }
}
