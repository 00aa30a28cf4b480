use num_bigint::BigUint;
use proptest::prelude::*;

use super::*;
use crate::reference::{bytes, element, number, p, words};

/// 2²⁵⁶.
fn r() -> BigUint {
    BigUint::from(1u8) << 256
}

/// What the words of an element stand for.
fn value(element: Element) -> BigUint {
    number(element.0) * r().modinv(&p()).unwrap() % p()
}

fn is(element: Element, expected: BigUint) {
    assert_eq!(value(element), expected % p());
}

fn any_element() -> impl Strategy<Value = Element> {
    words().prop_map(Element)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn one_element(a in any_element()) {
        let v = value(a);
        is(a.neg(), p() - &v);
        is(a.double(), &v * 2u8);
        is(a.half().double(), v.clone());
        is(a.square(), &v * &v);
        prop_assert_eq!(a.to_be_bytes(), bytes(&v));
        prop_assert_eq!(a.is_odd(), v.bit(0));
        prop_assert_eq!(a.is_zero(), v == BigUint::ZERO);
        prop_assert!(a.equals(&Element(element(&v).0)));
        is(Element::new(a.0), number(a.0));
    }

    #[test]
    fn two_elements(a in any_element(), b in any_element()) {
        let (v, w) = (value(a), value(b));
        is(a.add(&b), &v + &w);
        is(a.sub(&b), &v + p() - &w);
        is(a.mul(&b), &v * &w);
        prop_assert_eq!(a.equals(&b), v == w);
    }

    #[test]
    fn a_difference_of_products(a in any_element(), b in any_element(), c in any_element()) {
        let (v, w, x) = (value(a), value(b), value(c));
        is(a.times(&b).minus(&c.squared()).reduce(), &v * &w + p() * p() - &x * &x);
        is(c.squared().minus(&a.times(&b)).reduce(), &x * &x + p() * p() - &v * &w);
    }

    #[test]
    fn bytes_are_of_an_element_if_less_than_p(words in words()) {
        let bytes = to_be_bytes(words);
        match Element::from_be_bytes(&bytes) {
            Some(element) => { prop_assert!(number(words) < p()); prop_assert_eq!(element.to_be_bytes(), bytes) }
            None => prop_assert!(number(words) >= p()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn inverses_and_roots(a in any_element()) {
        let v = value(a);
        is(a.invert(), v.modinv(&p()).unwrap_or_default());
        let has_root = v.modpow(&((p() - 1u8) / 2u8), &p()) <= BigUint::from(1u8);
        match a.sqrt() {
            Some(root) => { prop_assert!(has_root); is(root.square(), v) }
            None => prop_assert!(!has_root),
        }
    }
}

/// What happens once in 2³² or less: the sum still overflows and the difference still underflows when p was taken away or
/// added once, and so does a difference of products.
#[test]
fn what_overflows_twice() {
    let most = Element([u64::MAX; 4]);
    is(most.add(&most), value(most) * 2u8);
    is(Element::ZERO.sub(&most), p() - value(most));
    let square = value(most) * value(most) % p();
    is(Element::ZERO.squared().minus(&most.squared()).reduce(), p() - square);
    is(Element(P).add(&Element(P)), BigUint::ZERO);
    assert!(Element(P).is_zero() && Element(P).equals(&Element::ZERO) && Element::ZERO.equals(&Element(P)));
}

/// Zero has two forms. What is one of them but for some of its words is something else, and so it is where these words
/// differ by the same bits, as bits that are compared must not cancel out.
#[test]
fn zero_has_two_forms_and_no_more() {
    for zero in [[0; 4], P] {
        for places in 0..16 {
            let mut words = zero;
            for (place, word) in words.iter_mut().enumerate() {
                *word ^= if places >> place & 1 == 1 { 6 } else { 0 };
            }
            assert_eq!(Element(words).is_zero(), places == 0, "{words:x?}");
        }
    }
}
