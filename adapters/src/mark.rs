//! How a partner's payloads look from outside, where the format leaves that to the partner.

use std::fmt;

/// What tells a partner's payloads from everybody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark {
    /// They begin with these bytes.
    Begins(Box<[u8]>),
    /// They have this length and this first byte.
    Sized {
        /// Bytes in all.
        length: usize,
        /// The first of them.
        first: u8,
    },
}

impl Mark {
    /// Whether a payload looks like this.
    pub fn claims(&self, payload: &[u8]) -> bool {
        match self {
            Self::Begins(bytes) => payload.starts_with(bytes),
            Self::Sized { length, first } => payload.len() == *length && payload.first() == Some(first),
        }
    }

    /// Whether some payload looks like both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Begins(one), Self::Begins(other)) => one.starts_with(other) || other.starts_with(one),
            (Self::Sized { .. }, Self::Sized { .. }) => self == other,
            (Self::Begins(bytes), Self::Sized { length, first })
            | (Self::Sized { length, first }, Self::Begins(bytes)) => {
                bytes.len() <= *length && bytes.first().is_none_or(|begin| begin == first)
            }
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins(bytes) => write!(f, "payloads that begin with {}", hex::encode(bytes)),
            Self::Sized { length, first } => {
                write!(f, "payloads of {length} bytes that begin with {first:02x}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begins(bytes: &[u8]) -> Mark {
        Mark::Begins(bytes.into())
    }

    #[test]
    fn marks_overlap_if_some_payload_has_both() {
        let sized = |length, first| Mark::Sized { length, first };
        for (one, other, overlap) in [
            (begins(b"YTX1:"), begins(b"YTX1:"), true),
            (begins(b"YTX1:"), begins(b"YTX"), true),
            (begins(b"YTX1:"), begins(b"YTX2"), false),
            (sized(84, 1), sized(84, 1), true),
            (sized(84, 1), sized(84, 3), false),
            (sized(84, 1), sized(83, 1), false),
            (begins(&[1, 2]), sized(84, 1), true),
            (begins(&[1, 2]), sized(2, 1), true),
            (begins(&[1, 2]), sized(1, 1), false),
            (begins(&[2, 2]), sized(84, 1), false),
        ] {
            assert_eq!(one.overlaps(&other), overlap, "{one}, {other}");
            assert_eq!(other.overlaps(&one), overlap, "{other}, {one}");
        }
    }
}
