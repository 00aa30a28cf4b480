//! What partners do: link a rider's accounts, withdraw a link, ask for one (D5).

mod batch;
mod cards;
mod delegated;

pub use batch::{BatchError, Stated};
pub use delegated::{Confirmed, Started};

use std::sync::Arc;

use ridegate_adapters::{Medium, PartnerId};
use thiserror::Error;

use crate::{
    backends::{
        authority::{Authority, AuthorityError, Exchanged},
        redis::shared::Shared,
        registry::{PATIENCE, Registry, RegistryError, ask},
    },
    clock::Clock,
    domain::{
        facts::Subject,
        link::{Consent, LinkOrder, LinkOutcome, LinkRecord},
        pseudonym::Pseudonym,
    },
    keyring::{Keyring, Use, account_parts},
    metrics::UpstreamMetrics,
    resolve::{desk::Desk, links::Links},
};

/// A rider's accounts to be linked, in a shape that can be used.
#[derive(Debug, Clone)]
pub struct LinkRequest {
    /// Who asks.
    pub partner: PartnerId,
    /// The caller's key for it.
    pub idempotency_key: Redacted,
    /// The accounts.
    pub media: Vec<Medium>,
    /// From the authority's consent step.
    pub authorization_code: Redacted,
    /// What the rider agreed to.
    pub consent: Consent,
    /// Where, as the wire numbers it.
    pub channel: i32,
}

/// Words of a partner's that may stand for a rider: an authorization code does, and an idempotency key may hold an
/// account. Prints as `…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted(String);

impl Redacted {
    /// Wraps them.
    pub const fn new(words: String) -> Self {
        Self(words)
    }

    fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Redacted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// A partner's request that could not be carried out. Nothing is acknowledged, so it may be repeated.
#[derive(Debug, Error)]
pub enum LinkingError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The change was begun and its task ended.
    #[error("the change was interrupted")]
    Interrupted,
}

/// Carries out what partners ask.
#[derive(Debug, Clone)]
pub struct Linking {
    /// Where links are kept.
    pub registry: Arc<Registry>,
    /// What the verdict path remembers of them.
    pub links: Arc<Links>,
    /// And of riders' facts.
    pub desk: Arc<Desk>,
    /// What the fleet shares of both.
    pub fleet: Option<Arc<Shared>>,
    /// Who exchanges authorization codes.
    pub authority: Authority,
    /// Names accounts.
    pub keys: Arc<Keyring>,
    /// What is taken for now.
    pub clock: Clock,
    /// Times what the registry is asked.
    pub asked: UpstreamMetrics,
}

impl Linking {
    /// Links a rider's accounts, all or none. A crash at any point loses nothing: the same request again finds the
    /// links made, or exchanges the same code under the same key for the same subject.
    pub async fn link(&self, request: LinkRequest) -> Result<LinkOutcome, LinkingError> {
        let order = self.order(&request, "link");
        if let Some(outcome) = self.timed("answered", self.registry.answered(&order)).await? {
            return Ok(outcome);
        }
        let exchange_key = exchange_key(&order);
        match self.authority.exchange(request.authorization_code.expose(), &exchange_key).await? {
            Exchanged::Subject(subject) => self.make(order, subject).await,
            Exchanged::Unknown => Ok(LinkOutcome::AuthorizationUnknown),
            Exchanged::Used => Ok(LinkOutcome::AuthorizationUsed),
        }
    }

    /// Makes the links of an order, in a task of its own: what was begun is not left to a caller that goes away.
    async fn make(&self, order: LinkOrder, subject: Subject) -> Result<LinkOutcome, LinkingError> {
        let (linking, now) = (self.clone(), self.clock.now());
        spawned(async move { linking.timed("link", linking.registry.link(&order, &subject, now)).await })
            .await
    }

    /// Withdraws a link; tells whether there was one. In force when this returns. A card that another partner linked is
    /// not this one's to withdraw.
    pub async fn unlink(&self, partner: &PartnerId, medium: &Medium) -> Result<bool, LinkingError> {
        let (names, now) = (self.keys.link_names(partner, medium), self.clock.now());
        let of = partner.clone();
        let ended = async move |registry: Arc<Registry>| registry.unlink(&names, Some(&of), now).await;
        self.end("unlink", (partner, medium), ended).await
    }

    /// The link of an account.
    pub async fn get(
        &self,
        partner: &PartnerId,
        medium: &Medium,
    ) -> Result<Option<LinkRecord>, LinkingError> {
        let names = self.keys.link_names(partner, medium);
        Ok(self.timed("get", self.registry.get(&names, partner.as_str())).await?)
    }

    /// Ends an account's link, and then what is remembered of it, here and by the fleet, in a task of its own: a caller that
    /// goes away in between must not leave the two apart. Tells whether there was one.
    async fn end<F>(
        &self,
        call: &'static str,
        (partner, medium): (&PartnerId, &Medium),
        work: impl FnOnce(Arc<Registry>) -> F,
    ) -> Result<bool, LinkingError>
    where
        F: Future<Output = Result<Vec<Pseudonym>, RegistryError>> + Send + 'static,
    {
        let (linking, names) = (self.clone(), self.keys.link_names(partner, medium));
        let account = self.fleet.as_ref().map(|fleet| fleet.account(&account_parts(partner, medium)));
        let work = work(Arc::clone(&self.registry));
        spawned(async move {
            let ended = linking.timed(call, work).await;
            // Also where it failed: whether the change came true is not known then.
            let known = ended.as_ref().map_or(&[][..], Vec::as_slice);
            for subject in names.iter().chain(known).filter_map(|name| linking.links.forget(name, None)) {
                linking.desk.forget(&subject);
            }
            if let (Some(fleet), Some(account)) = (&linking.fleet, account) {
                fleet.forget(account);
            }
            ended.map(|ended| !ended.is_empty())
        })
        .await
    }

    async fn timed<T>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        ask(&self.asked, call, PATIENCE, work).await
    }

    /// What a request asks for. Of requests for different things under one key each is another.
    fn order(&self, request: &LinkRequest, what: &str) -> LinkOrder {
        let LinkRequest { partner, media, consent, channel, .. } = request;
        let granted_at = consent.granted_at.as_nanosecond().to_be_bytes();
        let channel_bytes = channel.to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![
            what.as_bytes(),
            request.authorization_code.expose().as_bytes(),
            consent.wording_version.as_bytes(),
            &granted_at,
            consent.purpose.as_bytes(),
            &channel_bytes,
        ];
        parts.extend(media.iter().flat_map(|medium| account_parts(partner, medium)));
        let idempotency = [partner.as_str().as_bytes(), request.idempotency_key.expose().as_bytes()];
        LinkOrder {
            partner: partner.clone(),
            media: media.clone(),
            consent: consent.clone(),
            channel: *channel,
            agent: None,
            idempotency: self.keys.pseudonym(Use::Idempotency, &idempotency),
            fingerprint: self.keys.pseudonym(Use::Idempotency, &parts),
        }
    }
}

/// By its keyed name: keys of different partners must not meet at the authority, and what a partner puts into its keys
/// is none of the authority's business.
fn exchange_key(order: &LinkOrder) -> String {
    hex::encode(order.idempotency.0)
}

/// Goes on also where nobody waits any more.
async fn spawned<T: Send + 'static>(
    work: impl Future<Output = Result<T, RegistryError>> + Send + 'static,
) -> Result<T, LinkingError> {
    Ok(tokio::spawn(work).await.map_err(|_| LinkingError::Interrupted)??)
}

#[cfg(test)]
mod tests {
    use ridegate_adapters::Account;

    use super::*;

    #[test]
    fn a_request_prints_nothing_that_names_a_rider() {
        let words = |text: &str| Redacted::new(text.to_owned());
        let request = LinkRequest {
            partner: PartnerId::new("yikatong").unwrap(),
            idempotency_key: words("canary-key"),
            media: vec![
                Medium::MotCode {
                    issuer: "99990001".parse().unwrap(),
                    account: Account::new("canary-account"),
                },
                Medium::AlipayCode { user: Account::new("canary-user") },
            ],
            authorization_code: words("canary-code"),
            consent: Consent {
                wording_version: "1".into(),
                granted_at: jiff::Timestamp::UNIX_EPOCH,
                purpose: "gates".into(),
            },
            channel: 1,
        };
        let printed = format!("{request:?}");
        assert!(printed.contains("yikatong") && !printed.contains("canary"), "{printed}");
    }
}
