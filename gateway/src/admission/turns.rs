//! Whose turn it is to be worked on.
//!
//! Signatures cost more than everything else together, and a core checks one at a time. Taps that come faster than that
//! wait; the more wait, the longer everybody does, also for what is cheap. So each tap steps back once before its
//! signatures are checked, behind all that is waiting for a core at that moment, and how long that took, with what it had waited
//! before, tells how long the queue is. A rush is waited out. One that lasts is not: then only a short queue is kept, as many are
//! worked on as before, and the others are told at once that it is too much. It is the rule of controlled delay (RFC 8289)
//! with the cores' own queue in the place of a router's.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

use tokio::time::Instant;

/// A rush that goes on for so long lasts; one that is over for so long is over.
const LASTING: Duration = Duration::from_millis(100);
/// Of how long a rush is waited out, a queue that lasts may be this part.
const SHORT: u32 = 20;
/// So few waiting for each core are no queue, however long it takes: then it is the machine that is slow.
const FEW: usize = 8;

/// The queue for the cores.
#[derive(Debug)]
pub struct Turns {
    longest: Duration,
    few: usize,
    waiting: AtomicUsize,
    began: Instant,
    /// When the rush began, and when somebody last waited long; microseconds from the beginning, 0 for never.
    rush: AtomicU64,
    long: AtomicU64,
}

/// Leave to check a code's signatures.
#[derive(Debug)]
pub struct Turn(());

impl Turns {
    /// Nobody waits. In a rush a tap may wait for `longest`, on so many cores.
    pub fn new(longest: Duration, cores: usize) -> Self {
        Self {
            longest,
            few: cores.saturating_mul(FEW),
            waiting: AtomicUsize::new(0),
            began: Instant::now(),
            rush: AtomicU64::new(0),
            long: AtomicU64::new(0),
        }
    }

    /// Steps back behind all that wait for a core, after it has been `queued` for one already; `None` if there is too much to
    /// do.
    pub async fn wait(&self, queued: Duration) -> Option<Turn> {
        let came = Instant::now();
        let others = {
            let waiting = Waiting::begin(&self.waiting);
            step_back().await;
            waiting.all()
        };
        let now = Instant::now();
        self.judge(now, queued + now.duration_since(came), others)
    }

    fn judge(&self, now: Instant, waited: Duration, waiting: usize) -> Option<Turn> {
        let short = self.longest / SHORT;
        if waited <= short || waiting <= self.few {
            return Some(Turn(()));
        }
        let may_wait = if self.lasts(now) { short } else { self.longest };
        (waited <= may_wait).then_some(Turn(()))
    }

    /// Whether somebody has waited long again and again for so long.
    fn lasts(&self, now: Instant) -> bool {
        // Two at once may write of two moments: either will do.
        let now = u64::try_from(now.duration_since(self.began).as_micros()).unwrap_or(u64::MAX).max(1);
        let lasting = u64::try_from(LASTING.as_micros()).unwrap_or(u64::MAX);
        let before = self.long.swap(now, Relaxed);
        if before == 0 || now.saturating_sub(before) > lasting {
            self.rush.store(now, Relaxed);
        }
        now.saturating_sub(self.rush.load(Relaxed)) > lasting
    }
}

/// One that waits.
struct Waiting<'t>(&'t AtomicUsize);

impl<'t> Waiting<'t> {
    fn begin(waiting: &'t AtomicUsize) -> Self {
        waiting.fetch_add(1, Relaxed);
        Self(waiting)
    }

    fn all(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// To the end of the queue, once. Not tokio's own `yield_now`, which is to the end of much more than that.
async fn step_back() {
    let mut stepped = false;
    poll_fn(|context| {
        if std::mem::replace(&mut stepped, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_millis(20);
    const CORES: usize = 2;
    const MANY: usize = CORES * FEW + 1;

    struct Queue {
        turns: Turns,
        now: Instant,
    }

    impl Queue {
        fn new() -> Self {
            let turns = Turns::new(LONGEST, CORES);
            let now = turns.began + Duration::from_secs(1);
            Self { turns, now }
        }

        /// Somebody has waited so long with so many, a millisecond later.
        fn admits(&mut self, waited: u64, waiting: usize) -> bool {
            self.now += Duration::from_millis(1);
            self.turns.judge(self.now, Duration::from_millis(waited), waiting).is_some()
        }
    }

    #[test]
    fn a_rush_is_waited_out_and_no_longer_than_that() {
        let mut queue = Queue::new();
        for _ in 0..LASTING.as_millis() {
            assert!(queue.admits(20, MANY));
            assert!(!queue.admits(21, MANY));
            queue.now -= Duration::from_millis(1);
        }
    }

    #[test]
    fn of_one_that_lasts_only_a_short_queue_is_kept_and_after_a_pause_it_is_a_rush_again() {
        let mut queue = Queue::new();
        for _ in 0..=LASTING.as_millis() {
            assert!(queue.admits(10, MANY));
        }
        for _ in 0..1_000 {
            assert!(!queue.admits(2, MANY), "no long wait any more");
            assert!(queue.admits(1, MANY), "a short one always");
        }
        queue.now += LASTING + Duration::from_millis(1);
        assert!(queue.admits(20, MANY), "another rush");
    }

    #[test]
    fn few_are_no_queue_however_slow_the_machine_is() {
        let mut queue = Queue::new();
        for _ in 0..1_000 {
            assert!(queue.admits(60_000, MANY - 1));
        }
        assert!(queue.admits(20, MANY), "nor was it a rush");
    }

    #[tokio::test]
    async fn who_steps_back_waits_for_those_before_and_who_goes_away_waits_no_more() {
        let turns = Turns::new(LONGEST, CORES);
        let first = turns.wait(Duration::ZERO);
        let mut first = std::pin::pin!(first);
        assert!(polled(first.as_mut()).is_none(), "it steps back");
        assert_eq!(turns.waiting.load(Relaxed), 1);
        assert!(polled(first.as_mut()).flatten().is_some());
        assert_eq!(turns.waiting.load(Relaxed), 0);

        {
            let gone = std::pin::pin!(turns.wait(Duration::ZERO));
            assert!(polled(gone).is_none());
        }
        assert_eq!(turns.waiting.load(Relaxed), 0);
    }

    /// Polled once.
    fn polled<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut context) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }
}
