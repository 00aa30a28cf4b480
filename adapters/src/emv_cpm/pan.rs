//! Card numbers, as templates hold them.

use std::{fmt, iter::Peekable};

use crate::explain::masked;

/// Digits of a primary account number (ISO/IEC 7812).
const FEWEST: usize = 8;
const MOST: usize = 19;
/// Bytes of track 2 (EMV Book 3, annex A).
const LONGEST_TRACK2: usize = 19;
const SEPARATOR: u8 = 0xd;
const FILLER: u8 = 0xf;

/// A primary account number. Never logged, stored or shown; prints as `Pan(…)`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Pan {
    digits: [u8; MOST],
    len: usize,
}

impl Pan {
    /// From tag `5A`: BCD digits, filled up with `F`.
    pub(super) fn from_bcd(bytes: &[u8]) -> Option<Self> {
        let mut nibbles = nibbles(bytes).peekable();
        let pan = Self::take(&mut nibbles)?;
        is_filled_up(nibbles).then_some(pan)
    }

    /// From tag `57`, at most 19 bytes: the number, `D`, then expiry and more in digits, filled up with `F`.
    pub(super) fn from_track2(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > LONGEST_TRACK2 {
            return None;
        }
        let mut nibbles = nibbles(bytes).peekable();
        let pan = Self::take(&mut nibbles)?;
        nibbles.next_if_eq(&SEPARATOR)?;
        nibbles.next_if(is_digit)?;
        while nibbles.next_if(is_digit).is_some() {}
        is_filled_up(nibbles).then_some(pan)
    }

    /// The digits at the front.
    fn take(nibbles: &mut Peekable<impl Iterator<Item = u8>>) -> Option<Self> {
        let mut pan = Self { digits: [0; MOST], len: 0 };
        while let Some(digit) = nibbles.next_if(is_digit) {
            *pan.digits.get_mut(pan.len)? = b'0' + digit;
            pan.len += 1;
        }
        (pan.len >= FEWEST).then_some(pan)
    }

    /// Its last digits.
    pub(super) fn shown(self) -> String {
        masked(&String::from_utf8_lossy(self.digits()))
    }

    /// The digits, in ASCII. For choosing the partner, and for nothing else.
    pub(super) fn digits(&self) -> &[u8] {
        self.digits.get(..self.len).unwrap_or_default()
    }
}

/// Half bytes, the high one first.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 0x0f])
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as iterators ask")]
const fn is_digit(nibble: &u8) -> bool {
    *nibble <= 9
}

/// Whether nothing is left, or the one half byte that fills up the last.
fn is_filled_up(mut rest: impl Iterator<Item = u8>) -> bool {
    matches!((rest.next(), rest.next()), (None, _) | (Some(FILLER), None))
}

impl fmt::Debug for Pan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pan(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(from: fn(&[u8]) -> Option<Pan>, hex: &str) -> Option<String> {
        from(&hex::decode(hex).unwrap()).map(|pan| String::from_utf8(pan.digits().to_vec()).unwrap())
    }

    #[test]
    fn numbers_are_read_from_either_field() {
        for (hex, expect) in [
            ("6200000000000005", "6200000000000005"),
            ("620000000000005f", "620000000000005"),
            ("62000000", "62000000"),
            ("6212345678901234567f", "6212345678901234567"),
        ] {
            assert_eq!(read(Pan::from_bcd, hex).as_deref(), Some(expect));
        }
        for (hex, expect) in [
            ("6200000000000005d30122010000000f", "6200000000000005"),
            ("620000000000005d3012201f", "620000000000005"),
            ("620000000000005d30122010", "620000000000005"),
        ] {
            assert_eq!(read(Pan::from_track2, hex).as_deref(), Some(expect));
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for hex in [
            "",
            "6200000f",
            "62000000000000000005",
            "620000000000000000005fff",
            "62000000ff",
            "6200000a",
            "f62000000000000f",
            "62000000df",
        ] {
            assert_eq!(read(Pan::from_bcd, hex), None, "{hex}");
        }
        let long = format!("6200000000000005d{}", "3".repeat(23));
        for hex in [
            "",
            "6200000000000005",
            "6200000000000005f30122010f",
            "6200000000000005df",
            "6200000000000005d301ff0",
            "d3012201",
            "6200000000000005d30a2201f0",
            &long,
        ] {
            let even = if hex.len() % 2 == 0 { hex.to_owned() } else { format!("{hex}0") };
            assert_eq!(read(Pan::from_track2, &even), None, "{hex}");
        }
    }

    #[test]
    fn a_number_never_prints() {
        assert_eq!(format!("{:?}", Pan::from_bcd(&[0x62; 8]).unwrap()), "Pan(…)");
    }
}
