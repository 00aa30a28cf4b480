//! Which column of the file is what.

use super::fault::Fault;

/// What a card is made of, as the header calls it.
const NAMES: [&str; 4] = ["kind", "issuer", "number", "authorization_code"];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Where each of [`NAMES`] is.
#[derive(Clone, Copy)]
pub(super) struct Columns([usize; 4]);

impl Columns {
    /// Reads the header. What is wrong is said without its content: where there is no header, that is a card.
    pub(super) fn read(line: Result<&[u8], Fault>) -> Result<Self, String> {
        let expected = format!("expected {} in any order, with commas between", NAMES.join(","));
        if line.is_ok_and(|line| line.starts_with(b"\xff\xfe") || line.starts_with(b"\xfe\xff")) {
            return Err("this is UTF-16: save it as UTF-8".to_owned());
        }
        let text = line
            .ok()
            .and_then(|line| str::from_utf8(line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)).ok());
        let text = text.filter(|text| !text.contains('\0'));
        let text = text.ok_or_else(|| format!("this is not CSV in UTF-8: {expected}"))?;
        let fields: Vec<_> = text.split(',').map(|field| field.trim().trim_matches('"')).collect();
        if !fields.iter().any(|field| NAMES.contains(field)) {
            return Err(format!("there is no header: {expected}"));
        }
        let mut places = [0; 4];
        for (place, name) in places.iter_mut().zip(NAMES) {
            let mut found = (0..).zip(&fields).filter(|(_, field)| **field == name).map(|(place, _)| place);
            *place = found.next().ok_or_else(|| format!("there is no column {name}: {expected}"))?;
            if found.next().is_some() {
                return Err(format!("column {name} is there twice: {expected}"));
            }
        }
        let strange = (1..).zip(&fields).find(|(_, field)| !NAMES.contains(field));
        match strange {
            Some((place, _)) => Err(format!("column {place} is none of these: {expected}")),
            None => Ok(Self(places)),
        }
    }

    /// The fields of a line in the order of [`NAMES`]; none if it does not have exactly these.
    pub(super) fn of<'f>(self, fields: &[&'f [u8]]) -> Option<[&'f [u8]; 4]> {
        let [kind, issuer, number, code] = self.0.map(|place| fields.get(place).copied());
        Some([kind?, issuer?, number?, code?]).filter(|_| fields.len() == NAMES.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &[u8]) -> String {
        Columns::read(Ok(line)).err().unwrap()
    }

    #[test]
    fn a_header_has_four_names_in_any_order() {
        let read = |line: &'static [u8]| Columns::read(Ok(line)).ok().unwrap().0;
        assert_eq!(read(b"kind,issuer,number,authorization_code"), [0, 1, 2, 3]);
        assert_eq!(read(b"\xef\xbb\xbfauthorization_code,\"number\", issuer ,kind"), [3, 2, 1, 0]);
    }

    #[test]
    fn a_header_is_refused_without_its_content() {
        let columns = Columns::read(Ok(b"number,kind,issuer,authorization_code")).ok().unwrap();
        assert!(columns.of(&[b"1", b"2", b"3"]).is_none());
        assert!(columns.of(&[b"1", b"2", b"3", b"4", b"5"]).is_none());
        assert_eq!(columns.of(&[b"n", b"k", b"i", b"a"]), Some([&b"k"[..], b"i", b"n", b"a"]));
        for (line, why) in [
            (&b"senior-card,99990001,9550,code"[..], "there is no header"),
            (b"kind;issuer;number;authorization_code", "there is no header"),
            (b"", "there is no header"),
            (b"kind,issuer,number", "there is no column authorization_code"),
            (b"kind,kind,issuer,number,authorization_code", "column kind is there twice"),
            (b"kind,issuer,number,9550,authorization_code", "column 4 is none of these"),
            (b"\xff\xfek\0", "this is UTF-16"),
            (b"kind\0", "this is not CSV"),
            (b"\x89PNG\r", "this is not CSV"),
        ] {
            let said = refusal(line);
            assert!(said.starts_with(why) && !said.contains("9550"), "{said}");
        }
        assert!(Columns::read(Err(Fault::TooLong)).err().unwrap().starts_with("this is not CSV"));
    }
}
