//! Tables for points that are multiplied more than once: two combs each, after Lim and Lee.
//!
//! A scalar is written with digits +1 and −1 only, 2·`TEETH`·`COLUMNS` of them. Laid out in rows of `COLUMNS` digits,
//! `TEETH` rows are one comb, and the digits above one another, a column, choose one point from the comb's half of the
//! table. So two additions a column and one doubling between columns are all that a multiple takes.

use crate::{
    field::Element,
    point::{Affine, Jacobian},
};

/// The table of a point. `POINTS` is 2 combs of 2^(`TEETH` − 1) points: the other half of each are their inverses.
///
/// At 2c + k is the sum with digit +1 for row i of comb k where bit i of c is set, else −1; the highest row's digit is
/// always +1.
#[derive(Debug, Clone)]
pub(crate) struct Table<const TEETH: usize, const COLUMNS: usize, const POINTS: usize> {
    pub(crate) points: [Affine; POINTS],
}

/// 2 KiB: 25 doublings and 52 additions.
pub(crate) type Narrow = Table<5, 26, 32>;
/// 128 KiB: 11 doublings and 24 additions.
pub(crate) type Wide = Table<11, 12, 2048>;

/// The most rows that two combs have.
const ROWS: usize = 22;
/// How many rows' points are summed up before they are made affine. For more points, an inversion a row is cheaper.
const SEED_ROWS: usize = 4;
const SEED: usize = 2 << SEED_ROWS;
/// Points that the other rows add, at most.
const LATE: usize = ROWS - 2 - 2 * SEED_ROWS;

impl<const TEETH: usize, const COLUMNS: usize, const POINTS: usize> Table<TEETH, COLUMNS, POINTS> {
    const FITS: () = assert!(
        POINTS == 1 << TEETH
            && TEETH > SEED_ROWS
            && 2 * TEETH <= ROWS
            && 2 + 2 * SEED_ROWS + LATE == ROWS
            && 2 * TEETH * COLUMNS > 256
            && 2 * TEETH * COLUMNS <= 320,
        "a digit for every bit, in five words"
    );

    /// Of no point yet.
    pub(crate) const fn blank() -> Self {
        const { Self::FITS };
        Self { points: [Affine::BLANK; POINTS] }
    }

    /// Makes it the table of `point`.
    ///
    /// It begins with all digits but the highest −1. To change the digit of a row to +1 is to add twice the row's point,
    /// so every row doubles what is there.
    pub(crate) fn fill(&mut self, point: &Affine) {
        let bases = bases::<TEETH, COLUMNS>(point);
        let (firsts, steps) = bases.split_at(2);
        let (early, late) = steps.split_at(2 * SEED_ROWS);
        normalize(&seed(firsts, early), &mut self.points);

        let mut steps = [Affine::BLANK; LATE];
        let late_rows = TEETH - 1 - SEED_ROWS;
        normalize(late.get(..2 * late_rows).unwrap_or_default(), &mut steps);
        for (row, steps) in steps.chunks_exact(2).take(late_rows).enumerate() {
            let (known, new) = self.points.split_at_mut(SEED << row);
            add_steps(known, steps, new);
        }
    }
}

/// What each comb's half begins with, then for each row but the highest twice its point, comb by comb.
fn bases<const TEETH: usize, const COLUMNS: usize>(point: &Affine) -> [Jacobian; ROWS] {
    let mut bases = [Jacobian::INFINITY; ROWS];
    let mut row = Jacobian::of(point);
    let firsts = [2, 3].map(|begin| {
        let mut first = Jacobian::INFINITY;
        for step in bases.iter_mut().skip(begin).step_by(2).take(TEETH - 1) {
            first = first.add(&row.neg().addend());
            *step = row.double();
            row = step.doubled(COLUMNS - 1);
        }
        first = first.add(&row.addend());
        row = row.doubled(COLUMNS);
        first
    });
    for (place, first) in bases.iter_mut().zip(firsts) {
        *place = first;
    }
    bases
}

/// The points of the first rows, one addition each.
fn seed(firsts: &[Jacobian], steps: &[Jacobian]) -> [Jacobian; SEED] {
    let mut sums = [Jacobian::INFINITY; SEED];
    for (place, first) in sums.iter_mut().zip(firsts) {
        *place = *first;
    }
    let mut count = firsts.len();
    for steps in steps.as_chunks::<2>().0 {
        let steps = steps.map(|step| step.addend());
        let (known, new) = sums.split_at_mut(count);
        for (new, (known, step)) in new.iter_mut().zip(known.iter().zip(steps.iter().cycle())) {
            *new = known.add(step);
        }
        count *= 2;
    }
    sums
}

/// Places the affine points in `affine`, with one inversion for all of them.
fn normalize(points: &[Jacobian], affine: &mut [Affine]) {
    let Some(affine) = affine.get_mut(..points.len()) else { return };
    for (affine, point) in affine.iter_mut().zip(points) {
        affine.x = point.z;
    }
    invert_x(affine);
    for (affine, point) in affine.iter_mut().zip(points) {
        *affine = point.scaled(&affine.x);
    }
}

/// Places in `new` the sums of `known` points and the comb's step.
///
/// They are never of equal or inverse points: the point of the table is multiplied by different integers less than n, the
/// step's being a power of two.
fn add_steps(known: &[Affine], steps: &[Affine], new: &mut [Affine]) {
    let Some(new) = new.get_mut(..known.len()) else { return };
    let sums = || known.iter().zip(steps.iter().cycle());
    for (new, (known, step)) in new.iter_mut().zip(sums()) {
        new.x = known.x.sub(&step.x);
    }
    invert_x(new);
    for (new, (known, step)) in new.iter_mut().zip(sums()) {
        *new = step.add(known, &new.x);
    }
}

/// Replaces every x by 1 ÷ x, with one inversion for all; y is where products are kept meanwhile.
fn invert_x(points: &mut [Affine]) {
    if points.is_empty() {
        return;
    }
    let mut product = Element::ONE;
    for point in points.iter_mut() {
        point.y = product;
        product = product.mul(&point.x);
    }
    let mut inverse = product.invert();
    for point in points.iter_mut().rev() {
        let x = point.x;
        point.x = inverse.mul(&point.y);
        inverse = inverse.mul(&x);
    }
}

#[cfg(test)]
#[path = "table/tests.rs"]
mod tests;
