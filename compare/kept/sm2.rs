//! `adapters/src/sm2.rs` as it would be with the `sm2` crate: `scripts/compare` puts it there, in a copy of the tree. What is kept
//! of a key is the point alone, since that crate has no tables.

use ::sm2::dsa::{Signature, VerifyingKey, signature::Verifier};

/// The user id that GB/T 35276 prescribes where none was agreed; every ride code uses it.
pub const USER_ID: &str = "1234567812345678";

/// A public key: a point on the curve, decoded once.
#[derive(Debug, Clone)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Decodes a compressed point (`02` or `03`, then X). `None` if it is not on the curve.
    pub fn from_compressed(bytes: &[u8; 33]) -> Option<Self> {
        matches!(bytes, [2 | 3, ..]).then(|| Self::from_sec1(bytes)).flatten()
    }

    /// Decodes a raw point X‖Y. `None` if it is not on the curve.
    pub fn from_xy(bytes: &[u8; 64]) -> Option<Self> {
        let mut sec1 = [4; 65];
        let [_, xy @ ..] = &mut sec1;
        xy.copy_from_slice(bytes);
        Self::from_sec1(&sec1)
    }

    fn from_sec1(bytes: &[u8]) -> Option<Self> {
        VerifyingKey::from_sec1_bytes(USER_ID, bytes).ok().map(Self)
    }

    /// As it is.
    #[must_use]
    pub fn seen(self) -> Self {
        self
    }

    /// As it is.
    #[must_use]
    pub fn fixed(self) -> Self {
        self
    }

    /// About: there is no table, but how many keys there is room for is reckoned from it.
    pub const SEEN_BYTES: usize = size_of::<Self>();
    /// The same.
    pub const FIXED_BYTES: usize = Self::SEEN_BYTES;

    /// What one takes of memory, in bytes, its user id with it.
    pub const fn bytes(&self) -> usize {
        size_of::<Self>() + USER_ID.len()
    }

    /// Whether `signature` (r‖s, 32 bytes each, big-endian) is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}
