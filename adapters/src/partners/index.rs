//! Which profile a payload's words belong to. Two that claim the same are refused when it is made.

use std::{collections::HashMap, sync::Arc};

use super::PartnerConflict;
use crate::{
    Bcd8, Iin, Mark, PartnerId, Profile,
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
    /// The longest IIN first.
    cpm: Vec<(Iin, AidPrefix, usize)>,
    /// The longest IIN first.
    tokens: Vec<(Iin, usize)>,
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
        index.cpm.sort_by_key(|(iin, ..)| std::cmp::Reverse(iin.as_str().len()));
        index.tokens.sort_by_key(|(iin, _)| std::cmp::Reverse(iin.as_str().len()));
        Ok(index)
    }

    fn add(&mut self, profile: &Profile, position: usize) -> Result<(), Clash> {
        self.add_mot(profile, position)?;
        self.add_marks(profile, position)?;
        self.add_iins(profile, position)
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
        let cpm = profile.emv_cpm.iter();
        for (aid, iin) in
            cpm.flat_map(|cpm| cpm.aids.iter().flat_map(|aid| cpm.iins.iter().map(move |iin| (aid, iin))))
        {
            let theirs = |(other, of, at): &&(Iin, AidPrefix, usize)| {
                *at != position && other == iin && of.overlaps(aid)
            };
            if let Some((.., first)) = self.cpm.iter().find(theirs) {
                return Err((*first, format!("card codes of AID {aid} with IIN {iin}")));
            }
            self.cpm.push((iin.clone(), aid.clone(), position));
        }
        for iin in profile.unionpay_token.iter().flat_map(|token| &token.iins) {
            if let Some((_, first)) = self.tokens.iter().find(|(other, _)| other == iin) {
                return Err((*first, format!("tokens with IIN {iin}")));
            }
            self.tokens.push((iin.clone(), position));
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
        self.cpm.iter().any(|(_, prefix, _)| prefix.begins(aid))
    }

    pub(super) fn cpm(&self, aid: &[u8], number: &[u8]) -> Option<usize> {
        let claims = |(iin, prefix, _): &&(Iin, AidPrefix, usize)| iin.begins(number) && prefix.begins(aid);
        self.cpm.iter().find(claims).map(|(.., at)| *at)
    }

    pub(super) fn token(&self, token: &[u8]) -> Option<usize> {
        self.tokens.iter().find(|(iin, _)| iin.begins(token)).map(|(_, at)| *at)
    }
}
