//! What a checked ride code says.

use std::fmt;

use crate::{Bcd8, PartnerId};

/// Seconds since 1970-01-01T00:00:00Z, the unit of every time inside a ride code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub i64);

impl UnixSeconds {
    /// This instant, `seconds` later.
    #[must_use]
    pub const fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

/// A rider's account with an issuer. It identifies a rider, so it prints as `Account(…)`; who needs the digits
/// says so with [`Account::expose`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Account(Box<str>);

impl Account {
    /// Wraps an account's digits or letters.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The account itself. Never for a log, metric, error or key in clear.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Account(…)")
    }
}

/// A code whose structure, times and signatures were all found in order.
///
/// Only [`Recognised::open`](crate::Recognised::open) makes one, so holding it is the proof.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RideCode {
    /// Whose app showed it.
    pub partner: PartnerId,
    /// The format's name, such as `mot`.
    pub format: &'static str,
    /// Card issuer (JT/T 1179 field 6).
    pub issuer: Bcd8,
    /// Code platform (JT/T 1179 field 7).
    pub platform: Bcd8,
    /// The rider's account with the issuer (JT/T 1179 field 5).
    pub account: Account,
    /// When the phone made it.
    pub generated_at: UnixSeconds,
    /// The last second in which it is valid.
    pub expires_at: UnixSeconds,
    /// The last second in which the issuer lets this phone make codes.
    pub authorized_until: UnixSeconds,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_never_prints() {
        let account = Account::new("31041234567890123456");
        assert_eq!(format!("{account:?}"), "Account(…)");
        assert_eq!(account.expose(), "31041234567890123456");
    }
}
