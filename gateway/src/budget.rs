//! The one time budget of a verdict.

use std::time::Duration;

use tokio::time::Instant;

/// When a verdict's time is spent.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    until: Instant,
}

impl Budget {
    /// What came at `came` may take so `long`.
    pub fn new(came: Instant, long: Duration) -> Self {
        Self { until: came + long }
    }

    /// At the latest then: the caller's own deadline.
    #[must_use]
    pub fn not_after(self, deadline: Instant) -> Self {
        Self { until: self.until.min(deadline) }
    }

    /// What is left.
    pub fn left(self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// What is left, but at most `cap`.
    pub fn capped(self, cap: Duration) -> Duration {
        self.left().min(cap)
    }
}
