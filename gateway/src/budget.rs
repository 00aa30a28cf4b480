//! The one time budget of a verdict.

use std::time::Duration;

use tokio::time::Instant;

/// When a verdict's time is spent.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    came: Instant,
    begun: Instant,
    until: Instant,
}

impl Budget {
    /// What came at `came` may take so `long`.
    pub fn new(came: Instant, long: Duration) -> Self {
        Self { came, begun: came, until: came + long }
    }

    /// Nothing was done for it before this moment, and not because its caller was waited for: there was no core.
    #[must_use]
    pub fn queued_until(self, begun: Instant) -> Self {
        Self { begun, ..self }
    }

    /// At the latest then: the caller's own deadline.
    #[must_use]
    pub fn not_after(self, deadline: Instant) -> Self {
        Self { until: self.until.min(deadline), ..self }
    }

    /// How long it waited for a core before it was begun.
    pub fn queued(self) -> Duration {
        self.begun.saturating_duration_since(self.came)
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
