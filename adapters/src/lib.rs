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
mod app_version;
mod bcd;
mod card;
mod code;
pub mod ecdsa;
pub mod emv_cpm;
mod error;
mod explain;
mod format;
mod iin;
mod lifetime;
mod mark;
mod memory;
pub mod mot;
mod online;
pub mod opaque;
mod partner_id;
mod partners;
mod profile;
mod prompts;
mod reader;
mod resolver;
mod shipped;
pub mod sm2;
pub mod unionpay_token;

pub use app_version::{AppVersion, MinAppVersions, Os};
pub use bcd::Bcd8;
pub use card::{CardIssuing, CardKind, RefusedMedium};
pub use code::{Account, CodeId, IssuerName, Medium, RideCode, UnixSeconds};
pub use error::{CodeError, Distrust, Signer};
pub use explain::{About, Check, Field, masked};
pub use format::{Accepted, FORMATS, Format, Opened, Signed};
pub use iin::Iin;
pub use lifetime::{FUTURE_SKEW_S, MAX_VALIDITY_S};
pub use mark::Mark;
pub use memory::{CertificateId, IssuerMemory, LevelsId, NoMemory, UserKey};
pub use mot::trust::{MotTrust, TrustError};
pub use online::{OnlineCode, Reading, online_medium};
pub use partner_id::PartnerId;
pub use partners::{PartnerConflict, Partners, Recognised};
pub use profile::{MotIssuing, PartnerKind, Profile, ProfileError, QuotaProfile};
pub use prompts::{Prompts, Words};
pub use resolver::ResolverProfile;
pub use shipped::ShippedError;
