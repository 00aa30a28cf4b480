//! What holds for any bytes, not only for the cases somebody thought of.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::sync::Arc;

use common::{Everything, mot_case, mot_cases, open};
use proptest::prelude::*;
use ridegate_adapters::{
    CodeError, FORMATS, IssuerMemory, LevelsId, NoMemory, Partners, Signer, UnixSeconds, sm2::PublicKey,
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
    fn the_same_bytes_at_the_same_time_give_the_same_answer(seconds in 0_i64..200_000, pick in 0_usize..59) {
        let partners = Partners::shipped().unwrap();
        let payload = &mot_cases()[pick].payload;
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
struct Vouching(Arc<PublicKey>);

impl IssuerMemory for Vouching {
    fn recall(&self, _: &LevelsId) -> Option<Arc<PublicKey>> {
        Some(Arc::clone(&self.0))
    }

    fn remember(&self, _: LevelsId, _: Arc<PublicKey>) {
        panic!("levels that are vouched for were verified again");
    }
}

#[test]
fn a_code_whose_authorization_was_seen_costs_one_signature_and_that_one_always() {
    let partners = Partners::shipped().unwrap();
    let case = mot_case("issuer signature by another key");
    let key = PublicKey::from_compressed(case.payload[158..191].try_into().unwrap()).unwrap();
    let vouching = Vouching(Arc::new(key));
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
