//! Whose turn it is to be worked on.
//!
//! Signatures cost more than everything else together, and a core checks one at a time. So a tap steps back once before its
//! signatures are checked, behind everything that is cheap; how many have stepped back, and how long a turn takes of late,
//! tell beforehand how long another one would wait. A rush is waited out. One that lasts is not: then only a short queue is
//! kept, which is enough for the cores to have something to do, and the others are told at once that it is too much. That is
//! the rule of controlled delay (RFC 8289), of a queue whose end can be seen from its beginning.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

use ridegate_adapters::{CodeError, IssuerMemory, RideCode, Signed};
use tokio::time::Instant;

/// A rush that goes on for so long lasts; one that is over for so long is over.
const LASTING: Duration = Duration::from_millis(100);
/// Of how long a rush is waited out, a queue that lasts may be this part.
const SHORT: u32 = 40;
/// Signatures may wait that take this part of what stepping back took last, however many have to be told that it is too
/// much: else telling them would be all that is done.
const SHARE: u32 = 4;
/// So few waiting for each core are no queue, however long it takes: then it is the machine that is slow.
const FEW: usize = 4;
/// How long a turn takes is an average over about so many.
const OF_LATE: u64 = 32;

/// The queue for the cores.
#[derive(Debug)]
pub struct Turns {
    longest: Duration,
    cores: usize,
    /// Those that wait, and those whose turn it is.
    ahead: AtomicUsize,
    /// How long a turn takes, in nanoseconds; 0 as long as there was none.
    takes: AtomicU64,
    /// How long stepping back took, in microseconds: what is cheap, once, and every signature before.
    back: AtomicU64,
    began: Instant,
    /// When the rush began, and when somebody last would have waited long; microseconds from the beginning, 0 for never.
    rush: AtomicU64,
    long: AtomicU64,
}

/// A code of which nothing but its signatures is still to be looked at: that takes a turn.
#[derive(Debug)]
pub struct Unverified<'a>(Signed<'a>);

/// Leave to check a code's signatures, until it is dropped.
#[derive(Debug)]
pub struct Turn<'t> {
    place: Place<'t>,
    began: Instant,
}

impl Turns {
    /// Nobody waits. In a rush a tap may wait for `longest`, on so many cores.
    pub fn new(longest: Duration, cores: usize) -> Self {
        Self {
            longest,
            cores: cores.max(1),
            ahead: AtomicUsize::new(0),
            takes: AtomicU64::new(0),
            back: AtomicU64::new(0),
            began: Instant::now(),
            rush: AtomicU64::new(0),
            long: AtomicU64::new(0),
        }
    }

    /// Steps back behind all that is waiting for a core; `None`, at once, if too many have.
    pub async fn wait(&self) -> Option<Turn<'_>> {
        let (came, place) = (Instant::now(), Place::take(self));
        if !self.is_worth_it(came, place.number) {
            return None;
        }
        step_back().await;
        let began = Instant::now();
        self.back.store(micros(began.duration_since(came)), Relaxed);
        Some(Turn { place, began })
    }

    /// Whether the last of so many does not wait too long.
    fn is_worth_it(&self, now: Instant, ahead: usize) -> bool {
        let short = (self.longest / SHORT).max(Duration::from_micros(self.back.load(Relaxed)) / SHARE);
        let waits =
            Duration::from_nanos(self.takes.load(Relaxed).saturating_mul(number(ahead)) / number(self.cores));
        if waits <= short || ahead <= self.cores * FEW {
            return true;
        }
        waits <= if self.lasts(now) { short } else { self.longest }
    }

    /// Whether somebody would have waited long again and again for so long.
    fn lasts(&self, now: Instant) -> bool {
        // Two at once may write of two moments: either will do.
        let now = micros(now.duration_since(self.began)).max(1);
        let before = self.long.swap(now, Relaxed);
        if before == 0 || now.saturating_sub(before) > micros(LASTING) {
            self.rush.store(now, Relaxed);
        }
        now.saturating_sub(self.rush.load(Relaxed)) > micros(LASTING)
    }

    /// A turn took so long. Of two that end at once one may be forgotten.
    fn took(&self, span: Duration) {
        let span = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let before = self.takes.load(Relaxed);
        let after = if before == 0 { span } else { before - before / OF_LATE + span / OF_LATE };
        self.takes.store(after, Relaxed);
    }
}

impl Turn<'_> {
    /// Verifies a code's signatures, those that `memory` does not vouch for; then the turn is over.
    pub fn verify(self, code: Unverified<'_>, memory: &dyn IssuerMemory) -> Result<RideCode, CodeError> {
        let verified = code.0.verify(memory);
        drop(self);
        verified
    }
}

impl<'a> Unverified<'a> {
    pub(super) const fn new(code: Signed<'a>) -> Self {
        Self(code)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.place.turns.took(self.began.elapsed());
    }
}

/// A place in the queue.
#[derive(Debug)]
struct Place<'t> {
    turns: &'t Turns,
    /// So many have one, with this.
    number: usize,
}

impl<'t> Place<'t> {
    fn take(turns: &'t Turns) -> Self {
        Self { turns, number: turns.ahead.fetch_add(1, Relaxed) + 1 }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turns.ahead.fetch_sub(1, Relaxed);
    }
}

/// To the end of the queue, once. Not tokio's own `yield_now`, which is to the end of much more than that.
pub(crate) async fn step_back() {
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

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use super::*;

    const LONGEST: Duration = Duration::from_millis(20);
    const CORES: usize = 2;
    const MANY: usize = CORES * FEW + 1;

    struct Queue {
        turns: Turns,
        now: Instant,
    }

    impl Queue {
        /// Turns take a millisecond, so that it is one for every two that wait.
        fn new() -> Self {
            let turns = Turns::new(LONGEST, CORES);
            turns.took(Duration::from_millis(1));
            let now = turns.began + Duration::from_secs(1);
            Self { turns, now }
        }

        /// Somebody comes a millisecond later, and is one of so many that wait.
        fn admits(&mut self, waiting: usize) -> bool {
            self.now += Duration::from_millis(1);
            self.turns.is_worth_it(self.now, waiting)
        }
    }

    #[test]
    fn a_rush_is_waited_out_and_no_longer_than_that() {
        let mut queue = Queue::new();
        for _ in 0..LASTING.as_millis() / 2 {
            assert!(queue.admits(40), "20 ms");
            assert!(!queue.admits(41));
        }
    }

    #[test]
    fn of_one_that_lasts_only_a_short_queue_is_kept_and_after_a_pause_it_is_a_rush_again() {
        let mut queue = Queue::new();
        for _ in 0..=LASTING.as_millis() {
            assert!(queue.admits(MANY));
        }
        for _ in 0..1_000 {
            assert!(!queue.admits(MANY), "4.5 ms: no long wait any more");
            assert!(queue.admits(MANY - 1), "a short one always");
        }
        queue.now += LASTING + Duration::from_millis(1);
        assert!(queue.admits(40), "another rush");
    }

    #[test]
    fn few_are_no_queue_however_slow_the_machine_is() {
        let mut queue = Queue::new();
        queue.turns.took(Duration::from_hours(1));
        for _ in 0..1_000 {
            assert!(queue.admits(MANY - 1));
        }
        assert!(!queue.admits(MANY), "and that is one");
    }

    #[test]
    fn how_long_a_turn_takes_is_learnt_and_forgotten() {
        let turns = Turns::new(LONGEST, CORES);
        let takes = || Duration::from_nanos(turns.takes.load(Relaxed));
        turns.took(Duration::from_micros(200));
        assert_eq!(takes(), Duration::from_micros(200), "the first is believed");
        for _ in 0..10 * OF_LATE {
            turns.took(Duration::from_micros(100));
        }
        let late = takes();
        assert!((100..102).contains(&late.as_micros()), "{late:?}");
        turns.took(Duration::from_millis(100));
        assert!(takes() < Duration::from_millis(4), "one that was interrupted is one of many");
    }

    #[test]
    fn signatures_have_their_share_also_where_telling_others_takes_all_the_time() {
        let mut queue = Queue::new();
        queue.turns.back.store(400_000, Relaxed);
        for _ in 0..1_000 {
            assert!(queue.admits(200), "100 ms of 400");
            assert!(!queue.admits(201));
        }
        queue.turns.back.store(1_000, Relaxed);
        assert!(!queue.admits(MANY), "it is over");
    }

    #[tokio::test(start_paused = true)]
    async fn who_steps_back_waits_for_those_before_and_a_turn_lasts_until_it_is_given_back() {
        let turns = Turns::new(LONGEST, CORES);
        let ahead = || turns.ahead.load(Relaxed);
        let mut first = pin!(turns.wait());
        assert!(polled(first.as_mut()).is_none(), "it steps back");
        assert_eq!(ahead(), 1);
        tokio::time::advance(Duration::from_millis(3)).await;
        let turn = polled(first.as_mut()).flatten().unwrap();
        assert_eq!((ahead(), turns.back.load(Relaxed)), (1, 3_000));
        tokio::time::advance(Duration::from_millis(2)).await;
        drop(turn);
        assert_eq!((ahead(), turns.takes.load(Relaxed)), (0, 2_000_000));
    }

    #[tokio::test]
    async fn who_is_told_that_it_is_too_much_is_told_at_once() {
        let turns = Turns::new(LONGEST, CORES);
        turns.took(Duration::from_secs(1));
        let mut waiting: Vec<_> = (1..MANY).map(|_| Box::pin(turns.wait())).collect();
        assert!(waiting.iter_mut().all(|one| polled(one.as_mut()).is_none()));
        assert!(polled(pin!(turns.wait())).expect("at once").is_none());
        waiting.pop();
        assert!(polled(pin!(turns.wait())).is_none(), "who went away has no place any more");
    }

    /// Polled once.
    fn polled<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }
}
