//! Every rule, and for each a wrong answer that it catches.

use super::*;
use crate::history::Span;

const PROMISE: Promise = Promise {
    in_force: Duration::from_secs(1),
    recovered: Duration::from_secs(5),
    told: Duration::from_secs(8),
    hurries: false,
};

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Asked at this second and answered at once, by the first replica.
fn seen(reason: Reason, at: u64) -> Seen {
    Seen { reason, degraded: None, asked: s(at), answered: s(at), replica: 0 }
}

fn by(replica: u8, seen: Seen) -> Seen {
    Seen { replica, ..seen }
}

fn marked(cause: DegradedCause, seen: Seen) -> Seen {
    Seen { degraded: Some(cause), ..seen }
}

fn away(part: Part, from: u64, until: u64) -> Span {
    Span { part, from: s(from), until: Some(s(until)) }
}

#[track_caller]
fn check(expect: Expect<'_>, seen: Seen, spans: &[Span], wanted: Ruling) {
    let ruling = judge(expect, &seen, &History { spans: spans.to_vec(), ..History::default() }, &PROMISE);
    let same = match (wanted, ruling) {
        // Why something is wrong is for people.
        (Wrong(_), Wrong(_)) => true,
        _ => wanted == ruling,
    };
    assert!(same, "{expect:?} {seen:?}: {ruling:?}");
}

const WRONG: Ruling = Wrong("");

#[test]
fn everybody_is_answered_what_is_right_for_them_and_nothing_else() {
    let standings = [
        (Standing::Well, Reason::HealthOk),
        (Standing::Exempt, Reason::Exempt),
        (Standing::Ill, Reason::Health),
        (Standing::NoRecord, Reason::NoRecord),
        (Standing::NotLinked, Reason::NotLinked),
    ];
    for (standing, right) in standings {
        for (_, reason) in standings {
            let wanted = if reason == right { Right } else { WRONG };
            // Also while things are away: nothing but a look-up that failed is an excuse.
            for spans in [&[][..], &[away(Part::Redis, 9, 11)]] {
                check(Expect::Fresh(standing), seen(reason, 10), spans, wanted);
            }
        }
        for reason in [Reason::CodeReplayed, Reason::Throttled, Reason::Overloaded, Reason::NotEnforced] {
            check(Expect::Fresh(standing), seen(reason, 10), &[away(Part::Redis, 9, 11)], WRONG);
        }
    }
}

#[test]
fn codes_that_are_not_genuine_are_told_whatever_is_away() {
    let spans = [away(Part::Redis, 1, 20), away(Part::Authority, 1, 20)];
    for (expect, right) in [
        (Expect::Forged, Reason::CodeUntrusted),
        (Expect::Expired, Reason::CodeExpired),
        (Expect::Out, Reason::NotEnforced),
    ] {
        check(expect, seen(right, 10), &spans, Right);
        check(expect, seen(Reason::HealthOk, 10), &spans, WRONG);
    }
    let lookup = marked(DegradedCause::Authority, seen(Reason::LookupFailed, 10));
    check(Expect::Forged, lookup, &spans, WRONG);
}

#[test]
fn a_look_up_fails_only_while_something_is_away_and_says_so() {
    let well = Expect::Fresh(Standing::Well);
    let lookup = marked(DegradedCause::Authority, seen(Reason::LookupFailed, 10));
    let marks = [
        (Part::Authority, DegradedCause::Authority),
        (Part::Postgres, DegradedCause::Registry),
        (Part::Redis, DegradedCause::Redis),
    ];
    for (named, mark) in marks {
        let lookup = marked(mark, seen(Reason::LookupFailed, 10));
        for part in [named, Part::Replica(0)] {
            check(well, lookup, &[away(part, 9, 11)], Excused(LOOKUP_FAILED));
            check(well, lookup, &[away(part, 3, 5)], Excused(LOOKUP_FAILED));
            check(well, lookup, &[away(part, 3, 4)], WRONG);
            check(well, seen(Reason::LookupFailed, 10), &[away(part, 9, 11)], WRONG);
        }
        for (other, _) in marks.into_iter().filter(|(part, _)| *part != named) {
            check(well, lookup, &[away(other, 9, 11)], WRONG);
        }
    }
    check(well, lookup, &[], WRONG);
    check(well, lookup, &[away(Part::Replica(1), 3, 5)], WRONG);
    // So it is with the mark alone.
    let allowed = marked(DegradedCause::Redis, seen(Reason::HealthOk, 10));
    check(well, allowed, &[away(Part::Redis, 9, 11)], Right);
    check(well, allowed, &[], WRONG);
    let hurried = Promise { hurries: true, ..PROMISE };
    assert_eq!(judge(well, &lookup, &History::default(), &hurried), Excused(HURRIED));
}

#[test]
fn only_a_replica_that_was_ended_closes_connections() {
    let may = |spans: &[Span]| {
        may_close(0, s(10), s(11), &History { spans: spans.to_vec(), ..History::default() }, &PROMISE)
    };
    assert!(may(&[away(Part::Replica(0), 9, 12)]) && may(&[away(Part::Replica(0), 11, 12)]));
    assert!(may(&[away(Part::Replica(0), 3, 5)]), "five seconds ago");
    for other in [away(Part::Replica(0), 3, 4), away(Part::Replica(1), 9, 12), away(Part::Redis, 9, 12)] {
        assert!(!may(&[other]), "{other:?}");
    }
    assert!(!may(&[]));
}

#[test]
fn who_turned_red_is_let_in_no_more_after_a_second() {
    let change = Change {
        before: Standing::Well,
        after: Standing::Ill,
        began: s(10),
        done: s(10),
        through: Part::Authority,
    };
    let expect = Expect::Changing(change);
    check(expect, seen(Reason::Health, 9), &[], WRONG);
    check(expect, seen(Reason::HealthOk, 9), &[], Right);
    for reason in [Reason::HealthOk, Reason::Health] {
        check(expect, seen(reason, 10), &[], Right);
    }
    check(expect, seen(Reason::Health, 11), &[], Right);
    check(expect, seen(Reason::HealthOk, 11), &[], WRONG);
    check(expect, seen(Reason::NotLinked, 11), &[], WRONG);
    // The authority could not tell: it was away then, or was killed since.
    let ok = seen(Reason::HealthOk, 20);
    for (span, wanted) in [
        (away(Part::Authority, 9, 15), Excused(STALE_FACTS)),
        (away(Part::Authority, 12, 21), Excused(STALE_FACTS)),
        (away(Part::Replica(0), 9, 19), Excused(STARTING)),
        (away(Part::Replica(0), 9, 18), WRONG),
        (away(Part::Replica(1), 9, 19), WRONG),
        (away(Part::Authority, 9, 13), WRONG),
        (away(Part::Authority, 3, 8), WRONG),
        (away(Part::Postgres, 9, 21), WRONG),
        (away(Part::Redis, 9, 21), WRONG),
    ] {
        check(expect, ok, &[span], wanted);
    }
}

#[test]
fn who_withdrew_is_let_in_no_more_after_a_second_unless_it_is_said() {
    let change = Change {
        before: Standing::Well,
        after: Standing::NotLinked,
        began: s(10),
        done: s(11),
        through: Part::Postgres,
    };
    let expect = Expect::Changing(change);
    let silent = seen(Reason::HealthOk, 12);
    check(expect, seen(Reason::HealthOk, 11), &[], Right);
    check(expect, silent, &[], WRONG);
    check(expect, seen(Reason::NotLinked, 12), &[], Right);
    let gone = [away(Part::Postgres, 11, 14)];
    check(expect, silent, &gone, WRONG);
    check(expect, marked(DegradedCause::Registry, silent), &gone, Excused(STALE_LINK));
    check(expect, marked(DegradedCause::Registry, silent), &[away(Part::Redis, 11, 14)], WRONG);
}

#[test]
fn a_code_is_used_once() {
    let first = LetIn { seen: by(1, seen(Reason::HealthOk, 10)) };
    let let_in = [first];
    let (copied, retried) = (Expect::Copied(&let_in), Expect::Repeated { let_in: &let_in, named: false });
    check(copied, seen(Reason::CodeReplayed, 20), &[], Right);
    check(Expect::Repeated { let_in: &let_in, named: true }, seen(Reason::HealthOk, 20), &[], Right);
    check(retried, seen(Reason::CodeReplayed, 20), &[], WRONG);
    for expect in [copied, retried] {
        let again = seen(Reason::HealthOk, 20);
        check(expect, again, &[], WRONG);
        check(expect, seen(Reason::Health, 20), &[], WRONG);
        // Where it was let in it is known for good, whatever is away.
        let there = by(1, marked(DegradedCause::Redis, again));
        check(expect, there, &[away(Part::Redis, 12, 22)], WRONG);
        check(
            expect,
            there,
            &[away(Part::Redis, 12, 22), away(Part::Replica(1), 13, 14)],
            Excused(LET_IN_ONCE_MORE),
        );
        // Elsewhere it may not be while Redis is away,
        for mark in [DegradedCause::Redis, DegradedCause::Registry] {
            check(expect, marked(mark, again), &[away(Part::Redis, 12, 22)], Excused(LET_IN_ONCE_MORE));
            check(expect, marked(mark, again), &[away(Part::Postgres, 12, 22)], WRONG);
        }
        // and until it was told again;
        check(expect, again, &[away(Part::Redis, 12, 14)], Excused(LET_IN_ONCE_MORE));
        check(expect, again, &[away(Part::Redis, 11, 12)], WRONG);
        // unless nobody was left who could tell.
        check(
            expect,
            again,
            &[away(Part::Redis, 11, 12), away(Part::Replica(1), 13, 14)],
            Excused(LET_IN_ONCE_MORE),
        );
        check(expect, again, &[away(Part::Replica(1), 13, 14)], WRONG);
    }
}

#[test]
fn who_says_that_redis_is_away_cannot_have_told_it() {
    let let_in = [LetIn { seen: by(1, seen(Reason::HealthOk, 10)) }];
    let away = vec![away(Part::Redis, 11, 12)];
    for (alone, right) in [(0, false), (12, false), (13, true)] {
        let alone = [s(0), s(alone), s(0), s(0)];
        let history = History { spans: away.clone(), alone };
        let ruling = judge(Expect::Copied(&let_in), &seen(Reason::HealthOk, 20), &history, &PROMISE);
        assert_eq!(ruling == Excused(LET_IN_ONCE_MORE), right, "{alone:?}");
    }
}

#[test]
fn on_a_busy_machine_what_was_slow_is_excused_and_what_is_unsafe_is_not() {
    let hurried =
        |expect, seen: Seen| judge(expect, &seen, &History::default(), &Promise { hurries: true, ..PROMISE });
    let let_in = [LetIn { seen: by(1, seen(Reason::HealthOk, 10)) }];
    let copied = Expect::Copied(&let_in);
    let marked = marked(DegradedCause::Redis, seen(Reason::HealthOk, 20));
    assert_eq!(hurried(copied, marked), Excused(ALONE));
    let otherwise = Seen { degraded: Some(DegradedCause::Registry), ..marked };
    assert!(matches!(hurried(copied, otherwise), Wrong(_)), "Redis was asked, and knew");
    assert!(matches!(hurried(copied, seen(Reason::HealthOk, 20)), Wrong(_)), "nothing said");
    assert!(matches!(hurried(copied, by(1, marked)), Wrong(_)), "it knew by itself");
    assert_eq!(hurried(Expect::Out, seen(Reason::Throttled, 20)), Excused(THROTTLED));
    for standing in [Standing::Ill, Standing::NotLinked] {
        assert!(matches!(hurried(Expect::Fresh(standing), marked), Wrong(_)));
    }
}

#[test]
fn a_code_that_was_not_used_up_may_be_shown_again() {
    let expect = Expect::Shown { first: s(10) };
    check(expect, seen(Reason::HealthOk, 20), &[], Right);
    check(expect, seen(Reason::CodeReplayed, 20), &[away(Part::Replica(3), 10, 11)], Excused(STILL_DECIDED));
    check(expect, seen(Reason::CodeReplayed, 20), &[], WRONG);
    check(expect, seen(Reason::NotLinked, 20), &[], WRONG);
}
