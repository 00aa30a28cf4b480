//! Whether it is worth asking somebody who did not answer.

mod circuit;

use std::time::Duration;

use tokio::time::Instant;

pub use circuit::{Call, Circuit, End};

/// What a call adds that nobody answered in the time it may take, and one that was given less.
const ABSENT: u32 = 10;
const HURRIED: u32 = 1;
/// At so much without an answer between no more calls are made: five that had their time, fifty that had not.
const ENOUGH: u32 = 50;
/// The first pause; each that follows is twice as long.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// The longest: by so much at the most is somebody noticed late who is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Closed, calls pass. After several in a row that nobody answered it opens, and none does for a while; then one is
/// tried, and what becomes of it decides.
#[derive(Debug)]
pub struct Breaker {
    state: State,
    /// Goes up with every change of state: what was begun before says nothing of now.
    turn: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant, pause: Duration },
    Trying { pause: Duration },
}

/// Leave to make one call, to be given back with what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leave(u64);

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody answered, whatever it was.
    Answered,
    /// Nobody did.
    Absent,
    /// Nobody did in the little time there was, which says little.
    Hurried,
    /// Whoever asked went away before it was known.
    Unknown,
}

/// A change that somebody may want to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// No more calls are made, but for one now and then.
    Opened,
    /// Calls are made again.
    Closed,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed { failures: 0 }, turn: 0 }
    }
}

impl Breaker {
    /// Whether a call may be made now.
    pub fn ask(&mut self, now: Instant) -> Option<Leave> {
        match self.state {
            State::Closed { .. } => {}
            State::Open { until, pause } if now >= until => self.turn_to(State::Trying { pause }),
            State::Open { .. } | State::Trying { .. } => return None,
        }
        Some(Leave(self.turn))
    }

    /// A call is over.
    pub fn tell(&mut self, leave: Leave, outcome: Outcome, now: Instant) -> Option<Change> {
        if leave.0 != self.turn {
            return None;
        }
        match (self.state, outcome) {
            (State::Closed { .. }, Outcome::Answered) => self.state = State::Closed { failures: 0 },
            (State::Closed { failures }, Outcome::Absent | Outcome::Hurried) => {
                let failures = failures + if outcome == Outcome::Absent { ABSENT } else { HURRIED };
                if failures >= ENOUGH {
                    self.open(now, SHORTEST_PAUSE);
                    return Some(Change::Opened);
                }
                self.state = State::Closed { failures };
            }
            (State::Trying { .. }, Outcome::Answered) => {
                self.turn_to(State::Closed { failures: 0 });
                return Some(Change::Closed);
            }
            (State::Trying { pause }, Outcome::Absent | Outcome::Hurried) => {
                self.open(now, LONGEST_PAUSE.min(pause * 2));
            }
            // The next caller tries.
            (State::Trying { pause }, Outcome::Unknown) => self.turn_to(State::Open { until: now, pause }),
            (State::Closed { .. }, Outcome::Unknown) | (State::Open { .. }, _) => {}
        }
        None
    }

    /// It was heard of in another way: if it is open, the next call is tried now.
    pub fn sign_of_life(&mut self, now: Instant) {
        if let State::Open { until, .. } = &mut self.state {
            *until = now.min(*until);
        }
    }

    fn open(&mut self, now: Instant, pause: Duration) {
        self.turn_to(State::Open { until: now + pause, pause });
    }

    const fn turn_to(&mut self, state: State) {
        self.state = state;
        self.turn += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Story {
        breaker: Breaker,
        now: Instant,
    }

    impl Story {
        fn new() -> Self {
            Self { breaker: Breaker::default(), now: Instant::now() }
        }

        /// `None`: no call may be made.
        #[expect(clippy::option_option, reason = "a call may be made and change nothing")]
        fn call(&mut self, outcome: Outcome) -> Option<Option<Change>> {
            let leave = self.breaker.ask(self.now)?;
            Some(self.breaker.tell(leave, outcome, self.now))
        }

        fn open(&mut self) {
            while self.call(Outcome::Absent) != Some(Some(Change::Opened)) {}
        }

        fn wait(&mut self, millis: u64) {
            self.now += Duration::from_millis(millis);
        }
    }

    #[test]
    fn five_in_a_row_open_it_and_an_answer_between_them_does_not() {
        let mut story = Story::new();
        for _ in 0..3 {
            for _ in 0..4 {
                assert_eq!(story.call(Outcome::Absent), Some(None));
            }
            assert_eq!(story.call(Outcome::Answered), Some(None));
        }
        for _ in 0..4 {
            assert_eq!(story.call(Outcome::Absent), Some(None));
        }
        assert_eq!(story.call(Outcome::Unknown), Some(None), "says nothing either way");
        assert_eq!(story.call(Outcome::Absent), Some(Some(Change::Opened)));
        assert_eq!(story.call(Outcome::Answered), None, "nobody is asked");
    }

    #[test]
    fn hurried_calls_open_it_too_but_it_takes_ten_times_as_many() {
        let mut story = Story::new();
        for _ in 0..49 {
            assert_eq!(story.call(Outcome::Hurried), Some(None));
        }
        assert_eq!(story.call(Outcome::Answered), Some(None));
        for _ in 0..49 {
            assert_eq!(story.call(Outcome::Hurried), Some(None));
        }
        assert_eq!(story.call(Outcome::Hurried), Some(Some(Change::Opened)));
    }

    #[test]
    fn after_the_pause_one_is_tried_and_decides() {
        let mut story = Story::new();
        story.open();
        story.wait(249);
        assert_eq!(story.breaker.ask(story.now), None);
        story.wait(1);
        let trial = story.breaker.ask(story.now).unwrap();
        assert_eq!(story.breaker.ask(story.now), None, "one only");
        assert_eq!(story.breaker.tell(trial, Outcome::Answered, story.now), Some(Change::Closed));
        assert_eq!(story.call(Outcome::Answered), Some(None));
    }

    #[test]
    fn pauses_grow_to_two_seconds() {
        let mut story = Story::new();
        story.open();
        for pause in [250, 500, 1_000, 2_000, 2_000] {
            story.wait(pause - 1);
            assert_eq!(story.breaker.ask(story.now), None, "{pause}");
            story.wait(1);
            assert_eq!(story.call(Outcome::Absent), Some(None), "{pause}");
        }
    }

    #[test]
    fn a_trial_whose_caller_went_away_leaves_the_next_one_to_try() {
        let mut story = Story::new();
        story.open();
        story.wait(250);
        assert_eq!(story.call(Outcome::Unknown), Some(None));
        assert_eq!(story.call(Outcome::Answered), Some(Some(Change::Closed)));
    }

    #[test]
    fn what_was_begun_before_says_nothing_of_now() {
        let mut story = Story::new();
        let early = story.breaker.ask(story.now).unwrap();
        story.open();
        assert_eq!(story.breaker.tell(early, Outcome::Answered, story.now), None);
        assert_eq!(story.breaker.ask(story.now), None, "still open");
        story.wait(250);
        let trial = story.breaker.ask(story.now).unwrap();
        assert_eq!(story.breaker.tell(early, Outcome::Absent, story.now), None);
        assert_eq!(story.breaker.tell(trial, Outcome::Answered, story.now), Some(Change::Closed));
    }

    proptest! {
        /// Whatever happens: somebody who answers is asked again within the longest pause, and while nobody does, at
        /// most one call is under way once it is open.
        #[test]
        fn it_neither_stays_open_nor_lets_a_crowd_through(
            steps in proptest::collection::vec((0_u8..5, 0_u64..3_000, any::<bool>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let mut story = Story::new();
            let mut under_way = Vec::new();
            let mut opened_at_turn = None;
            for (kind, millis, ends, pick) in steps {
                story.wait(millis);
                let outcomes = [Outcome::Absent, Outcome::Hurried, Outcome::Unknown, Outcome::Answered];
                let Some(outcome) = outcomes.get(usize::from(kind)).copied() else {
                    story.breaker.sign_of_life(story.now);
                    continue;
                };
                if let Some(leave) = story.breaker.ask(story.now) {
                    under_way.push(leave);
                }
                let current = under_way.iter().filter(|leave| leave.0 == story.breaker.turn).count();
                if opened_at_turn.is_some() {
                    prop_assert!(current <= 1);
                }
                if ends && !under_way.is_empty() {
                    let leave = under_way.swap_remove(pick.index(under_way.len()));
                    match story.breaker.tell(leave, outcome, story.now) {
                        Some(Change::Opened) => opened_at_turn = Some(story.breaker.turn),
                        Some(Change::Closed) => opened_at_turn = None,
                        None => {}
                    }
                }
            }
            // Everybody under way goes away; after the longest pause one is asked, answers, and all is well.
            for leave in under_way {
                story.breaker.tell(leave, Outcome::Unknown, story.now);
            }
            story.wait(2_000);
            prop_assert!(story.call(Outcome::Answered).is_some());
            let closed = matches!(story.breaker.state, State::Closed { .. });
            prop_assert!(closed);
        }
    }
}
