//! Codes that only their partner can read, over the network: what is known of them before, and after.

use crate::{
    Account, CodeError, CodeId, FUTURE_SKEW_S, IssuerName, MAX_VALIDITY_S, Medium, PartnerId, RideCode,
    UnixSeconds, reader::Reader,
};

/// The kind of medium that all such codes are: an account as the partner's system names it, whatever its app shows.
pub(crate) const KIND: &str = "online";

/// Of a reading's bytes.
const VERSION: u8 = 1;

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

    /// For how long it can be used from `now` on, in seconds: to the end of its last one; 0 if its time is over, and
    /// never longer than a code may live and a phone's clock be ahead.
    pub fn lives_on(&self, now: UnixSeconds) -> u32 {
        let longest = u32::from(MAX_VALIDITY_S) + FUTURE_SKEW_S;
        let left = self.expires_at.0.saturating_sub(now.0).saturating_add(1);
        u32::try_from(left.max(0)).unwrap_or(longest).min(longest)
    }

    /// As it is kept outside this process; [`from_bytes`](Self::from_bytes) reads it. It names a rider: only sealed. A
    /// version; when it was made and when it ends, in seconds, 8 bytes each; issuer, account and code id, each after its
    /// length in 2 bytes. Numbers are big-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { medium, id, generated_at, expires_at } = self;
        let mut bytes = vec![VERSION];
        bytes.extend(generated_at.0.to_be_bytes());
        bytes.extend(expires_at.0.to_be_bytes());
        for words in [&*medium.issuer_words(), medium.account().expose(), id.expose()] {
            // At most 128 characters of 4 bytes.
            bytes.extend(u16::try_from(words.len()).unwrap_or(u16::MAX).to_be_bytes());
            bytes.extend(words.as_bytes());
        }
        bytes
    }

    /// What [`to_bytes`](Self::to_bytes) wrote, checked as a partner's own words are. `None` if it is anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != VERSION {
            return None;
        }
        let mut seconds = || Some(UnixSeconds(i64::from_be_bytes(*reader.array()?)));
        let (generated_at, expires_at) = (seconds()?, seconds()?);
        let mut words = || {
            let length = reader.u16()?;
            str::from_utf8(reader.slice(length.into())?).ok()
        };
        let (issuer, account, id) = (words()?, words()?, words()?);
        let medium = online_medium(issuer, account).ok().filter(|_| reader.is_empty())?;
        Self::new(medium, id, generated_at, expires_at).ok()
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
    use proptest::prelude::*;

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
    fn it_is_kept_to_the_end_of_its_last_second_and_never_longer_than_a_code_may_live() {
        let lives_on = |now| reading("1", 60).unwrap().lives_on(now);
        assert_eq!([AT, AT.plus(60), AT.plus(61), AT.plus(62)].map(lives_on), [61, 1, 0, 0]);
        assert_eq!(
            [UnixSeconds(i64::MIN), AT.plus(-1_000), UnixSeconds(i64::MAX)].map(lives_on),
            [1220, 1061, 0]
        );
    }

    /// Gateways of several versions share what was read.
    #[test]
    fn its_bytes_stay_as_they_are() {
        let medium = online_medium("i", "ac").unwrap();
        let bytes = Reading::new(medium, "id", AT, AT.plus(60)).unwrap().to_bytes();
        assert_eq!(
            bytes,
            [
                &[1][..],
                &[0, 0, 0, 0, 0, 0, 3, 0xe8, 0, 0, 0, 0, 0, 0, 4, 0x24],
                &[0, 1, b'i', 0, 2, b'a', b'c', 0, 2, b'i', b'd'],
            ]
            .concat()
        );
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_nothing_else_is(
            issuer in "\\PC{0,64}", account in "\\PC{1,128}", id in "\\PC{1,128}", made in any::<i64>(), lives in 0_i64..=1200,
        ) {
            let made = UnixSeconds(made.min(i64::MAX - 1200));
            let reading = Reading::new(online_medium(&issuer, &account).unwrap(), &id, made, made.plus(lives)).unwrap();
            let bytes = reading.to_bytes();
            prop_assert_eq!(Reading::from_bytes(&bytes), Some(reading));
            for end in 0..bytes.len() {
                prop_assert_eq!(Reading::from_bytes(&bytes[..end]), None);
            }
            prop_assert_eq!(Reading::from_bytes(&[&bytes[..], &[0]].concat()), None);
            prop_assert_eq!(Reading::from_bytes(&[&[2], &bytes[1..]].concat()), None);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), version in any::<bool>()) {
            let bytes = if version { [&[VERSION], &bytes[..]].concat() } else { bytes };
            if let Some(reading) = Reading::from_bytes(&bytes) {
                prop_assert_eq!(reading.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn nothing_of_it_prints() {
        let medium = online_medium("canary", "canary").unwrap();
        let reading = Reading::new(medium, "canary", AT, AT).unwrap();
        let printed = format!("{reading:?}");
        assert!(!printed.contains("canary"), "{printed}");
    }
}
