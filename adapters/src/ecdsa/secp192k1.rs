//! The curve secp192k1 (SEC 2, version 2.0, 2.2.1), which no crate offers.
//!
//! Only its parameters are ours. The arithmetic is the generic one that the crates of the other curves are made of,
//! with complete addition formulas for a = 0.
#![allow(missing_docs, reason = "what the macros make is documented where they are")]

use elliptic_curve::{
    Curve, CurveArithmetic, PrimeCurve, PrimeCurveArithmetic,
    bigint::{Odd, U192},
    consts::U24,
    hazmat::FieldArithmetic,
    point::PointCompression,
    scalar::{FromUintUnchecked, IsHigh},
    subtle::{Choice, ConstantTimeGreater},
};
use primeorder::{PrimeCurveParams, mul_backend, point_arithmetic};

use self::{field::FieldElement, scalar::Scalar};

/// The curve y² = x³ + 3 modulo p = 2¹⁹² − 2³² − 2¹² − 2⁸ − 2⁷ − 2⁶ − 2³ − 1. About 96 bits strong: only for formats
/// that prescribe it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secp192k1;

const MODULUS_HEX: &str = "fffffffffffffffffffffffffffffffffffffffeffffee37";
const ORDER_HEX: &str = "fffffffffffffffffffffffe26f2fc170f69466a74defd8d";

mod field {
    use elliptic_curve::{
        bigint::U192,
        ff::PrimeField,
        ops::BatchInvert,
        subtle::{Choice, ConstantTimeEq, CtOption},
    };

    primefield::monty_field_params! {
        name: FieldParams,
        modulus: super::MODULUS_HEX,
        uint: U192,
        byte_order: primefield::ByteOrder::BigEndian,
        multiplicative_generator: 3,
        doc: "Coordinates: integers modulo p."
    }
    primefield::monty_field_element! {
        name: FieldElement,
        params: FieldParams,
        uint: U192,
        doc: "A coordinate, an integer modulo p."
    }
    primefield::monty_field_arithmetic! { name: FieldElement, params: FieldParams, uint: U192 }

    impl BatchInvert for FieldElement {}
}

mod scalar {
    use elliptic_curve::{
        bigint::U192,
        ff::PrimeField,
        subtle::{Choice, ConstantTimeEq, CtOption},
    };
    use primeorder::wnaf;

    use super::Secp192k1;

    primefield::monty_field_params! {
        name: ScalarParams,
        modulus: super::ORDER_HEX,
        uint: U192,
        byte_order: primefield::ByteOrder::BigEndian,
        multiplicative_generator: 2,
        doc: "Scalars: integers modulo n."
    }
    primefield::monty_field_element! {
        name: Scalar,
        params: ScalarParams,
        uint: U192,
        doc: "A scalar, an integer modulo n."
    }
    primefield::monty_field_arithmetic! { name: Scalar, params: ScalarParams, uint: U192 }
    primefield::monty_field_reduce! { name: Scalar, params: ScalarParams, uint: U192, }
    elliptic_curve::scalar_impls!(Secp192k1, Scalar);
    wnaf::impl_wnaf_size_for_scalar!(Scalar);
}

impl AsRef<Scalar> for Scalar {
    fn as_ref(&self) -> &Scalar {
        self
    }
}

impl FromUintUnchecked for Scalar {
    type Uint = U192;

    fn from_uint_unchecked(uint: U192) -> Self {
        Self::from_uint_unchecked(uint)
    }
}

impl IsHigh for Scalar {
    fn is_high(&self) -> Choice {
        const HALF: U192 = Secp192k1::ORDER.as_ref().shr_vartime(1);
        self.to_canonical().ct_gt(&HALF)
    }
}

impl Curve for Secp192k1 {
    type FieldBytesSize = U24;
    type Uint = U192;
    const ORDER: Odd<U192> = Odd::<U192>::from_be_hex(ORDER_HEX);
}

impl PrimeCurve for Secp192k1 {}

impl PointCompression for Secp192k1 {
    const COMPRESS_POINTS: bool = true;
}

impl CurveArithmetic for Secp192k1 {
    type AffinePoint = primeorder::AffinePoint<Self>;
    type ProjectivePoint = primeorder::ProjectivePoint<Self>;
    type Scalar = Scalar;
}

impl FieldArithmetic for Secp192k1 {
    type FieldElement = FieldElement;
}

impl PrimeCurveArithmetic for Secp192k1 {
    type CurveGroup = primeorder::ProjectivePoint<Self>;
}

impl PrimeCurveParams for Secp192k1 {
    type PointArithmetic = point_arithmetic::EquationAIsZero;
    type Backend = mul_backend::VariableOnly;
    const EQUATION_A: FieldElement = FieldElement::ZERO;
    const EQUATION_B: FieldElement = FieldElement::from_u64(3);
    const GENERATOR: (FieldElement, FieldElement) = (
        FieldElement::from_hex_vartime("db4ff10ec057e9ae26b07d0280b7f4341da5d1b1eae06c7d"),
        FieldElement::from_hex_vartime("9b2f2f6d9c5628a7844163d015be86344082aa88d95e2f9d"),
    );
}

impl ::ecdsa::EcdsaCurve for Secp192k1 {
    /// Phones sign with either s.
    const NORMALIZE_S: bool = false;
}
