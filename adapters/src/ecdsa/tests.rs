//! Against a second implementation: affine arithmetic as SEC 1 writes it, on big integers, with nothing shared.

#![allow(clippy::many_single_char_names, reason = "as the standards call them")]

use num_bigint::BigUint;
use proptest::prelude::*;
use sha1::{Digest, Sha1};

use super::*;

struct Curve {
    p: BigUint,
    n: BigUint,
    b: BigUint,
    generator: Point,
    len: usize,
}

/// `None` is the point at infinity.
type Point = Option<(BigUint, BigUint)>;

fn hex(digits: &str) -> BigUint {
    BigUint::parse_bytes(digits.as_bytes(), 16).unwrap()
}

fn number(value: u64) -> BigUint {
    value.into()
}

/// SEC 2, version 2.0, 2.2.1.
fn secp192k1() -> Curve {
    let two = number(2);
    Curve {
        p: two.pow(192)
            - two.pow(32)
            - two.pow(12)
            - two.pow(8)
            - two.pow(7)
            - two.pow(6)
            - two.pow(3)
            - number(1),
        n: hex("FFFFFFFFFFFFFFFFFFFFFFFE26F2FC170F69466A74DEFD8D"),
        b: number(3),
        generator: Some((
            hex("DB4FF10EC057E9AE26B07D0280B7F4341DA5D1B1EAE06C7D"),
            hex("9B2F2F6D9C5628A7844163D015BE86344082AA88D95E2F9D"),
        )),
        len: 24,
    }
}

/// SEC 2, version 2.0, 2.4.1.
fn secp256k1() -> Curve {
    let two = number(2);
    Curve {
        p: two.pow(256) - two.pow(32) - number(977),
        n: hex("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141"),
        b: number(7),
        generator: Some((
            hex("79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798"),
            hex("483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8"),
        )),
        len: 32,
    }
}

impl Curve {
    fn add(&self, left: &Point, right: &Point) -> Point {
        let p = &self.p;
        let (Some((x1, y1)), Some((x2, y2))) = (left, right) else { return left.clone().or(right.clone()) };
        let slope = if x1 != x2 {
            (y2 + p - y1) * (x2 + p - x1).modinv(p).unwrap()
        } else if (y1 + y2) % p == number(0) {
            return None;
        } else {
            x1 * x1 * 3_u8 * (y1 * 2_u8).modinv(p).unwrap()
        } % p;
        let x = (&slope * &slope + p + p - x1 - x2) % p;
        let y = (slope * (x1 + p - &x) + p - y1) % p;
        Some((x, y))
    }

    fn times(&self, scalar: &BigUint, point: &Point) -> Point {
        let bits = (0..scalar.bits()).rev();
        bits.fold(None, |sum, bit| {
            let doubled = self.add(&sum, &sum);
            if scalar.bit(bit) { self.add(&doubled, point) } else { doubled }
        })
    }

    fn multiple(&self, scalar: &BigUint) -> Point {
        self.times(scalar, &self.generator)
    }

    /// The point of this X and an even Y, if there is one. Both p are 3 modulo 4.
    fn lift(&self, x: &BigUint) -> Point {
        let square = (x.pow(3) + &self.b) % &self.p;
        let y = square.modpow(&((&self.p + 1_u8) / 4_u8), &self.p);
        let y = if y.bit(0) { &self.p - y } else { y };
        (&y * &y % &self.p == square).then(|| (x.clone(), y))
    }

    fn bytes(&self, integer: &BigUint) -> Vec<u8> {
        let bytes = integer.to_bytes_be();
        [vec![0; self.len - bytes.len()], bytes].concat()
    }

    fn compressed(&self, point: &Point) -> Vec<u8> {
        let (x, y) = point.as_ref().unwrap();
        [vec![2 + u8::from(y.bit(0))], self.bytes(x)].concat()
    }

    fn inverse(&self, scalar: &BigUint) -> BigUint {
        (scalar % &self.n).modinv(&self.n).unwrap()
    }

    /// r and s over a message, with this secret and this nonce.
    fn sign(&self, secret: &BigUint, nonce: &BigUint, message: &[u8]) -> (BigUint, BigUint) {
        let r = self.multiple(nonce).unwrap().0 % &self.n;
        let s = self.inverse(nonce) * (hash(message) + &r * secret) % &self.n;
        (r, s)
    }
}

fn hash(message: &[u8]) -> BigUint {
    BigUint::from_bytes_be(&Sha1::digest(message))
}

fn verifies<C>(key: &[u8], message: &[u8], r: &BigUint, s: &BigUint) -> bool
where
    C: EcdsaCurve + CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
    SignatureSize<C>: ArraySize,
{
    let (r, s) = (r.to_bytes_be(), s.to_bytes_be());
    PublicKey::<C>::from_compressed(key).unwrap().verifies(message, Rs { r: &r, s: &s })
}

/// k·G as the crates' arithmetic makes it, in affine coordinates.
fn computed(curve: &Curve, scalar: &BigUint) -> Vec<u8> {
    use elliptic_curve::{PrimeField, group::GroupEncoding};
    let bytes = FieldBytes::<Secp192k1>::try_from(curve.bytes(scalar).as_slice()).unwrap();
    let scalar = <Secp192k1 as CurveArithmetic>::Scalar::from_repr(bytes).unwrap();
    (ProjectivePoint::<Secp192k1>::GENERATOR * scalar).to_bytes().to_vec()
}

#[test]
fn the_parameters_are_a_curve_and_a_point_of_prime_order() {
    let curve = secp192k1();
    let (x, y) = curve.generator.clone().unwrap();
    assert_eq!(&y * &y % &curve.p, (x.pow(3) + &curve.b) % &curve.p);
    for prime in [&curve.p, &curve.n] {
        for base in [2_u8, 3, 5, 7] {
            assert_eq!(number(base.into()).modpow(&(prime - 1_u8), prime), number(1));
        }
    }
    assert_eq!(curve.multiple(&curve.n), None);
    // Hasse: so n is the number of points, and the cofactor is 1.
    assert!(curve.p.clone() + 1_u8 - &curve.n < number(2).pow(97));
}

#[test]
fn multiples_of_the_generator_are_those_of_the_second_implementation() {
    let curve = secp192k1();
    let last = &curve.n - 1_u8;
    let scalars =
        (1..20).map(number).chain([number(2).pow(96), number(2).pow(191), &last - 1_u8, last.clone()]);
    for scalar in scalars {
        assert_eq!(computed(&curve, &scalar), curve.compressed(&curve.multiple(&scalar)), "{scalar}");
    }
    // Made by a third, in another language.
    for (scalar, known) in [
        (2, "03f091cf6331b1747684f5d2549cd1d4b3a8bed93b94f93cb6"),
        (3, "026e43b7dcae2fd5e0bf2a1ba7615ca3b9065487c9a67b4583"),
        (112_233_445_566_778_899, "03a2a8cd70d36a98783e80adf17d0ffc1fc4506fa5f7ccb3a0"),
    ] {
        assert_eq!(hex::encode(computed(&curve, &number(scalar))), known);
    }
}

#[test]
fn n_times_the_generator_is_the_point_at_infinity() {
    let curve = secp192k1();
    let bytes = FieldBytes::<Secp192k1>::try_from(curve.bytes(&(&curve.n - 1_u8)).as_slice()).unwrap();
    let last =
        <<Secp192k1 as CurveArithmetic>::Scalar as elliptic_curve::PrimeField>::from_repr(bytes).unwrap();
    let generator = ProjectivePoint::<Secp192k1>::GENERATOR;
    assert_eq!(generator * last, -generator);
    assert_eq!(generator * last + generator, ProjectivePoint::<Secp192k1>::IDENTITY);
}

#[test]
fn every_x_has_its_points_or_none() {
    let curve = secp192k1();
    let mut points = 0;
    for x in (0..100).map(number).chain((1..100_u32).map(|below| &curve.p - below)) {
        let bytes = curve.bytes(&x);
        let even = PublicKey::<Secp192k1>::from_compressed(&[&[2], bytes.as_slice()].concat());
        let odd = PublicKey::<Secp192k1>::from_compressed(&[&[3], bytes.as_slice()].concat());
        let lifted = curve.lift(&x);
        assert_eq!((even.is_some(), odd.is_some()), (lifted.is_some(), lifted.is_some()), "{x}");
        if let (Some(even), Some(odd)) = (even, odd) {
            assert_eq!(even.0, -odd.0);
            let sec1 = even.0.to_affine().to_sec1_point(false);
            assert_eq!(sec1.y().unwrap().as_slice(), curve.bytes(&lifted.unwrap().1));
            points += 1;
        }
    }
    assert!((60..140).contains(&points), "{points}");
}

#[test]
fn what_is_no_compressed_point_is_no_key() {
    let curve = secp192k1();
    let good = curve.compressed(&curve.generator);
    let decodes = |bytes: &[u8]| PublicKey::<Secp192k1>::from_compressed(bytes).is_some();
    assert!(decodes(&good));
    for tag in (0..=255).filter(|tag| ![2, 3].contains(tag)) {
        assert!(!decodes(&[&[tag], &good[1..]].concat()), "{tag:02x}");
    }
    let (x, y) = curve.generator.clone().unwrap();
    assert!(!decodes(&[vec![4], curve.bytes(&x), curve.bytes(&y)].concat()), "uncompressed");
    assert!(!decodes(&good[..24]) && !decodes(&[good.as_slice(), &[0]].concat()) && !decodes(&[]));
    // X of p and above is not reduced: x = 1 is on the curve, x = p + 1 is nobody's.
    assert!(decodes(&[vec![2], curve.bytes(&number(1))].concat()));
    assert!(!decodes(&[vec![2], curve.bytes(&(&curve.p + 1_u8))].concat()));
    assert!(!decodes(&[vec![2], vec![0xff; 24]].concat()));
}

/// What holds on either curve.
fn edges<C>(curve: &Curve)
where
    C: EcdsaCurve + CurveArithmetic,
    AffinePoint<C>: FromSec1Point<C> + ToSec1Point<C>,
    FieldBytesSize<C>: ModulusSize,
    SignatureSize<C>: ArraySize,
{
    let (secret, nonce, n) = (hex("c0ffee123456789abcdef"), hex("deadbeef987654321"), &curve.n);
    let key = curve.compressed(&curve.multiple(&secret));
    let (r, s) = curve.sign(&secret, &nonce, b"message");
    let ok = |r: &BigUint, s: &BigUint| verifies::<C>(&key, b"message", r, s);
    assert!(ok(&r, &s));
    assert!(ok(&r, &(n - &s)), "the other s is as good");
    assert!(!verifies::<C>(&key, b"another", &r, &s));
    assert!(!ok(&s, &r));
    let all_ones = number(2).pow(u32::try_from(curve.len).unwrap() * 8) - 1_u8;
    let edges = [number(0), number(1), n - 1_u8, n.clone(), n + 1_u8, all_ones.clone(), all_ones + 1_u8];
    for edge in &edges {
        assert!(!ok(edge, &s) && !ok(&r, edge), "{edge}");
        assert!(edges.iter().all(|other| !ok(edge, other)), "{edge}");
    }
    assert!(!ok(&(&r + n), &s) && !ok(&r, &(&s + n)), "not reduced");
    let zeros = |integer: &BigUint, count: usize| [vec![0; count], integer.to_bytes_be()].concat();
    let padded =
        |r: &[u8], s: &[u8]| PublicKey::<C>::from_compressed(&key).unwrap().verifies(b"message", Rs { r, s });
    assert!(!padded(&zeros(&r, 40), &s.to_bytes_be()) && !padded(&[], &[]));
}

#[test]
fn only_r_and_s_in_range_verify() {
    edges::<Secp192k1>(&secp192k1());
    edges::<Secp256k1>(&secp256k1());
}

#[test]
fn a_point_whose_x_is_above_n_counts_modulo_n() {
    let curve = secp192k1();
    let n = &curve.n;
    let (x, point) = (1_u32..).map(|r| n + r).find_map(|x| Some((x.clone(), curve.lift(&x)?))).unwrap();
    assert!(x < curve.p);
    let (r, s, e) = (&x - n, number(12_345), hash(b"message"));
    // Q = (s·R − e·G) / r makes u1·G + u2·Q = R.
    let difference = curve.add(&curve.times(&s, &Some(point)), &curve.multiple(&(n - &e % n)));
    let key = curve.compressed(&curve.times(&curve.inverse(&r), &difference));
    assert!(verifies::<Secp192k1>(&key, b"message", &r, &s));
    assert!(!verifies::<Secp192k1>(&key, b"message", &x, &s));
}

#[test]
fn a_sum_at_infinity_does_not_verify_and_a_sum_of_equals_does() {
    let curve = secp192k1();
    let (n, e) = (&curve.n, hash(b"message"));
    // d = −e/r: u1·G + u2·Q is the point at infinity for every s.
    let r = number(7);
    let key = curve.compressed(&curve.multiple(&((n - &e % n) * curve.inverse(&r) % n)));
    for s in [number(1), number(99), n - 1_u8] {
        assert!(!verifies::<Secp192k1>(&key, b"message", &r, &s));
    }
    // u1·G = u2·Q: the addition is a doubling.
    let half = number(54_321);
    let r = curve.multiple(&(&half * 2_u8)).unwrap().0 % n;
    let s = &e * curve.inverse(&half) % n;
    let key = curve.compressed(&curve.multiple(&(&e * curve.inverse(&r) % n)));
    assert!(verifies::<Secp192k1>(&key, b"message", &r, &s));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_the_second_implementation_signs_verifies_and_nothing_near_it(
        secret: [u8; 23], nonce: [u8; 23], message: Vec<u8>, bit in 0_u64..192,
    ) {
        let [secret, nonce] = [secret, nonce].map(|bytes| BigUint::from_bytes_be(&bytes) + 1_u8);
        let curve = secp192k1();
        let key = curve.compressed(&curve.multiple(&secret));
        let (r, s) = curve.sign(&secret, &nonce, &message);
        let flipped = |integer: &BigUint| integer ^ (number(1) << bit);
        prop_assert!(verifies::<Secp192k1>(&key, &message, &r, &s));
        prop_assert!(!verifies::<Secp192k1>(&key, &message, &flipped(&r), &s));
        prop_assert!(!verifies::<Secp192k1>(&key, &message, &r, &flipped(&s)));
        prop_assert!(!verifies::<Secp192k1>(&key, &[message.as_slice(), &[0]].concat(), &r, &s));
        let curve = secp256k1();
        let key = curve.compressed(&curve.multiple(&secret));
        let (r, s) = curve.sign(&secret, &nonce, &message);
        prop_assert!(verifies::<Secp256k1>(&key, &message, &r, &s));
        prop_assert!(!verifies::<Secp256k1>(&key, &message, &flipped(&r), &s));
    }
}
