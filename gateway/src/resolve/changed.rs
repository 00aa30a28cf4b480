//! When anybody's facts last changed, as far as it was heard of here: so that what another replica asked for can be judged.

use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicI64, Ordering::Relaxed},
};

use jiff::Timestamp;

use crate::domain::facts::Subject;

/// Rows: 8 MiB. Two subjects that share one cost a question to the authority, never a wrong answer; with a million changes
/// since something was asked for, two of three are believed to have changed.
const ROWS: usize = 1 << 20;

/// A row for some subjects each.
#[derive(Debug)]
pub(super) struct Changed {
    rows: Vec<AtomicI64>,
    hasher: RandomState,
}

impl Changed {
    pub(super) fn new() -> Self {
        let rows = std::iter::repeat_with(|| AtomicI64::new(i64::MIN)).take(ROWS).collect();
        Self { rows, hasher: RandomState::new() }
    }

    /// This subject's facts changed, or may have.
    pub(super) fn note(&self, subject: &Subject, at: Timestamp) {
        self.row(subject).fetch_max(at.as_millisecond(), Relaxed);
    }

    /// Whether this subject's facts may have changed at that time or later.
    pub(super) fn since(&self, subject: &Subject, at: Timestamp) -> bool {
        self.row(subject).load(Relaxed) >= at.as_millisecond()
    }

    fn row(&self, subject: &Subject) -> &AtomicI64 {
        let hash = usize::try_from(self.hasher.hash_one(subject) % ROWS as u64).unwrap_or_default();
        #[expect(clippy::indexing_slicing, reason = "a remainder by the length lies inside")]
        &self.rows[hash]
    }
}
