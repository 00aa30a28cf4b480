//! How a partner's card numbers look, and what is wrong with one that does not look so.

use serde::Deserialize;

use super::CardKind;
use crate::Bcd8;

/// The longest card number, in digits.
const LONGEST: usize = 32;

/// Cards of one kind that a partner links, and how their numbers look.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Stated")]
#[non_exhaustive]
pub struct CardIssuing {
    /// What kind of card.
    pub kind: CardKind,
    /// Whose cards they are; empty: anybody's.
    pub issuers: Vec<Bcd8>,
    /// How many digits a number has: 1 to 32.
    pub digits: usize,
    /// How a number begins; empty: however.
    pub prefix: Box<str>,
    /// Whether the last digit is a check digit (ISO/IEC 7812-1, annex B).
    pub luhn: bool,
    /// Whether this partner is the card company of these cards, and not only one whose riders link them.
    pub issues: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    kind: CardKind,
    #[serde(default)]
    issuers: Vec<Bcd8>,
    digits: usize,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    luhn: bool,
    #[serde(default)]
    issues: bool,
}

impl TryFrom<Stated> for CardIssuing {
    type Error = &'static str;

    fn try_from(stated: Stated) -> Result<Self, Self::Error> {
        let Stated { kind, issuers, digits, prefix, luhn, issues } = stated;
        if !(1..=LONGEST).contains(&digits) {
            return Err("digits: expected 1 to 32");
        }
        if !is_digits(&prefix) || prefix.len() >= digits {
            return Err("prefix: expected digits, fewer than a number has");
        }
        if issues && issuers.is_empty() {
            return Err("issuers is missing: whoever issues cards says under which numbers");
        }
        Ok(Self { kind, issuers, digits, prefix: prefix.into(), luhn, issues })
    }
}

/// How near a number comes to what it should be, and what is wrong with it then. The last is the nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Miss {
    Length,
    Beginning,
    CheckDigit,
}

impl CardIssuing {
    /// Whether cards of this issuer are among them.
    pub fn is_of(&self, issuer: Bcd8) -> bool {
        self.issuers.is_empty() || self.issuers.contains(&issuer)
    }

    /// What is wrong with a number of digits only, if anything is.
    fn miss(&self, number: &str) -> Option<Miss> {
        if number.len() != self.digits {
            return Some(Miss::Length);
        }
        if !number.starts_with(&*self.prefix) {
            return Some(Miss::Beginning);
        }
        (self.luhn && !has_check_digit(number)).then_some(Miss::CheckDigit)
    }
}

/// What a number must be to be one of these cards'; `Ok` if it is. Says what is wrong, never with which digits (D11).
pub(crate) fn check<'a>(
    sections: impl Iterator<Item = &'a CardIssuing> + Clone,
    number: &str,
) -> Result<(), &'static str> {
    if number.is_empty() || !is_digits(number) {
        return Err("must be digits only");
    }
    let mut nearest = Miss::Length;
    for section in sections.clone() {
        match section.miss(number) {
            None => return Ok(()),
            Some(miss) => nearest = nearest.max(miss),
        }
    }
    Err(match nearest {
        Miss::Length => length_rule(sections.map(|section| section.digits)),
        Miss::Beginning => "must begin with the digits that numbers of these cards begin with",
        Miss::CheckDigit => "must end with its check digit: a digit is wrong, or two have changed places",
    })
}

/// Digits, or nothing at all.
fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the last digit is the check digit of those before it (ISO/IEC 7812-1, annex B): every second digit from the
/// right is doubled, and the digits of all add up to a multiple of ten.
fn has_check_digit(number: &str) -> bool {
    let digits = number.bytes().rev().map(|byte| u32::from(byte.wrapping_sub(b'0')));
    let sum: u32 = digits
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => digit,
            _ => digit * 2 / 10 + digit * 2 % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

macro_rules! length_rules {
    ($($digits:literal)*) => { [$(concat!("must have ", $digits, " digits")),*] };
}

/// What is said of a number's length, by how many digits it must have.
const LENGTH_RULES: [&str; LONGEST] = length_rules![
    1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32
];

fn length_rule(mut lengths: impl Iterator<Item = usize>) -> &'static str {
    let first = lengths.next().unwrap_or_default();
    let one =
        lengths.all(|length| length == first).then(|| LENGTH_RULES.get(first.wrapping_sub(1))).flatten();
    one.copied().unwrap_or("must have as many digits as one of these cards")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_digit_is_that_of_the_standard() {
        // The example that everybody prints, and numbers with one digit changed or two exchanged.
        assert!(has_check_digit("79927398713"));
        for last in "012456789".chars() {
            assert!(!has_check_digit(&format!("7992739871{last}")), "{last}");
        }
        assert!(!has_check_digit("79927398731"));
        assert!(has_check_digit("0") && !has_check_digit("1"));
    }
}
