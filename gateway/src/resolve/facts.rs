//! Facts remembered in this process, and for how long they may be believed.

use std::{fmt, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use quick_cache::sync::Cache;

use crate::domain::facts::{Facts, Subject};

/// An epoch that no watch ever has: of what was asked for before changes were heard of.
pub(super) const NO_EPOCH: u64 = u64::MAX;

/// How far the authority's clock may be ahead of ours.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);

/// How long what is remembered may be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// Facts while no watch tells of changes.
    pub unwatched: SignedDuration,
    /// That the authority has no record.
    pub no_record: SignedDuration,
    /// Facts while the authority does not answer.
    pub stale: SignedDuration,
}

/// What is known of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Facts that may be believed.
    Facts {
        /// The facts.
        facts: Arc<Facts>,
        /// When they were last known to be true.
        as_of: Timestamp,
    },
    /// The authority has no record.
    NoRecord,
    /// Facts that serve only because the authority does not answer.
    Stale {
        /// The facts.
        facts: Arc<Facts>,
        /// When they were last known to be true.
        as_of: Timestamp,
    },
    /// Nothing that may be believed.
    Nothing,
}

impl Known {
    /// Whether nobody needs to be asked.
    pub const fn may_be_believed(&self) -> bool {
        matches!(self, Self::Facts { .. } | Self::NoRecord)
    }
}

/// What a watch on the authority's changes vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Watch {
    /// Goes up whenever changes may have been missed: nothing remembered before is vouched for.
    pub epoch: u64,
    /// Up to when everything remembered in this epoch is known to be unchanged.
    pub vouched: Option<Timestamp>,
    /// Whether changes are arriving at this moment.
    pub running: bool,
}

/// One subject's facts, or their absence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `None`: the authority has no record.
    pub facts: Option<Arc<Facts>>,
    /// When the authority was asked.
    pub fetched_at: Timestamp,
    /// The watch's epoch when it was asked.
    pub epoch: u64,
}

impl Entry {
    /// What the authority said just now. Clocks differ; but facts dated further ahead than that would keep every later
    /// change out, so they are taken as of the furthest.
    pub fn new(facts: Option<Facts>, now: Timestamp, epoch: u64) -> Self {
        let furthest = now.saturating_add(CLOCKS_DIFFER).unwrap_or(Timestamp::MAX);
        let facts = facts.map(|facts| Arc::new(Facts { as_of: facts.as_of.min(furthest), ..facts }));
        Self { facts, fetched_at: now, epoch }
    }

    /// What this entry is worth now.
    pub fn worth(&self, watch: &Watch, now: Timestamp, freshness: &Freshness) -> Known {
        let vouched = watch.vouched.filter(|_| watch.epoch == self.epoch);
        let watched = watch.running && vouched.is_some();
        let age_of = |at: Timestamp| now.duration_since(at);
        let Some(facts) = &self.facts else {
            let believed = age_of(self.fetched_at) <= freshness.no_record;
            return if believed { Known::NoRecord } else { Known::Nothing };
        };
        let confirmed_at = vouched.map_or(self.fetched_at, |at| at.max(self.fetched_at));
        // Nothing is known of the time after it was asked for.
        let stated = facts.as_of.min(self.fetched_at);
        let as_of = vouched.map_or(stated, |at| at.max(stated));
        let facts = Arc::clone(facts);
        if watched || age_of(confirmed_at) <= freshness.unwatched {
            Known::Facts { facts, as_of }
        } else if age_of(as_of) <= freshness.stale {
            Known::Stale { facts, as_of }
        } else {
            Known::Nothing
        }
    }

    /// Whether this answer is certainly later than a change that arrived while it was on its way.
    pub fn overtakes(&self, pushed: &Self) -> bool {
        matches!((&self.facts, &pushed.facts), (Some(answer), Some(pushed)) if answer.as_of > pushed.as_of)
    }

    /// Whether this entry may replace `known`: older facts never replace newer ones, and an absence replaces facts
    /// only if it was asked for later.
    pub fn supersedes(&self, known: &Self) -> bool {
        match (&self.facts, &known.facts) {
            (Some(new), Some(old)) => new.as_of >= old.as_of,
            (Some(_), None) => true,
            (None, _) => self.fetched_at >= known.fetched_at,
        }
    }
}

/// The most used subjects' facts.
pub struct FactsCache(Cache<Subject, Arc<Entry>>);

impl FactsCache {
    /// Room for so many subjects.
    pub fn new(capacity: usize) -> Self {
        Self(Cache::new(capacity))
    }

    /// What is remembered of a subject.
    pub fn get(&self, subject: &Subject) -> Option<Arc<Entry>> {
        self.0.get(subject)
    }

    /// Remembers an entry, unless something newer is remembered. Callers hold the look-up lock, so nothing slips in
    /// between.
    pub fn merge(&self, subject: &Subject, entry: Entry) {
        if self.0.peek(subject).is_none_or(|known| entry.supersedes(&known)) {
            self.0.insert(subject.clone(), Arc::new(entry));
        }
    }

    /// Forgets one subject.
    pub fn remove(&self, subject: &Subject) {
        self.0.remove(subject);
    }

    /// Forgets what was fetched before this; tells how many.
    pub fn remove_before(&self, at: Timestamp) -> usize {
        let before = self.0.len();
        self.0.retain(|_, entry| entry.fetched_at >= at);
        before.saturating_sub(self.0.len())
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.0.clear();
    }
}

impl fmt::Debug for FactsCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FactsCache({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::facts::HealthState;

    const FRESHNESS: Freshness = Freshness {
        unwatched: SignedDuration::from_secs(60),
        no_record: SignedDuration::from_secs(30),
        stale: SignedDuration::from_hours(12),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn entry(as_of: i64) -> Entry {
        let facts = Facts { state: HealthState::Green, exempt: false, tests: vec![], as_of: at(as_of) };
        Entry { facts: Some(Arc::new(facts)), fetched_at: at(as_of), epoch: 1 }
    }

    fn absence(fetched_at: i64) -> Entry {
        Entry { facts: None, fetched_at: at(fetched_at), epoch: 1 }
    }

    fn watch(epoch: u64, vouched: i64, running: bool) -> Watch {
        Watch { epoch, vouched: Some(at(vouched)), running }
    }

    #[track_caller]
    fn check(entry: &Entry, watch: Watch, now: i64, expect: &str) {
        let got = match entry.worth(&watch, at(now), &FRESHNESS) {
            Known::Facts { as_of, .. } => format!("facts of {}", as_of.as_second()),
            Known::Stale { as_of, .. } => format!("stale of {}", as_of.as_second()),
            Known::NoRecord => "no record".into(),
            Known::Nothing => "nothing".into(),
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn a_running_watch_vouches_until_something_changes() {
        check(&entry(0), watch(1, 90_000, true), 90_001, "facts of 90000");
    }

    #[test]
    fn a_watch_of_a_later_epoch_vouches_for_nothing_before_it() {
        check(&entry(0), watch(2, 50, true), 60, "facts of 0");
        check(&entry(0), watch(2, 50, true), 61, "stale of 0");
    }

    #[test]
    fn without_a_watch_facts_are_believed_for_a_minute_after_they_were_last_confirmed() {
        check(&entry(0), Watch::default(), 60, "facts of 0");
        check(&entry(0), Watch::default(), 61, "stale of 0");
        check(&entry(0), watch(1, 100, false), 160, "facts of 100");
        check(&entry(0), watch(1, 100, false), 161, "stale of 100");
    }

    #[test]
    fn stale_facts_serve_for_twelve_hours() {
        check(&entry(0), Watch::default(), 43_200, "stale of 0");
        check(&entry(0), Watch::default(), 43_201, "nothing");
    }

    #[test]
    fn no_record_is_believed_for_half_a_minute_watch_or_not() {
        check(&absence(0), watch(1, 30, true), 30, "no record");
        check(&absence(0), watch(1, 31, true), 31, "nothing");
    }

    /// What is remembered in the end of `known` and then `next`, if `guard` says what may replace what.
    fn remembered(known: Entry, next: &Entry, guard: fn(&Entry, &Entry) -> bool) -> Entry {
        if guard(next, &known) { next.clone() } else { known }
    }

    #[test]
    fn older_facts_never_replace_newer_ones() {
        for (known, next) in [(entry(20), entry(10)), (entry(20), absence(15))] {
            assert_eq!(remembered(known.clone(), &next, Entry::supersedes), known);
            assert_ne!(remembered(known.clone(), &next, |_, _| true), known, "without the guard they do");
        }
        for (known, next) in [(entry(10), entry(20)), (absence(10), entry(5)), (entry(10), absence(20))] {
            assert_eq!(remembered(known, &next, Entry::supersedes), next);
        }
    }

    #[test]
    fn facts_dated_far_ahead_do_not_keep_later_changes_out_nor_serve_longer() {
        let ahead = Facts { state: HealthState::Green, exempt: false, tests: vec![], as_of: at(30_000) };
        let known = Entry::new(Some(ahead), at(100), 1);
        assert_eq!(known.facts.as_ref().unwrap().as_of, at(400));
        assert!(entry(401).supersedes(&known));
        check(&known, Watch::default(), 43_300, "stale of 100");
        check(&known, Watch::default(), 43_301, "nothing");
    }
}
