//! What a checked ride code says.

use std::fmt;

use crate::{Bcd8, PartnerId, alipay, mot};

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

/// What a rider shows, and the account it stands for: together with the partner, whom a link is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Medium {
    /// A MOT code.
    MotCode {
        /// Card issuer (JT/T 1179 field 6).
        issuer: Bcd8,
        /// Card account (JT/T 1179 field 5): 20 digits.
        account: Account,
    },
    /// An Alipay code. Whose app shows it issues the account; the field "code issuer" is not part of it.
    AlipayCode {
        /// User id: 16 ASCII characters.
        user: Account,
    },
}

impl Medium {
    /// Its kind's name: the format's.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::MotCode { .. } => mot::NAME,
            Self::AlipayCode { .. } => alipay::NAME,
        }
    }

    /// Who issued the account, if not the partner itself.
    pub const fn issuer(&self) -> Option<Bcd8> {
        match self {
            Self::MotCode { issuer, .. } => Some(*issuer),
            Self::AlipayCode { .. } => None,
        }
    }

    /// The issuer as keys hold it; empty where the partner itself is.
    pub const fn issuer_bytes(&self) -> &[u8] {
        match self {
            Self::MotCode { issuer, .. } => issuer.as_bytes(),
            Self::AlipayCode { .. } => &[],
        }
    }

    /// The account.
    pub const fn account(&self) -> &Account {
        match self {
            Self::MotCode { account, .. } => account,
            Self::AlipayCode { user } => user,
        }
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
    /// What was shown, and the account it stands for.
    pub medium: Medium,
    /// Code platform (JT/T 1179 field 7), of a MOT code.
    pub platform: Option<Bcd8>,
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
