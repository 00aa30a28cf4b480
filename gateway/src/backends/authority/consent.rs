//! What the authority says of consents: a rider's own, many at once, and one for somebody else.

use std::collections::HashMap;

use ridegate_proto::authority::v1 as wire;
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};

use super::{Authority, AuthorityError, Failure, wrong};
use crate::domain::facts::Subject;

/// What an authorization code came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchanged {
    /// The subject it stands for.
    Subject(Subject),
    /// No such code.
    Unknown,
    /// Used before, under another key.
    Used,
}

/// What beginning a delegation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// Digits are on their way.
    Started {
        /// The authority's name for it.
        delegation: String,
        /// Who does it.
        agent: Subject,
    },
    /// No such code, or not one for somebody else.
    Unknown,
    /// Used before, under another key.
    Used,
    /// No phone of this person is on record.
    NoPhone,
}

/// What digits came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digits {
    /// The right ones; this is the person.
    Right(Subject),
    /// Not the right ones.
    Wrong,
    /// There is no such delegation any more.
    Over,
}

impl Authority {
    /// Makes a call that is no look-up when its turn has come. Once only: the authority acts on it. A turn is waited for
    /// half the time at the most, so that a call has the other half, and what is not asked is known to be not done.
    async fn in_turn<T, U>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<tonic::Response<T>, Status>>,
        read: impl FnOnce(T) -> Result<U, AuthorityError>,
    ) -> Result<U, Failure> {
        let began = Instant::now();
        let Ok(Ok(_turn)) = timeout(self.exchange_timeout / 2, self.exchanging.acquire()).await else {
            self.asked.asked(call, "busy", began);
            return Err(Failure::Error(AuthorityError::Busy));
        };
        let left = self.exchange_timeout.saturating_sub(began.elapsed());
        self.within(call, left, answer, read).await
    }

    /// Exchanges an authorization code for its subject. The same code with the same key gives the same again.
    pub async fn exchange(&self, code: &str, idempotency_key: &str) -> Result<Exchanged, AuthorityError> {
        let request = wire::ExchangeAuthorizationRequest {
            authorization_code: code.to_owned(),
            idempotency_key: idempotency_key.to_owned(),
        };
        let mut client = self.client.clone();
        let read = |answer: wire::ExchangeAuthorizationResponse| {
            if answer.subject.is_empty() {
                Err(wrong("subject is empty"))
            } else {
                Ok(Exchanged::Subject(Subject::new(answer.subject)))
            }
        };
        let answer = client.exchange_authorization(request);
        match self.in_turn("ExchangeAuthorization", answer, read).await {
            Err(Failure::Status(Code::NotFound)) => Ok(Exchanged::Unknown),
            Err(Failure::Status(Code::FailedPrecondition)) => Ok(Exchanged::Used),
            other => other.map_err(Into::into),
        }
    }

    /// Exchanges up to [`MAX_BATCH`](super::MAX_BATCH) codes, each under its key; the answers are in the same order.
    pub async fn batch_exchange(&self, asked: &[(String, String)]) -> Result<Vec<Exchanged>, AuthorityError> {
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let exchanges = asked.iter().map(|(code, key)| wire::ExchangeAuthorizationRequest {
            authorization_code: code.clone(),
            idempotency_key: key.clone(),
        });
        let request = wire::BatchExchangeAuthorizationRequest { exchanges: exchanges.collect() };
        let mut client = self.client.clone();
        let read = |answer: wire::BatchExchangeAuthorizationResponse| in_order(asked, answer.results);
        let answer = client.batch_exchange_authorization(request);
        let answered = self.in_turn("BatchExchangeAuthorization", answer, read);
        answered.await.map_err(Into::into)
    }

    /// Has digits sent to the phone of the person whom the agent named when this code was made.
    pub async fn start_delegation(&self, code: &str, idempotency_key: &str) -> Result<Begun, AuthorityError> {
        let request = wire::StartDelegationRequest {
            authorization_code: code.to_owned(),
            idempotency_key: idempotency_key.to_owned(),
        };
        let mut client = self.client.clone();
        let read = |answer: wire::StartDelegationResponse| {
            if answer.delegation.is_empty() || answer.agent.is_empty() {
                return Err(wrong("delegation or agent is empty"));
            }
            Ok(Begun::Started { delegation: answer.delegation, agent: Subject::new(answer.agent) })
        };
        let answer = client.start_delegation(request);
        match self.in_turn("StartDelegation", answer, read).await {
            Err(Failure::NoPhone) => Ok(Begun::NoPhone),
            Err(Failure::Status(Code::NotFound)) => Ok(Begun::Unknown),
            Err(Failure::Status(Code::FailedPrecondition)) => Ok(Begun::Used),
            other => other.map_err(Into::into),
        }
    }

    /// Has new digits sent; false if there is no such delegation any more.
    pub async fn resend_delegation(&self, delegation: &str) -> Result<bool, AuthorityError> {
        let request = wire::ResendDelegationRequest { delegation: delegation.to_owned() };
        let mut client = self.client.clone();
        let answer = client.resend_delegation(request);
        match self.in_turn("ResendDelegation", answer, |_| Ok(true)).await {
            Err(Failure::Status(Code::NotFound)) => Ok(false),
            other => other.map_err(Into::into),
        }
    }

    /// Whether these are the digits that were sent.
    pub async fn confirm_delegation(&self, delegation: &str, digits: &str) -> Result<Digits, AuthorityError> {
        let request =
            wire::ConfirmDelegationRequest { delegation: delegation.to_owned(), code: digits.to_owned() };
        let mut client = self.client.clone();
        let read = |answer: wire::ConfirmDelegationResponse| {
            Ok(if answer.subject.is_empty() {
                Digits::Wrong
            } else {
                Digits::Right(Subject::new(answer.subject))
            })
        };
        let answer = client.confirm_delegation(request);
        match self.in_turn("ConfirmDelegation", answer, read).await {
            Err(Failure::Status(Code::NotFound)) => Ok(Digits::Over),
            other => other.map_err(Into::into),
        }
    }
}

/// Answers in the order of the questions. One that is missing is not one of a code that nobody knows.
fn in_order(
    asked: &[(String, String)],
    results: Vec<wire::ExchangedAuthorization>,
) -> Result<Vec<Exchanged>, AuthorityError> {
    let mut by_key: HashMap<_, _> =
        results.into_iter().map(|result| (result.idempotency_key.clone(), result)).collect();
    let answer = |(_, key): &(String, String)| {
        let result = by_key.remove(key).ok_or(wrong("a code is not answered"))?;
        match result.outcome() {
            wire::ExchangeOutcome::Exchanged if result.subject.is_empty() => Err(wrong("subject is empty")),
            wire::ExchangeOutcome::Exchanged => Ok(Exchanged::Subject(Subject::new(result.subject))),
            wire::ExchangeOutcome::Unknown => Ok(Exchanged::Unknown),
            wire::ExchangeOutcome::Used => Ok(Exchanged::Used),
            wire::ExchangeOutcome::Unspecified => Err(wrong("outcome is absent or unknown")),
        }
    };
    asked.iter().map(answer).collect()
}
