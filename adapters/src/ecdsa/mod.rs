//! ECDSA with SHA-1 over secp256k1 and secp192k1, as `alipay` codes use it, and only they: both the hash and the
//! 192-bit curve are weak, and are accepted because those phones sign with nothing else.
//!
//! This folder is the one place that knows which implementation verifies.

mod secp192k1;

use ::ecdsa::{EcdsaCurve, Signature, SignatureSize, hazmat::verify_prehashed};
use elliptic_curve::{
    self, AffinePoint, CurveArithmetic, FieldBytes, FieldBytesSize, ProjectivePoint,
    array::ArraySize,
    sec1::{FromSec1Point, ModulusSize, ToSec1Point},
};
use sha1::{Digest, Sha1};

pub use k256::Secp256k1;
pub use secp192k1::Secp192k1;

/// r and s, big-endian, without leading zeros. Any length: what is longer than the curve's order verifies nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rs<'a> {
    /// The first integer.
    pub r: &'a [u8],
    /// The second.
    pub s: &'a [u8],
}

/// A public key: a point on the curve, decoded once.
#[derive(Debug, Clone)]
pub struct PublicKey<C: CurveArithmetic>(ProjectivePoint<C>);

impl<C> PublicKey<C>
where
    C: EcdsaCurve + CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
    SignatureSize<C>: ArraySize,
{
    /// Decodes a compressed point (`02` or `03`, then X). `None` if it is not on the curve.
    pub fn from_compressed(bytes: &[u8]) -> Option<Self> {
        // The implementation would also take `04` with both coordinates, and `05`, which leaves the choice of Y to it.
        if !matches!(bytes, [2 | 3, ..]) {
            return None;
        }
        elliptic_curve::PublicKey::<C>::from_sec1_bytes(bytes).ok().map(|key| Self(key.to_projective()))
    }

    /// Whether the signature is this key's over the SHA-1 of `message`.
    ///
    /// r and s must lie in [1, n−1] (SEC 1, 4.1.4). Of s and n − s both are accepted: phones sign with either, and
    /// nothing here depends on a signature having one form.
    pub fn verifies(&self, message: &[u8], signature: Rs<'_>) -> bool {
        let Some(signature) = signature.on_curve::<C>() else { return false };
        verify_prehashed::<C>(&self.0, &Sha1::digest(message), &signature).is_ok()
    }
}

impl Rs<'_> {
    /// r‖s, 32 bytes each, if they fit.
    pub(crate) fn to_fixed(self) -> Option<[u8; 64]> {
        let mut fixed = [0; 64];
        let (r, s) = fixed.split_at_mut(32);
        (pad(self.r, r) && pad(self.s, s)).then_some(fixed)
    }

    fn on_curve<C: EcdsaCurve + CurveArithmetic>(self) -> Option<Signature<C>>
    where
        SignatureSize<C>: ArraySize,
    {
        let (mut r, mut s) = (FieldBytes::<C>::default(), FieldBytes::<C>::default());
        if !pad(self.r, &mut r) || !pad(self.s, &mut s) {
            return None;
        }
        let signature = Signature::from_scalars(r, s).ok()?;
        // The implementation takes only the lower s on some curves.
        Some(if C::NORMALIZE_S { signature.normalize_s() } else { signature })
    }
}

/// Writes an integer to the end of `field`, if it fits.
fn pad(integer: &[u8], field: &mut [u8]) -> bool {
    let end = field.len().checked_sub(integer.len()).and_then(|at| field.get_mut(at..));
    end.map(|end| end.copy_from_slice(integer)).is_some()
}

#[cfg(test)]
mod tests;
