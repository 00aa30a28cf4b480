//! Products of two elements, and how they are reduced after Montgomery.

use crate::{
    field::{Element, FOLD, fold},
    limb::{add, add4, mul, mul_add, sub4, sub4_borrow},
};

/// A product before it is reduced: `low` + 2²⁵⁶·`high`, `high` being at most 2²⁵⁶ − 2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    low: [u64; 4],
    high: [u64; 4],
}

impl Product {
    /// Row by row: of every product of two words the low halves are one number to add, the high halves another.
    #[inline(always)]
    pub(crate) const fn of(a: [u64; 4], b: [u64; 4]) -> Self {
        let [a0, a1, a2, a3] = a;
        let [b0, b1, b2, b3] = b;
        let (r0, h0) = mul(a0, b0);
        let (l1, h1) = mul(a0, b1);
        let (l2, h2) = mul(a0, b2);
        let (l3, h3) = mul(a0, b3);
        let ([r1, r2, r3, r4], _) = add4([l1, l2, l3, 0], [h0, h1, h2, h3]);
        let ([r1, r2, r3, r4], r5) = add_row([r1, r2, r3, r4], a1, b);
        let ([r2, r3, r4, r5], r6) = add_row([r2, r3, r4, r5], a2, b);
        let ([r3, r4, r5, r6], r7) = add_row([r3, r4, r5, r6], a3, b);
        Self { low: [r0, r1, r2, r3], high: [r4, r5, r6, r7] }
    }

    #[inline(always)]
    pub(crate) const fn of_square(a: [u64; 4]) -> Self {
        let [a0, a1, a2, a3] = a;
        // Every product of two different words once …
        let (r1, c) = mul_add(a0, a1, 0, 0);
        let (r2, c) = mul_add(a0, a2, c, 0);
        let (r3, r4) = mul_add(a0, a3, c, 0);
        let (r3, c) = mul_add(a1, a2, r3, 0);
        let (r4, r5) = mul_add(a1, a3, r4, c);
        let (r5, r6) = mul_add(a2, a3, r5, 0);
        // … twice, and every word by itself.
        let (s0, s1) = mul_add(a0, a0, 0, 0);
        let (s2, s3) = mul_add(a1, a1, 0, 0);
        let (s4, s5) = mul_add(a2, a2, 0, 0);
        let (s6, s7) = mul_add(a3, a3, 0, 0);
        let (t1, c) = add(r1 << 1, s1, false);
        let (t2, c) = add(r2 << 1 | r1 >> 63, s2, c);
        let (t3, c) = add(r3 << 1 | r2 >> 63, s3, c);
        let (t4, c) = add(r4 << 1 | r3 >> 63, s4, c);
        let (t5, c) = add(r5 << 1 | r4 >> 63, s5, c);
        let (t6, c) = add(r6 << 1 | r5 >> 63, s6, c);
        let (t7, _) = add(r6 >> 63, s7, c);
        Self { low: [s0, t1, t2, t3], high: [t4, t5, t6, t7] }
    }

    /// The difference, or that plus a multiple of p·2²⁵⁶.
    #[inline(always)]
    pub(crate) const fn minus(&self, other: &Self) -> Self {
        let (low, borrow) = sub4(self.low, other.low);
        let (high, borrow) = sub4_borrow(self.high, other.high, borrow);
        let (high, borrow) = sub4(high, fold(borrow));
        // Once in 2³² at most, so a branch is cheaper.
        if borrow { Self { low, high: sub4(high, FOLD).0 } } else { Self { low, high } }
    }

    /// Divided by 2²⁵⁶.
    #[inline(always)]
    pub(crate) const fn reduce(&self) -> Element {
        let (words, carry) = add4(quotient(self.low), self.high);
        Element(add4(words, fold(carry)).0)
    }
}

/// `words` + a·b, as four words and a fifth.
#[inline(always)]
const fn add_row(words: [u64; 4], a: u64, b: [u64; 4]) -> ([u64; 4], u64) {
    let [b0, b1, b2, b3] = b;
    let (l0, h0) = mul(a, b0);
    let (l1, h1) = mul(a, b1);
    let (l2, h2) = mul(a, b2);
    let (l3, h3) = mul(a, b3);
    let ([r0, r1, r2, r3], carry) = add4(words, [l0, l1, l2, l3]);
    let ([r1, r2, r3, r4], _) = add4([r1, r2, r3, carry as u64], [h0, h1, h2, h3]);
    ([r0, r1, r2, r3], r4)
}

/// `words` ÷ 2²⁵⁶ modulo p, at most p.
#[inline(always)]
pub(crate) const fn quotient(words: [u64; 4]) -> [u64; 4] {
    shifted(shifted(shifted(shifted(words))))
}

/// `words` ÷ 2⁶⁴ modulo p, less than 2²⁵⁶.
///
/// p being −1 modulo 2⁶⁴, the lowest word times p makes it vanish; and p + 1 = 2⁶⁴·(1 − 2³² − 2¹⁶⁰ + 2¹⁹²), so to
/// multiply is to add and to subtract. On the way the sum may overflow; it comes back.
#[inline(always)]
const fn shifted(words: [u64; 4]) -> [u64; 4] {
    let [lowest, w1, w2, w3] = words;
    let (low, high) = (lowest << 32, lowest >> 32);
    let (sum, _) = add4([w1, w2, w3, lowest], [lowest, 0, 0, 0]);
    sub4(sum, [low, high, low, high]).0
}
