//! `beijing-2022` as riders live through it, from before its first window to after its last.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{DAY, HOUR, MINUTE, SECOND, at, clock_at, time, until};
use crate::{
    clock::Clock,
    domain::{
        decide::{Evidence, decide},
        facts::{Facts, HealthState, PopupNumber, Report, Test, TestResult},
        passage::{Direction, Passage},
        policy::Policy,
    },
};

/// A day as Beijing counts it: eight hours ahead of UTC, all of that year. By its number since 1970.
const fn day(millis: i64) -> i64 {
    (millis + 8 * HOUR).div_euclid(DAY)
}

fn day_of(date: &str) -> i64 {
    day(at(&format!("{date}T00:00:00+08:00")))
}

/// A test as the model has it.
#[derive(Debug, Clone, Copy)]
struct Swab {
    sampled: i64,
    says_when: bool,
    reported: i64,
    positive: bool,
}

#[derive(Debug, Clone)]
struct Rider {
    /// In the order of their reports.
    swabs: Vec<Swab>,
    state: State,
    exempt: bool,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Green,
    Yellow,
    Popup(u32, i64),
}

impl Rider {
    /// Tested every one to five days, at any hour; results take one to thirty hours.
    fn living(chance: &mut StdRng, from: i64, to: i64) -> Self {
        let mut swabs = vec![];
        let mut sampled = from - chance.random_range(0..5 * DAY);
        while sampled < to {
            let takes = if chance.random_ratio(1, 4) { 30 * HOUR } else { 9 * HOUR };
            swabs.push(Swab {
                sampled,
                says_when: chance.random_ratio(2, 3),
                reported: sampled + HOUR + chance.random_range(0..takes),
                positive: chance.random_ratio(1, 60),
            });
            // Now and then somebody stays at home for so long that no test of theirs is told any more.
            let at_home = if chance.random_ratio(1, 10) { 12 * DAY } else { 0 };
            sampled += DAY / 2 + chance.random_range(0..5 * DAY) + at_home;
        }
        swabs.sort_by_key(|swab| swab.reported);
        let state = match chance.random_range(0..12) {
            0 => State::Yellow,
            1 => State::Popup(4, from + chance.random_range(0..to - from)),
            2 => State::Popup(3, from),
            _ => State::Green,
        };
        Self { swabs, state, exempt: chance.random_ratio(1, 10) }
    }

    /// What the authority would say: the tests of the last ten days.
    fn facts(&self, now: i64) -> Facts {
        let known = |swab: &&Swab| swab.sampled <= now && swab.reported > now - 10 * DAY;
        let told = |swab: &Swab| {
            let sampled_at = swab.says_when.then(|| time(swab.sampled));
            let result = if swab.positive { TestResult::Positive } else { TestResult::Negative };
            if swab.reported > now {
                return Test::Pending { sampled_at };
            }
            Test::Reported(Report { result, sampled_at, reported_at: time(swab.reported) })
        };
        let state = match self.state {
            State::Green => HealthState::Green,
            State::Yellow => HealthState::Yellow,
            State::Popup(_, raised) if raised > now => HealthState::Green,
            State::Popup(number, raised) => HealthState::Popup {
                number: PopupNumber::new(number).unwrap(),
                raised_at: Some(time(raised)),
            },
        };
        let tests = self.swabs.iter().filter(known).map(told).collect();
        Facts { state, exempt: self.exempt, tests, as_of: time(now) }
    }

    /// D15 to D22, in the order of D27 and by whole days.
    fn expected(&self, now: i64) -> &'static str {
        let today = day(now);
        let windows = [("2022-05-17", 2), ("2022-06-06", 3), ("2022-11-24", 2), ("2022-12-05", 0)];
        let in_force = windows.iter().rev().find(|(from, _)| today >= day_of(from));
        let Some((_, limit @ 1..)) = in_force else { return "NOT_ENFORCED" };
        let told = |swab: &&Swab| swab.reported <= now && swab.reported > now - 10 * DAY;
        let latest = self.swabs.iter().rev().find(told);
        if latest.is_some_and(|swab| swab.positive) {
            return "HEALTH_ABNORMAL";
        }
        match self.state {
            State::Yellow => return "HEALTH_ABNORMAL",
            State::Popup(number, raised) if raised <= now => {
                let cleared = number == 4 && latest.is_some_and(|swab| swab.reported > raised);
                if !cleared {
                    return "HEALTH_POPUP";
                }
            }
            _ => {}
        }
        if self.exempt {
            return "EXEMPT";
        }
        let Some(latest) = latest else { return "TEST_MISSING" };
        let reported_on = day(latest.reported);
        let at_night = (latest.reported + 8 * HOUR).rem_euclid(DAY) < 6 * HOUR;
        let base = match () {
            () if reported_on < day_of("2022-07-02") => reported_on,
            () if latest.says_when => day(latest.sampled),
            () => reported_on - i64::from(at_night),
        };
        let waits = |swab: &Swab| {
            swab.says_when && day(swab.sampled) == today - 1 && swab.sampled <= now && swab.reported > now
        };
        let carried =
            today >= day_of("2022-07-04") && today - base == limit + 1 && self.swabs.iter().any(waits);
        if today - base <= *limit || carried { "HEALTH_OK" } else { "TEST_OVERDUE" }
    }
}

struct City {
    policy: Policy,
    clock: Clock,
    riders: Vec<Rider>,
    /// What was said how often.
    said: std::collections::BTreeMap<&'static str, u32>,
}

impl City {
    fn from(start: &str, to: &str, riders: usize, seed: u64) -> Self {
        let (policy, mut chance) = (Policy::beijing_2022().unwrap(), StdRng::seed_from_u64(seed));
        let riders = (0..riders).map(|_| Rider::living(&mut chance, at(start), at(to))).collect();
        Self { policy, clock: clock_at(at(start)), riders, said: std::collections::BTreeMap::new() }
    }

    /// Everybody goes in at this moment, and the model says what they are told.
    async fn all_go_in(&mut self, moment: i64) {
        until(&self.clock, moment).await;
        let passage = Passage { direction: Direction::Entry, location: "station-1".into() };
        for rider in &self.riders {
            let facts = rider.facts(moment);
            let decision = decide(&self.policy, self.clock.now(), &passage, Evidence::Facts(&facts));
            let expected = rider.expected(moment);
            assert_eq!(decision.verdict.reason(), expected, "at {} {rider:?} {facts:?}", self.clock.now());
            *self.said.entry(expected).or_default() += 1;
        }
    }
}

/// Every midnight of Beijing and of UTC, every end of the night, noon and evening: a second and a millisecond before, and a millisecond after.
#[tokio::test(start_paused = true)]
async fn every_verdict_of_the_year_is_the_models_at_every_boundary() {
    let (start, end) = ("2022-05-14T12:00:00+08:00", "2022-12-08T00:00:00+08:00");
    let mut city = City::from(start, end, 24, 2022);
    let first = at("2022-05-15T00:00:00+08:00");
    for midnight in (first..at(end)).step_by(usize::try_from(DAY).unwrap()) {
        for hour in [0, 6, 8, 13, 21] {
            for beside in [-SECOND, -1, 0, 1] {
                city.all_go_in(midnight + hour * HOUR + beside).await;
            }
        }
    }
    let reasons = [
        "EXEMPT",
        "HEALTH_ABNORMAL",
        "HEALTH_OK",
        "HEALTH_POPUP",
        "NOT_ENFORCED",
        "TEST_MISSING",
        "TEST_OVERDUE",
    ];
    let said: Vec<_> = city.said.keys().copied().collect();
    assert_eq!(said, reasons, "everything happens: {:?}", city.said);
}

#[tokio::test(start_paused = true)]
async fn every_verdict_is_the_models_minute_by_minute_where_rules_change() {
    for (start, end) in [
        ("2022-05-16T22:00:00+08:00", "2022-05-17T09:00:00+08:00"),
        ("2022-06-05T22:00:00+08:00", "2022-06-06T09:00:00+08:00"),
        ("2022-07-01T22:00:00+08:00", "2022-07-05T09:00:00+08:00"),
        ("2022-11-23T22:00:00+08:00", "2022-11-24T09:00:00+08:00"),
        ("2022-12-04T22:00:00+08:00", "2022-12-05T09:00:00+08:00"),
    ] {
        let mut city = City::from(start, end, 8, 7);
        for minute in (at(start)..at(end)).step_by(usize::try_from(MINUTE).unwrap()) {
            city.all_go_in(minute).await;
        }
    }
}

/// One rider, with nothing by chance: tested once, and days pass.
#[tokio::test(start_paused = true)]
async fn a_counter_turns_at_midnight_of_beijing_and_not_eight_hours_later() {
    let reported = at("2022-06-15T23:59:59+08:00");
    let swab = Swab { sampled: reported - HOUR, says_when: true, reported, positive: false };
    let rider = Rider { swabs: vec![swab], state: State::Green, exempt: false };
    let (policy, clock) = (Policy::beijing_2022().unwrap(), clock_at(reported));
    let passage = Passage { direction: Direction::Boarding, location: String::new() };
    let mut turned = vec![];
    let last = at("2022-06-21T00:00:00+08:00");
    for minute in (reported + SECOND..last).step_by(usize::try_from(MINUTE).unwrap()) {
        until(&clock, minute).await;
        let decision = decide(&policy, clock.now(), &passage, Evidence::Facts(&rider.facts(minute)));
        let now = (decision.verdict.reason(), decision.day.unwrap());
        if turned.last().is_none_or(|(_, before)| *before != now) {
            turned.push((minute, now));
        }
    }
    let expected = [
        ("2022-06-16T00:00:00+08:00", ("HEALTH_OK", 1)),
        ("2022-06-17T00:00:00+08:00", ("HEALTH_OK", 2)),
        ("2022-06-18T00:00:00+08:00", ("HEALTH_OK", 3)),
        ("2022-06-19T00:00:00+08:00", ("TEST_OVERDUE", 4)),
        ("2022-06-20T00:00:00+08:00", ("TEST_OVERDUE", 5)),
    ];
    assert_eq!(turned, expected.map(|(when, what)| (at(when), what)));
}
