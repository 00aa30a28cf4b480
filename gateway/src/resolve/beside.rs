//! What other replicas have left in Redis of one account: the second memory, beside the process.

use std::sync::Arc;

use crate::{
    backends::redis::shared::{Account, Shared, SharedFacts, SharedLink},
    budget::Budget,
    domain::{facts::Subject, pseudonym::Tag},
    keyring::account_parts,
    presented::Presented,
};

/// One account's place in it. Asked for at most once a verdict, and not at all where it came with the claim.
pub(super) struct Beside<'a> {
    fleet: &'a Arc<Shared>,
    presented: &'a Presented,
    found: Option<Account>,
}

impl<'a> Beside<'a> {
    pub(super) fn of(fleet: &'a Arc<Shared>, presented: &'a Presented) -> Self {
        let came = presented.account().map(|(_, found)| found.clone());
        // Whoever could not be asked for the claim is not asked again.
        let found = came.or_else(|| presented.degraded().map(|_| Account::default()));
        Self { fleet, presented, found }
    }

    /// Its name, which a verdict that needs nothing of it is spared.
    fn account(&self) -> Tag {
        if let Some((account, _)) = self.presented.account() {
            return *account;
        }
        let (partner, medium) = self.presented.linked_as();
        self.fleet.account(&account_parts(partner, medium))
    }

    /// Whose account it was when somebody asked the registry.
    pub(super) async fn link(&mut self, budget: Budget) -> Option<SharedLink> {
        let (fleet, account) = (self.fleet, self.account());
        fleet.link_of(&account, self.found(budget).await)
    }

    /// What the authority said of this subject when somebody asked.
    pub(super) async fn facts(&mut self, subject: &Subject, budget: Budget) -> Option<SharedFacts> {
        let (fleet, account) = (self.fleet, self.account());
        let facts = fleet.facts_of(&account, self.found(budget).await)?;
        (facts.subject == *subject).then_some(facts)
    }

    /// Leaves for others what was asked for here.
    pub(super) fn leave(&self, link: Option<SharedLink>, facts: Option<SharedFacts>) {
        if link.is_some() || facts.is_some() {
            self.fleet.put(self.account(), link, facts);
        }
    }

    async fn found(&mut self, budget: Budget) -> &Account {
        if self.found.is_none() {
            let found = self.fleet.recall(&self.account(), budget.left()).await;
            self.found = Some(found.unwrap_or_default());
        }
        self.found.get_or_insert_default()
    }
}
