//! Values that cannot hold nonsense.

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    str::FromStr,
    time::Duration,
};

use bytesize::ByteSize;
use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
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
        let text = String::deserialize(deserializer).unwrap_or_default();
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

impl<const MIN: u64, const MAX: u64> JsonSchema for Span<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("Span_{MIN}_{MAX}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let description =
            format!("A duration from {} to {}, with its unit, such as \"250ms\"", show(MIN), show(MAX));
        json_schema!({ "type": "string", "pattern": "^[0-9].*[a-z]$", "description": description })
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

/// A number between so many and so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number<const MIN: usize, const MAX: usize>(usize);

/// A number from 1 to so many.
pub type Positive<const MAX: usize> = Number<1, MAX>;

impl<const MIN: usize, const MAX: usize> Number<MIN, MAX> {
    pub(super) const fn new(number: usize) -> Self {
        assert!(MIN <= number && number <= MAX);
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> usize {
        self.0
    }

    /// The number, or the largest that fits.
    pub fn get_u32(self) -> u32 {
        self.0.try_into().unwrap_or(u32::MAX)
    }

    /// The number, where none may be 0.
    pub fn get_nonzero(self) -> NonZeroU32 {
        NonZeroU32::new(self.get_u32()).unwrap_or(NonZeroU32::MIN)
    }

    /// The number, but at most this one, or as near to it as may be.
    #[must_use]
    pub fn at_most(self, most: usize) -> Self {
        Self(self.0.min(most).max(MIN))
    }
}

impl<'de, const MIN: usize, const MAX: usize> Deserialize<'de> for Number<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = i64::deserialize(deserializer).ok().and_then(|number| usize::try_from(number).ok());
        let fits = number.filter(|number| (MIN..=MAX).contains(number)).map(Self);
        fits.ok_or_else(|| D::Error::custom(format!("expected a number from {MIN} to {MAX}")))
    }
}

impl<const MIN: usize, const MAX: usize> JsonSchema for Number<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("Number_{MIN}_{MAX}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// Memory, from so many bytes to so many, written with its unit: `"256MB"`, `"64 MiB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size<const MIN: u64, const MAX: u64>(u64);

impl<const MIN: u64, const MAX: u64> Size<MIN, MAX> {
    pub(super) const fn megabytes(number: u64) -> Self {
        let bytes = number * 1_000_000;
        assert!(MIN <= bytes && bytes <= MAX);
        Self(bytes)
    }

    /// In bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Size<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer).unwrap_or_default();
        let bytes = ByteSize::from_str(&text).ok().map(|size| size.as_u64());
        bytes.filter(|bytes| (MIN..=MAX).contains(bytes)).map(Self).ok_or_else(|| {
            D::Error::custom(format!(
                "expected memory from {} to {}, with its unit, such as \"256MB\"",
                show_bytes(MIN),
                show_bytes(MAX)
            ))
        })
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Size<MIN, MAX> {
    fn schema_name() -> Cow<'static, str> {
        format!("Size_{MIN}_{MAX}").into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let description = format!(
            "Memory from {} to {}, with its unit, such as \"256MB\"",
            show_bytes(MIN),
            show_bytes(MAX)
        );
        json_schema!({ "type": "string", "pattern": "^[0-9].*[bB]$", "description": description })
    }
}

fn show_bytes(bytes: u64) -> impl fmt::Display {
    ByteSize::b(bytes).display().si()
}

/// Where to listen: an address and a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(SocketAddr);

impl Address {
    pub(super) const fn local(port: u16) -> Self {
        Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
    }

    /// As the standard library has it.
    pub const fn get(self) -> SocketAddr {
        self.0
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer).unwrap_or_default();
        let expected = "expected an address and a port, such as 127.0.0.1:7443 or [::1]:7443";
        text.parse().map(Self).map_err(|_| D::Error::custom(expected))
    }
}

impl JsonSchema for Address {
    fn schema_name() -> Cow<'static, str> {
        "Address".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^.+:[0-9]+$" })
    }
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged. `RUST_LOG` overrides it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What somebody must mend.
    Error,
    /// What somebody should look at.
    Warn,
    /// What happens.
    Info,
    /// Why.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// As the configuration writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Where a gRPC service listens: `https://host:port` or `http://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(Uri);

impl Endpoint {
    /// The address.
    pub const fn uri(&self) -> &Uri {
        &self.0
    }

    /// Whether it is asked over TLS.
    pub fn is_secure(&self) -> bool {
        self.0.scheme_str() == Some("https")
    }

    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        let host = self.0.host().unwrap_or_default();
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri = Uri::from_str(text).ok().filter(|uri| {
            let scheme = uri.scheme_str();
            matches!(scheme, Some("http" | "https")) && uri.port().is_some() && matches!(uri.path(), "" | "/")
        });
        uri.map(Self).ok_or("expected https://host:port or http://host:port")
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Endpoint {
    fn schema_name() -> Cow<'static, str> {
        "Endpoint".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^https?://[^/]+:[0-9]+/?$" })
    }
}
