//! What holds for any bytes, of every format and every partner, not only for the cases somebody thought of.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use std::collections::HashSet;

use common::{Case, Everything, NOW, every_case, open};
use proptest::prelude::*;
use ridegate_adapters::{
    Check, CodeError, FORMATS, Format, MotTrust, NoMemory, Opened, Partners, Profile, RideCode, UnixSeconds,
};

/// How payloads of every format begin, and how they nearly do.
const BEGINNINGS: [&[u8]; 12] = [
    b"",
    &[0x81],
    &[0x81, 0x01, 0x49, 0x24],
    &[2],
    &[2, 1, 1, 71],
    &[0x54, 1, 2],
    &[0x54, 2],
    b"hQVDUFYwMW",
    b"hQVDUFYwMWEyTwigAAADMwEBAVcQ",
    b"62",
    b"YTX1:",
    &[1],
];

/// The codes that are in order, of those that can be checked here.
fn genuine() -> Vec<(Case, RideCode)> {
    let partners = Partners::shipped().unwrap();
    let opened = every_case().into_iter().filter_map(|case| {
        match open(&partners, &case.payload, case.now, &NoMemory) {
            Ok(Opened::Checked(code)) => Some((case, code)),
            _ => None,
        }
    });
    opened.collect()
}

/// Bytes that no signature covers, of a code of this format: the flag before a MOT code's last signature.
fn is_covered(format: &str, at: usize, len: usize) -> bool {
    format != "mot" || at != len - 65
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_never_genuine_and_never_panic(
        begins in proptest::sample::select(&BEGINNINGS[..]),
        rest in proptest::collection::vec(any::<u8>(), 0..600), now: u32,
    ) {
        let partners = Partners::shipped().unwrap();
        let payload = [begins, &rest].concat();
        let opened = open(&partners, &payload, UnixSeconds(now.into()), &NoMemory);
        prop_assert!(!matches!(opened, Ok(Opened::Checked(_))));
        if let Ok(scanned) = partners.recognise(&payload) {
            scanned.fields();
        }
    }

    /// Letters of base 64 after the beginning of a card code, so that what is inside is looked at.
    #[test]
    fn arbitrary_objects_never_panic(rest in proptest::collection::vec(any::<u8>(), 0..300)) {
        let partners = Partners::shipped().unwrap();
        let bytes = [b"\x85\x05CPV01\x61".as_slice(), &rest].concat();
        let payload = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, bytes).into_bytes();
        let scanned = partners.recognise(&payload).unwrap();
        prop_assert_eq!(scanned.format(), "emv-cpm");
        prop_assert_eq!(scanned.partner().is_some(), scanned.open(NOW, &NoMemory).is_ok());
        scanned.fields();
    }

    /// Bytes written over, put in and taken out.
    #[test]
    fn a_code_that_was_changed_is_the_same_code_or_none(
        pick: prop::sample::Index, at: prop::sample::Index, out in 0_usize..40,
        with in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let partners = Partners::shipped().unwrap();
        let every = genuine();
        let (case, original) = pick.get(&every);
        let from = at.index(case.payload.len());
        let to = (from + out).min(case.payload.len());
        let payload = [&case.payload[..from], &with, &case.payload[to..]].concat();
        if let Ok(Opened::Checked(code)) = open(&partners, &payload, case.now, &NoMemory) {
            prop_assert_eq!(&code, original);
        }
    }

    #[test]
    fn the_same_bytes_at_the_same_time_give_the_same_answer(seconds in 0_i64..200_000, pick: prop::sample::Index) {
        let partners = Partners::shipped().unwrap();
        let every = every_case();
        let payload = &pick.get(&every).payload;
        let now = NOW.plus(seconds - 100_000);
        prop_assert_eq!(open(&partners, payload, now, &NoMemory), open(&partners, payload, now, &NoMemory));
    }
}

#[test]
fn no_genuine_code_survives_being_cut_at_any_byte() {
    let partners = Partners::shipped().unwrap();
    let every = genuine();
    assert!(every.len() >= 20, "{}", every.len());
    for (case, _) in every {
        for len in 0..case.payload.len() {
            let error = open(&partners, &case.payload[..len], NOW, &NoMemory).unwrap_err();
            let nobodys = partners.recognise(&case.payload[..len]).is_err();
            let expect = if nobodys { "UNRECOGNIZED" } else { "MALFORMED" };
            assert_eq!(error.name(), expect, "{} cut to {len}", case.name);
            // Of Tianjin's two bytes before the code the second is needed to know whose it is.
            assert!(!nobodys || len < 2, "{} cut to {len}", case.name);
        }
    }
}

/// With memory warm: what vouches for the original must not vouch for its neighbour.
#[test]
fn no_genuine_code_survives_a_flipped_bit_that_is_covered() {
    let partners = Partners::shipped().unwrap();
    let mut kinds = HashSet::new();
    for (case, code) in genuine() {
        // One of each kind: every length, signed by every algorithm.
        if !kinds.insert((
            code.partner.clone(),
            code.format,
            case.payload.get(1).copied(),
            case.payload.len() / 100,
        )) {
            continue;
        }
        let memory = Everything::default();
        open(&partners, &case.payload, case.now, &memory).unwrap();
        for bit in 0..case.payload.len() * 8 {
            let mut flipped = case.payload.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let result = open(&partners, &flipped, case.now, &memory);
            let survives = matches!(result, Ok(Opened::Checked(_)));
            let covered = is_covered(code.format, bit / 8, case.payload.len());
            assert_eq!(survives, !covered, "{}, bit {bit}: {result:?}", case.name);
        }
        // The flag before a MOT issuer's signature is not the issuer's but the phone's to vouch for.
        let levels = if code.format == "mot" { 1 + 8 } else { 1 };
        assert_eq!(memory.0.lock().unwrap().len(), levels, "{}", case.name);
    }
    assert!(kinds.len() >= 6, "{kinds:?}");
}

/// What only the partner can read is never more than a question to that partner, whatever is changed in it.
#[test]
fn no_flipped_bit_makes_an_online_code_genuine_or_another_formats() {
    let partners = Partners::shipped().unwrap();
    let mut asked = 0;
    for case in every_case() {
        let Ok(Opened::Online(code)) = open(&partners, &case.payload, case.now, &NoMemory) else { continue };
        asked += 1;
        for bit in 0..case.payload.len() * 8 {
            let mut flipped = case.payload.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match open(&partners, &flipped, case.now, &NoMemory) {
                Ok(Opened::Checked(_)) => panic!("{}, bit {bit}: nobody verified it", case.name),
                Ok(Opened::Online(other)) => assert_eq!(other.format(), code.format(), "{}", case.name),
                Err(_) => {}
            }
        }
    }
    assert_eq!(asked, 6);
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
    // Of the lengths that some format looks at.
    let lengths = (0..=255_u8).flat_map(|first| [16, 84, 332].map(|length| vec![first; length]));
    let every = every_case().into_iter().map(|case| case.payload);
    for payload in begins.chain(lengths).chain(every) {
        let claims = FORMATS.iter().filter(|format| format.recognise(&payload, &partners).is_some()).count();
        assert!(claims <= 1, "{:02x?}", &payload[..2]);
        // Each partner alone: no payload is recognised as somebody's by two of them.
        let whose = |partners: &Partners| {
            partners
                .recognise(&payload)
                .map(|scanned| (scanned.format(), scanned.partner().map(|one| one.id.clone())))
        };
        assert_eq!(whose(&partners), whose(&turned));
    }
}

/// One profile alone claims of the payloads what it claims beside the others, unless another says more of them.
#[test]
fn what_a_partner_claims_alone_nobody_else_claims_alone() {
    let alone: Vec<_> = Profile::shipped()
        .unwrap()
        .into_iter()
        .map(|profile| Partners::new(vec![profile], MotTrust::default()).unwrap())
        .collect();
    let beside = Partners::shipped().unwrap();
    for case in every_case() {
        let whose = |partners: &Partners| {
            partners.recognise(&case.payload).ok().and_then(|scanned| Some(scanned.partner()?.id.clone()))
        };
        let claimed: Vec<_> = alone.iter().filter_map(whose).collect();
        match (claimed.as_slice(), whose(&beside)) {
            ([], None) => {}
            ([one], Some(all)) => assert_eq!(*one, all, "{}", case.name),
            // A bank's cards are the scheme's too; its longer IIN decides.
            ([_, _], Some(all)) => assert_eq!(all.as_str(), "cmb", "{}", case.name),
            (claimed, all) => panic!("{}: {claimed:?}, {all:?}", case.name),
        }
    }
}

/// Structure before medium before issuer before times before signatures: of every case the checks before the one that
/// fails are its format's, in the order in which it lists them.
#[test]
fn every_error_is_one_of_its_formats_checks() {
    let partners = Partners::shipped().unwrap();
    let mut failed = HashSet::new();
    for case in every_case() {
        let Ok(scanned) = partners.recognise(&case.payload) else { continue };
        let Err(error) = scanned.open(case.now, &NoMemory) else { continue };
        let check = error.check().expect("what was recognised is not unrecognised");
        assert!(scanned.about().checks.contains(&check), "{}: {check:?}", case.name);
        failed.insert((scanned.format(), check));
    }
    // The files have a case of every check but these.
    let of = |format: &&dyn Format| {
        let about = format.about();
        about.checks.iter().map(|check| (about.name, *check)).collect::<Vec<_>>()
    };
    let without: Vec<_> = FORMATS.iter().flat_map(of).filter(|check| !failed.contains(check)).collect();
    assert_eq!(without, [("mot", Check::Medium), ("unionpay-token", Check::Medium)]);
}

/// Every field of every code is shown, none beyond its bytes, and no account among them.
#[test]
fn every_code_has_its_fields_and_no_field_tells_whose_it_is() {
    let partners = Partners::shipped().unwrap();
    for case in every_case() {
        let Ok(scanned) = partners.recognise(&case.payload) else { continue };
        let fields = scanned.fields();
        assert!(!fields.is_empty(), "{}", case.name);
        let shown: Vec<_> = fields.iter().flat_map(|field| [field.name.as_str(), &field.shown]).collect();
        let shown = shown.join("\n");
        if let Ok(Opened::Checked(code)) = scanned.open(case.now, &NoMemory) {
            assert!(!shown.contains(code.medium.account().expose()), "{}: {shown}", case.name);
            let covered: usize = fields.iter().map(|field| field.len).sum();
            assert_eq!(covered, case.payload.len(), "{}: every byte is in one field", case.name);
        }
        for len in 0..case.payload.len() {
            if let Ok(cut) = partners.recognise(&case.payload[..len]) {
                let covered: usize = cut.fields().iter().map(|field| field.len).sum();
                assert!(cut.format() == "emv-cpm" || covered == len, "{} cut to {len}", case.name);
            }
        }
    }
}

#[test]
fn errors_have_no_room_for_what_was_shown() {
    assert!(!std::mem::needs_drop::<CodeError>(), "an error that owns memory could own a payload");
    let partners = Partners::shipped().unwrap();
    for (case, code) in genuine() {
        let scanned = partners.recognise(&case.payload).unwrap();
        for text in [format!("{scanned:?}"), format!("{code:?}")] {
            assert!(!text.contains(code.medium.account().expose()), "{text}");
            assert!(text.contains(code.partner.as_str()));
        }
        assert_eq!(format!("{:?}", scanned.accept(case.now).unwrap()), "Signed(Signed(…))");
    }
}

#[test]
fn formats_have_names_of_their_own() {
    let names: HashSet<_> = FORMATS.iter().map(|format| format.about().name).collect();
    assert_eq!(names.len(), FORMATS.len());
}
