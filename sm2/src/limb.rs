//! Words of 64 bits and what they carry. Values of several words are kept least significant word first.

/// a + b + carry, and whether it overflowed.
#[inline(always)]
pub(crate) const fn add(a: u64, b: u64, carry: bool) -> (u64, bool) {
    let (sum, first) = a.overflowing_add(b);
    let (sum, second) = sum.overflowing_add(carry as u64);
    (sum, first | second)
}

/// a − b − borrow, and whether it underflowed.
#[inline(always)]
pub(crate) const fn sub(a: u64, b: u64, borrow: bool) -> (u64, bool) {
    let (difference, first) = a.overflowing_sub(b);
    let (difference, second) = difference.overflowing_sub(borrow as u64);
    (difference, first | second)
}

/// a·b + c + d, low word and high word. It cannot overflow.
#[expect(clippy::cast_possible_truncation, reason = "the two halves of a double word")]
#[inline(always)]
pub(crate) const fn mul_add(a: u64, b: u64, c: u64, d: u64) -> (u64, u64) {
    let wide = a as u128 * b as u128 + c as u128 + d as u128;
    (wide as u64, (wide >> 64) as u64)
}

/// a·b, low word and high word.
#[inline(always)]
pub(crate) const fn mul(a: u64, b: u64) -> (u64, u64) {
    mul_add(a, b, 0, 0)
}

/// Four words plus four words, and whether it overflowed.
#[inline(always)]
pub(crate) const fn add4(a: [u64; 4], b: [u64; 4]) -> ([u64; 4], bool) {
    let [a0, a1, a2, a3] = a;
    let [b0, b1, b2, b3] = b;
    let (s0, carry) = add(a0, b0, false);
    let (s1, carry) = add(a1, b1, carry);
    let (s2, carry) = add(a2, b2, carry);
    let (s3, carry) = add(a3, b3, carry);
    ([s0, s1, s2, s3], carry)
}

/// Four words minus four words, and whether it underflowed.
#[inline(always)]
pub(crate) const fn sub4(a: [u64; 4], b: [u64; 4]) -> ([u64; 4], bool) {
    sub4_borrow(a, b, false)
}

/// Four words minus four words and what was borrowed before, and whether it underflowed.
#[inline(always)]
pub(crate) const fn sub4_borrow(a: [u64; 4], b: [u64; 4], borrow: bool) -> ([u64; 4], bool) {
    let [a0, a1, a2, a3] = a;
    let [b0, b1, b2, b3] = b;
    let (d0, borrow) = sub(a0, b0, borrow);
    let (d1, borrow) = sub(a1, b1, borrow);
    let (d2, borrow) = sub(a2, b2, borrow);
    let (d3, borrow) = sub(a3, b3, borrow);
    ([d0, d1, d2, d3], borrow)
}

/// Whether a < b.
#[inline(always)]
pub(crate) const fn less4(a: [u64; 4], b: [u64; 4]) -> bool {
    sub4(a, b).1
}

/// 32 bytes, big-endian, as four words.
#[inline(always)]
pub(crate) const fn from_be_bytes(bytes: &[u8; 32]) -> [u64; 4] {
    let (words, _) = bytes.as_chunks::<8>();
    let [w3, w2, w1, w0] = words else { return [0; 4] };
    [u64::from_be_bytes(*w0), u64::from_be_bytes(*w1), u64::from_be_bytes(*w2), u64::from_be_bytes(*w3)]
}

/// Four words as 32 bytes, big-endian.
pub(crate) fn to_be_bytes(words: [u64; 4]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (chunk, word) in bytes.as_chunks_mut::<8>().0.iter_mut().rev().zip(words) {
        *chunk = word.to_be_bytes();
    }
    bytes
}
