//! Ride codes: what a validator scanned becomes a [`RideCode`] that was checked, or a [`CodeError`].
//!
//! *Formats are code, partners are data.* A [`Format`] knows how a family of codes is laid out and what its
//! signatures cover; a [`Profile`] says which platforms, issuers, prefixes, keys and account types belong to a partner,
//! and a [`MotTrust`] which roots are trusted. Everything here is pure and synchronous: no I/O, no clock (the time is
//! an argument), and no input makes it panic.
//!
//! ```
//! use ridegate_adapters::{CodeError, NoMemory, Partners, UnixSeconds};
//!
//! let partners = Partners::shipped().unwrap();
//! assert_eq!(partners.recognise(b"").unwrap_err(), CodeError::Unrecognized);
//!
//! let scanned = partners.recognise(&[0x81]).unwrap();
//! assert_eq!(scanned.format(), "mot");
//! assert_eq!(scanned.open(UnixSeconds(1_655_265_600), &NoMemory).unwrap_err().name(), "MALFORMED");
//! ```

pub mod alipay;
mod bcd;
mod code;
pub mod ecdsa;
mod error;
mod format;
mod lifetime;
mod memory;
pub mod mot;
mod partners;
mod profile;
mod reader;
mod shipped;
pub mod sm2;

pub use bcd::Bcd8;
pub use code::{Account, Medium, RideCode, UnixSeconds};
pub use error::{CodeError, Distrust, Signer};
pub use format::{FORMATS, Format};
pub use lifetime::{FUTURE_SKEW_S, MAX_VALIDITY_S};
pub use memory::{IssuerMemory, LevelsId, NoMemory, UserKey};
pub use mot::trust::{MotTrust, TrustError};
pub use partners::{PartnerConflict, Partners, Recognised};
pub use profile::{MotIssuing, Name, PartnerId, PartnerKind, Profile, ProfileError, QuotaProfile};
pub use shipped::ShippedError;
