//! BER-TLV as EMV uses it (EMV Book 3, annex B), strictly: every length in its shortest form and inside what holds it,
//! no filler between objects.

use crate::reader::Reader;

/// Templates inside templates. EMV's go two deep; more is an attack on the stack.
const DEEPEST: usize = 4;
/// Bytes of a tag.
const LONGEST_TAG: usize = 3;
const CONSTRUCTED: u8 = 0x20;

/// One object.
#[derive(Clone, Copy)]
pub(super) struct Tlv<'a> {
    /// Its tag's bytes as a number, such as `0x9f26`.
    pub(super) tag: u32,
    pub(super) is_template: bool,
    /// Where its value begins.
    pub(super) at: usize,
    pub(super) value: &'a [u8],
}

/// Takes one object after another; ends where the bytes do or where they are no object.
pub(super) fn objects(bytes: &[u8]) -> impl Iterator<Item = Tlv<'_>> {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(move || next(&mut reader))
}

/// Whether these bytes are objects and nothing else, down to the innermost template.
pub(super) fn is_strict(bytes: &[u8]) -> bool {
    strict(bytes, DEEPEST)
}

fn strict(bytes: &[u8], deeper: usize) -> bool {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let Some(object) = next(&mut reader) else { return false };
        if object.is_template && (deeper == 0 || !strict(object.value, deeper - 1)) {
            return false;
        }
    }
    true
}

fn next<'a>(reader: &mut Reader<'a>) -> Option<Tlv<'a>> {
    let first = reader.u8()?;
    let tag = tag(first, reader)?;
    let len = length(reader)?;
    let at = reader.position();
    let value = reader.slice(len)?;
    Some(Tlv { tag, is_template: first & CONSTRUCTED != 0, at, value })
}

/// A tag of one byte, or of more where the first one's low five bits say so.
fn tag(first: u8, reader: &mut Reader<'_>) -> Option<u32> {
    if first == 0 {
        return None;
    }
    let mut tag = u32::from(first);
    if first & 0x1f != 0x1f {
        return Some(tag);
    }
    for position in 1..LONGEST_TAG {
        let byte = reader.u8()?;
        // A first byte of nothing makes the same number in one byte more.
        if position == 1 && matches!(byte, 0 | 0x80) {
            return None;
        }
        tag = tag << 8 | u32::from(byte);
        if byte & 0x80 == 0 {
            return Some(tag);
        }
    }
    None
}

/// A length in one byte, or in two or three where it must be.
fn length(reader: &mut Reader<'_>) -> Option<usize> {
    match reader.u8()? {
        short @ 0..=0x7f => Some(usize::from(short)),
        0x81 => reader.u8().filter(|len| *len >= 0x80).map(usize::from),
        0x82 => reader.u16().filter(|len| *len >= 0x100).map(usize::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(hex: &str) -> Option<Vec<(u32, usize)>> {
        let bytes = hex::decode(hex).unwrap();
        is_strict(&bytes).then(|| objects(&bytes).map(|object| (object.tag, object.value.len())).collect())
    }

    #[test]
    fn objects_are_read_one_after_another() {
        assert_eq!(read(""), Some(vec![]));
        assert_eq!(read("4f020102 5a00".replace(' ', "").as_str()), Some(vec![(0x4f, 2), (0x5a, 0)]));
        assert_eq!(read("9f260101"), Some(vec![(0x9f26, 1)]));
        assert_eq!(read("9f810101ff"), Some(vec![(0x009f_8101, 1)]));
        let (medium, long) = ("00".repeat(0x80), "00".repeat(0x100));
        assert_eq!(read(&format!("578180{medium}")), Some(vec![(0x57, 0x80)]));
        assert_eq!(read(&format!("57820100{long}")), Some(vec![(0x57, 0x100)]));
        assert_eq!(read("61034f0101"), Some(vec![(0x61, 3)]), "a template is one object");
    }

    #[test]
    fn whatever_is_not_in_its_one_form_is_refused() {
        for (why, hex) in [
            ("a tag without a length", "4f"),
            ("a tag cut short", "9f"),
            ("a length past the end", "4f0301"),
            ("a length in a longer form than needed", "4f810101"),
            ("a length of two bytes that one holds", &format!("578200ff{}", "00".repeat(0xff))),
            ("a length cut short", "4f81"),
            ("the indefinite length", "6180000000"),
            ("a length in three bytes", "4f8300000101"),
            ("filler before", "004f0101"),
            ("filler after", "4f010100"),
            ("a tag that begins with nothing", "9f800101"),
            ("a tag whose second byte is nothing", "9f000101"),
            ("a tag of four bytes", "9f81818101ff"),
            ("a template cut inside", "61034f0201"),
            ("templates too deep", "610c610a61086106610461024f00"),
        ] {
            assert_eq!(read(hex), None, "{why}");
        }
        assert!(read("610861066104 61024f00".replace(' ', "").as_str()).is_some(), "as deep as may be");
    }
}
