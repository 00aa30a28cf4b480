//! What was answered, and whether it was right.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use hdrhistogram::Histogram;
use ridegate_proto::validator::v1::{CheckResponse, Reason, Verdict};
use tonic::Status;

use super::{deck::Due, mix::Class};

/// The longest that is told apart, in µs.
const LONGEST: u64 = 60_000_000;
/// Wrong answers that are told one by one.
const TOLD: usize = 10;

/// How a tap ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Not yet.
    Open,
    /// Not yet, and its code is shown again meanwhile: either of the two may be the first.
    Overtaken,
    /// The rider was let in.
    LetIn,
    /// Somebody looks.
    Inspected,
    /// No answer came.
    Failed,
}

/// What an answer was worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// What had to come.
    Right,
    /// INSPECT, because the gateway had no time or no budget to decide.
    Undecided,
    Wrong,
}

/// Everything that was answered.
pub(super) struct Tally {
    /// µs, from the moment a tap was due.
    pub(super) latency: Histogram<u64>,
    /// By class, and what was said.
    pub(super) answers: BTreeMap<(Class, String), u64>,
    pub(super) undecided: u64,
    pub(super) failed: u64,
    pub(super) wrong: u64,
    /// The first of them.
    pub(super) told: Vec<String>,
}

impl Tally {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            latency: Histogram::new_with_bounds(1, LONGEST, 3)?,
            answers: BTreeMap::new(),
            undecided: 0,
            failed: 0,
            wrong: 0,
            told: Vec::new(),
        })
    }

    /// Notes an answer. `before` is how the tap stands whose code is shown again; of any other, how it stood itself.
    pub(super) fn note(
        &mut self,
        class: Class,
        due: &Due,
        before: Ended,
        answer: &Result<CheckResponse, Status>,
        took: Duration,
    ) -> Ended {
        self.latency.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let (said, worth, ended) = match answer {
            Ok(answer) => {
                let allow = answer.verdict() == Verdict::Allow;
                let reason = answer.reason();
                let ended = if allow { Ended::LetIn } else { Ended::Inspected };
                (shown(allow, reason), worth(due, before, allow, reason), ended)
            }
            // A gateway's words could name a caller's; the code says enough.
            Err(status) => {
                self.failed += 1;
                (format!("{:?}", status.code()), Worth::Right, Ended::Failed)
            }
        };
        match worth {
            Worth::Right => {}
            Worth::Undecided => self.undecided += 1,
            Worth::Wrong => {
                self.wrong += 1;
                if self.told.len() < TOLD {
                    self.told.push(format!(
                        "{}: expected {}, got {said}",
                        class.name(),
                        expected(due, before)
                    ));
                }
            }
        }
        *self.answers.entry((class, said)).or_default() += 1;
        ended
    }
}

fn worth(due: &Due, before: Ended, allow: bool, reason: Reason) -> Worth {
    let is = |name: &str| reason.as_str_name().strip_prefix("REASON_") == Some(name);
    let right = match due {
        Due::Verdict(expected) => {
            let late = before == Ended::Overtaken && !allow && reason == Reason::CodeReplayed;
            late || expected.allow == allow && is(expected.reason)
        }
        Due::Replay(_) => match before {
            Ended::LetIn => !allow && reason == Reason::CodeReplayed,
            // Whether the code was used is not known here.
            _ => allow || reason == Reason::CodeReplayed,
        },
    };
    let doubt = matches!(reason, Reason::Overloaded | Reason::Throttled | Reason::LookupFailed);
    match (right, doubt && !allow) {
        (true, _) => Worth::Right,
        (false, true) => Worth::Undecided,
        (false, false) => Worth::Wrong,
    }
}

fn expected(due: &Due, before: Ended) -> String {
    match due {
        Due::Verdict(expected) => {
            format!("{} {}", if expected.allow { "ALLOW" } else { "INSPECT" }, expected.reason)
        }
        Due::Replay(_) if before == Ended::LetIn => "INSPECT CODE_REPLAYED".to_owned(),
        Due::Replay(_) => "ALLOW, or INSPECT CODE_REPLAYED".to_owned(),
    }
}

fn shown(allow: bool, reason: Reason) -> String {
    let reason = reason.as_str_name();
    format!(
        "{} {}",
        if allow { "ALLOW" } else { "INSPECT" },
        reason.strip_prefix("REASON_").unwrap_or(reason)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan::enters, riders::Rider};

    fn noted(due: &Due, before: Ended, verdict: Verdict, reason: Reason) -> (Tally, Ended) {
        let answer =
            CheckResponse { verdict: verdict.into(), reason: reason.into(), ..CheckResponse::default() };
        let mut tally = Tally::new().unwrap();
        let ended = tally.note(Class::Known, due, before, &Ok(answer), Duration::from_millis(2));
        (tally, ended)
    }

    #[test]
    fn only_what_was_due_is_right_and_doubt_is_counted_apart() {
        use Reason::{CodeReplayed, HealthOk, LookupFailed, Overloaded, TestOverdue, Throttled};
        let healthy = Due::Verdict(enters(Rider::Healthy));
        let overdue = Due::Verdict(enters(Rider::Overdue));
        let replay = Due::Replay(0);
        let cases = [
            (&healthy, Ended::Open, Verdict::Allow, HealthOk, (0, 0)),
            (&healthy, Ended::Open, Verdict::Inspect, HealthOk, (0, 1)),
            (&healthy, Ended::Open, Verdict::Inspect, TestOverdue, (0, 1)),
            (&healthy, Ended::Open, Verdict::Inspect, Overloaded, (1, 0)),
            (&healthy, Ended::Open, Verdict::Inspect, Throttled, (1, 0)),
            (&healthy, Ended::Open, Verdict::Inspect, LookupFailed, (1, 0)),
            (&healthy, Ended::Open, Verdict::Allow, LookupFailed, (0, 1)),
            (&healthy, Ended::Open, Verdict::Inspect, CodeReplayed, (0, 1)),
            (&healthy, Ended::Overtaken, Verdict::Inspect, CodeReplayed, (0, 0)),
            (&healthy, Ended::Overtaken, Verdict::Inspect, TestOverdue, (0, 1)),
            (&overdue, Ended::Open, Verdict::Inspect, TestOverdue, (0, 0)),
            (&overdue, Ended::Open, Verdict::Allow, HealthOk, (0, 1)),
            (&replay, Ended::LetIn, Verdict::Inspect, CodeReplayed, (0, 0)),
            (&replay, Ended::LetIn, Verdict::Allow, HealthOk, (0, 1)),
            (&replay, Ended::Inspected, Verdict::Allow, HealthOk, (0, 0)),
            (&replay, Ended::Open, Verdict::Inspect, CodeReplayed, (0, 0)),
            (&replay, Ended::Open, Verdict::Inspect, TestOverdue, (0, 1)),
        ];
        for (due, before, verdict, reason, (undecided, wrong)) in cases {
            let (tally, ended) = noted(due, before, verdict, reason);
            assert_eq!(
                (tally.undecided, tally.wrong),
                (undecided, wrong),
                "{before:?} {verdict:?} {reason:?}"
            );
            assert_eq!(ended == Ended::LetIn, verdict == Verdict::Allow);
            assert_eq!((tally.failed, tally.latency.len()), (0, 1));
        }
    }

    #[test]
    fn a_wrong_answer_is_told_and_a_failed_call_counted() {
        let (tally, _) =
            noted(&Due::Verdict(enters(Rider::Overdue)), Ended::Open, Verdict::Allow, Reason::HealthOk);
        assert_eq!(tally.told, ["known: expected INSPECT TEST_OVERDUE, got ALLOW HEALTH_OK"]);
        let mut tally = Tally::new().unwrap();
        let gone = Err(Status::unavailable("gone"));
        let ended = tally.note(Class::Fresh, &Due::Replay(3), Ended::LetIn, &gone, Duration::from_millis(1));
        assert_eq!((ended, tally.failed, tally.wrong), (Ended::Failed, 1, 0));
        assert_eq!(tally.answers[&(Class::Fresh, "Unavailable".to_owned())], 1);
    }
}
