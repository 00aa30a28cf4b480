//! A slice of what the example `differential` does by the million: against the `sm2` crate, all forms of a key.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Trials, agree};
use proptest::prelude::*;

#[test]
fn all_agree_on_right_and_wrong() {
    let mut trials = Trials::new(8);
    let mut right = 0;
    for _ in 0..20 {
        let keys = trials.keys();
        right += (0..20).filter(|_| keys.verdict(&trials.case(&keys))).count();
    }
    // A test that sees only wrong ones, or only right ones, sees nothing.
    assert!((100..300).contains(&right), "{right} of 400");
}

#[test]
fn an_x_of_n_and_more_is_x() {
    let mut trials = Trials::new(9);
    for _ in 0..8 {
        let (keys, case) = trials.large_x();
        assert!(keys.verdict(&case));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_agree_on_any_bytes(data in prop::collection::vec(any::<u8>(), 0..140)) {
        agree(&data);
    }
}
