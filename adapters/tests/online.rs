//! What holds for codes that only their partner can read.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use base64::{Engine, prelude::BASE64_STANDARD};
use common::{NOW, open};
use ridegate_adapters::{CodeError, NoMemory, Opened, Partners};

/// A card code of these bytes in hexadecimal.
fn cpm(hex: &str) -> Vec<u8> {
    BASE64_STANDARD.encode(hex::decode(hex).unwrap()).into_bytes()
}

/// `partner` of a code that is in order, else the error's name and field.
fn said(payload: &[u8]) -> String {
    match open(&Partners::shipped().unwrap(), payload, NOW, &NoMemory) {
        Ok(Opened::Online(code)) => code.partner().to_string(),
        Ok(Opened::Checked(_)) => panic!("nobody has verified it"),
        Err(CodeError::Malformed { field, .. }) => format!("MALFORMED {field}"),
        Err(CodeError::UnsupportedMedium { field }) => format!("UNSUPPORTED_MEDIUM {field}"),
        Err(error) => error.name().to_owned(),
    }
}

/// An object: its tag, its length, its value.
fn object(tag: &str, value: &str) -> String {
    format!("{tag}{:02x}{value}", value.len() / 2)
}

fn application(objects: &[&str]) -> String {
    object("61", &objects.concat())
}

const CPV: &str = "85054350563031";
const AID: &str = "4f08a000000333010101";
const OTHER_AID: &str = "4f07a0000000041010";
const TRACK2: &str = "57106200000000000005d30122010000000f";
const PAN: &str = "5a086200000000000005";
const CMB: &str = "5a086212860000000009";

#[test]
fn a_card_code_belongs_to_the_partner_of_its_scheme_and_number() {
    let common = |pan: &str| object("62", pan);
    let other = application(&[OTHER_AID, "5a085200000000000007"]);
    for (objects, expect) in [
        (application(&[AID, TRACK2]), "unionpay"),
        (application(&[AID, CMB]), "cmb"),
        (application(&[AID, "5a086225880000000009"]), "cmb"),
        (application(&[AID, "5a086225890000000009"]), "unionpay"),
        (application(&[AID, "5a084000000000000002"]), "UNSUPPORTED_MEDIUM IIN"),
        (other.clone(), "UNSUPPORTED_MEDIUM AID"),
        // The first application that is anybody's decides; those of nobody are passed over.
        (other + &application(&[AID, CMB]), "cmb"),
        (application(&[AID, TRACK2]) + &application(&[AID, CMB]), "unionpay"),
        // The number may be in what all applications have in common.
        (application(&[AID]) + &common(CMB), "cmb"),
        (application(&[AID]) + &common(TRACK2), "unionpay"),
        (application(&[AID, CMB]) + &common(TRACK2), "cmb"),
        // As EMVCo's own example has it: two applications, and the number in common.
        (
            application(&["4f07a0000000555555"])
                + &application(&["4f07a0000000666666"])
                + &common("5a081234567890123458"),
            "UNSUPPORTED_MEDIUM AID",
        ),
    ] {
        assert_eq!(said(&cpm(&format!("{CPV}{objects}"))), expect, "{objects}");
    }
}

#[test]
fn a_card_codes_structure_is_refused_by_the_name_of_its_field() {
    let good = application(&[AID, TRACK2]);
    for (objects, field) in [
        ("62".to_owned(), "structure"),
        ("610c4f08a0000003330101".to_owned(), "structure"),
        (format!("{good}00"), "structure"),
        (format!("6181{}", &good[2..]), "structure"),
        (object("62", TRACK2) + &application(&[AID]), "payload format indicator"),
        (format!("{good}{CPV}"), "payload format indicator"),
        (application(&[AID]) + &object("62", PAN) + &object("62", PAN), "common data template"),
        (application(&[TRACK2]), "AID"),
        (application(&["4f04a0000003", TRACK2]), "AID"),
        (application(&[&object("4f", &"a0".repeat(17)), TRACK2]), "AID"),
        (application(&[AID, AID, TRACK2]), "AID"),
        (application(&[AID, TRACK2, TRACK2]), "track 2"),
        (application(&[AID, "57106200000000000005f30122010000000f"]), "track 2"),
        (application(&[AID, "5a0862000000000000a5"]), "PAN"),
        (application(&[AID, TRACK2, "5a086200000000000006"]), "PAN"),
        (application(&[AID]), "PAN"),
        (application(&[AID, TRACK2]) + &application(&[AID]), "PAN"),
        (application(&[AID, TRACK2]).repeat(17), "application template"),
    ] {
        assert_eq!(said(&cpm(&format!("{CPV}{objects}"))), format!("MALFORMED {field}"), "{objects}");
    }
    let twice = application(&[AID, TRACK2, PAN]);
    assert_eq!(said(&cpm(&format!("{CPV}{twice}"))), "unionpay", "the same number twice is one number");
}

#[test]
fn base_64_has_one_form() {
    let good = cpm(&format!("{CPV}{}", application(&[AID, TRACK2])));
    assert_eq!(good.last(), Some(&b'='), "it ends with padding");
    assert_eq!(said(&good), "unionpay");
    let text = String::from_utf8(good).unwrap();
    for other in [text.trim_end_matches('='), &format!("{text}="), &format!("{text}\n"), &format!(" {text}")]
    {
        let expect = if other.starts_with(' ') { "UNRECOGNIZED" } else { "MALFORMED encoding" };
        assert_eq!(said(other.as_bytes()), expect, "{other:?}");
    }
    // The letter before the padding has bits that nothing is in.
    let (before, last) = text.trim_end_matches('=').split_at(text.trim_end_matches('=').len() - 1);
    let next = char::from(last.as_bytes()[0] + 1);
    let padding = &text[text.trim_end_matches('=').len()..];
    assert_eq!(said(format!("{before}{next}{padding}").as_bytes()), "MALFORMED encoding");
}

#[test]
fn tokens_are_sixteen_to_nineteen_digits_of_unionpays() {
    for (payload, expect) in [
        ("6200000000000012", "unionpay"),
        ("6200000000000000012", "unionpay"),
        ("6212860000000017", "cmb"),
        ("6225880000000000017", "cmb"),
        ("6225890000000000017", "unionpay"),
        ("620000000000012", "MALFORMED length"),
        ("62000000000000000012", "MALFORMED length"),
        ("62", "MALFORMED length"),
        ("6", "UNRECOGNIZED"),
        ("6100000000000012", "UNRECOGNIZED"),
        ("62000000000000 2", "UNRECOGNIZED"),
        ("6200000000000012\n", "UNRECOGNIZED"),
        ("６２00000000000012", "UNRECOGNIZED"),
    ] {
        assert_eq!(said(payload.as_bytes()), expect, "{payload}");
    }
}

#[test]
fn opaque_payloads_are_told_by_how_they_begin_or_by_their_length() {
    let sized = |first: u8, length: usize| [vec![first], vec![0; length - 1]].concat();
    for (payload, expect) in [
        (b"YTX1:x".to_vec(), "yitongxing"),
        (b"YTX1:\xff\x00".to_vec(), "yitongxing"),
        (b"YTX1:".to_vec(), "MALFORMED content"),
        (b"YTX1".to_vec(), "UNRECOGNIZED"),
        (b"ytx1:x".to_vec(), "UNRECOGNIZED"),
        (sized(1, 84), "shanghai-metro"),
        (sized(1, 83), "UNRECOGNIZED"),
        (sized(1, 85), "UNRECOGNIZED"),
        (sized(3, 84), "UNRECOGNIZED"),
    ] {
        assert_eq!(said(&payload), expect, "{payload:02x?}");
    }
}

/// A partner whose whole numbers are onboarded at nobody's.
#[test]
fn a_token_of_nobodys_is_a_medium_that_is_not_onboarded() {
    let cmb = include_str!("../partners/cmb.toml");
    let profile = ridegate_adapters::Profile::from_toml(cmb).unwrap();
    let partners = Partners::new(vec![profile], ridegate_adapters::MotTrust::default()).unwrap();
    let opened = |payload: &[u8]| open(&partners, payload, NOW, &NoMemory);
    assert_eq!(opened(b"6200000000000012"), Err(CodeError::UnsupportedMedium { field: "IIN" }));
    assert_eq!(opened(b"620000000000012").unwrap_err().name(), "MALFORMED", "structure comes first");
    assert!(opened(b"6225880000000012").is_ok());
}
