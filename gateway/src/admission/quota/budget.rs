//! One budget of one partner: leased from the fleet's while Redis answers, else counted here.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
            fence,
        },
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{
    lease::{Hand, Lease, ROUND},
    local::Local,
};
use crate::{
    admission::rate::Rate,
    backends::redis::{Answer, Ask},
};

/// The longest that a partner's own call waits for an answer of Redis, when there is nothing in hand and there may be some
/// to be had. Verdicts never wait.
const PATIENCE: Duration = Duration::from_millis(25);

/// How budgets are counted at this moment: the same for all of them.
#[derive(Debug)]
pub(super) struct Standing {
    /// By the fleet: in leases.
    leased: AtomicBool,
    /// Replicas last known alive; 1 if none was ever heard of.
    replicas: AtomicU32,
    /// There is a fleet to lease from.
    shared: bool,
    /// A hand is low.
    pub(super) low: Notify,
    /// There was a round.
    answered: Notify,
    /// Held while what was in hand becomes this process's own: of many budgets, one after the other.
    leaving: Mutex<()>,
    /// How often that was begun, and how often it was done: an odd number while it goes on.
    leavings: AtomicU64,
}

impl Standing {
    pub(super) fn new(shared: bool) -> Arc<Self> {
        Arc::new(Self {
            leased: AtomicBool::new(false),
            replicas: AtomicU32::new(1),
            shared,
            low: Notify::new(),
            answered: Notify::new(),
            leaving: Mutex::new(()),
            leavings: AtomicU64::new(0),
        })
    }

    pub(super) fn is_leased(&self) -> bool {
        self.leased.load(Acquire)
    }

    pub(super) fn replicas(&self) -> u32 {
        self.replicas.load(Relaxed)
    }

    /// There was a round, among so many. Tells whether there was none before.
    pub(super) fn answered(&self, replicas: u32) -> bool {
        self.replicas.store(replicas.max(1), Relaxed);
        let is_new = !self.leased.swap(true, Release);
        self.answered.notify_waiters();
        is_new
    }

    /// There are no rounds any more: each of these budgets is a share of this process's own from now on.
    pub(super) fn leave(&self, budgets: &[Named], now: Instant) {
        if !self.is_leased() {
            return;
        }
        let leaving = self.settled();
        self.leavings.fetch_add(1, Relaxed);
        // Who finds a hand empty for this finds the number odd, or another.
        fence(Release);
        for named in budgets {
            named.budget.leave(now);
        }
        self.leased.store(false, Relaxed);
        self.leavings.fetch_add(1, Release);
        drop(leaving);
        self.answered.notify_waiters();
    }

    /// So often it was left so far; `None` while somebody is in the midst of it.
    fn leavings(&self) -> Option<u64> {
        let leavings = self.leavings.load(Acquire);
        leavings.is_multiple_of(2).then_some(leavings)
    }

    /// Nobody has left since.
    fn is_as_it_was(&self, leavings: Option<u64>) -> bool {
        fence(Acquire);
        leavings.is_some_and(|before| self.leavings.load(Relaxed) == before)
    }

    /// Waits while somebody is in the midst of leaving, and lets nobody begin.
    fn settled(&self) -> MutexGuard<'_, ()> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A budget, and what the fleet calls it.
#[derive(Debug)]
pub struct Named {
    pub(super) name: String,
    pub(super) budget: Arc<Budget>,
}

/// One budget.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) rate: Rate,
    local: ArcSwap<Local>,
    lease: Lease,
    standing: Arc<Standing>,
    /// Since when the hand was too old, when this replica began to count alone for that.
    alone_since: AtomicU64,
}

impl Budget {
    pub(super) fn new(rate: Rate, standing: &Arc<Standing>) -> Self {
        let local = Local::full(rate, standing.replicas());
        let lease = Lease::new(rate, Instant::now());
        Self {
            rate,
            local: ArcSwap::from_pointee(local),
            lease,
            standing: Arc::clone(standing),
            alone_since: AtomicU64::new(0),
        }
    }

    /// What this partner's budget was at another rate. What is in hand of it stays.
    pub(super) fn take_over(&self, before: &Self) {
        self.lease.take_over(&before.lease, Instant::now());
        self.standing.low.notify_one();
    }

    /// Spends one, or tells when to come again, about. Waits for nothing.
    pub(super) fn spend(&self) -> Result<(), Duration> {
        if !self.standing.shared {
            return self.local.load().spend();
        }
        self.lease.want();
        self.take()
    }

    /// The same for who has time: waits for a round if there may be some to be had.
    pub(super) async fn spend_in_time(&self) -> Result<(), Duration> {
        let mut spent = self.spend();
        let waiting = async {
            while spent.is_err() && self.standing.is_leased() && self.lease.may_have_more() {
                let answered = self.standing.answered.notified();
                tokio::pin!(answered);
                answered.as_mut().enable();
                self.standing.low.notify_one();
                answered.await;
                spent = self.take();
            }
        };
        let _too_long = timeout(PATIENCE, waiting).await;
        spent
    }

    /// Redis may be lost in this very moment: an empty hand is then no empty budget.
    fn take(&self) -> Result<(), Duration> {
        let leavings = self.standing.leavings();
        if !self.standing.is_leased() {
            return self.local.load().spend();
        }
        if self.take_leased() {
            return Ok(());
        }
        let is_known = !matches!(self.lease.hand(Instant::now()), Hand::Old { .. });
        if is_known && self.standing.is_as_it_was(leavings) {
            return Err(self.soon());
        }
        let settled = self.standing.settled();
        if !self.standing.is_leased() {
            return self.local.load().spend();
        }
        if self.take_leased() {
            return Ok(());
        }
        if self.is_left_alone(&settled) {
            return self.local.load().spend();
        }
        Err(self.soon())
    }

    fn soon(&self) -> Duration {
        (Duration::from_secs(1) / self.rate.per_second.get()).max(ROUND)
    }

    /// There was no round for so long that what is in hand counts no more: a process that stood still, or a machine with no
    /// time for it. It knows no more of the fleet than if Redis were away, and until it does it counts as then: its share of
    /// what has come in since. Nobody is told that a budget is spent of which that is not known.
    fn is_left_alone(&self, _settled: &MutexGuard<'_, ()>) -> bool {
        let now = Instant::now();
        let Hand::Old { since } = self.lease.hand(now) else { return false };
        if self.alone_since.swap(since, Relaxed) != since {
            self.leave(now);
        }
        true
    }

    fn take_leased(&self) -> bool {
        let took = self.lease.take(Instant::now());
        if took.low {
            self.standing.low.notify_one();
        }
        took.taken
    }

    /// How many are left, about.
    pub(super) fn left(&self) -> u32 {
        let left = if self.standing.is_leased() { self.lease.left() } else { self.local.load().left() };
        left.min(self.rate.burst.get())
    }

    pub(super) fn ask(&self, now: Instant) -> Ask {
        let alone_since = self.alone_since.load(Relaxed);
        let is_left_alone = self.lease.hand(now) == Hand::Old { since: alone_since };
        let is_alone = !self.standing.is_leased() || is_left_alone;
        let alone = is_alone.then(|| self.local.load().owes());
        self.lease.ask(now, alone)
    }

    pub(super) fn settle(&self, said: &Ask, answer: Answer, now: Instant) -> Duration {
        self.lease.settle(said, answer, now)
    }

    /// From now on this replica counts alone: its share, beginning with what it has in hand and what has come in since Redis
    /// answered last.
    fn leave(&self, now: Instant) {
        let replicas = self.standing.replicas();
        let (in_hand, come_in) = self.lease.leave(replicas, now);
        self.local.store(Arc::new(Local::with(self.rate, replicas, in_hand, come_in)));
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, sync::atomic::AtomicBool, thread};

    use super::*;
    use crate::admission::quota::lease::GOOD_FOR;

    /// A code that comes while Redis is being lost is not throttled: many spend, and the hand is always full.
    #[test]
    fn nothing_is_refused_while_what_was_in_hand_becomes_the_processs_own() {
        let thousand = NonZeroU32::new(1_000_000_000).unwrap();
        let rate = Rate { per_second: thousand, burst: thousand };
        let plenty = Answer {
            granted: 100_000_000,
            share: 0,
            left: 0,
            wait: Duration::ZERO,
            others: 0,
            scarce: false,
        };
        let standing = Standing::new(true);
        let budget = |n: u32| Named { name: n.to_string(), budget: Budget::new(rate, &standing).into() };
        let budgets: Vec<_> = (0..8).map(budget).collect();
        let (over, filled) = (AtomicBool::new(false), Mutex::new(Instant::now()));
        thread::scope(|scope| {
            let fill = || {
                for Named { budget, .. } in &budgets {
                    let now = Instant::now();
                    let said = budget.ask(now);
                    budget.settle(&said, plenty, now);
                }
                *filled.lock().unwrap() = Instant::now();
                standing.answered(1);
            };
            fill();
            let spending = scope.spawn(|| {
                let mut refused = 0;
                while !over.load(Relaxed) {
                    let now = budgets.iter().filter(|named| named.budget.spend().is_err()).count();
                    // On a machine that stood still what is in hand is too old, and is no more used.
                    refused += if filled.lock().unwrap().elapsed() < GOOD_FOR / 2 { now } else { 0 };
                }
                refused
            });
            for _ in 0..2_000 {
                standing.leave(&budgets, Instant::now());
                assert!(!standing.is_leased());
                fill();
            }
            over.store(true, Relaxed);
            assert_eq!(spending.join().unwrap(), 0);
        });
    }

    /// A second or two in which the process stood still are no reason to tell riders that their partner's budget is spent.
    #[tokio::test(start_paused = true)]
    async fn a_replica_that_stood_still_counts_alone_until_it_hears_of_the_fleet_again() {
        let rate = Rate { per_second: NonZeroU32::new(100).unwrap(), burst: NonZeroU32::new(200).unwrap() };
        let some = Answer { granted: 5, share: 0, left: 0, wait: Duration::ZERO, others: 0, scarce: false };
        let standing = Standing::new(true);
        let budget = Budget::new(rate, &standing);
        let round = || {
            let now = Instant::now();
            let said = budget.ask(now);
            budget.settle(&said, some, now);
            standing.answered(2);
            said
        };
        let admitted = || (0..1_000).filter(|_| budget.spend().is_ok()).count();
        round();
        assert_eq!(admitted(), 5, "what was granted, and not one more");

        tokio::time::advance(GOOD_FOR + Duration::from_millis(500)).await;
        let alone = admitted();
        assert!((100..110).contains(&alone), "a half of what has come in, and not another burst: {alone}");
        assert!(admitted() < 10, "once");
        assert!(round().give < -90, "the fleet is told");
        assert_eq!(admitted(), 5, "leased again");
    }
}
