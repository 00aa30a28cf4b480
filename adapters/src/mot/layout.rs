//! Where each field of a code lies, and everything its structure must be.

use super::certificate::Certificate;
use crate::{Bcd8, CodeError, bcd::is_bcd, lifetime::Lifetime, reader::Reader};

/// Bytes of a code without its custom domain.
const FIXED_LEN: usize = 332;
const MAX_CUSTOM_LEN: usize = 32;
/// Bytes before the custom domain; the last of them is its length.
const HEAD_LEN: usize = 198;
const SIGNATURE_LEN: usize = 65;

const VERSION: u8 = 0x81;

/// A code whose structure is in order. Neither times nor signatures were looked at.
#[derive(Clone, Copy)]
pub struct MotCode<'a> {
    payload: &'a [u8],
    pub(super) certificate: Certificate<'a>,
    pub(super) account: &'a [u8; 10],
    pub(super) issuer: Bcd8,
    pub(super) platform: Bcd8,
    pub(super) account_type: u8,
    pub(super) user_key: &'a [u8; 33],
    pub(super) lifetime: Lifetime,
    pub(super) issuer_signature: &'a [u8; 64],
    pub(super) user_signature: &'a [u8; 64],
}

impl<'a> MotCode<'a> {
    /// Reads fields 1 to 17. [`CodeError::Malformed`] names the first that is not as JT/T 1179 says.
    pub fn parse(payload: &'a [u8]) -> Result<Self, CodeError> {
        if payload.first() != Some(&VERSION) {
            return Err(malformed("version", "must be 81, the form with an issuer certificate"));
        }
        let custom_len = usize::from(*payload.get(HEAD_LEN - 1).ok_or(CUT_SHORT)?);
        if custom_len > MAX_CUSTOM_LEN {
            return Err(malformed("custom domain length", "must be at most 32"));
        }
        if payload.len() != FIXED_LEN + custom_len {
            return Err(malformed(
                "length",
                "the code must have 332 bytes and its custom domain, no more, no less",
            ));
        }
        Self::fields(payload, custom_len)
    }

    fn fields(payload: &'a [u8], custom_len: usize) -> Result<Self, CodeError> {
        let mut reader = Reader::new(payload);
        let _version = reader.u8();
        if reader.u16().map(usize::from) != Some(payload.len() - 3) {
            return Err(malformed("length", "must be the code's bytes less 3"));
        }
        let certificate = Certificate::parse(reader.array().ok_or(CUT_SHORT)?)?;
        let payment_account: &[u8; 16] = reader.array().ok_or(CUT_SHORT)?;
        if !payment_account.iter().all(|byte| (0x20..=0x7e).contains(byte)) {
            return Err(malformed("payment account", "must be printable ASCII"));
        }
        let account: &[u8; 10] = reader.array().ok_or(CUT_SHORT)?;
        if !is_bcd(account) {
            return Err(malformed("card account", "must be 20 BCD digits"));
        }
        let issuer = digits(&mut reader, "card issuer")?;
        let platform = digits(&mut reader, "code platform")?;
        let account_type = reader.u8().ok_or(CUT_SHORT)?;
        let _limit_per_trip: &[u8; 3] = reader.array().ok_or(CUT_SHORT)?;
        let user_key = reader.array().ok_or(CUT_SHORT)?;
        let authorized_until = reader.u32().ok_or(CUT_SHORT)?;
        let validity = reader.u16().ok_or(CUT_SHORT)?;
        let _custom_len = reader.u8();
        let _custom_domain = reader.slice(custom_len).ok_or(CUT_SHORT)?;
        let issuer_signature = signature(&mut reader)?;
        let generated_at = reader.u32().ok_or(CUT_SHORT)?;
        let user_signature = signature(&mut reader)?;
        debug_assert!(reader.is_empty(), "the length was checked against every field");
        Ok(Self {
            payload,
            certificate,
            account,
            issuer,
            platform,
            account_type,
            user_key,
            lifetime: Lifetime { authorized_until, validity, generated_at },
            issuer_signature,
            user_signature,
        })
    }

    /// What the issuer signed: [3, 198+L).
    pub(super) fn issuer_message(&self) -> &'a [u8] {
        self.part(3, SIGNATURE_LEN + 4 + SIGNATURE_LEN)
    }

    /// What the issuer made, its signature included: [0, 263+L). The same in every code a phone shows.
    pub(super) fn issuer_levels(&self) -> &'a [u8] {
        self.part(0, 4 + SIGNATURE_LEN)
    }

    /// What the phone signed: [0, 267+L).
    pub(super) fn user_message(&self) -> &'a [u8] {
        self.part(0, SIGNATURE_LEN)
    }

    /// The payload from `start` on, without the last `tail` bytes.
    fn part(&self, start: usize, tail: usize) -> &'a [u8] {
        // Never empty: the length was checked. An empty message would only fail to verify.
        self.payload.get(start..self.payload.len().saturating_sub(tail)).unwrap_or_default()
    }
}

const CUT_SHORT: CodeError = malformed("length", "the code is cut short");

const fn malformed(field: &'static str, rule: &'static str) -> CodeError {
    CodeError::Malformed { field, rule }
}

fn digits(reader: &mut Reader<'_>, field: &'static str) -> Result<Bcd8, CodeError> {
    let bytes = reader.array().ok_or(CUT_SHORT)?;
    Bcd8::from_bytes(*bytes).ok_or(malformed(field, "must be 8 BCD digits"))
}

/// A flag byte that means nothing, then r‖s.
fn signature<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8; 64], CodeError> {
    let _flag = reader.u8();
    reader.array().ok_or(CUT_SHORT)
}

/// Platform (field 7) and issuer (field 6) of bytes that were not checked yet.
pub(super) fn peek(payload: &[u8]) -> Option<(Bcd8, Bcd8)> {
    let mut reader = Reader::new(payload.get(146..)?);
    let issuer = Bcd8::from_bytes(*reader.array()?)?;
    let platform = Bcd8::from_bytes(*reader.array()?)?;
    Some((platform, issuer))
}
