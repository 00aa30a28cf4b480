//! Where a partner reads the codes that only it can read.

use std::{
    num::NonZeroU16,
    path::{Path, PathBuf},
};

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de::Error as _};

/// A partner's resolver (`ridegate.resolver.v1.CodeResolver`). Files are relative to the profile's folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolverProfile {
    /// `https://host:port`, or `http://host:port` on the gateway's own machine.
    pub endpoint: String,
    /// Who certifies it, PEM.
    pub ca: Option<PathBuf>,
    /// The certificate that the gateway shows it, PEM.
    pub certificate: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
    /// The longest wait for an answer, inside the verdict's budget: 1 ms to 10 s, 80 ms if it is not said.
    #[serde(default = "default_timeout", deserialize_with = "timeout")]
    pub timeout: SignedDuration,
    /// Calls at once; what comes on top is not asked. 128 if it is not said.
    #[serde(default = "default_calls")]
    pub concurrent_calls: NonZeroU16,
}

impl ResolverProfile {
    /// The files that it names: ca, certificate and key.
    pub fn files(&self) -> [Option<&Path>; 3] {
        [self.ca.as_deref(), self.certificate.as_deref(), self.key.as_deref()]
    }
}

const fn default_timeout() -> SignedDuration {
    SignedDuration::from_millis(80)
}

const fn default_calls() -> NonZeroU16 {
    match NonZeroU16::new(128) {
        Some(calls) => calls,
        None => NonZeroU16::MIN,
    }
}

fn timeout<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
    let text = String::deserialize(deserializer).unwrap_or_default();
    let (shortest, longest) = (SignedDuration::from_millis(1), SignedDuration::from_secs(10));
    let span = text.parse::<SignedDuration>().ok().filter(|span| (shortest..=longest).contains(span));
    span.ok_or_else(|| D::Error::custom("expected a duration from 1ms to 10s, with its unit"))
}
