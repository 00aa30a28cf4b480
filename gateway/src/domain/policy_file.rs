//! A policy's file: TOML, in which nothing that is not understood is passed over.

use std::collections::HashSet;

use jiff::{
    civil::{Date, Time},
    tz::TimeZone,
};
use serde::Deserialize;
use thiserror::Error;

use super::{
    facts::PopupNumber,
    policy::{Base, DatedWindow, Policy},
};

pub(super) const BEIJING_2022: &str = include_str!("../../policies/beijing-2022.toml");

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
}
