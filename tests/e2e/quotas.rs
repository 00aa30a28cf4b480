//! A flood on one partner costs the others nothing.

use std::time::Duration;

use ridegate_sim::riders::Rider;
use tonic::Code;
use tonic_types::StatusExt;

use crate::house::{House, request, said};

#[tokio::test]
async fn calls_over_quota_are_told_when_to_come_again() {
    let house = House::with("[quota]\ncalls_per_second = 1\ncalls_burst = 3\n").await;
    let mut refused = None;
    for _ in 0..50 {
        if let Err(status) = house.is_linked("yikatong", 1).await {
            refused = Some(status);
            break;
        }
    }
    let refused = refused.expect("fifty calls at once of a quota of three");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    assert_eq!(refused.get_details_quota_failure().unwrap().violations[0].subject, "partner:yikatong");
    assert_eq!(refused.get_details_error_info().unwrap().reason, "OVER_QUOTA");
    let trailer = |name| refused.metadata().get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!(
        [trailer("ratelimit-limit"), trailer("ratelimit-remaining"), trailer("ratelimit-reset")],
        ["3", "0", "1"]
    );
    assert!(!house.is_linked("beijing-bus", 1).await.unwrap(), "another partner's quota is its own");
}

#[tokio::test]
async fn codes_over_budget_are_throttled_before_any_signature_and_take_no_claim() {
    let house = House::with("[quota]\ncodes_per_second = 1\ncodes_burst = 2\n").await;
    house.settle(1, Rider::Healthy).await;
    let mut forged = house.fresh(&house.phone(1));
    *forged.last_mut().unwrap() ^= 1;
    let mut told = Vec::new();
    for _ in 0..200 {
        let answer = house.tap(forged.clone()).await;
        told.push(said(&answer));
        assert_eq!(answer.partner, "yikatong");
        if told.last().unwrap() == "INSPECT THROTTLED" {
            break;
        }
    }
    assert_eq!(
        told.first().unwrap(),
        "INSPECT CODE_UNTRUSTED",
        "with budget left the signature was looked at"
    );
    assert_eq!(told.last().unwrap(), "INSPECT THROTTLED", "without, it was not");
    let mut genuine = house.fresh(&house.phone(1));
    while said(&house.tap(genuine.clone()).await) != "INSPECT THROTTLED" {
        genuine = house.fresh(&house.phone(1));
    }
    let other = house.tap(house.fresh(&house.phone_on(2, "99990002"))).await;
    assert_eq!(said(&other), "INSPECT NOT_LINKED", "another partner's budget is its own");

    // Budget comes back by itself, and the throttled showing left no claim: another gate is the first.
    let elsewhere = "urn:ridegate:validator:bjsubway:gate-2";
    let mut told = String::new();
    for turn in 0..500 {
        told = said(&house.check(elsewhere, request(&format!("r{turn}"), genuine.clone())).await.unwrap());
        if told != "INSPECT THROTTLED" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(told, "ALLOW HEALTH_OK");
}
