//! The sale of a single ticket, in a shape that can be used (D13).

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::{FieldError, tap::is_too_long};
use crate::domain::passage::{Direction, Passage};

/// A question whether a ticket may be sold.
#[derive(Debug)]
pub struct SaleRequest {
    /// Who buys.
    pub number: IdNumber,
    /// Where: whoever buys a ticket is on the way in.
    pub passage: Passage,
}

/// A resident identity number (GB 11643). It lives for one call, prints as `…`, and is wiped when it is dropped.
pub struct IdNumber(SecretString);

/// The number on a ticket. It leads to who bought it, so it prints as `…`.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketNumber(String);

impl SaleRequest {
    /// Looks at the fields.
    pub fn new(id_number: String, location: String) -> Result<Self, FieldError> {
        let number = IdNumber::new(id_number)?;
        if is_too_long(&location) {
            return Err(FieldError::new("location", "must have at most 64 characters"));
        }
        Ok(Self { number, passage: Passage { direction: Direction::Entry, location } })
    }
}

impl IdNumber {
    /// Takes a number whose check digit is right. Whether anybody has it the authority knows. A small x counts as X:
    /// people and keyboards write both, and one person must not be two.
    pub fn new(mut stated: String) -> Result<Self, FieldError> {
        stated.make_ascii_uppercase();
        let stated = SecretString::from(stated);
        match has_check_digit(stated.expose_secret()) {
            None => Err(FieldError::new("id_number", "must be 17 digits, and a digit or X that checks them")),
            Some(false) => {
                Err(FieldError::new("id_number", "must end in the digit or X that checks the others"))
            }
            Some(true) => Ok(Self(stated)),
        }
    }

    /// The number itself, for the authority only.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl TicketNumber {
    /// Takes a number of 1 to 64 characters.
    pub fn new(stated: String) -> Result<Self, FieldError> {
        if stated.is_empty() || is_too_long(&stated) {
            return Err(FieldError::new("ticket", "must have 1 to 64 characters"));
        }
        Ok(Self(stated))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Whether the last of 18 checks the others (ISO 7064, MOD 11-2); `None` if these are not 17 digits and a digit or X.
fn has_check_digit(number: &str) -> Option<bool> {
    let (digits, check) = number.as_bytes().split_first_chunk::<17>()?;
    let check = match check {
        [b'X'] => 10,
        [digit @ b'0'..=b'9'] => digit - b'0',
        _ => return None,
    };
    let sum = digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| (sum + digit.wrapping_sub(b'0')) * 2 % 11)
    })?;
    Some((sum + check) % 11 == 1)
}

impl fmt::Debug for IdNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl fmt::Debug for TicketNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standard's own examples.
    const GOOD: [&str; 2] = ["11010519491231002X", "440524188001010014"];

    #[track_caller]
    fn refused(number: &str) -> String {
        let error = IdNumber::new(number.to_owned()).unwrap_err();
        assert_eq!(error.field, "id_number");
        error.rule.to_owned()
    }

    #[test]
    fn a_number_is_17_digits_and_what_checks_them() {
        for good in GOOD {
            assert_eq!(IdNumber::new(good.to_owned()).unwrap().expose(), good);
        }
        let small = IdNumber::new(GOOD[0].to_lowercase()).unwrap();
        assert_eq!(small.expose(), GOOD[0], "a small x is the same number");
        for bad in
            ["", "X", "11010519491231002", "11010519491231002XX", "1101051949123100X2", "110105491231002"]
        {
            assert!(refused(bad).contains("17 digits"), "{bad}");
        }
        for bad in ["1101051949123100２X", "11010519491231002Y", " 1010519491231002X", "+1010519491231002X"]
        {
            assert!(refused(bad).contains("17 digits"), "{bad}");
        }
    }

    #[test]
    fn one_wrong_digit_or_two_that_changed_places_are_noticed() {
        for good in GOOD {
            for place in 0..18 {
                for other in "0123456789X".chars().filter(|other| place == 17 || *other != 'X') {
                    let mut wrong: Vec<_> = good.chars().collect();
                    wrong[place] = other;
                    let wrong: String = wrong.into_iter().collect();
                    let taken = IdNumber::new(wrong.clone()).is_ok();
                    assert_eq!(taken, wrong == good, "{wrong}");
                }
            }
            for place in 0..16 {
                let mut wrong: Vec<_> = good.chars().collect();
                wrong.swap(place, place + 1);
                let wrong: String = wrong.into_iter().collect();
                assert_eq!(IdNumber::new(wrong.clone()).is_ok(), wrong == good, "{wrong}");
            }
        }
    }

    #[test]
    fn nothing_prints_a_number() {
        let request = SaleRequest::new(GOOD[0].to_owned(), "xizhimen".to_owned()).unwrap();
        let printed = format!("{request:?} {:?}", TicketNumber::new("T-1".to_owned()).unwrap());
        assert!(
            printed.contains("xizhimen") && !printed.contains("1101") && !printed.contains("T-1"),
            "{printed}"
        );
        for field in [
            SaleRequest::new(GOOD[0].to_owned(), "x".repeat(65)),
            SaleRequest::new("1".into(), String::new()),
        ] {
            let error = field.unwrap_err().to_string();
            assert!(error.starts_with("location: ") || error.starts_with("id_number: "), "{error}");
        }
    }
}
