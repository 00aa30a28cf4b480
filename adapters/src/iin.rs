//! Issuer identification numbers: how card numbers and tokens of an issuer begin.

use std::fmt;

use serde::Deserialize;

/// An IIN (ISO/IEC 7812) or a part of one: 2 to 12 digits. Where several match, the longest wins.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Iin(Box<str>);

impl Iin {
    /// The digits.
    pub const fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a number in ASCII digits begins like this.
    pub(crate) fn begins(&self, number: &[u8]) -> bool {
        number.starts_with(self.0.as_bytes())
    }
}

impl TryFrom<String> for Iin {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let fits = (2..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
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
