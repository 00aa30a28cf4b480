//! Codes that only their partner can read: each partner is asked for its own, inside the verdict's budget, at most so
//! many times at once, and not at all while it does not answer. Partners share nothing here but the memory of what was
//! read before, so one that hangs costs the others nothing.

#[cfg(test)]
mod days;
mod memory;
mod shared;

pub use memory::Memory;
pub use shared::Shared;

use std::{collections::HashMap, sync::Arc, time::Duration};

use prost::bytes::Bytes;
use ridegate_adapters::{OnlineCode, PartnerId, Reading, RideCode, UnixSeconds};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tracing::{info, warn};

use crate::{
    backends::{
        code_resolver::{Answer, CodeResolver, Refusal, ResolverError, ResolverSettings},
        retry::Retries,
    },
    breaker::{self, Change, Circuit, End},
    budget::Budget,
    domain::{
        passage::Direction,
        verdict::{Degraded, Inspect, Refused},
    },
    keyring::Use,
    metrics::ResolverMetrics,
};

/// Whoever reads each partner's codes.
#[derive(Debug)]
pub struct Readers {
    readers: HashMap<PartnerId, Arc<Reader>>,
    memory: Arc<Memory>,
}

/// Asks one partner.
#[derive(Debug)]
struct Reader {
    resolver: CodeResolver,
    timeout: Duration,
    calls: Semaphore,
    circuit: Circuit,
    metrics: ResolverMetrics,
    fingerprint: [u8; 32],
    whom: [u8; 32],
}

/// A code that was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unread {
    Refused(Refusal),
    Failed,
}

impl Readers {
    /// Asks these partners.
    pub fn new(settings: HashMap<PartnerId, ResolverSettings>, memory: Arc<Memory>) -> Self {
        Self { readers: HashMap::new(), memory }.renewed(settings)
    }

    /// The same with other partners. Whoever is asked as before stays connected, and what is known of how it answers
    /// stays known.
    #[must_use]
    pub fn renewed(&self, settings: HashMap<PartnerId, ResolverSettings>) -> Self {
        let reader = |(partner, settings): (PartnerId, ResolverSettings)| {
            let before =
                self.readers.get(&partner).filter(|before| before.fingerprint == settings.fingerprint);
            let reader = before.cloned().unwrap_or_else(|| {
                let metrics = self.memory.metrics.resolver(&partner);
                Arc::new(Reader::new(partner.clone(), settings, self.memory.longest, metrics))
            });
            (partner, reader)
        };
        Self { readers: settings.into_iter().map(reader).collect(), memory: Arc::clone(&self.memory) }
    }

    /// Has a code read by its partner, unless it was before. Never waits longer than the budget.
    pub async fn read(
        &self,
        code: OnlineCode,
        payload: &Bytes,
        direction: Direction,
        budget: Budget,
        now: UnixSeconds,
    ) -> Result<RideCode, Refused> {
        let reading =
            self.reading(code.partner(), (payload, direction), budget, now).await.map_err(Refused::from)?;
        Ok(code.read(reading, now)?)
    }

    async fn reading(
        &self,
        partner: &PartnerId,
        shown: (&Bytes, Direction),
        budget: Budget,
        now: UnixSeconds,
    ) -> Result<Reading, Unread> {
        let reader = self.readers.get(partner).ok_or(Unread::Failed)?;
        let Memory { known, keys, served, .. } = &*self.memory;
        // What another resolver has read counts no more when a partner has moved.
        let (payload, direction) = shown;
        let name = keys.pseudonym(Use::Reading, &[&reader.whom, &[direction as u8], payload]);
        let until = Instant::now() + budget.capped(reader.timeout);
        // Whoever else asks about this code at this moment is waited for.
        let Ok(place) = timeout_at(until, known.get_value_or_guard_async(&name)).await else {
            return Err(Unread::Failed);
        };
        match place {
            Ok(reading) => {
                served.hit();
                if reading.is_over(now) {
                    known.remove(&name);
                }
                Ok(reading)
            }
            Err(place) => {
                served.miss();
                let reading = if let Some(reading) = self.memory.shared(&name, until, now).await {
                    reading
                } else {
                    let reading = reader.ask(shown, until).await?;
                    self.memory.share(name, &reading, now);
                    reading
                };
                let _forgotten_meanwhile = place.insert(reading.clone());
                self.memory.grown(now);
                Ok(reading)
            }
        }
    }
}

impl Reader {
    fn new(
        partner: PartnerId,
        settings: ResolverSettings,
        longest: Duration,
        metrics: ResolverMetrics,
    ) -> Self {
        let ResolverSettings { endpoint, timeout, calls, fingerprint, whom } = settings;
        // What a verdict has no time for nobody is waited for, nor blamed for.
        let timeout = timeout.min(longest);
        Self {
            resolver: CodeResolver::new(endpoint, Retries::new(metrics.retries())),
            timeout,
            calls: Semaphore::new(calls),
            circuit: Circuit::new(timeout, told(partner, metrics.clone())),
            metrics,
            fingerprint,
            whom,
        }
    }

    /// Asks the partner, if that is worth it and it is not asked too much already.
    async fn ask(
        &self,
        (payload, direction): (&Bytes, Direction),
        until: Instant,
    ) -> Result<Reading, Unread> {
        let Ok(_turn) = self.calls.try_acquire() else {
            self.metrics.busy();
            return Err(Unread::Failed);
        };
        let Some(call) = Call::begin(self) else {
            self.metrics.skipped();
            return Err(Unread::Failed);
        };
        let cap = until.saturating_duration_since(call.began);
        let answer = self.resolver.resolve(payload.clone(), direction, cap).await;
        call.end(&answer);
        match answer {
            Ok(Answer::Code(reading)) => Ok(reading),
            Ok(Answer::Refused(refusal)) => Err(Unread::Refused(refusal)),
            Err(_) => Err(Unread::Failed),
        }
    }
}

/// Says when a partner stops answering, and when it begins again.
fn told(partner: PartnerId, metrics: ResolverMetrics) -> impl Fn(Change) {
    move |change| match change {
        Change::Opened => {
            metrics.up(false);
            warn!(%partner, "a partner's resolver does not answer; it is tried now and then, its codes are LOOKUP_FAILED");
        }
        Change::Closed => {
            metrics.up(true);
            info!(%partner, "a partner's resolver answers again");
        }
    }
}

/// A call under way. Whoever asked may go away before its end.
struct Call<'r> {
    metrics: &'r ResolverMetrics,
    /// `None`: it has ended.
    open: Option<breaker::Call<'r>>,
    began: Instant,
}

impl<'r> Call<'r> {
    fn begin(reader: &'r Reader) -> Option<Self> {
        let call = reader.circuit.begin()?;
        Some(Self { metrics: &reader.metrics, began: call.began(), open: Some(call) })
    }

    fn end(mut self, answer: &Result<Answer, ResolverError>) {
        let (name, end) = match answer {
            Ok(Answer::Code(_)) => ("ok", End::Answered),
            Ok(Answer::Refused(_)) => ("refused", End::Answered),
            Err(ResolverError::TimedOut) => (ResolverError::TimedOut.name(), End::TimedOut),
            Err(error) if error.is_absence() => (error.name(), End::Absent),
            Err(error) => (error.name(), End::Answered),
        };
        self.metrics.asked(name, self.began);
        if let Some(call) = self.open.take() {
            call.end(end);
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if self.open.is_some() {
            self.metrics.asked("abandoned", self.began);
        }
    }
}

/// What a code that was not read means at the gate.
impl From<Unread> for Refused {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Refused(Refusal::NotFound | Refusal::Revoked) => Inspect::CodeUntrusted.into(),
            Unread::Refused(Refusal::Expired) => Inspect::CodeExpired.into(),
            Unread::Failed => Self { reason: Inspect::LookupFailed, degraded: Some(Degraded::Resolver) },
        }
    }
}
