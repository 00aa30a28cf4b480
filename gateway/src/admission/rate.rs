//! So many a second, so many at once.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// A budget: so many a second, so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// A second.
    pub per_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

impl Rate {
    /// A profile that names a rate but no burst gets one second's worth.
    pub(super) fn of(per_second: Option<NonZeroU32>, burst: Option<NonZeroU32>, default: Self) -> Self {
        match (per_second, burst) {
            (None, None) => default,
            (None, Some(burst)) => Self { burst, ..default },
            (Some(per_second), burst) => Self { per_second, burst: burst.unwrap_or(per_second) },
        }
    }

    pub(super) fn limiter(self) -> DefaultDirectRateLimiter {
        RateLimiter::direct(Quota::per_second(self.per_second).allow_burst(self.burst))
    }
}
