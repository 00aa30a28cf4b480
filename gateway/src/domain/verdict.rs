//! The answer is tiny; the why rides beside it (D26, D27).

use jiff::Timestamp;

pub use super::decide::Allowed;

/// Go straight through, or let a person look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go straight through. Made in one place, [`decide`](super::decide::decide).
    Allow(Allowed),
    /// A person looks. No machine turns anyone away.
    Inspect(Inspect),
}

/// Why ALLOW.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllowReason {
    /// Status and test are in order.
    HealthOk,
    /// The authority marks the rider exempt (D22).
    Exempt,
    /// Nothing is asked here, now, in this direction (D21, D24, D24a).
    NotEnforced,
}

/// Why INSPECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inspect {
    /// The account is not linked to a health code.
    NotLinked,
    /// It is, but the authority knows nothing of the subject.
    NoRecord,
    /// Yellow, red, or positive.
    HealthAbnormal,
    /// Cannot be confirmed.
    HealthPopup,
    /// No result.
    TestMissing,
    /// The latest result is too old.
    TestOverdue,
    /// No known format.
    CodeUnrecognized,
    /// Not built as its format says.
    CodeMalformed,
    /// Not issued or signed by whom it should be.
    CodeUntrusted,
    /// Expired, or not valid yet.
    CodeExpired,
    /// Used before.
    CodeReplayed,
    /// Not accepted here.
    MediumUnsupported,
    /// Something behind the gateway did not answer. Says nothing about the rider.
    LookupFailed,
    /// The partner is over its budget of codes, or the reader has tapped too many cards.
    Throttled,
    /// Too much to do.
    Overloaded,
}

impl Inspect {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::NotLinked,
        Self::NoRecord,
        Self::HealthAbnormal,
        Self::HealthPopup,
        Self::TestMissing,
        Self::TestOverdue,
        Self::CodeUnrecognized,
        Self::CodeMalformed,
        Self::CodeUntrusted,
        Self::CodeExpired,
        Self::CodeReplayed,
        Self::MediumUnsupported,
        Self::LookupFailed,
        Self::Throttled,
        Self::Overloaded,
    ];

    /// Whether the reason tells something of a rider's health that the prompt does not. Such reasons leave the
    /// gateway as `HEALTH`, unless a fleet is configured to get them in full (D27).
    pub const fn is_health_detail(self) -> bool {
        matches!(self, Self::HealthAbnormal | Self::HealthPopup | Self::TestMissing | Self::TestOverdue)
    }
}

impl Verdict {
    /// `ALLOW` or `INSPECT`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow(_) => "ALLOW",
            Self::Inspect(_) => "INSPECT",
        }
    }

    /// The reason's name (D27).
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Allow(allowed) => match allowed.reason() {
                AllowReason::HealthOk => "HEALTH_OK",
                AllowReason::Exempt => "EXEMPT",
                AllowReason::NotEnforced => "NOT_ENFORCED",
            },
            Self::Inspect(inspect) => match inspect {
                Inspect::NotLinked => "NOT_LINKED",
                Inspect::NoRecord => "NO_RECORD",
                Inspect::HealthAbnormal => "HEALTH_ABNORMAL",
                Inspect::HealthPopup => "HEALTH_POPUP",
                Inspect::TestMissing => "TEST_MISSING",
                Inspect::TestOverdue => "TEST_OVERDUE",
                Inspect::CodeUnrecognized => "CODE_UNRECOGNIZED",
                Inspect::CodeMalformed => "CODE_MALFORMED",
                Inspect::CodeUntrusted => "CODE_UNTRUSTED",
                Inspect::CodeExpired => "CODE_EXPIRED",
                Inspect::CodeReplayed => "CODE_REPLAYED",
                Inspect::MediumUnsupported => "MEDIUM_UNSUPPORTED",
                Inspect::LookupFailed => "LOOKUP_FAILED",
                Inspect::Throttled => "THROTTLED",
                Inspect::Overloaded => "OVERLOADED",
            },
        }
    }
}

/// What a code that cannot be used means at the gate.
impl From<ridegate_adapters::CodeError> for Inspect {
    fn from(error: ridegate_adapters::CodeError) -> Self {
        use ridegate_adapters::CodeError as E;
        match error {
            E::Unrecognized => Self::CodeUnrecognized,
            E::Malformed { .. } => Self::CodeMalformed,
            E::UnsupportedMedium { .. } => Self::MediumUnsupported,
            E::UntrustedIssuer(_) | E::CertificateExpired | E::ValidityTooLong | E::BadSignature(_) => {
                Self::CodeUntrusted
            }
            E::AuthorizationExpired | E::NotYetValid | E::CodeExpired => Self::CodeExpired,
        }
    }
}

/// What was missing behind the gateway while a verdict was made (D30).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Degraded {
    /// The health authority.
    Authority,
    /// The registry of links.
    Registry,
    /// The partner who alone can read the code.
    Resolver,
    /// Redis: the claim is of this replica alone.
    Redis,
}

/// INSPECT before anything was known of the rider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Inspect,
    /// What was missing.
    pub degraded: Option<Degraded>,
}

impl From<Inspect> for Refused {
    fn from(reason: Inspect) -> Self {
        Self { reason, degraded: None }
    }
}

impl From<ridegate_adapters::CodeError> for Refused {
    fn from(error: ridegate_adapters::CodeError) -> Self {
        Inspect::from(error).into()
    }
}

/// What was decided, and on what it rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// When the facts it rests on were true.
    pub evidence_as_of: Option<Timestamp>,
    /// What was missing.
    pub degraded: Option<Degraded>,
}
