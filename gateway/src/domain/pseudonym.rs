//! Names that tell nothing.

/// A keyed name: the same thing has the same one under the same key, and nobody without the key can tell whose it
/// is or make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pseudonym(pub [u8; 32]);

/// Half a name: enough for what lives some minutes, where two would be called the same after 2⁶⁴ of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(pub [u8; 16]);

impl Pseudonym {
    /// Its first half.
    pub const fn tag(&self) -> Tag {
        let (half, _) = self.0.split_at(16);
        let mut tag = [0; 16];
        tag.copy_from_slice(half);
        Tag(tag)
    }
}
