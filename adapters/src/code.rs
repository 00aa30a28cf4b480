//! What a checked ride code says.

use std::fmt;

use crate::{Bcd8, CardKind, PartnerId, alipay, mot, online};

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

/// Words that name a rider. They print as `…`; who needs them says so with `expose`.
macro_rules! hidden {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Wraps the words.
            pub fn new(text: impl Into<Box<str>>) -> Self {
                Self(text.into())
            }

            /// The words themselves. Never for a log, metric, error or key in clear.
            pub const fn expose(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )*};
}

hidden! {
    /// A rider's account with an issuer: digits or letters.
    Account
    /// Who issued an account, in a partner's own words.
    IssuerName
    /// Names one code, in a partner's own words: the rider's next code has another.
    CodeId
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
    /// A code that only its partner can read, whatever its format: the account as the partner's system names it.
    Online {
        /// Who issued the account; empty where the partner itself did.
        issuer: IssuerName,
        /// The account.
        account: Account,
    },
    /// A card. It is the same whichever partner links it.
    Card {
        /// What kind of card.
        kind: CardKind,
        /// Who issued it.
        issuer: Bcd8,
        /// The card number: digits.
        number: Account,
    },
}

impl Medium {
    /// The medium of this kind, by its name; `None` if there is no such kind, or it has no such issuer. The account is
    /// taken as it is.
    pub fn of_kind(kind: &str, issuer: &str, account: Account) -> Option<Self> {
        if let Some(kind) = CardKind::ALL.into_iter().find(|card| card.name() == kind) {
            return Some(Self::Card { kind, issuer: issuer.parse().ok()?, number: account });
        }
        match kind {
            mot::NAME => Some(Self::MotCode { issuer: issuer.parse().ok()?, account }),
            alipay::NAME => issuer.is_empty().then_some(Self::AlipayCode { user: account }),
            online::KIND => Some(Self::Online { issuer: IssuerName::new(issuer), account }),
            _ => None,
        }
    }

    /// Its issuer in words, as [`of_kind`](Self::of_kind) takes it.
    pub fn issuer_words(&self) -> String {
        match self {
            Self::MotCode { issuer, .. } | Self::Card { issuer, .. } => issuer.to_string(),
            Self::AlipayCode { .. } => String::new(),
            Self::Online { issuer, .. } => issuer.expose().to_owned(),
        }
    }

    /// Its kind's name, as links' keys hold it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::MotCode { .. } => mot::NAME,
            Self::AlipayCode { .. } => alipay::NAME,
            Self::Online { .. } => online::KIND,
            Self::Card { kind, .. } => kind.name(),
        }
    }

    /// The issuer's number, of a MOT code or a card.
    pub const fn issuer(&self) -> Option<Bcd8> {
        match self {
            Self::MotCode { issuer, .. } | Self::Card { issuer, .. } => Some(*issuer),
            Self::AlipayCode { .. } | Self::Online { .. } => None,
        }
    }

    /// The issuer as keys hold it; empty where the partner itself is.
    pub const fn issuer_bytes(&self) -> &[u8] {
        match self {
            Self::MotCode { issuer, .. } | Self::Card { issuer, .. } => issuer.as_bytes(),
            Self::AlipayCode { .. } => &[],
            Self::Online { issuer, .. } => issuer.expose().as_bytes(),
        }
    }

    /// The account.
    pub const fn account(&self) -> &Account {
        match self {
            Self::MotCode { account, .. } | Self::Online { account, .. } => account,
            Self::AlipayCode { user } => user,
            Self::Card { number, .. } => number,
        }
    }
}

/// A code that was found in order: here, with its structure, times and signatures, or by the partner who alone can read
/// it.
///
/// Only [`Signed::verify`](crate::Signed::verify) and [`OnlineCode::read`](crate::OnlineCode::read) make one, so holding it is
/// the proof.
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
    /// What the partner calls this code, of one that only the partner can read.
    pub id: Option<CodeId>,
    /// When the phone made it.
    pub generated_at: UnixSeconds,
    /// The last second in which it is valid.
    pub expires_at: UnixSeconds,
    /// The last second in which the issuer lets this phone make codes, where the code says so.
    pub authorized_until: Option<UnixSeconds>,
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
