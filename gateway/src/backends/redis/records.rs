//! What is sealed in Redis, as bytes. Field numbers are never used for something else: replicas of two versions may run
//! side by side. What cannot be read is as good as absent.

use jiff::Timestamp;
use prost::Message;

use super::shared::{SharedFacts, SharedLink};
use crate::domain::{
    decide::made_before,
    facts::{Facts, HealthState, PopupNumber, Report, Subject, Test, TestResult},
    pseudonym::Pseudonym,
    verdict::{Degraded, Finding},
};

macro_rules! record {
    ($($name:ident { $($(#[$field:meta])* $key:ident: $type:ty,)* })*) => {$(
        #[derive(Clone, PartialEq, Message)]
        #[prost(skip_debug)]
        struct $name { $($(#[$field])* $key: $type,)* }

        // It may name a rider.
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

record! {
    Outcome {
        #[prost(string, tag = "1")]
        reason: String,
        #[prost(int64, optional, tag = "2")]
        evidence_as_of: Option<i64>,
        #[prost(uint32, tag = "3")]
        degraded: u32,
    }
    Link {
        #[prost(bytes = "vec", tag = "1")]
        name: Vec<u8>,
        #[prost(string, tag = "2")]
        subject: String,
        #[prost(int64, tag = "3")]
        heard: i64,
    }
    Known {
        #[prost(string, tag = "1")]
        subject: String,
        #[prost(int64, tag = "2")]
        asked_at: i64,
        #[prost(int64, tag = "3")]
        as_of: i64,
        #[prost(uint32, tag = "4")]
        state: u32,
        #[prost(uint32, tag = "5")]
        popup: u32,
        #[prost(int64, optional, tag = "6")]
        raised_at: Option<i64>,
        #[prost(bool, tag = "7")]
        exempt: bool,
        #[prost(message, repeated, tag = "8")]
        tests: Vec<OneTest>,
    }
    OneTest {
        #[prost(uint32, tag = "1")]
        result: u32,
        #[prost(int64, optional, tag = "2")]
        sampled_at: Option<i64>,
        #[prost(int64, optional, tag = "3")]
        reported_at: Option<i64>,
    }
}

const GREEN: u32 = 1;
const YELLOW: u32 = 2;
const RED: u32 = 3;
const POPUP: u32 = 4;

const NEGATIVE: u32 = 1;
const POSITIVE: u32 = 2;
const PENDING: u32 = 3;

const DEGRADED: [(u32, Degraded); 4] =
    [(1, Degraded::Authority), (2, Degraded::Registry), (3, Degraded::Resolver), (4, Degraded::Redis)];

pub(super) fn of_finding(finding: Finding) -> Vec<u8> {
    let Finding { verdict, evidence_as_of, degraded } = finding;
    let number = |cause| DEGRADED.iter().find(|(_, known)| *known == cause).map_or(0, |(number, _)| *number);
    let record = Outcome {
        reason: verdict.reason().to_owned(),
        evidence_as_of: evidence_as_of.map(nanos),
        degraded: degraded.map_or(0, number),
    };
    record.encode_to_vec()
}

pub(super) fn finding(plain: &[u8]) -> Option<Finding> {
    let Outcome { reason, evidence_as_of, degraded } = Outcome::decode(plain).ok()?;
    let evidence_as_of = evidence_as_of.map(time);
    let degraded = DEGRADED.iter().find(|(number, _)| *number == degraded).map(|(_, cause)| *cause);
    Some(Finding { verdict: made_before(&reason)?, evidence_as_of, degraded })
}

pub(super) fn of_link(link: &SharedLink) -> Vec<u8> {
    let SharedLink { name, subject, heard } = link;
    Link { name: name.0.to_vec(), subject: subject.expose().to_owned(), heard: *heard }.encode_to_vec()
}

pub(super) fn link(plain: &[u8]) -> Option<SharedLink> {
    let Link { name, subject, heard } = Link::decode(plain).ok()?;
    let subject = (!subject.is_empty()).then(|| Subject::new(subject))?;
    Some(SharedLink { name: Pseudonym(name.try_into().ok()?), subject, heard })
}

pub(super) fn of_facts(shared: &SharedFacts) -> Vec<u8> {
    let SharedFacts { subject, facts: Facts { state, exempt, tests, as_of }, asked_at } = shared;
    let (state, popup, raised_at) = match *state {
        HealthState::Green => (GREEN, 0, None),
        HealthState::Yellow => (YELLOW, 0, None),
        HealthState::Red => (RED, 0, None),
        HealthState::Popup { number, raised_at } => (POPUP, number.get(), raised_at.map(nanos)),
    };
    let record = Known {
        subject: subject.expose().to_owned(),
        asked_at: nanos(*asked_at),
        as_of: nanos(*as_of),
        state,
        popup,
        raised_at,
        exempt: *exempt,
        tests: tests.iter().map(of_test).collect(),
    };
    record.encode_to_vec()
}

pub(super) fn facts(plain: &[u8]) -> Option<SharedFacts> {
    let Known { subject, asked_at, as_of, state, popup, raised_at, exempt, tests } =
        Known::decode(plain).ok()?;
    let subject = (!subject.is_empty()).then(|| Subject::new(subject))?;
    let state = match state {
        GREEN => HealthState::Green,
        YELLOW => HealthState::Yellow,
        RED => HealthState::Red,
        POPUP => HealthState::Popup { number: PopupNumber::new(popup)?, raised_at: raised_at.map(time) },
        _ => return None,
    };
    let tests = tests.iter().map(test).collect::<Option<_>>()?;
    let facts = Facts { state, exempt, tests, as_of: time(as_of) };
    Some(SharedFacts { subject, facts, asked_at: time(asked_at) })
}

fn of_test(test: &Test) -> OneTest {
    match *test {
        Test::Pending { sampled_at } => {
            OneTest { result: PENDING, sampled_at: sampled_at.map(nanos), reported_at: None }
        }
        Test::Reported(Report { result, sampled_at, reported_at }) => OneTest {
            result: if result == TestResult::Positive { POSITIVE } else { NEGATIVE },
            sampled_at: sampled_at.map(nanos),
            reported_at: Some(nanos(reported_at)),
        },
    }
}

fn test(record: &OneTest) -> Option<Test> {
    let sampled_at = record.sampled_at.map(time);
    let result = match record.result {
        NEGATIVE => TestResult::Negative,
        POSITIVE => TestResult::Positive,
        PENDING => return Some(Test::Pending { sampled_at }),
        _ => return None,
    };
    Some(Test::Reported(Report { result, sampled_at, reported_at: time(record.reported_at?) }))
}

/// Far-off times are as far as can be written.
fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(if at < Timestamp::UNIX_EPOCH { i64::MIN } else { i64::MAX })
}

fn time(nanos: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanos.into()).unwrap_or(Timestamp::MAX)
}
