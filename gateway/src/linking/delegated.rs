//! Links for somebody else: the health authority sends digits to the phone it has on record of that person, and who has
//! them may link (D7). Neither agent nor gateway learns the number.

use jiff::{SignedDuration, Timestamp};
use ridegate_adapters::{Account, Medium, PartnerId};
use serde::{Deserialize, Serialize};

use super::{LinkRequest, Linking, LinkingError, exchange_key};
use crate::{
    backends::{
        authority::{AuthorityError, Begun, Digits},
        registry::{Pending, RegistryError},
    },
    domain::{
        facts::Subject,
        link::{Consent, LinkOrder, LinkOutcome},
        pseudonym::Pseudonym,
    },
    keyring::Use,
};

/// How long digits are good.
const GOOD_FOR: SignedDuration = SignedDuration::from_mins(5);
/// How often they may be tried.
const TRIES: i64 = 5;
/// How often digits are sent at the most: once, and three times again.
const SENDS: i64 = 4;
/// How long nothing is sent again.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);

/// What became of a request to begin, or to send digits again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// Digits are on their way.
    Sent {
        /// Names what was begun.
        id: String,
        /// Until when they are good.
        until: Timestamp,
    },
    /// The authority does not know the authorization code, or it is not one for somebody else.
    AuthorizationUnknown,
    /// The authorization code was used before.
    AuthorizationUsed,
    /// The authority has no phone of this person on record.
    NoPhone,
    /// The agent has done as many as may be.
    AgentLimitReached,
    /// The idempotency key was used for another request.
    KeyReused,
    /// The last digits were sent too short ago.
    TooSoon,
    /// They were sent as often as may be.
    TooOften,
    /// Nothing of this partner's was begun under this id, or it is over.
    Unknown,
}

/// What became of a confirmation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmed {
    /// These were the digits; this became of the link.
    Linked(LinkOutcome),
    /// They were not.
    WrongCode {
        /// How often it may still be tried.
        tries_left: i64,
    },
    /// They are too old, or were tried too often.
    CodeExpired,
    /// Nothing of this partner's was begun under this id, or it is over.
    Unknown,
}

/// What is wanted, as it is kept until it is confirmed.
#[derive(Serialize, Deserialize)]
struct Wanted {
    /// The authority's name for it.
    delegation: String,
    /// The agent's subject.
    agent: String,
    media: Vec<Kept>,
    wording_version: String,
    granted_at: Timestamp,
    purpose: String,
    channel: i32,
    idempotency: [u8; 32],
    fingerprint: [u8; 32],
}

/// A medium in words.
#[derive(Serialize, Deserialize)]
struct Kept {
    kind: String,
    issuer: String,
    account: String,
}

impl Linking {
    /// Begins to link media of somebody else's. Asked again under the same key it sends nothing and says the same.
    pub async fn start_delegated(&self, request: LinkRequest) -> Result<Started, LinkingError> {
        let order = self.order(&request, "delegate");
        let id = hex::encode(self.keys.pseudonym(Use::Delegation, &[&order.idempotency.0]).0);
        let key = self.delegation_key(&id);
        if let Some(pending) = self.pending(&key, &order.partner).await? {
            return Ok(begun(id, &pending, &order.fingerprint)?);
        }
        if self.timed("answered", self.registry.answered(&order)).await? == Some(LinkOutcome::KeyReused) {
            return Ok(Started::KeyReused);
        }
        let code = request.authorization_code.expose();
        let (delegation, agent) = match self.authority.start_delegation(code, &exchange_key(&order)).await? {
            Begun::Started { delegation, agent } => (delegation, agent),
            Begun::Unknown => return Ok(Started::AuthorizationUnknown),
            Begun::Used => return Ok(Started::AuthorizationUsed),
            Begun::NoPhone => return Ok(Started::NoPhone),
        };
        let left = self.timed("agent", self.registry.agent_places_left(&agent)).await?;
        if left < order.media.len() {
            return Ok(Started::AgentLimitReached);
        }
        let (partner, fingerprint, now) = (order.partner.clone(), order.fingerprint, self.clock.now());
        let wanted = Wanted::new(order, delegation, &agent).write()?;
        self.timed("begin_delegation", self.registry.begin_delegation(&key, &partner, &wanted, now)).await?;
        // Another request under the same key may have come first: then this one was not begun.
        let Some(pending) = self.pending(&key, &partner).await? else { return Ok(Started::Unknown) };
        Ok(begun(id, &pending, &fingerprint)?)
    }

    /// Has new digits sent.
    pub async fn resend_delegated(&self, partner: &PartnerId, id: &str) -> Result<Started, LinkingError> {
        let (key, now) = (self.delegation_key(id), self.clock.now());
        let Some(pending) = self.pending(&key, partner).await? else { return Ok(Started::Unknown) };
        if pending.sends >= SENDS {
            return Ok(Started::TooOften);
        }
        if now.duration_since(pending.sent_at) < PAUSE {
            return Ok(Started::TooSoon);
        }
        if !self.timed("take_send", self.registry.take_send(&key, &pending, now)).await? {
            return Ok(Started::TooSoon);
        }
        match self.authority.resend_delegation(&Wanted::read(&pending)?.delegation).await {
            Ok(true) => Ok(sent(id.to_owned(), &Pending { sent_at: now, ..pending })),
            Ok(false) => Ok(Started::Unknown),
            // They may be on their way all the same: more than so many are not sent.
            Err(AuthorityError::TimedOut) => Err(AuthorityError::TimedOut.into()),
            Err(error) => {
                // Nothing was sent: the old digits have what they had left, and no more.
                self.timed("give_send_back", self.registry.give_send_back(&key, &pending)).await?;
                Err(error.into())
            }
        }
    }

    /// Links, if these are the digits that were sent.
    pub async fn confirm_delegated(
        &self,
        partner: &PartnerId,
        id: &str,
        digits: &str,
    ) -> Result<Confirmed, LinkingError> {
        let key = self.delegation_key(id);
        let Some(pending) = self.pending(&key, partner).await? else { return Ok(Confirmed::Unknown) };
        let wanted = Wanted::read(&pending)?;
        let (delegation, order) = (wanted.delegation.clone(), wanted.order(partner)?);
        if let Some(outcome) = self.timed("answered", self.registry.answered(&order)).await? {
            return Ok(Confirmed::Linked(outcome));
        }
        if self.clock.now().duration_since(pending.sent_at) > GOOD_FOR {
            return Ok(Confirmed::CodeExpired);
        }
        let Some(tries_left) = self.timed("take_try", self.registry.take_try(&key, TRIES)).await? else {
            return Ok(Confirmed::CodeExpired);
        };
        match self.authority.confirm_delegation(&delegation, digits).await {
            Ok(Digits::Right(person)) => Ok(Confirmed::Linked(self.make(order, person).await?)),
            Ok(Digits::Wrong) => Ok(Confirmed::WrongCode { tries_left }),
            Ok(Digits::Over) => Ok(Confirmed::Unknown),
            // Somebody may have looked at the digits all the same.
            Err(AuthorityError::TimedOut) => Err(AuthorityError::TimedOut.into()),
            Err(error) => {
                // Nobody looked at the digits.
                self.timed("give_try_back", self.registry.give_try_back(&key)).await?;
                Err(error.into())
            }
        }
    }

    async fn pending(&self, key: &Pseudonym, partner: &PartnerId) -> Result<Option<Pending>, LinkingError> {
        Ok(self.timed("delegation", self.registry.delegation(key, partner)).await?)
    }

    fn delegation_key(&self, id: &str) -> Pseudonym {
        self.keys.pseudonym(Use::Delegation, &[b"id", id.as_bytes()])
    }
}

/// What was begun under a key, if it was the same request.
fn begun(id: String, pending: &Pending, fingerprint: &Pseudonym) -> Result<Started, RegistryError> {
    let same = Wanted::read(pending)?.fingerprint == fingerprint.0;
    Ok(if same { sent(id, pending) } else { Started::KeyReused })
}

fn sent(id: String, pending: &Pending) -> Started {
    Started::Sent { id, until: pending.sent_at.saturating_add(GOOD_FOR).unwrap_or(Timestamp::MAX) }
}

impl Wanted {
    fn new(order: LinkOrder, delegation: String, agent: &Subject) -> Self {
        let LinkOrder { media, consent, channel, idempotency, fingerprint, .. } = order;
        Self {
            delegation,
            agent: agent.expose().to_owned(),
            media: media.iter().map(Kept::of).collect(),
            wording_version: consent.wording_version,
            granted_at: consent.granted_at,
            purpose: consent.purpose,
            channel,
            idempotency: idempotency.0,
            fingerprint: fingerprint.0,
        }
    }

    fn write(&self) -> Result<Vec<u8>, RegistryError> {
        serde_json::to_vec(self).map_err(|_| RegistryError::Unreadable("wanted"))
    }

    fn read(pending: &Pending) -> Result<Self, RegistryError> {
        serde_json::from_slice(&pending.wanted).map_err(|_| RegistryError::Unreadable("wanted"))
    }

    fn order(self, partner: &PartnerId) -> Result<LinkOrder, RegistryError> {
        let media = self.media.into_iter().map(Kept::medium).collect::<Option<_>>();
        Ok(LinkOrder {
            partner: partner.clone(),
            media: media.ok_or(RegistryError::Unreadable("wanted"))?,
            consent: Consent {
                wording_version: self.wording_version,
                granted_at: self.granted_at,
                purpose: self.purpose,
            },
            channel: self.channel,
            agent: Some(Subject::new(self.agent)),
            idempotency: Pseudonym(self.idempotency),
            fingerprint: Pseudonym(self.fingerprint),
        })
    }
}

impl Kept {
    fn of(medium: &Medium) -> Self {
        let (kind, issuer) = (medium.kind().to_owned(), medium.issuer_words());
        Self { kind, issuer, account: medium.account().expose().to_owned() }
    }

    fn medium(self) -> Option<Medium> {
        Medium::of_kind(&self.kind, &self.issuer, Account::new(self.account))
    }
}

#[cfg(test)]
mod tests {
    use ridegate_adapters::{CardKind, IssuerName};

    use super::*;

    #[test]
    fn a_medium_is_kept_whole() {
        let account = || Account::new("3104");
        let issuer = "50023301".parse().unwrap();
        for medium in [
            Medium::MotCode { issuer, account: account() },
            Medium::AlipayCode { user: account() },
            Medium::Online { issuer: IssuerName::new("icbc"), account: account() },
            Medium::Card { kind: CardKind::TUnionCard, issuer, number: account() },
            Medium::Card { kind: CardKind::YikatongNfc, issuer, number: account() },
        ] {
            assert_eq!(Kept::of(&medium).medium(), Some(medium));
        }
    }
}
