//! Binary-coded decimal: two digits a byte, the high nibble first.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error as _};

/// Eight decimal digits in four BCD bytes: an issuer or a code platform.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bcd8([u8; 4]);

impl Bcd8 {
    /// The digits, if every nibble is one.
    pub fn from_bytes(bytes: [u8; 4]) -> Option<Self> {
        is_bcd(&bytes).then_some(Self(bytes))
    }

    /// The bytes, two digits each.
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

/// Whether both nibbles of every byte are decimal digits.
pub(crate) fn is_bcd(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte >> 4 <= 9 && byte & 0x0f <= 9)
}

/// The two digits of a BCD byte as a number, if they are digits.
pub(crate) fn two_digits(byte: u8) -> Option<u8> {
    is_bcd(&[byte]).then_some((byte >> 4) * 10 + (byte & 0x0f))
}

impl fmt::Display for Bcd8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Bcd8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Bcd8 {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 4];
        hex::decode_to_slice(text, &mut bytes)
            .ok()
            .and_then(|()| Self::from_bytes(bytes))
            .ok_or("expected 8 decimal digits")
    }
}

impl<'de> Deserialize<'de> for Bcd8 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <std::borrow::Cow<'_, str>>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_come_back_as_they_were_written() {
        assert_eq!("50023301".parse::<Bcd8>().unwrap().to_string(), "50023301");
    }

    #[test]
    fn what_is_not_eight_digits_is_refused() {
        for text in ["", "5002330", "500233011", "5002330a", "5002330A", "+5002330", "５００２３３０１"]
        {
            assert!(text.parse::<Bcd8>().is_err(), "{text}");
        }
    }

    #[test]
    fn nibbles_above_nine_are_no_digits() {
        assert_eq!(two_digits(0x99), Some(99));
        assert_eq!(two_digits(0x9a), None);
        assert_eq!(two_digits(0xa9), None);
    }
}
