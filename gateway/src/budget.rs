//! The one time budget of a verdict.

use std::time::Duration;

use tokio::time::Instant;

/// When a verdict's time is spent.
#[derive(Debug, Clone, Copy)]
pub struct Budget(pub Instant);

impl Budget {
    /// What is left.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// What is left, but at most `cap`.
    pub fn capped(self, cap: Duration) -> Duration {
        self.left().min(cap)
    }
}
