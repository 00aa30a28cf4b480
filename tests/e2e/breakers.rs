//! Nobody waits at a gate for somebody who is known not to answer.

use ridegate_proto::validator::v1::DegradedCause;
use ridegate_sim::{authority::Mood, riders::Rider};

use crate::{
    failures::degraded,
    house::{House, rename, said},
    observed::metric,
};

const FAILED: &str = "INSPECT LOOKUP_FAILED";
/// More than open a breaker.
const ENOUGH: u64 = 12;

fn skipped(upstream: &str) -> String {
    format!("ridegate_upstream_skipped_total{{upstream=\"{upstream}\"}}")
}

fn open(upstream: &str) -> String {
    format!("ridegate_upstream_breaker_open{{upstream=\"{upstream}\"}}")
}

/// Riders whom nobody has asked for yet, until one is let through: each is answered, as a failure of this.
async fn until_let_through(house: &House, from: u64, cause: DegradedCause) {
    for rider in from..from + 2_000 {
        house.settle(rider, Rider::Healthy).await;
        let answer = house.tap(house.fresh(&house.phone(rider))).await;
        if said(&answer) == "ALLOW HEALTH_OK" && answer.degraded.is_none() {
            return;
        }
        assert_eq!((said(&answer).as_str(), degraded(&answer)), (FAILED, Some(cause)));
    }
    panic!("it stays open");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_does_not_answer_is_asked_now_and_then_and_found_when_it_does() {
    let house =
        House::exactly("[verdict]\nbudget = \"10s\"\nwait = \"10s\"\n[registry]\ntimeout = \"5s\"\n", "")
            .await;
    for rider in 1..=ENOUGH {
        house.settle(rider, Rider::Healthy).await;
    }
    house.authority.feel(Mood::Stalled);
    for rider in 1..=ENOUGH {
        let answer = house.tap(house.fresh(&house.phone(rider))).await;
        assert_eq!((said(&answer).as_str(), degraded(&answer)), (FAILED, Some(DegradedCause::Authority)));
    }
    assert!(metric(&house, &skipped("authority")).await > 0, "most of them were not waited for");
    assert_eq!(metric(&house, &open("authority")).await, 1);
    house.authority.feel(Mood::Well);
    until_let_through(&house, ENOUGH + 1, DegradedCause::Authority).await;
    assert_eq!(metric(&house, &open("authority")).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_that_does_not_answer_is_asked_now_and_then_and_found_when_it_does() {
    let house = House::open().await;
    for rider in 1..=ENOUGH {
        house.settle(rider, Rider::Healthy).await;
    }
    rename(&house, "link", "away").await;
    for rider in 1..=ENOUGH {
        let answer = house.tap(house.fresh(&house.phone(rider))).await;
        assert_eq!((said(&answer).as_str(), degraded(&answer)), (FAILED, Some(DegradedCause::Registry)));
    }
    assert!(metric(&house, &skipped("registry")).await > 0, "most of them were not asked for");
    rename(&house, "away", "link").await;
    until_let_through(&house, ENOUGH + 1, DegradedCause::Registry).await;
    assert_eq!(metric(&house, &open("registry")).await, 0);
}
