//! SM2 signatures with SM3 (GB/T 32918.2, GB/T 32905), as ride codes use them.
//!
//! This file is the one place that knows which implementation verifies.

use sm2::dsa::{Signature, VerifyingKey, signature::Verifier};

/// The user id that GB/T 35276 prescribes where none was agreed; every ride code uses it.
pub const USER_ID: &str = "1234567812345678";

/// A public key: a point on the curve, decoded once.
#[derive(Debug, Clone)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Decodes a compressed point (`02` or `03`, then X). `None` if it is not on the curve.
    pub fn from_compressed(bytes: &[u8; 33]) -> Option<Self> {
        Self::from_sec1(bytes)
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

    /// Whether `signature` (r‖s, 32 bytes each, big-endian) is this key's over `message`.
    ///
    /// r and s must lie in [1, n−1] and r + s must not be n (GB/T 32918.2, 7.1).
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}
