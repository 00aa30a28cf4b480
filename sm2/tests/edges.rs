//! What must be refused, and the corners that must not be.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{Case, Keys, N, Trials, joined, plus_n, reduce};
use ridegate_sm2::PublicKey;
use sm2::{
    ProjectivePoint, Scalar,
    dsa::{
        Signature, SigningKey,
        signature::{Signer, Verifier},
    },
    elliptic_curve::{ff::PrimeField, point::AffineCoordinates, sec1::ToSec1Point},
};

/// p, big-endian.
const P: [u8; 32] = [
    0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
];
const ONE: [u8; 32] = small(1);
const ZERO: [u8; 32] = [0; 32];

const fn small(value: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[31] = value;
    bytes
}

fn scalar(value: u64) -> Scalar {
    Scalar::from(value)
}

fn key_of(scalar: Scalar) -> Keys {
    Keys::new(ProjectivePoint::GENERATOR * scalar)
}

/// A right case, taken apart.
fn right(keys: &Keys) -> (Case, [u8; 32], [u8; 32]) {
    let case = keys.right(reduce(&[0x37; 32]), reduce(&[0x59; 32])).unwrap();
    let (r, s) = case.signature.split_at(32);
    (case, r.try_into().unwrap(), s.try_into().unwrap())
}

#[test]
fn r_and_s_are_from_1_to_n_minus_1() {
    let keys = key_of(scalar(7));
    let (case, r, s) = right(&keys);
    assert!(keys.verdict(&case));
    let n_plus_1 = plus_n(&ONE).unwrap();
    for outside in [ZERO, N, n_plus_1, [0xff; 32]] {
        for signature in [joined(&outside, &s), joined(&r, &outside), joined(&outside, &outside)] {
            assert!(!keys.verdict(&Case { signature, ..case }), "{signature:02x?}");
        }
    }
}

/// r or s with n added would be the same number modulo n, and the same ride under another signature.
#[test]
fn a_signature_has_one_form() {
    let keys = key_of(scalar(7));
    // s is 5, and then r is.
    let s_small = keys.right(scalar(5), reduce(&[0x59; 32])).unwrap();
    let r_small = keys.right(reduce(&[0x37; 32]), reduce(&[0x37; 32]) + scalar(5)).unwrap();
    let s: [u8; 32] = s_small.signature[32..].try_into().unwrap();
    let r: [u8; 32] = r_small.signature[..32].try_into().unwrap();
    assert_eq!((r, s), (small(5), small(5)));
    assert!(keys.verdict(&s_small) && keys.verdict(&r_small));
    let large = plus_n(&small(5)).unwrap();
    let mut twin = s_small;
    twin.signature[32..].copy_from_slice(&large);
    assert!(!keys.verdict(&twin));
    let mut twin = r_small;
    twin.signature[..32].copy_from_slice(&large);
    assert!(!keys.verdict(&twin));
}

#[test]
fn r_and_s_do_not_sum_up_to_n() {
    let keys = key_of(scalar(7));
    let (case, r, _) = right(&keys);
    let rest: [u8; 32] = (-reduce(&r)).to_repr().into();
    assert!(!keys.verdict(&Case { signature: joined(&r, &rest), ..case }));
    // Without the rule this one would verify: s·G has the x that makes r.
    let s = reduce(&[0x37; 32]);
    let x = (ProjectivePoint::GENERATOR * s).to_affine().x();
    let r = -s;
    let e = (r - reduce(&x.into())).to_repr().into();
    let signature = joined(&r.to_repr().into(), &s.to_repr().into());
    assert!(!keys.verdict(&Case { e, signature }));
}

/// s·G + t·P is at infinity: no x, so nothing to compare, whatever the hash.
#[test]
fn a_sum_at_infinity_is_refused() {
    for key in [scalar(1), -scalar(1), scalar(2), reduce(&[0x77; 32])] {
        let keys = key_of(key);
        for t in [scalar(1), scalar(2), -scalar(3), reduce(&[0x59; 32])] {
            let s = -(key * t);
            let r = t - s;
            let signature = joined(&r.to_repr().into(), &s.to_repr().into());
            for e in [ZERO, r.to_repr().into(), (r - scalar(1)).to_repr().into(), [0xff; 32]] {
                assert!(!keys.verdict(&Case { e, signature }));
            }
        }
    }
}

#[test]
fn keys_near_the_generator_and_scalars_with_corners_verify() {
    let power = |bits: usize| (0..bits).fold(scalar(1), |power, _| power + power);
    let runs = [power(255) - power(60), power(130), power(26) - scalar(1), reduce(&[0x0f; 32])];
    let scalars = [scalar(1), scalar(2), -scalar(1), -scalar(2)].into_iter().chain(runs);
    for key in [scalar(1), scalar(2), scalar(3), scalar(15), power(12), power(26), power(130), power(132)] {
        for keys in [key_of(key), key_of(-key)] {
            for (s, t) in scalars.clone().flat_map(|s| scalars.clone().map(move |t| (s, t))) {
                assert!(keys.right(s, t).is_none_or(|case| keys.verdict(&case)));
            }
        }
    }
}

#[test]
fn a_hash_counts_modulo_n() {
    let (secret, nonce) = (scalar(7), reduce(&[0x37; 32]));
    let keys = key_of(secret);
    let x = reduce(&(ProjectivePoint::GENERATOR * nonce).to_affine().x().into());
    for e in [ZERO, ONE, N, plus_n(&ONE).unwrap(), [0xff; 32]] {
        // As one signs: GB/T 32918.2, 6.1.
        let r = reduce(&e) + x;
        let s = (scalar(1) + secret).invert().unwrap() * (nonce - r * secret);
        let signature = joined(&r.to_repr().into(), &s.to_repr().into());
        assert!(keys.verdict(&Case { e, signature }), "{e:02x?}");
    }
}

#[test]
fn what_is_no_point_is_no_key() {
    let good = key_of(scalar(7)).new.to_compressed();
    assert!(PublicKey::from_compressed(&good).is_some());
    for tag in (0..=u8::MAX).filter(|tag| ![2, 3].contains(tag)) {
        let mut bytes = good;
        bytes[0] = tag;
        assert!(PublicKey::from_compressed(&bytes).is_none(), "{tag}");
    }
    assert!(PublicKey::from_compressed(&[0; 33]).is_none());
    assert!(PublicKey::from_xy(&[0; 64]).is_none());
    // x = p and x = 2²⁵⁶ − 1, and an x that no point has.
    for x in [P, [0xff; 32]] {
        let mut bytes = [2; 33];
        bytes[1..].copy_from_slice(&x);
        assert!(PublicKey::from_compressed(&bytes).is_none());
    }
    let none = (0..20).filter(|x| {
        let mut bytes = [2; 33];
        bytes[1..].copy_from_slice(&small(*x));
        PublicKey::from_compressed(&bytes).is_none()
    });
    assert!(none.count() > 2);
}

#[test]
fn a_raw_key_is_the_compressed_one() {
    let mut trials = Trials::new(3);
    for _ in 0..8 {
        let keys = trials.keys();
        let sec1 = keys.point.to_affine().to_sec1_point(false);
        let xy: [u8; 64] = sec1.as_bytes()[1..].try_into().unwrap();
        let raw = PublicKey::from_xy(&xy).unwrap();
        assert_eq!(raw.to_compressed(), keys.new.to_compressed());
        assert_eq!(raw.to_compressed(), keys.point.to_affine().to_sec1_point(true).as_bytes());
        assert_eq!(raw.to_compressed(), keys.seen.key().to_compressed());
        assert_eq!(raw.to_compressed(), keys.fixed.key().to_compressed());
        let mut off = xy;
        off[63] ^= 1;
        assert!(PublicKey::from_xy(&off).is_none());
    }
}

/// x + p would be x modulo p, and the same key in another form.
#[test]
fn a_coordinate_has_one_form() {
    let x = (1..50).find(|x| {
        let mut bytes = [2; 33];
        bytes[1..].copy_from_slice(&small(*x));
        PublicKey::from_compressed(&bytes).is_some()
    });
    // p ends with 64 ones and 32 zeros come before them, so of x + p those are 1 and these are x − 1.
    let mut bytes = [2; 33];
    bytes[1..].copy_from_slice(&P);
    bytes[24] = 1;
    bytes[25..].copy_from_slice(&u64::from(x.unwrap() - 1).to_be_bytes());
    assert!(PublicKey::from_compressed(&bytes).is_none());
}

#[test]
fn messages_and_user_ids() {
    let secret = [0x2d; 32];
    for id in ["1234567812345678", "", "ALICE123@YAHOO.COM"] {
        let signing = SigningKey::from_slice(id, &secret).unwrap();
        let compressed = signing.verifying_key().as_affine().to_sec1_point(true);
        let key = PublicKey::from_compressed(compressed.as_bytes().try_into().unwrap()).unwrap();
        let key = key.with_user_id(id.as_bytes()).unwrap();
        for length in [0, 1, 55, 56, 300] {
            let message = vec![0x61; length];
            let signature: Signature = signing.sign(&message);
            assert!(signing.verifying_key().verify(&message, &signature).is_ok());
            let bytes = signature.to_bytes().into();
            let (seen, fixed) = (key.seen(), key.fixed());
            assert!(key.verifies(&message, &bytes) && key.verifies_hash(&key.hash(&message), &bytes));
            assert!(seen.verifies(&message, &bytes) && fixed.verifies(&message, &bytes));
            let longer = [message.as_slice(), b"a"].concat();
            assert!(!key.verifies(&longer, &bytes) && !seen.verifies(&longer, &bytes));
            assert!(!fixed.verifies(&longer, &bytes));
        }
    }
    let key = key_of(scalar(7)).new;
    assert!(key.with_user_id(&[1; 8191]).is_some());
    assert!(key.with_user_id(&[1; 8192]).is_none());
    assert_ne!(key.with_user_id(b"another").unwrap().hash(b""), key.hash(b""));
}

#[test]
fn a_key_is_printed_without_its_table() {
    let keys = key_of(scalar(1));
    let key = "PublicKey(0232c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7)";
    assert_eq!(format!("{:?}", keys.new), key);
    assert_eq!(format!("{:?}", keys.seen), format!("SeenKey({key})"));
    assert_eq!(format!("{:?}", keys.fixed), format!("FixedKey({key})"));
}
