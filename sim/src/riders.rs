//! Kinds of riders, how many of them there are, and what the authority says of them.

use std::{fmt, str::FromStr};

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

/// Riders with each partner, of every kind about as many as its share of the day's stories.
pub(crate) const RIDERS: [(Rider, usize); 8] = [
    (Rider::Healthy, 60),
    (Rider::Exempt, 4),
    (Rider::Overdue, 12),
    (Rider::Abnormal, 3),
    (Rider::Popup, 3),
    (Rider::Untested, 3),
    (Rider::NoRecord, 3),
    (Rider::Unlinked, 6),
];

/// The number of the rider of this kind whose `turn` it is with the partner at this position of the city's. Turns begin
/// again when every rider of the kind has had one.
pub fn number(partner: usize, rider: Rider, turn: usize) -> usize {
    let each: usize = RIDERS.iter().map(|(_, count)| count).sum();
    let before: usize = RIDERS.iter().take_while(|(kind, _)| *kind != rider).map(|(_, count)| count).sum();
    let count = RIDERS.iter().find(|(kind, _)| *kind == rider).map_or(1, |(_, count)| *count);
    // The city's visitor is number 0.
    1 + partner * each + before + turn % count
}

impl Rider {
    /// Its name on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Exempt => "exempt",
            Self::Overdue => "overdue",
            Self::Abnormal => "abnormal",
            Self::Popup => "popup",
            Self::Untested => "untested",
            Self::NoRecord => "no-record",
            Self::Unlinked => "unlinked",
        }
    }

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

impl fmt::Display for Rider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Rider {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        RIDERS.into_iter().map(|(rider, _)| rider).find(|rider| rider.name() == text).ok_or_else(|| {
            let known = RIDERS.map(|(rider, _)| rider.name()).join(", ");
            format!("expected one of {known}")
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_rider_of_the_city_has_a_number_of_its_own() {
        let mut numbers = HashSet::new();
        for partner in 0..7 {
            for (rider, count) in RIDERS {
                for turn in 0..count {
                    let number = number(partner, rider, turn);
                    assert!(numbers.insert(number), "{partner} {rider} {turn}");
                }
                assert_eq!(number(partner, rider, count), number(partner, rider, 0), "turns begin again");
            }
        }
        assert!(!numbers.contains(&0), "the visitor's");
    }

    #[test]
    fn a_kind_is_found_by_its_name_and_an_unknown_one_is_refused_with_those_known() {
        for (rider, _) in RIDERS {
            assert_eq!(rider.name().parse(), Ok(rider));
        }
        let error = "ill".parse::<Rider>().unwrap_err();
        assert!(error.contains("healthy, exempt") && error.ends_with("unlinked"), "{error}");
    }
}
