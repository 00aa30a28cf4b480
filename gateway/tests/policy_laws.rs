//! What holds for any facts at any instant under `beijing-2022`, checked against a second statement of the rules in
//! whole days; and for each guard a twin without it, which the same law must catch.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

use jiff::Timestamp;
use proptest::{
    collection::vec,
    option,
    prelude::*,
    test_runner::{Config, TestRunner},
};
use ridegate_gateway::domain::{
    decide::{Decision, Evidence, decide},
    facts::{Facts, HealthState, PopupNumber, Report, Test, TestResult},
    passage::{Direction, Passage},
    policy::Policy,
    verdict::Verdict,
};

const DAY: i64 = 86_400;
/// 2022-05-10 and 2022-12-10 in Asia/Shanghai: a week on either side of everything that changes.
const FROM: i64 = 1_652_112_000;
const UNTIL: i64 = 1_670_601_600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Times lie close together and near midnights, where the rules are.
fn instants(around: i64) -> impl Strategy<Value = i64> {
    prop_oneof![
        (around - 6 * DAY)..(around + DAY),
        (-6_i64..2).prop_map(move |days| (around + days * DAY + 28_800).div_euclid(DAY) * DAY - 28_800),
        (-6_i64..2, 0_i64..8)
            .prop_map(move |(days, hour)| (around + days * DAY + 28_800).div_euclid(DAY) * DAY - 28_800
                + hour * 3600),
    ]
}

fn test(around: i64) -> impl Strategy<Value = Test> {
    let result = prop_oneof![4 => Just(Some(TestResult::Negative)), 1 => Just(Some(TestResult::Positive)), 2 => Just(None)];
    (result, option::of(instants(around)), instants(around)).prop_map(|(result, sampled, reported)| {
        let sampled_at = sampled.map(at);
        match result {
            Some(result) => Test::Reported(Report { result, sampled_at, reported_at: at(reported) }),
            None => Test::Pending { sampled_at },
        }
    })
}

fn state(around: i64) -> impl Strategy<Value = HealthState> {
    let popup = (1_u32..6, option::of(instants(around))).prop_map(|(number, raised)| HealthState::Popup {
        number: PopupNumber::new(number).unwrap(),
        raised_at: raised.map(at),
    });
    prop_oneof![4 => Just(HealthState::Green), 1 => Just(HealthState::Yellow), 1 => Just(HealthState::Red), 3 => popup]
}

fn situation() -> impl Strategy<Value = (i64, Facts)> {
    (FROM..UNTIL).prop_flat_map(|now| {
        (Just(now), state(now), prop::bool::weighted(0.1), vec(test(now), 0..4))
            .prop_map(|(now, state, exempt, tests)| (now, Facts { state, exempt, tests, as_of: at(now) }))
    })
}

fn entry() -> Passage {
    Passage { direction: Direction::Entry, location: "xizhimen".into() }
}

fn decided(policy: &Policy, now: i64, facts: &Facts) -> Decision {
    decide(policy, at(now), &entry(), Evidence::Facts(facts))
}

/// The rules again, in whole days since 1970 in UTC+8.
mod oracle {
    use super::*;

    fn day_of(at: Timestamp) -> i64 {
        (at.as_second() + 28_800).div_euclid(DAY)
    }

    fn date(text: &str) -> i64 {
        day_of(format!("{text}T00:00:00+08:00").parse().unwrap())
    }

    fn limit(today: i64) -> Option<i64> {
        match today {
            d if d < date("2022-05-17") || d >= date("2022-12-05") => None,
            d if d < date("2022-06-06") || d >= date("2022-11-24") => Some(2),
            _ => Some(3),
        }
    }

    fn base(report: &Report) -> i64 {
        let reported = day_of(report.reported_at);
        let night = (report.reported_at.as_second() + 28_800).rem_euclid(DAY) < 6 * 3600;
        match report.sampled_at {
            _ if reported < date("2022-07-02") => reported,
            Some(sampled) if sampled <= report.reported_at => day_of(sampled),
            _ => reported - i64::from(night),
        }
    }

    pub fn reason(now: i64, facts: &Facts) -> &'static str {
        let today = day_of(at(now));
        let Some(limit) = limit(today) else { return "NOT_ENFORCED" };
        let reported = facts.tests.iter().filter_map(|test| match test {
            Test::Reported(report) if report.reported_at.as_second() <= now => Some(report),
            _ => None,
        });
        let reports: Vec<&Report> = reported.collect();
        let newest = reports.iter().map(|report| report.reported_at).max();
        let latest: Vec<_> =
            reports.into_iter().filter(|report| Some(report.reported_at) == newest).collect();
        if latest.iter().any(|report| report.result == TestResult::Positive) {
            return "HEALTH_ABNORMAL";
        }
        match facts.state {
            HealthState::Green => {}
            HealthState::Yellow | HealthState::Red => return "HEALTH_ABNORMAL",
            HealthState::Popup { number, raised_at } => {
                let tested_since = raised_at.is_some_and(|raised| newest.is_some_and(|at| at > raised));
                if Some(number) != PopupNumber::new(4) || !tested_since {
                    return "HEALTH_POPUP";
                }
            }
        }
        if facts.exempt {
            return "EXEMPT";
        }
        let Some(day) = latest.iter().map(|report| today - base(report)).max() else { return "TEST_MISSING" };
        let sampled_yesterday =
            |test: &Test| matches!(test, Test::Pending { sampled_at: Some(at) } if day_of(*at) == today - 1);
        let carried = today >= date("2022-07-04") && facts.tests.iter().any(sampled_yesterday);
        if day <= limit || (day == limit + 1 && carried) { "HEALTH_OK" } else { "TEST_OVERDUE" }
    }
}

/// Whether `decides` gives exactly the reason that the rules give, over the same few thousand situations every time.
fn law_allow_only_by_a_rule(decides: impl Fn(&Policy, i64, &Facts) -> &'static str) -> bool {
    let policy = Policy::beijing_2022().unwrap();
    let mut runner = TestRunner::new_with_rng(
        Config { cases: 6_000, max_shrink_iters: 0, failure_persistence: None, ..Config::default() },
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let held = runner.run(&situation(), |(now, facts)| {
        prop_assert_eq!(
            decides(&policy, now, &facts),
            oracle::reason(now, &facts),
            "at {} with {:?}",
            at(now),
            facts
        );
        Ok(())
    });
    if let Err(error) = &held {
        println!("{error}");
    }
    held.is_ok()
}

fn reason(policy: &Policy, now: i64, facts: &Facts) -> &'static str {
    decided(policy, now, facts).verdict.reason()
}

#[test]
fn allow_comes_only_by_a_rule_that_says_so_and_always_then() {
    assert!(law_allow_only_by_a_rule(reason));
}

#[test]
fn the_law_notices_every_guard_that_is_taken_out() {
    assert!(!law_allow_only_by_a_rule(|policy, now, facts| {
        let blind = facts
            .tests
            .iter()
            .filter(|test| !matches!(test, Test::Reported(Report { result: TestResult::Positive, .. })));
        reason(policy, now, &Facts { tests: blind.copied().collect(), ..facts.clone() })
    }));
    assert!(!law_allow_only_by_a_rule(|policy, now, facts| {
        reason(policy, now, &Facts { state: HealthState::Green, ..facts.clone() })
    }));
    assert!(!law_allow_only_by_a_rule(|policy, now, facts| reason(policy, now - DAY, facts)));
    assert!(!law_allow_only_by_a_rule(|policy, now, facts| {
        let undated = facts.tests.iter().map(|test| match test {
            Test::Pending { .. } => Test::Pending { sampled_at: None },
            reported @ Test::Reported(_) => *reported,
        });
        reason(policy, now, &Facts { tests: undated.collect(), ..facts.clone() })
    }));
}

proptest! {
    #![proptest_config(Config { cases: 2_000, failure_persistence: None, ..Config::default() })]

    /// At any instant there is, not only in 2022: one verdict, and ALLOW with exactly the three reasons of ALLOW.
    #[test]
    fn any_facts_at_any_instant_give_exactly_one_verdict((_, facts) in situation(), now in any::<i32>()) {
        let policy = Policy::beijing_2022().unwrap();
        let verdict = decided(&policy, now.into(), &facts).verdict;
        prop_assert_eq!(verdict.reason(), oracle::reason(now.into(), &facts));
        let allows = matches!(verdict.reason(), "HEALTH_OK" | "EXEMPT" | "NOT_ENFORCED");
        prop_assert_eq!(matches!(verdict, Verdict::Allow(_)), allows);
    }

    #[test]
    fn a_verdict_depends_on_facts_instant_and_policy_alone((now, facts) in situation(), location in ".{0,8}", as_of in 0_i64..UNTIL) {
        let policy = Policy::beijing_2022().unwrap();
        let mut same = facts.clone();
        same.tests.reverse();
        same.as_of = at(as_of);
        let boarding = Passage { direction: Direction::Boarding, location };
        let again = decide(&policy, at(now), &boarding, Evidence::Facts(&same));
        prop_assert_eq!(decided(&policy, now, &facts), again);
    }

    #[test]
    fn while_facts_stay_the_same_the_day_counter_never_falls(
        (now, facts) in situation(), steps in vec(1_i64..(2 * DAY), 1..12),
    ) {
        let dated_ahead = facts.tests.iter().any(|test| match test {
            Test::Reported(report) => report.reported_at.max(report.sampled_at.unwrap_or(Timestamp::MIN)) > at(now),
            Test::Pending { sampled_at } => sampled_at.is_some_and(|sampled| sampled > at(now)),
        });
        prop_assume!(!dated_ahead);
        let policy = Policy::beijing_2022().unwrap();
        let (mut now, mut before) = (now, None);
        for step in steps {
            let day = decided(&policy, now, &facts).day;
            if day.is_some() {
                prop_assert!(day >= before, "{:?} after {:?} at {}", day, before, at(now));
                before = day;
            }
            now += step;
        }
    }

    #[test]
    fn on_the_way_out_and_without_a_link_facts_do_not_matter((now, facts) in situation()) {
        let policy = Policy::beijing_2022().unwrap();
        let out = Passage { direction: Direction::Exit, ..entry() };
        prop_assert_eq!(decide(&policy, at(now), &out, Evidence::Facts(&facts)).verdict.reason(), "NOT_ENFORCED");
        if policy.enforced(at(now), &entry()).is_some() {
            let told = |evidence| decide(&policy, at(now), &entry(), evidence).verdict.reason();
            prop_assert_eq!(told(Evidence::NotLinked), "NOT_LINKED");
            prop_assert_eq!(told(Evidence::NoRecord), "NO_RECORD");
            prop_assert_eq!(told(Evidence::Failed), "LOOKUP_FAILED");
            prop_assert_eq!(told(Evidence::NotAsked), "LOOKUP_FAILED");
        }
    }
}
