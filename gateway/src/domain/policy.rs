//! The policy of the day, as data with effective dates (D15–D25).

use std::collections::HashSet;

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};
use serde::Deserialize;
use thiserror::Error;

use super::{facts::PopupNumber, passage::Passage};

const BEIJING_2022: &str = include_str!("../../policies/beijing-2022.toml");

/// Windows and counting rules. Everything in it begins at midnight of a day in its time zone.
#[derive(Debug, Clone)]
pub struct Policy {
    version: String,
    zone: TimeZone,
    windows: Vec<DatedWindow>,
    counting: Vec<(Date, Base)>,
    carry_over: Vec<(Date, bool)>,
    self_clearing: HashSet<PopupNumber>,
}

#[derive(Debug, Clone)]
struct DatedWindow {
    from: Date,
    /// `None`: nothing is enforced.
    max_day: Option<i32>,
    outside: HashSet<String>,
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

/// A policy that cannot be used.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// Not TOML, a key unknown or missing, or a value that cannot be.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// No such time zone.
    #[error("time_zone: not in the IANA time zone database")]
    TimeZone,
    /// Entries out of order.
    #[error("{0}: each entry must begin on a later day than the one before it")]
    Order(&'static str),
    /// Nothing would ever be enforced.
    #[error("windows: at least one is needed")]
    NoWindow,
    /// A window that says neither or both.
    #[error("windows: each needs either max_day or enforced = false")]
    Window,
    /// The first counting rule must hold for everything before the second.
    #[error("counting: the first entry must have no reported_from, every other must have one")]
    Counting,
    /// The night belongs to counting by sampling day, and is needed there.
    #[error("counting: night_ends goes with base = \"sampling\", and is needed there")]
    Night,
    /// No such popup.
    #[error("self_clearing_popups: each must be 1 to 5")]
    Popup,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    name: String,
    version: u32,
    time_zone: String,
    #[serde(default)]
    self_clearing_popups: Vec<u32>,
    windows: Vec<WindowEntry>,
    counting: Vec<CountingEntry>,
    #[serde(default)]
    carry_over: Vec<CarryOverEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WindowEntry {
    from: Date,
    max_day: Option<u8>,
    enforced: Option<bool>,
    #[serde(default)]
    outside: HashSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CountingEntry {
    reported_from: Option<Date>,
    base: BaseName,
    night_ends: Option<Time>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum BaseName {
    Report,
    Sampling,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CarryOverEntry {
    from: Date,
    allowed: bool,
}

impl Policy {
    /// The policy of Beijing in 2022, which ships with the gateway.
    pub fn beijing_2022() -> Result<Self, PolicyError> {
        Self::from_toml(BEIJING_2022)
    }

    /// Reads a policy from TOML. Unknown keys are refused.
    pub fn from_toml(text: &str) -> Result<Self, PolicyError> {
        let file: PolicyFile = toml::from_str(text)?;
        let windows = file.windows.into_iter().map(WindowEntry::parse).collect::<Result<Vec<_>, _>>()?;
        if windows.is_empty() {
            return Err(PolicyError::NoWindow);
        }
        ascending("windows", windows.iter().map(|window| window.from))?;
        let counting = parse_counting(file.counting)?;
        ascending("counting", counting.iter().map(|(from, _)| *from))?;
        let carry_over: Vec<_> =
            file.carry_over.into_iter().map(|entry| (entry.from, entry.allowed)).collect();
        ascending("carry_over", carry_over.iter().map(|(from, _)| *from))?;
        let popups = file.self_clearing_popups.into_iter().map(PopupNumber::new);
        Ok(Self {
            version: format!("{}/{}", file.name, file.version),
            zone: TimeZone::get(&file.time_zone).map_err(|_| PolicyError::TimeZone)?,
            windows,
            counting,
            carry_over,
            self_clearing: popups.collect::<Option<_>>().ok_or(PolicyError::Popup)?,
        })
    }

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

fn ascending(key: &'static str, days: impl Iterator<Item = Date>) -> Result<(), PolicyError> {
    if days.is_sorted_by(|one, next| one < next) { Ok(()) } else { Err(PolicyError::Order(key)) }
}

impl WindowEntry {
    fn parse(self) -> Result<DatedWindow, PolicyError> {
        let max_day = match (self.max_day, self.enforced) {
            (Some(day), None | Some(true)) => Some(i32::from(day)),
            (None, Some(false)) => None,
            (None, None | Some(true)) | (Some(_), Some(false)) => return Err(PolicyError::Window),
        };
        Ok(DatedWindow { from: self.from, max_day, outside: self.outside })
    }
}

fn parse_counting(entries: Vec<CountingEntry>) -> Result<Vec<(Date, Base)>, PolicyError> {
    let mut parsed = Vec::with_capacity(entries.len());
    for (position, entry) in entries.into_iter().enumerate() {
        let from = match (position, entry.reported_from) {
            (0, None) => Date::MIN,
            (1.., Some(from)) => from,
            (0, Some(_)) | (1.., None) => return Err(PolicyError::Counting),
        };
        let base = match (entry.base, entry.night_ends) {
            (BaseName::Report, None) => Base::Report,
            (BaseName::Sampling, Some(night_ends)) => Base::Sampling { night_ends },
            (BaseName::Report, Some(_)) | (BaseName::Sampling, None) => return Err(PolicyError::Night),
        };
        parsed.push((from, base));
    }
    if parsed.is_empty() { Err(PolicyError::Counting) } else { Ok(parsed) }
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

    #[track_caller]
    fn refused(from: &str, to: &str, expect: &str) {
        assert!(BEIJING_2022.contains(from), "{from}");
        let error = Policy::from_toml(&BEIJING_2022.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }

    #[test]
    fn nonsense_is_refused_with_what_is_allowed() {
        refused("2022-06-06", "2022-05-17", "windows: each entry must begin on a later day");
        refused("enforced = false", "enforced = true", "either max_day or enforced = false");
        refused("base = \"report\"", "base = \"report\"\nreported_from = \"2022-01-01\"", "first entry");
        refused("night_ends = \"06:00\"", "", "night_ends");
        refused("[4]", "[6]", "1 to 5");
        refused("Asia/Shanghai", "Asia/Shangai", "time_zone");
        refused("max_day = 2", "max_days = 2", "max_days");
        refused("\"sampling\"", "\"sample\"", "`report` or `sampling`");
    }

    #[test]
    fn a_policy_that_would_let_everybody_through_is_refused() {
        let end = BEIJING_2022.find("[[windows]]").unwrap();
        let rest = BEIJING_2022.find("[[counting]]").unwrap();
        let without = format!("windows = []\n{}\n{}", &BEIJING_2022[..end], &BEIJING_2022[rest..]);
        assert!(matches!(Policy::from_toml(&without), Err(PolicyError::NoWindow)));
    }

    #[test]
    fn places_listed_as_outside_are_not_asked_and_unknown_ones_are() {
        let scoped = BEIJING_2022.replacen("max_day = 3", "max_day = 3\noutside = [\"line-999\"]", 1);
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
