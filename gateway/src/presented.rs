//! What may be decided about: a code that was not used before, or a card that may be looked at.

use ridegate_adapters::Medium;
use ridegate_adapters::PartnerId;
use uuid::Uuid;

use crate::{
    admission::quota::AdmittedCard,
    backends::redis::shared::Account,
    claim::Fresh,
    domain::{
        pseudonym::Tag,
        verdict::{Degraded, Finding},
    },
};

/// The proof that the rider may be asked about. There is none for a code without a claim, nor for a card without a budget.
#[derive(Debug)]
pub enum Presented {
    /// A code. Allowed, it is used up.
    Code(Box<Fresh>),
    /// A card. It takes no claim: a tap that is repeated is decided again.
    Card(AdmittedCard),
}

impl Presented {
    /// What a link is for: the medium and the partner whose account it is. Nobody's, of a card: it is the same card
    /// whichever partner linked it.
    pub const fn linked_as(&self) -> (Option<&PartnerId>, &Medium) {
        match self {
            Self::Code(fresh) => (Some(&fresh.code().partner), &fresh.code().medium),
            Self::Card(card) => (None, card.medium()),
        }
    }

    /// What was missing on the way here.
    pub const fn degraded(&self) -> Option<Degraded> {
        match self {
            Self::Code(fresh) => fresh.degraded(),
            Self::Card(_) => None,
        }
    }

    /// What the fleet knows of the account, where it was asked together with the claim.
    pub const fn account(&self) -> Option<(&Tag, &Account)> {
        match self {
            Self::Code(fresh) => fresh.account(),
            Self::Card(_) => None,
        }
    }

    /// It was decided. The first verdict's id, if that was a repeated tap.
    pub fn settle(self, finding: Finding) -> Option<Uuid> {
        match self {
            Self::Code(fresh) => {
                let retry_of = fresh.retry_of();
                fresh.settle(finding);
                retry_of
            }
            Self::Card(_) => None,
        }
    }
}
