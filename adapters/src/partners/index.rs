//! Which profile a payload's words belong to. Two that claim the same are refused when it is made.

use std::{collections::HashMap, sync::Arc};

use super::PartnerConflict;
use crate::{
    Bcd8, CardKind, Iin, Mark, PartnerId, Profile,
    alipay::{AlipayIssuing, Prefix},
    emv_cpm::AidPrefix,
};

/// Positions of profiles, by what each claims.
#[derive(Debug, Default)]
pub(super) struct Index {
    ids: HashMap<PartnerId, usize>,
    mot: HashMap<(Bcd8, Bcd8), usize>,
    alipay: Vec<(Prefix, usize)>,
    opaque: Vec<(Mark, usize)>,
    aids: Vec<AidPrefix>,
    /// By IIN.
    cpm: HashMap<Box<str>, Vec<(AidPrefix, usize)>>,
    /// By IIN.
    tokens: HashMap<Box<str>, usize>,
    /// Card companies.
    cards: HashMap<(CardKind, Bcd8), usize>,
}

/// What a profile claims that one before it does: whose it was, and what.
type Clash = (usize, String);

impl Index {
    pub(super) fn of(profiles: &[Arc<Profile>]) -> Result<Self, PartnerConflict> {
        let mut index = Self::default();
        for (position, profile) in profiles.iter().enumerate() {
            if index.ids.insert(profile.id.clone(), position).is_some() {
                return Err(PartnerConflict::SameId(profile.id.clone()));
            }
            index.add(profile, position).map_err(|(first, claim)| PartnerConflict::SameClaim {
                first: profiles.get(first).unwrap_or(profile).id.clone(),
                second: profile.id.clone(),
                claim,
            })?;
        }
        Ok(index)
    }

    fn add(&mut self, profile: &Profile, position: usize) -> Result<(), Clash> {
        self.add_mot(profile, position)?;
        self.add_marks(profile, position)?;
        self.add_iins(profile, position)?;
        self.add_issued(profile, position)
    }

    fn add_mot(&mut self, profile: &Profile, position: usize) -> Result<(), Clash> {
        for issuing in &profile.mot {
            let (platform, issuer) = (issuing.platform, issuing.issuer);
            if let Some(first) = self.mot.insert((platform, issuer), position) {
                return Err((first, format!("MOT platform {platform} with issuer {issuer}")));
            }
        }
        Ok(())
    }

    fn add_marks(&mut self, profile: &Profile, position: usize) -> Result<(), Clash> {
        for mark in profile.marks() {
            let alipay = self.alipay.iter().map(|(prefix, position)| (prefix.mark(), *position));
            let mut claimed = alipay.chain(self.opaque.iter().cloned());
            if let Some((other, first)) = claimed.find(|(other, _)| other.overlaps(&mark)) {
                let both = if other == mark { mark.to_string() } else { format!("{other}, and {mark}") };
                return Err((first, both));
            }
        }
        let prefixes = profile.alipay.iter().flat_map(AlipayIssuing::prefixes);
        self.alipay.extend(prefixes.map(|prefix| (prefix.clone(), position)));
        self.opaque.extend(profile.opaque.iter().map(|issuing| (issuing.mark().clone(), position)));
        Ok(())
    }

    fn add_iins(&mut self, profile: &Profile, position: usize) -> Result<(), Clash> {
        if let Some(cpm) = &profile.emv_cpm {
            self.aids.extend(cpm.aids.iter().cloned());
            for iin in &cpm.iins {
                self.add_cards(&cpm.aids, iin, position)?;
            }
        }
        for iin in profile.unionpay_token.iter().flat_map(|token| &token.iins) {
            if let Some(first) = self.tokens.insert(iin.as_str().into(), position) {
                return Err((first, format!("tokens with IIN {iin}")));
            }
        }
        Ok(())
    }

    /// Whose cards they are; who only links them claims nothing. A partner may issue numbers of several lengths.
    fn add_issued(&mut self, profile: &Profile, position: usize) -> Result<(), Clash> {
        for cards in profile.cards.iter().filter(|cards| cards.issues) {
            for issuer in &cards.issuers {
                let first = *self.cards.entry((cards.kind, *issuer)).or_insert(position);
                if first != position {
                    return Err((first, format!("to issue {} with issuer {issuer}", cards.kind.name())));
                }
            }
        }
        Ok(())
    }

    /// A partner's own AIDs may begin alike: they are the same partner's.
    fn add_cards(&mut self, aids: &[AidPrefix], iin: &Iin, position: usize) -> Result<(), Clash> {
        let claimed = self.cpm.entry(iin.as_str().into()).or_default();
        for aid in aids {
            let theirs = |(other, at): &&(AidPrefix, usize)| *at != position && other.overlaps(aid);
            if let Some((_, first)) = claimed.iter().find(theirs) {
                return Err((*first, format!("card codes of AID {aid} with IIN {iin}")));
            }
            claimed.push((aid.clone(), position));
        }
        Ok(())
    }

    pub(super) fn id(&self, id: &PartnerId) -> Option<usize> {
        self.ids.get(id).copied()
    }

    pub(super) fn mot(&self, platform: Bcd8, issuer: Bcd8) -> Option<usize> {
        self.mot.get(&(platform, issuer)).copied()
    }

    pub(super) fn alipay(&self, payload: &[u8]) -> Option<(&Prefix, usize)> {
        self.alipay.iter().find(|(prefix, _)| prefix.claims(payload)).map(|(prefix, at)| (prefix, *at))
    }

    pub(super) fn opaque(&self, payload: &[u8]) -> Option<(&Mark, usize)> {
        self.opaque.iter().find(|(mark, _)| mark.claims(payload)).map(|(mark, at)| (mark, *at))
    }

    pub(super) fn knows_aid(&self, aid: &[u8]) -> bool {
        self.aids.iter().any(|prefix| prefix.begins(aid))
    }

    pub(super) fn cpm(&self, aid: &[u8], number: &[u8]) -> Option<usize> {
        beginnings(number).find_map(|iin| {
            let claimed = self.cpm.get(iin)?;
            claimed.iter().find(|(prefix, _)| prefix.begins(aid)).map(|(_, at)| *at)
        })
    }

    pub(super) fn card(&self, kind: CardKind, issuer: Bcd8) -> Option<usize> {
        self.cards.get(&(kind, issuer)).copied()
    }

    pub(super) fn token(&self, token: &[u8]) -> Option<usize> {
        beginnings(token).find_map(|iin| self.tokens.get(iin).copied())
    }
}

/// How a number in ASCII digits begins: what could be an IIN, the longest first.
fn beginnings(number: &[u8]) -> impl Iterator<Item = &str> {
    Iin::LENGTHS.rev().filter_map(|length| std::str::from_utf8(number.get(..length)?).ok())
}
