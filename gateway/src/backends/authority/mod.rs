//! The health authority, over gRPC.

mod consent;

pub use consent::{Begun, Digits, Exchanged};

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use ridegate_proto::authority::v1::{self as wire, health_authority_client::HealthAuthorityClient};
use thiserror::Error;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use tonic::{
    Code, Status, Streaming,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;
use tracing::{info, warn};

use super::retry::{Retries, is_passing};
use crate::{
    admission::sale::IdNumber,
    breaker::{Change as Turn, Circuit, End},
    domain::facts::{Facts, HealthState, PopupNumber, Report, Subject, Test, TestResult},
    metrics::{BreakerMetrics, UpstreamMetrics},
};

/// Most subjects in one call.
pub const MAX_BATCH: usize = 256;

/// A client that connects by itself, and again.
#[derive(Debug, Clone)]
pub struct Authority {
    client: HealthAuthorityClient<Channel>,
    exchange_timeout: Duration,
    /// Calls at once that are not look-ups.
    exchanging: Arc<Semaphore>,
    retries: Retries,
    asked: UpstreamMetrics,
    /// Of look-ups.
    circuit: Arc<Circuit>,
    breaker: BreakerMetrics,
}

/// No answer that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AuthorityError {
    /// Not there, or an error of its own.
    #[error("the health authority is not available")]
    Unavailable,
    /// No answer in time.
    #[error("the health authority did not answer in time")]
    TimedOut,
    /// It is there and will not do this; of many subjects, perhaps for one of them.
    #[error("the health authority refuses the call")]
    Refused,
    /// It was not asked: as many calls as were agreed were under way all the time.
    #[error("the health authority is asked as much as was agreed")]
    Busy,
    /// An answer against its contract.
    #[error("the health authority's answer breaks its contract: {0}")]
    WrongAnswer(&'static str),
}

/// Why a watch ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchError {
    /// The cursor is too old.
    CursorLost,
    /// Anything else, in the words of what failed: of the network, or a status code.
    Down(String),
}

/// Each subject's own.
pub type Answers = HashMap<Subject, Result<Option<Facts>, AuthorityError>>;

/// One message of a watch.
#[derive(Debug)]
pub struct Next {
    /// Where to go on from.
    pub cursor: String,
    /// What changed.
    pub change: Change,
}

/// What changed.
#[derive(Debug)]
pub enum Change {
    /// Nothing: every change up to now was sent.
    None,
    /// A subject's facts; `None`: nothing is known any more.
    Facts(Subject, Option<Facts>),
    /// Something that breaks the contract.
    Unreadable,
}

/// A running watch.
#[derive(Debug)]
pub struct Changes(Streaming<wire::WatchChangesResponse>);

/// A connection that is made when first needed, and again when it is gone: an end that says nothing is noticed.
pub(super) fn connected(endpoint: Endpoint) -> Channel {
    endpoint
        .connect_timeout(Duration::from_secs(1))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(2))
        .keep_alive_while_idle(true)
        .connect_lazy()
}

impl Authority {
    /// A client for this endpoint, which asks for no more than so many exchanges and delegations at once. Whoever asks
    /// for facts sees to it that those are not too many. Connects when first needed.
    pub fn new(
        endpoint: Endpoint,
        [lookup_timeout, exchange_timeout]: [Duration; 2],
        exchanges: usize,
        retries: Retries,
        (asked, breaker): (UpstreamMetrics, BreakerMetrics),
    ) -> Self {
        let client = HealthAuthorityClient::new(connected(endpoint));
        let exchanging = Arc::new(Semaphore::new(exchanges));
        let circuit = Arc::new(Circuit::new(lookup_timeout, told(breaker.clone())));
        Self { client, exchange_timeout, exchanging, retries, asked, circuit, breaker }
    }

    /// It was heard of in another way: if look-ups are not made for now, the next one is.
    pub fn sign_of_life(&self) {
        self.circuit.sign_of_life();
    }

    /// Second tries that it may be given.
    pub(crate) const fn retries(&self) -> &Retries {
        &self.retries
    }

    /// The facts of one subject; `None` if nothing is known.
    pub async fn lookup(&self, subject: &Subject, cap: Duration) -> Result<Option<Facts>, AuthorityError> {
        let ask = |_| {
            let request = wire::LookupRequest { subject: subject.expose().to_owned() };
            let mut client = self.client.clone();
            async move { client.lookup(request).await }
        };
        let read =
            |answer: wire::LookupResponse| answer.facts.ok_or(wrong("facts are absent")).and_then(facts);
        match self.look_up(self.within("Lookup", cap, self.retries.insist(cap, ask), read)).await {
            Ok(facts) => Ok(Some(facts)),
            Err(Failure::Status(Code::NotFound)) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The facts of up to [`MAX_BATCH`] subjects. One that breaks the contract spoils only its own answer.
    pub async fn batch_lookup(&self, subjects: &[Subject], cap: Duration) -> Result<Answers, AuthorityError> {
        let ask = |_| {
            let names = subjects.iter().map(|subject| subject.expose().to_owned()).collect();
            let mut client = self.client.clone();
            async move { client.batch_lookup(wire::BatchLookupRequest { subjects: names }).await }
        };
        let read = |response: wire::BatchLookupResponse| Ok(each(subjects, response.results));
        Ok(self.look_up(self.within("BatchLookup", cap, self.retries.insist(cap, ask), read)).await?)
    }

    /// Makes a call, if it is worth it.
    async fn look_up<T>(&self, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let Some(turn) = self.circuit.begin() else {
            self.breaker.skipped();
            return Err(Failure::Error(AuthorityError::Unavailable));
        };
        let answer = call.await;
        turn.end(match &answer {
            Err(Failure::Error(AuthorityError::TimedOut)) => End::TimedOut,
            Err(Failure::Status(code)) if !is_about_the_call(*code) => End::Absent,
            Ok(_) | Err(_) => End::Answered,
        });
        answer
    }

    /// The subject of an ID number, for the sale of a ticket; `None` if nobody has it.
    pub async fn identify(
        &self,
        number: &IdNumber,
        cap: Duration,
    ) -> Result<Option<Subject>, AuthorityError> {
        let ask = |_| {
            let request = wire::IdentifyForTicketRequest { id_number: number.expose().to_owned() };
            let mut client = self.client.clone();
            async move { client.identify_for_ticket(request).await }
        };
        let read = |answer: wire::IdentifyForTicketResponse| match answer.subject {
            subject if subject.is_empty() => Err(wrong("subject is empty")),
            subject => Ok(Subject::new(subject)),
        };
        match self.within("IdentifyForTicket", cap, self.retries.insist(cap, ask), read).await {
            Ok(subject) => Ok(Some(subject)),
            Err(Failure::Status(Code::NotFound)) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Makes a call that may take so long, reads its answer, and times it.
    async fn within<T, U>(
        &self,
        call: &'static str,
        cap: Duration,
        answer: impl Future<Output = Result<tonic::Response<T>, Status>>,
        read: impl FnOnce(T) -> Result<U, AuthorityError>,
    ) -> Result<U, Failure> {
        let began = Instant::now();
        let answer = match timeout(cap, answer).await {
            Ok(Ok(response)) => read(response.into_inner()).map_err(Failure::Error),
            Ok(Err(status)) if status.code() == Code::DeadlineExceeded => {
                Err(Failure::Error(AuthorityError::TimedOut))
            }
            Ok(Err(status)) if is_no_phone(&status) => Err(Failure::NoPhone),
            // Nobody refused anything: the connection broke off.
            Ok(Err(status)) if is_passing(&status) => Err(Failure::Status(Code::Unavailable)),
            Ok(Err(status)) => Err(Failure::Status(status.code())),
            Err(_) => Err(Failure::Error(AuthorityError::TimedOut)),
        };
        let outcome = match &answer {
            Ok(_) => "ok",
            Err(Failure::NoPhone | Failure::Status(Code::NotFound | Code::FailedPrecondition)) => "refused",
            Err(Failure::Error(AuthorityError::TimedOut)) => "timed_out",
            Err(Failure::Error(AuthorityError::WrongAnswer(_))) => "wrong_answer",
            Err(Failure::Status(_) | Failure::Error(_)) => "unavailable",
        };
        self.asked.asked(call, outcome, began);
        answer
    }

    /// Follows changes from a cursor on; from now if it is empty.
    pub async fn watch(&self, cursor: String) -> Result<Changes, WatchError> {
        let response = self.client.clone().watch_changes(wire::WatchChangesRequest { cursor }).await;
        response.map(|response| Changes(response.into_inner())).map_err(|status| WatchError::from(&status))
    }
}

impl Changes {
    /// The next message.
    pub async fn next(&mut self) -> Result<Next, WatchError> {
        let message = self.0.message().await.map_err(|status| WatchError::from(&status))?;
        let message = message.ok_or_else(|| WatchError::Down("it ended the stream".into()))?;
        let change = match message.change {
            None => Change::None,
            Some(wire::SubjectFacts { subject, facts: stated }) => match stated.map(facts).transpose() {
                Ok(facts) if !subject.is_empty() => Change::Facts(Subject::new(subject), facts),
                Ok(_) | Err(_) => Change::Unreadable,
            },
        };
        Ok(Next { cursor: message.cursor, change })
    }
}

/// Says when look-ups find nobody, and when they do again.
fn told(metrics: BreakerMetrics) -> impl Fn(Turn) {
    move |turn| match turn {
        Turn::Opened => {
            metrics.open(true);
            warn!("the health authority does not answer look-ups; it is tried now and then");
        }
        Turn::Closed => {
            metrics.open(false);
            info!("the health authority answers look-ups again");
        }
    }
}

/// No answer. A status may still mean something, by the call.
enum Failure {
    Status(Code),
    NoPhone,
    Error(AuthorityError),
}

impl From<Failure> for AuthorityError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Status(code) if is_about_the_call(code) => Self::Refused,
            Failure::Status(_) | Failure::NoPhone => Self::Unavailable,
            Failure::Error(error) => error,
        }
    }
}

/// Whether it speaks of what was asked, so that a part of it may be answered: a subject that it stumbles over, or more
/// than it takes. Not whether the caller may ask, or anybody is there.
const fn is_about_the_call(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::OutOfRange
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::NotFound
            | Code::Internal
            | Code::Unknown
            | Code::DataLoss
    )
}

/// Of a delegation: no phone of the person is on record.
fn is_no_phone(status: &Status) -> bool {
    status.code() == Code::FailedPrecondition
        && status.get_details_error_info().is_some_and(|info| info.reason == "NO_PHONE")
}

/// Each subject's own answer. One left out is not one of whom nothing is known: an answer cut short must send nobody
/// away to link.
fn each(subjects: &[Subject], results: Vec<wire::SubjectFacts>) -> Answers {
    let left_out = |subject: &Subject| (subject.clone(), Err(wrong("a subject is not answered")));
    let mut answers: HashMap<_, _> = subjects.iter().map(left_out).collect();
    for result in results {
        if let Some(answer) = answers.get_mut(&Subject::new(result.subject)) {
            *answer = result.facts.map(facts).transpose();
        }
    }
    answers
}

impl From<&Status> for WatchError {
    fn from(status: &Status) -> Self {
        if status.code() == Code::OutOfRange {
            return Self::CursorLost;
        }
        // The innermost cause is the one that says something. A status's own message is the authority's, and may say
        // anything.
        let mut cause = std::error::Error::source(status);
        while let Some(deeper) = cause.and_then(std::error::Error::source) {
            cause = Some(deeper);
        }
        Self::Down(cause.map_or_else(|| format!("{:?}", status.code()), ToString::to_string))
    }
}

const fn wrong(what: &'static str) -> AuthorityError {
    AuthorityError::WrongAnswer(what)
}

/// Reads facts. What breaks the contract is no answer: a guess could let somebody through.
fn facts(stated: wire::Facts) -> Result<Facts, AuthorityError> {
    Ok(Facts {
        state: state(&stated)?,
        exempt: stated.exempt,
        tests: stated.tests.into_iter().map(test).collect::<Result<_, _>>()?,
        as_of: time(stated.as_of)?.ok_or(wrong("as_of is absent"))?,
    })
}

fn state(stated: &wire::Facts) -> Result<HealthState, AuthorityError> {
    match stated.state() {
        wire::HealthState::Green => Ok(HealthState::Green),
        wire::HealthState::Yellow => Ok(HealthState::Yellow),
        wire::HealthState::Red => Ok(HealthState::Red),
        wire::HealthState::Popup => Ok(HealthState::Popup {
            number: PopupNumber::new(stated.popup).ok_or(wrong("popup is not 1 to 5"))?,
            raised_at: time(stated.popup_raised_at)?,
        }),
        wire::HealthState::Unspecified => Err(wrong("state is absent or unknown")),
    }
}

fn test(stated: wire::Test) -> Result<Test, AuthorityError> {
    let result = match stated.result() {
        wire::TestResult::Negative => TestResult::Negative,
        wire::TestResult::Positive => TestResult::Positive,
        wire::TestResult::Pending => return Ok(Test::Pending { sampled_at: time(stated.sampled_at)? }),
        wire::TestResult::Unspecified => return Err(wrong("a test's result is absent or unknown")),
    };
    let reported_at = time(stated.reported_at)?.ok_or(wrong("a test's reported_at is absent"))?;
    Ok(Test::Reported(Report { result, sampled_at: time(stated.sampled_at)?, reported_at }))
}

fn time(stated: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, AuthorityError> {
    stated
        .map(|at| {
            let forward = (0..1_000_000_000).contains(&at.nanos);
            let time = forward.then(|| Timestamp::new(at.seconds, at.nanos).ok()).flatten();
            time.ok_or(wrong("a time is out of range"))
        })
        .transpose()
}
