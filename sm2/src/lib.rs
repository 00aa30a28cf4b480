//! SM2 signatures with SM3, verified and nothing else (GB/T 32918.2, GB/T 32918.5, GB/T 32905).
//!
//! Everything here is public, keys and messages and signatures, so the time taken depends on them. **Do not use any of
//! it on a secret.** Signatures have one form only: r and s with n added are refused.
//!
//! | a key | for | kept with it | a verification costs |
//! |---|---|---|---|
//! | [`PublicKey`] | one signature | nothing | about what P-256 does in assembly |
//! | [`SeenKey`] | a few | 2 KiB | a third of that |
//! | [`FixedKey`] | very many: roots, issuers | 128 KiB on the heap | a fifth of that |
//!
//! All three give the same answer. Making the table of a [`SeenKey`] costs a little less than a verification without one.
//!
//! Safe Rust without features of a particular processor; `no_std`, with `alloc` for the one large table.
//!
//! ```
//! use ridegate_sm2::PublicKey;
//!
//! # let key = b"\x03\x7b\x85\xb8\x21\xbc\xf9\x41\xc6\x9d\x52\xbd\x3a\x52\xc0\x1a\x73\x5b\x87\x0e\x65\x35\x47\xdb\x9b\xfa\x20\xf9\x4c\x5a\x6b\x35\x60";
//! let key = PublicKey::from_compressed(key).ok_or("not a point")?;
//! assert!(!key.verifies(b"message", &[1; 64]));
//! // Worth its 2 KiB from the second signature on.
//! let key = key.seen();
//! assert!(!key.verifies(b"message", &[1; 64]));
//! # Ok::<(), &str>(())
//! ```

#![no_std]
#![allow(clippy::inline_always, reason = "calls between field operations would cost a quarter of the time")]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod comb;
mod field;
mod key;
mod limb;
mod odd;
mod point;
mod product;
#[cfg(test)]
mod reference;
mod scalar;
mod sum;
mod table;
mod user;
mod verify;

pub use key::{FixedKey, PublicKey, SeenKey};
pub use user::USER_ID;
