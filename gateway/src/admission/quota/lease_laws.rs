//! What leases promise, whatever happens between replicas: in time that is moved by hand, against a budget that counts as
//! `quota.lua` does. The script itself is held to the same by the tests with a real Redis.

use std::{collections::BTreeMap, num::NonZeroU32};

use proptest::prelude::*;

use super::*;

/// A budget in Redis. What the script does, line by line.
pub(super) struct Bank {
    tokens: Option<f64>,
    at: Instant,
    hands: BTreeMap<usize, i64>,
    seen: BTreeMap<usize, Instant>,
    lacked: Option<(Instant, usize)>,
}

impl Bank {
    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: None, at: now, hands: BTreeMap::new(), seen: BTreeMap::new(), lacked: None }
    }

    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers")]
    pub(super) fn serve(&mut self, me: usize, ask: &Ask, now: Instant) -> Answer {
        self.seen.retain(|_, seen| now.duration_since(*seen) < Duration::from_secs(2));
        self.hands.retain(|id, _| self.seen.contains_key(id));
        self.seen.insert(me, now);
        let replicas = i64::try_from(self.seen.len()).unwrap();
        let mine = self.hands.get(&me).copied().unwrap_or(0);
        let others = self.hands.values().sum::<i64>() - mine;
        let (rate, burst) = (f64::from(ask.per_second), f64::from(ask.burst));
        let come_in = rate * now.duration_since(self.at).as_secs_f64();
        let mut tokens = self.tokens.unwrap_or(ask.begin as f64) + come_in;
        tokens = tokens.min(burst - (others + mine) as f64);
        tokens = (tokens + ask.give as f64).min(burst - (others + ask.hand) as f64).max(-burst);
        let mut hand = ask.hand;
        let mut take = |wanted: i64, hand: &mut i64| {
            let taken = (tokens.floor() as i64).min(wanted).max(0);
            tokens -= taken as f64;
            *hand += taken;
            (taken, tokens)
        };
        let (first, left) = take(ask.need - hand, &mut hand);
        let scarce = self
            .lacked
            .is_some_and(|(at, by)| by != me && now.duration_since(at) < Duration::from_millis(250));
        if hand < ask.need {
            self.lacked = Some((now, me));
        }
        let unneeded = left.max(0.0) + (hand - ask.need).max(0) as f64;
        let share = match replicas {
            1 => (unneeded / 2.0).ceil() as i64,
            _ => (unneeded / (2 * replicas - 1) as f64).floor() as i64,
        };
        let (second, left) = take(ask.need + share - hand, &mut hand);
        (self.tokens, self.at) = (Some(left), now);
        self.hands.insert(me, hand);
        Answer {
            granted: first + second,
            share,
            left: left.floor() as i64,
            wait: Duration::from_secs_f64((1.0 - left).max(0.0) / rate),
            others,
            scarce,
        }
    }
}

pub(super) fn rate(per_second: u32, burst: u32) -> Rate {
    Rate { per_second: NonZeroU32::new(per_second).unwrap(), burst: NonZeroU32::new(burst).unwrap() }
}

/// What may happen.
#[derive(Debug, Clone)]
enum Event {
    /// So many are wanted at this replica.
    Wanted(usize, u16),
    /// It asks, and the answer is on its way …
    Asks(usize),
    /// … and comes; or never does.
    Hears(usize),
    Lost(usize),
    /// It dies with what it has in hand, and another comes in its place.
    Dies(usize),
    Passes(u16),
}

fn events(replicas: usize) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..replicas, 1..400_u16).prop_map(|(at, wanted)| Event::Wanted(at, wanted)),
        4 => (0..replicas).prop_map(Event::Asks),
        4 => (0..replicas).prop_map(Event::Hears),
        1 => (0..replicas).prop_map(Event::Lost),
        1 => (0..replicas).prop_map(Event::Dies),
        4 => (1..300_u16).prop_map(Event::Passes),
        1 => (1000..3000_u16).prop_map(Event::Passes),
    ];
    prop::collection::vec(event, 1..150)
}

proptest! {
    /// In no stretch of time whatever is more admitted than comes in meanwhile, and one burst. A token that was granted
    /// leaves the hand once: admitted, or given back.
    #[test]
    fn the_fleet_never_admits_more_than_its_budget(
        per_second in 1..500_u32,
        burst in 1..500_u32,
        events in events(4),
    ) {
        let (rate, mut now) = (rate(per_second, burst), Instant::now());
        let most = f64::from(capacity(rate));
        let mut bank = Bank::new(now);
        let mut replicas: Vec<_> = (0..4).map(|id| (id, Lease::new(rate, now), None)).collect();
        let (mut admitted, mut next_id) = (vec![(now, 0_u32)], 3);
        let (mut granted, mut given) = (0, 0);
        for event in events {
            match event {
                Event::Wanted(at, wanted) => {
                    let lease = &replicas[at].1;
                    for _ in 0..wanted {
                        lease.want();
                        let taken = u32::from(lease.take(now).taken);
                        admitted.push((now, admitted.last().unwrap().1 + taken));
                    }
                }
                Event::Asks(at) => {
                    let (id, lease, on_its_way) = &mut replicas[at];
                    if on_its_way.is_none() {
                        let ask = lease.ask(now, None);
                        given += ask.give;
                        *on_its_way = Some((ask, bank.serve(*id, &ask, now)));
                    }
                }
                Event::Hears(at) => {
                    let (_, lease, on_its_way) = &mut replicas[at];
                    if let Some((ask, answer)) = on_its_way.take() {
                        let next = lease.settle(&ask, answer, now);
                        granted += answer.granted;
                        prop_assert!(next >= GAP && next <= ROUND);
                    }
                }
                Event::Lost(at) => replicas[at].2 = None,
                Event::Dies(at) => {
                    next_id += 1;
                    replicas[at] = (next_id, Lease::new(rate, now), None);
                }
                Event::Passes(millis) => now += Duration::from_millis(millis.into()),
            }
        }
        prop_assert!(i64::from(admitted.last().unwrap().1) + given <= granted);
        admitted.dedup_by_key(|(at, _)| *at);
        // Kept is the first of every moment: from the first token of one moment to the first of a later one.
        let end = (now + Duration::from_nanos(1), admitted.last().unwrap().1);
        for (index, (from, before)) in admitted.iter().enumerate() {
            for (to, after) in admitted[index..].iter().chain([&end]) {
                let allowed = most + f64::from(per_second) * to.duration_since(*from).as_secs_f64();
                prop_assert!(f64::from(after - before) <= allowed + 0.001, "{} of {allowed}", after - before);
            }
        }
    }
}

#[test]
fn what_was_granted_too_long_ago_is_taken_no_more() {
    let rate = Rate { per_second: NonZeroU32::new(100).unwrap(), burst: NonZeroU32::new(100).unwrap() };
    let now = Instant::now();
    let (lease, mut bank) = (Lease::new(rate, now), Bank::new(now));
    lease.want();
    let ask = lease.ask(now, None);
    lease.settle(&ask, bank.serve(0, &ask, now), now);
    assert!(lease.take(now + GOOD_FOR - Duration::from_millis(1)).taken);
    assert!(!lease.take(now + GOOD_FOR).taken, "Redis takes this replica for dead soon");
}

/// Replicas in rounds as the fleet keeps them, a millisecond from Redis.
struct World {
    rate: Rate,
    now: Instant,
    bank: Bank,
    replicas: Vec<Replica>,
    /// What one budget in one place would have left, and would have admitted.
    ideal: (f64, u32),
}

struct Replica {
    lease: Lease,
    asked: Instant,
    next: Instant,
    low: bool,
    on_its_way: Option<(Ask, Answer)>,
    wanted: f64,
    admitted: u32,
    rounds: u32,
}

impl World {
    /// In which everybody has had some rounds.
    fn new(replicas: u32, rate: Rate) -> Self {
        let now = Instant::now();
        let replica = |id| Replica {
            lease: Lease::new(rate, now),
            asked: now,
            next: now + Duration::from_millis(13) * id,
            low: false,
            on_its_way: None,
            wanted: 0.0,
            admitted: 0,
            rounds: 0,
        };
        let mut world = Self {
            rate,
            now,
            bank: Bank::new(now),
            replicas: (0..replicas).map(replica).collect(),
            ideal: (f64::from(rate.burst.get()), 0),
        };
        world.pass(5000, &[]);
        world
    }

    /// A millisecond, in which so many are wanted at each.
    fn step(&mut self, wanted: &[f64]) {
        self.now += Duration::from_millis(1);
        let now = self.now;
        let come_in = f64::from(self.rate.per_second.get()) / 1000.0;
        self.ideal.0 = (self.ideal.0 + come_in).min(self.rate.burst.get().into());
        for (id, replica) in self.replicas.iter_mut().enumerate() {
            if let Some((ask, answer)) = replica.on_its_way.take() {
                replica.next = now + replica.lease.settle(&ask, answer, now).mul_f64(0.9);
            } else if now >= replica.next || (replica.low && now >= replica.asked + GAP) {
                (replica.asked, replica.low, replica.rounds) = (now, false, replica.rounds + 1);
                let ask = replica.lease.ask(now, None);
                replica.on_its_way = Some((ask, self.bank.serve(id, &ask, now)));
            }
            replica.wanted += wanted.get(id).copied().unwrap_or(0.0);
            while replica.wanted >= 1.0 {
                replica.wanted -= 1.0;
                if self.ideal.0 >= 1.0 {
                    self.ideal = (self.ideal.0 - 1.0, self.ideal.1 + 1);
                }
                replica.lease.want();
                let Taken { taken, low } = replica.lease.take(now);
                replica.admitted += u32::from(taken);
                replica.low |= low;
            }
        }
    }

    /// So many milliseconds, in which so many are wanted a second at each. Tells how many each admitted.
    fn pass(&mut self, millis: u32, wanted: &[f64]) -> Vec<u32> {
        let before: Vec<_> = self.replicas.iter().map(|replica| replica.admitted).collect();
        let wanted: Vec<_> = wanted.iter().map(|wanted| wanted / 1000.0).collect();
        (0..millis).for_each(|_| self.step(&wanted));
        self.replicas.iter().zip(before).map(|(replica, before)| replica.admitted - before).collect()
    }

    /// Of what comes in within so many seconds and a burst, and of what one budget in one place would admit: the part that was
    /// admitted.
    fn used(&mut self, seconds: u32, wanted: &[f64]) -> (f64, f64) {
        let before = self.ideal.1;
        let admitted = f64::from(self.pass(1000 * seconds, wanted).iter().sum::<u32>());
        let all = self.rate.per_second.get() * seconds + capacity(self.rate);
        (admitted / f64::from(all), admitted / f64::from((self.ideal.1 - before).max(1)))
    }
}

const SHARES: [[f64; 4]; 3] = [[1.0, 0.0, 0.0, 0.0], [0.7, 0.2, 0.08, 0.02], [0.25; 4]];

/// Below the rate, a little above it, and far above.
#[test]
fn whoever_has_the_load_gets_what_one_budget_would_give() {
    for (per_second, burst) in [(20, 20), (1000, 10), (1000, 100), (1000, 1000), (2000, 4000)] {
        for shares in SHARES {
            for load in [0.8, 1.5, 10.0] {
                let wanted = shares.map(|share| share * load * f64::from(per_second));
                let (of_all, of_ideal) = World::new(4, rate(per_second, burst)).used(20, &wanted);
                let case = format!(
                    "{per_second}/s, burst {burst}, load {load} {shares:?}: {of_all:.3} {of_ideal:.3}"
                );
                println!("{case}");
                assert!(of_all <= 1.0 && of_ideal >= 0.97, "{case}");
            }
        }
    }
}

/// A token cannot be divided, nor be at every replica: of a budget of fewer tokens than there are replicas a part is lost to
/// the wrong place. But never all of it, and where all of the load is at one nothing to speak of.
#[test]
fn budgets_of_a_token_or_two_work() {
    for (per_second, burst) in [(1, 1), (1, 3), (2, 1), (5, 1), (5, 2)] {
        for shares in SHARES {
            for load in [0.8, 1.5, 10.0] {
                let wanted = shares.map(|share| share * load * f64::from(per_second));
                let (of_all, of_ideal) = World::new(4, rate(per_second, burst)).used(60, &wanted);
                let case = format!(
                    "{per_second}/s, burst {burst}, load {load} {shares:?}: {of_all:.3} {of_ideal:.3}"
                );
                println!("{case}");
                let least = if shares[1] == 0.0 { 0.8 } else { 0.1 };
                assert!(of_all <= 1.0 && of_ideal >= least, "{case}");
            }
        }
    }
}

/// As fast as one replica decides: a burst of the partner's whole burst, within a tenth of a second.
#[test]
fn a_burst_at_one_replica_is_served_from_what_all_could_have() {
    let mut world = World::new(4, rate(2000, 4000));
    let admitted = world.pass(100, &[40_000.0]);
    println!("{admitted:?}");
    assert!(admitted[0] >= 3200, "{admitted:?}");
    let admitted = world.pass(200, &[40_000.0]);
    assert!(admitted[0] >= 300, "and goes on at the rate: {admitted:?}");
}

#[test]
fn idle_replicas_hold_a_part_and_one_that_comes_finds_some() {
    for (burst, in_hand) in [(1, 1), (3, 2), (60, 30)] {
        let mut world = World::new(1, rate(1, burst));
        assert_eq!(
            (world.replicas[0].lease.left(), world.replicas[0].lease.hand.load(Relaxed)),
            (burst, in_hand)
        );
        let newcomer = Lease::new(world.rate, world.now);
        newcomer.want();
        let ask = newcomer.ask(world.now, None);
        let answer = world.bank.serve(1, &ask, world.now);
        assert_eq!(answer.granted > 0, burst > 1, "of {burst}");
    }
    let world = World::new(4, rate(2000, 4000));
    let hands: Vec<_> = world.replicas.iter().map(|replica| replica.lease.empty(world.now)).collect();
    assert!(hands.iter().all(|hand| (350..450).contains(hand)), "a tenth each: {hands:?}");
}

#[test]
fn idle_or_dry_nobody_asks_more_often_than_ten_times_a_second_or_so() {
    for load in [0.0, 10.0] {
        let mut world = World::new(4, rate(2000, 4000));
        world.pass(3000, &[load * 2000.0; 4]);
        let before: Vec<_> = world.replicas.iter().map(|replica| replica.rounds).collect();
        world.pass(10_000, &[load * 2000.0; 4]);
        for (replica, before) in world.replicas.iter().zip(before) {
            let rounds = replica.rounds - before;
            assert!((90..=130).contains(&rounds), "{rounds} at a load of {load}");
        }
    }
}

/// A Redis that comes back empty goes on about where it was, not with another burst.
#[test]
fn a_redis_that_lost_its_memory_gives_no_second_burst() {
    let mut world = World::new(4, rate(100, 1000));
    world.pass(20_000, &[200.0; 4]);
    world.bank = Bank::new(world.now);
    let admitted: u32 = world.pass(1000, &[200.0; 4]).iter().sum();
    assert!(admitted <= 130, "{admitted} of 100 that came in");
}

#[test]
fn what_was_admitted_alone_is_owed_and_what_was_in_hand_is_not() {
    let (rate, now) = (rate(100, 1000), Instant::now());
    let (lease, mut bank) = (Lease::new(rate, now), Bank::new(now));
    let round = |bank: &mut Bank, now, alone| {
        let ask = lease.ask(now, alone);
        let answer = bank.serve(0, &ask, now);
        lease.settle(&ask, answer, now);
        answer
    };
    assert_eq!(round(&mut bank, now, Some(0)).granted, 500);
    let later = now + Duration::from_secs(1);
    assert_eq!(lease.leave(4, later), (500, 25), "in hand; and a quarter of what came in");
    let again = later + Duration::from_secs(3);
    let answer = round(&mut bank, again, Some(300));
    // Half was in Redis; four hundred came in, three hundred were admitted alone.
    assert_eq!(answer.granted + answer.left, 600);
}
