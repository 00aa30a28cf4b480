use num_bigint::BigUint;

use super::*;
use crate::{
    comb::GENERATOR,
    reference::{add, generator, neg, point, times},
};

/// Every point, or one in `skipping`, is the sum that its place says.
fn is_table_of<const TEETH: usize, const COLUMNS: usize, const POINTS: usize>(
    table: &Table<TEETH, COLUMNS, POINTS>,
    multiple: &BigUint,
    skipping: usize,
) {
    for (place, found) in table.points.iter().enumerate().step_by(skipping) {
        let (choice, comb) = (place / 2, place % 2);
        let sum = (0..TEETH).fold(None, |sum, row| {
            let power = multiple << ((comb * TEETH + row) * COLUMNS);
            let summand = times(&(power % crate::reference::n()), &generator());
            let plus = row == TEETH - 1 || choice >> row & 1 == 1;
            add(&sum, &if plus { summand } else { neg(&summand) })
        });
        assert_eq!(point(found), sum, "{place}");
    }
}

#[test]
fn the_narrow_table_of_some_points() {
    for multiple in [1u64, 2, 0x9e37_79b9_7f4a_7c15] {
        let multiple = BigUint::from(multiple);
        let mut table = Narrow::blank();
        table.fill(&crate::reference::affine(&times(&multiple, &generator())));
        is_table_of(&table, &multiple, 5);
    }
}

#[test]
fn the_generator_s_table() {
    is_table_of(&GENERATOR, &BigUint::from(1u8), 211);
}

#[test]
fn the_build_script_makes_what_the_library_makes() {
    let mut table = Wide::blank();
    table.fill(&Affine::GENERATOR);
    let made = table.points.iter().zip(&GENERATOR.points);
    assert!(made.into_iter().all(|(a, b)| a.x.equals(&b.x) && a.y.equals(&b.y)));
}
