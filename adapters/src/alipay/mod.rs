//! `alipay`: Alipay's offline code, and Tianjin's, which is the same after a prefix.
//!
//! A published key of the issuer vouches for a rider's authorization and key, the rider's phone for the code of this
//! moment. The phone signs with ECDSA over secp192k1 with SHA-1, and most issuers hash with SHA-1 too: both are weak
//! by today's measure, and accepted here because that is what the phones do. The layout was reconstructed from
//! published validators; check with the partner before go-live.

mod check;
mod der;
mod fields;
mod issuing;
mod layout;

pub(crate) use check::Signed;
pub use issuing::{AlipayIssuing, CardType, IssuerAlgorithm, Prefix, PublishedKey};
pub use layout::AlipayCode;
pub(crate) use layout::VERSION;

use crate::{About, Accepted, Check, CodeError, Format, Partners, Profile, UnixSeconds};

/// The name in profiles, verdicts and conformance files.
pub const NAME: &str = "alipay";

/// The format.
#[derive(Debug, Clone, Copy)]
pub struct Alipay;

impl Format for Alipay {
    fn about(&self) -> &'static About {
        use Check::{
            Authorization, Clock, Expiry, Issuer, IssuerSignature, Medium, Structure, UserSignature, Validity,
        };
        const CHECKS: [Check; 9] = [
            Structure,
            Medium,
            Issuer,
            Authorization,
            Validity,
            Clock,
            Expiry,
            IssuerSignature,
            UserSignature,
        ];
        &About { name: NAME, checks: &CHECKS, fields: fields::fields }
    }

    /// By a partner's prefix; without one, by the version.
    fn recognise<'p>(&self, payload: &[u8], partners: &'p Partners) -> Option<Option<&'p Profile>> {
        let claimed = partners.by_alipay(payload).map(|(_, partner)| partner);
        (claimed.is_some() || payload.first() == Some(&VERSION)).then_some(claimed)
    }

    fn accept<'a>(
        &self,
        payload: &'a [u8],
        partner: Option<&'a Profile>,
        partners: &'a Partners,
        now: UnixSeconds,
    ) -> Result<Accepted<'a>, CodeError> {
        let prefix_len = partners.by_alipay(payload).map_or(0, |(prefix, _)| prefix.len());
        let code = AlipayCode::parse(payload.get(prefix_len..).unwrap_or_default())?;
        check::accept(code, partner, now).map(Into::into)
    }
}
