use num_bigint::BigUint;

use super::*;
use crate::{
    comb::GENERATOR,
    odd::Windowed,
    reference::{affine, corners, generator, n, of, scalar, times},
    table::{Narrow, Wide},
};

/// s·G + t·P in all three ways, P being `key`·G.
fn is_sum(key: &BigUint, tables: &(Narrow, Wide), s: &BigUint, t: &BigUint) {
    let expected = times(&((s + key * t) % n()), &generator());
    let point = affine(&times(key, &generator()));
    let (s_times, t) = (GENERATOR.times(&scalar(s)), scalar(t));
    assert_eq!(of(&sum(&s_times, &Windowed::new(&point, &t))), expected, "new: {key} {s} {t:?}");
    assert_eq!(of(&sum(&s_times, &tables.0.times(&t))), expected, "seen: {key} {s} {t:?}");
    assert_eq!(
        of(&sum(&tables.0.times(&t), &s_times)),
        expected,
        "seen, the longer one first: {key} {s} {t:?}"
    );
    assert_eq!(of(&sum(&s_times, &tables.1.times(&t))), expected, "fixed: {key} {s} {t:?}");
}

fn tables(key: &BigUint) -> (Narrow, Wide) {
    let (mut narrow, mut wide) = (Narrow::blank(), Wide::blank());
    let point = affine(&times(key, &generator()));
    narrow.fill(&point);
    wide.fill(&point);
    (narrow, wide)
}

/// Keys for which the points of both tables coincide: the generator, its inverse, small multiples and powers of two.
fn keys() -> [BigUint; 7] {
    let one = BigUint::from(1u8);
    [one.clone(), n() - 1u8, 2u8.into(), n() - 3u8, &one << 12, &one << 130, (&one << 200) + 0x1234_5678u32]
}

#[test]
fn scalars_with_corners() {
    for (key, t) in keys().iter().zip([1usize, 5, 8, 13, 21, 34, 39]) {
        let tables = tables(key);
        for (place, s) in corners().iter().enumerate().skip(t % 4).step_by(4) {
            is_sum(key, &tables, s, &corners()[(place * t + 3) % corners().len()]);
        }
    }
}

/// The sum passes through equal and inverse points wherever s and t·`key` look alike, and ends at infinity.
#[test]
fn sums_that_meet_themselves() {
    for key in keys() {
        let tables = tables(&key);
        let inverse = key.modinv(&n()).unwrap();
        for s in corners().iter().step_by(9) {
            let equal = s * &inverse % n();
            is_sum(&key, &tables, s, &equal);
            is_sum(&key, &tables, s, &(n() - &equal));
            is_sum(&key, &tables, s, &(n() - &equal + 1u8));
        }
    }
}

#[test]
fn nothing_times_nothing_is_nothing() {
    let zero = BigUint::ZERO;
    for key in keys() {
        is_sum(&key, &tables(&key), &zero, &zero);
    }
}
