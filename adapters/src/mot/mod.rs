//! `mot`: the three-level code of JT/T 1179, version byte `81`.
//!
//! A root vouches for an issuer's certificate, the issuer for a rider's authorization and key, the rider's
//! phone for the code of this moment. The layout was reconstructed from published validators that agree byte for
//! byte; the normative text was not at hand, so check against the standard before go-live.

mod certificate;
mod check;
mod fields;
mod layout;
pub mod trust;

pub(crate) use check::Signed;
pub use layout::MotCode;

use crate::{About, Accepted, Check, CodeError, Format, Partners, Profile, UnixSeconds};

/// The name in profiles, verdicts and conformance files.
pub const NAME: &str = "mot";

/// Every payload whose first byte is this or more.
pub(crate) const FIRST: u8 = 0x80;

/// The format.
#[derive(Debug, Clone, Copy)]
pub struct Mot;

impl Format for Mot {
    fn about(&self) -> &'static About {
        use Check::{
            Authorization, Certificate, Clock, Expiry, Issuer, IssuerSignature, Medium, RootSignature,
            Structure, UserSignature, Validity,
        };
        const CHECKS: [Check; 11] = [
            Structure,
            Medium,
            Issuer,
            Certificate,
            Authorization,
            Validity,
            Clock,
            Expiry,
            RootSignature,
            IssuerSignature,
            UserSignature,
        ];
        &About { name: NAME, checks: &CHECKS, fields: fields::fields }
    }

    /// By the first byte. Text in UTF-8 may begin so too, and is nobody's code; no code is text, since `81` begins none.
    fn recognise<'p>(&self, payload: &[u8], partners: &'p Partners) -> Option<Option<&'p Profile>> {
        (*payload.first()? >= FIRST && std::str::from_utf8(payload).is_err()).then(|| {
            let (platform, issuer) = layout::peek(payload)?;
            partners.by_mot(platform, issuer)
        })
    }

    fn accept<'a>(
        &self,
        payload: &'a [u8],
        partner: Option<&'a Profile>,
        partners: &'a Partners,
        now: UnixSeconds,
    ) -> Result<Accepted<'a>, CodeError> {
        let code = MotCode::parse(payload)?;
        check::accept(code, partner, partners.mot(), now).map(Into::into)
    }
}
