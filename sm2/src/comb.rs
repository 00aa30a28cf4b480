//! Multiples of a point that has a table.

use crate::{
    limb::add4,
    point::{Affine, Jacobian},
    scalar::{N, Scalar},
    sum::Term,
    table::{Table, Wide},
};

/// The generator's table, made by the build script.
#[allow(clippy::unreadable_literal, reason = "nobody reads it")]
pub(crate) static GENERATOR: Wide = {
    use crate::field::Element;
    include!(concat!(env!("OUT_DIR"), "/generator.rs"))
};

/// A scalar times the point of a table.
#[derive(Debug)]
pub(crate) struct Combed<'a, const TEETH: usize, const COLUMNS: usize, const POINTS: usize> {
    table: &'a Table<TEETH, COLUMNS, POINTS>,
    /// Where a bit is set the digit is +1, else −1.
    digits: [u64; 5],
}

impl<const TEETH: usize, const COLUMNS: usize, const POINTS: usize> Table<TEETH, COLUMNS, POINTS> {
    /// `scalar` times the point.
    pub(crate) fn times(&self, scalar: &Scalar) -> Combed<'_, TEETH, COLUMNS, POINTS> {
        // With d digits the sum of digits·2ⁱ is 2·bits − (2ᵈ − 1): always odd, as n is, so an even scalar gets n more.
        // The bits are then (scalar − 1) ÷ 2 + 2ᵈ⁻¹.
        let ([w0, w1, w2, w3], carry) =
            if scalar.is_even() { add4(scalar.words(), N) } else { (scalar.words(), false) };
        let half = |low: u64, high: u64| low >> 1 | high << 63;
        let highest = 1 << (2 * TEETH * COLUMNS - 1 - 256);
        let digits = [half(w0, w1), half(w1, w2), half(w2, w3), half(w3, u64::from(carry)), highest];
        Combed { table: self, digits }
    }
}

impl<const TEETH: usize, const COLUMNS: usize, const POINTS: usize> Combed<'_, TEETH, COLUMNS, POINTS> {
    /// The point that a column of a comb chooses.
    #[inline]
    fn choice(&self, comb: usize, column: usize) -> Option<Affine> {
        let mut choice = 0;
        for row in (0..TEETH).rev() {
            let place = (comb * TEETH + row) * COLUMNS + column;
            choice = choice << 1 | self.digits.get(place / 64)? >> (place % 64) & 1;
        }
        let highest = 1 << (TEETH - 1);
        let (chosen, negative) =
            if choice & highest == 0 { (!choice & (highest - 1), true) } else { (choice ^ highest, false) };
        let point = self.table.points.get(2 * usize::try_from(chosen).ok()? + comb)?;
        Some(if negative { point.neg() } else { *point })
    }
}

impl<const TEETH: usize, const COLUMNS: usize, const POINTS: usize> Term
    for Combed<'_, TEETH, COLUMNS, POINTS>
{
    fn len(&self) -> usize {
        COLUMNS
    }

    #[inline]
    fn add_to(&self, sum: Jacobian, column: usize) -> Jacobian {
        [0, 1]
            .iter()
            .filter_map(|comb| self.choice(*comb, column))
            .fold(sum, |sum, point| sum.add_affine(&point))
    }
}

#[cfg(test)]
mod tests;
