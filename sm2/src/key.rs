//! Keys, as they verify once, some times or often.

use alloc::boxed::Box;
use core::fmt;

use crate::{
    field::Element,
    odd::Windowed,
    point::Affine,
    table::{Narrow, Wide},
    user::{USER_ID, z},
    verify::{hash, verifies},
};

/// A public key: a point on the curve, and the Z of its user (GB/T 32918.2, 5.5).
///
/// Takes nothing but itself to verify with. One that verifies again is worth a table: [`PublicKey::seen`] or
/// [`PublicKey::fixed`].
#[derive(Clone)]
pub struct PublicKey {
    point: Affine,
    z: [u8; 32],
}

impl PublicKey {
    /// Decodes a compressed point: `02` or `03` as y is even or odd, then x, big-endian. `None` if x is not less than
    /// p, or no point has it. The user id is [`USER_ID`].
    pub fn from_compressed(bytes: &[u8; 33]) -> Option<Self> {
        let [tag @ (2 | 3), x @ ..] = bytes else { return None };
        Self::new(Affine::from_x(Element::from_be_bytes(x)?, *tag == 3)?, USER_ID)
    }

    /// Decodes a raw point, x‖y, big-endian. `None` if x or y is not less than p, or the point is not on the curve. The
    /// user id is [`USER_ID`].
    pub fn from_xy(bytes: &[u8; 64]) -> Option<Self> {
        let ([x, y], _) = bytes.as_chunks() else { return None };
        Self::new(Affine::from_xy(Element::from_be_bytes(x)?, Element::from_be_bytes(y)?)?, USER_ID)
    }

    /// The same key for another user id. `None` if that has more than 8191 bytes.
    pub fn with_user_id(&self, user_id: &[u8]) -> Option<Self> {
        Self::new(self.point, user_id)
    }

    fn new(point: Affine, user_id: &[u8]) -> Option<Self> {
        Some(Self { point, z: z(user_id, &point)? })
    }

    /// The compressed point.
    pub fn to_compressed(&self) -> [u8; 33] {
        let mut bytes = [2 + u8::from(self.point.y.is_odd()); 33];
        let [_, x @ ..] = &mut bytes;
        *x = self.point.x.to_be_bytes();
        bytes
    }

    /// Whether `signature` (r‖s, 32 bytes each, big-endian) is this key's over `message`.
    ///
    /// As GB/T 32918.2, 7.1, has it: r and s must be in [1, n − 1], r + s must not be n, and the hash is SM3.
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.verifies_hash(&self.hash(message), signature)
    }

    /// e, the SM3 of Z and the message (GB/T 32918.2, 7.1, B3 and B4).
    pub fn hash(&self, message: &[u8]) -> [u8; 32] {
        hash(&self.z, message)
    }

    /// As [`PublicKey::verifies`], of a message that has the [`PublicKey::hash`] `e`.
    pub fn verifies_hash(&self, e: &[u8; 32], signature: &[u8; 64]) -> bool {
        verifies(e, signature, |scalar| Windowed::new(&self.point, scalar))
    }

    /// The key with a table of 2 KiB. Making it costs a little less than a verification, and makes the next ones cost a third.
    pub fn seen(&self) -> SeenKey {
        let mut table = Narrow::blank();
        table.fill(&self.point);
        SeenKey { key: self.clone(), table }
    }

    /// The key with a table of 128 KiB, on the heap. Making it costs as much as six verifications, and makes the next ones
    /// cost a fifth.
    pub fn fixed(&self) -> FixedKey {
        let mut table = Box::new(Wide::blank());
        table.fill(&self.point);
        FixedKey { key: self.clone(), table }
    }
}

/// The compressed point in hexadecimal.
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicKey(")?;
        self.to_compressed().iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// A public key that has been seen and may be again.
#[derive(Clone)]
pub struct SeenKey {
    key: PublicKey,
    table: Narrow,
}

/// Without the table.
impl fmt::Debug for SeenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SeenKey").field(&self.key).finish()
    }
}

impl SeenKey {
    /// What one takes of memory, in bytes.
    pub const BYTES: usize = size_of::<Self>();

    /// The key by itself.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// As [`PublicKey::verifies`].
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.verifies_hash(&self.key.hash(message), signature)
    }

    /// As [`PublicKey::verifies_hash`].
    pub fn verifies_hash(&self, e: &[u8; 32], signature: &[u8; 64]) -> bool {
        verifies(e, signature, |scalar| self.table.times(scalar))
    }
}

/// A public key that is here to stay: a root's or an issuer's.
#[derive(Clone)]
pub struct FixedKey {
    key: PublicKey,
    table: Box<Wide>,
}

/// Without the table.
impl fmt::Debug for FixedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FixedKey").field(&self.key).finish()
    }
}

impl FixedKey {
    /// What one takes of memory, in bytes, its table on the heap with it.
    pub const BYTES: usize = size_of::<Self>() + size_of::<Wide>();

    /// The key by itself.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// As [`PublicKey::verifies`].
    pub fn verifies(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.verifies_hash(&self.key.hash(message), signature)
    }

    /// As [`PublicKey::verifies_hash`].
    pub fn verifies_hash(&self, e: &[u8; 32], signature: &[u8; 64]) -> bool {
        verifies(e, signature, |scalar| self.table.times(scalar))
    }
}
