//! The rule: what a claim means for the next showing of its code.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    pseudonym::Pseudonym,
    verdict::{Finding, Verdict},
};

/// One showing of a code. Tags are keyed: no device, place or request in clear (D35).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Showing {
    /// Which reader, keyed.
    pub device: Pseudonym,
    /// The caller's id for the tap, keyed.
    pub request: Pseudonym,
    /// The verdict it led to.
    pub verdict_id: Uuid,
    /// When.
    pub at: Timestamp,
}

/// A claim: the showing that made it, and its outcome as soon as there is one.
#[derive(Debug, Clone)]
pub struct Claim {
    first: Showing,
    /// The first verdict on it, anywhere: what repeats name.
    known_as: Uuid,
    /// The request of its last repeat, keyed: a double read that is retried is a retry.
    repeated_by: Option<Pseudonym>,
    outcome: Option<Finding>,
    /// Showings of it that are being decided at this moment: the first, and its repeats while there is no outcome.
    deciding: u32,
    until: Timestamp,
    /// The fleet has heard of its outcome.
    told: bool,
}

/// What a claim means for the next showing.
#[derive(Debug, Clone, PartialEq)]
pub enum Ruling {
    /// The first time, or as good as: only ALLOW uses a code up.
    Fresh,
    /// The same tap again: a retry, or a reader that read twice.
    Repeat {
        /// The first verdict's id.
        first: Uuid,
        /// Its outcome. `None`: not decided yet, so decide afresh.
        outcome: Option<Finding>,
    },
    /// Somebody else, somewhere else, or too late.
    Replayed,
}

impl Ruling {
    /// `fresh`, `repeat` or `replayed`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Repeat { .. } => "repeat",
            Self::Replayed => "replayed",
        }
    }
}

/// The rule itself: what `claim` means for `next`.
pub fn judge(claim: &Claim, next: &Showing, double_read: SignedDuration) -> Ruling {
    let same_device = claim.first.device == next.device;
    let known_request = claim.first.request == next.request || claim.repeated_by == Some(next.request);
    let retry = same_device && known_request;
    let read_twice = same_device && next.at.duration_since(claim.first.at) <= double_read;
    if retry || read_twice {
        return Ruling::Repeat { first: claim.known_as, outcome: claim.outcome };
    }
    // Used up, or being decided at this moment: of fifty gates at once, one is fresh.
    if claim.is_free() { Ruling::Fresh } else { Ruling::Replayed }
}

impl Claim {
    /// A claim made by `first`, not decided yet.
    pub const fn new(first: Showing, until: Timestamp) -> Self {
        let known_as = first.verdict_id;
        Self { first, known_as, repeated_by: None, outcome: None, deciding: 1, until, told: false }
    }

    /// Whether its code may be shown again, anywhere: nobody is deciding about it, and it was not used up.
    pub(crate) const fn is_free(&self) -> bool {
        matches!(&self.outcome, Some(Finding { verdict: Verdict::Inspect(_), .. })) && self.deciding == 0
    }

    /// Whether its code could not be used any more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now > self.until
    }

    /// Its code could be used longer than was known when it was made.
    pub(crate) fn keep_until(&mut self, until: Timestamp) {
        self.until = self.until.max(until);
    }

    /// Whether `showing` made it.
    pub(crate) fn is_of(&self, verdict_id: Uuid) -> bool {
        self.first.verdict_id == verdict_id
    }

    /// The fleet knows of a verdict before this process's first.
    pub(crate) const fn know_as(&mut self, first: Uuid) {
        self.known_as = first;
    }

    /// The fleet has heard of this outcome, or may have lost it.
    pub(crate) fn told(&mut self, of: Option<Finding>) {
        self.told = of.is_some() && self.outcome == of;
    }

    /// Whether the fleet does not know its outcome, although it was shown before then.
    pub(crate) fn is_untold(&self, shown_before: Timestamp) -> bool {
        self.outcome.is_some() && !self.told && self.first.at <= shown_before
    }

    /// The showing that made it, the first verdict, its outcome, and until when its code could be shown.
    pub(crate) const fn into_parts(self) -> (Showing, Uuid, Option<Finding>, Timestamp) {
        (self.first, self.known_as, self.outcome, self.until)
    }

    /// It was repeated. While there is no outcome, one more showing of it is being decided.
    pub(crate) fn repeat(&mut self, request: Pseudonym) {
        self.repeated_by =
            Some(request).filter(|request| *request != self.first.request).or(self.repeated_by);
        if self.outcome.is_none() {
            self.deciding = self.deciding.saturating_add(1);
        }
    }

    /// A showing of it will not be decided: its caller went away. Tells whether nothing is left of the claim.
    pub(crate) const fn leave(&mut self) -> bool {
        self.deciding = self.deciding.saturating_sub(1);
        self.deciding == 0 && self.outcome.is_none()
    }

    /// A showing of it was decided. ALLOW, once given, stays: the code is used up.
    pub(crate) fn record(&mut self, finding: Finding) {
        self.deciding = self.deciding.saturating_sub(1);
        let used_up = self.outcome.as_ref().is_some_and(|known| matches!(known.verdict, Verdict::Allow(_)));
        if !used_up {
            self.outcome = Some(finding);
            self.told = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        decide::{Evidence, decide},
        passage::{Direction, Passage},
        policy::Policy,
        verdict::Inspect,
    };

    const DOUBLE_READ: SignedDuration = SignedDuration::from_secs(3);

    fn showing(device: u8, request: u8, second: i64) -> Showing {
        Showing {
            device: Pseudonym([device; 32]),
            request: Pseudonym([request; 32]),
            verdict_id: Uuid::from_u128(u128::from(device) << 8 | u128::from(request)),
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    fn finding(verdict: Verdict) -> Finding {
        Finding { verdict, evidence_as_of: None, degraded: None }
    }

    fn allow() -> Finding {
        let passage = Passage { direction: Direction::Exit, location: String::new() };
        finding(
            decide(&Policy::beijing_2022().unwrap(), Timestamp::UNIX_EPOCH, &passage, Evidence::NotAsked)
                .verdict,
        )
    }

    fn inspect() -> Finding {
        finding(Verdict::Inspect(Inspect::TestOverdue))
    }

    fn claim(outcome: Option<Finding>) -> Claim {
        let mut claim = Claim::new(showing(1, 1, 100), Timestamp::from_second(200).unwrap());
        if let Some(finding) = outcome {
            claim.record(finding);
        }
        claim
    }

    #[track_caller]
    fn check(outcome: Option<Finding>, next: &Showing, expect: &str) {
        let got = match judge(&claim(outcome), next, DOUBLE_READ) {
            Ruling::Fresh => "fresh",
            Ruling::Repeat { first, outcome: Some(_) } if first == showing(1, 1, 0).verdict_id => {
                "same verdict"
            }
            Ruling::Repeat { first, outcome: None } if first == showing(1, 1, 0).verdict_id => "decide again",
            Ruling::Repeat { .. } => "wrong first verdict",
            Ruling::Replayed => "replayed",
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn same_device_and_request_is_a_retry_at_any_time() {
        for at in [100, 103, 104, 199] {
            check(Some(allow()), &showing(1, 1, at), "same verdict");
            check(Some(inspect()), &showing(1, 1, at), "same verdict");
            check(None, &showing(1, 1, at), "decide again");
        }
    }

    #[test]
    fn same_device_under_another_id_is_a_double_read_for_three_seconds() {
        check(Some(allow()), &showing(1, 2, 103), "same verdict");
        check(None, &showing(1, 2, 103), "decide again");
        check(Some(allow()), &showing(1, 2, 104), "replayed");
    }

    #[test]
    fn a_double_read_that_is_retried_is_a_retry() {
        let mut claim = claim(Some(allow()));
        let second = showing(1, 2, 102);
        assert!(matches!(judge(&claim, &second, DOUBLE_READ), Ruling::Repeat { .. }));
        claim.repeat(second.request);
        assert!(matches!(judge(&claim, &showing(1, 2, 150), DOUBLE_READ), Ruling::Repeat { .. }));
        assert!(matches!(judge(&claim, &showing(1, 1, 150), DOUBLE_READ), Ruling::Repeat { .. }));
        assert_eq!(judge(&claim, &showing(1, 3, 150), DOUBLE_READ), Ruling::Replayed);
    }

    #[test]
    fn another_device_is_a_replay_unless_the_code_was_not_used_up() {
        check(Some(allow()), &showing(2, 1, 100), "replayed");
        check(None, &showing(2, 1, 100), "replayed");
        check(Some(inspect()), &showing(2, 1, 100), "fresh");
        check(Some(inspect()), &showing(1, 2, 104), "fresh");
    }

    #[test]
    fn while_a_repeat_is_still_being_decided_an_inspect_frees_nothing() {
        let mut claim = claim(None);
        claim.repeat(Pseudonym([1; 32]));
        claim.record(inspect());
        let elsewhere = showing(2, 1, 100);
        assert_eq!(
            judge(&claim, &elsewhere, DOUBLE_READ),
            Ruling::Replayed,
            "the repeat could still be ALLOW"
        );
        claim.record(inspect());
        assert_eq!(judge(&claim, &elsewhere, DOUBLE_READ), Ruling::Fresh);
    }

    #[test]
    fn a_claim_is_given_back_when_nobody_decides_it_any_more() {
        let mut claim = claim(None);
        claim.repeat(Pseudonym([1; 32]));
        assert!(!claim.leave(), "the repeat is still being decided");
        assert!(claim.leave());
        let mut decided = super::tests::claim(Some(allow()));
        assert!(!decided.leave(), "an outcome stays");
    }

    #[test]
    fn allow_once_given_stays() {
        let mut claim = claim(None);
        claim.record(allow());
        claim.record(inspect());
        assert_eq!(claim.outcome, Some(allow()));
    }
}
