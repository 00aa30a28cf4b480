//! What was away, and when: times since the start of the run.

use std::time::Duration;

use crate::plan::{Part, REPLICAS};

/// Something was away. It was noted before it was killed, and after it served again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub part: Part,
    pub from: Duration,
    /// `None`: it is away still.
    pub until: Option<Duration>,
}

/// Everything that was away so far.
#[derive(Debug, Clone, Default)]
pub struct History {
    pub spans: Vec<Span>,
    /// When each replica last said that it decided without somebody: perhaps without Redis.
    pub alone: [Duration; REPLICAS as usize],
}

impl Span {
    /// Whether it was away at any time between, or had been not longer ago than `after`.
    pub fn touches(&self, from: Duration, to: Duration, after: Duration) -> bool {
        self.from <= to && self.until.is_none_or(|until| until + after >= from)
    }
}

impl History {
    pub fn of(&self, part: Part) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(move |span| span.part == part)
    }

    /// Whether this part was away between, or had been not longer ago than `after`.
    pub fn touched(&self, part: Part, from: Duration, to: Duration, after: Duration) -> bool {
        self.of(part).any(|span| span.touches(from, to, after))
    }

    /// Whether anything was.
    pub fn anything(&self, from: Duration, to: Duration, after: Duration) -> bool {
        self.spans.iter().any(|span| span.touches(from, to, after))
    }

    /// When this part last came back before `at`; `None` if it is away then, zero if it always was there.
    pub fn there_since(&self, part: Part, at: Duration) -> Option<Duration> {
        let before = self.of(part).filter(|span| span.from <= at);
        before
            .map(|span| span.until.filter(|until| *until <= at))
            .try_fold(Duration::ZERO, |latest, until| until.map(|until| latest.max(until)))
    }

    pub fn begin(&mut self, part: Part, from: Duration) -> usize {
        self.spans.push(Span { part, from, until: None });
        self.spans.len() - 1
    }

    pub fn end(&mut self, number: usize, until: Duration) {
        self.spans[number].until = Some(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_away_is_known_by_its_time() {
        let s = Duration::from_secs;
        let mut history = History::default();
        assert_eq!(history.there_since(Part::Redis, s(9)), Some(s(0)));
        let away = history.begin(Part::Redis, s(10));
        assert_eq!(history.there_since(Part::Redis, s(11)), None);
        assert_eq!(history.there_since(Part::Redis, s(9)), Some(s(0)), "not yet");
        history.end(away, s(12));
        assert_eq!(history.there_since(Part::Redis, s(11)), None);
        assert_eq!(history.there_since(Part::Redis, s(13)), Some(s(12)));
        for (from, to, after, touched) in
            [(9, 9, 0, false), (9, 10, 0, true), (12, 14, 0, true), (13, 14, 0, false), (13, 14, 1, true)]
        {
            assert_eq!(
                history.touched(Part::Redis, s(from), s(to), s(after)),
                touched,
                "{from} {to} {after}"
            );
            assert_eq!(history.anything(s(from), s(to), s(after)), touched);
        }
        assert!(!history.touched(Part::Authority, s(0), s(99), s(99)));
    }
}
