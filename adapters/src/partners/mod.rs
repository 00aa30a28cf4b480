//! All partners and whom they trust: what bytes are recognised against.

mod index;

use std::{fmt, sync::Arc};

use thiserror::Error;

use self::index::Index;
use crate::{
    About, Accepted, Bcd8, CardKind, CodeError, FORMATS, Field, Format, IssuerMemory, Mark, MotTrust, Opened,
    PartnerId, Profile, UnixSeconds, alipay::Prefix,
};

/// The partners of one gateway, free of conflicts.
#[derive(Debug, Default)]
pub struct Partners {
    profiles: Vec<Arc<Profile>>,
    index: Index,
    mot: MotTrust,
}

/// Two profiles that cannot stand side by side.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum PartnerConflict {
    /// One name twice.
    #[error("two profiles are called {0}")]
    SameId(PartnerId),
    /// A code could belong to either.
    #[error("{first} and {second} both claim {claim}")]
    SameClaim {
        /// The profile that came first.
        first: PartnerId,
        /// The other.
        second: PartnerId,
        /// What both claim.
        claim: String,
    },
}

impl Partners {
    /// Puts profiles together, or names the two that conflict.
    pub fn new(profiles: Vec<Profile>, mot: MotTrust) -> Result<Self, PartnerConflict> {
        let profiles: Vec<_> = profiles.into_iter().map(Arc::new).collect();
        let index = Index::of(&profiles)?;
        Ok(Self { profiles, index, mot })
    }

    /// The profile with this name.
    pub fn get(&self, id: &PartnerId) -> Option<&Arc<Profile>> {
        self.profiles.get(self.index.id(id)?)
    }

    /// Every profile.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.profiles.iter().map(AsRef::as_ref)
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

    /// The card company that issues cards of this kind under this number (D9).
    pub fn card_company(&self, kind: CardKind, issuer: Bcd8) -> Option<&Arc<Profile>> {
        self.profiles.get(self.index.card(kind, issuer)?)
    }

    pub(crate) fn by_mot(&self, platform: Bcd8, issuer: Bcd8) -> Option<&Profile> {
        self.at(self.index.mot(platform, issuer)?)
    }

    /// The partner whose Alipay codes begin like this, and its prefix.
    pub(crate) fn by_alipay(&self, payload: &[u8]) -> Option<(&Prefix, &Profile)> {
        let (prefix, position) = self.index.alipay(payload)?;
        Some((prefix, self.at(position)?))
    }

    /// The partner whose opaque payloads look like this, and how they do.
    pub(crate) fn by_opaque(&self, payload: &[u8]) -> Option<(&Mark, &Profile)> {
        let (mark, position) = self.index.opaque(payload)?;
        Some((mark, self.at(position)?))
    }

    /// Whether anybody shows cards of this scheme.
    pub(crate) fn knows_aid(&self, aid: &[u8]) -> bool {
        self.index.knows_aid(aid)
    }

    /// The partner whose cards of this scheme have numbers that begin like this; of several the one that says most.
    pub(crate) fn by_cpm(&self, aid: &[u8], number: &[u8]) -> Option<&Profile> {
        self.at(self.index.cpm(aid, number)?)
    }

    /// The partner whose tokens begin like this; of several the one that says most.
    pub(crate) fn by_token(&self, token: &[u8]) -> Option<&Profile> {
        self.at(self.index.token(token)?)
    }

    fn at(&self, position: usize) -> Option<&Profile> {
        self.profiles.get(position).map(AsRef::as_ref)
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
        self.about().name
    }

    /// What the format tells of itself.
    pub fn about(&self) -> &'static About {
        self.format.about()
    }

    /// Every field that there is, fit to be shown.
    pub fn fields(&self) -> Vec<Field> {
        (self.about().fields)(self.payload, self.partners)
    }

    /// Checks everything at `now` that costs no signature: structure, then whom it is trusted from, then times.
    pub fn accept(self, now: UnixSeconds) -> Result<Accepted<'a>, CodeError> {
        self.format.accept(self.payload, self.partner, self.partners, now)
    }

    /// Checks everything at `now` that can be checked here: as [`Recognised::accept`], then signatures (those that `memory`
    /// does not already vouch for).
    pub fn open(self, now: UnixSeconds, memory: &dyn IssuerMemory) -> Result<Opened, CodeError> {
        Ok(match self.accept(now)? {
            Accepted::Signed(code) => Opened::Checked(code.verify(memory)?),
            Accepted::Online(code) => Opened::Online(code),
        })
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
mod tests;
