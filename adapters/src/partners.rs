//! All partners and whom they trust: what bytes are recognised against.

use std::{collections::HashMap, fmt};

use thiserror::Error;

use crate::{
    Bcd8, CodeError, FORMATS, Format, IssuerMemory, MotTrust, PartnerId, Profile, RideCode, UnixSeconds,
};

/// The partners of one gateway, free of conflicts.
#[derive(Debug)]
pub struct Partners {
    profiles: Vec<Profile>,
    by_id: HashMap<PartnerId, usize>,
    by_mot: HashMap<(Bcd8, Bcd8), usize>,
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
}

impl Partners {
    /// Puts profiles together, or names the two that conflict.
    pub fn new(profiles: Vec<Profile>, mot: MotTrust) -> Result<Self, PartnerConflict> {
        let mut by_id = HashMap::new();
        let mut by_mot: HashMap<(Bcd8, Bcd8), usize> = HashMap::new();
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
        }
        Ok(Self { profiles, by_id, by_mot, mot })
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

    #[test]
    fn two_profiles_of_one_name_are_refused() {
        assert_eq!(
            conflict(vec![profile("a", "00000001"), profile("a", "00000002")]),
            "two profiles are called a"
        );
    }
}
