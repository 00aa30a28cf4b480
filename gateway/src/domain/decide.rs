//! From evidence to verdict. `Verdict::Allow` is made here and nowhere else.

use jiff::Timestamp;

use super::{
    counter,
    facts::{Facts, HealthState, TestResult},
    passage::Passage,
    policy::{Policy, Window},
    verdict::{AllowReason, Inspect, Verdict},
};

/// Leave to pass. Only this module can make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed(AllowReason);

impl Allowed {
    /// Why.
    pub const fn reason(self) -> AllowReason {
        self.0
    }
}

/// What was found out about the rider of a genuine code.
#[derive(Debug, Clone, Copy)]
pub enum Evidence<'a> {
    /// Nothing was asked, because nothing is enforced.
    NotAsked,
    /// The account is not linked.
    NotLinked,
    /// Linked, but the authority knows nothing.
    NoRecord,
    /// The facts.
    Facts(&'a Facts),
    /// Somebody who should know did not answer.
    Failed,
}

/// A verdict, and the day counter if it was consulted (D17).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The verdict.
    pub verdict: Verdict,
    /// Days since the base day of the test that counts.
    pub day: Option<i32>,
}

/// Decides about the rider of a genuine code. Depends on its arguments alone.
///
/// ALLOW needs a rule that says so; whatever no rule speaks of is INSPECT (D29).
pub fn decide(policy: &Policy, now: Timestamp, passage: &Passage, evidence: Evidence<'_>) -> Decision {
    let Some(window) = policy.enforced(now, passage) else {
        return allow(AllowReason::NotEnforced, None);
    };
    match evidence {
        Evidence::NotLinked => inspect(Inspect::NotLinked, None),
        Evidence::NoRecord => inspect(Inspect::NoRecord, None),
        Evidence::Facts(facts) => by_facts(policy, window, now, facts),
        // Not asked although it should have been is as good as failed: doubt is INSPECT.
        Evidence::Failed | Evidence::NotAsked => inspect(Inspect::LookupFailed, None),
    }
}

fn by_facts(policy: &Policy, window: Window, now: Timestamp, facts: &Facts) -> Decision {
    let latest = facts.latest_report(now);
    if latest.is_some_and(|report| report.result == TestResult::Positive) {
        return inspect(Inspect::HealthAbnormal, None);
    }
    match facts.state {
        HealthState::Yellow | HealthState::Red => return inspect(Inspect::HealthAbnormal, None),
        HealthState::Popup { number, raised_at } => {
            // The latest result is negative here; only its time can still be too early.
            let cleared = policy.clears_itself(number)
                && raised_at.is_some_and(|raised| latest.is_some_and(|report| report.reported_at > raised));
            if !cleared {
                return inspect(Inspect::HealthPopup, None);
            }
        }
        HealthState::Green => {}
    }
    if facts.exempt {
        return allow(AllowReason::Exempt, None);
    }
    match counter::day(policy, window, now, facts) {
        None => inspect(Inspect::TestMissing, None),
        Some(day) if day <= window.max_day() => allow(AllowReason::HealthOk, Some(day)),
        Some(day) => inspect(Inspect::TestOverdue, Some(day)),
    }
}

/// A verdict that this replica or another made, by its reason: what was sealed with it is told again to the same reader.
pub(crate) fn made_before(reason: &str) -> Option<Verdict> {
    let allow =
        [AllowReason::HealthOk, AllowReason::Exempt, AllowReason::NotEnforced].map(|why| allow(why, None));
    let inspect = Inspect::ALL.map(|why| inspect(why, None));
    let verdicts = allow.into_iter().chain(inspect).map(|decision| decision.verdict);
    verdicts.into_iter().find(|verdict| verdict.reason() == reason)
}

const fn allow(reason: AllowReason, day: Option<i32>) -> Decision {
    Decision { verdict: Verdict::Allow(Allowed(reason)), day }
}

const fn inspect(reason: Inspect, day: Option<i32>) -> Decision {
    Decision { verdict: Verdict::Inspect(reason), day }
}
