//! Signatures in DER: a sequence of two positive integers, each in the one form that DER allows.

use crate::{ecdsa::Rs, reader::Reader};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;

/// r and s, if `bytes` are the DER of two positive integers and nothing else.
pub(super) fn parse(bytes: &[u8]) -> Option<Rs<'_>> {
    let mut outer = Reader::new(bytes);
    let mut inner = Reader::new(value(&mut outer, SEQUENCE)?);
    let (r, s) = (positive(&mut inner)?, positive(&mut inner)?);
    (outer.is_empty() && inner.is_empty()).then_some(Rs { r, s })
}

/// Takes a tag and its value. The length must be in its shortest form; two bytes of it are more than a signature in
/// a ride code, whose own length is one byte, can have.
fn value<'a>(reader: &mut Reader<'a>, tag: u8) -> Option<&'a [u8]> {
    if reader.u8()? != tag {
        return None;
    }
    let len = match reader.u8()? {
        short @ 0..=0x7f => short,
        0x81 => reader.u8().filter(|long| *long >= 0x80)?,
        _ => return None,
    };
    reader.slice(usize::from(len))
}

/// An integer above zero, without the zero byte that keeps its sign.
fn positive<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    match value(reader, INTEGER)? {
        [0, magnitude @ ..] => magnitude.first().is_some_and(|first| *first >= 0x80).then_some(magnitude),
        magnitude => magnitude.first().is_some_and(|first| *first < 0x80).then_some(magnitude),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integers(der: &str) -> Option<(String, String)> {
        parse(&hex::decode(der).unwrap()).map(|rs| (hex::encode(rs.r), hex::encode(rs.s)))
    }

    #[test]
    fn two_positive_integers_are_read() {
        for (der, r, s) in [
            ("3006020101020101", "01", "01"),
            ("300602017f020102", "7f", "02"),
            ("300702020080020103", "80", "03"),
            ("300802020100020200ff", "0100", "ff"),
        ] {
            assert_eq!(integers(der), Some((r.into(), s.into())), "{der}");
        }
    }

    #[test]
    fn integers_of_any_length_are_read() {
        let long = |len: usize| {
            format!(
                "02{}{}",
                if len < 0x80 { format!("{len:02x}") } else { format!("81{len:02x}") },
                "11".repeat(len)
            )
        };
        // The sequence's length has one byte up to 127 and two from 128 on.
        for (len, head) in [(0x7a, "307f"), (0x7b, "308180"), (0x7f, "308184"), (0x80, "308186")] {
            let der = format!("{head}{}020101", long(len));
            assert_eq!(integers(&der), Some(("11".repeat(len), "01".into())), "{len}");
        }
    }

    #[test]
    fn whatever_is_not_minimal_or_not_positive_is_refused() {
        for (why, der) in [
            ("nothing", ""),
            ("no length", "30"),
            ("no sequence", "3106020101020101"),
            ("no integer", "3006030101020101"),
            ("an integer that is zero", "3006020100020101"),
            ("an integer that is negative", "3006020180020101"),
            ("an integer that is negative, second", "30060201010201ff"),
            ("an integer without bytes", "30050200020101"),
            ("a zero byte too many", "300702020001020101"),
            ("a zero byte too many, second", "30070201010202007f"),
            ("a zero byte too many before a needed one", "30080203000080020101"),
            ("one integer", "3003020101"),
            ("three integers", "3009020101020101020101"),
            ("a byte after the sequence", "300602010102010100"),
            ("a byte inside after the integers", "300702010102010100"),
            ("the sequence cut", "30060201010201"),
            ("the sequence longer than it says", "3005020101020101"),
            ("an integer longer than the sequence", "3006020101020201"),
            ("the indefinite length", "30800201010201010000"),
            ("a length in a longer form than needed", "308106020101020101"),
            ("a length in two bytes", "30820006020101020101"),
            ("an integer's length in a longer form than needed", "300702810101020101"),
            ("a length of the reserved form", "30ff020101020101"),
        ] {
            assert_eq!(integers(der), None, "{why}");
        }
    }
}
