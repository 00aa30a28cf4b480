//! What a link is, and what can become of a request for one.

use jiff::Timestamp;

use super::pseudonym::Pseudonym;

/// The rider's consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Version of the wording.
    pub wording_version: String,
    /// When.
    pub granted_at: Timestamp,
    /// What for.
    pub purpose: String,
}

/// What the registry stores: names and consent, no account.
#[derive(Debug, Clone)]
pub struct LinkOrder {
    /// Links to make.
    pub keys: Vec<Pseudonym>,
    /// The consent they rest on.
    pub consent: Consent,
    /// Where it was given.
    pub channel: i32,
    /// The idempotency key's name.
    pub idempotency: Pseudonym,
    /// What was asked under it.
    pub fingerprint: Pseudonym,
}

/// What became of a request to link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkOutcome {
    /// All are linked now.
    Linked,
    /// All were linked to this rider before.
    AlreadyLinked,
    /// These positions are linked to another person; nothing was changed.
    LinkedToSomeoneElse(Vec<usize>),
    /// The authority does not know the authorization code.
    AuthorizationUnknown,
    /// The authorization code was used before.
    AuthorizationUsed,
    /// The idempotency key was used for another request; nothing was changed.
    KeyReused,
}

impl LinkOutcome {
    /// Outcomes that were carried out are remembered by number; the others are found out anew.
    pub(crate) const fn code(&self) -> Option<i64> {
        match self {
            Self::Linked => Some(1),
            Self::AlreadyLinked => Some(2),
            Self::LinkedToSomeoneElse(_)
            | Self::AuthorizationUnknown
            | Self::AuthorizationUsed
            | Self::KeyReused => None,
        }
    }

    pub(crate) const fn from_code(code: i64) -> Option<Self> {
        match code {
            1 => Some(Self::Linked),
            2 => Some(Self::AlreadyLinked),
            _ => None,
        }
    }
}

/// A link, as its partner may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRecord {
    /// Since when.
    pub linked_at: Timestamp,
    /// Where consent was given, as the wire numbers it.
    pub channel: i32,
    /// The consent.
    pub consent: Consent,
}
