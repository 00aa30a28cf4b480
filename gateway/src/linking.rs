//! What partners do: link a rider's accounts, withdraw a link, ask for one (D5).

use std::sync::Arc;

use ridegate_adapters::{Medium, PartnerId};
use thiserror::Error;
use tokio::time::Instant;

use crate::{
    backends::{
        authority::{Authority, AuthorityError, Exchanged},
        sqlite::{Registry, RegistryError},
    },
    clock::Clock,
    domain::{
        link::{Consent, LinkOrder, LinkOutcome, LinkRecord},
        pseudonym::Pseudonym,
    },
    keyring::{Keyring, Use},
    metrics::UpstreamMetrics,
    resolve::links::Links,
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
        let order = self.order(&request);
        if let Some(outcome) = self.timed("answered", self.registry.answered(&order)).await? {
            return Ok(outcome);
        }
        // By its keyed name: keys of different partners must not meet at the authority, and what a partner puts into
        // its keys is none of the authority's business.
        let exchange_key = hex::encode(order.idempotency.0);
        let subject =
            match self.authority.exchange(request.authorization_code.expose(), &exchange_key).await? {
                Exchanged::Subject(subject) => subject,
                Exchanged::Unknown => return Ok(LinkOutcome::AuthorizationUnknown),
                Exchanged::Used => return Ok(LinkOutcome::AuthorizationUsed),
            };
        let now = self.clock.now();
        self.change("link", order.keys.clone(), async move |registry| {
            registry.link(&order, &subject, now).await
        })
        .await
    }

    /// Withdraws a link; tells whether there was one. In force when this returns.
    pub async fn unlink(&self, partner: &PartnerId, medium: &Medium) -> Result<bool, LinkingError> {
        let key = self.keys.link_key(partner, medium);
        self.change("unlink", vec![key], async move |registry| registry.unlink(&key).await).await
    }

    /// The link of an account.
    pub async fn get(
        &self,
        partner: &PartnerId,
        medium: &Medium,
    ) -> Result<Option<LinkRecord>, LinkingError> {
        let key = self.keys.link_key(partner, medium);
        Ok(self.timed("get", self.registry.get(&key)).await?)
    }

    /// Changes the registry and then what is remembered of it, in a task of its own: a caller that goes away in
    /// between must not leave the two apart.
    async fn change<T, F>(
        &self,
        call: &'static str,
        keys: Vec<Pseudonym>,
        work: impl FnOnce(Arc<Registry>) -> F,
    ) -> Result<T, LinkingError>
    where
        F: Future<Output = Result<T, RegistryError>> + Send + 'static,
        T: Send + 'static,
    {
        let linking = self.clone();
        let work = work(Arc::clone(&self.registry));
        let task = tokio::spawn(async move {
            let done = linking.timed(call, work).await;
            for key in &keys {
                linking.links.forget(key);
            }
            done
        });
        Ok(task.await.map_err(|_| LinkingError::Interrupted)??)
    }

    async fn timed<T>(
        &self,
        call: &'static str,
        work: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let began = Instant::now();
        let done = work.await;
        self.asked.asked(call, done.as_ref().err().map_or("ok", RegistryError::name), began);
        done
    }

    fn order(&self, request: &LinkRequest) -> LinkOrder {
        let LinkRequest { partner, media, consent, channel, .. } = request;
        let keys: Vec<_> = media.iter().map(|medium| self.keys.link_key(partner, medium)).collect();
        let granted_at = consent.granted_at.as_nanosecond().to_be_bytes();
        let channel_bytes = channel.to_be_bytes();
        let mut parts: Vec<&[u8]> = vec![
            request.authorization_code.expose().as_bytes(),
            consent.wording_version.as_bytes(),
            &granted_at,
            consent.purpose.as_bytes(),
            &channel_bytes,
        ];
        parts.extend(keys.iter().map(|key| key.0.as_slice()));
        let fingerprint = self.keys.pseudonym(Use::Idempotency, &parts);
        LinkOrder {
            idempotency: self.keys.pseudonym(
                Use::Idempotency,
                &[partner.as_str().as_bytes(), request.idempotency_key.expose().as_bytes()],
            ),
            fingerprint,
            keys,
            consent: consent.clone(),
            channel: *channel,
        }
    }
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
