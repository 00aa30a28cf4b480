//! The policy of the day, as data with effective dates (D15–D25).

use std::collections::HashSet;

use super::{facts::PopupNumber, passage::Passage};
use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

/// Windows and counting rules. Everything in it begins at midnight of a day in its time zone.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(super) version: String,
    pub(super) zone: TimeZone,
    pub(super) windows: Vec<DatedWindow>,
    pub(super) counting: Vec<(Date, Base)>,
    pub(super) carry_over: Vec<(Date, bool)>,
    pub(super) self_clearing: HashSet<PopupNumber>,
}

/// A window, and the day from which it holds.
#[derive(Debug, Clone)]
pub(super) struct DatedWindow {
    pub(super) from: Date,
    /// `None`: nothing is enforced.
    pub(super) max_day: Option<i32>,
    /// Places where nothing is asked.
    pub(super) outside: HashSet<String>,
}

/// An enforced window.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    max_day: i32,
}

impl Window {
    /// The last day on which a test counts.
    pub const fn max_day(self) -> i32 {
        self.max_day
    }
}

/// From which day a result counts (D18).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// The day of the report.
    Report,
    /// The day of sampling where known; else of the report, or the day before if it came at night.
    Sampling {
        /// A report before this hour came at night.
        night_ends: Time,
    },
}

impl Policy {
    /// Name and version, as verdicts carry them.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The window that must be met for this passage now; `None` if nothing is asked. Then no health look-up is
    /// made either (D25).
    ///
    /// A location counts as inside unless the window lists it as outside, so an unknown one is inside (D24).
    pub fn enforced(&self, now: Timestamp, passage: &Passage) -> Option<Window> {
        let window = in_force(&self.windows, self.date(now), |window| window.from)?;
        let max_day = window.max_day?;
        let asked = passage.direction.is_in() && !window.outside.contains(&passage.location);
        asked.then_some(Window { max_day })
    }

    pub(crate) fn civil(&self, at: Timestamp) -> DateTime {
        self.zone.to_datetime(at)
    }

    pub(crate) fn date(&self, at: Timestamp) -> Date {
        self.civil(at).date()
    }

    pub(crate) fn counting(&self, reported_on: Date) -> Base {
        in_force(&self.counting, reported_on, |(from, _)| *from).map_or(Base::Report, |(_, base)| *base)
    }

    pub(crate) fn carries_over(&self, today: Date) -> bool {
        in_force(&self.carry_over, today, |(from, _)| *from).is_some_and(|(_, allowed)| *allowed)
    }

    pub(crate) fn clears_itself(&self, popup: PopupNumber) -> bool {
        self.self_clearing.contains(&popup)
    }
}

/// The last entry that has begun.
fn in_force<T>(entries: &[T], today: Date, from: impl Fn(&T) -> Date) -> Option<&T> {
    entries.iter().rev().find(|entry| from(entry) <= today)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::passage::Direction;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn entry(location: &str) -> Passage {
        Passage { direction: Direction::Entry, location: location.into() }
    }

    #[test]
    fn places_listed_as_outside_are_not_asked_and_unknown_ones_are() {
        let scoped = super::super::policy_file::BEIJING_2022.replacen(
            "max_day = 3",
            "max_day = 3\noutside = [\"line-999\"]",
            1,
        );
        let policy = Policy::from_toml(&scoped).unwrap();
        let now = at("2022-06-20T12:00:00+08:00");
        assert!(policy.enforced(now, &entry("line-999")).is_none());
        assert!(policy.enforced(now, &entry("")).is_some());
        assert!(policy.enforced(now, &entry("nowhere")).is_some());
    }

    #[test]
    fn on_the_way_out_nothing_is_asked() {
        let policy = Policy::beijing_2022().unwrap();
        let now = at("2022-06-20T12:00:00+08:00");
        for (direction, asked) in [
            (Direction::Entry, true),
            (Direction::Boarding, true),
            (Direction::Exit, false),
            (Direction::Alighting, false),
        ] {
            let passage = Passage { direction, location: String::new() };
            assert_eq!(policy.enforced(now, &passage).is_some(), asked, "{direction:?}");
        }
    }

    #[test]
    fn its_version_names_it() {
        assert_eq!(Policy::beijing_2022().unwrap().version(), "beijing-2022/1");
    }
}
