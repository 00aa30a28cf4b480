//! When something behind the gateway is away, or there is too much to do.

use std::{pin::pin, time::Duration};

use prost::Message;
use ridegate_proto::{
    partner::v1::LinkResult,
    validator::v1::{
        CheckResponse, Degraded, DegradedCause, validator_service_client::ValidatorServiceClient,
    },
};
use ridegate_sim::{authority::Mood, riders::Rider};
use tokio::time::timeout;
use tonic::Code;
use tonic_types::StatusExt;

use crate::frames::{
    Client, DATA, END_HEADERS, END_STREAM, HEADERS, connect, frame, headers, headers_of, message,
};
use crate::house::{GATE, House, identified, link_request, rename, request, said};
use crate::observed::counted;

/// Waits longer for the authority than any test looks.
const PATIENT: &str = "[verdict]\nbudget = \"10s\"\nwait = \"10s\"\n[registry]\ntimeout = \"5s\"\n";

pub fn degraded(answer: &CheckResponse) -> Option<DegradedCause> {
    answer.degraded.as_ref().map(Degraded::cause)
}

#[tokio::test]
async fn without_the_registry_known_links_serve_and_unknown_ones_are_a_failed_look_up() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    house.settle(2, Rider::Healthy).await;
    let (known, unknown) = (house.phone(1), house.phone(2));
    assert_eq!(said(&house.tap(house.fresh(&known)).await), "ALLOW HEALTH_OK");

    rename(&house, "link", "away").await;
    assert_eq!(said(&house.tap(house.fresh(&known)).await), "ALLOW HEALTH_OK");
    let failed = house.tap(house.fresh(&unknown)).await;
    assert_eq!(said(&failed), "INSPECT LOOKUP_FAILED", "never NOT_LINKED: nobody knows");
    assert_eq!(degraded(&failed), Some(DegradedCause::Registry));

    let refused = house.unlink("yikatong", 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "REGISTRY_UNAVAILABLE");
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    assert_eq!(house.is_linked("yikatong", 1).await.unwrap_err().code(), Code::Unavailable);

    rename(&house, "away", "link").await;
    assert_eq!(said(&house.tap(house.fresh(&unknown)).await), "ALLOW HEALTH_OK", "back by itself");
    assert!(house.is_linked("yikatong", 1).await.unwrap(), "what was acknowledged is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_on_top_is_told_overloaded_and_takes_no_claim() {
    let config = "[verdict]\nbudget = \"10s\"\nwait = \"10s\"\nin_flight = 1\n[registry]\ntimeout = \"5s\"\n";
    let house = House::exactly(config, "lookup_timeout = \"10s\"").await;
    house.settle(1, Rider::Healthy).await;
    house.settle(2, Rider::Healthy).await;
    house.authority.feel(Mood::Stalled);
    let (first, second) = (house.fresh(&house.phone(1)), house.fresh(&house.phone(2)));
    let slow = house.tap(first);
    let on_top = async {
        house.authority_is_asked().await;
        let answer = house.check(GATE, request("on-top", second.clone())).await.unwrap();
        house.authority.feel(Mood::Well);
        answer
    };
    let (slow, on_top) = tokio::join!(slow, on_top);
    assert_eq!(said(&on_top), "INSPECT OVERLOADED");
    assert_eq!(said(&slow), "ALLOW HEALTH_OK");
    let elsewhere =
        house.check("urn:ridegate:validator:bjsubway:gate-2", request("later", second)).await.unwrap();
    assert_eq!(said(&elsewhere), "ALLOW HEALTH_OK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_undecided_leaves_the_code_unused() {
    let house = House::exactly(PATIENT, "lookup_timeout = \"10s\"").await;
    house.settle(1, Rider::Healthy).await;
    house.authority.feel(Mood::Stalled);
    let code = house.fresh(&house.phone(1));
    tokio::select! {
        _ = house.check(GATE, request("gone", code.clone())) => panic!("nobody answers yet"),
        () = house.authority_is_asked() => {}
    }
    until_unused(&house, code).await;
}

#[tokio::test]
async fn a_failure_between_exchange_and_link_loses_nothing() {
    let house = House::open().await;
    house.authority.authorise("code-1", "subject-of-1");
    rename(&house, "link", "away").await;
    let failed = house.link("yikatong", link_request(1)).await.unwrap_err();
    assert_eq!(failed.code(), Code::Unavailable);
    rename(&house, "away", "link").await;
    // The authorization code was used by the first attempt; under the same key it stands for the same rider again.
    assert_eq!(house.link("yikatong", link_request(1)).await.unwrap().result(), LinkResult::Linked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taps_of_a_stream_that_is_gone_leave_their_codes_unused() {
    let house = House::exactly(PATIENT, "lookup_timeout = \"10s\"").await;
    house.settle(1, Rider::Healthy).await;
    house.authority.feel(Mood::Stalled);
    let code = house.fresh(&house.phone(1));
    let mut client = ValidatorServiceClient::new(house.channel.clone());
    let taps = identified(GATE, tokio_stream::iter([request("gone", code.clone())]));
    let answers = client.check_stream(taps).await.unwrap();
    house.authority_is_asked().await;
    drop(answers);
    until_unused(&house, code).await;
}

/// Shows a code at another gate, while the authority answers nobody, until it is fresh there; then lets it be decided.
async fn until_unused(house: &House, code: Vec<u8>) {
    for turn in 0..500 {
        let again = request(&format!("again-{turn}"), code.clone());
        let mut showing = pin!(house.check("urn:ridegate:validator:bjsubway:gate-2", again));
        let Ok(answer) = timeout(Duration::from_secs(3), &mut showing).await else {
            house.authority.feel(Mood::Well);
            assert_eq!(said(&showing.await.unwrap()), "ALLOW HEALTH_OK");
            return;
        };
        // The gateway has not noticed yet that the first caller is gone.
        assert_eq!(said(&answer.unwrap()), "INSPECT CODE_REPLAYED");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the code was never given back");
}

/// A reader's link that lost a packet: how long its message was on the way is not taken out of the verdict's time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_comes_late_has_all_of_a_verdicts_time() {
    let budget = Duration::from_secs(3);
    let config = "[verdict]\nbudget = \"3s\"\nwait = \"10s\"\n[registry]\ntimeout = \"2900ms\"\n";
    let house = House::exactly(config, "lookup_timeout = \"2900ms\"").await;
    house.settle(1, Rider::Healthy).await;
    let mut client = Client::greet(Box::new(connect(&house).await)).await;
    client.send(&frame(HEADERS, END_HEADERS, 1, &headers(&[("x-ridegate-identity", GATE)]))).await;
    tokio::time::sleep(budget + budget / 2).await;
    let tap = message(&request("late", house.fresh(&house.phone(1))));
    client.send(&frame(DATA, END_STREAM, 1, &tap)).await;
    let answer = timeout(Duration::from_secs(30), client.until(DATA)).await.unwrap().unwrap();
    let answer = CheckResponse::decode(&answer.payload[5..]).unwrap();
    assert_eq!(said(&answer), "ALLOW HEALTH_OK", "the registry and the authority were asked");
}

/// The caller's own deadline, kept by the gateway: what it began stops, and nothing is half done. (The usual client has
/// a clock of its own, and would not wait to be told.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_cannot_be_answered_in_time_ends_in_deadline_exceeded() {
    let house = House::open().await;
    house.authority.authorise("code-1", "subject-of-1");
    house.authority.feel(Mood::Stalled);
    let mut client = Client::greet(Box::new(connect(&house).await)).await;
    let who = ("x-ridegate-identity", "urn:ridegate:partner:yikatong");
    let call = headers_of("/ridegate.partner.v1.PartnerService/LinkRider", &[who, ("grpc-timeout", "2000m")]);
    client.send(&frame(HEADERS, END_HEADERS, 1, &call)).await;
    client.send(&frame(DATA, END_STREAM, 1, &message(&link_request(1)))).await;
    let answer = timeout(Duration::from_secs(30), client.until(HEADERS)).await.unwrap().unwrap();
    assert_eq!(answer.flags & END_STREAM, END_STREAM, "a status and no message");
    let code = "ridegate_grpc_handled_total{service=\"ridegate.partner.v1.PartnerService\",method=\"LinkRider\",code=\"DEADLINE_EXCEEDED\"}";
    assert_eq!(counted(&house, code).await, 1);
    assert_eq!(house.authority.exchanges(), 1, "it had begun");
    house.authority.feel(Mood::Well);
    assert!(!house.is_linked("yikatong", 1).await.unwrap());
    assert_eq!(house.link("yikatong", link_request(1)).await.unwrap().result(), LinkResult::Linked);
}

/// A verdict's budget is the caller's deadline less the way back: there is always something to show.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tap_is_answered_inside_its_callers_deadline() {
    let house = House::exactly(
        "[verdict]\nbudget = \"10s\"\nwait = \"10s\"\nreply_margin = \"8s\"\n[limits]\ncall = \"60s\"\n[registry]\ntimeout = \"5s\"\n",
        "lookup_timeout = \"10s\"",
    )
    .await;
    house.settle(1, Rider::Healthy).await;
    // The link is known from here on: only the authority is asked below.
    house.authority.feel(Mood::Failing);
    let missing = |answer: &CheckResponse| degraded(answer) == Some(DegradedCause::Authority);
    house.tap_until(&house.phone(1), missing).await;
    house.authority.feel(Mood::Stalled);
    let mut tap = identified(GATE, request("r", house.fresh(&house.phone(1))));
    tap.metadata_mut().insert("grpc-timeout", "8500m".parse().unwrap());
    let mut client = ValidatorServiceClient::new(house.channel.clone());
    let answer = client.check(tap).await.unwrap().into_inner();
    assert_eq!(said(&answer), "INSPECT LOOKUP_FAILED");
    assert_eq!(degraded(&answer), Some(DegradedCause::Authority));
}
