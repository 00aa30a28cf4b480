//! One story at the gates: what the rider shows, what the gate is told, whether that was right.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use ridegate_proto::validator::v1::{
    CheckRequest, CheckResponse, InspectionOutcome, ReportInspectionRequest, Verdict, check_request,
    validator_service_client::ValidatorServiceClient,
};
use tokio::time::Instant;
use tonic::{Response, Status};

use crate::{
    cards,
    city::{City, VALIDITY_S},
    gates::Gate,
    plan::{self, Expected, Story, Whose},
    progress::Progress,
    report::{Mismatch, Report},
    riders::Rider,
};

/// From one gate to the next, for a rider in a hurry.
const WALK: Duration = Duration::from_millis(300);

/// One story on its way.
pub(crate) struct Visit {
    pub(crate) city: Arc<City>,
    /// Which of the day's stories; it picks partner, rider and gate.
    pub(crate) turn: usize,
    pub(crate) story: Story,
    /// What is left to chance.
    pub(crate) noise: u64,
}

impl Visit {
    pub(crate) async fn ride(&self, report: &Mutex<Report>, progress: &Progress) -> Result<()> {
        let mut code = self.code().await?;
        let half = self.city.half(self.turn, &code)?;
        if self.story == Story::ShowsDamaged {
            code.truncate(code.len() / 2);
        }
        let (mut first_verdict, mut first_replica) = (String::new(), None);
        for (visit, expected) in self.story.expected(half).into_iter().enumerate() {
            let medium = match self.story {
                Story::Taps(card) => check_request::Medium::Card(card.tap(self.turn)),
                _ => check_request::Medium::QrCode(code.clone().into()),
            };
            let (gate, request) = self.tap(visit, medium);
            let replica = self.replica(&gate, visit);
            if visit > 0 && self.story == Story::TriesNextGate {
                // A rider walks to the next gate; until the first verdict is told to the fleet the code is being decided.
                tokio::time::sleep(WALK).await;
            }
            let expected = self.where_asked(expected, *first_replica.get_or_insert(replica) == replica);
            let began = Instant::now();
            let answer = self.check(&gate, replica, request).await;
            let latency = began.elapsed();
            progress.step();
            let answer = answer.map(Response::into_inner);
            self.book(report, &gate, expected, &first_verdict, &answer, latency);
            let Ok(answer) = answer else { continue };
            if answer.verdict() == Verdict::Inspect && self.noise.is_multiple_of(4) {
                self.staff_look(&gate, &answer).await?;
                lock(report).reported += 1;
            }
            if first_verdict.is_empty() {
                first_verdict = answer.verdict_id;
            }
        }
        Ok(())
    }

    /// What the rider shows.
    async fn code(&self) -> Result<Vec<u8>> {
        let clock = &self.city.clock;
        let commuter = self.city.pick(self.turn, self.story.rider(), self.turn / self.city.partners.len())?;
        match self.story {
            Story::ShowsExpired => {
                let ran_out = u32::try_from(clock.unix_seconds().0)? - u32::from(VALIDITY_S) - 30;
                commuter.phone.code(ran_out)
            }
            Story::ForgesPhone => {
                let second = commuter.next_second(clock).await?;
                commuter.phone.forged(second, &mut ChaCha20Rng::seed_from_u64(self.noise))
            }
            Story::ForgesIssuer => {
                let outsider =
                    self.city.outsiders.get(self.turn % self.city.outsiders.len()).context("outsider")?;
                outsider.code(u32::try_from(clock.unix_seconds().0)?)
            }
            Story::ShowsSomethingElse => {
                Ok(plan::something_else(&mut ChaCha20Rng::seed_from_u64(self.noise)))
            }
            Story::Taps(_) => Ok(Vec::new()),
            _ => commuter.code(clock).await,
        }
    }

    /// Which gate, and what it sends.
    fn tap(&self, visit: usize, medium: check_request::Medium) -> (Gate, CheckRequest) {
        let elsewhere = matches!(self.story, Story::LendsCode | Story::TriesNextGate);
        // Four on: another gate of the same fleet.
        let gate = Gate::new(self.turn + if elsewhere { 4 * visit } else { 0 });
        let again = if self.story == Story::IsRetried { 0 } else { visit };
        let request = CheckRequest {
            request_id: format!("tap-{}-{again}", self.turn),
            medium: Some(medium),
            direction: gate.direction(matches!(self.story, Story::Leaves(_))).into(),
            location: if gate.bus { "line-1" } else { "xizhimen" }.into(),
            device_id: String::new(),
            scanned_at: None,
        };
        (gate, request)
    }

    /// Which replica the gate asks: its own, and another one where that has not answered.
    fn replica(&self, gate: &Gate, visit: usize) -> usize {
        let again = if self.story == Story::IsRetried { visit } else { 0 };
        (gate.replica + again) % self.city.replicas.count()
    }

    /// Replicas that share nothing do not know what another has let in.
    fn where_asked(&self, expected: Expected, same_replica: bool) -> Expected {
        match self.story {
            Story::LendsCode | Story::IsRetried if !same_replica && !self.city.shares_claims() => {
                plan::enters(Rider::Healthy)
            }
            _ => expected,
        }
    }

    async fn check(
        &self,
        gate: &Gate,
        replica: usize,
        request: CheckRequest,
    ) -> Result<Response<CheckResponse>, Status> {
        let channel = self.city.replicas.channel(&gate.identity, replica);
        let channel = channel.map_err(|_| Status::internal("no such gate"))?;
        ValidatorServiceClient::new(channel).check(request).await
    }

    fn book(
        &self,
        report: &Mutex<Report>,
        gate: &Gate,
        expected: Expected,
        first_verdict: &str,
        answer: &Result<CheckResponse, Status>,
        latency: Duration,
    ) {
        let partner = self.city.partners.get(self.turn % self.city.partners.len()).map_or("", String::as_str);
        let wanted = Seen::expected(expected, gate, partner, first_verdict);
        let mut report = lock(report);
        report.sent += 1;
        let got = match answer {
            Ok(answer) => {
                let seen = Seen::answered(answer);
                report.answer(seen.allow, &seen.reason, &seen.partner, latency);
                if seen == wanted {
                    return;
                }
                seen.to_string()
            }
            Err(status) => format!("status {:?}", status.code()),
        };
        report.mismatch(Mismatch { story: format!("{:?}", self.story), expected: wanted.to_string(), got });
    }

    async fn staff_look(&self, gate: &Gate, answer: &CheckResponse) -> Result<()> {
        let outcome = match self.noise % 3 {
            0 => InspectionOutcome::Passed,
            1 => InspectionOutcome::Refused,
            _ => InspectionOutcome::Left,
        };
        let report =
            ReportInspectionRequest { verdict_id: answer.verdict_id.clone(), outcome: outcome.into() };
        let channel = self.city.replicas.channel(&gate.identity, gate.replica)?;
        ValidatorServiceClient::new(channel).report_inspection(report).await?;
        Ok(())
    }
}

/// What of an answer is compared.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    allow: bool,
    reason: String,
    partner: String,
    retry_of: String,
}

impl Seen {
    fn expected(expected: Expected, gate: &Gate, partner: &str, first_verdict: &str) -> Self {
        let coarse = !gate.bus
            && matches!(
                expected.reason,
                "HEALTH_ABNORMAL" | "HEALTH_POPUP" | "TEST_MISSING" | "TEST_OVERDUE"
            );
        Self {
            allow: expected.allow,
            reason: if coarse { "HEALTH" } else { expected.reason }.to_owned(),
            partner: match expected.partner {
                Whose::Partners => partner,
                Whose::Companys => cards::COMPANY,
                Whose::Nobodys => "",
            }
            .to_owned(),
            retry_of: if expected.repeats { first_verdict } else { "" }.to_owned(),
        }
    }

    fn answered(answer: &CheckResponse) -> Self {
        let reason = answer.reason().as_str_name();
        Self {
            allow: answer.verdict() == Verdict::Allow,
            reason: reason.strip_prefix("REASON_").unwrap_or(reason).to_owned(),
            partner: answer.partner.clone(),
            retry_of: answer.retry_of.clone(),
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.allow { "ALLOW" } else { "INSPECT" };
        let repeat = if self.retry_of.is_empty() { "" } else { ", a repeat" };
        let partner = if self.partner.is_empty() { "nobody" } else { &self.partner };
        write!(f, "{verdict} {} of {partner}{repeat}", self.reason)
    }
}

fn lock(report: &Mutex<Report>) -> MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}
