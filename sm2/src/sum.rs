//! Sums of multiples of points.

use crate::point::Jacobian;

/// A multiple of a point, written as a sum of points times powers of two.
pub(crate) trait Term {
    /// One more than the highest power there is something at.
    fn len(&self) -> usize;

    /// Adds to `sum` what is at 2^`place`.
    fn add_to(&self, sum: Jacobian, place: usize) -> Jacobian;
}

/// The sum of two terms, which share the doublings.
pub(crate) fn sum(a: &impl Term, b: &impl Term) -> Jacobian {
    (0..a.len().max(b.len())).rev().fold(Jacobian::INFINITY, |sum, place| {
        let sum = sum.double();
        let sum = if place < a.len() { a.add_to(sum, place) } else { sum };
        if place < b.len() { b.add_to(sum, place) } else { sum }
    })
}

#[cfg(test)]
mod tests;
