//! The city's own root and issuers, written down as a gateway loads them.

use std::{collections::HashMap, fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use rand_chacha::ChaCha20Rng;
use ridegate_adapters::{CardIssuing, Iin, Mark, MotIssuing, Os, Profile};
use ridegate_proto::partner::v1::{Medium, MediumKind};

use crate::{
    alipay,
    issuing::{self, Issuer, Key, Root, Terms},
    online::{self, Book, Half},
};

/// The partners that ship, certified by a root of the city's own, and with keys of the city's own: their own test keys
/// are not ours to sign with.
pub struct Trust {
    profiles: Vec<Profile>,
    root: Root,
    issuers: HashMap<String, Issuer>,
    /// By partner.
    alipay: HashMap<String, alipay::Issuer>,
    /// By partner.
    books: HashMap<String, Book>,
    /// The `[resolver]` section of a partner's profile, by partner.
    resolvers: HashMap<String, String>,
}

/// Where nobody listens.
const NOWHERE: &str = "endpoint = \"http://127.0.0.1:1\"\n";

/// What a partner's riders show.
#[derive(Clone, Copy)]
pub enum Shows<'a> {
    /// MOT codes, under the partner's first platform.
    Mot(&'a MotIssuing, &'a Issuer),
    /// Alipay codes: who has them shows nothing else in the city.
    Alipay(&'a alipay::Issuer),
    /// Codes that only the partner can read.
    Online(&'a Book),
}

/// A phone of any kind.
#[derive(Clone)]
pub enum Phone {
    /// Shows MOT codes.
    Mot(issuing::Phone),
    /// Shows Alipay codes.
    Alipay(alipay::Phone),
    /// Shows codes that only the partner can read.
    Online(online::Phone),
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
        let book = |profile: &Profile| Some((profile.id.to_string(), Book::of(profile, rng)?));
        let books = profiles.iter().filter_map(book).collect();
        Ok(Self { profiles, root, issuers, alipay, books, resolvers: HashMap::new() })
    }

    /// Each partner whose codes only it can read, and the book that reads them.
    pub fn books(&self) -> impl Iterator<Item = (&str, &Book)> {
        self.books.iter().map(|(id, book)| (id.as_str(), book))
    }

    /// From now on a partner's profile names this resolver: keys of its section, in TOML.
    pub fn name_resolver(&mut self, partner: &str, section: String) {
        self.resolvers.insert(partner.to_owned(), section);
    }

    /// Each partner's name and what its riders show.
    pub fn partners(&self) -> impl Iterator<Item = (&str, Shows<'_>)> {
        self.profiles.iter().filter_map(|profile| {
            let id = profile.id.as_str();
            if let Some(issuer) = self.alipay.get(id) {
                return Some((id, Shows::Alipay(issuer)));
            }
            if let Some(book) = self.books.get(id) {
                return Some((id, Shows::Online(book)));
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
        if profile.is_online() {
            online_sections(profile, &mut text)?;
            let resolver = self.resolvers.get(id.as_str()).map_or(NOWHERE, String::as_str);
            write!(text, "[resolver]\n{resolver}")?;
        }
        card_sections(profile, &mut text)?;
        Ok(text)
    }
}

fn card_sections(profile: &Profile, text: &mut String) -> Result<()> {
    for CardIssuing { kind, issuers, digits, prefix, luhn, issues, .. } in &profile.cards {
        let (kind, issuers) = (kind.name(), issuers.iter().map(ToString::to_string).collect::<Vec<_>>());
        write!(text, "[[cards]]\nkind = \"{kind}\"\nissuers = {issuers:?}\ndigits = {digits}\n")?;
        write!(text, "prefix = \"{prefix}\"\nluhn = {luhn}\nissues = {issues}\n")?;
    }
    text.push_str("[min_app_version]\n");
    for (name, os) in [("harmonyos", Os::HarmonyOs), ("android", Os::Android), ("ios", Os::Ios)] {
        if let Some(version) = profile.min_app_version(os) {
            writeln!(text, "{name} = \"{version}\"")?;
        }
    }
    Ok(())
}

fn online_sections(profile: &Profile, text: &mut String) -> Result<()> {
    let all = |iins: &[Iin]| iins.iter().map(ToString::to_string).collect::<Vec<_>>();
    if let Some(cpm) = &profile.emv_cpm {
        let aids: Vec<_> = cpm.aids.iter().map(ToString::to_string).collect();
        write!(text, "[emv-cpm]\naids = {aids:?}\niins = {:?}\n", all(&cpm.iins))?;
    }
    if let Some(token) = &profile.unionpay_token {
        write!(text, "[unionpay-token]\niins = {:?}\n", all(&token.iins))?;
    }
    for issuing in &profile.opaque {
        match issuing.mark() {
            Mark::Begins(bytes) => write!(text, "[[opaque]]\nbegins = {:?}\n", std::str::from_utf8(bytes)?)?,
            Mark::Sized { length, first } => {
                write!(text, "[[opaque]]\nlength = {length}\nfirst_byte = \"{first:02x}\"\n")?;
            }
        }
    }
    Ok(())
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
            Self::Online(_) => online::account(u32::try_from(number).unwrap_or(u32::MAX)),
        }
    }

    /// What an account must be.
    pub const fn account_rule(self) -> &'static str {
        match self {
            Self::Mot(..) => "expected 20 digits",
            Self::Alipay(_) => "expected 16 ASCII characters",
            Self::Online(_) => "expected U and a number of 9 digits below 1100",
        }
    }

    /// Whether this could be an account.
    pub fn is_account(self, text: &str) -> bool {
        match self {
            Self::Mot(..) => text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit()),
            Self::Alipay(_) => text.len() == 16 && text.is_ascii(),
            Self::Online(_) => online::rider_of(text).is_some(),
        }
    }

    /// What the gateway says of half of this code.
    pub(crate) fn half(self, code: &[u8]) -> Half {
        match self {
            Self::Online(book) => book.half(code),
            Self::Mot(..) | Self::Alipay(_) => Half::Malformed,
        }
    }

    /// An account as a partner states it to the gateway.
    pub fn medium(self, account: &str) -> Medium {
        let (kind, issuer) = match self {
            Self::Mot(issuing, _) => (MediumKind::MotCode, issuing.issuer.to_string()),
            Self::Alipay(_) => (MediumKind::AlipayCode, String::new()),
            Self::Online(_) => (MediumKind::OnlineCode, String::new()),
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
            Self::Online(book) => book.authorise(account, validity).map(Phone::Online),
        }
    }
}

impl Phone {
    /// A code of this second.
    pub fn code(&self, generated_at: u32) -> Result<Vec<u8>> {
        match self {
            Self::Mot(phone) => phone.code(generated_at),
            Self::Alipay(phone) => phone.code(generated_at),
            Self::Online(phone) => phone.code(generated_at),
        }
    }

    /// A code signed with another key than the issuer vouched for.
    pub fn forged(&self, generated_at: u32, rng: &mut ChaCha20Rng) -> Result<Vec<u8>> {
        match self {
            Self::Mot(phone) => phone.forged(&Key::generate(rng)?, generated_at),
            Self::Alipay(phone) => phone.forged(generated_at, rng),
            Self::Online(phone) => phone.forged(generated_at),
        }
    }
}
