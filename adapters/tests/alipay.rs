//! What holds for Alipay's codes alone.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{Everything, NOW, Vouching, alipay_case, open};
use ridegate_adapters::{CodeError, Distrust, MotTrust, NoMemory, Partners, Profile, Signer, UserKey, ecdsa};

/// No signature covers it, so a rider may change it: the code stays the same one, and so does its claim.
#[test]
fn a_code_behind_the_partners_other_prefix_is_the_same_code() {
    let partners = Partners::shipped().unwrap();
    let mut payload = alipay_case("Tianjin own code").payload;
    let original = open(&partners, &payload, NOW, &NoMemory);
    payload[1] = 2;
    assert!(original.is_ok());
    assert_eq!(open(&partners, &payload, NOW, &NoMemory), original);
}

/// With n − s for s: another valid signature, made without the key. What identifies the code does not change.
#[test]
fn a_signature_turned_over_verifies_and_the_code_is_the_same() {
    let partners = Partners::shipped().unwrap();
    let payload = alipay_case("plain").payload;
    let original = open(&partners, &payload, NOW, &NoMemory);
    let order =
        num_bigint::BigUint::parse_bytes(b"fffffffffffffffffffffffe26f2fc170f69466a74defd8d", 16).unwrap();
    // 30 36 02 19 00 r 02 19 00 s, each 24 bytes and above 2¹⁹¹.
    let (before, s) = payload.split_at(payload.len() - 24);
    let turned = (order - num_bigint::BigUint::from_bytes_be(s)).to_bytes_be();
    assert!(turned.len() == 24 && turned[0] < 0x80);
    let mut other = before[..before.len() - 3].to_vec();
    other.extend([0x02, 24]);
    other.extend(turned);
    let user_signature = before.len() - 3 - 27 - 2;
    assert_eq!(other[user_signature - 1..user_signature + 2], [56, 0x30, 54]);
    other[user_signature - 1] -= 1;
    other[user_signature + 1] -= 1;
    assert!(original.is_ok());
    assert_eq!(open(&partners, &other, NOW, &NoMemory), original);
}

/// A key replaced under the same id vouches for nothing its predecessor did; nor does one partner's for another's.
#[test]
fn what_is_remembered_is_bound_to_the_published_key() {
    let memory = Everything::default();
    let case = alipay_case("plain");
    let shipped = include_str!("../partners/alipay.toml");
    let open_with = |profile: &str| {
        let partners =
            Partners::new(vec![Profile::from_toml(profile).unwrap()], MotTrust::default()).unwrap();
        open(&partners, &case.payload, NOW, &memory).map(drop)
    };
    assert!(open_with(shipped).is_ok() && open_with(shipped).is_ok());
    assert_eq!(memory.0.lock().unwrap().len(), 1);
    let first = "03ff0902b719e51222b07b177d38e2f9ce0b8201d54d8c397298e0fbab18ff0a3b";
    let third = "02fb6cb1df81024cdb457c8f1c09517def78e9e07e1c77cd955f5d6ed6c93bcaff";
    assert!(shipped.contains(first) && shipped.contains(third));
    assert_eq!(open_with(&shipped.replace(first, third)), Err(CodeError::BadSignature(Signer::Issuer)));
}

#[test]
fn an_alipay_code_whose_authorization_was_seen_costs_one_signature_and_that_one_always() {
    let partners = Partners::shipped().unwrap();
    let case = alipay_case("signed by a stranger");
    let key = ecdsa::PublicKey::from_compressed(&case.payload[40..65]).unwrap();
    let vouching = Vouching(Arc::new(UserKey::Secp192k1(key)));
    let unseen = open(&partners, &case.payload, case.now, &NoMemory);
    assert_eq!(unseen, Err(CodeError::BadSignature(Signer::Issuer)));
    assert!(open(&partners, &case.payload, case.now, &vouching).is_ok());
    let mut forged = case.payload;
    *forged.last_mut().unwrap() ^= 1;
    let forged = open(&partners, &forged, case.now, &vouching);
    assert_eq!(forged, Err(CodeError::BadSignature(Signer::User)));
}

#[test]
fn alipay_decides_structure_medium_trust_time_and_signature_in_this_order() {
    let partners = Partners::shipped().unwrap();
    let case = alipay_case("plain");
    let late = case.now.plus(365 * 86_400);
    let name = |payload: &[u8], now| open(&partners, payload, now, &NoMemory).unwrap_err().name();

    let mut worse = case.payload.clone();
    *worse.last_mut().unwrap() ^= 1;
    assert_eq!(name(&worse, case.now), "BAD_SIGNATURE");
    assert_eq!(name(&worse, case.now.plus(61)), "CODE_EXPIRED");
    assert_eq!(name(&worse, case.now.plus(-26)), "NOT_YET_VALID");
    assert_eq!(name(&worse, case.now.plus(-25)), "BAD_SIGNATURE");
    worse[24..26].copy_from_slice(&1201_u16.to_be_bytes());
    assert_eq!(name(&worse, case.now.plus(-26)), "VALIDITY_TOO_LONG");
    assert_eq!(name(&worse, late), "AUTHORIZATION_EXPIRED");
    worse[1] = 2;
    assert_eq!(
        open(&partners, &worse, late, &NoMemory),
        Err(CodeError::UntrustedIssuer(Distrust::AnotherAlgorithm))
    );
    worse[2] = 0;
    assert_eq!(
        open(&partners, &worse, late, &NoMemory),
        Err(CodeError::UntrustedIssuer(Distrust::KeyUnknown))
    );
    worse[72] = b'9';
    assert_eq!(
        open(&partners, &worse, late, &NoMemory),
        Err(CodeError::UnsupportedMedium { field: "card type" })
    );
    worse[3] -= 1;
    assert_eq!(name(&worse, late), "MALFORMED");
    worse[0] = 1;
    assert_eq!(name(&worse, late), "UNRECOGNIZED");
}

#[test]
fn alipays_structure_is_refused_by_the_name_of_its_field() {
    let partners = Partners::shipped().unwrap();
    // B is 71 + 10 and 8 here: the card number begins at 74, the issuer's signature at 85.
    let good = alipay_case("with a card number").payload;
    assert_eq!((good[3], good[73], good[84]), (87, 16, 0x30));
    for (at, byte, name) in [
        (3, 86, "body length"),
        (4, 0x80, "user id"),
        (19, 0xff, "user id"),
        (65, 0x80, "card type"),
        (74, 0x80, "card number"),
    ] {
        let mut payload = good.clone();
        payload[at] = byte;
        match open(&partners, &payload, NOW, &NoMemory) {
            Err(CodeError::Malformed { field, .. }) => assert_eq!(field, name, "byte {at}"),
            other => panic!("byte {at}: {other:?}"),
        }
    }
}

/// An integer longer than the group's is DER like any other: the signature is not one, the structure is.
#[test]
fn integers_that_are_too_long_are_bad_signatures_and_integers_that_are_not_positive_malformed() {
    let partners = Partners::shipped().unwrap();
    let payload = alipay_case("plain").payload;
    let head = payload.len() - 57;
    assert_eq!((payload[head], payload[head + 1]), (56, 0x30));
    let with = |der: &[u8]| {
        let mut payload = payload[..head].to_vec();
        payload.push(der.len().try_into().unwrap());
        payload.extend(der);
        open(&partners, &payload, NOW, &NoMemory).unwrap_err()
    };
    let long = [[0x30, 0x81, 0x89, 0x02, 0x81, 0x83].as_slice(), &[0x11; 0x83], &[0x02, 0x01, 0x01]].concat();
    assert_eq!(with(&long), CodeError::BadSignature(Signer::User));
    assert_eq!(with(&[0x30, 6, 2, 1, 1, 2, 1, 1]), CodeError::BadSignature(Signer::User));
    for der in [&[0x30, 6, 2, 1, 0, 2, 1, 1][..], &[0x30, 6, 2, 1, 1, 2, 1, 0x80], &[]] {
        let rule = "must be the DER of two positive integers";
        assert_eq!(with(der), CodeError::Malformed { field: "user signature", rule });
    }
}
