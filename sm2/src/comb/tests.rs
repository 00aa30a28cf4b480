use num_bigint::{BigInt, BigUint};
use proptest::prelude::*;

use super::*;
use crate::{
    limb::to_be_bytes,
    reference::{n, number, words},
    table::Narrow,
};

/// The sum of the digits at their places.
fn sum<const TEETH: usize, const COLUMNS: usize, const POINTS: usize>(
    combed: &Combed<'_, TEETH, COLUMNS, POINTS>,
) -> BigUint {
    let digits = 2 * TEETH * COLUMNS;
    let sum = (0..digits).fold(BigInt::ZERO, |sum, place| {
        let plus = combed.digits[place / 64] >> (place % 64) & 1 == 1;
        sum + if plus { BigInt::from(1) << place } else { -(BigInt::from(1) << place) }
    });
    assert!(combed.digits.iter().skip(digits / 64 + 1).all(|word| *word == 0));
    assert_eq!(combed.digits[digits / 64] >> (digits % 64), 0);
    sum.to_biguint().unwrap() % n()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn digits_sum_up_to_the_scalar(words in words()) {
        let scalar = Scalar::reduce_be_bytes(&to_be_bytes(words));
        let value = number(scalar.words());
        prop_assert_eq!(sum(&GENERATOR.times(&scalar)), value.clone());
        prop_assert_eq!(sum(&Narrow::blank().times(&scalar)), value);
    }
}
