//! The formats there are.

use crate::{
    About, CodeError, IssuerMemory, OnlineCode, Partners, Profile, RideCode, UnixSeconds, alipay::Alipay,
    emv_cpm::EmvCpm, mot::Mot, opaque::Opaque, unionpay_token::UnionpayToken,
};

/// A family of ride codes. One file or folder each, a unit struct, and an entry in [`FORMATS`].
pub trait Format: Sync {
    /// Its name, its checks and its fields.
    fn about(&self) -> &'static About;

    /// Whether these bytes are this family's, and whose they say they are. Cheap: it decides which partner's
    /// budget pays for the rest, before anything else is looked at.
    fn recognise<'p>(&self, payload: &[u8], partners: &'p Partners) -> Option<Option<&'p Profile>>;

    /// Checks everything: all structure, then all times, then all signatures.
    fn open(
        &self,
        payload: &[u8],
        partner: Option<&Profile>,
        partners: &Partners,
        now: UnixSeconds,
        memory: &dyn IssuerMemory,
    ) -> Result<Opened, CodeError>;
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
