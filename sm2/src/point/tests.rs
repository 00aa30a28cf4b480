use std::vec::Vec;

use num_bigint::BigUint;

use super::*;
use crate::reference::{self, Point, element, generator, neg, of, p, point, scaled, times};

/// Points that meet: infinity, small multiples and their inverses, and large ones.
fn points() -> Vec<Point> {
    let mut points: Vec<Point> = std::vec![None];
    for multiple in [1u64, 2, 3, 4, 0x1234_5678_9abc_def1] {
        let point = times(&multiple.into(), &generator());
        points.extend([neg(&point), point]);
    }
    points
}

/// Values of z, one of them not below p.
fn zs() -> [Element; 3] {
    [Element::ONE, element(&BigUint::from(7u8)), Element([5, 0, 0, u64::MAX])]
}

#[test]
fn all_sums() {
    for (a, b) in points().iter().flat_map(|a| points().into_iter().map(move |b| (a.clone(), b))) {
        let sum = reference::add(&a, &b);
        for (z, w) in zs().iter().flat_map(|z| zs().map(|w| (z, w))) {
            let left = scaled(&a, z);
            if b.is_some() {
                assert_eq!(of(&left.add(&scaled(&b, &w).addend())), sum);
                assert_eq!(of(&left.add_affine(&reference::affine(&b))), sum);
            }
        }
    }
}

#[test]
fn all_doubles_and_inverses() {
    for (point, z) in points().into_iter().flat_map(|point| zs().map(move |z| (point.clone(), z))) {
        let fast = scaled(&point, &z);
        assert_eq!(of(&fast.double()), reference::add(&point, &point));
        assert_eq!(of(&fast.doubled(3)), times(&8u8.into(), &point));
        assert_eq!(of(&fast.neg()), neg(&point));
        if let Some(other) = point.as_ref().map(|_| reference::affine(&point)) {
            assert_eq!(reference::point(&other.neg()), neg(&point));
            assert_eq!(of(&Jacobian::INFINITY.add(&fast.addend().neg())), neg(&point));
        }
    }
}

#[test]
fn affine_sums() {
    for (a, b) in
        points().iter().flatten().flat_map(|a| points().into_iter().flatten().map(move |b| (a.clone(), b)))
    {
        if a.0 != b.0 {
            let inverse = element(&(&b.0 + p() - &a.0)).invert();
            let (a, b) = (Some(a), Some(b));
            let sum = reference::affine(&a).add(&reference::affine(&b), &inverse);
            assert_eq!(point(&sum), reference::add(&a, &b));
        }
    }
}

#[test]
fn points_by_their_coordinates() {
    for (x, y) in points().into_iter().flatten() {
        let odd = y.bit(0);
        let (x_element, y_element) = (element(&x), element(&y));
        assert!(Affine::from_xy(x_element, y_element).is_some());
        assert!(Affine::from_xy(x_element, y_element.add(&Element::ONE)).is_none());
        assert_eq!(point(&Affine::from_x(x_element, odd).unwrap()), Some((x.clone(), y.clone())));
        assert_eq!(point(&Affine::from_x(x_element, !odd).unwrap()), Some((x, p() - y)));
    }
}

#[test]
fn half_of_all_x_have_no_point() {
    let found = (0u8..100).filter(|x| Affine::from_x(element(&BigUint::from(*x)), false).is_some()).count();
    assert!((25..75).contains(&found), "{found}");
}
