//! What the riders of the demo do, in known proportions, and what each must be told.

use rand::{Rng, RngExt, seq::SliceRandom};

use crate::{cards::Card, online::Half, riders::Rider};

/// One rider's story at a gate, or at two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Story {
    /// Shows a fresh code on the way in.
    Enters(Rider),
    /// Shows a fresh code on the way out.
    Leaves(Rider),
    /// Shows a code that ran out.
    ShowsExpired,
    /// Shows a code signed by another phone.
    ForgesPhone,
    /// Shows a code of an issuer nobody certified.
    ForgesIssuer,
    /// Shows half a code.
    ShowsDamaged,
    /// Shows something else.
    ShowsSomethingElse,
    /// Enters; a friend shows the same code at another gate.
    LendsCode,
    /// Enters; the gate lost the answer and asks again.
    IsRetried,
    /// Enters; the reader reads twice.
    IsReadTwice,
    /// Is overdue at one gate and shows the same code at the next: still overdue, not a replay.
    TriesNextGate,
    /// Taps a card on the way in.
    Taps(Card),
}

use Story::{
    Enters, ForgesIssuer, ForgesPhone, IsReadTwice, IsRetried, Leaves, LendsCode, ShowsDamaged, ShowsExpired,
    ShowsSomethingElse, Taps, TriesNextGate,
};

/// How many of a hundred riders live each story.
const SHARES: [(Story, usize); 26] = [
    (Enters(Rider::Healthy), 45),
    (Enters(Rider::Exempt), 3),
    (Enters(Rider::Overdue), 6),
    (Enters(Rider::Abnormal), 2),
    (Enters(Rider::Popup), 2),
    (Enters(Rider::Untested), 2),
    (Enters(Rider::NoRecord), 2),
    (Enters(Rider::Unlinked), 5),
    (Leaves(Rider::Healthy), 4),
    (Leaves(Rider::Overdue), 2),
    (Leaves(Rider::Unlinked), 1),
    (ShowsExpired, 3),
    (ForgesPhone, 2),
    (ForgesIssuer, 1),
    (ShowsDamaged, 1),
    (ShowsSomethingElse, 1),
    (LendsCode, 3),
    (IsRetried, 3),
    (IsReadTwice, 2),
    (TriesNextGate, 3),
    (Taps(Card::Yikatong), 2),
    (Taps(Card::Nfc), 1),
    (Taps(Card::TUnion), 1),
    (Taps(Card::Senior), 1),
    (Taps(Card::Unlinked), 1),
    (Taps(Card::Bank), 1),
];

/// What a tap must be answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) allow: bool,
    /// The reason in full.
    pub(crate) reason: &'static str,
    /// Whom the answer names.
    pub(crate) partner: Whose,
    /// Whether it repeats the first tap's.
    pub(crate) repeats: bool,
}

/// Whose code or card an answer says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The partner's whose turn it is.
    Partners,
    /// The card company's.
    Companys,
    /// Nobody's that is known.
    Nobodys,
}

impl Story {
    /// How many taps it needs.
    pub(crate) fn taps(self) -> usize {
        self.expected(Half::Malformed).len()
    }

    /// What each of its taps must be answered with, with a partner of whose codes half is so much.
    pub(crate) fn expected(self, half: Half) -> Vec<Expected> {
        match self {
            Enters(rider) => vec![enters(rider)],
            Leaves(_) => vec![allow("NOT_ENFORCED")],
            ShowsExpired => vec![inspect("CODE_EXPIRED")],
            ForgesPhone | ForgesIssuer => vec![inspect("CODE_UNTRUSTED")],
            ShowsDamaged => vec![match half {
                Half::Malformed => inspect("CODE_MALFORMED"),
                Half::MalformedOfNobody => Expected { partner: Whose::Nobodys, ..inspect("CODE_MALFORMED") },
                Half::Untrusted => inspect("CODE_UNTRUSTED"),
                Half::Unrecognized => Expected { partner: Whose::Nobodys, ..inspect("CODE_UNRECOGNIZED") },
            }],
            ShowsSomethingElse => vec![Expected { partner: Whose::Nobodys, ..inspect("CODE_UNRECOGNIZED") }],
            Taps(card) => vec![tapped(card)],
            LendsCode => vec![enters(Rider::Healthy), inspect("CODE_REPLAYED")],
            IsRetried | IsReadTwice => {
                vec![enters(Rider::Healthy), Expected { repeats: true, ..enters(Rider::Healthy) }]
            }
            TriesNextGate => vec![enters(Rider::Overdue), enters(Rider::Overdue)],
        }
    }

    /// Who lives it.
    pub(crate) const fn rider(self) -> Rider {
        match self {
            Enters(rider) | Leaves(rider) => rider,
            TriesNextGate => Rider::Overdue,
            _ => Rider::Healthy,
        }
    }
}

/// What a rider of this kind must be told on the way in.
pub(crate) const fn enters(rider: Rider) -> Expected {
    match rider {
        Rider::Healthy => allow("HEALTH_OK"),
        Rider::Exempt => allow("EXEMPT"),
        Rider::Overdue => inspect("TEST_OVERDUE"),
        Rider::Abnormal => inspect("HEALTH_ABNORMAL"),
        Rider::Popup => inspect("HEALTH_POPUP"),
        Rider::Untested => inspect("TEST_MISSING"),
        Rider::NoRecord => inspect("NO_RECORD"),
        Rider::Unlinked => inspect("NOT_LINKED"),
    }
}

const fn tapped(card: Card) -> Expected {
    let partner = if card.is_known() { Whose::Companys } else { Whose::Nobodys };
    let expected = match card {
        Card::Yikatong | Card::Nfc | Card::TUnion | Card::Senior => allow("HEALTH_OK"),
        Card::Unlinked => inspect("NOT_LINKED"),
        Card::Bank => inspect("MEDIUM_UNSUPPORTED"),
    };
    Expected { partner, ..expected }
}

const fn allow(reason: &'static str) -> Expected {
    Expected { allow: true, reason, partner: Whose::Partners, repeats: false }
}

const fn inspect(reason: &'static str) -> Expected {
    Expected { allow: false, reason, partner: Whose::Partners, repeats: false }
}

/// Stories that need exactly `taps` taps, in the shares above, shuffled hundred by hundred.
pub(crate) fn stories(taps: usize, rng: &mut impl Rng) -> Vec<Story> {
    let mut hundred: Vec<Story> =
        SHARES.iter().flat_map(|(story, share)| std::iter::repeat_n(*story, *share)).collect();
    let mut stories = Vec::new();
    let mut left = taps;
    while left > 0 {
        hundred.shuffle(rng);
        for story in &hundred {
            let needs = story.taps();
            if needs <= left {
                stories.push(*story);
                left -= needs;
            }
        }
    }
    stories
}

/// Bytes that are no ride code: what a scanner reads off a poster.
pub(crate) fn something_else(rng: &mut impl Rng) -> Vec<u8> {
    format!("HTTPS://EXAMPLE.CN/{:08}", rng.random_range(0..100_000_000)).into_bytes()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    #[test]
    fn shares_make_a_hundred_and_taps_add_up() {
        assert_eq!(SHARES.iter().map(|(_, share)| share).sum::<usize>(), 100);
        for taps in [1, 2, 99, 1000] {
            let stories = stories(taps, &mut ChaCha20Rng::seed_from_u64(1));
            assert_eq!(stories.iter().map(|story| story.taps()).sum::<usize>(), taps);
        }
    }

    #[test]
    fn the_same_seed_tells_the_same_stories() {
        let told = |seed| stories(500, &mut ChaCha20Rng::seed_from_u64(seed));
        assert_eq!(told(7), told(7));
        assert_ne!(told(7), told(8));
    }
}
