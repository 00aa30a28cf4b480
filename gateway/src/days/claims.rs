//! Claims on codes over days: as long as a code could be shown, and no longer.

use std::collections::VecDeque;

use jiff::SignedDuration;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use uuid::Uuid;

use super::{DAY, SECOND, at, clock_at, time, until};
use crate::{
    backends::memory::{ClaimName, ClaimTable},
    domain::{
        claim::{Ruling, Showing},
        decide::{Evidence, decide},
        passage::{Direction, Passage},
        policy::Policy,
        pseudonym::{Pseudonym, Tag},
        verdict::Finding,
    },
};

const DOUBLE_READ: SignedDuration = SignedDuration::from_secs(3);
/// Twenty minutes, and a phone's clock that is ahead.
const LIVES: i64 = 1_200 * SECOND + 20 * SECOND;
/// One code in so long.
const EVERY: i64 = 2 * SECOND;

fn name(code: u64) -> ClaimName {
    let mut tag = [0; 16];
    // So that they fall into all parts of the table.
    tag[..8].copy_from_slice(&code.to_le_bytes());
    ClaimName { slot: Tag([0; 16]), claim: Tag(tag) }
}

fn showing(device: u64, request: u64, now: i64) -> Showing {
    let tag = |number: u64| {
        let mut tag = [0; 32];
        tag[..8].copy_from_slice(&number.to_le_bytes());
        Pseudonym(tag)
    };
    let verdict_id = Uuid::from_u64_pair(device, request);
    Showing { device: tag(device), request: tag(request), verdict_id, at: time(now) }
}

fn allow() -> Finding {
    let passage = Passage { direction: Direction::Exit, location: String::new() };
    let (policy, now) = (Policy::beijing_2022().unwrap(), time(0));
    let verdict = decide(&policy, now, &passage, Evidence::NotAsked).verdict;
    Finding { verdict, evidence_as_of: None, degraded: None }
}

/// What is to be looked at again, and when: device and request of the first showing, and what another showing means.
struct Look {
    at: i64,
    code: u64,
    first: i64,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    /// The same reader under another id, at the very end of three seconds.
    ReadTwice,
    /// A millisecond later.
    TooLate,
    /// Another reader, at any time.
    Elsewhere,
    /// The same reader and id, at any time.
    Retried,
    /// In the last moment of the claim, and in the first after it.
    AtTheEnd,
    Over,
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_codes_in_three_days_are_each_used_once_and_forgotten_in_time() {
    let start = at("2022-06-14T20:00:00+08:00");
    let (table, clock, finding) = (ClaimTable::default(), clock_at(start), allow());
    let mut chance = StdRng::seed_from_u64(3);
    let mut looks: VecDeque<Look> = VecDeque::new();
    let mut most_held = [0; 3];
    let codes = u64::try_from(3 * DAY / EVERY).unwrap();
    for code in 0..codes {
        let now = start + i64::try_from(code).unwrap() * EVERY;
        while let Some(look) = looks.pop_front_if(|look| look.at <= now) {
            until(&clock, look.at).await;
            look_again(&table, &look, clock.now().as_millisecond());
        }
        until(&clock, now).await;
        let ruling = table.take(name(code), showing(code, 1, now), time(now + LIVES), DOUBLE_READ);
        assert_eq!(ruling, Ruling::Fresh);
        table.record(&name(code), Uuid::from_u64_pair(code, 1), finding);
        let day = usize::try_from((now - start) / DAY).unwrap();
        most_held[day] = most_held[day].max(table.held());
        // One in ten is looked at again.
        if chance.random_ratio(1, 10) {
            let later = chance.random_range(4 * SECOND..LIVES);
            for (after, how) in [
                (3 * SECOND, How::ReadTwice),
                (3 * SECOND + 1, How::TooLate),
                (later, How::Elsewhere),
                (later, How::Retried),
                (LIVES, How::AtTheEnd),
                (LIVES + 1, How::Over),
            ] {
                let place = looks.partition_point(|known| known.at <= now + after);
                looks.insert(place, Look { at: now + after, code, first: now, how });
            }
        }
    }
    let [first, rest @ ..] = most_held;
    let alive = usize::try_from(LIVES / EVERY).unwrap();
    assert!(first >= alive, "{alive} are alive, {first} were held");
    assert!(first < alive + 64 * 300, "no more than its parts hold before they are swept: {first}");
    assert!(rest.iter().all(|most| *most <= first + first / 10), "and no more every day: {most_held:?}");
}

fn look_again(table: &ClaimTable, look: &Look, now: i64) {
    let (code, until) = (look.code, time(look.first + LIVES));
    let elsewhere = showing(code + 1_000_000_000, 9, now);
    let next = match look.how {
        How::ReadTwice => showing(code, 2, now),
        How::TooLate => showing(code, 3, now),
        How::Retried => showing(code, 1, now),
        How::Elsewhere | How::AtTheEnd | How::Over => elsewhere,
    };
    let ruling = table.take(name(code), next, until, DOUBLE_READ);
    let expected = match look.how {
        How::ReadTwice | How::Retried => "repeat",
        How::TooLate | How::Elsewhere | How::AtTheEnd => "replayed",
        // Such a code is refused for its times before anybody asks for its claim.
        How::Over => "fresh",
    };
    assert_eq!(ruling.name(), expected, "{:?} {} ms after", look.how, now - look.first);
}
