//! Points of the curve y² = x³ − 3x + b and how they are added (GB/T 32918.5 has b and the generator).

use crate::field::Element;

/// b.
pub(crate) const B: Element = Element::new([
    0xddbc_bd41_4d94_0e93,
    0xf397_89f5_15ab_8f92,
    0x4d5a_9e4b_cf65_09a7,
    0x28e9_fa9e_9d9f_5e34,
]);

/// A point that is not the one at infinity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Affine {
    pub(crate) x: Element,
    pub(crate) y: Element,
}

impl Affine {
    pub(crate) const GENERATOR: Self = Self {
        x: Element::new([
            0x715a_4589_334c_74c7,
            0x8fe3_0bbf_f266_0be1,
            0x5f99_0446_6a39_c994,
            0x32c4_ae2c_1f19_8119,
        ]),
        y: Element::new([
            0x02df_32e5_2139_f0a0,
            0xd0a9_877c_c62a_4740,
            0x59bd_cee3_6b69_2153,
            0xbc37_36a2_f4f6_779c,
        ]),
    };
    /// Not on the curve: what a table holds before it is filled.
    pub(crate) const BLANK: Self = Self { x: Element::ZERO, y: Element::ZERO };

    /// `None` if it is not on the curve.
    pub(crate) fn from_xy(x: Element, y: Element) -> Option<Self> {
        y.square().equals(&y_squared(&x)).then_some(Self { x, y })
    }

    /// Of the two points with this x the one whose y is odd or even as told. `None` if there are none.
    pub(crate) fn from_x(x: Element, odd: bool) -> Option<Self> {
        let y = y_squared(&x).sqrt()?;
        // No y is zero: the curve has no point of order two.
        Some(Self { x, y: if y.is_odd() == odd { y } else { y.neg() } })
    }

    #[inline]
    pub(crate) const fn neg(&self) -> Self {
        Self { x: self.x, y: self.y.neg() }
    }

    /// The sum with a point that has another x, given 1 ÷ (the other's x − this one's).
    pub(crate) const fn add(&self, other: &Self, inverse: &Element) -> Self {
        let slope = other.y.sub(&self.y).mul(inverse);
        let x = slope.square().sub(&self.x).sub(&other.x);
        Self { x, y: slope.mul(&self.x.sub(&x)).sub(&self.y) }
    }
}

/// x³ − 3x + b.
fn y_squared(x: &Element) -> Element {
    let three = Element::ONE.double().add(&Element::ONE);
    x.square().sub(&three).mul(x).add(&B)
}

/// A point as x·z², y·z³ and z; z is zero at infinity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Jacobian {
    pub(crate) x: Element,
    pub(crate) y: Element,
    pub(crate) z: Element,
}

/// A point to be added more than once, with z² and z³ kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addend {
    pub(crate) x: Element,
    pub(crate) y: Element,
    pub(crate) z: Element,
    pub(crate) zz: Element,
    pub(crate) zzz: Element,
}

impl Addend {
    #[inline]
    pub(crate) const fn neg(&self) -> Self {
        Self { y: self.y.neg(), ..*self }
    }
}

impl Jacobian {
    pub(crate) const INFINITY: Self = Self { x: Element::ONE, y: Element::ONE, z: Element::ZERO };

    pub(crate) const fn of(point: &Affine) -> Self {
        Self { x: point.x, y: point.y, z: Element::ONE }
    }

    pub(crate) const fn neg(&self) -> Self {
        Self { x: self.x, y: self.y.neg(), z: self.z }
    }

    pub(crate) const fn is_infinity(&self) -> bool {
        self.z.is_zero()
    }

    /// Four multiplications and four squarings; the usual formula with z halved, which saves additions.
    #[inline]
    pub(crate) const fn double(&self) -> Self {
        // In an order in which no product waits for the one before it.
        let zz = self.z.square();
        let yy = self.y.square();
        let slope = self.x.sub(&zz).mul(&self.x.add(&zz));
        let xyy = self.x.mul(&yy);
        let slope = slope.add(&slope.half());
        let slope_squared = slope.square();
        let z = self.y.mul(&self.z);
        let x = slope_squared.sub(&xyy.double());
        let y = slope.times(&xyy.sub(&x)).minus(&yy.squared()).reduce();
        Self { x, y, z }
    }

    /// Doubled `times` times.
    pub(crate) const fn doubled(mut self, mut times: usize) -> Self {
        while times > 0 {
            self = self.double();
            times -= 1;
        }
        self
    }

    /// Eight multiplications and three squarings, for any two points.
    #[inline]
    pub(crate) const fn add_affine(&self, other: &Affine) -> Self {
        if self.is_infinity() {
            return Self::of(other);
        }
        let zz = self.z.square();
        let x2 = other.x.mul(&zz);
        let y2 = other.y.mul(&self.z.mul(&zz));
        self.add_scaled(&self.x, &self.y, &x2, &y2, &self.z)
    }

    /// Eleven multiplications and three squarings, for any two points of which `other` is not at infinity.
    #[inline]
    pub(crate) const fn add(&self, other: &Addend) -> Self {
        if self.is_infinity() {
            return Self { x: other.x, y: other.y, z: other.z };
        }
        let zz = self.z.square();
        let x1 = self.x.mul(&other.zz);
        let y1 = self.y.mul(&other.zzz);
        let x2 = other.x.mul(&zz);
        let y2 = other.y.mul(&self.z.mul(&zz));
        self.add_scaled(&x1, &y1, &x2, &y2, &self.z.mul(&other.z))
    }

    /// The sum of this point, (x1, y1), and another, (x2, y2), brought to a common z.
    #[inline(always)]
    const fn add_scaled(&self, x1: &Element, y1: &Element, x2: &Element, y2: &Element, z: &Element) -> Self {
        let run = x2.sub(x1);
        let rise = y2.sub(y1);
        if run.is_zero() {
            return if rise.is_zero() { self.double() } else { Self::INFINITY };
        }
        let square = run.square();
        let cube = square.mul(&run);
        let x1 = x1.mul(&square);
        let x = rise.square().sub(&cube).sub(&x1.double());
        let y = rise.times(&x1.sub(&x)).minus(&y1.times(&cube)).reduce();
        Self { x, y, z: z.mul(&run) }
    }

    /// With z² and z³.
    pub(crate) const fn addend(&self) -> Addend {
        let zz = self.z.square();
        Addend { x: self.x, y: self.y, z: self.z, zz, zzz: zz.mul(&self.z) }
    }

    /// The affine point, given 1 ÷ z.
    pub(crate) const fn scaled(&self, inverse: &Element) -> Affine {
        let square = inverse.square();
        Affine { x: self.x.mul(&square), y: self.y.mul(&square.mul(inverse)) }
    }
}

#[cfg(test)]
#[path = "point/tests.rs"]
mod tests;
