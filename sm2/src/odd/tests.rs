use num_bigint::{BigInt, BigUint};
use proptest::prelude::*;

use super::*;
use crate::{
    limb::to_be_bytes,
    reference::{self, generator, number, times, words},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn digits_are_odd_far_apart_and_sum_up_to_the_scalar(words in words()) {
        let scalar = Scalar::reduce_be_bytes(&to_be_bytes(words));
        let digits = digits(&scalar);
        let sum = digits.iter().rev().fold(BigInt::ZERO, |sum, digit| sum * 2 + *digit);
        prop_assert_eq!(sum, BigInt::from(number(scalar.words())));
        let places: std::vec::Vec<_> = (0..DIGITS).filter(|place| digits[*place] != 0).collect();
        prop_assert!(places.iter().all(|place| digits[*place] & 1 == 1));
        prop_assert!(places.iter().all(|place| digits[*place].unsigned_abs() < 1 << (WINDOW - 1)));
        prop_assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= WINDOW));
        let len = places.last().map_or(0, |last| last + 1);
        prop_assert_eq!(Windowed::new(&Affine::GENERATOR, &scalar).len(), len);
    }
}

#[test]
fn the_largest_digit_takes_the_last_multiple() {
    let largest = digits(&reference::scalar(&BigUint::from((1u8 << (WINDOW - 1)) - 1)));
    assert_eq!(usize::from(largest[0].unsigned_abs()) / 2 + 1, MULTIPLES);
}

#[test]
fn multiples_are_the_odd_ones() {
    for multiple in [1u8, 2, 3, 200].map(BigUint::from).into_iter().chain([reference::n() - 1u8]) {
        let point = times(&multiple, &generator());
        let found = odd_multiples(&reference::affine(&point));
        for (place, found) in found.iter().enumerate() {
            assert_eq!(
                reference::of(&Jacobian::INFINITY.add(found)),
                times(&BigUint::from(2 * place + 1), &point)
            );
        }
    }
}
