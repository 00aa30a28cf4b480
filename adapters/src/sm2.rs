//! SM2 signatures with SM3 (GB/T 32918.2, GB/T 32905), as ride codes use them.
//!
//! This file is the one place that knows which implementation verifies.

use std::sync::Arc;

use ridegate_sm2::{FixedKey, SeenKey};

/// The user id that GB/T 35276 prescribes where none was agreed; every ride code uses it.
pub const USER_ID: &str = "1234567812345678";

/// A public key: a point on the curve, decoded once, and as much of a table for it as it is worth.
#[derive(Debug, Clone)]
pub struct PublicKey(Form);

/// What an `Arc` has beside what it holds.
const COUNTS: usize = 2 * size_of::<usize>();

#[derive(Debug, Clone)]
enum Form {
    New(ridegate_sm2::PublicKey),
    Seen(Arc<SeenKey>),
    Fixed(Arc<FixedKey>),
}

impl PublicKey {
    /// Decodes a compressed point (`02` or `03`, then X). `None` if it is not on the curve.
    pub fn from_compressed(bytes: &[u8; 33]) -> Option<Self> {
        ridegate_sm2::PublicKey::from_compressed(bytes).map(|key| Self(Form::New(key)))
    }

    /// Decodes a raw point X‖Y. `None` if it is not on the curve.
    pub fn from_xy(bytes: &[u8; 64]) -> Option<Self> {
        ridegate_sm2::PublicKey::from_xy(bytes).map(|key| Self(Form::New(key)))
    }

    /// With 2 KiB of table, for a key that is likely to verify again. Together with the next verification that costs a
    /// good quarter more than a verification without, and every other one costs a third of it.
    #[must_use]
    pub fn seen(self) -> Self {
        match self.0 {
            Form::New(key) => Self(Form::Seen(Arc::new(key.seen()))),
            known => Self(known),
        }
    }

    /// With 128 KiB of table, for a key that is loaded once and verifies all the time.
    #[must_use]
    pub fn fixed(self) -> Self {
        match self.0 {
            Form::New(key) => Self(Form::Fixed(Arc::new(key.fixed()))),
            Form::Seen(key) => Self(Form::Fixed(Arc::new(key.key().fixed()))),
            fixed @ Form::Fixed(_) => Self(fixed),
        }
    }

    /// What the table of a [`seen`](Self::seen) one takes of the heap, in bytes. Clones share it.
    pub const SEEN_BYTES: usize = COUNTS + SeenKey::BYTES;
    /// As much of a [`fixed`](Self::fixed) one.
    pub const FIXED_BYTES: usize = COUNTS + FixedKey::BYTES;

    /// What one takes of memory, in bytes, its table with it.
    pub const fn bytes(&self) -> usize {
        let table = match &self.0 {
            Form::New(_) => 0,
            Form::Seen(_) => Self::SEEN_BYTES,
            Form::Fixed(_) => Self::FIXED_BYTES,
        };
        size_of::<Self>() + table
    }

    /// Whether `signature` (r‖s, 32 bytes each, big-endian) is this key's over `message`.
    ///
    /// r and s must lie in [1, n−1] and r + s must not be n (GB/T 32918.2, 7.1).
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        match &self.0 {
            Form::New(key) => key.verifies(message, signature),
            Form::Seen(key) => key.verifies(message, signature),
            Form::Fixed(key) => key.verifies(message, signature),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "037b85b821bcf941c69d52bd3a52c01a735b870e653547db9bfa20f94c5a6b3560";

    fn key_bytes() -> [u8; 33] {
        hex::decode(KEY).unwrap().try_into().unwrap()
    }

    #[test]
    fn only_a_compressed_point_is_decoded_as_one() {
        let mut bytes = key_bytes();
        let decoded: Vec<u8> = (0..=u8::MAX)
            .filter(|tag| {
                bytes[0] = *tag;
                PublicKey::from_compressed(&bytes).is_some()
            })
            .collect();
        assert_eq!(decoded, [2, 3]);
    }

    #[test]
    fn the_user_id_is_the_one_that_keys_hash() {
        assert_eq!(USER_ID.as_bytes(), ridegate_sm2::USER_ID);
    }

    /// The example of GB/T 32918.5, annex A.
    #[test]
    fn every_form_verifies_alike() {
        let xy = "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020\
                  ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13";
        let signature = "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3\
                         b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa";
        let signature = hex::decode(signature).unwrap().try_into().unwrap();
        let new = PublicKey::from_xy(&hex::decode(xy).unwrap().try_into().unwrap()).unwrap();
        let seen = new.clone().seen();
        for key in [seen.clone().seen(), seen.clone().fixed(), new.clone().fixed().fixed(), seen, new] {
            assert!(key.verifies(b"message digest", &signature), "{key:?}");
            assert!(!key.verifies(b"message digesT", &signature), "{key:?}");
        }
    }
}
