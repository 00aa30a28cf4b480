//! The field, the scalars and the curve once more, as slow and plain as they come: what the tests hold the fast ones
//! against.

use std::vec::Vec;

use num_bigint::BigUint;
use proptest::prelude::*;

use crate::{
    field::{self, Element},
    point::{Affine, Jacobian},
    scalar::{self, Scalar},
};

pub(crate) fn number(words: [u64; 4]) -> BigUint {
    words.iter().rev().fold(BigUint::ZERO, |number, word| (number << 64) + word)
}

pub(crate) fn bytes(number: &BigUint) -> [u8; 32] {
    let digits = number.to_bytes_be();
    let mut bytes = [0; 32];
    bytes[32 - digits.len()..].copy_from_slice(&digits);
    bytes
}

pub(crate) fn p() -> BigUint {
    number(field::P)
}

pub(crate) fn n() -> BigUint {
    number(scalar::N)
}

pub(crate) fn element(number: &BigUint) -> Element {
    Element::from_be_bytes(&bytes(&(number % p()))).unwrap()
}

pub(crate) fn scalar(number: &BigUint) -> Scalar {
    Scalar::reduce_be_bytes(&bytes(&(number % n())))
}

/// Four words that trip carries: around 0, p, n and 2²⁵⁶, with long runs of ones and zeros, and any.
pub(crate) fn words() -> impl Strategy<Value = [u64; 4]> {
    let near = prop::sample::select(std::vec![[0; 4], field::P, scalar::N, field::FOLD, [0, 0, 0, 1 << 63]]);
    let near = (near, -3i64..=3).prop_map(|(words, by)| {
        let modulus = BigUint::from(1u8) << 256;
        let sum = if by < 0 {
            number(words) + &modulus - BigUint::from(by.unsigned_abs())
        } else {
            number(words) + BigUint::from(by.unsigned_abs())
        };
        crate::limb::from_be_bytes(&bytes(&(sum % modulus)))
    });
    let word = prop_oneof![Just(0), Just(u64::MAX), Just(u64::MAX << 32), Just(u64::MAX >> 32), any::<u64>()];
    prop_oneof![near, prop::array::uniform4(word), prop::array::uniform4(any::<u64>())]
}

/// A point, or none at infinity.
pub(crate) type Point = Option<(BigUint, BigUint)>;

/// The generator.
pub(crate) fn generator() -> Point {
    point(&Affine::GENERATOR)
}

#[expect(clippy::unnecessary_wraps, reason = "to be compared with any point")]
pub(crate) fn point(affine: &Affine) -> Point {
    Some((BigUint::from_bytes_be(&affine.x.to_be_bytes()), BigUint::from_bytes_be(&affine.y.to_be_bytes())))
}

pub(crate) fn affine(point: &Point) -> Affine {
    let (x, y) = point.as_ref().unwrap();
    Affine::from_xy(element(x), element(y)).unwrap()
}

/// The point that a fast one is.
pub(crate) fn of(jacobian: &Jacobian) -> Point {
    if jacobian.is_infinity() { None } else { point(&jacobian.scaled(&jacobian.z.invert())) }
}

/// The point with another z.
pub(crate) fn scaled(point: &Point, z: &Element) -> Jacobian {
    let Some((x, y)) = point else { return Jacobian { z: Element::ZERO, x: *z, y: *z } };
    let zz = z.square();
    Jacobian { x: element(x).mul(&zz), y: element(y).mul(&zz.mul(z)), z: *z }
}

pub(crate) fn neg(point: &Point) -> Point {
    point.as_ref().map(|(x, y)| (x.clone(), p() - y))
}

pub(crate) fn add(one: &Point, other: &Point) -> Point {
    let (Some((x1, y1)), Some((x2, y2))) = (one, other) else {
        return one.as_ref().or(other.as_ref()).cloned();
    };
    let p = p();
    let (rise, run) = if x1 == x2 {
        if y1 != y2 {
            return None;
        }
        (BigUint::from(3u8) * x1 * x1 + &p - BigUint::from(3u8), BigUint::from(2u8) * y1)
    } else {
        (y2 + &p - y1, x2 + &p - x1)
    };
    let slope = rise * run.modinv(&p).unwrap() % &p;
    let x = (&slope * &slope + &p + &p - x1 - x2) % &p;
    let y = (slope * (x1 + &p - &x) + &p - y1) % &p;
    Some((x, y))
}

pub(crate) fn times(scalar: &BigUint, point: &Point) -> Point {
    (0..scalar.bits()).rev().fold(None, |sum, bit| {
        let sum = add(&sum, &sum);
        if scalar.bit(bit) { add(&sum, point) } else { sum }
    })
}

/// Scalars that meet corners: small, close to n, single bits, long runs, all of them from 1 to n − 1.
pub(crate) fn corners() -> Vec<BigUint> {
    let one = BigUint::from(1u8);
    let mut corners: Vec<_> = (1u8..=3).flat_map(|small| [BigUint::from(small), n() - small]).collect();
    for bit in [5, 12, 26, 63, 64, 128, 130, 132, 192, 255u32] {
        corners.extend([&one << bit, (&one << bit) - 1u8, n() - (&one << bit)]);
    }
    corners.push((&one << 255) - (&one << 60));
    corners.push(BigUint::parse_bytes(&[b'5'; 64], 16).unwrap());
    corners
}
