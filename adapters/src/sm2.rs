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
        // The implementation would also take `05`, which leaves the choice of Y to it.
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

    /// Whether `signature` (r‖s, 32 bytes each, big-endian) is this key's over `message`.
    ///
    /// r and s must lie in [1, n−1] and r + s must not be n (GB/T 32918.2, 7.1).
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        Signature::from_slice(signature).is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_compressed_point_is_decoded_as_one() {
        let key = "037b85b821bcf941c69d52bd3a52c01a735b870e653547db9bfa20f94c5a6b3560";
        let mut bytes: [u8; 33] = hex::decode(key).unwrap().try_into().unwrap();
        let decoded: Vec<u8> = (0..=u8::MAX)
            .filter(|tag| {
                bytes[0] = *tag;
                PublicKey::from_compressed(&bytes).is_some()
            })
            .collect();
        assert_eq!(decoded, [2, 3]);
    }
}
