//! A flood on one partner costs the others nothing.

use std::time::Duration;

use ridegate_proto::partner::v1::{GetQuotaRequest, partner_service_client::PartnerServiceClient};
use ridegate_sim::riders::Rider;
use tonic::Code;
use tonic_types::StatusExt;

use crate::house::{House, as_partner, request, said};

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

/// Without Redis a gateway counts alone, and says so.
#[tokio::test]
async fn a_partner_is_told_how_its_budgets_stand() {
    let house = House::with(
        "[quota]\ncalls_per_second = 1\ncalls_burst = 50\ncodes_per_second = 1\ncodes_burst = 9\n",
    )
    .await;
    let mut client = PartnerServiceClient::new(house.channel.clone());
    let mut told = async || {
        let told = client.get_quota(as_partner("yikatong", GetQuotaRequest {})).await.unwrap().into_inner();
        assert!(!told.whole_fleet && told.replicas == 1, "{told:?}");
        (told.codes.unwrap(), told.calls.unwrap())
    };
    let (codes, calls) = told().await;
    assert_eq!((codes.per_second, codes.burst, codes.remaining), (1, 9, 9));
    assert_eq!((calls.per_second, calls.burst), (1, 50));
    assert!(calls.remaining < 50, "it counts as a call");
    house.tap(house.fresh(&house.phone(1))).await;
    let (codes, _) = told().await;
    assert!(codes.remaining <= 9, "a code was shown, and perhaps came in again");
    for _ in 0..100 {
        house.tap(house.fresh(&house.phone(1))).await;
    }
    assert!(told().await.0.remaining < 9, "a hundred codes");
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
