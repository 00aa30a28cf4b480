//! The example of GB/T 32918.5, annex A.
#![allow(clippy::unwrap_used)]

use ridegate_sm2::PublicKey;

fn bytes<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex.replace(' ', "")).unwrap().try_into().unwrap()
}

#[test]
fn the_example_verifies() {
    let key = PublicKey::from_xy(&bytes(
        "09F9DF31 1E5421A1 50DD7D16 1E4BC5C6 72179FAD 1833FC07 6BB08FF3 56F35020\
         CCEA490C E26775A5 2DC6EA71 8CC1AA60 0AED05FB F35E084A 6632F607 2DA9AD13",
    ))
    .unwrap();
    let signature = bytes(
        "F5A03B06 48D2C463 0EEAC513 E1BB81A1 5944DA38 27D5B741 43AC7EAC EEE720B3\
         B1B6AA29 DF212FD8 763182BC 0D421CA1 BB9038FD 1F7F42D4 840B69C4 85BBC1AA",
    );
    let message = b"message digest";
    assert!(key.verifies(message, &signature));
    assert!(key.seen().verifies(message, &signature));
    assert!(key.fixed().verifies(message, &signature));
    assert!(!key.verifies(b"message digesT", &signature));
}
