//! What may be answered to a tap, and what may not: of what was away, and when. Everything here is pure.

use std::time::Duration;

use ridegate_proto::validator::v1::{DegradedCause, Reason};

use crate::{history::History, plan::Part};

/// What the product promises, in time.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// A change is in force at every replica.
    pub in_force: Duration,
    /// What had been away, or was started, is used as before.
    pub recovered: Duration,
    /// A Redis that was started anew has been told every claim that a replica knows.
    pub told: Duration,
    /// Others use the machine: what was too slow while nothing was away is counted, not condemned. What lets somebody in who
    /// should not be is never excused by it, but for a used code that says that Redis was not asked.
    pub hurries: bool,
}

/// An answer.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub reason: Reason,
    pub degraded: Option<DegradedCause>,
    /// When it was asked for the first time, and when it was answered.
    pub asked: Duration,
    pub answered: Duration,
    /// Who answered.
    pub replica: u8,
}

/// A replica has let a code in.
#[derive(Debug, Clone, Copy)]
pub struct LetIn {
    pub seen: Seen,
}

/// What a rider is answered while nothing is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Well,
    Exempt,
    Ill,
    NoRecord,
    NotLinked,
}

/// A change: what was right before is right until it began, what is right after it from when it was in force.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    pub before: Standing,
    pub after: Standing,
    pub began: Duration,
    pub done: Duration,
    /// From whom replicas hear of it.
    pub through: Part,
}

#[derive(Debug, Clone, Copy)]
pub enum Expect<'a> {
    /// A code that nobody has seen, or one that was not used up.
    Fresh(Standing),
    Changing(Change),
    Forged,
    Expired,
    /// On the way out only the code is checked.
    Out,
    /// The same reader asks again, and `named`: is told the first verdict.
    Repeated {
        let_in: &'a [LetIn],
        named: bool,
    },
    /// Another reader shows what was used up.
    Copied(&'a [LetIn]),
    /// A code that was shown before and not used up.
    Shown {
        first: Duration,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ruling {
    Right,
    /// Not what it would be while nothing is away, but within what is written down.
    Excused(&'static str),
    Wrong(&'static str),
}

use Ruling::{Excused, Right, Wrong};

pub const LET_IN_ONCE_MORE: &str = "let in once more: the code's claim was lost";
pub const STALE_FACTS: &str = "let in by facts of before: the authority was away";
pub const STARTING: &str =
    "let in by facts of before: the replica was just started and did not hear the authority yet";
pub const STALE_LINK: &str = "let in by a link of before: the registry was away, and it says so";
pub const LOOKUP_FAILED: &str = "LOOKUP_FAILED while something was away";
pub const HURRIED: &str = "LOOKUP_FAILED or degraded while nothing was away";
pub const ALONE: &str = "let in once more, and marked: Redis did not answer in time";
pub const THROTTLED: &str = "THROTTLED: what was leased of the budget was too old";
pub const OVERLOADED: &str = "OVERLOADED";
pub const STILL_DECIDED: &str = "refused: whoever decided it was killed";

pub fn judge(expect: Expect<'_>, seen: &Seen, history: &History, promise: &Promise) -> Ruling {
    let judged = by_reason(expect, seen, history, promise);
    if seen.degraded.is_none() || judged != Right || shaken(seen, expect, history, promise) {
        return judged;
    }
    if promise.hurries { Excused(HURRIED) } else { Wrong("degraded while nothing was away") }
}

fn by_reason(expect: Expect<'_>, seen: &Seen, history: &History, promise: &Promise) -> Ruling {
    match seen.reason {
        Reason::Throttled if promise.hurries => return Excused(THROTTLED),
        Reason::Overloaded if promise.hurries => return Excused(OVERLOADED),
        _ => {}
    }
    // What the code itself says needs nobody behind the gateway.
    match expect {
        Expect::Forged => return only(Reason::CodeUntrusted, seen, "a forged code was not told"),
        Expect::Expired => return only(Reason::CodeExpired, seen, "a code too old was not told"),
        _ => {}
    }
    if seen.reason == Reason::LookupFailed && !matches!(expect, Expect::Out) {
        return failed(expect, seen, history, promise);
    }
    match expect {
        Expect::Fresh(standing) => stands(standing, seen),
        Expect::Changing(change) => changing(&change, seen, history, promise),
        Expect::Out => match seen.reason {
            Reason::NotEnforced => Right,
            // A partner must be asked to read some codes.
            Reason::LookupFailed => failed(expect, seen, history, promise),
            _ => Wrong("a genuine code on the way out was stopped"),
        },
        Expect::Repeated { let_in, named } => match seen.reason {
            Reason::HealthOk if named => Right,
            Reason::HealthOk => once_more(let_in, seen, history, promise),
            _ => Wrong("a retry was answered otherwise"),
        },
        Expect::Copied(let_in) => match seen.reason {
            Reason::CodeReplayed => Right,
            Reason::HealthOk => once_more(let_in, seen, history, promise),
            _ => Wrong("a copy was answered as if nobody had used it"),
        },
        Expect::Shown { first } => match seen.reason {
            Reason::HealthOk => Right,
            Reason::CodeReplayed if history.anything(first, seen.answered, promise.recovered) => {
                Excused(STILL_DECIDED)
            }
            _ => Wrong("a code that was not used up was refused"),
        },
        Expect::Forged | Expect::Expired => Right,
    }
}

const fn only(reason: Reason, seen: &Seen, else_wrong: &'static str) -> Ruling {
    if seen.reason as i32 == reason as i32 { Right } else { Wrong(else_wrong) }
}

fn stands(standing: Standing, seen: &Seen) -> Ruling {
    let right = match standing {
        Standing::Well => Reason::HealthOk,
        Standing::Exempt => Reason::Exempt,
        Standing::Ill => Reason::Health,
        Standing::NoRecord => Reason::NoRecord,
        Standing::NotLinked => Reason::NotLinked,
    };
    only(right, seen, "not what this rider is answered")
}

/// Somebody who should know did not answer: only if somebody was away, and it must be told.
fn failed(expect: Expect<'_>, seen: &Seen, history: &History, promise: &Promise) -> Ruling {
    if seen.degraded.is_none() {
        return Wrong("LOOKUP_FAILED without its cause");
    }
    if shaken(seen, expect, history, promise) {
        return Excused(LOOKUP_FAILED);
    }
    if promise.hurries { Excused(HURRIED) } else { Wrong("LOOKUP_FAILED while nothing was away") }
}

/// Whether something was away, or had been a moment ago. What is repeated may be of when it was first asked.
fn shaken(seen: &Seen, expect: Expect<'_>, history: &History, promise: &Promise) -> bool {
    let from = match expect {
        Expect::Repeated { let_in, .. } => let_in.first().map_or(seen.asked, |first| first.seen.asked),
        Expect::Shown { first } => first,
        _ => seen.asked,
    };
    let own = Part::Replica(seen.replica);
    let behind: &[Part] = match seen.degraded {
        Some(DegradedCause::Redis) => &[own, Part::Redis],
        Some(DegradedCause::Registry) => &[own, Part::Postgres],
        Some(DegradedCause::Authority) => &[own, Part::Authority],
        _ => &[own, Part::Redis, Part::Postgres, Part::Authority],
    };
    behind.iter().any(|part| history.touched(*part, from, seen.answered, promise.recovered))
        // The verdict may be one that another replica made before it was killed.
        || (0..4).any(|replica| history.touched(Part::Replica(replica), from, seen.answered, Duration::ZERO))
}

fn changing(change: &Change, seen: &Seen, history: &History, promise: &Promise) -> Ruling {
    if seen.answered < change.began {
        return stands(change.before, seen);
    }
    if stands(change.after, seen) == Right {
        return Right;
    }
    if stands(change.before, seen) != Right {
        return Wrong("neither what it was nor what it is");
    }
    if seen.asked < change.done + promise.in_force {
        return Right;
    }
    // It was away when the change was made or later, and has not been back for long.
    let unheard = history
        .of(change.through)
        .filter(|span| span.until.is_none_or(|until| until >= change.began))
        .any(|span| span.touches(seen.asked, seen.answered, promise.recovered + promise.in_force));
    // Until it hears the authority, a replica that was just started believes what others asked for in the last minute.
    let replica = Part::Replica(seen.replica);
    let starting = history.touched(replica, seen.asked, seen.answered, promise.in_force);
    match (change.through, unheard) {
        (Part::Authority, _) if starting => Excused(STARTING),
        (Part::Authority, true) => Excused(STALE_FACTS),
        // Known links are believed for a second more, and never longer in silence.
        (Part::Postgres, true) if seen.degraded.is_some() => Excused(STALE_LINK),
        (Part::Postgres, true) => Wrong("let in by a link that had ended, and nothing said"),
        _ => Wrong("let in by what had ended"),
    }
}

/// A code is used up. It may be let in once more only where nobody can know that: at a replica that has not let it in
/// itself, while Redis is away or has forgotten and was not told again (ADR 14).
fn once_more(let_in: &[LetIn], seen: &Seen, history: &History, promise: &Promise) -> Ruling {
    let none = Duration::ZERO;
    let lived = |replica, from, to| !history.touched(Part::Replica(replica), from, to, none);
    if let_in
        .iter()
        .any(|one| one.seen.replica == seen.replica && lived(seen.replica, one.seen.asked, seen.answered))
    {
        return Wrong("let in twice at one replica");
    }
    // Who is let in without Redis having been asked bears its mark, whatever else is away.
    let by_itself = seen.degraded == Some(DegradedCause::Redis);
    let alone = by_itself && {
        let away = |part| history.touched(part, seen.asked, seen.answered, promise.recovered);
        away(Part::Redis) || away(Part::Replica(seen.replica))
    };
    if alone || !is_known(let_in, seen, history, promise) {
        return Excused(LET_IN_ONCE_MORE);
    }
    if promise.hurries && by_itself {
        return Excused(ALONE);
    }
    Wrong("let in again although Redis knew")
}

/// Whether a replica may have closed a connection between: only one that was ended may.
pub fn may_close(replica: u8, from: Duration, to: Duration, history: &History, promise: &Promise) -> bool {
    history.touched(Part::Replica(replica), from, to, promise.recovered)
}

/// Whether Redis certainly knew that the code was used up.
fn is_known(let_in: &[LetIn], seen: &Seen, history: &History, promise: &Promise) -> bool {
    if history.touched(Part::Redis, seen.asked, seen.answered, Duration::ZERO) {
        return false;
    }
    let Some(since) = history.there_since(Part::Redis, seen.asked) else { return false };
    let_in.iter().any(|LetIn { seen: first }| {
        // It was asked when the code was let in.
        let asked = first.degraded.is_none() && first.asked > since;
        // Or whoever let it in has lived to tell it, once it could.
        let could = since.max(first.answered).max(history.alone[usize::from(first.replica)]);
        let told_by = could + promise.told;
        let lived = !history.touched(Part::Replica(first.replica), first.asked, told_by, Duration::ZERO);
        asked || (lived && seen.asked >= told_by)
    })
}

#[cfg(test)]
#[path = "oracle_tests.rs"]
mod tests;
