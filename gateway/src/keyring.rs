//! Keyed pseudonyms and sealing, so that what is stored tells nothing to who steals it (D33).

use std::{fmt, fs, io, io::Write, path::Path, path::PathBuf};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hmac::{Hmac, Mac};
use rand::Rng;
use ridegate_adapters::{Medium, PartnerId};
use secrecy::{ExposeSecret, SecretBox};
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
    /// A single ticket, and its sale.
    Ticket,
}

/// The gateway's keys, all derived from one secret.
pub struct Keyring {
    link: Hmac<Sha256>,
    person: Hmac<Sha256>,
    claim: Hmac<Sha256>,
    idempotency: Hmac<Sha256>,
    reading: Hmac<Sha256>,
    ticket: Hmac<Sha256>,
    seal: XChaCha20Poly1305,
    check: Pseudonym,
}

/// A key file that cannot be used, or sealed bytes that cannot be opened.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("key file {path}: expected 64 hexadecimal digits (32 bytes)")]
    Form {
        /// The file.
        path: PathBuf,
    },
}

/// Sealed bytes that were changed, or sealed for something else or under another key.
#[derive(Debug, Error)]
#[error("sealed under another key, or damaged")]
pub struct Unsealable;

impl Keyring {
    /// Reads the secret from a file: 64 hexadecimal digits.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        let text: SecretBox<str> = SecretBox::new(fs::read_to_string(path).map_err(io)?.into_boxed_str());
        let mut secret = SecretBox::new(Box::new([0; KEY_LEN]));
        hex::decode_to_slice(
            text.expose_secret().trim(),
            secrecy::ExposeSecretMut::expose_secret_mut(&mut secret),
        )
        .map_err(|_| KeyError::Form { path: path.to_owned() })?;
        Ok(Self::new(secret.expose_secret()))
    }

    /// Writes a new secret to a file that must not exist, readable by its owner only, and loads it.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut secret = [0; KEY_LEN];
        rand::rng().fill_bytes(&mut secret);
        let mut file = options.open(path).map_err(io)?;
        writeln!(file, "{}", hex::encode(secret)).and_then(|()| file.sync_all()).map_err(io)?;
        Ok(Self::new(&secret))
    }

    /// Derives every key from one secret.
    pub fn new(secret: &[u8; KEY_LEN]) -> Self {
        let root = mac(secret);
        let derive = |label: &str| -> [u8; KEY_LEN] { finish(root.clone(), &[label.as_bytes()]).0 };
        Self {
            link: mac(&derive("link")),
            person: mac(&derive("person")),
            claim: mac(&derive("claim")),
            idempotency: mac(&derive("idempotency")),
            reading: mac(&derive("reading")),
            ticket: mac(&derive("ticket")),
            seal: XChaCha20Poly1305::new(&derive("seal").into()),
            check: Pseudonym(derive("check")),
        }
    }

    /// A name for these parts. Each part's length counts, so that moving a byte from one to the next makes another
    /// name.
    pub fn pseudonym(&self, purpose: Use, parts: &[&[u8]]) -> Pseudonym {
        let mac = match purpose {
            Use::Link => &self.link,
            Use::Person => &self.person,
            Use::Claim => &self.claim,
            Use::Idempotency => &self.idempotency,
            Use::Reading => &self.reading,
            Use::Ticket => &self.ticket,
        };
        finish(mac.clone(), parts)
    }

    /// A link's key: (partner, kind, issuer, account). The issuer is empty where the partner is the issuer.
    pub fn link_key(&self, partner: &PartnerId, medium: &Medium) -> Pseudonym {
        let parts: [&[u8]; 4] = [
            partner.as_str().as_bytes(),
            medium.kind().as_bytes(),
            medium.issuer_bytes(),
            medium.account().expose().as_bytes(),
        ];
        self.pseudonym(Use::Link, &parts)
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

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(…)")
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
    use ridegate_adapters::Account;

    use super::*;

    const PLACE: Pseudonym = Pseudonym([7; 32]);

    #[test]
    fn what_was_sealed_opens_only_in_its_place_and_whole() {
        let keys = Keyring::new(&[1; 32]);
        let sealed = keys.seal(b"subject", &PLACE).unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"subject"));
        assert_eq!(keys.open(&sealed, &PLACE).unwrap(), b"subject");

        assert!(keys.open(&sealed, &Pseudonym([8; 32])).is_err(), "moved to another row");
        assert!(Keyring::new(&[2; 32]).open(&sealed, &PLACE).is_err(), "another key");
        assert!(keys.open(&sealed[..sealed.len() - 1], &PLACE).is_err(), "cut");
        assert!(keys.open(&[], &PLACE).is_err(), "empty");
    }

    #[test]
    fn names_depend_on_key_use_and_every_part() {
        let keys = Keyring::new(&[1; 32]);
        let name = keys.pseudonym(Use::Link, &[b"ab", b"c"]);
        assert_eq!(name, Keyring::new(&[1; 32]).pseudonym(Use::Link, &[b"ab", b"c"]));
        assert_ne!(name, keys.pseudonym(Use::Link, &[b"a", b"bc"]));
        assert_ne!(name, keys.pseudonym(Use::Person, &[b"ab", b"c"]));
        assert_ne!(name, Keyring::new(&[2; 32]).pseudonym(Use::Link, &[b"ab", b"c"]));
    }

    /// What is in registries was written under these names.
    #[test]
    fn a_links_name_is_made_of_partner_kind_issuer_and_account() {
        let keys = Keyring::new(&[1; 32]);
        let partner = PartnerId::new("alipay").unwrap();
        let account = || Account::new("2088000000000001");
        let mot = Medium::MotCode { issuer: "50023301".parse().unwrap(), account: account() };
        let own = Medium::AlipayCode { user: account() };
        let of_parts = |kind: &[u8], issuer: &[u8]| {
            keys.pseudonym(Use::Link, &[b"alipay", kind, issuer, b"2088000000000001"])
        };
        assert_eq!(keys.link_key(&partner, &mot), of_parts(b"mot", &[0x50, 0x02, 0x33, 0x01]));
        assert_eq!(keys.link_key(&partner, &own), of_parts(b"alipay", b""));
        assert_ne!(keys.link_key(&partner, &own), keys.link_key(&PartnerId::new("x").unwrap(), &own));
    }

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ridegate.key");
        let created = Keyring::create(&path).unwrap();
        assert_eq!(created.check_value(), Keyring::load(&path).unwrap().check_value());
        assert!(Keyring::create(&path).is_err());
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777,
            0o600
        );
    }

    #[test]
    fn a_key_file_that_holds_something_else_is_refused_without_repeating_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ridegate.key");
        fs::write(&path, "hunter2").unwrap();
        let error = Keyring::load(&path).unwrap_err().to_string();
        assert!(error.contains("64 hexadecimal digits") && !error.contains("hunter2"), "{error}");
    }
}
