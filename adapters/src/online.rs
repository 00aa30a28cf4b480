//! Codes that only their partner can read, over the network: what is known of them before, and after.

use crate::{
    Account, CodeError, CodeId, FUTURE_SKEW_S, IssuerName, MAX_VALIDITY_S, Medium, PartnerId, RideCode,
    UnixSeconds,
};

/// The kind of medium that all such codes are: an account as the partner's system names it, whatever its app shows.
pub(crate) const KIND: &str = "online";

/// A code whose form is in order. Whether it is genuine only its partner can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlineCode {
    partner: PartnerId,
    format: &'static str,
}

/// What a partner says of a code that it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    medium: Medium,
    id: CodeId,
    generated_at: UnixSeconds,
    expires_at: UnixSeconds,
}

/// An account as a partner's system names it: who issued it, up to 64 characters and empty where the partner itself
/// did; and 1 to 128 characters. Which of the two does not fit, and what it must be, if one does not.
pub fn online_medium(issuer: &str, account: &str) -> Result<Medium, (&'static str, &'static str)> {
    if issuer.chars().nth(64).is_some() {
        return Err(("issuer", "must have at most 64 characters"));
    }
    if account.is_empty() || account.chars().nth(128).is_some() {
        return Err(("account", "must have 1 to 128 characters"));
    }
    Ok(Medium::Online { issuer: IssuerName::new(issuer), account: Account::new(account) })
}

impl Reading {
    /// Looks at a partner's words. Refuses what no code can be, naming the field and what it must be.
    pub fn new(
        medium: Medium,
        code_id: &str,
        generated_at: UnixSeconds,
        expires_at: UnixSeconds,
    ) -> Result<Self, (&'static str, &'static str)> {
        if code_id.is_empty() || code_id.chars().nth(128).is_some() {
            return Err(("code_id", "must have 1 to 128 characters"));
        }
        if !(0..=i64::from(MAX_VALIDITY_S)).contains(&expires_at.0.saturating_sub(generated_at.0)) {
            return Err(("expires_at", "must be within 1200 s after generated_at"));
        }
        Ok(Self { medium, id: CodeId::new(code_id), generated_at, expires_at })
    }
}

impl Reading {
    /// Whether the code's time is over.
    pub fn is_over(&self, now: UnixSeconds) -> bool {
        now > self.expires_at
    }
}

impl OnlineCode {
    pub(crate) fn new(partner: &PartnerId, format: &'static str) -> Self {
        Self { partner: partner.clone(), format }
    }

    /// Who can read it.
    pub const fn partner(&self) -> &PartnerId {
        &self.partner
    }

    /// The format's name.
    pub const fn format(&self) -> &'static str {
        self.format
    }

    /// The code, as its partner has read it, if it can be used at `now`.
    pub fn read(self, reading: Reading, now: UnixSeconds) -> Result<RideCode, CodeError> {
        let Reading { medium, id, generated_at, expires_at } = reading;
        if generated_at > now.plus(i64::from(FUTURE_SKEW_S)) {
            return Err(CodeError::NotYetValid);
        }
        if now > expires_at {
            return Err(CodeError::CodeExpired);
        }
        Ok(RideCode {
            partner: self.partner,
            format: self.format,
            medium,
            platform: None,
            id: Some(id),
            generated_at,
            expires_at,
            authorized_until: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixSeconds = UnixSeconds(1_000);

    fn reading(code_id: &str, lives: i64) -> Result<Reading, &'static str> {
        let medium = online_medium("", "account").unwrap();
        Reading::new(medium, code_id, AT, AT.plus(lives)).map_err(|(field, _)| field)
    }

    fn read(now: UnixSeconds) -> Result<RideCode, CodeError> {
        OnlineCode::new(&PartnerId::new("x").unwrap(), "opaque").read(reading("1", 60).unwrap(), now)
    }

    #[test]
    fn what_no_code_can_be_is_refused_by_its_field() {
        assert!(reading("1", 0).is_ok() && reading("1", 1200).is_ok());
        assert_eq!(reading("", 60), Err("code_id"));
        assert_eq!(reading(&"码".repeat(129), 60), Err("code_id"));
        assert!(reading(&"码".repeat(128), 60).is_ok());
        assert_eq!(reading("1", -1), Err("expires_at"));
        assert_eq!(reading("1", 1201), Err("expires_at"));
        assert_eq!(online_medium("", "").unwrap_err().0, "account");
        assert_eq!(online_medium("", &"x".repeat(129)).unwrap_err().0, "account");
        assert_eq!(online_medium(&"x".repeat(65), "x").unwrap_err().0, "issuer");
        assert!(online_medium(&"x".repeat(64), &"x".repeat(128)).is_ok());
    }

    #[test]
    fn a_code_lives_from_its_making_to_its_end() {
        assert_eq!(read(AT.plus(-21)), Err(CodeError::NotYetValid));
        assert!(read(AT.plus(-20)).is_ok());
        assert!(read(AT.plus(60)).is_ok());
        assert_eq!(read(AT.plus(61)), Err(CodeError::CodeExpired));
    }

    #[test]
    fn nothing_of_it_prints() {
        let medium = online_medium("canary", "canary").unwrap();
        let reading = Reading::new(medium, "canary", AT, AT).unwrap();
        let printed = format!("{reading:?}");
        assert!(!printed.contains("canary"), "{printed}");
    }
}
