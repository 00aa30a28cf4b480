use num_bigint::BigUint;
use proptest::prelude::*;

use super::*;
use crate::{
    limb::to_be_bytes,
    reference::{n, number, words},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn sums_and_differences(a in words(), b in words()) {
        let (a, b) = (Scalar::reduce_be_bytes(&to_be_bytes(a)), Scalar::reduce_be_bytes(&to_be_bytes(b)));
        let (v, w) = (number(a.words()), number(b.words()));
        prop_assert_eq!(number(a.add(&b).words()), (&v + &w) % n());
        prop_assert_eq!(number(a.sub(&b).words()), (&v + n() - &w) % n());
        prop_assert_eq!(a.is_even(), !v.bit(0));
    }

    #[test]
    fn bytes(words in words()) {
        let bytes = to_be_bytes(words);
        let value = number(words);
        prop_assert_eq!(number(Scalar::reduce_be_bytes(&bytes).words()), &value % n());
        let scalar = Scalar::from_be_bytes(&bytes);
        prop_assert_eq!(scalar.is_some(), value > BigUint::ZERO && value < n());
        prop_assert!(scalar.is_none_or(|scalar| scalar.words() == words && !scalar.is_zero()));
    }
}

#[test]
fn a_sum_of_n_is_zero() {
    let [one, most] = [BigUint::from(1u8), n() - 1u8].map(|number| crate::reference::scalar(&number));
    assert!(one.add(&most).is_zero());
    assert!(!one.is_zero() && !most.is_zero());
    assert!(one.sub(&one).is_zero());
}
