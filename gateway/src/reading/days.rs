//! What partners have read, over days: to the end of each code, and not kept for long after it.

use std::{sync::Arc, time::Duration};

use ridegate_adapters::{Reading, UnixSeconds, online_medium};

use super::Memory;
use crate::{
    days::{DAY, SECOND, at, clock_at, until},
    domain::pseudonym::Pseudonym,
    keyring::Keyring,
    metrics::Metrics,
};

/// Seconds that a code lives.
const LIVES: i64 = 90;

fn name(code: i64) -> Pseudonym {
    let mut tag = [0; 32];
    tag[..8].copy_from_slice(&code.to_le_bytes());
    Pseudonym(tag)
}

fn reading(now: UnixSeconds) -> Reading {
    let medium = online_medium("", "rider").unwrap();
    Reading::new(medium, "code", now, now.plus(LIVES)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn two_days_of_readings_are_remembered_to_the_end_of_their_codes_and_no_more_every_day() {
    let (room, longest) = (1_000_000, Duration::from_millis(150));
    let keys = Arc::new(Keyring::new(&[7; 32]));
    let memory = Memory::new(room, longest, keys, None, Arc::new(Metrics::default()));
    let start = at("2022-06-15T20:00:00+08:00");
    let clock = clock_at(start);
    let mut most = [0; 2];
    for code in 0..2 * DAY / SECOND {
        until(&clock, start + code * SECOND).await;
        let now = clock.unix_seconds();
        memory.known.insert(name(code), reading(now));
        memory.grown(now);
        let day = usize::try_from(code * SECOND / DAY).unwrap();
        most[day] = most[day].max(memory.known.len());
        if code >= LIVES {
            let last = memory.known.get(&name(code - LIVES)).expect("its code is not over");
            assert!(!last.is_over(now) && last.is_over(now.plus(1)));
        }
    }
    assert!(most[0] < 1_300 && most[1] <= most[0], "swept once in a thousand: {most:?}");
}
