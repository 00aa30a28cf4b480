//! Integers modulo n, the order of the curve (GB/T 32918.5): only what a verification adds and compares.

use crate::limb::{add4, from_be_bytes, less4, sub4};

/// n.
pub(crate) const N: [u64; 4] =
    [0x53bb_f409_39d5_4123, 0x7203_df6b_21c6_052b, u64::MAX, 0xffff_fffe_ffff_ffff];

/// An integer in [0, n − 1].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scalar([u64; 4]);

impl Scalar {
    /// Of 32 bytes, big-endian. `None` unless they are in [1, n − 1].
    pub(crate) fn from_be_bytes(bytes: &[u8; 32]) -> Option<Self> {
        let words = from_be_bytes(bytes);
        let scalar = Self(words);
        (less4(words, N) && !scalar.is_zero()).then_some(scalar)
    }

    /// Of any 32 bytes, big-endian, modulo n.
    pub(crate) fn reduce_be_bytes(bytes: &[u8; 32]) -> Self {
        let words = from_be_bytes(bytes);
        // 2²⁵⁶ is less than 2n.
        Self(if less4(words, N) { words } else { sub4(words, N).0 })
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0 == [0; 4]
    }

    pub(crate) const fn is_even(&self) -> bool {
        let [lowest, ..] = self.0;
        lowest & 1 == 0
    }

    pub(crate) const fn words(&self) -> [u64; 4] {
        self.0
    }

    pub(crate) fn add(&self, other: &Self) -> Self {
        let (sum, carry) = add4(self.0, other.0);
        Self(if carry || !less4(sum, N) { sub4(sum, N).0 } else { sum })
    }

    pub(crate) fn sub(&self, other: &Self) -> Self {
        let (difference, borrow) = sub4(self.0, other.0);
        Self(if borrow { add4(difference, N).0 } else { difference })
    }
}

#[cfg(test)]
mod tests;
