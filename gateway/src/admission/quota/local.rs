//! A budget that this process counts alone: the whole of it, or a replica's share.

use std::{
    fmt,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::{StateInformationMiddleware, StateSnapshot},
    state::{InMemoryState, NotKeyed},
};
use tokio::time::Instant;

use crate::admission::rate::Rate;

const SECOND: Duration = Duration::from_secs(1);

/// One of so many equal shares of a budget. They come in exactly as the whole would, but for a burst that is smaller than
/// the number of shares: each has one of it, since half a call cannot be admitted.
pub(super) struct Local {
    limiter: RateLimiter<NotKeyed, InMemoryState, DefaultClock, StateInformationMiddleware>,
    burst: NonZeroU32,
    /// From one token to the next.
    period: Duration,
    began: Instant,
    /// What was left when it was last asked, and when that was (microseconds from the beginning). An estimate: two threads
    /// may write of two moments.
    left: AtomicU32,
    at: AtomicU64,
    admitted: AtomicU64,
    /// Of what it began with, so many were granted by the fleet.
    granted: u64,
}

impl Local {
    /// All of its burst is there.
    pub(super) fn full(rate: Rate, shares: u32) -> Self {
        let shares = NonZeroU32::new(shares).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(rate.burst.get() / shares).unwrap_or(NonZeroU32::MIN);
        let period = SECOND.saturating_mul(shares.get()) / rate.per_second.get();
        let quota = Quota::with_period(period).unwrap_or_else(|| Quota::per_second(NonZeroU32::MAX));
        let limiter = RateLimiter::direct(quota.allow_burst(burst)).with_middleware();
        Self {
            limiter,
            burst,
            period,
            began: Instant::now(),
            left: AtomicU32::new(burst.get()),
            at: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
            granted: 0,
        }
    }

    /// No more tokens are there yet than were granted by the fleet, and have come in since.
    pub(super) fn with(rate: Rate, shares: u32, granted: u32, come_in: u32) -> Self {
        let local = Self { granted: granted.into(), ..Self::full(rate, shares) };
        let tokens = granted.saturating_add(come_in).min(local.burst.get());
        if let Some(missing) = NonZeroU32::new(local.burst.get() - tokens) {
            let _gone = local.limiter.check_n(missing);
            local.left.store(tokens, Relaxed);
        }
        local
    }

    /// Spends one token, or tells when there is one.
    pub(super) fn spend(&self) -> Result<(), Duration> {
        let checked = self.limiter.check();
        let left = checked.as_ref().map_or(0, StateSnapshot::remaining_burst_capacity);
        self.left.store(left, Relaxed);
        self.admitted.fetch_add(checked.is_ok().into(), Relaxed);
        self.at.store(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
        // The limiter's own clock: to make one costs more than everything else here.
        checked.map(drop).map_err(|not_until| not_until.wait_time_from(self.limiter.clock().now()))
    }

    /// How many tokens there are now, about.
    pub(super) fn left(&self) -> u32 {
        let since = self.began.elapsed().saturating_sub(Duration::from_micros(self.at.load(Relaxed)));
        let come_in = since.as_nanos().checked_div(self.period.as_nanos()).unwrap_or(u128::MAX);
        let come_in = u32::try_from(come_in).unwrap_or(u32::MAX);
        self.left.load(Relaxed).saturating_add(come_in).min(self.burst.get())
    }

    /// How many the fleet does not know of, about: what was admitted here beyond what it had granted, as far as that has not
    /// come in again.
    pub(super) fn owes(&self) -> u32 {
        let unknown = self.admitted.load(Relaxed).saturating_sub(self.granted);
        u32::try_from(unknown).unwrap_or(u32::MAX).min(self.burst.get() - self.left())
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Local({} of {})", self.left(), self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate { per_second: NonZeroU32::new(per_second).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
    }

    fn admitted(local: &Local) -> usize {
        (0..100).filter(|_| local.spend().is_ok()).count()
    }

    /// Rates of one a second and less: nothing comes in while this runs.
    #[test]
    fn a_share_is_a_part_of_the_rate_and_of_the_burst() {
        let whole = Local::full(rate(1, 8), 1);
        assert_eq!((whole.left(), admitted(&whole), whole.left(), whole.owes()), (8, 8, 0, 8));
        let quarter = Local::full(rate(1, 8), 4);
        assert_eq!((quarter.left(), quarter.period), (2, 4 * SECOND), "one in four seconds, exactly");
        assert_eq!((admitted(&quarter), quarter.left()), (2, 0));
        let wait = quarter.spend().unwrap_err();
        assert!(wait > 3 * SECOND && wait <= 4 * SECOND, "{wait:?}");
        assert_eq!(admitted(&Local::full(rate(1, 2), 4)), 1, "no share is less than one");
        assert_eq!(Local::full(rate(3000, 2), 0).period, SECOND / 3000, "no shares are one");
    }

    #[test]
    fn what_is_not_there_yet_is_not_admitted_and_what_was_granted_is_not_owed() {
        for (granted, come_in, there, owed) in
            [(0, 0, 0, 0), (0, 1, 1, 1), (3, 2, 5, 2), (5, 0, 5, 0), (8, 8, 8, 0), (0, u32::MAX, 8, 8)]
        {
            let local = Local::with(rate(1, 8), 1, granted, come_in);
            let (left, admitted) = (local.left(), admitted(&local));
            assert_eq!((left, admitted, local.owes()), (there, there.try_into().unwrap(), owed));
        }
    }
}
