//! Where each field of a code lies, and everything its structure must be.

use super::der;
use crate::{CodeError, ecdsa::Rs, lifetime::Lifetime, reader::Reader};

pub(crate) const VERSION: u8 = 0x02;

/// Bytes of the body without card number and card data.
const FIXED_BODY_LEN: usize = 71;
/// Bytes before the body.
const HEAD_LEN: usize = 4;

/// A code whose structure is in order. Neither times nor signatures were looked at.
#[derive(Clone, Copy)]
pub struct AlipayCode<'a> {
    /// Without the partner's prefix.
    code: &'a [u8],
    /// B, the length of what the issuer signed.
    body_len: usize,
    issuer_signature_len: usize,
    pub(super) algorithm: u8,
    pub(super) key_id: u8,
    pub(super) user: &'a str,
    pub(super) user_key: &'a [u8; 25],
    pub(super) card_type: &'a [u8; 8],
    pub(super) lifetime: Lifetime,
    pub(super) issuer_signature: Rs<'a>,
    pub(super) user_signature: Rs<'a>,
}

impl<'a> AlipayCode<'a> {
    /// Reads a code from its version byte on. [`CodeError::Malformed`] names the first field that is not as the table
    /// says.
    pub fn parse(code: &'a [u8]) -> Result<Self, CodeError> {
        let mut reader = Reader::new(code);
        if reader.u8() != Some(VERSION) {
            return Err(malformed("version", "must be 02"));
        }
        let algorithm = reader.u8().ok_or(CUT_SHORT)?;
        let key_id = reader.u8().ok_or(CUT_SHORT)?;
        let body_len = usize::from(reader.u8().ok_or(CUT_SHORT)?);
        let user = ascii(reader.array::<16>().ok_or(CUT_SHORT)?, "user id")?;
        let authorized_until = reader.u32().ok_or(CUT_SHORT)?;
        let validity = reader.u16().ok_or(CUT_SHORT)?;
        let _limit_per_trip = reader.u16().ok_or(CUT_SHORT)?;
        let _identity_info = reader.u32().ok_or(CUT_SHORT)?;
        let _code_issuer = reader.u32().ok_or(CUT_SHORT)?;
        let _reserved = reader.u32().ok_or(CUT_SHORT)?;
        let user_key = reader.array().ok_or(CUT_SHORT)?;
        let card_type = reader.array().ok_or(CUT_SHORT)?;
        ascii(card_type, "card type")?;
        let card_number = counted(&mut reader)?;
        ascii(card_number, "card number")?;
        let card_data = counted(&mut reader)?;
        if body_len != FIXED_BODY_LEN + card_number.len() + card_data.len() {
            return Err(malformed("body length", "must be 71 and the lengths of card number and card data"));
        }
        let issuer_bytes = counted(&mut reader)?;
        let issuer_signature = der::parse(issuer_bytes).ok_or(malformed("issuer signature", NOT_DER))?;
        if reader.u8().ok_or(CUT_SHORT)? != 4 {
            return Err(malformed("generation time length", "must be 4"));
        }
        let generated_at = reader.u32().ok_or(CUT_SHORT)?;
        let user_signature = der::parse(counted(&mut reader)?).ok_or(malformed("user signature", NOT_DER))?;
        if !reader.is_empty() {
            return Err(malformed("length", "nothing may follow the user signature"));
        }
        Ok(Self {
            code,
            body_len,
            issuer_signature_len: issuer_bytes.len(),
            algorithm,
            key_id,
            user,
            user_key,
            card_type,
            lifetime: Lifetime { authorized_until, validity, generated_at },
            issuer_signature,
            user_signature,
        })
    }

    /// What the issuer signed: [4, 4+B).
    pub(super) fn issuer_message(&self) -> &'a [u8] {
        self.part(HEAD_LEN, self.issuer_message_end())
    }

    /// What the issuer made, its signature included. The same in every code a phone shows until its authorization ends.
    pub(super) fn issuer_levels(&self) -> &'a [u8] {
        self.part(0, self.issuer_levels_end())
    }

    /// What the phone signed: everything before the length of its signature.
    pub(super) fn user_message(&self) -> &'a [u8] {
        self.part(0, self.issuer_levels_end() + 1 + 4)
    }

    const fn issuer_message_end(&self) -> usize {
        HEAD_LEN + self.body_len
    }

    const fn issuer_levels_end(&self) -> usize {
        self.issuer_message_end() + 1 + self.issuer_signature_len
    }

    fn part(&self, start: usize, end: usize) -> &'a [u8] {
        // Never absent: every field was read. An empty message would only fail to verify.
        self.code.get(start..end).unwrap_or_default()
    }
}

const CUT_SHORT: CodeError = malformed("length", "the code is cut short");
const NOT_DER: &str = "must be the DER of two positive integers";

const fn malformed(field: &'static str, rule: &'static str) -> CodeError {
    CodeError::Malformed { field, rule }
}

/// One byte that says how many follow.
fn counted<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], CodeError> {
    let len = reader.u8().ok_or(CUT_SHORT)?;
    reader.slice(usize::from(len)).ok_or(CUT_SHORT)
}

fn ascii<'a>(bytes: &'a [u8], field: &'static str) -> Result<&'a str, CodeError> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii());
    text.ok_or(malformed(field, "must be ASCII"))
}
