//! What one replica has in hand of a budget that the fleet shares: how much it asks for, and what it gives back.
//!
//! Nothing is admitted that was not granted before. So however replicas' rounds fall, the fleet admits no more than Redis
//! gave away, and what is not known (an answer that was lost, a replica that died) is lost on that side.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    admission::rate::Rate,
    backends::redis::{Answer, Ask},
};

/// From one round to the next, where nothing asks for one earlier.
pub(super) const ROUND: Duration = Duration::from_millis(100);
/// Rounds are not closer together than this.
pub(super) const GAP: Duration = Duration::from_millis(5);
/// For how many rounds ahead is asked: one that comes late shall find something in hand.
const AHEAD: f64 = 1.2;
/// Demand is looked at over no less than this: two calls within a microsecond are not two million a second.
const GLIMPSE: Duration = Duration::from_millis(20);
/// Demand that has gone is half forgotten after this.
const FORGOTTEN: Duration = Duration::from_millis(100);
/// A replica that was asked for one of late keeps one in hand so long, if nobody else lacks it.
const OF_LATE: Duration = Duration::from_secs(10);
/// Of how little demand the rounds are not worth their while.
const LITTLE: f64 = 0.5;
/// What was granted so long ago is used no more: after two seconds Redis takes this replica for dead, and gives it away.
pub(super) const GOOD_FOR: Duration = Duration::from_millis(1500);
/// A budget of less has to be asked for as soon as what was granted is spent, or time goes by in which nothing comes in.
const FEW: i64 = 4;

/// One budget's.
#[derive(Debug)]
pub(super) struct Lease {
    per_second: u32,
    capacity: u32,
    /// How often there is a round while some are wanted: so often that not all of the burst comes in meanwhile. What does
    /// not fit is lost.
    often: Duration,
    born: Instant,
    /// Until when the hand is good, in microseconds from then; 0 if it never was.
    good_until: AtomicU64,
    /// Tokens; never negative.
    hand: AtomicI64,
    /// How often one was wanted since the last round, also in vain.
    wanted: AtomicU64,
    /// With so many or fewer in hand a round is asked for early …
    low: AtomicI64,
    /// … once.
    told: AtomicBool,
    known: Mutex<Known>,
}

/// What the last rounds told.
#[derive(Debug)]
struct Known {
    asked: Instant,
    answered: Option<Instant>,
    last_wanted: Option<Instant>,
    /// How many were wanted a second, of late.
    demand: f64,
    need: i64,
    answer: Answer,
    /// Less was granted than was needed.
    dry: bool,
}

/// Whether what is in hand may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hand {
    /// Nobody has granted anything yet.
    Never,
    /// It was granted a short while ago.
    Good,
    /// It was granted too long ago.
    Old {
        /// For how long it has been too old: since this moment, in microseconds since the lease began.
        since: u64,
    },
}

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// There was one.
    pub(super) taken: bool,
    /// There should be a round soon.
    pub(super) low: bool,
}

impl Lease {
    /// Nothing is in hand yet.
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        let nothing =
            Answer { granted: 0, share: 0, left: 0, wait: Duration::ZERO, others: 0, scarce: false };
        let capacity = capacity(rate);
        let fill = f64::from(capacity) / f64::from(rate.per_second.get());
        Self {
            per_second: rate.per_second.get(),
            capacity,
            often: Duration::from_secs_f64(fill / 4.0).clamp(GAP, ROUND),
            born: now,
            good_until: AtomicU64::new(0),
            hand: AtomicI64::new(0),
            wanted: AtomicU64::new(0),
            low: AtomicI64::new(0),
            told: AtomicBool::new(false),
            known: Mutex::new(Known {
                asked: now,
                answered: None,
                last_wanted: None,
                demand: 0.0,
                need: 0,
                answer: nothing,
                dry: false,
            }),
        }
    }

    /// One is wanted, wherever it comes from.
    pub(super) fn want(&self) {
        self.wanted.fetch_add(1, Relaxed);
    }

    /// Takes one out of the hand. Waits for nothing.
    pub(super) fn take(&self, now: Instant) -> Taken {
        let is_good = self.is_good(now);
        let took = self.hand.fetch_update(Relaxed, Relaxed, |hand| (hand > 0 && is_good).then(|| hand - 1));
        let low = took.map_or(0, |before| before - 1) <= self.low.load(Relaxed);
        Taken { taken: took.is_ok(), low: low && !self.told.swap(true, Relaxed) }
    }

    /// Takes everything out of the hand, and tells how much of that was good.
    fn empty(&self, now: Instant) -> i64 {
        let hand = self.hand.swap(0, Relaxed);
        if self.is_good(now) { hand } else { 0 }
    }

    /// Whether what is in hand may be used.
    pub(super) fn hand(&self, now: Instant) -> Hand {
        match self.good_until.load(Relaxed) {
            0 => Hand::Never,
            until if micros(now.duration_since(self.born)) < until => Hand::Good,
            since => Hand::Old { since },
        }
    }

    fn is_good(&self, now: Instant) -> bool {
        self.hand(now) == Hand::Good
    }

    /// Goes on with what another had in hand, of the same budget at another rate.
    pub(super) fn take_over(&self, other: &Self, now: Instant) {
        self.hand.fetch_add(other.empty(now).min(self.capacity.into()), Relaxed);
        self.good_until.store(micros(now.duration_since(self.born) + ROUND), Relaxed);
    }

    /// Whether an answer may come that has some, or there was none to be had.
    pub(super) fn may_have_more(&self) -> bool {
        !self.lock().dry
    }

    /// What there is to say in this round. What is given back is out of the hand before Redis hears of it. `alone`: what was
    /// admitted by this process alone, without a lease; then it holds nothing of the fleet's.
    pub(super) fn ask(&self, now: Instant, alone: Option<u32>) -> Ask {
        let mut known = self.lock();
        known.look(self.wanted.swap(0, Relaxed), now);
        if !self.is_good(now) {
            self.empty(now);
        }
        let has_some = self.hand.load(Relaxed) > 0;
        let need = known.needs(now, self.often, has_some).min(self.capacity.into());
        known.need = need;
        let give = match alone {
            Some(owed) => -i64::from(owed),
            None => self.give_back(need + known.answer.share),
        };
        Ask {
            per_second: self.per_second,
            burst: self.capacity,
            hand: self.hand.load(Relaxed),
            give,
            need,
            // A Redis that has lost its memory goes on about where it was.
            begin: known.answered.map_or(self.capacity.into(), |answered| {
                let come_in = come_in(self.per_second, now.duration_since(answered));
                known.answer.left.saturating_add(come_in.into()).min(self.capacity.into())
            }),
        }
    }

    fn give_back(&self, keep: i64) -> i64 {
        let before = self.hand.fetch_update(Relaxed, Relaxed, |hand| Some(hand.min(keep)));
        before.map_or(0, |before| (before - keep).max(0))
    }

    /// What came of the round in which that was said; tells when there should be another.
    pub(super) fn settle(&self, said: &Ask, answer: Answer, now: Instant) -> Duration {
        let in_hand = said.hand + answer.granted;
        let dry = in_hand < said.need;
        let mut known = self.lock();
        (known.answer, known.answered, known.dry) = (answer, Some(now), dry);
        let is_wanted = known.demand >= LITTLE;
        self.good_until.store(micros(known.asked.duration_since(self.born) + GOOD_FOR), Relaxed);
        drop(known);
        self.hand.fetch_add(answer.granted, Relaxed);
        let low = if !dry {
            in_hand / 2
        } else if i64::from(self.capacity) < FEW && answer.granted > 0 {
            0
        } else {
            i64::MIN
        };
        self.low.store(low, Relaxed);
        self.told.store(false, Relaxed);
        let keep = said.need + answer.share;
        match () {
            // Others need it: it is given back at once, not a round later.
            () if in_hand - keep > keep / 2 => GAP,
            () if dry => answer.wait.clamp(self.often, ROUND),
            () if is_wanted => self.often,
            () => ROUND,
        }
    }

    /// This replica counts alone from now on, one of so many: what it had in hand, and what has come in for it since the last
    /// answer.
    pub(super) fn leave(&self, replicas: u32, now: Instant) -> (u32, u32) {
        let mut known = self.lock();
        (known.dry, known.answer.share) = (false, 0);
        let since = known.answered.map_or(Duration::ZERO, |answered| now.duration_since(answered));
        let in_hand = u32::try_from(self.empty(now)).unwrap_or(u32::MAX);
        (in_hand, come_in(self.per_second, since / replicas.max(1)))
    }

    /// How many tokens the fleet has left, about: as Redis said last, and what is in hand here.
    pub(super) fn left(&self) -> u32 {
        let Answer { left, others, .. } = self.lock().answer;
        let all = left.saturating_add(others).saturating_add(self.hand.load(Relaxed));
        u32::try_from(all.max(0)).unwrap_or(u32::MAX).min(self.capacity)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Demand is believed at once when it comes, and forgotten by and by.
    fn look(&mut self, wanted: u64, now: Instant) {
        let since = now.duration_since(self.asked);
        self.asked = now;
        if wanted > 0 {
            self.last_wanted = Some(now);
        }
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let current = wanted as f64 / since.max(GLIMPSE).as_secs_f64();
        let kept = 0.5_f64.powf(since.as_secs_f64() / FORGOTTEN.as_secs_f64());
        self.demand = current.max(current + (self.demand - current) * kept);
    }

    /// What is wanted until the next round.
    fn needs(&self, now: Instant, often: Duration, has_some: bool) -> i64 {
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        let ahead = (self.demand * AHEAD * often.as_secs_f64()).round() as i64;
        let of_late = self.last_wanted.is_some_and(|last| {
            // While another lacks some, one that was not used since the last round is not kept here.
            last == now || (now.duration_since(last) < OF_LATE && !(self.answer.scarce && has_some))
        });
        ahead.max(of_late.into())
    }
}

/// How many tokens a budget of the fleet holds: its burst, but no less than comes in within a twentieth of a second. Of a
/// smaller one much would be lost between two rounds; and it is no more than a twentieth of what a second admits.
fn capacity(rate: Rate) -> u32 {
    rate.burst.get().max(rate.per_second.get().div_ceil(20))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn come_in(per_second: u32, since: Duration) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let tokens = (f64::from(per_second) * since.as_secs_f64()) as u32;
    tokens
}

#[cfg(test)]
#[path = "lease_days.rs"]
mod days;
#[cfg(test)]
#[path = "lease_laws.rs"]
mod tests;
