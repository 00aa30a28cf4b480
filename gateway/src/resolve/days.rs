//! Days of what is remembered of riders, with outages by chance: however it falls, nothing is believed for longer than was
//! promised after it ceased to be true.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use super::{
    desk::Desk,
    facts::{Freshness, Known},
};
use crate::{
    clock::Clock,
    days::{DAY, HOUR, MINUTE, SECOND, at, clock_at, time, until},
    domain::facts::{Facts, HealthState, Subject, Test},
};

const FRESHNESS: Freshness = Freshness {
    unwatched: SignedDuration::from_secs(60),
    no_record: SignedDuration::from_secs(30),
    stale: SignedDuration::from_hours(12),
};

fn rider(number: usize) -> Subject {
    Subject::new(number.to_string())
}

/// The authority's books: what is true of each rider, since when. What it says is told apart by how many tests there are.
struct Books {
    history: BTreeMap<usize, Vec<(i64, Option<usize>)>>,
}

impl Books {
    fn now(&self, rider: usize) -> Option<usize> {
        self.history.get(&rider).and_then(|history| history.last()).and_then(|(_, what)| *what)
    }

    fn facts(&self, rider: usize, now: i64) -> Option<Facts> {
        let tests = vec![Test::Pending { sampled_at: None }; self.now(rider)?];
        Some(Facts { state: HealthState::Green, exempt: false, tests, as_of: time(now) })
    }

    /// For how long this has not been true of the rider.
    fn untrue_for(&self, rider: usize, what: Option<usize>, now: i64) -> i64 {
        let Some(history) = self.history.get(&rider) else {
            return if what.is_none() { 0 } else { i64::MAX };
        };
        match history.iter().rposition(|(_, then)| *then == what) {
            Some(last) => history.get(last + 1).map_or(0, |(ended, _)| now - ended),
            // Before the first entry nobody knew anything.
            None if what.is_none() => now - history[0].0,
            None => i64::MAX,
        }
    }
}

/// What the desk says of a rider; facts by the number of their tests.
#[derive(Debug, PartialEq)]
enum Said {
    Fresh(usize),
    NoRecord,
    Stale(usize),
    Nothing,
}

fn said(known: Known) -> Said {
    match known {
        Known::Facts { facts, .. } => Said::Fresh(facts.tests.len()),
        Known::NoRecord => Said::NoRecord,
        Known::Stale { facts, .. } => Said::Stale(facts.tests.len()),
        Known::Nothing => Said::Nothing,
    }
}

/// A desk, and everything around it.
struct World {
    clock: Clock,
    desk: Desk,
    books: Books,
    chance: StdRng,
    /// Changes that were not sent yet: the watch is down.
    unsent: Vec<usize>,
    /// Until when the authority is away; and until when only its watch is.
    away: i64,
    unwatched: i64,
    begun: bool,
}

const RIDERS: usize = 40;

impl World {
    fn at(start: i64, seed: u64) -> Self {
        let clock = clock_at(start);
        let desk = Desk::new(clock.clone(), FRESHNESS, 1000);
        let books = Books { history: BTreeMap::new() };
        let chance = StdRng::seed_from_u64(seed);
        Self { clock, desk, books, chance, unsent: vec![], away: 0, unwatched: 0, begun: false }
    }

    /// A second of the world: riders are tested, outages begin and end, the watch goes on where it was.
    fn second(&mut self, now: i64) {
        if now >= self.away && self.chance.random_ratio(1, 20_000) {
            let longest = [2 * MINUTE, HOUR, 15 * HOUR][self.chance.random_range(0..3)];
            self.away = now + self.chance.random_range(SECOND..longest);
        }
        if now >= self.unwatched && self.chance.random_ratio(1, 10_000) {
            self.unwatched = now + self.chance.random_range(SECOND..HOUR);
        }
        if self.chance.random_ratio(1, 200) {
            let rider = self.chance.random_range(0..RIDERS);
            let next = self.books.now(rider).unwrap_or(0) + 1;
            let what = self.chance.random_ratio(9, 10).then_some(next);
            self.books.history.entry(rider).or_default().push((now, what));
            self.unsent.push(rider);
        }
        if now < self.away.max(self.unwatched) {
            self.desk.pause();
            // Now and then the place among the changes is lost meanwhile.
            if self.chance.random_ratio(1, 30_000) {
                self.desk.lose_track();
                (self.begun, self.unsent) = (false, vec![]);
            }
            return;
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.desk.begin();
            self.unsent.clear();
        }
        for changed in std::mem::take(&mut self.unsent) {
            self.desk.change(&rider(changed), self.books.facts(changed, now));
        }
        self.desk.vouch();
    }

    /// Somebody taps: what is remembered serves, or the authority is asked if it is there.
    fn tap(&mut self, number: usize, now: i64) -> Said {
        let subject = rider(number);
        let known = said(self.desk.recall(&subject));
        if matches!(known, Said::Fresh(_) | Said::NoRecord) || now < self.away {
            return known;
        }
        let (asker, first) = self.desk.join(&subject);
        assert!(first && self.desk.take_up(&subject).is_some());
        drop(asker);
        said(self.desk.complete(&subject, Ok(self.books.facts(number, now))).expect("an answer"))
    }
}

#[tokio::test(start_paused = true)]
async fn in_days_of_outages_no_facts_are_believed_longer_than_was_promised() {
    let start = at("2022-06-13T20:00:00+08:00");
    let mut world = World::at(start, 5);
    let mut seen = [0; 4];
    for now in (start..start + 3 * DAY).step_by(usize::try_from(SECOND).unwrap()) {
        until(&world.clock, now).await;
        world.second(now);
        let number = world.chance.random_range(0..RIDERS);
        let said = world.tap(number, now);
        let untrue_for = |what| world.books.untrue_for(number, what, now);
        let (kind, untrue_for, allowed) = match said {
            Said::Fresh(what) => (0, untrue_for(Some(what)), MINUTE),
            Said::NoRecord => (1, untrue_for(None), 30 * SECOND),
            Said::Stale(what) => (2, untrue_for(Some(what)), 12 * HOUR),
            Said::Nothing => (3, 0, 0),
        };
        seen[kind] += 1;
        // The last sign of life was up to a second before the change.
        assert!(untrue_for <= allowed + SECOND, "{said:?} was not true for {untrue_for} ms");
        let reachable = now >= world.away;
        assert!(!reachable || kind < 2, "who can be asked is asked");
        if reachable && now >= world.unwatched && kind == 0 {
            assert_eq!(untrue_for, 0, "a change that was sent is in force at once");
        }
    }
    assert!(seen.iter().all(|times| *times > 500), "everything happens: {seen:?}");
}

/// To the millisecond.
#[tokio::test(start_paused = true)]
async fn facts_and_their_absence_are_believed_to_the_end_of_their_time() {
    let start = at("2022-06-15T23:59:30+08:00");
    for (record, before, last, after) in [
        (true, Said::Fresh(1), MINUTE, Said::Stale(1)),
        (true, Said::Stale(1), 12 * HOUR, Said::Nothing),
        (false, Said::NoRecord, 30 * SECOND, Said::Nothing),
    ] {
        let mut world = World::at(start, 1);
        if record {
            world.books.history.insert(0, vec![(start, Some(1))]);
        }
        world.tap(0, start);
        world.away = i64::MAX;
        until(&world.clock, start + last).await;
        assert_eq!(world.tap(0, start + last), before);
        until(&world.clock, start + last + 1).await;
        assert_eq!(world.tap(0, start + last + 1), after);
    }
}

/// Links: [`super::links`], followed as `coherence` does.
#[tokio::test]
async fn in_days_of_outages_of_the_registry_no_link_is_believed_longer_than_five_minutes_after_its_end() {
    const EVERY: i64 = 200;
    const LINKS: u8 = 50;
    let (_folder, links) = super::links::tests::links().await;
    // Opened in real time; from here on it stands.
    tokio::time::pause();
    let start = at("2022-06-13T20:00:00+08:00");
    let (clock, mut chance) = (clock_at(start), StdRng::seed_from_u64(8));
    let name = |link: u8| crate::domain::pseudonym::Pseudonym([link; 32]);
    let shared = |link: u8, heard| crate::backends::redis::shared::SharedLink {
        name: name(link),
        subject: rider(link.into()),
        heard,
    };
    // When each ended last, if nobody linked it anew; and which of that were not heard of yet.
    let mut ended: BTreeMap<u8, i64> = BTreeMap::new();
    let (mut unheard, mut log, mut away) = (vec![], 1, 0);
    links.begin(log);
    let (mut fresh, mut stale, mut nothing) = (0, 0, 0);
    for now in (start..start + DAY).step_by(usize::try_from(EVERY).unwrap()) {
        until(&clock, now).await;
        if now >= away && chance.random_ratio(1, 9_000) {
            away = now + chance.random_range(EVERY..20 * MINUTE);
        }
        let link = chance.random_range(1..=LINKS);
        if chance.random_ratio(1, 50) {
            // An operator's hand at the database, also while nobody here hears of it.
            log += 1;
            ended.entry(link).or_insert(now);
            unheard.push((link, log));
        }
        if now >= away {
            for (link, change) in unheard.drain(..) {
                links.forget(&name(link), Some(change));
            }
            links.hear(log);
            links.vouch(Instant::now());
        }
        if let Some(linked) = links.recall(&[name(link)]) {
            let over_for = ended.get(&link).map_or(0, |end| now - end);
            let allowed = if linked.stale { 5 * MINUTE } else { SECOND };
            assert!(over_for <= allowed + EVERY, "{over_for} ms after its end, stale: {}", linked.stale);
            *(if linked.stale { &mut stale } else { &mut fresh }) += 1;
        } else {
            nothing += 1;
            if now >= away {
                // The registry is asked, and somebody has linked it anew.
                ended.remove(&link);
                assert!(links.adopt(&[name(link)], &shared(link, log)).is_some());
            }
        }
    }
    assert!(fresh > 10_000 && stale > 500 && nothing > 500, "everything happens: {fresh} {stale} {nothing}");
    let (vouched, link) = (clock.now().as_millisecond(), 1);
    links.vouch(Instant::now());
    links.adopt(&[name(link)], &shared(link, log));
    for (after, expected) in
        [(1_000, Some(false)), (1_001, Some(true)), (5 * MINUTE, Some(true)), (5 * MINUTE + 1, None)]
    {
        until(&clock, vouched + after).await;
        let linked = links.recall(&[name(link)]);
        assert_eq!(linked.map(|linked| linked.stale), expected, "{after} ms after the registry was heard");
    }
}
