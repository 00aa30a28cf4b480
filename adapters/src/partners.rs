//! All partners and whom they trust: what bytes are recognised against.

use std::{collections::HashMap, fmt};

use thiserror::Error;

use crate::{
    Bcd8, CodeError, FORMATS, Format, IssuerMemory, MotTrust, PartnerId, Profile, RideCode, UnixSeconds,
    alipay::{AlipayIssuing, Prefix},
};

/// The partners of one gateway, free of conflicts.
#[derive(Debug)]
pub struct Partners {
    profiles: Vec<Profile>,
    by_id: HashMap<PartnerId, usize>,
    by_mot: HashMap<(Bcd8, Bcd8), usize>,
    /// No two overlap.
    by_alipay: Vec<(Prefix, usize)>,
    mot: MotTrust,
}

/// Two profiles that cannot stand side by side.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum PartnerConflict {
    /// One name twice.
    #[error("two profiles are called {0}")]
    SameId(PartnerId),
    /// A code could belong to either.
    #[error("{first} and {second} both claim MOT platform {platform} with issuer {issuer}")]
    SameMot {
        /// The profile that came first.
        first: PartnerId,
        /// The other.
        second: PartnerId,
        /// Code platform.
        platform: Bcd8,
        /// Card issuer.
        issuer: Bcd8,
    },
    /// A code could belong to either.
    #[error("{first} and {second} both claim Alipay codes: prefix {prefix} and prefix {other} overlap")]
    SamePrefix {
        /// The profile that came first.
        first: PartnerId,
        /// The other.
        second: PartnerId,
        /// The first's prefix.
        prefix: Prefix,
        /// The other's.
        other: Prefix,
    },
}

impl Partners {
    /// Puts profiles together, or names the two that conflict.
    pub fn new(profiles: Vec<Profile>, mot: MotTrust) -> Result<Self, PartnerConflict> {
        let mut by_id = HashMap::new();
        let mut by_mot: HashMap<(Bcd8, Bcd8), usize> = HashMap::new();
        let mut by_alipay: Vec<(Prefix, usize)> = Vec::new();
        for (position, profile) in profiles.iter().enumerate() {
            if by_id.insert(profile.id.clone(), position).is_some() {
                return Err(PartnerConflict::SameId(profile.id.clone()));
            }
            for issuing in &profile.mot {
                let key = (issuing.platform, issuing.issuer);
                let Some(first) = by_mot.insert(key, position) else { continue };
                return Err(PartnerConflict::SameMot {
                    first: profiles.get(first).unwrap_or(profile).id.clone(),
                    second: profile.id.clone(),
                    platform: key.0,
                    issuer: key.1,
                });
            }
            for prefix in profile.alipay.iter().flat_map(AlipayIssuing::prefixes) {
                let claimed = by_alipay.iter().find(|(claimed, _)| claimed.overlaps(prefix));
                let Some((claimed, first)) = claimed else {
                    by_alipay.push((prefix.clone(), position));
                    continue;
                };
                return Err(PartnerConflict::SamePrefix {
                    first: profiles.get(*first).unwrap_or(profile).id.clone(),
                    second: profile.id.clone(),
                    prefix: claimed.clone(),
                    other: prefix.clone(),
                });
            }
        }
        Ok(Self { profiles, by_id, by_mot, by_alipay, mot })
    }

    /// The profile with this name.
    pub fn get(&self, id: &PartnerId) -> Option<&Profile> {
        self.profiles.get(*self.by_id.get(id)?)
    }

    /// Every profile.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.iter()
    }

    /// Whether any key here is a test key.
    pub fn has_test_keys(&self) -> bool {
        self.mot.is_test() || self.profiles.iter().any(|profile| profile.test)
    }

    /// Finds the format that claims these bytes and the partner they name.
    pub fn recognise<'a>(&'a self, payload: &'a [u8]) -> Result<Recognised<'a>, CodeError> {
        FORMATS
            .iter()
            .find_map(|format| {
                let partner = format.recognise(payload, self)?;
                Some(Recognised { format: *format, partner, partners: self, payload })
            })
            .ok_or(CodeError::Unrecognized)
    }

    pub(crate) fn by_mot(&self, platform: Bcd8, issuer: Bcd8) -> Option<&Profile> {
        self.profiles.get(*self.by_mot.get(&(platform, issuer))?)
    }

    /// The partner whose Alipay codes begin like this, and its prefix.
    pub(crate) fn by_alipay(&self, payload: &[u8]) -> Option<(&Prefix, &Profile)> {
        let (prefix, position) = self.by_alipay.iter().find(|(prefix, _)| prefix.claims(payload))?;
        Some((prefix, self.profiles.get(*position)?))
    }

    pub(crate) const fn mot(&self) -> &MotTrust {
        &self.mot
    }
}

/// Bytes that some format claims. Nothing in them was checked yet.
#[derive(Clone, Copy)]
pub struct Recognised<'a> {
    format: &'static dyn Format,
    partner: Option<&'a Profile>,
    partners: &'a Partners,
    payload: &'a [u8],
}

impl<'a> Recognised<'a> {
    /// The partner the bytes name, if it is one of ours.
    pub const fn partner(&self) -> Option<&'a Profile> {
        self.partner
    }

    /// The format's name.
    pub fn format(&self) -> &'static str {
        self.format.name()
    }

    /// Checks everything at `now`: structure, then times, then signatures (those that `memory` does not
    /// already vouch for).
    pub fn open(self, now: UnixSeconds, memory: &dyn IssuerMemory) -> Result<RideCode, CodeError> {
        self.format.open(self.payload, self.partner, self.partners, now, memory)
    }
}

/// Says which format and partner, never the bytes.
impl fmt::Debug for Recognised<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recognised")
            .field("format", &self.format())
            .field("partner", &self.partner.map(|profile| &profile.id))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mot::trust::MotTrust;

    fn profile(id: &str, platform: &str) -> Profile {
        Profile::from_toml(&format!(
            "id = '{id}'\nname = {{ zh = '某', en = 'X' }}\ncity = 'X'\nkind = 'metro'\n\
             [[mot]]\nplatform = '{platform}'\nissuer = '99990001'\naccount_types = [1]\n"
        ))
        .unwrap()
    }

    fn conflict(profiles: Vec<Profile>) -> String {
        Partners::new(profiles, MotTrust::default()).unwrap_err().to_string()
    }

    #[test]
    fn profiles_that_claim_the_same_platform_and_issuer_are_refused_naming_both() {
        assert_eq!(
            conflict(vec![profile("a", "00000001"), profile("b", "00000002"), profile("c", "00000001")]),
            "a and c both claim MOT platform 00000001 with issuer 99990001"
        );
    }

    fn with_prefixes(id: &str, prefixes: &str) -> Profile {
        Profile::from_toml(&format!(
            "id = '{id}'\nname = {{ zh = '某', en = 'X' }}\ncity = 'X'\nkind = 'metro'\n\
             [alipay]\nprefixes = [{prefixes}]\ncard_types = ['ANT00001']\n\
             [[alipay.keys]]\nkey_id = 1\nalgorithm = 'sm2'\n\
             public_key = '037b85b821bcf941c69d52bd3a52c01a735b870e653547db9bfa20f94c5a6b3560'\n"
        ))
        .unwrap()
    }

    #[test]
    fn profiles_whose_prefixes_overlap_are_refused_naming_both() {
        let a = || with_prefixes("a", "'5401', '5402'");
        for (prefixes, claims) in [
            ("'5403', '5402'", "prefix 5402 and prefix 5402 overlap"),
            ("'54'", "prefix 5401 and prefix 54 overlap"),
            ("'540201'", "prefix 5402 and prefix 540201 overlap"),
        ] {
            let refusal = conflict(vec![a(), profile("b", "00000001"), with_prefixes("c", prefixes)]);
            assert_eq!(refusal, format!("a and c both claim Alipay codes: {claims}"));
        }
        let refusal = conflict(vec![with_prefixes("a", ""), with_prefixes("b", "")]);
        assert_eq!(refusal, "a and b both claim Alipay codes: prefix none and prefix none overlap");
        let apart = vec![a(), with_prefixes("b", "'5403'"), with_prefixes("c", "")];
        assert!(Partners::new(apart, MotTrust::default()).is_ok());
    }

    #[test]
    fn two_profiles_of_one_name_are_refused() {
        assert_eq!(
            conflict(vec![profile("a", "00000001"), profile("a", "00000002")]),
            "two profiles are called a"
        );
    }
}
