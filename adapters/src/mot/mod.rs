//! `mot`: the three-level code of JT/T 1179, version byte `81`.
//!
//! A root vouches for an issuer's certificate, the issuer for a rider's authorization and key, the rider's
//! phone for the code of this moment. The layout was reconstructed from published validators that agree byte for
//! byte; the normative text was not at hand, so check against the standard before go-live.

mod certificate;
mod check;
mod layout;
pub mod trust;

pub use layout::MotCode;

use crate::{CodeError, Format, IssuerMemory, Partners, Profile, RideCode, UnixSeconds};

/// The name in profiles, verdicts and conformance files.
pub const NAME: &str = "mot";

/// The format.
#[derive(Debug, Clone, Copy)]
pub struct Mot;

impl Format for Mot {
    fn name(&self) -> &'static str {
        NAME
    }

    fn recognise<'p>(&self, payload: &[u8], partners: &'p Partners) -> Option<Option<&'p Profile>> {
        (*payload.first()? >= 0x80).then(|| {
            let (platform, issuer) = layout::peek(payload)?;
            partners.by_mot(platform, issuer)
        })
    }

    fn open(
        &self,
        payload: &[u8],
        partner: Option<&Profile>,
        partners: &Partners,
        now: UnixSeconds,
        memory: &dyn IssuerMemory,
    ) -> Result<RideCode, CodeError> {
        let code = MotCode::parse(payload)?;
        let accepted = check::accept(&code, partner, partners.mot(), now)?;
        accepted.verify(memory)?;
        Ok(accepted.into_ride_code())
    }
}
