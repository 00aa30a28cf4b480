//! What makes an `alipay` partner: its prefixes, its card types and its published keys.

use std::fmt;

use serde::{Deserialize, Deserializer, de::Error as _};

use super::layout::VERSION;
use crate::{
    Mark, ecdsa,
    ecdsa::{Rs, Secp256k1},
    emv_cpm, sm2, unionpay_token,
};

/// How a partner shows `alipay` codes. From TOML it is always one that can be used.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Stated")]
pub struct AlipayIssuing {
    prefixes: Vec<Prefix>,
    card_types: Vec<CardType>,
    keys: Vec<PublishedKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    #[serde(default)]
    prefixes: Vec<Prefix>,
    card_types: Vec<CardType>,
    keys: Vec<PublishedKey>,
}

impl TryFrom<Stated> for AlipayIssuing {
    type Error = String;

    fn try_from(Stated { prefixes, card_types, keys }: Stated) -> Result<Self, String> {
        Self::new(prefixes, card_types, keys)
    }
}

impl AlipayIssuing {
    /// Puts them together. Refuses prefixes that overlap, empty lists, and two keys under one id; no prefixes at all
    /// means codes without one.
    pub fn new(
        mut prefixes: Vec<Prefix>,
        card_types: Vec<CardType>,
        keys: Vec<PublishedKey>,
    ) -> Result<Self, String> {
        if card_types.is_empty() {
            return Err("alipay.card_types is empty: list the card types that are onboarded".into());
        }
        if keys.is_empty() {
            return Err("alipay.keys is empty: list the keys that the issuer has published".into());
        }
        for (position, key) in keys.iter().enumerate() {
            if keys.iter().take(position).any(|before| before.id == key.id) {
                return Err(format!("alipay.keys: key_id {} was given before", key.id));
            }
        }
        for (position, prefix) in prefixes.iter().enumerate() {
            if prefixes.iter().take(position).any(|before| before.mark().overlaps(&prefix.mark())) {
                return Err(format!("alipay.prefixes: {prefix} overlaps one that was given before"));
            }
        }
        if prefixes.is_empty() {
            prefixes.push(Prefix(Box::default()));
        }
        Ok(Self { prefixes, card_types, keys })
    }

    /// What comes before its codes.
    pub fn prefixes(&self) -> &[Prefix] {
        &self.prefixes
    }

    /// Its published keys.
    pub fn keys(&self) -> &[PublishedKey] {
        &self.keys
    }

    /// Its card types.
    pub fn card_types(&self) -> &[CardType] {
        &self.card_types
    }

    pub(super) fn has_onboarded(&self, card_type: [u8; 8]) -> bool {
        self.card_types.contains(&CardType(card_type))
    }

    pub(super) fn key(&self, id: u8) -> Option<&PublishedKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

/// The bytes before a partner's codes; no signature covers them.
#[derive(Clone, PartialEq, Eq)]
pub struct Prefix(Box<[u8]>);

impl Prefix {
    /// The prefix of these hexadecimal digits, 1 to 8 bytes. Refuses what begins like another format or like a code
    /// without a prefix.
    pub fn from_hex(text: &str) -> Result<Self, &'static str> {
        let bytes = hex::decode(text).map_err(|_| "expected a prefix in hexadecimal")?;
        match bytes.as_slice() {
            [0x80..=0xff, ..] => Err("a prefix must not begin with 80 to ff: such codes are MOT's"),
            [VERSION, ..] => Err("a prefix must not begin with 02: such codes are Alipay's without a prefix"),
            [_, ..] if bytes.len() <= 8 => {
                let prefix = Self(bytes.into());
                let theirs =
                    [emv_cpm::BEGINS, unionpay_token::BEGINS].map(|begins| Mark::Begins(begins.into()));
                if theirs.iter().any(|theirs| theirs.overlaps(&prefix.mark())) {
                    return Err(
                        "a prefix must not begin like an EMV code (6851…) or a UnionPay token (3632)",
                    );
                }
                Ok(prefix)
            }
            _ => Err("expected a prefix of 1 to 8 bytes; for none, leave prefixes out"),
        }
    }

    /// How many bytes.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is no prefix at all.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a payload begins like this partner's.
    pub(crate) fn claims(&self, payload: &[u8]) -> bool {
        payload.starts_with(self.claimed())
    }

    /// How payloads look that begin like this.
    pub(crate) fn mark(&self) -> Mark {
        Mark::Begins(self.claimed().into())
    }

    /// What payloads begin with: without a prefix, with the version.
    fn claimed(&self) -> &[u8] {
        if self.0.is_empty() { &[VERSION] } else { &self.0 }
    }
}

/// In hexadecimal; `none` where there is none.
impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_hex(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A card type: eight ASCII characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardType([u8; 8]);

impl fmt::Display for CardType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl TryFrom<String> for CardType {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = text.as_bytes().try_into().ok().filter(|bytes: &[u8; 8]| bytes.as_slice().is_ascii());
        bytes.map(Self).ok_or("expected a card type of 8 ASCII characters")
    }
}

impl<'de> Deserialize<'de> for CardType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// How an issuer signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IssuerAlgorithm {
    /// ECDSA over secp256k1 with SHA-1, `01` in a code.
    Secp256k1,
    /// SM2 with SM3, `02` in a code.
    Sm2,
}

impl IssuerAlgorithm {
    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Secp256k1 => 1,
            Self::Sm2 => 2,
        }
    }
}

/// A key the issuer has published.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "StatedKey")]
pub struct PublishedKey {
    id: u8,
    bytes: [u8; 33],
    key: IssuerKey,
}

#[derive(Debug, Clone)]
enum IssuerKey {
    Secp256k1(ecdsa::PublicKey<Secp256k1>),
    Sm2(sm2::PublicKey),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StatedKey {
    key_id: u8,
    algorithm: IssuerAlgorithm,
    public_key: String,
}

impl TryFrom<StatedKey> for PublishedKey {
    type Error = String;

    fn try_from(stated: StatedKey) -> Result<Self, String> {
        Self::new(stated.key_id, stated.algorithm, &stated.public_key)
    }
}

impl PublishedKey {
    /// A key under this id: a compressed point, 33 bytes in hexadecimal. Refuses what is no point on the algorithm's
    /// curve.
    pub fn new(id: u8, algorithm: IssuerAlgorithm, public_key: &str) -> Result<Self, String> {
        let mut bytes = [0; 33];
        hex::decode_to_slice(public_key, &mut bytes)
            .map_err(|_| format!("key_id {id}: public_key: expected 33 bytes in hexadecimal"))?;
        let key = match algorithm {
            IssuerAlgorithm::Secp256k1 => ecdsa::PublicKey::from_compressed(&bytes).map(IssuerKey::Secp256k1),
            IssuerAlgorithm::Sm2 => {
                sm2::PublicKey::from_compressed(&bytes).map(|key| IssuerKey::Sm2(key.fixed()))
            }
        };
        let key = key.ok_or_else(|| {
            format!("key_id {id}: public_key: expected a compressed point on the algorithm's curve")
        })?;
        Ok(Self { id, bytes, key })
    }

    /// Its id in codes.
    pub const fn id(&self) -> u8 {
        self.id
    }

    /// How it signs.
    pub const fn algorithm(&self) -> IssuerAlgorithm {
        match self.key {
            IssuerKey::Secp256k1(_) => IssuerAlgorithm::Secp256k1,
            IssuerKey::Sm2(_) => IssuerAlgorithm::Sm2,
        }
    }

    /// The compressed point.
    pub const fn as_bytes(&self) -> &[u8; 33] {
        &self.bytes
    }

    pub(super) fn verifies(&self, message: &[u8], signature: Rs<'_>) -> bool {
        match &self.key {
            IssuerKey::Secp256k1(key) => key.verifies(message, signature),
            IssuerKey::Sm2(key) => signature.to_fixed().is_some_and(|rs| key.verifies(message, &rs)),
        }
    }
}
