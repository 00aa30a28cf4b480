//! What a link is, and what can become of a request for one.

use jiff::Timestamp;
use ridegate_adapters::{CardKind, Medium, PartnerId};

use super::{facts::Subject, pseudonym::Pseudonym};

/// Cards that one agent may do for others (D7).
pub const AGENT_LIMIT: i64 = 5;

/// The place a person has for a medium of which one may be linked at a time (D6); `None` if it is not counted.
pub const fn place(medium: &Medium) -> Option<i64> {
    match medium {
        Medium::Card { kind: CardKind::YikatongCard, .. } => Some(1),
        Medium::Card { kind: CardKind::YikatongNfc, .. } => Some(2),
        Medium::Card { .. } | Medium::MotCode { .. } | Medium::AlipayCode { .. } | Medium::Online { .. } => {
            None
        }
    }
}

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

/// What is to be linked to one person, all or nothing.
#[derive(Debug, Clone)]
pub struct LinkOrder {
    /// Through whom.
    pub partner: PartnerId,
    /// What.
    pub media: Vec<Medium>,
    /// The consent that the links rest on.
    pub consent: Consent,
    /// Where it was given.
    pub channel: i32,
    /// Who does it, if not the person (D7).
    pub agent: Option<Subject>,
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
    /// The media at these positions are one too many of their kind for this person (D6); nothing was changed.
    LimitReached(Vec<(usize, CardKind)>),
    /// The agent has done as many as may be (D7); nothing was changed.
    AgentLimitReached,
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
            | Self::LimitReached(_)
            | Self::AgentLimitReached
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

/// What became of a card issued in place of a lost one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reissued {
    /// It is linked to the holder of the lost one, now or by an earlier report.
    Linked,
    /// The other was not reported lost, was not linked then, or too long ago.
    HolderUnknown,
    /// It is linked to another person.
    LinkedToSomeoneElse,
}
