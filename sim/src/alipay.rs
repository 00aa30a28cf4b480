//! Minting Alipay codes: an issuer with a published key authorises phones, a phone signs codes.

use anyhow::{Context, Result, ensure};
use ecdsa::{EcdsaCurve, Signature, SignatureSize, hazmat::sign_prehashed_rfc6979};
use elliptic_curve::{
    AffinePoint, CurveArithmetic, FieldBytes, FieldBytesSize, NonZeroScalar, PublicKey,
    array::ArraySize,
    sec1::{FromSec1Point, ModulusSize, ToSec1Point},
};
use rand::Rng;
use rand_chacha::ChaCha20Rng;
use ridegate_adapters::ecdsa::{Secp192k1, Secp256k1};
use sha1::{Digest, Sha1};
use sha2::Sha256;

/// The id its published key has with every issuer of the city.
const KEY_ID: u8 = 1;

/// A key pair on one of the two curves.
#[derive(Clone)]
struct Key<C: CurveArithmetic>(NonZeroScalar<C>);

impl<C> Key<C>
where
    C: EcdsaCurve + CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
    SignatureSize<C>: ArraySize,
{
    fn generate(rng: &mut ChaCha20Rng) -> Result<Self> {
        let mut secret = FieldBytes::<C>::default();
        rng.fill_bytes(&mut secret);
        // Keep below the group's order, which begins with FF on both curves.
        if let Some(first) = secret.first_mut() {
            *first &= 0x7f;
        }
        Option::from(NonZeroScalar::from_repr(secret)).map(Self).context("a secret of zero")
    }

    /// Over the SHA-1 of a message, in DER.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let (signature, _) = sign_prehashed_rfc6979::<C, Sha256>(&self.0, &Sha1::digest(message), &[]);
        der(&signature)
    }

    fn compressed(&self) -> Vec<u8> {
        PublicKey::<C>::from_secret_scalar(&self.0).to_sec1_point(true).as_bytes().to_vec()
    }
}

fn der<C: EcdsaCurve>(signature: &Signature<C>) -> Result<Vec<u8>>
where
    SignatureSize<C>: ArraySize,
{
    let (r, s) = signature.split_bytes();
    let integers = [integer(&r)?, integer(&s)?].concat();
    Ok([&[0x30, u8::try_from(integers.len())?], integers.as_slice()].concat())
}

fn integer(bytes: &[u8]) -> Result<Vec<u8>> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let magnitude = bytes.get(zeros..).unwrap_or_default();
    let sign = if magnitude.first().is_some_and(|first| *first >= 0x80) { &[0][..] } else { &[] };
    let len = u8::try_from(sign.len() + magnitude.len())?;
    Ok([&[0x02, len], sign, magnitude].concat())
}

/// Who makes user ids.
#[derive(Clone)]
pub struct Issuer {
    key: Key<Secp256k1>,
    prefix: Vec<u8>,
    card_type: String,
}

/// A phone an issuer has authorised.
#[derive(Clone)]
pub struct Phone {
    key: Key<Secp192k1>,
    prefix: Vec<u8>,
    /// Everything up to the issuer's signature: the same in every code it shows.
    levels: Vec<u8>,
}

impl Issuer {
    /// An issuer whose codes begin with these bytes.
    pub fn new(prefix: Vec<u8>, card_type: String, rng: &mut ChaCha20Rng) -> Result<Self> {
        Ok(Self { key: Key::generate(rng)?, prefix, card_type })
    }

    /// Its published key, as a profile says it.
    pub fn published(&self) -> String {
        let key = hex::encode(self.key.compressed());
        format!("[[alipay.keys]]\nkey_id = {KEY_ID}\nalgorithm = \"secp256k1\"\npublic_key = \"{key}\"\n")
    }

    /// Authorises a new phone to show codes of this user id, 16 ASCII characters.
    pub fn authorise(
        &self,
        user: &str,
        authorized_until: u32,
        validity: u16,
        rng: &mut ChaCha20Rng,
    ) -> Result<Phone> {
        ensure!(user.len() == 16 && user.is_ascii(), "expected a user id of 16 ASCII characters");
        let key = Key::generate(rng)?;
        let mut body = user.as_bytes().to_vec();
        body.extend(authorized_until.to_be_bytes());
        body.extend(validity.to_be_bytes());
        body.extend(2000_u16.to_be_bytes());
        body.extend([0; 12]);
        body.extend(key.compressed());
        body.extend(self.card_type.as_bytes());
        // Neither card number nor card data.
        body.extend([0, 0]);
        let signature = self.key.sign(&body)?;
        let mut levels = vec![2, 1, KEY_ID, u8::try_from(body.len())?];
        levels.extend(body);
        levels.push(u8::try_from(signature.len())?);
        levels.extend(signature);
        Ok(Phone { key, prefix: self.prefix.clone(), levels })
    }
}

impl Phone {
    /// A code of this second.
    pub fn code(&self, generated_at: u32) -> Result<Vec<u8>> {
        self.signed_by(&self.key, generated_at)
    }

    /// A code signed with another key than the issuer vouched for.
    pub fn forged(&self, generated_at: u32, rng: &mut ChaCha20Rng) -> Result<Vec<u8>> {
        self.signed_by(&Key::generate(rng)?, generated_at)
    }

    fn signed_by(&self, key: &Key<Secp192k1>, generated_at: u32) -> Result<Vec<u8>> {
        let mut signed = self.levels.clone();
        signed.push(4);
        signed.extend(generated_at.to_be_bytes());
        let signature = key.sign(&signed)?;
        Ok([self.prefix.as_slice(), &signed, &[u8::try_from(signature.len())?], &signature].concat())
    }
}
