//! Fresh, retry, double read, replay; only ALLOW uses a code up.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use jiff::SignedDuration;
use ridegate_proto::validator::v1::{CheckRequest, Direction};
use ridegate_sim::{authority::Mood, riders::Rider};

use crate::house::{GATE, House, request, said};

const OTHER_GATE: &str = "urn:ridegate:validator:bjsubway:gate-2";

#[tokio::test]
async fn a_retry_gets_the_same_verdict_and_names_the_first() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let code = house.fresh(&house.phone(1));
    let first = house.check(GATE, request("r", code.clone())).await.unwrap();
    assert_eq!((said(&first).as_str(), first.retry_of.as_str()), ("ALLOW HEALTH_OK", ""));

    house.clock.advance(SignedDuration::from_secs(8));
    let again = house.check(GATE, request("r", code)).await.unwrap();
    assert_eq!(said(&again), "ALLOW HEALTH_OK");
    assert_eq!(again.retry_of, first.verdict_id);
    assert_ne!(again.verdict_id, first.verdict_id);
}

#[tokio::test]
async fn a_reader_that_reads_twice_gets_the_same_verdict_for_three_seconds() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let code = house.fresh(&house.phone(1));
    let first = house.check(GATE, request("a", code.clone())).await.unwrap();
    house.clock.advance(SignedDuration::from_secs(3));
    let twice = house.check(GATE, request("b", code.clone())).await.unwrap();
    assert_eq!((said(&twice).as_str(), &twice.retry_of), ("ALLOW HEALTH_OK", &first.verdict_id));
    house.clock.advance(SignedDuration::from_millis(1));
    let late = house.check(GATE, request("c", code)).await.unwrap();
    assert_eq!((said(&late).as_str(), late.retry_of.as_str()), ("INSPECT CODE_REPLAYED", ""));
}

#[tokio::test]
async fn a_used_code_is_refused_elsewhere_even_with_its_uncovered_byte_changed() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let mut code = house.fresh(&house.phone(1));
    assert_eq!(said(&house.check(GATE, request("a", code.clone())).await.unwrap()), "ALLOW HEALTH_OK");
    let flag = code.len() - 65;
    code[flag] ^= 0xff;
    let elsewhere = house.check(OTHER_GATE, request("a", code)).await.unwrap();
    assert_eq!(said(&elsewhere), "INSPECT CODE_REPLAYED");
    assert_eq!(elsewhere.partner, "yikatong");
}

#[tokio::test]
async fn one_gate_of_a_station_computer_is_another_device() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let code = house.fresh(&house.phone(1));
    let at = |gate: &str| CheckRequest { device_id: gate.into(), ..request("a", code.clone()) };
    assert_eq!(said(&house.check(GATE, at("7")).await.unwrap()), "ALLOW HEALTH_OK");
    assert_eq!(said(&house.check(GATE, at("8")).await.unwrap()), "INSPECT CODE_REPLAYED");
}

#[tokio::test]
async fn the_way_in_does_not_use_up_the_way_out() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let code = house.fresh(&house.phone(1));
    assert_eq!(said(&house.check(GATE, request("a", code.clone())).await.unwrap()), "ALLOW HEALTH_OK");
    let out = |id: &str| CheckRequest { direction: Direction::Exit.into(), ..request(id, code.clone()) };
    assert_eq!(said(&house.check(OTHER_GATE, out("b")).await.unwrap()), "ALLOW NOT_ENFORCED");
    assert_eq!(said(&house.check(GATE, out("c")).await.unwrap()), "INSPECT CODE_REPLAYED");
}

#[tokio::test]
async fn only_allow_uses_a_code_up() {
    let house = House::open().await;
    house.settle(1, Rider::Overdue).await;
    let phone = house.phone(1);
    let code = house.fresh(&phone);
    assert_eq!(said(&house.check(GATE, request("a", code.clone())).await.unwrap()), "INSPECT HEALTH");
    let elsewhere = house.check(OTHER_GATE, request("b", code.clone())).await.unwrap();
    assert_eq!((said(&elsewhere).as_str(), elsewhere.retry_of.as_str()), ("INSPECT HEALTH", ""));

    house.authority.set("subject-of-1", Rider::Healthy.facts(house.clock.now()).unwrap());
    house.tap_until(&phone, |answer| said(answer) == "ALLOW HEALTH_OK").await;
    house.clock.advance(SignedDuration::from_secs(4));
    assert_eq!(said(&house.check(GATE, request("c", code.clone())).await.unwrap()), "ALLOW HEALTH_OK");
    assert_eq!(said(&house.check(OTHER_GATE, request("d", code)).await.unwrap()), "INSPECT CODE_REPLAYED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_fifty_gates_at_once_one_is_fresh() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let code = house.fresh(&house.phone(1));
    let gates = (0..50).map(|gate| {
        let (house, code) = (&house, code.clone());
        async move {
            house
                .check(&format!("urn:ridegate:validator:bjsubway:g{gate}"), request("r", code))
                .await
                .unwrap()
        }
    });
    let said: Vec<_> = join_all(gates).await.iter().map(said).collect();
    assert_eq!(said.iter().filter(|said| *said == "ALLOW HEALTH_OK").count(), 1);
    assert_eq!(said.iter().filter(|said| *said == "INSPECT CODE_REPLAYED").count(), 49);
}

#[tokio::test]
async fn a_code_that_fails_takes_no_claim() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let code = house.fresh(&house.phone(1));
    let mut damaged = code.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(
        said(&house.check(OTHER_GATE, request("a", damaged)).await.unwrap()),
        "INSPECT CODE_UNTRUSTED"
    );
    assert_eq!(said(&house.check(GATE, request("b", code)).await.unwrap()), "ALLOW HEALTH_OK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_is_decided_while_the_first_caller_goes_away_still_uses_the_code_up() {
    let house = Arc::new(House::open().await);
    house.settle(1, Rider::Healthy).await;
    house.authority.feel(Mood::Stalled);
    let code = house.fresh(&house.phone(1));
    let show = || {
        let (house, tap) = (Arc::clone(&house), request("r", code.clone()));
        tokio::spawn(async move { house.check(GATE, tap).await.unwrap() })
    };
    let first = show();
    house.authority_is_asked().await;
    let retry = show();
    // Time for the retry to join, and for the gateway to notice that the first is gone; too little of it hides the
    // danger but fails nothing.
    tokio::time::sleep(Duration::from_millis(200)).await;
    first.abort();
    tokio::time::sleep(Duration::from_millis(200)).await;
    house.authority.feel(Mood::Well);
    let retry = retry.await.unwrap();
    assert_eq!(said(&retry), "ALLOW HEALTH_OK");
    assert_eq!(said(&house.check(OTHER_GATE, request("r", code)).await.unwrap()), "INSPECT CODE_REPLAYED");
}
