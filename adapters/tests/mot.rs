//! What holds for MOT codes alone.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{Certifying, Everything, NOW, Vouching, file, mot_case, open};
use ridegate_adapters::{
    Bcd8, CodeError, Distrust, MotTrust, NoMemory, Partners, Profile, Signer, UnixSeconds, UserKey, sm2,
};

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
    // Several partners' riders, of one issuer.
    for name in ["plain", "long account", "issued through beijing-bus", "issued through alipay", "plain"] {
        let case = mot_case(name);
        assert!(open(&partners, &case.payload, case.now, &memory).is_ok(), "{name}");
        assert_eq!(memory.1.lock().unwrap().len(), 1, "{name}: the same certificate");
    }
    // Only the root's signature is not looked at: what the issuer signed covers its certificate too.
    let flipped = mot_case("bit flipped in certificate signature");
    let certifying = Certifying(memory.1.lock().unwrap().values().next().unwrap().clone());
    let unseen = open(&partners, &flipped.payload, flipped.now, &memory);
    assert_eq!(unseen, Err(CodeError::BadSignature(Signer::Root)), "not the certificate that is known");
    let seen = open(&partners, &flipped.payload, flipped.now, &certifying);
    assert_eq!(seen, Err(CodeError::BadSignature(Signer::Issuer)));
}

/// What one root has vouched for counts for nothing under another.
#[test]
fn what_is_remembered_of_an_issuer_is_bound_to_its_root() {
    let (partners, memory) = (Partners::shipped().unwrap(), Everything::default());
    let case = mot_case("second live root");
    assert!(open(&partners, &case.payload, case.now, &memory).is_ok());
    // The root's index; the root has not signed it.
    let mut other = case.payload;
    assert_eq!(std::mem::replace(&mut other[8], 1), 3);
    assert_eq!(open(&partners, &other, case.now, &memory), Err(CodeError::BadSignature(Signer::Root)));
    assert_eq!(memory.1.lock().unwrap().len(), 1);
}

#[test]
fn a_certificate_that_its_root_did_not_sign_is_not_remembered() {
    let (partners, memory) = (Partners::shipped().unwrap(), Everything::default());
    for name in ["certificate signed by itself", "bit flipped in certificate signature"] {
        let case = mot_case(name);
        for time in ["first", "second"] {
            let refused = open(&partners, &case.payload, case.now, &memory);
            assert_eq!(refused, Err(CodeError::BadSignature(Signer::Root)), "{name}, the {time} time");
        }
    }
    assert_eq!(memory.1.lock().unwrap().len(), 0);
}

/// A forgery brings an issuer's certificate with it, which anybody can have from a code. That is genuine, whatever else is not.
#[test]
fn of_a_forged_code_its_certificate_alone_is_remembered() {
    let (partners, memory) = (Partners::shipped().unwrap(), Everything::default());
    let case = mot_case("issuer signature by another key");
    for _ in 0..2 {
        let refused = open(&partners, &case.payload, case.now, &memory);
        assert_eq!(refused, Err(CodeError::BadSignature(Signer::Issuer)));
    }
    assert_eq!((memory.0.lock().unwrap().len(), memory.1.lock().unwrap().len()), (0, 1));
}

/// Times, roots and revocations are looked at for every code: what is remembered cannot outlive them.
#[test]
fn an_issuer_that_is_remembered_is_trusted_as_long_as_one_that_is_not() {
    let memory = Everything::default();
    let case = mot_case("certificate in its last month");
    let roots = file("mot")["trust"]["roots"].as_array().unwrap().clone();
    let open_with = |roots: &[serde_json::Value], revoked: Option<(Bcd8, u32)>, now: UnixSeconds| {
        let records = roots.iter().map(|root| root["record"].as_str().unwrap().to_owned());
        let trust = MotTrust::new(records, revoked).unwrap();
        let partners = Partners::new(Profile::shipped().unwrap(), trust).unwrap();
        open(&partners, &case.payload, now, &memory).map(drop)
    };
    let (issuer, over) = ("99990001".parse().unwrap(), UnixSeconds(1_656_604_800));
    let distrusted = |why| Err::<(), _>(CodeError::UntrustedIssuer(why));
    // The second time these levels are remembered, and this issuer.
    for remembered in 0..=1 {
        assert_eq!(memory.1.lock().unwrap().len(), remembered);
        assert_eq!(
            open_with(&roots, None, over),
            Err(CodeError::CertificateExpired),
            "it is July in Beijing"
        );
        assert_eq!(open_with(&roots, Some((issuer, 1)), NOW), distrusted(Distrust::Revoked));
        assert_eq!(open_with(&roots[1..], None, NOW), distrusted(Distrust::RootUnknown));
        assert_eq!(open_with(&roots, Some((issuer, 2)), NOW), Ok(()), "another certificate of this issuer");
    }
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
