//! The way of a tap, from left to right, once.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use ridegate_adapters::{PartnerId, UnixSeconds};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    admission::{
        cards::CardTaps,
        quota::Accepted,
        tap::{Shown, Tap},
        turns::Turns,
    },
    budget::Budget,
    claim::{Asking, Claims, Taken},
    clock::Clock,
    domain::{
        decide::decide,
        policy::Policy,
        verdict::{Degraded, Finding, Inspect, Refused, Verdict},
    },
    metrics::Metrics,
    presented::Presented,
    resolve::{Resolution, Resolver, levels::Levels},
    roster::InForce,
    stages::{Stage, Stages},
};

/// Everything a tap passes.
#[derive(Debug)]
pub struct Road {
    /// What is taken for now.
    pub clock: Clock,
    /// Whose codes count, how often each partner may come, and who reads what only it can read.
    pub roster: InForce,
    /// Signatures verified before.
    pub levels: Levels,
    /// Codes shown before.
    pub claims: Claims,
    /// Cards that readers tap.
    pub cards: Arc<CardTaps>,
    /// Links and facts.
    pub resolver: Resolver,
    /// The policy of the day.
    pub policy: Arc<Policy>,
    /// Verdicts that may be on their way at once.
    pub in_flight: Semaphore,
    /// Who may have a core.
    pub turns: Turns,
    /// What operators see.
    pub metrics: Arc<Metrics>,
}

/// The answer to one tap.
#[derive(Debug, Clone)]
pub struct Answer {
    /// This answer's id.
    pub verdict_id: Uuid,
    /// What was decided.
    pub finding: Finding,
    /// Whose code it is, if known.
    pub partner: Option<PartnerId>,
    /// The first verdict's id, if this repeats it.
    pub retry_of: Option<Uuid>,
    /// How old the evidence is.
    pub evidence_age: Option<SignedDuration>,
    /// How long each stage took.
    pub stages: Stages,
}

/// A finding, and the verdict it repeats.
struct Passed {
    finding: Finding,
    retry_of: Option<Uuid>,
}

impl Road {
    /// Decides one tap. Always answers: what fails behind the gateway is INSPECT (D29).
    pub async fn decide(&self, tap: &Tap, budget: Budget) -> Answer {
        let verdict_id = verdict_id(self.clock.now());
        let (mut partner, mut stages) = (None, Stages::begin());
        let passed = match self.in_flight.try_acquire() {
            Ok(_turn) => self.pass(tap, verdict_id, budget, &mut partner, &mut stages).await,
            Err(_) => Err(Inspect::Overloaded.into()),
        };
        let Passed { finding, retry_of } = passed.unwrap_or_else(Passed::inspect);
        let age = |as_of| self.clock.now().duration_since(as_of).max(SignedDuration::ZERO);
        self.metrics.verdict(partner.as_ref(), finding.verdict, &stages);
        let evidence_age = finding.evidence_as_of.map(age);
        Answer { verdict_id, finding, partner, retry_of, evidence_age, stages }
    }

    /// The road itself. Each stage needs what the one before it returned; the first that refuses decides.
    async fn pass(
        &self,
        tap: &Tap,
        verdict_id: Uuid,
        budget: Budget,
        partner: &mut Option<PartnerId>,
        stages: &mut Stages,
    ) -> Result<Passed, Refused> {
        let now = self.clock.now();
        let second = UnixSeconds(now.as_second());
        let roster = self.roster.load_full();
        let is_enforced = self.policy.enforced(now, &tap.passage).is_some();

        // Where nothing is enforced nobody is asked about (D25), and nothing is named.
        let names = |partner, medium| is_enforced.then(|| self.resolver.names(partner, medium));
        let (presented, names) = match &tap.shown {
            Shown::Code(payload) => {
                let scanned = roster.partners.recognise(payload)?;
                *partner = scanned.partner().map(|profile| profile.id.clone());
                stages.passed(Stage::Recognise);

                let admitted = roster.quotas.admit(scanned).ok_or(Inspect::Throttled)?;
                stages.passed(Stage::Quota);

                let accepted = admitted.accept(second)?;
                stages.passed(Stage::Accept);

                let code = match accepted {
                    Accepted::Signed(code) => {
                        let turn = self.turns.wait().await.ok_or(Inspect::Overloaded)?;
                        stages.passed(Stage::Turn);

                        let code = turn.verify(code, &self.levels)?;
                        stages.passed(Stage::Verify);
                        code
                    }
                    Accepted::Online(code) => {
                        let way = tap.passage.direction;
                        let read = roster.readers.read(code, payload, way, budget, second).await;
                        stages.passed(Stage::Resolver);
                        read?
                    }
                };

                let names = names(Some(&code.partner), &code.medium);
                let with_account = names.as_deref().is_some_and(|names| !self.resolver.remembers(names));
                let asking = Asking { with_account, left: budget.left() };
                let fresh = match self.claims.take(code, tap, verdict_id, now, asking).await {
                    Taken::Fresh(fresh) => fresh,
                    Taken::Repeat { first, outcome } => {
                        return Ok(Passed { finding: outcome, retry_of: Some(first) });
                    }
                    Taken::Replayed => return Err(Inspect::CodeReplayed.into()),
                    Taken::Unasked => {
                        let degraded = Some(Degraded::Redis);
                        return Err(Refused { reason: Inspect::LookupFailed, degraded });
                    }
                };
                stages.passed(Stage::Claim);
                (Presented::Code(fresh), names)
            }
            Shown::Card(card) => {
                let tapped = self.cards.tap(card, &tap.device).ok_or(Inspect::Throttled)?;
                let company = roster.partners.card_company(card.kind, card.issuer);
                *partner = company.map(|profile| profile.id.clone());
                stages.passed(Stage::Recognise);

                let company = company.map(AsRef::as_ref);
                let admitted = roster.quotas.admit_card(tapped, company).ok_or(Inspect::Throttled)?;
                stages.passed(Stage::Quota);
                let names = names(None, admitted.medium());
                (Presented::Card(admitted), names)
            }
            Shown::Refused(_) => return Err(Inspect::MediumUnsupported.into()),
        };

        let resolution = match names {
            Some(names) => self.resolver.resolve(&presented, &names, budget, stages).await,
            None => Resolution::not_asked(),
        };

        let verdict = decide(&self.policy, now, &tap.passage, resolution.evidence()).verdict;
        stages.passed(Stage::Policy);

        let finding = resolution.stamp(verdict, presented.degraded());
        let retry_of = presented.settle(finding);
        Ok(Passed { finding, retry_of })
    }
}

impl Passed {
    const fn inspect(Refused { reason, degraded }: Refused) -> Self {
        let finding = Finding { verdict: Verdict::Inspect(reason), evidence_as_of: None, degraded };
        Self { finding, retry_of: None }
    }
}

/// A UUID version 7, so that verdicts sort by time.
fn verdict_id(now: Timestamp) -> Uuid {
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos))
}
