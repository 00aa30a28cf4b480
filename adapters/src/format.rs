//! The formats there are.

use crate::{CodeError, IssuerMemory, Partners, Profile, RideCode, UnixSeconds, alipay::Alipay, mot::Mot};

/// A family of ride codes. One file or folder each, a unit struct, and an entry in [`FORMATS`].
pub trait Format: Sync {
    /// Its name in profiles, verdicts and conformance files.
    fn name(&self) -> &'static str;

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
    ) -> Result<RideCode, CodeError>;
}

/// Every format, asked in this order; no two claim the same bytes.
pub const FORMATS: &[&dyn Format] = &[&Mot, &Alipay];
