//! Keyed pseudonyms and sealing, so that what is stored tells nothing to who steals it (D33).

mod ring;

pub(crate) use ring::STEADY;
pub use ring::{KeyError, Keyring};

use std::fmt;

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use rand::Rng;
use ridegate_adapters::{Medium, PartnerId};
use sha2::Sha256;
use thiserror::Error;

use crate::domain::pseudonym::Pseudonym;

const KEY_LEN: usize = 32;
const NONCE_LEN: usize = 24;

/// What a pseudonym stands for. Each use has its own key, so that names of one cannot be matched with another's.
#[derive(Debug, Clone, Copy)]
pub enum Use {
    /// A linked account.
    Link,
    /// A person.
    Person,
    /// A claim on a code, and the device and request that made it.
    Claim,
    /// An idempotency key and what was asked under it.
    Idempotency,
    /// A code that its partner has read.
    Reading,
    /// A batch of a card company.
    Batch,
    /// A link for somebody else that was begun.
    Delegation,
    /// A single ticket, and its sale.
    Ticket,
    /// An account, in what replicas share.
    Account,
}

impl Use {
    /// Its label: what its key is derived from.
    const LABELS: [&'static str; 9] =
        ["link", "person", "claim", "idempotency", "reading", "batch", "delegation", "ticket", "account"];
}

/// A key's number: rows of the registry say under which they were written.
pub type KeyId = i64;

/// One secret, and the keys derived from it.
pub struct Key {
    id: KeyId,
    names: [Hmac<Sha256>; Use::LABELS.len()],
    seal: XChaCha20Poly1305,
    check: Pseudonym,
}

/// Sealed bytes that were changed, or sealed for something else or under another key.
#[derive(Debug, Error)]
#[error("sealed under another key, or damaged")]
pub struct Unsealable;

/// What tells one account from every other: the parts of its name. Partner, kind, issuer, account; the issuer is empty
/// where the partner is the issuer, the partner is empty for a card, which is the same whoever links it.
pub(crate) fn account_parts<'a>(
    partner: impl Into<Option<&'a PartnerId>>,
    medium: &'a Medium,
) -> [&'a [u8]; 4] {
    let partner = partner.into().filter(|_| !matches!(medium, Medium::Card { .. }));
    [
        partner.map_or(b"".as_slice(), |partner| partner.as_str().as_bytes()),
        medium.kind().as_bytes(),
        medium.issuer_bytes(),
        medium.account().expose().as_bytes(),
    ]
}

impl Key {
    /// Derives every key from one secret.
    pub fn new(id: KeyId, secret: &[u8; KEY_LEN]) -> Self {
        let root = mac(secret);
        let derive = |label: &str| -> [u8; KEY_LEN] { finish(root.clone(), &[label.as_bytes()]).0 };
        Self {
            id,
            names: Use::LABELS.map(|label| mac(&derive(label))),
            seal: XChaCha20Poly1305::new(&derive("seal").into()),
            check: Pseudonym(derive("check")),
        }
    }

    /// Its number.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// A name for these parts. Each part's length counts, so that moving a byte from one to the next makes another
    /// name.
    pub fn pseudonym(&self, purpose: Use, parts: &[&[u8]]) -> Pseudonym {
        #[expect(clippy::indexing_slicing, reason = "there is a key for every use")]
        finish(self.names[purpose as usize].clone(), parts)
    }

    /// A link's key: (partner, kind, issuer, account).
    pub fn link_key<'p>(&self, partner: impl Into<Option<&'p PartnerId>>, medium: &'p Medium) -> Pseudonym {
        self.pseudonym(Use::Link, &account_parts(partner, medium))
    }

    /// Tells whether a store was written under this secret, without telling the secret.
    pub const fn check_value(&self) -> &Pseudonym {
        &self.check
    }

    /// Encrypts; only [`open`](Self::open) with the same `place` gives it back.
    pub fn seal(&self, plain: &[u8], place: &Pseudonym) -> Result<Vec<u8>, Unsealable> {
        let mut nonce = [0; NONCE_LEN];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload { msg: plain, aad: &place.0 };
        let sealed = self.seal.encrypt(&XNonce::from(nonce), payload).map_err(|_| Unsealable)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts what was sealed for this place.
    pub fn open(&self, sealed: &[u8], place: &Pseudonym) -> Result<Vec<u8>, Unsealable> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(Unsealable)?;
        let payload = Payload { msg: sealed, aad: &place.0 };
        self.seal.decrypt(&XNonce::from(*nonce), payload).map_err(|_| Unsealable)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, …)", self.id)
    }
}

fn mac(key: &[u8; KEY_LEN]) -> Hmac<Sha256> {
    <Hmac<Sha256> as KeyInit>::new(&{
        // HMAC-SHA-256 keys are padded to the hash's block; ours are shorter, so this pads as the hash would.
        let mut block = [0; 64];
        let (front, _) = block.split_at_mut(KEY_LEN);
        front.copy_from_slice(key);
        block.into()
    })
}

fn finish(mut mac: Hmac<Sha256>, parts: &[&[u8]]) -> Pseudonym {
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    Pseudonym(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use ridegate_adapters::{Account, CardKind};

    use super::*;

    const PLACE: Pseudonym = Pseudonym([7; 32]);

    #[test]
    fn what_was_sealed_opens_only_in_its_place_and_whole() {
        let keys = Key::new(1, &[1; 32]);
        let sealed = keys.seal(b"subject", &PLACE).unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"subject"));
        assert_eq!(keys.open(&sealed, &PLACE).unwrap(), b"subject");

        assert!(keys.open(&sealed, &Pseudonym([8; 32])).is_err(), "moved to another row");
        assert!(Key::new(1, &[2; 32]).open(&sealed, &PLACE).is_err(), "another key");
        assert!(keys.open(&sealed[..sealed.len() - 1], &PLACE).is_err(), "cut");
        assert!(keys.open(&[], &PLACE).is_err(), "empty");
    }

    #[test]
    fn names_depend_on_key_use_and_every_part() {
        let keys = Key::new(1, &[1; 32]);
        let name = keys.pseudonym(Use::Link, &[b"ab", b"c"]);
        assert_eq!(name, Key::new(1, &[1; 32]).pseudonym(Use::Link, &[b"ab", b"c"]));
        assert_ne!(name, keys.pseudonym(Use::Link, &[b"a", b"bc"]));
        assert_ne!(name, keys.pseudonym(Use::Person, &[b"ab", b"c"]));
        assert_ne!(name, Key::new(1, &[2; 32]).pseudonym(Use::Link, &[b"ab", b"c"]));
    }

    /// What is in registries was written under these names.
    #[test]
    fn a_links_name_is_made_of_partner_kind_issuer_and_account() {
        let keys = Key::new(1, &[1; 32]);
        let partner = PartnerId::new("alipay").unwrap();
        let account = || Account::new("2088000000000001");
        let mot = Medium::MotCode { issuer: "50023301".parse().unwrap(), account: account() };
        let own = Medium::AlipayCode { user: account() };
        let of_parts = |kind: &[u8], issuer: &[u8]| {
            keys.pseudonym(Use::Link, &[b"alipay", kind, issuer, b"2088000000000001"])
        };
        assert_eq!(keys.link_key(&partner, &mot), of_parts(b"mot", &[0x50, 0x02, 0x33, 0x01]));
        assert_eq!(keys.link_key(&partner, &own), of_parts(b"alipay", b""));
        let another = PartnerId::new("x").unwrap();
        assert_ne!(keys.link_key(&partner, &own), keys.link_key(&another, &own));

        let card = Medium::Card {
            kind: CardKind::TUnionCard,
            issuer: "50023301".parse().unwrap(),
            number: Account::new("3104"),
        };
        let name = keys.pseudonym(Use::Link, &[b"", b"t-union-card", &[0x50, 0x02, 0x33, 0x01], b"3104"]);
        assert_eq!(keys.link_key(&partner, &card), name);
        assert_eq!(keys.link_key(&another, &card), name, "a card is the same whoever links it");
    }
}
