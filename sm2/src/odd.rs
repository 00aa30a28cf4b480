//! Multiples of a point that nothing is known of: windows over the scalar, and a table of odd multiples made on the spot.

use crate::{
    point::{Addend, Affine, Jacobian},
    scalar::Scalar,
    sum::Term,
};

/// Bits of a window, its sign included.
const WINDOW: usize = 6;
/// How many odd multiples a window chooses from; their inverses come with them.
const MULTIPLES: usize = 1 << (WINDOW - 2);
/// A digit for each bit of a scalar, and the carry.
const DIGITS: usize = 257;

/// A scalar times a point.
#[derive(Debug)]
pub(crate) struct Windowed {
    /// 1, 3, 5 … times the point.
    multiples: [Addend; MULTIPLES],
    /// Zero, or odd and between −2^(`WINDOW` − 1) and 2^(`WINDOW` − 1).
    digits: [i8; DIGITS],
    len: usize,
}

impl Windowed {
    pub(crate) fn new(point: &Affine, scalar: &Scalar) -> Self {
        let digits = digits(scalar);
        let len = digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
        Self { multiples: odd_multiples(point), digits, len }
    }
}

impl Term for Windowed {
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn add_to(&self, sum: Jacobian, place: usize) -> Jacobian {
        let digit = self.digits.get(place).copied().unwrap_or(0);
        if digit == 0 {
            return sum;
        }
        let Some(point) = self.multiples.get(usize::from(digit.unsigned_abs()) / 2) else { return sum };
        if digit < 0 { sum.add(&point.neg()) } else { sum.add(point) }
    }
}

/// The non-adjacent form of a scalar: after a digit that is not zero at least `WINDOW` − 1 are.
fn digits(scalar: &Scalar) -> [i8; DIGITS] {
    let mut digits = [0; DIGITS];
    let mut carry = 0;
    let mut next = 0;
    for (place, digit) in digits.iter_mut().enumerate() {
        if place < next || bits(scalar, place, 1) == carry {
            continue;
        }
        let window = bits(scalar, place, WINDOW) + carry;
        carry = window >> (WINDOW - 1);
        *digit = window - (carry << WINDOW);
        next = place + WINDOW;
    }
    digits
}

/// `count` bits of a scalar, from that of 2^`place`.
#[expect(clippy::cast_possible_truncation, reason = "a window has few bits")]
fn bits(scalar: &Scalar, place: usize, count: usize) -> i8 {
    let words = scalar.words();
    let word = |at: usize| u128::from(words.get(at).copied().unwrap_or(0));
    let pair = word(place / 64) | word(place / 64 + 1) << 64;
    (pair >> (place % 64)) as i8 & ((1 << count) - 1)
}

/// 1, 3, 5 … times the point.
///
/// Points that share their z are added with five multiplications and two squarings (Meloni), and what comes out shares it
/// with twice the point, which is the next to be added. The sums are never of equal or inverse points: those would be
/// small multiples of a point of order n.
fn odd_multiples(point: &Affine) -> [Addend; MULTIPLES] {
    let (mut multiple, mut twice) = doubled_together(point);
    let mut multiples = [Jacobian::of(point).addend(); MULTIPLES];
    for next in multiples.iter_mut().skip(1) {
        (multiple, twice) = added_together(&twice, &multiple);
        *next = multiple.addend();
    }
    multiples
}

/// The point and twice the point, with the same z.
fn doubled_together(point: &Affine) -> (Jacobian, Jacobian) {
    let twice = Jacobian::of(point).double();
    // z is y now.
    let yy = point.y.square();
    (Jacobian { x: point.x.mul(&yy), y: yy.square(), z: twice.z }, twice)
}

/// The sum of the two, and `one` again with the z of the sum.
fn added_together(one: &Jacobian, other: &Jacobian) -> (Jacobian, Jacobian) {
    let run = one.x.sub(&other.x);
    let rise = one.y.sub(&other.y);
    let square = run.square();
    let one_x = one.x.mul(&square);
    let other_x = other.x.mul(&square);
    let one_y = one.y.mul(&one_x.sub(&other_x));
    let x = rise.square().sub(&one_x).sub(&other_x);
    let y = rise.mul(&one_x.sub(&x)).sub(&one_y);
    let z = one.z.mul(&run);
    (Jacobian { x, y, z }, Jacobian { x: one_x, y: one_y, z })
}

#[cfg(test)]
mod tests;
