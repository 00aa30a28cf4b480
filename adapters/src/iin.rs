//! Issuer identification numbers: how card numbers and tokens of an issuer begin.

use std::{fmt, ops::RangeInclusive};

use serde::Deserialize;

/// An IIN (ISO/IEC 7812) or a part of one: 2 to 12 digits. Where several match, the longest wins.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Iin(Box<str>);

impl Iin {
    /// How many digits it may have.
    pub(crate) const LENGTHS: RangeInclusive<usize> = 2..=12;

    /// The digits.
    pub const fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Iin {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let fits = Self::LENGTHS.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if fits { Ok(Self(text.into())) } else { Err("expected an IIN of 2 to 12 digits") }
    }
}

impl fmt::Display for Iin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Iin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
