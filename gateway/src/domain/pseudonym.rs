//! Names that tell nothing.

/// A keyed name: the same thing has the same one under the same key, and nobody without the key can tell whose it
/// is or make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pseudonym(pub [u8; 32]);
