//! The verification itself: GB/T 32918.2, 7.1.

use sm3::{Digest, Sm3};

use crate::{
    comb::GENERATOR,
    field::{Element, P},
    limb::{add4, less4},
    point::Jacobian,
    scalar::{N, Scalar},
    sum::{Term, sum},
};

/// e, the hash of Z and a message: 7.1, B3 and B4.
pub(crate) fn hash(z: &[u8; 32], message: &[u8]) -> [u8; 32] {
    Sm3::new().chain_update(z).chain_update(message).finalize().into()
}

/// Whether `signature` is one over what has the hash `e`, by the key that `multiple` multiplies: 7.1.
pub(crate) fn verifies<T: Term>(
    e: &[u8; 32],
    signature: &[u8; 64],
    multiple: impl FnOnce(&Scalar) -> T,
) -> bool {
    let ([r, s], _) = signature.as_chunks() else { return false };
    // B1, B2.
    let (Some(r), Some(s)) = (Scalar::from_be_bytes(r), Scalar::from_be_bytes(s)) else { return false };
    // B5.
    let t = r.add(&s);
    if t.is_zero() {
        return false;
    }
    // B6.
    let point = sum(&GENERATOR.times(&s), &multiple(&t));
    // B7: r is e + x modulo n.
    !point.is_infinity() && has_x(&point, &r.sub(&Scalar::reduce_be_bytes(e)))
}

/// Whether the affine x of `point` is `x` modulo n. To ask it of x·z² needs no inversion.
fn has_x(point: &Jacobian, x: &Scalar) -> bool {
    let zz = point.z.square();
    let is = |x| Element::new(x).mul(&zz).equals(&point.x);
    // There are a few more numbers modulo p than modulo n, so what is very small may stand for itself and n more.
    let (more, carry) = add4(x.words(), N);
    is(x.words()) || (!carry && less4(more, P) && is(more))
}

#[cfg(test)]
mod tests;
