//! What is in a code, for people.

use super::{
    layout,
    pan::Pan,
    tlv::{Tlv, objects},
};
use crate::{Field, Partners, explain::Form};

/// Tags by name (`EMVCo` QR Code Specification for CPM, EMV Book 3 annex A), and how each is shown.
const KNOWN: [(u32, &str, Form); 22] = [
    (0x85, "payload format indicator", Form::Text),
    (0x61, "application template", Form::Unshown),
    (0x62, "common data template", Form::Unshown),
    (0x63, "application transparent template", Form::Unshown),
    (0x64, "common transparent template", Form::Unshown),
    (0x4f, "AID", Form::Hex),
    (0x50, "application label", Form::Text),
    (0x57, "track 2", Form::Unshown),
    (0x5a, "PAN", Form::HiddenDigits),
    (0x5f20, "cardholder name", Form::Unshown),
    (0x5f2d, "language preference", Form::Text),
    (0x5f34, "PAN sequence number", Form::Hex),
    (0x5f50, "issuer URL", Form::Text),
    (0x82, "application interchange profile", Form::Hex),
    (0x9f08, "application version", Form::Hex),
    (0x9f10, "issuer application data", Form::Unshown),
    (0x9f24, "payment account reference", Form::Unshown),
    (0x9f25, "last digits of the PAN", Form::Unshown),
    (0x9f26, "cryptogram", Form::Unshown),
    (0x9f27, "cryptogram information", Form::Hex),
    (0x9f36, "transaction counter", Form::Hex),
    (0x9f37, "unpredictable number", Form::Unshown),
];

/// Every object, template by template; places are those of the bytes that base64 holds.
pub(super) fn fields(payload: &[u8], _: &Partners) -> Vec<Field> {
    let mut fields = Vec::new();
    match layout::decode(payload) {
        Ok(bytes) => list(&bytes, 0, 0, &mut fields),
        Err(_) => fields.push(Field {
            name: "encoding".into(),
            at: 0,
            len: payload.len(),
            shown: "not base64 with its padding".into(),
        }),
    }
    fields
}

/// As deep as templates may be.
const DEEPEST: usize = 4;

fn list(bytes: &[u8], from: usize, depth: usize, fields: &mut Vec<Field>) {
    let indent = "  ".repeat(depth);
    let mut read = 0;
    for Tlv { tag, is_template, at, value } in objects(bytes) {
        let (_, name, form) =
            KNOWN.into_iter().find(|(known, ..)| *known == tag).unwrap_or((tag, "", Form::Unshown));
        let shown = match tag {
            layout::TRACK2 => Pan::from_track2(value).map_or_else(|| Form::Unshown.show(value), Pan::shown),
            _ => form.show(value),
        };
        fields.push(Field {
            name: format!("{indent}{tag:02x} {name}"),
            at: from + at,
            len: value.len(),
            shown,
        });
        if is_template && depth < DEEPEST {
            list(value, from + at, depth + 1, fields);
        }
        read = at + value.len();
    }
    if read < bytes.len() {
        let shown = "no object in its one form".into();
        let name = format!("{indent}cut short");
        fields.push(Field { name, at: from + read, len: bytes.len() - read, shown });
    }
}
