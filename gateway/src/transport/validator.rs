//! `ridegate.validator.v1.ValidatorService`.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use ridegate_proto::validator::v1::{
    self as proto, CheckRequest, CheckResponse, InspectionOutcome, ReportInspectionRequest,
    ReportInspectionResponse, validator_service_server::ValidatorService,
};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::{calls, identity, status, wire};
use crate::{
    admission::{
        FieldError,
        identity::Validator,
        tap::{Shown, Tap},
    },
    budget::Budget,
    domain::{
        prompt::{Prompt, own_words},
        verdict::{Inspect, Verdict},
    },
    door::Peer,
    metrics::Metrics,
    road::{Answer, Road},
};

/// Who sends this gets the time that each stage took, in `server-timing`.
const WANTS_TIMING: &str = "x-ridegate-timing";

/// Messages of one stream that are decided at once; the next wait in the wire.
const STREAM_CONCURRENCY: usize = 64;

/// What each fleet is told.
#[derive(Debug, Clone, Default)]
pub struct Fleets {
    /// Operators that get health reasons in full (D27).
    pub full_reasons: HashSet<String>,
    /// Service lines by operator (D28).
    pub help: HashMap<String, String>,
    /// The service line of every other operator.
    pub default_help: String,
}

impl Fleets {
    /// An operator's service line.
    pub fn help_line(&self, operator: &str) -> &str {
        self.help.get(operator).unwrap_or(&self.default_help)
    }
}

/// What staff decided, counted and nothing else (D31).
#[derive(Debug, Default)]
pub struct Inspections {
    passed: AtomicU64,
    refused: AtomicU64,
    left: AtomicU64,
}

impl Inspections {
    /// Riders who went through, were refused, and left.
    pub fn counts(&self) -> [u64; 3] {
        [&self.passed, &self.refused, &self.left].map(|count| count.load(Relaxed))
    }
}

/// The service.
#[derive(Debug, Clone)]
pub struct ValidatorApi {
    /// The way of a tap.
    pub road: Arc<Road>,
    /// What each fleet is told.
    pub fleets: Arc<Fleets>,
    /// What staff decided.
    pub inspections: Arc<Inspections>,
    /// The longest a verdict may take.
    pub budget: Duration,
    /// What is left of the caller's deadline for the way back.
    pub reply_margin: Duration,
    /// What operators see.
    pub metrics: Arc<Metrics>,
}

impl ValidatorApi {
    fn reply(&self, tap: &Tap, answer: &Answer) -> CheckResponse {
        let operator = &tap.device.validator.operator;
        let full = self.fleets.full_reasons.contains(operator);
        let help = self.fleets.help_line(operator);
        let verdict = answer.finding.verdict;
        CheckResponse {
            request_id: tap.request_id.clone(),
            verdict_id: answer.verdict_id.to_string(),
            verdict: wire::verdict(verdict).into(),
            reason: wire::reason(verdict, full).into(),
            prompt: Some(self.prompt(tap, answer, help)),
            partner: answer.partner.as_ref().map(ToString::to_string).unwrap_or_default(),
            evidence_age: answer.evidence_age.map(wire::duration),
            degraded: answer.finding.degraded.map(wire::degraded),
            policy_version: self.road.policy.version().to_owned(),
            retry_of: answer.retry_of.map(|first| first.to_string()).unwrap_or_default(),
        }
    }

    /// What the reader shows: of a medium that is not accepted, which way to take; else the partner's own words, if it has
    /// any for this.
    fn prompt(&self, tap: &Tap, answer: &Answer, help: &str) -> proto::Prompt {
        let verdict = answer.finding.verdict;
        let reason = match (verdict, &tap.shown) {
            (Verdict::Allow(_), _) => return wire::prompt(Prompt::of(verdict), None, ""),
            (Verdict::Inspect(Inspect::MediumUnsupported), Shown::Refused(medium)) => {
                return wire::prompt(Prompt::of_refused(*medium), None, help);
            }
            (Verdict::Inspect(reason), _) => reason,
        };
        let roster = self.road.roster.load();
        let profile = answer.partner.as_ref().and_then(|partner| roster.partners.get(partner));
        let own = profile.and_then(|profile| own_words(reason, &profile.prompts));
        wire::prompt(Prompt::of(verdict), own, help)
    }

    /// Takes messages as they come. One that cannot be used ends the stream, after all before it were answered; so
    /// does a connection that is asked to leave. When the caller goes away, what was not decided yet is given up, and
    /// its codes are unused.
    async fn serve_stream(
        self,
        mut taps: Streaming<CheckRequest>,
        validator: Validator,
        leaving: CancellationToken,
        answers: mpsc::Sender<Result<CheckResponse, Status>>,
    ) {
        let mut deciding = JoinSet::new();
        let ended = loop {
            tokio::select! {
                () = answers.closed() => return,
                () = leaving.cancelled() => break Some(status::leaving()),
                Some(_decided) = deciding.join_next() => {}
                next = taps.message(), if deciding.len() < STREAM_CONCURRENCY => {
                    let budget = Budget::new(Instant::now(), self.budget);
                    let tap = match next {
                        Ok(None) => break None,
                        Err(status) => break Some(status::undecodable(&status).unwrap_or(status)),
                        Ok(Some(request)) => wire::tap(request, validator.clone()),
                    };
                    match tap {
                        Err(error) => break Some(status::field(&error)),
                        Ok(tap) => {
                            let (api, answers) = (self.clone(), answers.clone());
                            deciding.spawn(async move {
                                let answer = api.road.decide(&tap, budget).await;
                                let _gone = answers.send(Ok(api.reply(&tap, &answer))).await;
                            });
                        }
                    }
                }
            }
        };
        while tokio::select! {
            () = answers.closed() => return,
            decided = deciding.join_next() => decided.is_some(),
        } {}
        if let Some(status) = ended {
            let _gone = answers.send(Err(status)).await;
        }
    }
}

#[tonic::async_trait]
impl ValidatorService for ValidatorApi {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let validator = identity::validator(&request)?;
        let budget = calls::budget(&request, self.budget, self.reply_margin);
        let wants_timing = request.metadata().contains_key(WANTS_TIMING);
        let tap = wire::tap(request.into_inner(), validator).map_err(|error| status::field(&error))?;
        let answer = self.road.decide(&tap, budget).await;
        let mut response = Response::new(self.reply(&tap, &answer));
        if wants_timing {
            response.metadata_mut().insert("server-timing", wire::timing(&answer.stages));
        }
        Ok(response)
    }

    type CheckStreamStream = ReceiverStream<Result<CheckResponse, Status>>;

    async fn check_stream(
        &self,
        request: Request<Streaming<CheckRequest>>,
    ) -> Result<Response<Self::CheckStreamStream>, Status> {
        let validator = identity::validator(&request)?;
        let leaving = request.extensions().get::<Peer>().map(|peer| peer.leaving.clone()).unwrap_or_default();
        let (answers, outgoing) = mpsc::channel(STREAM_CONCURRENCY);
        tokio::spawn(self.clone().serve_stream(request.into_inner(), validator, leaving, answers));
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn report_inspection(
        &self,
        request: Request<ReportInspectionRequest>,
    ) -> Result<Response<ReportInspectionResponse>, Status> {
        identity::validator(&request)?;
        let request = request.into_inner();
        let is_ours = Uuid::try_parse(&request.verdict_id).is_ok_and(|id| id.get_version_num() == 7);
        if !is_ours {
            return Err(status::field(&FieldError::new("verdict_id", "must be the verdict_id of an answer")));
        }
        let (count, name) = match request.outcome() {
            InspectionOutcome::Passed => (&self.inspections.passed, "passed"),
            InspectionOutcome::Refused => (&self.inspections.refused, "refused"),
            InspectionOutcome::Left => (&self.inspections.left, "left"),
            InspectionOutcome::Unspecified => {
                return Err(status::field(&FieldError::new("outcome", "must be PASSED, REFUSED or LEFT")));
            }
        };
        count.fetch_add(1, Relaxed);
        self.metrics.inspection(name);
        Ok(Response::new(proto::ReportInspectionResponse {}))
    }
}
