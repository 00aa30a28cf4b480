use num_bigint::BigUint;

use super::*;
use crate::{
    field::Element,
    point::{Affine, Jacobian},
    reference::{bytes, element, n, p, scalar},
};

/// The first point whose x is at least `from`.
fn from(from: &BigUint) -> (BigUint, Affine) {
    (0u8..100)
        .map(|more| from + more)
        .find_map(|x| Some((x.clone(), Affine::from_x(Element::from_be_bytes(&bytes(&x))?, false)?)))
        .unwrap()
}

fn scaled(point: &Affine, z: u8) -> Jacobian {
    let z = element(&BigUint::from(z));
    Jacobian { x: point.x.mul(&z.square()), y: point.y.mul(&z.square().mul(&z)), z }
}

#[test]
fn x_is_compared_modulo_n() {
    for (x, point) in [from(&BigUint::from(1u8)), from(&(n() - 100u8)), from(&n()), from(&(p() - 100u8))] {
        for z in [1, 9] {
            let point = scaled(&point, z);
            assert!(has_x(&point, &scalar(&x)), "{x}");
            assert!(!has_x(&point, &scalar(&(x.clone() + 1u8))), "{x}");
            assert!(!has_x(&point, &scalar(&(x.clone() + n() - (p() - n()) % n()))), "{x}");
        }
    }
}

/// A number that is x modulo p but is not x modulo n.
#[test]
fn x_is_not_compared_modulo_p() {
    let (x, point) = from(&(BigUint::from(1u8) << 200));
    // x + n is larger than p, and of x + n − p the point is asked in vain.
    assert!(has_x(&scaled(&point, 1), &scalar(&x)));
    let (y, point) = from(&((&x + n()) % p()));
    assert!(!has_x(&scaled(&point, 1), &scalar(&((y + p() - n()) % p()))));
}

/// A number that with n added is x and 2²⁵⁶, so cut off it would be x.
#[test]
fn x_is_not_compared_modulo_two_to_the_256() {
    let (x, point) = from(&BigUint::from(1u8));
    assert!(!has_x(&scaled(&point, 1), &scalar(&(x + (BigUint::from(1u8) << 256) - n()))));
}
