//! The time. The only file that asks the system for it.

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use jiff::{SignedDuration, Timestamp};
use ridegate_adapters::UnixSeconds;
use tokio::time::Instant;

/// What the gateway takes for now. Clones tell the same time.
#[derive(Debug, Clone)]
pub struct Clock(Kind);

#[derive(Debug, Clone)]
enum Kind {
    /// The system's time, moved by a fixed distance.
    Running(SignedDuration),
    /// Stands until somebody moves it; milliseconds since 1970.
    Standing(Arc<AtomicI64>),
    /// So far from then as the runtime's own time.
    Runtime(Timestamp, Instant),
}

impl Clock {
    /// The system's time.
    pub const fn system() -> Self {
        Self(Kind::Running(SignedDuration::ZERO))
    }

    /// Starts at `start` and runs on.
    pub fn running_from(start: Timestamp) -> Self {
        Self(Kind::Running(start.duration_since(system_now())))
    }

    /// Stands at `at`, to the millisecond.
    pub fn standing_at(at: Timestamp) -> Self {
        Self(Kind::Standing(Arc::new(AtomicI64::new(at.as_millisecond()))))
    }

    /// Starts at `start`, and goes as the runtime's time does: where a test has paused that, both stand and move together.
    pub fn with_runtime_from(start: Timestamp) -> Self {
        Self(Kind::Runtime(start, Instant::now()))
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Kind::Runtime(start, began) => start.saturating_add(began.elapsed()).unwrap_or(Timestamp::MAX),
            Kind::Running(distance) => system_now().saturating_add(*distance).unwrap_or(Timestamp::MAX),
            Kind::Standing(at) => Timestamp::from_millisecond(at.load(Relaxed)).unwrap_or(Timestamp::MAX),
        }
    }

    /// Now, in the unit of ride codes.
    pub fn unix_seconds(&self) -> UnixSeconds {
        UnixSeconds(self.now().as_second())
    }

    /// Moves a standing clock on. A running one goes by itself and is left alone.
    pub fn advance(&self, by: SignedDuration) {
        if let Kind::Standing(at) = &self.0 {
            at.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Relaxed);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
fn system_now() -> Timestamp {
    Timestamp::now()
}

/// A clock for standing in another period, as on a command line: `2022-06-15T12:00:00+08:00`, with `,frozen`
/// behind it if it shall not run.
impl FromStr for Clock {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (start, frozen) = match text.strip_suffix(",frozen") {
            Some(start) => (start, true),
            None => (text, false),
        };
        let start: Timestamp = start
            .parse()
            .map_err(|_| "expected a time such as 2022-06-15T12:00:00+08:00, or that and ,frozen")?;
        Ok(if frozen { Self::standing_at(start) } else { Self::running_from(start) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_clock_moves_only_when_told() {
        let clock: Clock = "2022-06-15T12:00:00+08:00,frozen".parse().unwrap();
        let also = clock.clone();
        assert_eq!(clock.unix_seconds(), UnixSeconds(1_655_265_600));
        clock.advance(SignedDuration::from_secs(61));
        assert_eq!(also.unix_seconds(), UnixSeconds(1_655_265_661));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_of_the_runtime_moves_with_its_time() {
        let clock = Clock::with_runtime_from("2022-06-15T23:59:59+08:00".parse().unwrap());
        let also = clock.clone();
        tokio::time::sleep(std::time::Duration::from_millis(1001)).await;
        assert_eq!(also.now(), "2022-06-16T00:00:00.001+08:00".parse().unwrap());
        assert_eq!(clock.now(), also.now());
    }

    #[test]
    fn a_running_clock_starts_where_it_was_set() {
        let clock: Clock = "2022-06-15T12:00:00+08:00".parse().unwrap();
        let ahead = clock.unix_seconds().0 - 1_655_265_600;
        assert!((0..600).contains(&ahead), "{ahead}");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "now", "2022-06-15", "2022-06-15T12:00:00", "2022-06-15T12:00:00+08:00,stopped"] {
            assert!(text.parse::<Clock>().is_err(), "{text}");
        }
    }
}
