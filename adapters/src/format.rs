//! The formats there are.

use std::fmt;

use crate::{
    About, CodeError, IssuerMemory, OnlineCode, Partners, Profile, RideCode, UnixSeconds,
    alipay::{self, Alipay},
    emv_cpm::EmvCpm,
    mot::{self, Mot},
    opaque::Opaque,
    unionpay_token::UnionpayToken,
};

/// A family of ride codes. One file or folder each, a unit struct, and an entry in [`FORMATS`].
pub trait Format: Sync {
    /// Its name, its checks and its fields.
    fn about(&self) -> &'static About;

    /// Whether these bytes are this family's, and whose they say they are. Cheap: it decides which partner's
    /// budget pays for the rest, before anything else is looked at.
    fn recognise<'p>(&self, payload: &[u8], partners: &'p Partners) -> Option<Option<&'p Profile>>;

    /// Checks everything that costs no signature: all structure, then whom it is trusted from, then all times.
    fn accept<'a>(
        &self,
        payload: &'a [u8],
        partner: Option<&'a Profile>,
        partners: &'a Partners,
        now: UnixSeconds,
    ) -> Result<Accepted<'a>, CodeError>;
}

/// A code that could be used now, as far as can be seen without a signature.
#[derive(Debug)]
pub enum Accepted<'a> {
    /// If its signatures are good.
    Signed(Signed<'a>),
    /// If its partner says so.
    Online(OnlineCode),
}

/// A code that could be used now if its signatures are good.
pub struct Signed<'a>(Kind<'a>);

enum Kind<'a> {
    Mot(mot::Signed<'a>),
    Alipay(alipay::Signed<'a>),
}

impl<'a> From<mot::Signed<'a>> for Accepted<'a> {
    fn from(code: mot::Signed<'a>) -> Self {
        Self::Signed(Signed(Kind::Mot(code)))
    }
}

impl<'a> From<alipay::Signed<'a>> for Accepted<'a> {
    fn from(code: alipay::Signed<'a>) -> Self {
        Self::Signed(Signed(Kind::Alipay(code)))
    }
}

impl Signed<'_> {
    /// Verifies the signatures that `memory` does not already vouch for, from the root down.
    pub fn verify(self, memory: &dyn IssuerMemory) -> Result<RideCode, CodeError> {
        match self.0 {
            Kind::Mot(code) => code.verify(memory),
            Kind::Alipay(code) => code.verify(memory),
        }
    }
}

/// Never what is inside: a rider showed it.
impl fmt::Debug for Signed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signed(…)")
    }
}

/// What opening a code comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// Everything was checked.
    Checked(RideCode),
    /// Its form is in order; the partner must be asked for the rest.
    Online(OnlineCode),
}

/// Every format, asked in this order; no two claim the same bytes.
pub const FORMATS: &[&dyn Format] = &[&Mot, &Alipay, &EmvCpm, &UnionpayToken, &Opaque];
