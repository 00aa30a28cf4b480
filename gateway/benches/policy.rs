//! What the policy costs: one decision about a tested rider, and about one whose counter is carried over.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use ridegate_gateway::domain::{
    decide::{Evidence, decide},
    facts::{Facts, HealthState, Report, Test, TestResult},
    passage::{Direction, Passage},
    policy::Policy,
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn policy(c: &mut Criterion) {
    let policy = Policy::beijing_2022().unwrap();
    let entry = Passage { direction: Direction::Entry, location: "xizhimen".into() };
    let negative = Test::Reported(Report {
        result: TestResult::Negative,
        sampled_at: Some(at("2022-07-10T10:00:00+08:00")),
        reported_at: at("2022-07-10T20:00:00+08:00"),
    });
    let pending = Test::Pending { sampled_at: Some(at("2022-07-13T18:00:00+08:00")) };
    let facts =
        |tests| Facts { state: HealthState::Green, exempt: false, tests, as_of: Timestamp::UNIX_EPOCH };
    let tested = facts(vec![negative]);
    let carried = facts(vec![negative, pending]);

    let mut group = c.benchmark_group("policy");
    for (name, now, facts) in [
        ("decide", at("2022-07-12T08:00:00+08:00"), &tested),
        ("decide, carried over", at("2022-07-14T08:00:00+08:00"), &carried),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| decide(&policy, now, &entry, Evidence::Facts(black_box(facts))));
        });
    }
    group.finish();
}

criterion_group!(benches, policy);
criterion_main!(benches);
