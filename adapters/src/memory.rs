//! What was verified need not be verified again.

use std::sync::Arc;

use crate::{ecdsa, sm2};

/// Names the part of a code that its issuer signed, and the root or key it was verified under: a SHA-256 over both, so
/// that nobody can find another code with the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LevelsId(pub [u8; 32]);

/// Names an issuer's certificate and the root that it was verified under: a SHA-256 over both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CertificateId(pub [u8; 32]);

/// A phone's key, which its issuer vouches for.
#[derive(Debug, Clone)]
pub enum UserKey {
    /// Of a MOT code.
    Sm2(sm2::PublicKey),
    /// Of an Alipay code.
    Secp192k1(ecdsa::PublicKey<ecdsa::Secp192k1>),
}

impl UserKey {
    /// What one takes of memory, in bytes, what it has on the heap with it.
    pub fn bytes(&self) -> usize {
        let table = match self {
            Self::Sm2(key) => key.bytes() - size_of_val(key),
            Self::Secp192k1(_) => 0,
        };
        size_of::<Self>() + table
    }
}

/// Remembers what was verified: issuers whose root was found to vouch for them, and issuer levels, which are codes whose root
/// and issuer signatures were found good, with the rider's key they vouch for.
///
/// Everything else (times, trust, revocation) is checked again for every code, so forgetting costs time only
/// and remembering too long costs nothing but memory.
pub trait IssuerMemory {
    /// The rider's key, if these levels were verified before.
    fn recall(&self, levels: &LevelsId) -> Option<Arc<UserKey>>;

    /// Every signature but the phone's was just verified.
    fn remember(&self, levels: LevelsId, user: Arc<UserKey>);

    /// The issuer's key, if its certificate was verified before.
    fn recall_issuer(&self, certificate: &CertificateId) -> Option<sm2::PublicKey>;

    /// The root's signature on this issuer's certificate was just verified. Many riders' codes will need its key: a table for it
    /// is worth making.
    fn remember_issuer(&self, certificate: CertificateId, issuer: sm2::PublicKey);
}

/// Remembers nothing: every code costs all its signatures.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMemory;

impl IssuerMemory for NoMemory {
    fn recall(&self, _: &LevelsId) -> Option<Arc<UserKey>> {
        None
    }

    fn remember(&self, _: LevelsId, _: Arc<UserKey>) {}

    fn recall_issuer(&self, _: &CertificateId) -> Option<sm2::PublicKey> {
        None
    }

    fn remember_issuer(&self, _: CertificateId, _: sm2::PublicKey) {}
}
