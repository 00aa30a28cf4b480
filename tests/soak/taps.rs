//! What riders do: visits, and stories of those who are new.

use std::time::Duration;

use ridegate_proto::validator::v1::{Direction, Reason, Verdict};
use tokio::time::sleep;

use crate::{
    city::{NOON, Rider, healthy, red},
    load::{Load, Shared, Show, Told},
    oracle::{Change, Expect, LetIn, Standing},
    plan::{Class, Ending, Part, Step, Visit},
    stand::lock,
};

/// Codes of those who are new are this many seconds old, so that none is of a time to come.
const BEFORE: u32 = 20;

const fn millis(millis: u32) -> Duration {
    Duration::from_millis(millis as u64)
}

impl Class {
    const fn expect(self) -> Expect<'static> {
        match self {
            Self::Healthy | Self::Asked | Self::Copied => Expect::Fresh(Standing::Well),
            Self::Exempt => Expect::Fresh(Standing::Exempt),
            Self::Overdue | Self::Abnormal | Self::Popup => Expect::Fresh(Standing::Ill),
            Self::NoRecord => Expect::Fresh(Standing::NoRecord),
            Self::NotLinked => Expect::Fresh(Standing::NotLinked),
            Self::Forged => Expect::Forged,
            Self::Expired => Expect::Expired,
            Self::Out => Expect::Out,
        }
    }
}

/// A code in a rider's hand: where it was let in, and under which names that is known.
struct InHand<'a> {
    load: &'a Load,
    class: Class,
    let_in: Vec<LetIn>,
    names: Vec<String>,
    /// When it was first shown.
    first: Duration,
}

impl InHand<'_> {
    /// Keeps what was answered, if it used the code up.
    fn take(&mut self, told: &Told) {
        if told.answer.verdict() == Verdict::Allow {
            self.let_in.push(LetIn { seen: told.seen });
        }
        let answer = &told.answer;
        let name = if answer.retry_of.is_empty() { &answer.verdict_id } else { &answer.retry_of };
        self.names.push(name.clone());
    }

    async fn show_again(&mut self, show: &Show) {
        let Some(told) = self.load.show(show).await else { return };
        let expect = if self.let_in.is_empty() {
            Expect::Shown { first: self.first }
        } else if self.class == Class::Asked {
            Expect::Repeated { let_in: &self.let_in, named: self.names.contains(&told.answer.retry_of) }
        } else {
            Expect::Copied(&self.let_in)
        };
        self.load.judge(self.class, expect, &told);
        lock(&self.load.records).copies += u64::from(self.class == Class::Copied);
        if told.seen.reason == Reason::HealthOk {
            self.take(&told);
        }
    }
}

/// A rider's code at a gate, and again.
pub async fn visit(load: Shared, number: usize) {
    let Visit { at, class, turn, gate, replica, again } = load.plan.visits[number].clone();
    let code = load.city.rider_of(class, turn).shows(class, NOON + at / 1000);
    let direction = if class == Class::Out { Direction::Exit } else { Direction::Entry };
    let mut show = Show { id: format!("visit-{number}"), code, direction, gate, replica };
    let Some(told) = load.show(&show).await else { return };
    load.judge(class, class.expect(), &told);
    let mut in_hand = InHand { load: &load, class, let_in: vec![], names: vec![], first: told.seen.asked };
    in_hand.take(&told);
    for (turn, Step { after, gate, replica }) in again.into_iter().enumerate() {
        sleep(millis(after)).await;
        if load.is_over() {
            return;
        }
        show.replica = replica;
        if class == Class::Copied {
            show.gate = gate;
            show.id = format!("visit-{number}-{turn}");
        }
        in_hand.show_again(&show).await;
    }
}

/// Somebody new: links, taps everywhere, and then something changes.
pub async fn story(load: Shared, number: usize) {
    let story = load.plan.stories[number].clone();
    let rider = load.city.newcomer(&story);
    load.stand.authority.set(&rider.subject, healthy(&load.stand.clock));
    if !load.link(&rider, story.desks[0]).await {
        return;
    }
    let mut teller = Teller { load: &load, rider: &rider, number, taps: 0 };
    load.look(&rider.partner, &rider.medium, true, story.desks[1]).await;
    for step in story.before {
        teller.tap(step, Expect::Fresh(Standing::Well)).await;
    }
    let began = load.now();
    let (after, through) = match story.ending {
        Ending::TurnsRed => {
            load.stand.authority.set(&rider.subject, red(&load.stand.clock));
            (Standing::Ill, Part::Authority)
        }
        Ending::Leaves => {
            if !load.unlink(&rider, story.desks[2]).await {
                return;
            }
            (Standing::NotLinked, Part::Postgres)
        }
        Ending::Stays => (Standing::Well, Part::Authority),
    };
    let change = Change { before: Standing::Well, after, began, done: load.now(), through };
    for (turn, step) in story.after.into_iter().enumerate() {
        // Half of them while it comes into force.
        if turn == usize::from(crate::plan::REPLICAS) {
            load.wait_until(change.done + load.promise.in_force).await;
        }
        teller.tap(step, Expect::Changing(change)).await;
    }
    let linked = story.ending != Ending::Leaves;
    load.look(&rider.partner, &rider.medium, linked, story.desks[3]).await;
}

struct Teller<'a> {
    load: &'a Load,
    rider: &'a Rider,
    number: usize,
    taps: u32,
}

impl Teller<'_> {
    /// A fresh code at a gate.
    async fn tap(&mut self, Step { after, gate, replica }: Step, expect: Expect<'_>) {
        sleep(millis(after)).await;
        // Of a second of its own.
        let second = NOON + self.load.plan.stories[self.number].at / 1000 - BEFORE + self.taps;
        self.taps += 1;
        let show = Show {
            id: format!("story-{}-{}", self.number, self.taps),
            code: self.rider.shows(Class::Healthy, second),
            direction: Direction::Entry,
            gate,
            replica,
        };
        if let Some(told) = self.load.show(&show).await {
            self.load.judge(Class::Healthy, expect, &told);
        }
    }
}
