//! Field 3: the issuer's certificate, 117 bytes.

use crate::{Bcd8, CodeError, UnixSeconds, bcd::two_digits, reader::Reader};

const HEADER: u8 = 0x24;
const FORMAT: u8 = 0x12;
pub(super) const SM2: u8 = 0x04;
const KEY_LEN: u8 = 0x21;

/// A certificate whose structure is in order.
#[derive(Clone, Copy)]
pub(super) struct Certificate<'a> {
    pub(super) root_index: u8,
    pub(super) issuer: Bcd8,
    pub(super) expiry: Expiry,
    pub(super) serial: [u8; 3],
    pub(super) key: &'a [u8; 33],
    /// What the root signed: [6, 53) of the certificate. Header, service id and root index are not covered.
    pub(super) message: &'a [u8],
    pub(super) signature: &'a [u8; 64],
}

impl<'a> Certificate<'a> {
    pub(super) fn parse(bytes: &'a [u8; 117]) -> Result<Self, CodeError> {
        let mut reader = Reader::new(bytes);
        expect(&mut reader, HEADER, "certificate header", "must be 24")?;
        let _service_id: Option<&[u8; 4]> = reader.array();
        let root_index = reader.u8().ok_or(CUT_SHORT)?;
        expect(&mut reader, FORMAT, "certificate format", "must be 12")?;
        let issuer = Bcd8::from_bytes(*reader.array().ok_or(CUT_SHORT)?)
            .ok_or(malformed("certificate issuer", "must be 8 BCD digits"))?;
        let expiry = Expiry::parse(*reader.array().ok_or(CUT_SHORT)?)
            .ok_or(malformed("certificate expiry", "must be MMYY in BCD digits, the month 01 to 12"))?;
        let serial = *reader.array().ok_or(CUT_SHORT)?;
        expect(&mut reader, SM2, "certificate signature algorithm", "must be 04, SM2")?;
        expect(&mut reader, SM2, "certificate encryption algorithm", "must be 04, SM2")?;
        // The table says 00; 20 is seen in the field. Nothing else is known, and doubt is not trusted.
        if !matches!(reader.u8(), Some(0x00 | 0x20)) {
            return Err(malformed("certificate parameter", "must be 00 or 20"));
        }
        expect(&mut reader, KEY_LEN, "certificate key length", "must be 21")?;
        let key = reader.array().ok_or(CUT_SHORT)?;
        let signature = reader.array().ok_or(CUT_SHORT)?;
        let message = bytes.get(6..53).ok_or(CUT_SHORT)?;
        Ok(Self { root_index, issuer, expiry, serial, key, message, signature })
    }
}

const CUT_SHORT: CodeError = malformed("certificate", "is cut short");

const fn malformed(field: &'static str, rule: &'static str) -> CodeError {
    CodeError::Malformed { field, rule }
}

fn expect(
    reader: &mut Reader<'_>,
    byte: u8,
    field: &'static str,
    rule: &'static str,
) -> Result<(), CodeError> {
    if reader.u8() == Some(byte) { Ok(()) } else { Err(malformed(field, rule)) }
}

/// `MMYY`: valid through the last day of that month of 20YY, in Asia/Shanghai.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expiry(UnixSeconds);

impl Expiry {
    pub(super) fn parse([month, year]: [u8; 2]) -> Option<Self> {
        let (month, year) = (two_digits(month)?, two_digits(year)?);
        // China has had one offset and no summer time since 1991, so the offset needs no time zone database.
        let shanghai = jiff::tz::offset(8);
        let last_day = jiff::civil::Date::new(2000 + i16::from(year), i8::try_from(month).ok()?, 1)
            .ok()?
            .last_of_month();
        let end = last_day.at(23, 59, 59, 0);
        Some(Self(UnixSeconds(shanghai.to_timestamp(end).ok()?.as_second())))
    }

    pub(super) fn is_over(self, now: UnixSeconds) -> bool {
        now > self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn last_second(mmyy: [u8; 2], expect: &str) {
        let expect: jiff::Timestamp = expect.parse().unwrap();
        assert_eq!(Expiry::parse(mmyy).unwrap().0.0, expect.as_second());
    }

    #[test]
    fn a_month_ends_with_its_last_second_in_shanghai() {
        last_second([0x06, 0x22], "2022-06-30T23:59:59+08:00");
        last_second([0x12, 0x40], "2040-12-31T23:59:59+08:00");
        last_second([0x02, 0x24], "2024-02-29T23:59:59+08:00");
        last_second([0x02, 0x23], "2023-02-28T23:59:59+08:00");
        last_second([0x12, 0x99], "2099-12-31T23:59:59+08:00");
    }

    #[test]
    fn it_is_over_one_second_later() {
        let expiry = Expiry::parse([0x06, 0x22]).unwrap();
        assert!(!expiry.is_over(expiry.0));
        assert!(expiry.is_over(expiry.0.plus(1)));
    }

    #[test]
    fn what_is_no_month_is_refused() {
        for mmyy in [[0x00, 0x22], [0x13, 0x22], [0x0a, 0x22], [0x06, 0x2a], [0xa6, 0x22]] {
            assert_eq!(Expiry::parse(mmyy), None, "{mmyy:02x?}");
        }
    }
}
