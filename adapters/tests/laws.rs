//! What holds for any bytes, not only for the cases somebody thought of.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{Everything, FILES, alipay_case, cases, mot_case, open};
use proptest::prelude::*;
use ridegate_adapters::{
    CodeError, Distrust, FORMATS, IssuerMemory, LevelsId, MotTrust, NoMemory, Partners, Profile, Signer,
    UnixSeconds, UserKey, ecdsa, sm2,
};

const NOW: UnixSeconds = UnixSeconds(1_655_265_600);

proptest! {
    #[test]
    fn arbitrary_bytes_get_an_error_and_no_panic(payload in proptest::collection::vec(any::<u8>(), 0..600), now: u32) {
        let partners = Partners::shipped().unwrap();
        prop_assert!(open(&partners, &payload, UnixSeconds(now.into()), &NoMemory).is_err());
    }

    #[test]
    fn a_code_with_bytes_overwritten_is_the_same_code_or_none(
        at in 0_usize..339, with in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let partners = Partners::shipped().unwrap();
        let case = mot_case("custom domain of 7");
        let mut payload = case.payload.clone();
        let end = (at + with.len()).min(payload.len());
        payload[at..end].copy_from_slice(&with[..end - at]);
        let original = open(&partners, &case.payload, NOW, &NoMemory).unwrap();
        if let Ok(code) = open(&partners, &payload, NOW, &NoMemory) {
            prop_assert_eq!(code, original);
        }
    }

    #[test]
    fn alipay_bytes_get_an_error_and_no_panic(
        start in prop_oneof![Just(vec![2]), Just(vec![2, 1, 1, 71]), Just(vec![0x54, 1, 2]), Just(vec![0x54, 2])],
        rest in proptest::collection::vec(any::<u8>(), 0..400), now: u32,
    ) {
        let partners = Partners::shipped().unwrap();
        let payload = [start, rest].concat();
        prop_assert!(open(&partners, &payload, UnixSeconds(now.into()), &NoMemory).is_err());
    }

    #[test]
    fn an_alipay_code_with_bytes_overwritten_is_the_same_code_or_none(
        at in 0_usize..206, with in proptest::collection::vec(any::<u8>(), 1..40),
    ) {
        let partners = Partners::shipped().unwrap();
        let case = alipay_case("Tianjin own code");
        let mut payload = case.payload.clone();
        let end = (at + with.len()).min(payload.len());
        payload[at..end].copy_from_slice(&with[..end - at]);
        let original = open(&partners, &case.payload, NOW, &NoMemory).unwrap();
        if let Ok(code) = open(&partners, &payload, NOW, &NoMemory) {
            prop_assert_eq!(code, original);
        }
    }

    #[test]
    fn the_same_bytes_at_the_same_time_give_the_same_answer(seconds in 0_i64..200_000, pick in 0_usize..90) {
        let partners = Partners::shipped().unwrap();
        let every: Vec<_> = FILES.iter().flat_map(|(format, _)| cases(format)).collect();
        let payload = &every[pick].payload;
        let now = NOW.plus(seconds - 100_000);
        prop_assert_eq!(open(&partners, payload, now, &NoMemory), open(&partners, payload, now, &NoMemory));
    }
}

#[test]
fn no_valid_code_survives_being_cut_at_any_byte() {
    let partners = Partners::shipped().unwrap();
    let payload = mot_case("custom domain of 32").payload;
    for len in 0..payload.len() {
        let error = open(&partners, &payload[..len], NOW, &NoMemory).unwrap_err();
        let expect = if len == 0 { "UNRECOGNIZED" } else { "MALFORMED" };
        assert_eq!(error.name(), expect, "cut to {len}");
    }
}

/// With memory warm: what vouches for the original must not vouch for its neighbour.
#[test]
fn no_valid_code_survives_a_flipped_bit_but_in_the_one_byte_nothing_covers() {
    let partners = Partners::shipped().unwrap();
    let memory = Everything::default();
    let payload = mot_case("plain").payload;
    open(&partners, &payload, NOW, &memory).unwrap();
    let uncovered = payload.len() - 65;
    for bit in 0..payload.len() * 8 {
        let mut flipped = payload.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let result = open(&partners, &flipped, NOW, &memory);
        assert_eq!(result.is_ok(), bit / 8 == uncovered, "bit {bit}: {result:?}");
    }
}

/// Vouches for the rider's key of one code, whatever the levels.
struct Vouching(Arc<UserKey>);

impl IssuerMemory for Vouching {
    fn recall(&self, _: &LevelsId) -> Option<Arc<UserKey>> {
        Some(Arc::clone(&self.0))
    }

    fn remember(&self, _: LevelsId, _: Arc<UserKey>) {
        panic!("levels that are vouched for were verified again");
    }
}

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

/// Every byte but Tianjin's prefix is covered: of the prefix no single bit leads to the other one.
#[test]
fn no_alipay_code_survives_a_flipped_bit() {
    let partners = Partners::shipped().unwrap();
    for name in ["with card data", "issuer signs with SM2", "Tianjin own code, SM2 issuer key"] {
        let memory = Everything::default();
        let payload = alipay_case(name).payload;
        open(&partners, &payload, NOW, &memory).unwrap();
        for bit in 0..payload.len() * 8 {
            let mut flipped = payload.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let result = open(&partners, &flipped, NOW, &memory);
            assert!(result.is_err(), "{name}, bit {bit}: {result:?}");
        }
        assert_eq!(memory.0.lock().unwrap().len(), 1, "{name}");
    }
}

#[test]
fn no_alipay_code_survives_being_cut_at_any_byte() {
    let partners = Partners::shipped().unwrap();
    for name in ["with card data", "Tianjin own code"] {
        let payload = alipay_case(name).payload;
        for len in 0..payload.len() {
            let error = open(&partners, &payload[..len], NOW, &NoMemory).unwrap_err();
            // Half a prefix is nobody's.
            let nobodys = len == 0 || (len == 1 && name.starts_with("Tianjin"));
            assert_eq!(error.name(), if nobodys { "UNRECOGNIZED" } else { "MALFORMED" }, "cut to {len}");
        }
    }
}

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
        open(&partners, &case.payload, NOW, &memory).map(|code| code.expires_at)
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

/// Every payload there is, and whatever begins like one, belongs to at most one format, and to the same partner
/// whatever the order of the profiles.
#[test]
fn no_payload_belongs_to_two_formats_or_two_partners() {
    let partners = Partners::shipped().unwrap();
    let mut turned = Profile::shipped().unwrap();
    turned.reverse();
    let turned = Partners::new(turned, MotTrust::default()).unwrap();
    let begins = (0..=u16::MAX).map(|two| two.to_be_bytes().to_vec());
    let every = FILES.iter().flat_map(|(format, _)| cases(format)).map(|case| case.payload);
    for payload in begins.chain(every) {
        let claims = FORMATS.iter().filter(|format| format.recognise(&payload, &partners).is_some()).count();
        assert!(claims <= 1, "{:02x?}", &payload[..2]);
        let whose = |partners: &Partners| {
            partners
                .recognise(&payload)
                .map(|scanned| (scanned.format(), scanned.partner().map(|one| one.id.clone())))
        };
        assert_eq!(whose(&partners), whose(&turned));
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

#[test]
fn errors_have_no_room_for_what_was_shown() {
    assert!(!std::mem::needs_drop::<CodeError>(), "an error that owns memory could own a payload");
    let case = mot_case("long account");
    let partners = Partners::shipped().unwrap();
    let scanned = partners.recognise(&case.payload).unwrap();
    let code = scanned.open(case.now, &NoMemory).unwrap();
    for text in [format!("{scanned:?}"), format!("{code:?}")] {
        assert!(!text.contains("31041234567890123456"), "{text}");
        assert!(text.contains("yikatong"));
    }
}

#[test]
fn formats_have_names_of_their_own() {
    let mut names: Vec<_> = FORMATS.iter().map(|format| format.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), FORMATS.len());
}
