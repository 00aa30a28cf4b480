//! Keys and signatures that try a verification, and what the `sm2` crate says of them.
#![allow(dead_code, clippy::unwrap_used, reason = "each of the tests takes what it needs")]

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ridegate_sm2::{FixedKey, PublicKey, SeenKey};
use sm2::{
    AffinePoint, ProjectivePoint, Scalar,
    dsa::{Signature, VerifyingKey, signature::hazmat::PrehashVerifier},
    elliptic_curve::{
        ff::{Field, PrimeField},
        point::AffineCoordinates,
        sec1::{FromSec1Point, ToSec1Point},
    },
};

/// n, big-endian.
pub const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x72,
    0x03, 0xdf, 0x6b, 0x21, 0xc6, 0x05, 0x2b, 0x53, 0xbb, 0xf4, 0x09, 0x39, 0xd5, 0x41, 0x23,
];

/// A hash and a signature, right or wrong.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub e: [u8; 32],
    pub signature: [u8; 64],
}

/// One key in every form, and that of the `sm2` crate.
pub struct Keys {
    pub point: ProjectivePoint,
    pub new: PublicKey,
    pub seen: SeenKey,
    pub fixed: FixedKey,
    theirs: VerifyingKey,
}

impl Keys {
    /// Panics at infinity.
    pub fn new(point: ProjectivePoint) -> Self {
        let affine = AffinePoint::from(point);
        let compressed = affine.to_sec1_point(true);
        let new = PublicKey::from_compressed(compressed.as_bytes().try_into().unwrap()).unwrap();
        let theirs = VerifyingKey::from_affine("1234567812345678", affine).unwrap();
        Self { point, seen: new.seen(), fixed: new.fixed(), new, theirs }
    }

    /// What all of them say. Panics if they do not say the same.
    pub fn verdict(&self, case: &Case) -> bool {
        let Case { e, signature } = case;
        let theirs = Signature::from_bytes(&(*signature).into())
            .is_ok_and(|signature| self.theirs.verify_prehash(e, &signature).is_ok());
        let ours = [
            self.new.verifies_hash(e, signature),
            self.seen.verifies_hash(e, signature),
            self.fixed.verifies_hash(e, signature),
        ];
        assert_eq!(ours, [theirs; 3], "{case:02x?} under {:02x?}", self.new.to_compressed());
        theirs
    }

    /// A case that is right by construction: of s and t = r + s whatever was wished, and the hash that makes them right.
    /// `None` where the point that they make is at infinity, or r is zero.
    pub fn right(&self, s: Scalar, t: Scalar) -> Option<Case> {
        let point = ProjectivePoint::GENERATOR * s + self.point * t;
        let r = t - s;
        if bool::from(r.is_zero() | s.is_zero() | t.is_zero()) || point == ProjectivePoint::IDENTITY {
            return None;
        }
        let e = r - reduce(&AffinePoint::from(point).x().into());
        Some(Case { e: e.to_repr().into(), signature: joined(&r.to_repr().into(), &s.to_repr().into()) })
    }
}

/// r‖s.
pub fn joined(r: &[u8; 32], s: &[u8; 32]) -> [u8; 64] {
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(r);
    signature[32..].copy_from_slice(s);
    signature
}

/// The scalar of any 32 bytes.
pub fn reduce(bytes: &[u8; 32]) -> Scalar {
    let byte = |byte: &u8| Scalar::from(u64::from(*byte));
    bytes.iter().fold(Scalar::ZERO, |scalar, next| scalar * Scalar::from(256u64) + byte(next))
}

/// Bytes plus n, if that is less than 2²⁵⁶.
pub fn plus_n(bytes: &[u8; 32]) -> Option<[u8; 32]> {
    let mut sum = [0; 32];
    let mut carry = 0;
    for place in (0..32).rev() {
        let digit = u16::from(bytes[place]) + u16::from(N[place]) + carry;
        sum[place] = digit.to_be_bytes()[1];
        carry = digit >> 8;
    }
    (carry == 0).then_some(sum)
}

/// Makes keys and cases.
pub struct Trials(ChaCha8Rng);

impl Trials {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn bytes(&mut self) -> [u8; 32] {
        self.0.random()
    }

    /// Any scalar, or one with a corner: small, close to n, a power of two, long runs of ones or zeros.
    pub fn scalar(&mut self) -> Scalar {
        let power = |exponent: u64| Field::pow_vartime(&Scalar::from(2u64), [exponent]);
        let (high, low) = (self.0.random_range(0..256), self.0.random_range(0..256));
        let scalar = match self.0.random_range(0..8) {
            0 => Scalar::from(self.0.random_range(0..40u64)),
            1 => power(high),
            2 => power(high) - power(low),
            3 => power(high) + power(low),
            4 => reduce(&[*[0x55, 0xaa, 0x0f, 0xff].get(self.0.random_range(0..4)).unwrap(); 32]),
            _ => reduce(&self.bytes()),
        };
        if self.0.random() { scalar } else { -scalar }
    }

    /// The keys of a point: any, one that a table walk could meet, or one that makes x of the result n or more.
    pub fn keys(&mut self) -> Keys {
        loop {
            let point = ProjectivePoint::GENERATOR * self.scalar();
            if point != ProjectivePoint::IDENTITY {
                return Keys::new(point);
            }
        }
    }

    /// A key and a right signature under it where x of the result is n or more, which chance never meets.
    pub fn large_x(&mut self) -> (Keys, Case) {
        let small = self.0.random_range(0..1000u16).to_be_bytes();
        let mut x = N;
        // n ends with 4123 in hexadecimal, so this carries nowhere.
        (x[30], x[31]) = (x[30] + small[0], x[31].saturating_add(small[1]));
        let mut sec1 = [2; 33];
        sec1[1..].copy_from_slice(&x);
        let sec1 = sm2::elliptic_curve::sec1::Sec1Point::<sm2::Sm2>::from_bytes(sec1).unwrap();
        let Some(result) = Option::<AffinePoint>::from(AffinePoint::from_sec1_point(&sec1)) else {
            return self.large_x();
        };
        let (s, t) = (reduce(&self.bytes()), reduce(&self.bytes()));
        let inverse = t.invert().unwrap();
        let point = (ProjectivePoint::from(result) - ProjectivePoint::GENERATOR * s) * inverse;
        let keys = Keys::new(point);
        let case = keys.right(s, t).unwrap();
        (keys, case)
    }

    /// A case for `keys`: most are right or nearly so.
    pub fn case(&mut self, keys: &Keys) -> Case {
        let Some(mut case) = keys.right(self.scalar(), self.scalar()) else { return self.case(keys) };
        let (r, s) = case.signature.split_at(32);
        let (r, s): ([u8; 32], [u8; 32]) = (r.try_into().unwrap(), s.try_into().unwrap());
        match self.0.random_range(0..16) {
            0 => case.signature[self.0.random_range(0..64)] ^= 1 << self.0.random_range(0..8),
            1 => case.e[self.0.random_range(0..32)] ^= 1 << self.0.random_range(0..8),
            2 => case.signature = joined(&s, &r),
            3 => case.signature = joined(&plus_n(&r).unwrap_or(r), &s),
            4 => case.signature = joined(&r, &plus_n(&s).unwrap_or(s)),
            5 => case.e = plus_n(&case.e).unwrap_or(case.e),
            6 => case.signature = joined(&r, &(-reduce(&r)).to_repr().into()),
            7 => case.signature = joined(&self.edge(), &s),
            8 => case.signature = joined(&r, &self.edge()),
            9 => case.signature = joined(&self.edge(), &self.edge()),
            10 => case.e = self.edge(),
            11 => case = Case { e: self.bytes(), signature: joined(&self.bytes(), &self.bytes()) },
            _ => (),
        }
        case
    }

    /// 0, 1, n − 1, n, n + 1 or 2²⁵⁶ − 1.
    fn edge(&mut self) -> [u8; 32] {
        let mut one = [0; 32];
        one[31] = 1;
        let edges = [[0; 32], one, (-Scalar::ONE).to_repr().into(), N, plus_n(&one).unwrap(), [0xff; 32]];
        edges[self.0.random_range(0..edges.len())]
    }
}

/// Any bytes as a case: a key's scalar, a hash, and a signature that is as they say or, by the first byte, made right.
/// All forms of the key and the `sm2` crate must agree. What a fuzzer calls.
pub fn agree(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    let mut parts = data.chunks(32).map(|chunk| {
        let mut part = [0; 32];
        part[32 - chunk.len()..].copy_from_slice(chunk);
        part
    });
    let mut next = || parts.next().unwrap_or_default();
    let point = ProjectivePoint::GENERATOR * reduce(&next());
    if point == ProjectivePoint::IDENTITY {
        return;
    }
    let keys = Keys::new(point);
    let (a, b, e) = (next(), next(), next());
    let right = keys.right(reduce(&a), reduce(&b));
    let case = right.filter(|_| how & 1 == 1);
    let verdict = keys.verdict(&case.unwrap_or(Case { e, signature: joined(&a, &b) }));
    assert!(case.is_none() || verdict);
}
