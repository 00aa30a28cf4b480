//! Somebody who is away for seconds, minutes and hours of many days, and the breaker before them.

use std::time::Duration;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use crate::breaker::{Breaker, Change, Outcome};

/// Nobody who is back is noticed later than this: the longest pause, and the call that was tried before it.
const NOTICED: Duration = Duration::from_millis(2_080);
/// What a call takes that nobody answers.
const TIMES_OUT: Duration = Duration::from_millis(80);
/// Taps come one after another, so far apart at the most.
const TAPS: Duration = Duration::from_millis(200);

/// When they are away: from, to.
fn outages(chance: &mut StdRng, began: Instant, lasting: Duration) -> Vec<(Instant, Instant)> {
    let (mut at, mut outages) = (began, vec![]);
    while at < began + lasting {
        let well = Duration::from_secs(chance.random_range(150..3 * 3600));
        let away = [1, 60, 3600][chance.random_range(0..3)] * 1000;
        let away = Duration::from_millis(chance.random_range(100..away));
        outages.push((at + well, at + well + away));
        at += well + away;
    }
    outages
}

/// Calls while they are away: five to open it, one for each pause, and the first five pauses add to 1.75 s.
fn allowed(away: Duration) -> u32 {
    u32::try_from(5 + 4 + away.as_millis() / NOTICED.as_millis()).unwrap()
}

#[test]
fn over_days_somebody_who_is_back_is_noticed_and_somebody_who_is_away_is_hardly_asked() {
    let (began, mut chance) = (Instant::now(), StdRng::seed_from_u64(11));
    let days = Duration::from_hours(3 * 24);
    let mut breaker = Breaker::default();
    let (mut opened, mut answered) = (0, 0_u32);
    let mut now = began;
    for (from, to) in outages(&mut chance, began, days) {
        // A minute of being well before it, and one after it: the hours between are like those.
        let mut asked = 0;
        let mut noticed = None;
        now = now.max(from.checked_sub(Duration::from_mins(1)).unwrap_or(from));
        while now < to + Duration::from_mins(1) {
            let away = (from..to).contains(&now);
            if let Some(leave) = breaker.ask(now) {
                asked += u32::from(away);
                let (outcome, took) =
                    if away { (Outcome::Absent, TIMES_OUT) } else { (Outcome::Answered, Duration::ZERO) };
                now += took;
                match breaker.tell(leave, outcome, now) {
                    Some(Change::Opened) => opened += 1,
                    Some(Change::Closed) => noticed = Some(now),
                    None => {}
                }
                answered += u32::from(!away);
            } else if now >= to {
                // Nothing is asked for only until the next trial.
                assert!(now < to + NOTICED, "{:?} after it was back", now - to);
            } else {
                assert!(away, "{:?} before it was away nobody is asked", from - now);
            }
            now += TAPS.mul_f64(chance.random_range(0.1..1.0));
        }
        assert!(noticed.is_none_or(|at| at < to + NOTICED + TAPS), "noticed late");
        assert!(asked <= allowed(to - from), "{asked} calls in {:?}", to - from);
    }
    assert!(opened >= 20, "{opened} outages were noticed");
    assert!(answered > 10_000, "and it was well in between: {answered}");
}
