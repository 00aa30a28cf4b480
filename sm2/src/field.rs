//! Integers modulo p = 2²⁵⁶ − 2²²⁴ − 2⁹⁶ + 2⁶⁴ − 1, the field that SM2's curve is over (GB/T 32918.5).

use crate::{
    limb::{add4, from_be_bytes, less4, sub4, to_be_bytes},
    product::{Product, quotient},
};

/// p.
pub(crate) const P: [u64; 4] = [u64::MAX, 0xffff_ffff_0000_0000, u64::MAX, 0xffff_fffe_ffff_ffff];
/// 2²⁵⁶ − p.
pub(crate) const FOLD: [u64; 4] = [1, 0xffff_ffff, 0, 0x1_0000_0000];

/// An element a as a·2²⁵⁶ mod p (Montgomery's form), or that plus p where it is less than 2²⁵⁶.
///
/// To be less than 2²⁵⁶ rather than less than p saves every operation a comparison: what overflows is seen in a carry.
/// So zero and equality are questions to ask here and not of the words. They are open to the crate for the table that
/// the build script prints.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element(pub(crate) [u64; 4]);

impl Element {
    pub(crate) const ZERO: Self = Self([0; 4]);
    /// 2²⁵⁶ mod p.
    pub(crate) const ONE: Self = Self(FOLD);
    /// (2²⁵⁶)² mod p, which brings a number into Montgomery's form.
    const SQUARED: Self = Self::ONE.doubled(256);

    /// Of a number, below p or not.
    pub(crate) const fn new(words: [u64; 4]) -> Self {
        Self(words).mul(&Self::SQUARED)
    }

    /// Of 32 bytes, big-endian. `None` unless they are less than p.
    pub(crate) const fn from_be_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let words = from_be_bytes(bytes);
        if less4(words, P) { Some(Self::new(words)) } else { None }
    }

    /// 32 bytes, big-endian, less than p.
    pub(crate) fn to_be_bytes(self) -> [u8; 32] {
        to_be_bytes(self.to_words())
    }

    /// The number, less than p.
    const fn to_words(self) -> [u64; 4] {
        let words = quotient(self.0);
        let (reduced, borrow) = sub4(words, P);
        if borrow { words } else { reduced }
    }

    pub(crate) const fn is_odd(&self) -> bool {
        let [lowest, ..] = self.to_words();
        lowest & 1 == 1
    }

    pub(crate) const fn is_zero(&self) -> bool {
        let [a0, a1, a2, a3] = self.0;
        let [p0, p1, p2, p3] = P;
        (a0 | a1 | a2 | a3) == 0 || ((a0 ^ p0) | (a1 ^ p1) | (a2 ^ p2) | (a3 ^ p3)) == 0
    }

    pub(crate) const fn equals(&self, other: &Self) -> bool {
        self.sub(other).is_zero()
    }

    #[inline(always)]
    pub(crate) const fn add(&self, other: &Self) -> Self {
        let (sum, carry) = add4(self.0, other.0);
        overflowed(sum, carry)
    }

    #[inline(always)]
    pub(crate) const fn sub(&self, other: &Self) -> Self {
        let (difference, borrow) = sub4(self.0, other.0);
        let (difference, borrow) = sub4(difference, fold(borrow));
        // Once in 2³² at most, so a branch is cheaper.
        if borrow { Self(sub4(difference, FOLD).0) } else { Self(difference) }
    }

    #[inline(always)]
    pub(crate) const fn neg(&self) -> Self {
        Self::ZERO.sub(self)
    }

    #[inline(always)]
    pub(crate) const fn double(&self) -> Self {
        self.add(self)
    }

    /// The element that is this one when doubled: of an odd number the half of it plus p.
    #[inline(always)]
    pub(crate) const fn half(&self) -> Self {
        let [a0, ..] = self.0;
        let ([h0, h1, h2, h3], carry) = add4(self.0, masked(P, a0 & 1 == 1));
        Self([h0 >> 1 | h1 << 63, h1 >> 1 | h2 << 63, h2 >> 1 | h3 << 63, h3 >> 1 | (carry as u64) << 63])
    }

    #[inline(always)]
    pub(crate) const fn mul(&self, other: &Self) -> Self {
        self.times(other).reduce()
    }

    #[inline(always)]
    pub(crate) const fn square(&self) -> Self {
        self.squared().reduce()
    }

    /// The product, for more to be done to it before it is reduced.
    #[inline(always)]
    pub(crate) const fn times(&self, other: &Self) -> Product {
        Product::of(self.0, other.0)
    }

    /// As [`Element::times`] itself.
    #[inline(always)]
    pub(crate) const fn squared(&self) -> Product {
        Product::of_square(self.0)
    }

    /// Squared `times` times.
    const fn raised(mut self, mut times: u32) -> Self {
        while times > 0 {
            self = self.square();
            times -= 1;
        }
        self
    }

    /// Doubled `times` times.
    const fn doubled(mut self, mut times: u32) -> Self {
        while times > 0 {
            self = self.double();
            times -= 1;
        }
        self
    }

    /// Raised to 2³¹ − 1 and to 2³² − 1, and to what p − 2 and (p + 1) ÷ 4 begin with: 31 ones, a zero, 128 ones.
    const fn runs(&self) -> [Self; 3] {
        let x2 = self.raised(1).mul(self);
        let x3 = x2.raised(1).mul(self);
        let x6 = x3.raised(3).mul(&x3);
        let x12 = x6.raised(6).mul(&x6);
        let x24 = x12.raised(12).mul(&x12);
        let x30 = x24.raised(6).mul(&x6);
        let x31 = x30.raised(1).mul(self);
        let x32 = x31.raised(1).mul(self);
        let begin = x31.raised(33).mul(&x32).raised(32).mul(&x32).raised(32).mul(&x32).raised(32).mul(&x32);
        [x31, x32, begin]
    }

    /// 1 ÷ this, by raising it to p − 2; zero of zero.
    pub(crate) const fn invert(&self) -> Self {
        let [x31, _, begin] = self.runs();
        // Then 32 zeros, 62 ones, a zero and a one.
        begin.raised(63).mul(&x31).raised(31).mul(&x31).raised(2).mul(self)
    }

    /// A square root, by raising this to (p + 1) ÷ 4. `None` where it has none.
    pub(crate) const fn sqrt(&self) -> Option<Self> {
        let [_, _, begin] = self.runs();
        // Then 31 zeros, a one and 62 zeros.
        let root = begin.raised(32).mul(self).raised(62);
        if root.square().equals(self) { Some(root) } else { None }
    }
}

/// 2²⁵⁶ − p if `wanted`, else zero: without a branch, as the bit is as good as random.
#[inline(always)]
pub(crate) const fn fold(wanted: bool) -> [u64; 4] {
    let bit = wanted as u64;
    [bit, (bit << 32).wrapping_sub(bit), 0, bit << 32]
}

/// `words` if `wanted`, else zero.
const fn masked(words: [u64; 4], wanted: bool) -> [u64; 4] {
    let [w0, w1, w2, w3] = words;
    let mask = (wanted as u64).wrapping_neg();
    [w0 & mask, w1 & mask, w2 & mask, w3 & mask]
}

/// The element of `words` + 2²⁵⁶·`carry`.
#[inline(always)]
const fn overflowed(words: [u64; 4], carry: bool) -> Element {
    let (words, carry) = add4(words, fold(carry));
    // Once in 2³² at most, so a branch is cheaper.
    if carry { Element(add4(words, FOLD).0) } else { Element(words) }
}

#[cfg(test)]
#[path = "field/tests.rs"]
mod tests;
