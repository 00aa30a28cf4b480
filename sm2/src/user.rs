//! Z, the hash that ties a signature to who signs: GB/T 32918.2, 5.5.

use sm3::{Digest, Sm3};

use crate::{
    field::Element,
    point::{Affine, B},
};

/// The user id that GB/T 35276 prescribes where none was agreed.
pub const USER_ID: &[u8; 16] = b"1234567812345678";

/// Z of a user and their key. `None` if the id has more than 8191 bytes, whose length in bits would not fit.
pub(crate) fn z(user_id: &[u8], key: &Affine) -> Option<[u8; 32]> {
    let bits = u16::try_from(user_id.len()).ok()?.checked_mul(8)?;
    let a = Element::ONE.double().add(&Element::ONE).neg();
    let Affine { x, y } = Affine::GENERATOR;
    let z = Sm3::new().chain_update(bits.to_be_bytes()).chain_update(user_id);
    let z = [a, B, x, y, key.x, key.y].iter().fold(z, |z, element| z.chain_update(element.to_be_bytes()));
    Some(z.finalize().into())
}
