//! Kinds of riders, and what the authority says of them.

use jiff::{SignedDuration, Timestamp};
use prost_types::Timestamp as WireTime;
use ridegate_proto::authority::v1::{Facts, HealthState, Test, TestResult};

/// Kinds of riders in the city, in June 2022: a test counts for three days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rider {
    /// Linked, green, tested yesterday.
    Healthy,
    /// Linked, a small child.
    Exempt,
    /// Linked, green, tested six days ago.
    Overdue,
    /// Linked, yellow.
    Abnormal,
    /// Linked, popup 3.
    Popup,
    /// Linked, green, never tested.
    Untested,
    /// Linked, but the authority has no record.
    NoRecord,
    /// Never linked.
    Unlinked,
}

impl Rider {
    /// Whether the rider has linked the account.
    pub fn is_linked(self) -> bool {
        self != Self::Unlinked
    }

    /// What the authority says at `now`; `None` if it says nothing.
    pub fn facts(self, now: Timestamp) -> Option<Facts> {
        let tested = |days: i64| vec![negative(now - SignedDuration::from_hours(24 * days))];
        let (state, tests) = match self {
            Self::Healthy => (HealthState::Green, tested(1)),
            Self::Overdue => (HealthState::Green, tested(6)),
            Self::Abnormal => (HealthState::Yellow, tested(1)),
            Self::Popup => (HealthState::Popup, tested(1)),
            Self::Exempt | Self::Untested => (HealthState::Green, vec![]),
            Self::NoRecord | Self::Unlinked => return None,
        };
        Some(Facts {
            state: state.into(),
            popup: if self == Self::Popup { 3 } else { 0 },
            popup_raised_at: None,
            tests,
            exempt: self == Self::Exempt,
            as_of: Some(wire(now)),
        })
    }
}

fn negative(reported_at: Timestamp) -> Test {
    Test { result: TestResult::Negative.into(), sampled_at: None, reported_at: Some(wire(reported_at)) }
}

/// A time as the wire has it.
pub fn wire(at: Timestamp) -> WireTime {
    WireTime { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}
