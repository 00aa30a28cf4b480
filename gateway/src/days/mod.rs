//! Days and months of virtual time in a few seconds: the runtime's time stands and is moved, and the clock goes with it.
//! What is found is held against models of a few lines, made from the rules and not from the code.

mod breaker;
mod claims;
mod policy;

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::advance;

use crate::clock::Clock;

pub(crate) const SECOND: i64 = 1_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// As milliseconds since 1970.
pub(crate) fn at(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

pub(crate) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap()
}

/// A clock that begins then, and goes with the runtime's time.
pub(crate) fn clock_at(millis: i64) -> Clock {
    Clock::with_runtime_from(time(millis))
}

/// Lets time pass until then.
pub(crate) async fn until(clock: &Clock, millis: i64) {
    let left = millis - clock.now().as_millisecond();
    advance(Duration::from_millis(left.try_into().expect("time goes on"))).await;
    assert_eq!(clock.now().as_millisecond(), millis);
}
