//! Why a code cannot be used.

use thiserror::Error;

/// Why a code cannot be used, in order of precedence: the first failing check decides. No variant has room
/// for anything a rider showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CodeError {
    /// No format claims the bytes; the empty payload too.
    #[error("no known format")]
    Unrecognized,
    /// The structure, or a fixed byte, is not what the format says.
    #[error("{field}: {rule}")]
    Malformed {
        /// The field, as the format's table names it.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// A medium the partner has not onboarded.
    #[error("{field}: not onboarded")]
    UnsupportedMedium {
        /// The field that tells the medium.
        field: &'static str,
    },
    /// Root, key, issuer or platform is not trusted.
    #[error("{0}")]
    UntrustedIssuer(Distrust),
    /// The issuer's certificate ran out.
    #[error("issuer certificate expired")]
    CertificateExpired,
    /// The issuer no longer lets this phone make codes.
    #[error("authorization expired")]
    AuthorizationExpired,
    /// The code claims to live longer than the format lets it.
    #[error("validity too long")]
    ValidityTooLong,
    /// Made further ahead of now than clocks may differ.
    #[error("not yet valid")]
    NotYetValid,
    /// Its own validity is over.
    #[error("code expired")]
    CodeExpired,
    /// A signature does not verify, or its key is no point on the curve.
    #[error("signature of the {0} does not verify")]
    BadSignature(Signer),
}

impl CodeError {
    /// The error's name in conformance files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unrecognized => "UNRECOGNIZED",
            Self::Malformed { .. } => "MALFORMED",
            Self::UnsupportedMedium { .. } => "UNSUPPORTED_MEDIUM",
            Self::UntrustedIssuer(_) => "UNTRUSTED_ISSUER",
            Self::CertificateExpired => "CERTIFICATE_EXPIRED",
            Self::AuthorizationExpired => "AUTHORIZATION_EXPIRED",
            Self::ValidityTooLong => "VALIDITY_TOO_LONG",
            Self::NotYetValid => "NOT_YET_VALID",
            Self::CodeExpired => "CODE_EXPIRED",
            Self::BadSignature(_) => "BAD_SIGNATURE",
        }
    }
}

/// Why an issuer is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Distrust {
    /// No root has this index.
    #[error("root unknown")]
    RootUnknown,
    /// The root ran out.
    #[error("root expired")]
    RootExpired,
    /// No partner has onboarded this platform and issuer.
    #[error("platform and issuer not onboarded")]
    NotOnboarded,
    /// The card's issuer is not the certificate's: nobody speaks for another.
    #[error("card issuer is not the certificate's issuer")]
    SpeaksForAnother,
    /// The issuer has not published a key under this id.
    #[error("key not published")]
    KeyUnknown,
    /// The issuer has published this key for another algorithm.
    #[error("algorithm not the one published for the key")]
    AnotherAlgorithm,
    /// The certificate was revoked.
    #[error("issuer certificate revoked")]
    Revoked,
}

/// Whose signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Signer {
    /// The root's, over the issuer's certificate.
    #[error("root")]
    Root,
    /// The issuer's, over the rider's authorization.
    #[error("issuer")]
    Issuer,
    /// The phone's, over the whole code.
    #[error("user")]
    User,
}
