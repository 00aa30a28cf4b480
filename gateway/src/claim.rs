//! The claim on a code: shown for the first time, again by the same reader, or used up.
//!
//! The formats have no one-time mark. The claim's identity is (partner, issuer, account, generated at, in or out); of a
//! code that only its partner can read, (partner, the partner's id of the code, in or out). It is never a hash of the
//! payload: an ECDSA signature can be turned into another valid one without the key, and uncovered bytes can be changed
//! at will.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use ridegate_adapters::{FUTURE_SKEW_S, RideCode};
use uuid::Uuid;

use crate::{
    admission::tap::Tap,
    backends::memory::ClaimTable,
    domain::{
        claim::{Ruling, Showing},
        pseudonym::Pseudonym,
        verdict::Finding,
    },
    keyring::{Keyring, Use},
    metrics::Metrics,
};

/// Takes claims.
#[derive(Debug, Clone)]
pub struct Claims {
    table: Arc<ClaimTable>,
    keys: Arc<Keyring>,
    double_read: SignedDuration,
    metrics: Arc<Metrics>,
}

/// What taking a claim came to.
#[derive(Debug)]
pub enum Taken {
    /// Decide.
    Fresh(Fresh),
    /// Say the same again.
    Repeat {
        /// The first verdict's id.
        first: Uuid,
        /// What it said.
        outcome: Finding,
    },
    /// Refuse.
    Replayed,
}

impl Claims {
    /// Claims in this process.
    pub fn new(keys: Arc<Keyring>, double_read: SignedDuration, metrics: Arc<Metrics>) -> Self {
        Self { table: Arc::new(ClaimTable::default()), keys, double_read, metrics }
    }

    /// Takes the claim on `code` for this tap, atomically.
    pub fn take(&self, code: RideCode, tap: &Tap, verdict_id: Uuid, now: Timestamp) -> Taken {
        let key = self.key(&code, tap);
        let showing = Showing {
            device: self.keys.pseudonym(Use::Claim, &tap.device.parts()),
            request: self.keys.pseudonym(Use::Claim, &[tap.request_id.as_bytes()]),
            verdict_id,
            at: now,
        };
        // As long as the code could be shown, by the most generous clock.
        let until = Timestamp::from_second(code.expires_at.plus(i64::from(FUTURE_SKEW_S)).0)
            .unwrap_or(Timestamp::MAX);
        let fresh = |claim_of, retry_of| Fresh {
            code,
            key,
            claim_of,
            retry_of,
            table: Arc::clone(&self.table),
            settled: false,
        };
        let ruling = self.table.take(key, showing, until, self.double_read);
        self.metrics.claim(ruling.name());
        match ruling {
            Ruling::Fresh => Taken::Fresh(fresh(verdict_id, None)),
            Ruling::Repeat { first, outcome: None } => Taken::Fresh(fresh(first, Some(first))),
            Ruling::Repeat { first, outcome: Some(outcome) } => Taken::Repeat { first, outcome },
            Ruling::Replayed => Taken::Replayed,
        }
    }

    fn key(&self, code: &RideCode, tap: &Tap) -> Pseudonym {
        let partner = code.partner.as_str().as_bytes();
        let way = if tap.passage.direction.is_in() { b"i" } else { b"o" };
        if let Some(id) = &code.id {
            return self.keys.pseudonym(Use::Claim, &[partner, id.expose().as_bytes(), way]);
        }
        let (issuer, account) = (code.medium.issuer_bytes(), code.medium.account().expose().as_bytes());
        let generated_at = code.generated_at.0.to_be_bytes();
        self.keys.pseudonym(Use::Claim, &[partner, issuer, account, &generated_at, way])
    }
}

/// A code whose claim was taken: the proof that it may be decided. Dropped without an outcome (the caller went
/// away), it gives the code back unused.
#[derive(Debug)]
pub struct Fresh {
    code: RideCode,
    key: Pseudonym,
    claim_of: Uuid,
    retry_of: Option<Uuid>,
    table: Arc<ClaimTable>,
    settled: bool,
}

impl Fresh {
    /// The code.
    pub const fn code(&self) -> &RideCode {
        &self.code
    }

    /// The first verdict's id, if this decides a repeated tap afresh.
    pub const fn retry_of(&self) -> Option<Uuid> {
        self.retry_of
    }

    /// Records the outcome.
    pub fn settle(mut self, finding: Finding) {
        self.settled = true;
        self.table.record(&self.key, self.claim_of, finding);
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.settled {
            self.table.release(&self.key, self.claim_of);
        }
    }
}
