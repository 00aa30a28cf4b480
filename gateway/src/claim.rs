//! The claim on a code: shown for the first time, again by the same reader, or used up.
//!
//! The formats have no one-time mark. The claim's identity is (partner, issuer, account, generated at, in or out); of a
//! code that only its partner can read, (partner, the partner's id of the code, in or out). It is never a hash of the
//! payload: an ECDSA signature can be turned into another valid one without the key, and uncovered bytes can be changed
//! at will.
//!
//! A claim is judged twice: in this process, which is never away, and by the fleet, where there is one. What this process
//! knows to be used up is used up. While the fleet cannot be asked, its own word stands, and the verdict says so; what was
//! decided meanwhile is told as soon as the fleet is back.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use ridegate_adapters::{FUTURE_SKEW_S, RideCode};
use tokio::time::sleep;
use uuid::Uuid;

use crate::{
    admission::tap::Tap,
    backends::{
        memory::{ClaimName, ClaimTable},
        redis::{
            Away,
            shared::{self, Account, Settled, Shared},
        },
    },
    clock::Clock,
    domain::{
        claim::{Claim, Ruling, Showing},
        pseudonym::Tag,
        verdict::{Degraded, Finding, Verdict},
    },
    keyring::{Keyring, Use, account_parts},
    metrics::Metrics,
};

/// How often it is looked for what the fleet does not know.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// What was shown less long ago may be on its way.
const SETTLED: SignedDuration = SignedDuration::from_secs(2);
/// Claims that are told again at once.
const AT_ONCE: usize = 64;

/// Takes claims.
#[derive(Debug, Clone)]
pub struct Claims(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    table: ClaimTable,
    fleet: Option<Arc<Shared>>,
    keys: Arc<Keyring>,
    double_read: SignedDuration,
    metrics: Arc<Metrics>,
}

/// What taking a claim came to.
#[derive(Debug)]
pub enum Taken {
    /// Decide.
    Fresh(Box<Fresh>),
    /// Say the same again.
    Repeat {
        /// The first verdict's id.
        first: Uuid,
        /// What it said.
        outcome: Finding,
    },
    /// Refuse.
    Replayed,
    /// There was no time to ask the fleet.
    Unasked,
}

/// How the fleet is asked about a claim.
#[derive(Debug, Clone, Copy)]
pub struct Asking {
    /// Also for what it knows of the account.
    pub with_account: bool,
    /// In this time at the most.
    pub left: Duration,
}

impl Claims {
    /// Claims in this process, and in the fleet it belongs to.
    pub fn new(
        keys: Arc<Keyring>,
        fleet: Option<Arc<Shared>>,
        double_read: SignedDuration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self(Arc::new(Parts { table: ClaimTable::default(), fleet, keys, double_read, metrics }))
    }

    /// Takes the claim on `code` for this tap, atomically.
    pub async fn take(
        &self,
        code: RideCode,
        tap: &Tap,
        verdict_id: Uuid,
        now: Timestamp,
        asking: Asking,
    ) -> Taken {
        let keys = &self.0.keys;
        let name = self.name(&code, tap);
        // Of this claim alone: nobody who reads them all can tell that two codes were shown at one gate.
        let [operator, device, gate] = tap.device.parts();
        let showing = Showing {
            device: keys.pseudonym(Use::Claim, &[&name.claim.0, operator, device, gate]),
            request: keys.pseudonym(Use::Claim, &[&name.claim.0, tap.request_id.as_bytes()]),
            verdict_id,
            at: now,
        };
        // As long as the code could be shown, by the most generous clock.
        let until = Timestamp::from_second(code.expires_at.plus(i64::from(FUTURE_SKEW_S)).0)
            .unwrap_or(Timestamp::MAX);
        let taken = self.judge(code, name, showing, until, asking).await;
        self.0.metrics.claim(match &taken {
            Taken::Fresh(fresh) if fresh.retry_of.is_none() => "fresh",
            Taken::Fresh(_) | Taken::Repeat { .. } => "repeat",
            Taken::Replayed => "replayed",
            Taken::Unasked => "unasked",
        });
        taken
    }

    async fn judge(
        &self,
        code: RideCode,
        name: ClaimName,
        showing: Showing,
        until: Timestamp,
        asking: Asking,
    ) -> Taken {
        let Parts { table, fleet, double_read, .. } = &*self.0;
        let verdict_id = showing.verdict_id;
        let (claim_of, retry_of, known) = match table.take(name, showing.clone(), until, *double_read) {
            Ruling::Fresh => (verdict_id, None, None),
            Ruling::Repeat { first, outcome } => {
                (first, Some(first), outcome.map(|outcome| (first, outcome)))
            }
            Ruling::Replayed => return Taken::Replayed,
        };
        // Used up here is used up everywhere.
        if let Some((first, outcome)) = known.filter(|(_, known)| matches!(known.verdict, Verdict::Allow(_)))
        {
            return Taken::Repeat { first, outcome };
        }
        let mut fresh = Box::new(Fresh {
            claims: self.clone(),
            code,
            name,
            claim_of: known.is_none().then_some(claim_of),
            showing,
            until,
            first: retry_of.unwrap_or(verdict_id),
            retry_of,
            account: None,
            degraded: None,
            settled: false,
        });
        let Some(fleet) = fleet else {
            return known.map_or(Taken::Fresh(fresh), |(first, outcome)| Taken::Repeat { first, outcome });
        };
        let Asking { with_account, left } = asking;
        // By its id alone a code lies in no account's slot.
        let with_account = with_account && fresh.code.id.is_none();
        match fleet.take(&name, (&fresh.showing, until), *double_read, with_account, left).await {
            Ok(took) => {
                fresh.account = with_account.then_some(took.account);
                match took.ruling {
                    shared::Ruling::Fresh => {
                        // What was known here was replaced elsewhere. What is being decided here stays a repeat, also where
                        // the fleet has lost the claim: a gate opens once.
                        fresh.begin_anew(known.and(Some(verdict_id)), None);
                        Taken::Fresh(fresh)
                    }
                    shared::Ruling::Repeat { first, outcome: None } => {
                        fresh.begin_anew(Some(first), Some(first));
                        Taken::Fresh(fresh)
                    }
                    shared::Ruling::Repeat { first, outcome: Some(outcome) } => {
                        fresh.leave();
                        Taken::Repeat { first, outcome }
                    }
                    shared::Ruling::Replayed => {
                        fresh.leave();
                        Taken::Replayed
                    }
                }
            }
            // It was not away: this verdict had no time left to ask it.
            Err(Away::TimedOut) if left < fleet.cap() => Taken::Unasked,
            Err(_) => {
                fresh.degraded = Some(Degraded::Redis);
                known.map_or(Taken::Fresh(fresh), |(first, outcome)| Taken::Repeat { first, outcome })
            }
        }
    }

    /// Tells the fleet what it does not know: what was decided while it was away, or was not heard of; and each time that it
    /// is there again everything, for it may have lost what it acknowledged. For as long as the process runs.
    pub async fn tell_again(self, clock: Clock) {
        let Some(fleet) = &self.0.fleet else { return };
        let mut lives = fleet.redis().lives();
        loop {
            let mut on_its_way = SETTLED;
            tokio::select! {
                () = sleep(TELL_EVERY) => {}
                changed = lives.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.0.table.forget_told();
                    on_its_way = SignedDuration::ZERO;
                }
            }
            if fleet.redis().is_there() {
                self.tell_untold(clock.now(), on_its_way).await;
            }
        }
    }

    async fn tell_untold(&self, now: Timestamp, on_its_way: SignedDuration) {
        let shown_before = now.saturating_sub(on_its_way).unwrap_or(Timestamp::MIN);
        for shard in self.0.table.untold(shown_before, now) {
            for some in shard.chunks(AT_ONCE) {
                self.tell(some, now).await;
            }
        }
    }

    async fn tell(&self, some: &[(ClaimName, Claim)], now: Timestamp) {
        let Some(fleet) = &self.0.fleet else { return };
        let settled = some.iter().cloned().map(|(name, claim)| {
            let (showing, first, outcome, until) = claim.into_parts();
            (name, Settled { showing, first, until, outcome })
        });
        let settled: Vec<_> = settled.filter(|(_, settled)| settled.outcome.is_some()).collect();
        let heard = fleet.tell_each(settled.iter().map(|(name, settled)| (name, settled, now))).await;
        for ((name, Settled { showing, outcome, .. }), heard) in settled.iter().zip(heard) {
            if let (Some(outcome), Ok(())) = (outcome, heard) {
                self.0.table.told(name, showing.verdict_id, *outcome);
            }
        }
    }

    fn name(&self, code: &RideCode, tap: &Tap) -> ClaimName {
        let keys = &self.0.keys;
        let partner = code.partner.as_str().as_bytes();
        let way = if tap.passage.direction.is_in() { b"i" } else { b"o" };
        if let Some(id) = &code.id {
            // Whoever the partner says it belongs to, the code is the same.
            let claim = keys.pseudonym(Use::Claim, &[partner, id.expose().as_bytes(), way]).tag();
            return ClaimName { slot: claim, claim };
        }
        let (issuer, account) = (code.medium.issuer_bytes(), code.medium.account().expose().as_bytes());
        let generated_at = code.generated_at.0.to_be_bytes();
        let claim = keys.pseudonym(Use::Claim, &[partner, issuer, account, &generated_at, way]).tag();
        let slot = keys.pseudonym(Use::Account, &account_parts(&code.partner, &code.medium)).tag();
        ClaimName { slot, claim }
    }
}

/// A code whose claim was taken: the proof that it may be decided. Dropped without an outcome (the caller went
/// away), it gives the code back unused.
#[derive(Debug)]
pub struct Fresh {
    claims: Claims,
    code: RideCode,
    name: ClaimName,
    /// Whose claim it is in this process; `None`: of nobody who is being decided.
    claim_of: Option<Uuid>,
    showing: Showing,
    until: Timestamp,
    /// The first verdict on it, anywhere.
    first: Uuid,
    retry_of: Option<Uuid>,
    account: Option<Account>,
    degraded: Option<Degraded>,
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

    /// What was missing when the claim was taken.
    pub const fn degraded(&self) -> Option<Degraded> {
        self.degraded
    }

    /// What the fleet knows of the code's account, sealed, if it was asked.
    pub const fn account(&self) -> Option<(&Tag, &Account)> {
        match &self.account {
            Some(account) => Some((&self.name.slot, account)),
            None => None,
        }
    }

    /// Records the outcome.
    pub fn settle(mut self, finding: Finding) {
        self.end(Some(finding));
    }

    /// The fleet knows better what it is. This process follows, so that it still knows when it is alone.
    fn begin_anew(&mut self, first: Option<Uuid>, retry_of: Option<Uuid>) {
        let Some(first) = first else { return };
        (self.first, self.retry_of) = (first, retry_of);
        if self.claim_of.is_none() {
            self.claims.0.table.begin_anew(self.name, self.showing.clone(), self.until);
            self.claim_of = Some(self.showing.verdict_id);
        }
        if let Some(of) = self.claim_of {
            self.claims.0.table.know_as(&self.name, of, first);
        }
    }

    /// It is not to be decided, and the fleet knows that.
    fn leave(mut self) {
        self.settled = true;
        if let Some(of) = self.claim_of {
            self.claims.0.table.release(&self.name, of);
        }
    }

    fn end(&mut self, outcome: Option<Finding>) {
        self.settled = true;
        let Parts { table, fleet, .. } = &*self.claims.0;
        if let Some(of) = self.claim_of {
            match outcome {
                Some(finding) => table.record(&self.name, of, finding),
                None => table.release(&self.name, of),
            }
        }
        if let Some(fleet) = fleet {
            let Self { name, showing, first, until, .. } = self;
            let settled = Settled { showing: showing.clone(), first: *first, until: *until, outcome };
            let (claims, name, of, now) = (self.claims.clone(), *name, self.claim_of, showing.at);
            fleet.settle(name, settled, now, move || {
                if let (Some(of), Some(outcome)) = (of, outcome) {
                    claims.0.table.told(&name, of, outcome);
                }
            });
        }
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.settled {
            self.end(None);
        }
    }
}
