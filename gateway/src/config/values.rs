//! Values that cannot hold nonsense.

use std::{str::FromStr, time::Duration};

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de::Error};
use tonic::transport::Uri;

/// A duration between so many milliseconds and so many, written with its unit: `"80ms"`, `"12h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Span<MIN, MAX> {
    pub(super) const fn millis(millis: u64) -> Self {
        assert!(MIN <= millis && millis <= MAX);
        Self(millis)
    }

    /// As the standard library has it.
    pub const fn get(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// As calendars have it.
    pub fn signed(self) -> SignedDuration {
        SignedDuration::from_millis(self.0.try_into().unwrap_or(i64::MAX))
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Span<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        SignedDuration::from_str(&text)
            .ok()
            .and_then(|span| u64::try_from(span.as_millis()).ok())
            .filter(|millis| (MIN..=MAX).contains(millis))
            .map(Self)
            .ok_or_else(|| {
                D::Error::custom(format!(
                    "expected a duration from {} to {}, with its unit",
                    show(MIN),
                    show(MAX)
                ))
            })
    }
}

fn show(millis: u64) -> String {
    match millis {
        0 => "0s".into(),
        _ if millis.is_multiple_of(3_600_000) => format!("{}h", millis / 3_600_000),
        _ if millis.is_multiple_of(60_000) => format!("{}m", millis / 60_000),
        _ if millis.is_multiple_of(1_000) => format!("{}s", millis / 1_000),
        _ => format!("{millis}ms"),
    }
}

/// A number from 1 to so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Positive<const MAX: usize>(usize);

impl<const MAX: usize> Positive<MAX> {
    pub(super) const fn new(number: usize) -> Self {
        assert!(1 <= number && number <= MAX);
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> usize {
        self.0
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Positive<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = usize::try_from(i64::deserialize(deserializer)?).unwrap_or(0);
        let fits = (1..=MAX).contains(&number);
        if fits {
            Ok(Self(number))
        } else {
            Err(D::Error::custom(format!("expected a number from 1 to {MAX}")))
        }
    }
}

/// Where a gRPC service listens: `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Uri);

impl Endpoint {
    /// The address.
    pub const fn uri(&self) -> &Uri {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let uri = Uri::from_str(&String::deserialize(deserializer)?).ok();
        uri.filter(|uri| {
            uri.scheme_str() == Some("http") && uri.port().is_some() && matches!(uri.path(), "" | "/")
        })
        .map(Self)
        .ok_or_else(|| D::Error::custom("expected http://host:port"))
    }
}
