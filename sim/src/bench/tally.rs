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

/// How a code stood when a tap was answered that showed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// It was shown again before its first tap was answered: any of them may be the one that is let in.
    pub(super) overtaken: bool,
    /// Another tap that showed it was let in.
    pub(super) let_in: bool,
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

    /// Notes an answer.
    pub(super) fn note(
        &mut self,
        class: Class,
        due: &Due,
        code: Standing,
        answer: &Result<CheckResponse, Status>,
        took: Duration,
    ) {
        self.latency.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let (said, worth) = match answer {
            Ok(answer) => {
                let (allow, reason) = (answer.verdict() == Verdict::Allow, answer.reason());
                (shown(allow, reason), worth(due, code, allow, reason))
            }
            // A gateway's words could name a caller's; the code says enough.
            Err(status) => {
                self.failed += 1;
                (format!("{:?}", status.code()), Worth::Right)
            }
        };
        match worth {
            Worth::Right => {}
            Worth::Undecided => self.undecided += 1,
            Worth::Wrong => {
                self.wrong += 1;
                if self.told.len() < TOLD {
                    self.told.push(format!("{}: expected {}, got {said}", class.name(), expected(due, code)));
                }
            }
        }
        *self.answers.entry((class, said)).or_default() += 1;
    }
}

fn worth(due: &Due, code: Standing, allow: bool, reason: Reason) -> Worth {
    let is = |name: &str| reason.as_str_name().strip_prefix("REASON_") == Some(name);
    let refused = !allow && reason == Reason::CodeReplayed;
    let right = match due {
        // Whoever shows it, a code lets in once.
        _ if allow && code.let_in => false,
        Due::Verdict(expected) => code.overtaken && refused || expected.allow == allow && is(expected.reason),
        // Whether it was used is not known here.
        Due::Replay(_) => allow || refused,
        Due::Throttled => !allow && (is("THROTTLED") || is("CODE_EXPIRED")),
    };
    let doubt = matches!(reason, Reason::Overloaded | Reason::Throttled | Reason::LookupFailed);
    match (right, doubt && !allow) {
        (true, _) => Worth::Right,
        (false, true) => Worth::Undecided,
        (false, false) => Worth::Wrong,
    }
}

fn expected(due: &Due, code: Standing) -> String {
    match due {
        _ if code.let_in => "INSPECT CODE_REPLAYED".to_owned(),
        Due::Verdict(expected) => {
            format!("{} {}", if expected.allow { "ALLOW" } else { "INSPECT" }, expected.reason)
        }
        Due::Replay(_) => "ALLOW, or INSPECT CODE_REPLAYED".to_owned(),
        Due::Throttled => "INSPECT THROTTLED".to_owned(),
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

    fn noted(due: &Due, code: Standing, verdict: Verdict, reason: Reason) -> Tally {
        let answer =
            CheckResponse { verdict: verdict.into(), reason: reason.into(), ..CheckResponse::default() };
        let mut tally = Tally::new().unwrap();
        tally.note(Class::Known, due, code, &Ok(answer), Duration::from_millis(2));
        tally
    }

    #[test]
    fn only_what_was_due_is_right_and_doubt_is_counted_apart() {
        use Reason::{CodeExpired, CodeReplayed, HealthOk, LookupFailed, Overloaded, TestOverdue, Throttled};
        let healthy = Due::Verdict(enters(Rider::Healthy));
        let overdue = Due::Verdict(enters(Rider::Overdue));
        let (replay, throttled) = (Due::Replay(0), Due::Throttled);
        let new = Standing::default();
        let (overtaken, used) =
            (Standing { overtaken: true, ..new }, Standing { overtaken: true, let_in: true });
        let cases = [
            (&healthy, new, Verdict::Allow, HealthOk, (0, 0)),
            (&healthy, new, Verdict::Inspect, HealthOk, (0, 1)),
            (&healthy, new, Verdict::Inspect, TestOverdue, (0, 1)),
            (&healthy, new, Verdict::Inspect, Overloaded, (1, 0)),
            (&healthy, new, Verdict::Inspect, Throttled, (1, 0)),
            (&healthy, new, Verdict::Inspect, LookupFailed, (1, 0)),
            (&healthy, new, Verdict::Allow, LookupFailed, (0, 1)),
            (&healthy, new, Verdict::Inspect, CodeReplayed, (0, 1)),
            (&healthy, overtaken, Verdict::Inspect, CodeReplayed, (0, 0)),
            (&healthy, overtaken, Verdict::Inspect, TestOverdue, (0, 1)),
            (&healthy, overtaken, Verdict::Allow, HealthOk, (0, 0)),
            (&healthy, used, Verdict::Inspect, CodeReplayed, (0, 0)),
            (&healthy, used, Verdict::Allow, HealthOk, (0, 1)),
            (&overdue, new, Verdict::Inspect, TestOverdue, (0, 0)),
            (&overdue, new, Verdict::Allow, HealthOk, (0, 1)),
            (&replay, used, Verdict::Inspect, CodeReplayed, (0, 0)),
            (&replay, used, Verdict::Allow, HealthOk, (0, 1)),
            (&replay, overtaken, Verdict::Allow, HealthOk, (0, 0)),
            (&replay, overtaken, Verdict::Inspect, CodeReplayed, (0, 0)),
            (&replay, overtaken, Verdict::Inspect, TestOverdue, (0, 1)),
            (&throttled, new, Verdict::Inspect, Throttled, (0, 0)),
            (&throttled, new, Verdict::Inspect, CodeExpired, (0, 0)),
            (&throttled, new, Verdict::Inspect, Overloaded, (1, 0)),
            (&throttled, new, Verdict::Inspect, TestOverdue, (0, 1)),
            (&throttled, new, Verdict::Allow, Throttled, (0, 1)),
        ];
        for (due, code, verdict, reason, (undecided, wrong)) in cases {
            let tally = noted(due, code, verdict, reason);
            assert_eq!((tally.undecided, tally.wrong), (undecided, wrong), "{code:?} {verdict:?} {reason:?}");
            assert_eq!((tally.failed, tally.latency.len()), (0, 1));
        }
    }

    #[test]
    fn a_wrong_answer_is_told_and_a_failed_call_counted() {
        let new = Standing::default();
        let tally = noted(&Due::Verdict(enters(Rider::Overdue)), new, Verdict::Allow, Reason::HealthOk);
        assert_eq!(tally.told, ["known: expected INSPECT TEST_OVERDUE, got ALLOW HEALTH_OK"]);
        let mut tally = Tally::new().unwrap();
        let gone = Err(Status::unavailable("gone"));
        tally.note(Class::Fresh, &Due::Replay(3), new, &gone, Duration::from_millis(1));
        assert_eq!((tally.failed, tally.wrong), (1, 0));
        assert_eq!(tally.answers[&(Class::Fresh, "Unavailable".to_owned())], 1);
    }
}
