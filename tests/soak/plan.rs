//! What will be done, and when: of the seed alone. What comes of it is the machine's.

use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};

pub const REPLICAS: u8 = 4;
/// Station computers; each speaks for many gates.
pub const STATIONS: u8 = 8;
/// Gates of the city; a code is shown at another than before.
const GATES: u16 = 400;

/// What is shown, and what is right for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Linked, green, tested: a code of its own second.
    Healthy,
    Exempt,
    Overdue,
    Abnormal,
    Popup,
    NoRecord,
    NotLinked,
    /// A healthy rider's, signed by somebody else.
    Forged,
    /// A healthy rider's, too old.
    Expired,
    /// A healthy rider's, on the way out.
    Out,
    /// A healthy rider's, whose reader asks again under the same id.
    Asked,
    /// A healthy rider's that is shown again at other gates.
    Copied,
}

/// Of a hundred visits so many are of each class.
pub const MIX: [(Class, u32); 12] = [
    (Class::Healthy, 44),
    (Class::Exempt, 2),
    (Class::Overdue, 8),
    (Class::Abnormal, 3),
    (Class::Popup, 2),
    (Class::NoRecord, 2),
    (Class::NotLinked, 4),
    (Class::Forged, 3),
    (Class::Expired, 2),
    (Class::Out, 8),
    (Class::Asked, 10),
    (Class::Copied, 12),
];

/// A code at a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Milliseconds after what was before.
    pub after: u32,
    pub gate: u16,
    /// The first replica that is asked.
    pub replica: u8,
}

/// A rider shows a code, and perhaps shows it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Milliseconds after the start.
    pub at: u32,
    pub class: Class,
    /// Whose turn it is of the class's riders.
    pub turn: u32,
    pub gate: u16,
    pub replica: u8,
    pub again: Vec<Step>,
}

/// How a new rider's story ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    /// The authority turns the rider's status red.
    TurnsRed,
    /// The rider withdraws.
    Leaves,
    Stays,
}

/// A rider who is new links, taps, and perhaps something changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    pub at: u32,
    /// Which of the partners whose codes are signed.
    pub partner: u32,
    pub number: u32,
    pub ending: Ending,
    /// Which replicas are asked: to link, whether it is linked, to unlink, whether it is still.
    pub desks: [u8; 4],
    pub before: Vec<Step>,
    pub after: Vec<Step>,
}

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    Replica(u8),
    Redis,
    Postgres,
    Authority,
}

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Kill,
    Terminate,
}

/// Something ends, and so many milliseconds later is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    pub at: u32,
    pub part: Part,
    pub how: How,
    pub lasts: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    /// Visits a second.
    pub rate: u32,
    /// Milliseconds.
    pub lasts: u32,
    pub visits: Vec<Visit>,
    pub stories: Vec<Story>,
    pub outages: Vec<Outage>,
}

/// A story begins so often.
const STORY_EVERY: u32 = 700;
/// After the last thing came back.
const TAIL: u32 = 8_000;

impl Plan {
    /// So many kills in an order of the seed's.
    pub fn of_kills(seed: u64, kills: usize, rate: u32) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let outages = outages(&mut rng, kills);
        let lasts = outages.iter().map(|one| one.at + one.lasts).max().unwrap_or_default() + TAIL;
        Self::with(seed, rng, lasts, rate, outages)
    }

    /// So many milliseconds, with a kill now and then: in turn of Redis, and of the last replica.
    pub fn of_time(seed: u64, lasts: u32, rate: u32) -> Self {
        let every = (lasts / 12).clamp(4_000, 300_000);
        let kill = |number: u32| {
            let part = if number % 2 == 1 { Part::Redis } else { Part::Replica(REPLICAS - 1) };
            Outage { at: number * every, part, how: How::Kill, lasts: 1_000 }
        };
        let outages = (1..lasts / every).map(kill).collect();
        Self::with(seed, ChaCha20Rng::seed_from_u64(seed), lasts, rate, outages)
    }

    fn with(seed: u64, mut rng: ChaCha20Rng, lasts: u32, rate: u32, outages: Vec<Outage>) -> Self {
        let stories = stories(&mut rng, lasts);
        let visits = visits(&mut rng, lasts, rate);
        Self { seed, rate, lasts, visits, stories, outages }
    }

    /// How many riders a class needs, so that nobody has two codes of one second.
    pub fn riders(&self, class: Class) -> u32 {
        let share = MIX.iter().find(|(one, _)| *one == class).map_or(0, |(_, share)| *share);
        (self.rate * share * 3).div_ceil(100).max(8)
    }

    /// A name of the whole plan.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("{} {} {}", self.seed, self.rate, self.lasts));
        self.outages.iter().for_each(|one| hash.update(format!("{one:?}")));
        self.stories.iter().for_each(|one| hash.update(format!("{one:?}")));
        self.visits.iter().for_each(|one| hash.update(format!("{one:?}")));
        hex::encode(&hash.finalize()[..8])
    }
}

/// Every eight kills each part has its turns.
fn block(number: usize) -> [(Option<Part>, How); 8] {
    let either = if number.is_multiple_of(2) { Part::Postgres } else { Part::Authority };
    [
        (None, How::Kill),
        (None, How::Kill),
        (None, How::Terminate),
        (Some(Part::Redis), How::Kill),
        (Some(Part::Redis), How::Kill),
        (Some(Part::Postgres), How::Kill),
        (Some(Part::Authority), How::Kill),
        (Some(either), How::Kill),
    ]
}

fn outages(rng: &mut ChaCha20Rng, kills: usize) -> Vec<Outage> {
    let mut outages: Vec<Outage> = Vec::new();
    let mut at = 3_000;
    for number in 0..kills.div_ceil(8) {
        let mut block = block(number);
        block.shuffle(rng);
        for (part, how) in block {
            let part = part.unwrap_or_else(|| Part::Replica(rng.random_range(0..REPLICAS)));
            let lasts = rng.random_range(200..2_500);
            // Two things at once may be away; what comes back has a moment.
            while outages.iter().filter(|one| one.at + one.lasts > at).count() > 1
                || outages.iter().any(|one| one.part == part && one.at + one.lasts + 2_000 > at)
            {
                at += 100;
            }
            outages.push(Outage { at, part, how, lasts });
            at += rng.random_range(1_500..4_500);
        }
    }
    outages.truncate(kills);
    outages
}

fn step(rng: &mut ChaCha20Rng, after: std::ops::Range<u32>) -> Step {
    Step {
        after: rng.random_range(after),
        gate: rng.random_range(0..GATES),
        replica: rng.random_range(0..REPLICAS),
    }
}

fn stories(rng: &mut ChaCha20Rng, lasts: u32) -> Vec<Story> {
    let endings = [Ending::TurnsRed, Ending::Leaves, Ending::Stays, Ending::Leaves];
    // None begins that would not end.
    let many = lasts.saturating_sub(TAIL) / STORY_EVERY;
    let story = |number: u32| {
        let everywhere = |rng: &mut ChaCha20Rng, after: std::ops::Range<u32>| {
            let step = |replica| Step { replica, ..step(rng, after.clone()) };
            (0..REPLICAS).map(step).collect::<Vec<_>>()
        };
        let ending = endings[number as usize % endings.len()];
        let mut after = everywhere(rng, 0..600);
        after.extend(everywhere(rng, 0..600));
        Story {
            at: number * STORY_EVERY,
            partner: rng.random_range(0..u32::MAX),
            number,
            ending,
            desks: std::array::from_fn(|_| rng.random_range(0..REPLICAS)),
            before: everywhere(rng, 20..300),
            after,
        }
    };
    (0..many).map(story).collect()
}

fn visits(rng: &mut ChaCha20Rng, lasts: u32, rate: u32) -> Vec<Visit> {
    let mut deck: Vec<_> = MIX.iter().flat_map(|(class, share)| vec![*class; *share as usize]).collect();
    let mut turns = [0; MIX.len()];
    let many = u64::from(lasts) * u64::from(rate) / 1000;
    let visit = |number: u64| {
        let of_deck = usize::try_from(number).unwrap() % deck.len();
        if of_deck == 0 {
            deck.shuffle(rng);
        }
        let class = deck[of_deck];
        let turn = &mut turns[class as usize];
        *turn += 1;
        let Step { gate, replica, .. } = step(rng, 0..1);
        let again = match class {
            Class::Asked => vec![step(rng, 50..20_000)],
            Class::Copied => {
                let mut steps = vec![step(rng, 50..12_000), step(rng, 50..12_000)];
                // Never at the same gate, which may read it twice.
                let mut other = gate;
                for step in &mut steps {
                    other = (other + 1 + step.gate % (GATES / 3)) % GATES;
                    step.gate = other;
                }
                steps
            }
            _ => vec![],
        };
        let at = u32::try_from(number * 1000 / u64::from(rate)).unwrap();
        Visit { at, class, turn: *turn - 1, gate, replica, again }
    };
    (0..many).map(visit).collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
