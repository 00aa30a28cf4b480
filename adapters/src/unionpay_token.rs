//! `unionpay-token`: digits that stand for a card, and that only who gave them out can read.

use serde::{Deserialize, Deserializer, de::Error as _};

use crate::{
    About, Accepted, Check, CodeError, Field, Format, Iin, OnlineCode, Partners, Profile, UnixSeconds,
    explain::{Form, Table},
};

/// The name in profiles, verdicts and conformance files.
pub const NAME: &str = "unionpay-token";

/// `UnionPay`'s own digits, with which every token begins.
pub(crate) const BEGINS: &[u8] = b"62";

/// The format.
#[derive(Debug, Clone, Copy)]
pub struct UnionpayToken;

/// How a partner shows tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenIssuing {
    /// How its tokens begin.
    #[serde(deserialize_with = "unionpays")]
    pub iins: Vec<Iin>,
}

fn unionpays<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Iin>, D::Error> {
    let iins = Vec::<Iin>::deserialize(deserializer)?;
    let all = iins.iter().all(|iin| iin.as_str().as_bytes().starts_with(BEGINS));
    if all {
        Ok(iins)
    } else {
        Err(D::Error::custom("expected IINs that begin with 62: no other token is UnionPay's"))
    }
}

/// Whether a payload is nothing but digits, and begins like one.
fn claims(payload: &[u8]) -> bool {
    payload.starts_with(BEGINS) && payload.iter().all(u8::is_ascii_digit)
}

impl Format for UnionpayToken {
    fn about(&self) -> &'static About {
        &About { name: NAME, checks: &[Check::Structure, Check::Medium], fields }
    }

    fn recognise<'p>(&self, payload: &[u8], partners: &'p Partners) -> Option<Option<&'p Profile>> {
        claims(payload).then(|| partners.by_token(payload))
    }

    fn accept<'a>(
        &self,
        payload: &'a [u8],
        partner: Option<&'a Profile>,
        _: &'a Partners,
        _: UnixSeconds,
    ) -> Result<Accepted<'a>, CodeError> {
        if !(16..=19).contains(&payload.len()) {
            return Err(CodeError::Malformed { field: "length", rule: "must be 16 to 19 digits" });
        }
        let partner = partner.ok_or(CodeError::UnsupportedMedium { field: "IIN" })?;
        Ok(Accepted::Online(OnlineCode::new(&partner.id, NAME)))
    }
}

fn fields(payload: &[u8], _: &Partners) -> Vec<Field> {
    let mut table = Table::of(payload);
    table.take("token", payload.len(), Form::HiddenText);
    table.end()
}
