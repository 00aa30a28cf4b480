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
    account: Tag,
    found: Option<Account>,
}

impl<'a> Beside<'a> {
    pub(super) fn of(fleet: &'a Arc<Shared>, presented: &Presented) -> Self {
        if let Some((account, found)) = presented.account() {
            return Self { fleet, account: *account, found: Some(found.clone()) };
        }
        let (partner, medium) = presented.linked_as();
        let account = fleet.account(&account_parts(partner, medium));
        // Whoever could not be asked for the claim is not asked again.
        let found = presented.degraded().map(|_| Account::default());
        Self { fleet, account, found }
    }

    /// Whose account it was when somebody asked the registry.
    pub(super) async fn link(&mut self, budget: Budget) -> Option<SharedLink> {
        let (fleet, account) = (self.fleet, self.account);
        fleet.link_of(&account, self.found(budget).await)
    }

    /// What the authority said of this subject when somebody asked.
    pub(super) async fn facts(&mut self, subject: &Subject, budget: Budget) -> Option<SharedFacts> {
        let (fleet, account) = (self.fleet, self.account);
        let facts = fleet.facts_of(&account, self.found(budget).await)?;
        (facts.subject == *subject).then_some(facts)
    }

    /// Leaves for others what was asked for here.
    pub(super) fn leave(&self, link: Option<SharedLink>, facts: Option<SharedFacts>) {
        if link.is_some() || facts.is_some() {
            self.fleet.put(self.account, link, facts);
        }
    }

    async fn found(&mut self, budget: Budget) -> &Account {
        let (fleet, account) = (self.fleet, self.account);
        match &mut self.found {
            Some(found) => found,
            found @ None => found.insert(fleet.recall(&account, budget.left()).await.unwrap_or_default()),
        }
    }
}
