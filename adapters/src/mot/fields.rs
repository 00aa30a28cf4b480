//! What is in a code, for people, by JT/T 1179's numbers.

use crate::{
    Field, Partners,
    explain::{Form, Table},
};

/// Every field as far as the bytes go, whatever they say.
pub(super) fn fields(payload: &[u8], _: &Partners) -> Vec<Field> {
    let mut table = Table::of(payload);
    table.take("1 version", 1, Form::Hex);
    table.take("2 length", 2, Form::Number);
    certificate(&mut table);
    table.take("4 payment account", 16, Form::HiddenText);
    table.take("5 card account", 10, Form::HiddenDigits);
    table.take("6 card issuer", 4, Form::Hex);
    table.take("7 code platform", 4, Form::Hex);
    table.take("8 account type", 1, Form::Number);
    table.take("9 limit per trip, fen", 3, Form::Number);
    table.take("10 user public key", 33, Form::Unshown);
    table.take("11 authorization ends", 4, Form::Time);
    table.take("12 validity, s", 2, Form::Number);
    let custom = table.count("13 length of custom domain");
    table.take("14 custom domain", custom, Form::Unshown);
    table.take("15 issuer signature", 65, Form::Unshown);
    table.take("16 generated at", 4, Form::Time);
    table.take("17 user signature", 65, Form::Unshown);
    table.end()
}

fn certificate(table: &mut Table<'_>) {
    for (name, len, form) in [
        ("3 certificate header", 1, Form::Hex),
        ("3 service id", 4, Form::Hex),
        ("3 root index", 1, Form::Number),
        ("3 certificate format", 1, Form::Hex),
        ("3 certificate issuer", 4, Form::Hex),
        ("3 certificate expiry, MMYY", 2, Form::Hex),
        ("3 certificate serial", 3, Form::Number),
        ("3 signature algorithm", 1, Form::Hex),
        ("3 encryption algorithm", 1, Form::Hex),
        ("3 certificate parameter", 1, Form::Hex),
        ("3 certificate key length", 1, Form::Number),
        ("3 issuer public key", 33, Form::Unshown),
        ("3 root's signature", 64, Form::Unshown),
    ] {
        table.take(name, len, form);
    }
}
