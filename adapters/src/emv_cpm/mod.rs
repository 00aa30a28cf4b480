//! `emv-cpm`: a card in a phone, shown as a QR code (`EMVCo`, Consumer-Presented Mode).
//!
//! Base64 of BER-TLV. The AID says which scheme, the first digits of the card number (IIN, ISO/IEC 7812) which
//! partner. The cryptogram inside can only be checked by who issued the card, so the answer here is never more than
//! *needs the partner*. The card number goes to the partner inside the code, and nowhere else.

mod fields;
mod layout;
mod pan;
mod tlv;

pub(crate) use layout::BEGINS;
pub use layout::CpmCode;

use serde::Deserialize;

use crate::{About, Accepted, Check, CodeError, Format, Iin, OnlineCode, Partners, Profile, UnixSeconds};

/// The name in profiles, verdicts and conformance files.
pub const NAME: &str = "emv-cpm";

/// The format.
#[derive(Debug, Clone, Copy)]
pub struct EmvCpm;

/// How a partner shows consumer-presented codes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpmIssuing {
    /// How its schemes' application identifiers begin.
    pub aids: Vec<AidPrefix>,
    /// How its card numbers begin.
    pub iins: Vec<Iin>,
}

/// How application identifiers of a scheme begin: 5 to 16 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AidPrefix(Box<[u8]>);

impl TryFrom<String> for AidPrefix {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = hex::decode(text).ok().filter(|bytes| (5..=16).contains(&bytes.len()));
        bytes
            .map(|bytes| Self(bytes.into()))
            .ok_or("expected an AID or its beginning: 5 to 16 bytes in hexadecimal")
    }
}

impl AidPrefix {
    /// Whether some AID begins like both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }

    pub(crate) fn begins(&self, aid: &[u8]) -> bool {
        aid.starts_with(&self.0)
    }
}

impl std::fmt::Display for AidPrefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The partner of the first application that is anybody's. All are looked at: structure comes before the medium.
fn partner<'p>(code: &CpmCode<'_>, partners: &'p Partners) -> Result<&'p Profile, CodeError> {
    let mut found = Err(CodeError::UnsupportedMedium { field: "AID" });
    for application in code.applications().filter(|application| partners.knows_aid(application.aid)) {
        let pan = application.pan.ok_or(layout::malformed("PAN", "must be in 57 or 5A"))?;
        if found.is_err() {
            let partner = partners.by_cpm(application.aid, pan.digits());
            found = partner.ok_or(CodeError::UnsupportedMedium { field: "IIN" });
        }
    }
    found
}

/// Everything that can be told of a payload here.
fn read<'p>(payload: &[u8], partners: &'p Partners) -> Result<&'p Profile, CodeError> {
    let bytes = layout::decode(payload)?;
    partner(&CpmCode::parse(&bytes)?, partners)
}

impl Format for EmvCpm {
    fn about(&self) -> &'static About {
        &About { name: NAME, checks: &[Check::Structure, Check::Medium], fields: fields::fields }
    }

    /// By its first bytes; whose it is, by reading all of it: the card number is inside.
    fn recognise<'p>(&self, payload: &[u8], partners: &'p Partners) -> Option<Option<&'p Profile>> {
        payload.starts_with(BEGINS).then(|| read(payload, partners).ok())
    }

    fn accept<'a>(
        &self,
        payload: &'a [u8],
        partner: Option<&'a Profile>,
        partners: &'a Partners,
        _: UnixSeconds,
    ) -> Result<Accepted<'a>, CodeError> {
        // Whose it is was found by reading all of it; only what is wrong with it is still to be told.
        let partner = partner.map_or_else(|| read(payload, partners), Ok)?;
        Ok(Accepted::Online(OnlineCode::new(&partner.id, NAME)))
    }
}
