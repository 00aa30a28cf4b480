//! A partner's resolver, over gRPC: who alone can read the partner's codes.

use std::time::Duration;

use prost::bytes::Bytes;
use ridegate_adapters::{Reading, UnixSeconds, online_medium};
use ridegate_proto::resolver::v1::{
    self as wire, code_resolver_client::CodeResolverClient, resolve_response::Answer as Said,
};
use thiserror::Error;
use tokio::time::timeout;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

use super::{
    authority::connected,
    retry::{Retries, is_passing},
};
use crate::domain::passage::Direction;

/// The largest answer, in bytes. One that keeps the contract has less than 2 KiB.
const MAX_ANSWER: usize = 16 * 1024;

/// How a partner is asked.
#[derive(Debug, Clone)]
pub struct ResolverSettings {
    /// Where.
    pub endpoint: Endpoint,
    /// The longest wait for an answer.
    pub timeout: Duration,
    /// Calls at once.
    pub calls: usize,
    /// Tells these settings, and the files they were made from, from others.
    pub fingerprint: [u8; 32],
    /// Tells who is asked from others: the partner, where, and who certifies that. The same at every replica, whatever
    /// certificate it shows.
    pub whom: [u8; 32],
}

/// A client that connects by itself, and again.
#[derive(Debug, Clone)]
pub struct CodeResolver {
    client: CodeResolverClient<Channel>,
    retries: Retries,
}

/// What a partner says of a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is genuine.
    Code(Reading),
    /// It is not one that can be used.
    Refused(Refusal),
}

/// Why a code cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The partner has not made it.
    NotFound,
    /// Its time is over.
    Expired,
    /// It was withdrawn.
    Revoked,
}

/// No answer that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ResolverError {
    /// Not there, or too busy.
    #[error("the partner's resolver is not available")]
    Unavailable,
    /// No answer in time.
    #[error("the partner's resolver did not answer in time")]
    TimedOut,
    /// It is there, and could not do this.
    #[error("the partner's resolver failed: {0:?}")]
    Failed(Code),
    /// An answer against its contract.
    #[error("the answer of the partner's resolver breaks its contract: {0} {1}")]
    WrongAnswer(&'static str, &'static str),
}

impl ResolverError {
    /// `unavailable`, `timed_out`, `failed` or `wrong_answer`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
            Self::Failed(_) => "failed",
            Self::WrongAnswer(..) => "wrong_answer",
        }
    }

    /// Whether the next call is likely to end the same way, and to take time doing so.
    pub const fn is_absence(self) -> bool {
        matches!(self, Self::Unavailable | Self::TimedOut)
    }
}

impl CodeResolver {
    /// A client for this endpoint. Connects when first needed.
    pub fn new(endpoint: Endpoint, retries: Retries) -> Self {
        let client = CodeResolverClient::new(connected(endpoint));
        Self { client: client.max_decoding_message_size(MAX_ANSWER), retries }
    }

    /// What the partner says of a code, within `cap`, which it is told as the call's deadline. What fails quickly and in
    /// passing is asked once more: one question, and one answer, all the same.
    pub async fn resolve(
        &self,
        code: Bytes,
        direction: Direction,
        cap: Duration,
    ) -> Result<Answer, ResolverError> {
        let ask = |left| {
            let direction = way(direction).into();
            let mut request = Request::new(wire::ResolveRequest { code: code.clone(), direction });
            request.set_timeout(left);
            let mut client = self.client.clone();
            async move { client.resolve(request).await }
        };
        match timeout(cap, self.retries.insist(cap, ask)).await {
            Err(_) => Err(ResolverError::TimedOut),
            Ok(Ok(response)) => read(response.into_inner()),
            Ok(Err(status)) => refused(&status),
        }
    }
}

const fn way(direction: Direction) -> wire::Direction {
    match direction {
        Direction::Entry => wire::Direction::Entry,
        Direction::Exit => wire::Direction::Exit,
        Direction::Boarding => wire::Direction::Boarding,
        Direction::Alighting => wire::Direction::Alighting,
    }
}

fn refused(status: &Status) -> Result<Answer, ResolverError> {
    match status.code() {
        Code::NotFound => Ok(Answer::Refused(Refusal::NotFound)),
        // Nobody is there, or the connection broke off.
        _ if is_passing(status) => Err(ResolverError::Unavailable),
        Code::DeadlineExceeded | Code::Cancelled => Err(ResolverError::TimedOut),
        Code::ResourceExhausted => Err(ResolverError::Unavailable),
        code => Err(ResolverError::Failed(code)),
    }
}

/// Reads an answer. What breaks the contract is no answer: a guess could let somebody through.
fn read(response: wire::ResolveResponse) -> Result<Answer, ResolverError> {
    let wrong = |(field, rule)| ResolverError::WrongAnswer(field, rule);
    match response.answer {
        Some(Said::Code(code)) => reading(&code).map(Answer::Code).map_err(wrong),
        Some(Said::Refusal(refusal)) => match wire::Refusal::try_from(refusal) {
            Ok(wire::Refusal::NotFound) => Ok(Answer::Refused(Refusal::NotFound)),
            Ok(wire::Refusal::Expired) => Ok(Answer::Refused(Refusal::Expired)),
            Ok(wire::Refusal::Revoked) => Ok(Answer::Refused(Refusal::Revoked)),
            Ok(wire::Refusal::Unspecified) | Err(_) => Err(wrong(("refusal", "must be one that is known"))),
        },
        None => Err(wrong(("answer", "must be a code or a refusal"))),
    }
}

fn reading(code: &wire::ResolvedCode) -> Result<Reading, (&'static str, &'static str)> {
    let medium = online_medium(&code.issuer, &code.account)?;
    let generated_at = seconds(code.generated_at).ok_or(("generated_at", "must be a time of this era"))?;
    let expires_at = seconds(code.expires_at).ok_or(("expires_at", "must be a time of this era"))?;
    Reading::new(medium, &code.code_id, generated_at, expires_at)
}

/// Whole seconds, from 1970 to 9999.
fn seconds(stated: Option<prost_types::Timestamp>) -> Option<UnixSeconds> {
    const YEAR_10000: i64 = 253_402_300_800;
    let stated = stated.filter(|at| (0..1_000_000_000).contains(&at.nanos))?;
    (0..YEAR_10000).contains(&stated.seconds).then_some(UnixSeconds(stated.seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code() -> wire::ResolvedCode {
        wire::ResolvedCode {
            issuer: String::new(),
            account: "rider-1".into(),
            code_id: "1".into(),
            generated_at: Some(prost_types::Timestamp { seconds: 1_000, nanos: 999 }),
            expires_at: Some(prost_types::Timestamp { seconds: 1_060, nanos: 0 }),
        }
    }

    fn said(answer: Option<Said>) -> String {
        match read(wire::ResolveResponse { answer }) {
            Ok(Answer::Code(_)) => "code".into(),
            Ok(Answer::Refused(refusal)) => format!("{refusal:?}"),
            Err(ResolverError::WrongAnswer(field, _)) => format!("wrong {field}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_answer_that_keeps_the_contract_is_read() {
        assert_eq!(said(Some(Said::Code(code()))), "code");
        for (refusal, expect) in [(1, "NotFound"), (2, "Expired"), (3, "Revoked")] {
            assert_eq!(said(Some(Said::Refusal(refusal))), expect);
        }
    }

    #[test]
    fn an_answer_that_breaks_it_is_none_and_the_field_is_named() {
        let at = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
        for (code, field) in [
            (wire::ResolvedCode { account: String::new(), ..code() }, "account"),
            (wire::ResolvedCode { account: "x".repeat(129), ..code() }, "account"),
            (wire::ResolvedCode { issuer: "x".repeat(65), ..code() }, "issuer"),
            (wire::ResolvedCode { code_id: String::new(), ..code() }, "code_id"),
            (wire::ResolvedCode { generated_at: None, ..code() }, "generated_at"),
            (wire::ResolvedCode { generated_at: at(-1, 0), ..code() }, "generated_at"),
            (wire::ResolvedCode { generated_at: at(1_000, -1), ..code() }, "generated_at"),
            (wire::ResolvedCode { expires_at: None, ..code() }, "expires_at"),
            (wire::ResolvedCode { expires_at: at(999, 0), ..code() }, "expires_at"),
            (wire::ResolvedCode { expires_at: at(1_000 + 1_201, 0), ..code() }, "expires_at"),
            (wire::ResolvedCode { expires_at: at(i64::MAX, 0), ..code() }, "expires_at"),
        ] {
            assert_eq!(said(Some(Said::Code(code))), format!("wrong {field}"));
        }
        assert_eq!(said(None), "wrong answer");
        assert_eq!(said(Some(Said::Refusal(0))), "wrong refusal");
        assert_eq!(said(Some(Said::Refusal(9))), "wrong refusal");
    }

    #[test]
    fn a_status_says_whether_anybody_is_there() {
        for (code, expect) in [
            (Code::NotFound, Ok(Answer::Refused(Refusal::NotFound))),
            (Code::DeadlineExceeded, Err(ResolverError::TimedOut)),
            (Code::Unavailable, Err(ResolverError::Unavailable)),
            (Code::ResourceExhausted, Err(ResolverError::Unavailable)),
            (Code::Internal, Err(ResolverError::Failed(Code::Internal))),
            (Code::InvalidArgument, Err(ResolverError::Failed(Code::InvalidArgument))),
            (Code::Unknown, Err(ResolverError::Failed(Code::Unknown))),
        ] {
            assert_eq!(refused(&Status::new(code, "")), expect);
        }
        // The transport tells so of a connection that broke off.
        for code in [Code::Cancelled, Code::Unknown, Code::Internal] {
            let mut status = Status::new(code, "");
            assert_ne!(refused(&status), Err(ResolverError::Unavailable));
            status.set_source(std::sync::Arc::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
            assert_eq!(refused(&status), Err(ResolverError::Unavailable));
        }
    }
}
