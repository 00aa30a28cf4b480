//! A partner as data.

use std::{collections::HashSet, num::NonZeroU32};

use serde::Deserialize;
use thiserror::Error;

use crate::{
    Account, AppVersion, Bcd8, CardKind, Mark, Medium, MinAppVersions, Os, PartnerId,
    alipay::{AlipayIssuing, Prefix},
    card::{self, CardIssuing},
    emv_cpm::CpmIssuing,
    opaque::OpaqueIssuing,
    prompts::{Prompts, Words},
    resolver::ResolverProfile,
    unionpay_token::TokenIssuing,
};

/// Everything that makes a partner, read from one TOML file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Short name; the partner's certificates carry it too.
    pub id: PartnerId,
    /// Name for people.
    pub name: Words,
    /// Home city.
    pub city: String,
    /// What kind of partner.
    pub kind: PartnerKind,
    /// Its keys are test keys: never for production.
    #[serde(default)]
    pub test: bool,
    /// The MOT codes it shows.
    #[serde(default)]
    pub mot: Vec<MotIssuing>,
    /// The Alipay codes it shows, if it does.
    pub alipay: Option<AlipayIssuing>,
    /// The consumer-presented card codes it shows, if it does.
    #[serde(rename = "emv-cpm")]
    pub emv_cpm: Option<CpmIssuing>,
    /// The tokens it shows, if it does.
    #[serde(rename = "unionpay-token")]
    pub unionpay_token: Option<TokenIssuing>,
    /// How its payloads look of which nothing else is public.
    #[serde(default)]
    pub opaque: Vec<OpaqueIssuing>,
    /// Where it reads the codes that only it can read.
    pub resolver: Option<ResolverProfile>,
    /// The cards that its riders link, and those that it issues.
    #[serde(default)]
    pub cards: Vec<CardIssuing>,
    /// The first versions of its app that may link Yikatong cards (D10).
    #[serde(default)]
    pub min_app_version: MinAppVersions,
    /// Its budgets, where they differ from the gateway's defaults.
    #[serde(default)]
    pub quota: QuotaProfile,
    /// What readers show to its riders, where that differs.
    #[serde(default)]
    pub prompts: Prompts,
}

/// Kinds of partners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartnerKind {
    /// A card company.
    Card,
    /// A bus operator's app.
    Bus,
    /// A metro's app.
    Metro,
    /// A payment app.
    Payment,
}

/// One (platform, issuer) under which a partner shows MOT codes.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MotIssuing {
    /// Code platform (field 7).
    pub platform: Bcd8,
    /// Card issuer (field 6) and the certificate's.
    pub issuer: Bcd8,
    /// Account types (field 8) that are onboarded.
    pub account_types: Vec<u8>,
}

/// A partner's budgets; what is absent is the gateway's default.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaProfile {
    /// Codes a second on the verdict path.
    pub codes_per_second: Option<NonZeroU32>,
    /// Codes at once.
    pub codes_burst: Option<NonZeroU32>,
    /// RPCs a second.
    pub calls_per_second: Option<NonZeroU32>,
    /// RPCs at once.
    pub calls_burst: Option<NonZeroU32>,
}

/// A profile that cannot be used.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// Not TOML, a key unknown or missing, or a value that cannot be.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// No format and no cards, so nothing could ever be its own.
    #[error(
        "no medium: a partner needs [[mot]], [alipay], [emv-cpm], [unionpay-token], [[opaque]] or [[cards]]"
    )]
    NoMedium,
    /// A list without which every code would be refused.
    #[error("{0} is empty: list what is onboarded")]
    Empty(&'static str),
    /// The same thing once more.
    #[error("{list}: {twice} was given before")]
    Twice {
        /// Where.
        list: &'static str,
        /// What.
        twice: String,
    },
    /// Codes that nobody would read.
    #[error("[resolver] is missing: only the partner can read its {0} codes")]
    NoResolver(&'static str),
    /// Somebody who would never be asked.
    #[error("[resolver] is never asked: no format of this partner needs one")]
    IdleResolver,
    /// A payload could be of two formats.
    #[error("{first}, and {second}, overlap")]
    SameBytes {
        /// What came first.
        first: Mark,
        /// The other.
        second: Mark,
    },
}

impl Profile {
    /// Reads a profile from TOML. Unknown keys are refused.
    pub fn from_toml(text: &str) -> Result<Self, ProfileError> {
        let profile: Self = toml::from_str(text)?;
        profile.check()?;
        Ok(profile)
    }

    fn check(&self) -> Result<(), ProfileError> {
        let shows_codes = !self.mot.is_empty() || self.alipay.is_some() || self.is_online();
        if !shows_codes && self.cards.is_empty() {
            return Err(ProfileError::NoMedium);
        }
        let cpm = self.emv_cpm.as_ref();
        let token = self.unionpay_token.as_ref();
        let lists = [
            ("mot.account_types", self.mot.iter().any(|issuing| issuing.account_types.is_empty())),
            ("emv-cpm.aids", cpm.is_some_and(|issuing| issuing.aids.is_empty())),
            ("emv-cpm.iins", cpm.is_some_and(|issuing| issuing.iins.is_empty())),
            ("unionpay-token.iins", token.is_some_and(|issuing| issuing.iins.is_empty())),
        ];
        if let Some((list, _)) = lists.into_iter().find(|(_, empty)| *empty) {
            return Err(ProfileError::Empty(list));
        }
        if let Some((list, twice)) = self.given_twice() {
            return Err(ProfileError::Twice { list, twice });
        }
        match (self.online_format(), &self.resolver) {
            (Some(format), None) => return Err(ProfileError::NoResolver(format)),
            (None, Some(_)) => return Err(ProfileError::IdleResolver),
            _ => {}
        }
        let marks: Vec<_> = self.marks().collect();
        for (position, second) in marks.iter().enumerate() {
            if let Some(first) = marks.iter().take(position).find(|first| first.overlaps(second)) {
                return Err(ProfileError::SameBytes { first: first.clone(), second: second.clone() });
            }
        }
        Ok(())
    }

    /// What is listed twice, if anything is.
    fn given_twice(&self) -> Option<(&'static str, String)> {
        let mot = self
            .mot
            .iter()
            .map(|issuing| format!("platform {} with issuer {}", issuing.platform, issuing.issuer));
        let cpm = self.emv_cpm.iter();
        let aids = cpm.clone().flat_map(|cpm| &cpm.aids).map(ToString::to_string);
        let iins = cpm.flat_map(|cpm| &cpm.iins).map(ToString::to_string);
        let tokens = self.unionpay_token.iter().flat_map(|token| &token.iins).map(ToString::to_string);
        let cards = self.cards.iter().flat_map(|cards| {
            let named = |issuer: String| {
                format!(
                    "{} of {issuer} with {} digits and prefix \"{}\"",
                    cards.kind.name(),
                    cards.digits,
                    cards.prefix
                )
            };
            let anybody = cards.issuers.is_empty().then(|| "any issuer".to_owned());
            cards.issuers.iter().map(ToString::to_string).chain(anybody).map(named)
        });
        let found = twice(mot).map(|twice| ("mot", twice));
        found
            .or(twice(aids).map(|twice| ("emv-cpm.aids", twice)))
            .or(twice(iins).map(|twice| ("emv-cpm.iins", twice)))
            .or(twice(tokens).map(|twice| ("unionpay-token.iins", twice)))
            .or(twice(cards).map(|twice| ("cards", twice)))
    }

    /// A format whose codes only the partner can read, if it has one.
    fn online_format(&self) -> Option<&'static str> {
        let formats = [
            (crate::emv_cpm::NAME, self.emv_cpm.is_some()),
            (crate::unionpay_token::NAME, self.unionpay_token.is_some()),
            (crate::opaque::NAME, !self.opaque.is_empty()),
        ];
        formats.into_iter().find_map(|(format, shown)| shown.then_some(format))
    }

    /// Whether it shows codes that only it can read.
    pub fn is_online(&self) -> bool {
        self.online_format().is_some()
    }

    /// How its payloads look, of formats that leave that to the partner.
    pub(crate) fn marks(&self) -> impl Iterator<Item = Mark> {
        let alipay = self.alipay.iter().flat_map(AlipayIssuing::prefixes).map(Prefix::mark);
        alipay.chain(self.opaque.iter().map(|issuing| issuing.mark().clone()))
    }

    /// How it issues under a platform and issuer, if it does.
    pub(crate) fn mot_issuing(&self, platform: Bcd8, issuer: Bcd8) -> Option<&MotIssuing> {
        self.mot.iter().find(|issuing| issuing.platform == platform && issuing.issuer == issuer)
    }

    /// Whether it shows codes of this card issuer on any platform.
    pub fn issues_mot(&self, issuer: Bcd8) -> bool {
        self.mot.iter().any(|issuing| issuing.issuer == issuer)
    }

    /// A card as a rider or a clerk types it in (D11). Which part does not fit, `kind`, `issuer` or `account`, and what
    /// it must be, if one does not.
    pub fn card(
        &self,
        kind: CardKind,
        issuer: &str,
        number: &str,
    ) -> Result<Medium, (&'static str, &'static str)> {
        if !self.links_card(kind) {
            return Err(("kind", "must be one that this partner shows or links"));
        }
        let issuer: Bcd8 = issuer.parse().map_err(|_| ("issuer", "must be 8 digits"))?;
        let sections = self.cards.iter().filter(|cards| cards.kind == kind && cards.is_of(issuer));
        if sections.clone().next().is_none() {
            return Err(("issuer", "must be one whose cards this partner links"));
        }
        card::check(sections, number).map_err(|rule| ("account", rule))?;
        Ok(Medium::Card { kind, issuer, number: Account::new(number) })
    }

    /// Whether its riders link cards of this kind.
    pub fn links_card(&self, kind: CardKind) -> bool {
        self.cards.iter().any(|cards| cards.kind == kind)
    }

    /// Whether it is the card company of cards of this kind (D9).
    pub fn issues_card(&self, kind: CardKind) -> bool {
        self.cards.iter().any(|cards| cards.kind == kind && cards.issues)
    }

    /// Whether it is the card company of this card, and not only one whose riders link such cards.
    pub fn is_company_of(&self, kind: CardKind, issuer: Bcd8) -> bool {
        self.cards.iter().any(|cards| cards.kind == kind && cards.issues && cards.issuers.contains(&issuer))
    }

    /// The first version of its app that may link Yikatong cards on this operating system (D10); `None` if every may.
    pub const fn min_app_version(&self, os: Os) -> Option<AppVersion> {
        self.min_app_version.on(os)
    }
}

/// The first that was there before.
fn twice(items: impl Iterator<Item = String>) -> Option<String> {
    let mut seen = HashSet::new();
    items.into_iter().find(|item| !seen.insert(item.clone()))
}

#[cfg(test)]
mod tests;
