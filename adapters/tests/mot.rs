//! What holds for MOT codes alone.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{Certifying, Everything, NOW, Vouching, mot_case, open};
use ridegate_adapters::{CodeError, NoMemory, Partners, Signer, UserKey, sm2};

#[test]
fn a_code_whose_authorization_was_seen_costs_one_signature_and_that_one_always() {
    let partners = Partners::shipped().unwrap();
    let case = mot_case("issuer signature by another key");
    let key = sm2::PublicKey::from_compressed(case.payload[158..191].try_into().unwrap()).unwrap();
    let vouching = Vouching(Arc::new(UserKey::Sm2(key)));
    let unseen = open(&partners, &case.payload, case.now, &NoMemory);
    assert_eq!(unseen, Err(CodeError::BadSignature(Signer::Issuer)));
    // The upper signatures are not looked at, so that the wrong one is not noticed; the phone's is.
    assert!(open(&partners, &case.payload, case.now, &vouching).is_ok());
    let mut forged = case.payload;
    *forged.last_mut().unwrap() ^= 1;
    let forged = open(&partners, &forged, case.now, &vouching);
    assert_eq!(forged, Err(CodeError::BadSignature(Signer::User)));
}

#[test]
fn an_issuer_that_was_seen_costs_its_roots_signature_once() {
    let partners = Partners::shipped().unwrap();
    let memory = Everything::default();
    for name in ["plain", "custom domain of 7", "custom domain of 32", "plain"] {
        let case = mot_case(name);
        assert!(open(&partners, &case.payload, case.now, &memory).is_ok(), "{name}");
        assert_eq!(memory.1.lock().unwrap().len(), 1, "{name}: the same certificate");
    }
    // Only the root's signature is not looked at: what the issuer signed covers its certificate too.
    let flipped = mot_case("bit flipped in certificate signature");
    let certifying = Certifying(memory.1.lock().unwrap().values().next().unwrap().clone());
    let unseen = open(&partners, &flipped.payload, flipped.now, &memory);
    assert_eq!(unseen, Err(CodeError::BadSignature(Signer::Root)), "another certificate than the one that is known");
    let seen = open(&partners, &flipped.payload, flipped.now, &certifying);
    assert_eq!(seen, Err(CodeError::BadSignature(Signer::Issuer)));
}

#[test]
fn structure_decides_before_time_and_time_before_signatures() {
    let partners = Partners::shipped().unwrap();
    let case = mot_case("plain");
    let late = case.now.plus(365 * 86_400);
    let open = |payload: &[u8]| open(&partners, payload, late, &NoMemory).unwrap_err();

    let mut worse = case.payload.clone();
    *worse.last_mut().unwrap() ^= 1;
    assert_eq!(open(&worse), CodeError::AuthorizationExpired, "a wrong signature hides behind the time");
    worse[154] = 9;
    assert_eq!(open(&worse), CodeError::UnsupportedMedium { field: "account type" });
    worse[3] = 0;
    assert_eq!(open(&worse).name(), "MALFORMED");
    worse[0] = 0x7f;
    assert_eq!(open(&worse), CodeError::Unrecognized);
}

#[test]
fn every_fixed_byte_is_refused_by_the_name_of_its_field() {
    let partners = Partners::shipped().unwrap();
    let good = mot_case("plain").payload;
    for (at, byte, name) in [
        (0, 0x82, "version"),
        (2, 0x00, "length"),
        (3, 0x25, "certificate header"),
        (9, 0x13, "certificate format"),
        (10, 0x9a, "certificate issuer"),
        (14, 0x13, "certificate expiry"),
        (15, 0x4a, "certificate expiry"),
        (19, 0x05, "certificate signature algorithm"),
        (20, 0x00, "certificate encryption algorithm"),
        (21, 0x01, "certificate parameter"),
        (22, 0x20, "certificate key length"),
        (120, 0x1f, "payment account"),
        (135, 0x7f, "payment account"),
        (136, 0xa0, "card account"),
        (145, 0x0f, "card account"),
        (146, 0xf0, "card issuer"),
        (150, 0xf0, "code platform"),
        (197, 33, "custom domain length"),
    ] {
        let mut payload = good.clone();
        payload[at] = byte;
        match open(&partners, &payload, NOW, &NoMemory) {
            Err(CodeError::Malformed { field, .. }) => assert_eq!(field, name, "byte {at}"),
            other => panic!("byte {at}: {other:?}"),
        }
    }
}
