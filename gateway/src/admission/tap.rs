//! One tap, in a shape that can be used.

use prost::bytes::Bytes;
use ridegate_adapters::{Account, Bcd8, CardKind, Medium, RefusedMedium};

use super::{FieldError, identity::Validator};
use crate::domain::passage::Passage;

/// The longest ride code, in bytes.
pub const MAX_CODE_LEN: usize = 4096;
/// The longest request id, location or gate id, in characters.
pub const MAX_ID_LEN: usize = 64;

/// A tap that was looked at: every field is there and none is too long.
pub struct Tap {
    /// The caller's id for it; a retry repeats it.
    pub request_id: String,
    /// What the rider showed.
    pub shown: Shown,
    /// Where and which way.
    pub passage: Passage,
    /// Which reader.
    pub device: Device,
}

/// What a rider shows.
pub enum Shown {
    /// The bytes of a ride code, at most [`MAX_CODE_LEN`].
    Code(Bytes),
    /// A card.
    Card(Card),
    /// Something that is not accepted (D3).
    Refused(RefusedMedium),
}

/// A card as it was read. Nobody has said that it is genuine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// What kind of card.
    pub kind: CardKind,
    /// Who issued it.
    pub issuer: Bcd8,
    /// Its number: 1 to 32 digits.
    pub number: Account,
}

impl Card {
    /// What it stands for.
    pub fn medium(&self) -> Medium {
        Medium::Card { kind: self.kind, issuer: self.issuer, number: self.number.clone() }
    }
}

/// A reader: a validator, or one gate of a station computer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The validator or station computer.
    pub validator: Validator,
    /// The gate it speaks for; empty if it speaks for itself.
    pub gate: String,
}

impl Device {
    /// What tells it from every other.
    pub(crate) fn parts(&self) -> [&[u8]; 3] {
        [self.validator.operator.as_bytes(), self.validator.device.as_bytes(), self.gate.as_bytes()]
    }
}

impl Tap {
    /// Looks at a tap's fields.
    pub fn new(
        request_id: String,
        shown: Shown,
        passage: Passage,
        device: Device,
    ) -> Result<Self, FieldError> {
        if request_id.is_empty() || is_too_long(&request_id) {
            return Err(FieldError::new("request_id", "must have 1 to 64 characters"));
        }
        if matches!(&shown, Shown::Code(payload) if payload.len() > MAX_CODE_LEN) {
            return Err(FieldError::new("qr_code", "must have at most 4096 bytes"));
        }
        if is_too_long(&passage.location) {
            return Err(FieldError::new("location", "must have at most 64 characters"));
        }
        if is_too_long(&device.gate) {
            return Err(FieldError::new("device_id", "must have at most 64 characters"));
        }
        Ok(Self { request_id, shown, passage, device })
    }
}

pub(super) fn is_too_long(text: &str) -> bool {
    text.chars().nth(MAX_ID_LEN).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::passage::Direction;

    fn tap(request_id: &str, payload: usize, location: &str, gate: &str) -> Result<(), String> {
        let validator = Validator { operator: "o".into(), device: "d".into() };
        let passage = Passage { direction: Direction::Entry, location: location.into() };
        let device = Device { validator, gate: gate.into() };
        let shown = Shown::Code(vec![0; payload].into());
        Tap::new(request_id.into(), shown, passage, device).map(drop).map_err(|e| e.field)
    }

    #[test]
    fn bounds_are_inclusive_and_count_characters() {
        let longest = "站".repeat(64);
        let longer = "x".repeat(65);
        assert_eq!(tap(&longest, 4096, &longest, &longest), Ok(()));
        assert_eq!(tap("", 1, "", ""), Err("request_id".into()));
        assert_eq!(tap(&longer, 1, "", ""), Err("request_id".into()));
        assert_eq!(tap("r", 4097, "", ""), Err("qr_code".into()));
        assert_eq!(tap("r", 1, &longer, ""), Err("location".into()));
        assert_eq!(tap("r", 1, "", &longer), Err("device_id".into()));
    }
}
