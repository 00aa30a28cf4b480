//! When a code can be used. Every format that says so itself says it in these fields, under the same limits.

use crate::{CodeError, UnixSeconds};

/// Longest validity a code may claim, in seconds.
pub const MAX_VALIDITY_S: u16 = 1200;

/// How far a phone's clock may be ahead of ours, in seconds.
pub const FUTURE_SKEW_S: u32 = 20;

/// The times a code carries.
#[derive(Clone, Copy)]
pub(crate) struct Lifetime {
    /// Unix seconds; the issuer's.
    pub(crate) authorized_until: u32,
    /// Seconds; the issuer's.
    pub(crate) validity: u16,
    /// Unix seconds; the phone's.
    pub(crate) generated_at: u32,
}

impl Lifetime {
    /// Whether a code can be used at `now`, in the order of precedence.
    pub(crate) fn check(self, now: UnixSeconds) -> Result<(), CodeError> {
        if now > self.authorized_until() {
            return Err(CodeError::AuthorizationExpired);
        }
        if self.validity > MAX_VALIDITY_S {
            return Err(CodeError::ValidityTooLong);
        }
        if self.generated_at() > now.plus(i64::from(FUTURE_SKEW_S)) {
            return Err(CodeError::NotYetValid);
        }
        if now > self.expires_at() {
            return Err(CodeError::CodeExpired);
        }
        Ok(())
    }

    pub(crate) fn authorized_until(self) -> UnixSeconds {
        UnixSeconds(i64::from(self.authorized_until))
    }

    pub(crate) fn generated_at(self) -> UnixSeconds {
        UnixSeconds(i64::from(self.generated_at))
    }

    pub(crate) fn expires_at(self) -> UnixSeconds {
        self.generated_at().plus(i64::from(self.validity))
    }
}
