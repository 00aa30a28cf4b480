//! Minting MOT codes: a root certifies issuers, an issuer authorises phones, a phone signs codes.

use anyhow::{Context, Result};
use rand::Rng;
use rand_chacha::ChaCha20Rng;
use ridegate_adapters::sm2::USER_ID;
use sm2::dsa::{Signature, SigningKey, signature::Signer};
use sm2::elliptic_curve::sec1::ToSec1Point;

/// A root, an issuer or a phone's key pair.
#[derive(Clone)]
pub struct Key(SigningKey);

impl Key {
    /// A new key from this source of randomness.
    pub fn generate(rng: &mut ChaCha20Rng) -> Result<Self> {
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        // Keep below the group's order, whose first four bytes are FFFFFFFE.
        secret[0] &= 0x7f;
        SigningKey::from_slice(USER_ID, &secret).map(Self).context("a secret of zero")
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        let signature: Signature = self.0.try_sign(message).context("signing")?;
        Ok(signature.to_bytes().into())
    }

    fn compressed(&self) -> [u8; 33] {
        self.0.verifying_key().to_compressed_point().into()
    }

    fn uncompressed(&self) -> Box<[u8]> {
        self.0.verifying_key().to_sec1_bytes()
    }
}

/// What the operators trust.
pub struct Root {
    key: Key,
    index: u8,
}

/// Who makes accounts.
#[derive(Clone)]
pub struct Issuer {
    key: Key,
    number: [u8; 4],
    certificate: Vec<u8>,
}

/// A phone an issuer has authorised.
#[derive(Clone)]
pub struct Phone {
    key: Key,
    /// Fields 1 to 15: the same in every code it shows.
    levels: Vec<u8>,
}

/// What an issuer puts into an authorization.
#[derive(Debug, Clone)]
pub struct Terms {
    /// 20 digits.
    pub account: String,
    /// 8 digits.
    pub platform: String,
    /// Unix seconds.
    pub authorized_until: u32,
    /// Seconds.
    pub validity: u16,
    /// Field 8.
    pub account_type: u8,
    /// Field 14.
    pub custom: Vec<u8>,
}

impl Root {
    /// A root of this index, valid to the end of 2040.
    pub const fn new(key: Key, index: u8) -> Self {
        Self { key, index }
    }

    /// Its record, as operators load it.
    pub fn record(&self) -> Result<String> {
        let mut record = vec![0x21, 1, 1, 0, 0, 0xa0, 0, 0, 6, 0x32, self.index, 0x12, 0x40, 4, 0, 0x40];
        record.extend(self.key.uncompressed().get(1..).context("a key without a point")?);
        record.extend(self.key.sign(&record)?);
        Ok(hex::encode(record))
    }

    /// Certifies an issuer, to the end of 2030.
    pub fn certify(&self, key: Key, number: &str, serial: [u8; 3]) -> Result<Issuer> {
        let number = digits(number)?;
        let mut certificate = vec![0x24, 1, 1, 0, 0, self.index, 0x12];
        certificate.extend(number);
        certificate.extend([0x12, 0x30]);
        certificate.extend(serial);
        certificate.extend([4, 4, 0, 0x21]);
        certificate.extend(key.compressed());
        let signature = self.key.sign(certificate.get(6..).context("short certificate")?)?;
        certificate.extend(signature);
        Ok(Issuer { key, number, certificate })
    }
}

impl Issuer {
    /// Authorises a phone to show codes under these terms.
    pub fn authorise(&self, key: Key, terms: &Terms) -> Result<Phone> {
        let account: [u8; 10] = digits(&terms.account)?;
        let total = 332 + terms.custom.len();
        let mut levels = vec![0x81];
        levels.extend(u16::try_from(total - 3)?.to_be_bytes());
        levels.extend(&self.certificate);
        levels.extend(b"PAYMENT-ACCOUNT0");
        levels.extend(account);
        levels.extend(self.number);
        levels.extend(digits::<4>(&terms.platform)?);
        levels.push(terms.account_type);
        levels.extend([0, 0x07, 0xd0]);
        levels.extend(key.compressed());
        levels.extend(terms.authorized_until.to_be_bytes());
        levels.extend(terms.validity.to_be_bytes());
        levels.push(u8::try_from(terms.custom.len())?);
        levels.extend(&terms.custom);
        let signature = self.key.sign(levels.get(3..).context("short code")?)?;
        levels.push(0x15);
        levels.extend(signature);
        Ok(Phone { key, levels })
    }
}

impl Phone {
    /// A code of this second.
    pub fn code(&self, generated_at: u32) -> Result<Vec<u8>> {
        self.signed_by(&self.key, generated_at)
    }

    /// A code signed with another key than the issuer vouched for.
    pub fn forged(&self, other: &Key, generated_at: u32) -> Result<Vec<u8>> {
        self.signed_by(other, generated_at)
    }

    fn signed_by(&self, key: &Key, generated_at: u32) -> Result<Vec<u8>> {
        let mut code = self.levels.clone();
        code.extend(generated_at.to_be_bytes());
        let signature = key.sign(&code)?;
        code.push(0x15);
        code.extend(signature);
        Ok(code)
    }
}

fn digits<const N: usize>(text: &str) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).context("expected BCD digits")?;
    Ok(bytes)
}
