//! The city's own root and issuers, written down as a gateway loads them.

use std::{collections::HashMap, fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use rand_chacha::ChaCha20Rng;
use ridegate_adapters::{MotIssuing, Profile};
use ridegate_proto::partner::v1::{Medium, MediumKind};

use crate::{
    alipay,
    issuing::{self, Issuer, Key, Root, Terms},
};

/// The partners that ship, certified by a root of the city's own, and with keys of the city's own: their own test keys
/// are not ours to sign with.
pub struct Trust {
    profiles: Vec<Profile>,
    root: Root,
    issuers: HashMap<String, Issuer>,
    /// By partner.
    alipay: HashMap<String, alipay::Issuer>,
}

/// What a partner's riders show.
#[derive(Clone, Copy)]
pub enum Shows<'a> {
    /// MOT codes, under the partner's first platform.
    Mot(&'a MotIssuing, &'a Issuer),
    /// Alipay codes: who has them shows nothing else in the city.
    Alipay(&'a alipay::Issuer),
}

/// A phone of either kind.
#[derive(Clone)]
pub enum Phone {
    /// Shows MOT codes.
    Mot(issuing::Phone),
    /// Shows Alipay codes.
    Alipay(alipay::Phone),
}

impl Trust {
    /// Certifies every issuer of the shipped profiles.
    pub fn new(rng: &mut ChaCha20Rng) -> Result<Self> {
        let root = Root::new(Key::generate(rng)?, 7);
        let profiles = Profile::shipped()?;
        let mut issuers = HashMap::new();
        for issuing in profiles.iter().flat_map(|profile| &profile.mot) {
            let number = issuing.issuer.to_string();
            let issuer = root.certify(Key::generate(rng)?, &number, [0, 0, 1])?;
            issuers.entry(number).or_insert(issuer);
        }
        let mut alipay = HashMap::new();
        for (id, issuing) in alipay_partners(&profiles) {
            let prefix = issuing.prefixes().first().context("no prefix, not even an empty one")?;
            let card_type = issuing.card_types().first().context("no card type")?;
            let issuer = alipay::Issuer::new(prefix.as_bytes().to_vec(), card_type.to_string(), rng)?;
            alipay.insert(id.to_owned(), issuer);
        }
        Ok(Self { profiles, root, issuers, alipay })
    }

    /// Each partner's name and what its riders show.
    pub fn partners(&self) -> impl Iterator<Item = (&str, Shows<'_>)> {
        self.profiles.iter().filter_map(|profile| {
            let id = profile.id.as_str();
            if let Some(issuer) = self.alipay.get(id) {
                return Some((id, Shows::Alipay(issuer)));
            }
            let issuing = profile.mot.first()?;
            Some((id, Shows::Mot(issuing, self.issuers.get(&issuing.issuer.to_string())?)))
        })
    }

    /// What this partner's riders show.
    pub fn partner(&self, name: &str) -> Result<Shows<'_>> {
        let mut partners = self.partners();
        partners.find_map(|(id, shows)| (id == name).then_some(shows)).context("no such partner")
    }

    /// The MOT issuer of this number.
    pub fn issuer(&self, number: &str) -> Result<&Issuer> {
        self.issuers.get(number).context("an issuer the city does not have")
    }

    /// Writes `mot-trust.toml` and a profile a partner into `profiles/`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let trust = format!("test = true\n[[root]]\nrecord = \"{}\"\n", self.root.record()?);
        fs::write(folder.join("mot-trust.toml"), trust)?;
        let profiles = folder.join("profiles");
        fs::create_dir(&profiles)?;
        for profile in &self.profiles {
            fs::write(profiles.join(format!("{}.toml", profile.id)), self.profile(profile)?)?;
        }
        Ok(())
    }

    fn profile(&self, profile: &Profile) -> Result<String> {
        let id = &profile.id;
        let mut text = format!(
            "id = \"{id}\"\nname = {{ zh = \"{id}\", en = \"{id}\" }}\ncity = \"demo\"\nkind = \"metro\"\ntest = true\n"
        );
        if let Some(MotIssuing { platform, issuer, .. }) = profile.mot.first() {
            write!(text, "[[mot]]\nplatform = \"{platform}\"\nissuer = \"{issuer}\"\naccount_types = [1]\n")?;
        }
        if let Some((issuing, issuer)) = profile.alipay.as_ref().zip(self.alipay.get(id.as_str())) {
            let prefixes = issuing.prefixes().iter().filter(|prefix| !prefix.is_empty());
            let prefixes: Vec<_> = prefixes.map(ToString::to_string).collect();
            let card_types: Vec<_> = issuing.card_types().iter().map(ToString::to_string).collect();
            write!(text, "[alipay]\nprefixes = {prefixes:?}\ncard_types = {card_types:?}\n")?;
            text.push_str(&issuer.published());
        }
        Ok(text)
    }
}

fn alipay_partners(
    profiles: &[Profile],
) -> impl Iterator<Item = (&str, &ridegate_adapters::alipay::AlipayIssuing)> {
    profiles.iter().filter_map(|profile| Some((profile.id.as_str(), profile.alipay.as_ref()?)))
}

impl Shows<'_> {
    /// The account of the rider of this number: 20 digits, or a user id of 16.
    pub fn account(self, number: usize) -> String {
        match self {
            Self::Mot(..) => format!("3104{number:016}"),
            Self::Alipay(_) => format!("2088{number:012}"),
        }
    }

    /// What an account must be.
    pub const fn account_rule(self) -> &'static str {
        match self {
            Self::Mot(..) => "expected 20 digits",
            Self::Alipay(_) => "expected 16 ASCII characters",
        }
    }

    /// Whether this could be an account.
    pub fn is_account(self, text: &str) -> bool {
        match self {
            Self::Mot(..) => text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit()),
            Self::Alipay(_) => text.len() == 16 && text.is_ascii(),
        }
    }

    /// An account as a partner states it to the gateway.
    pub fn medium(self, account: &str) -> Medium {
        let (kind, issuer) = match self {
            Self::Mot(issuing, _) => (MediumKind::MotCode, issuing.issuer.to_string()),
            Self::Alipay(_) => (MediumKind::AlipayCode, String::new()),
        };
        Medium { kind: kind.into(), issuer, account: account.to_owned() }
    }

    /// Authorises a new phone to show codes of this account.
    pub fn authorise(
        self,
        account: &str,
        authorized_until: u32,
        validity: u16,
        rng: &mut ChaCha20Rng,
    ) -> Result<Phone> {
        match self {
            Self::Mot(issuing, issuer) => {
                let terms = Terms {
                    account: account.to_owned(),
                    platform: issuing.platform.to_string(),
                    authorized_until,
                    validity,
                    account_type: 1,
                    custom: Vec::new(),
                };
                issuer.authorise(Key::generate(rng)?, &terms).map(Phone::Mot)
            }
            Self::Alipay(issuer) => {
                issuer.authorise(account, authorized_until, validity, rng).map(Phone::Alipay)
            }
        }
    }
}

impl Phone {
    /// A code of this second.
    pub fn code(&self, generated_at: u32) -> Result<Vec<u8>> {
        match self {
            Self::Mot(phone) => phone.code(generated_at),
            Self::Alipay(phone) => phone.code(generated_at),
        }
    }

    /// A code signed with another key than the issuer vouched for.
    pub fn forged(&self, generated_at: u32, rng: &mut ChaCha20Rng) -> Result<Vec<u8>> {
        match self {
            Self::Mot(phone) => phone.forged(&Key::generate(rng)?, generated_at),
            Self::Alipay(phone) => phone.forged(generated_at, rng),
        }
    }
}
