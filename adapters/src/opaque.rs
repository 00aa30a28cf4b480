//! `opaque`: bytes of which nothing is public but how they look from outside. Only the partner can read them.

use serde::Deserialize;

use crate::{
    About, Accepted, Check, CodeError, Field, Format, Mark, OnlineCode, Partners, Profile, UnixSeconds,
    alipay, emv_cpm,
    explain::{Form, Table},
    mot, unionpay_token,
};

/// The name in profiles, verdicts and conformance files.
pub const NAME: &str = "opaque";

/// The longest payload there is, in bytes.
const LONGEST: usize = 4096;

/// The format.
#[derive(Debug, Clone, Copy)]
pub struct Opaque;

/// One way in which a partner's opaque payloads look.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Stated")]
pub struct OpaqueIssuing(Mark);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    begins: Option<String>,
    length: Option<usize>,
    first_byte: Option<String>,
}

impl TryFrom<Stated> for OpaqueIssuing {
    type Error = String;

    fn try_from(stated: Stated) -> Result<Self, String> {
        match stated {
            Stated { begins: Some(text), length: None, first_byte: None } => Self::begins(&text),
            Stated { begins: None, length: Some(length), first_byte: Some(first) } => {
                Self::sized(length, &first)
            }
            _ => Err("expected begins alone, or length and first_byte".into()),
        }
    }
}

impl OpaqueIssuing {
    /// Payloads that begin with this text: 2 to 16 printable ASCII characters. Refuses what another format claims.
    pub fn begins(text: &str) -> Result<Self, String> {
        let fits = (2..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            return Err("begins: expected 2 to 16 printable ASCII characters".into());
        }
        Self::nobody_elses(Mark::Begins(text.as_bytes().into()))
    }

    /// Payloads of so many bytes, 2 to 4096, that begin with this one, in hexadecimal. Refuses what another format
    /// claims.
    pub fn sized(length: usize, first_byte: &str) -> Result<Self, String> {
        let mut first = [0];
        hex::decode_to_slice(first_byte, &mut first)
            .map_err(|_| "first_byte: expected one byte in hexadecimal, such as \"01\"")?;
        if !(2..=LONGEST).contains(&length) {
            return Err(format!("length: expected 2 to {LONGEST} bytes"));
        }
        let [first] = first;
        Self::nobody_elses(Mark::Sized { length, first })
    }

    /// What its payloads look like.
    pub const fn mark(&self) -> &Mark {
        &self.0
    }

    fn nobody_elses(mark: Mark) -> Result<Self, String> {
        let others: [(&str, Box<[u8]>); 3] = [
            (alipay::NAME, [alipay::VERSION].into()),
            (emv_cpm::NAME, emv_cpm::BEGINS.into()),
            (unionpay_token::NAME, unionpay_token::BEGINS.into()),
        ];
        let first = match &mark {
            Mark::Begins(bytes) => bytes.first(),
            Mark::Sized { first, .. } => Some(first),
        };
        let mot = first.is_some_and(|first| *first >= mot::FIRST).then_some(mot::NAME);
        let other = others.into_iter().find(|(_, bytes)| Mark::Begins(bytes.clone()).overlaps(&mark));
        match mot.or(other.map(|(name, _)| name)) {
            Some(format) => Err(format!("{mark} may be {format} codes")),
            None => Ok(Self(mark)),
        }
    }
}

impl Format for Opaque {
    fn about(&self) -> &'static About {
        &About { name: NAME, checks: &[Check::Structure], fields }
    }

    fn recognise<'p>(&self, payload: &[u8], partners: &'p Partners) -> Option<Option<&'p Profile>> {
        partners.by_opaque(payload).map(|(_, partner)| Some(partner))
    }

    fn accept<'a>(
        &self,
        payload: &'a [u8],
        _: Option<&'a Profile>,
        partners: &'a Partners,
        _: UnixSeconds,
    ) -> Result<Accepted<'a>, CodeError> {
        let (mark, partner) = partners.by_opaque(payload).ok_or(CodeError::Unrecognized)?;
        if matches!(mark, Mark::Begins(bytes) if bytes.len() == payload.len()) {
            return Err(CodeError::Malformed { field: "content", rule: "must not be empty" });
        }
        Ok(Accepted::Online(OnlineCode::new(&partner.id, NAME)))
    }
}

fn fields(payload: &[u8], partners: &Partners) -> Vec<Field> {
    let mut table = Table::of(payload);
    if let Some((Mark::Begins(bytes), _)) = partners.by_opaque(payload) {
        table.take("begins with", bytes.len(), Form::Text);
        table.take("what only the partner can read", payload.len() - bytes.len(), Form::Unshown);
    } else {
        table.take("first byte", 1, Form::Hex);
        table.take("what only the partner can read", payload.len().saturating_sub(1), Form::Unshown);
    }
    table.end()
}
