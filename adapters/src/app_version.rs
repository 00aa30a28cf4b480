//! Versions of apps, and from which on a partner's may link Yikatong cards (D10).

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error as _};

/// Operating systems of phones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Os {
    /// Android.
    Android,
    /// HarmonyOS.
    HarmonyOs,
    /// iOS.
    Ios,
}

/// A version of an app: up to four numbers. What is not said is 0, so that 5.4 is 5.4.0.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppVersion([u32; 4]);

/// The first version of a partner's app that may link Yikatong cards, by operating system. Where none is said, every
/// version may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MinAppVersions {
    /// On HarmonyOS.
    pub harmonyos: Option<AppVersion>,
    /// On Android.
    pub android: Option<AppVersion>,
    /// On iOS.
    pub ios: Option<AppVersion>,
}

impl MinAppVersions {
    /// That of this operating system.
    pub const fn on(&self, os: Os) -> Option<AppVersion> {
        match os {
            Os::Android => self.android,
            Os::HarmonyOs => self.harmonyos,
            Os::Ios => self.ios,
        }
    }
}

/// As people write it: 1 to 4 numbers below 2³², with dots between them.
impl FromStr for AppVersion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected 1 to 4 numbers with dots between them, such as 5.4.2.0";
        let mut numbers = [0; 4];
        let mut places = numbers.iter_mut();
        for part in text.split('.') {
            let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            let number = is_number.then(|| part.parse().ok()).flatten();
            *places.next().ok_or(expected)? = number.ok_or(expected)?;
        }
        Ok(Self(numbers))
    }
}

/// All four numbers.
impl fmt::Display for AppVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([first, second, third, fourth]) = self;
        write!(f, "{first}.{second}.{third}.{fourth}")
    }
}

impl<'de> Deserialize<'de> for AppVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <std::borrow::Cow<'_, str>>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> AppVersion {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_ordered_by_number_and_not_by_letter() {
        let ordered = ["5.3.2.1", "5.4", "5.4.2", "5.4.2.1", "5.4.10.0", "5.10", "10.0.0.0", "4294967295"];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        assert_eq!(version("5.4"), version("5.4.0.0"));
        assert_eq!(version("5.4.2").to_string(), "5.4.2.0");
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in
            ["", ".", "5.", ".5", "5..4", "5.4.2.0.1", "5.4.2.x", "+5", "-1", "5.4 ", "4294967296", "５"]
        {
            assert!(text.parse::<AppVersion>().is_err(), "{text}");
        }
    }
}
