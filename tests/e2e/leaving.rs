//! Taking leave: SIGTERM says so first, finishes what runs, closes what is idle, and cuts at the bound.

use std::{net::SocketAddr, time::Duration};

use ridegate_proto::{
    partner::v1::partner_service_client::PartnerServiceClient,
    validator::v1::validator_service_client::ValidatorServiceClient,
};
use ridegate_sim::{authority::Mood, riders::Rider};
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

use crate::{
    frames::{Client, GOAWAY, SETTINGS, USUAL, connect, secure, tls_client},
    house::{GATE, House, as_partner, identified, link_request, partner_identity, request, said, wait_until},
    process::Process,
};

/// Longer than any test runs.
const NEVER_CUT: &str = "drain = \"10m\"\n";
const LONG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_so_first_and_verdicts_go_on_meanwhile() {
    let mut house = House::listening("notice = \"4s\"\n", "").await;
    let watch = HealthCheckRequest { service: "readiness".into() };
    let mut health =
        HealthClient::new(house.channel.clone()).watch(Request::new(watch)).await.unwrap().into_inner();
    while health.message().await.unwrap().unwrap().status != 1 {}
    let mut client = ValidatorServiceClient::new(house.channel.clone());
    let address = house.address();
    let closing = tokio::spawn(async move { house.close().await });
    assert_eq!(health.message().await.unwrap().unwrap().status, 2, "NOT_SERVING");
    let answer = client.check(identified(GATE, request("r", vec![]))).await.unwrap().into_inner();
    assert_eq!(said(&answer), "INSPECT CODE_UNRECOGNIZED");
    assert!(TcpStream::connect(address).await.is_ok(), "still open");
    closing.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_runs_is_finished_and_nobody_new_is_let_in() {
    let mut house = House::listening(NEVER_CUT, "").await;
    house.settle(1, Rider::Healthy).await;
    house.authority.feel(Mood::Stalled);
    let tap = identified(GATE, request("slow", house.fresh(&house.phone(1))));
    let mut client = ValidatorServiceClient::new(house.channel.clone());
    let slow = tokio::spawn(async move { client.check(tap).await });
    house.authority_is_asked().await;
    let (address, authority) = (house.address(), house.authority.clone());
    let mut closing = tokio::spawn(async move { house.close().await });
    until_refused(address).await;
    // Longer than it waits for a connection on which nothing runs.
    assert!(timeout(Duration::from_millis(1500), &mut closing).await.is_err(), "it waits for what runs");
    assert!(!slow.is_finished());
    authority.feel(Mood::Well);
    let answer = timeout(LONG, slow).await.unwrap().unwrap().unwrap().into_inner();
    assert_eq!(said(&answer), "ALLOW HEALTH_OK");
    timeout(LONG, closing).await.expect("and then for nothing").unwrap();
}

/// A client that is connected and says nothing, not even that it may be closed, is not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_clients_are_not_waited_for() {
    let mut house = House::guarded_listening(NEVER_CUT, "").await;
    let files = house.pki.as_ref().unwrap().caller("silent", GATE).unwrap();
    let stream = secure(&tls_client(&house, &files, USUAL), connect(&house).await).await.unwrap();
    let mut greeted = Client::greet(Box::new(stream)).await;
    assert!(greeted.until(SETTINGS).await.is_some());
    let half = connect(&house).await;
    let mut idle = house.channel_of(GATE);
    let _warm = HealthClient::new(&mut idle).check(HealthCheckRequest::default()).await;
    let watch = HealthCheckRequest { service: "readiness".into() };
    let _watching = HealthClient::new(idle.clone()).watch(Request::new(watch)).await.unwrap();
    timeout(LONG, house.close()).await.expect("none of them is waited for");
    let seen = greeted.read_to_end().await;
    assert!(seen.iter().any(|frame| frame.kind == GOAWAY && frame.code() == 0), "asked in order: {seen:?}");
    drop(half);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_answered_to_its_last_message_and_told_to_connect_again() {
    let mut house = House::listening(NEVER_CUT, "").await;
    house.settle(1, Rider::Healthy).await;
    house.authority.feel(Mood::Stalled);
    let (taps, outgoing) = mpsc::channel(8);
    let mut client = ValidatorServiceClient::new(house.channel.clone());
    let stream = identified(GATE, ReceiverStream::new(outgoing));
    let mut answers = client.check_stream(stream).await.unwrap().into_inner();
    taps.send(request("answered", house.fresh(&house.phone(1)))).await.unwrap();
    house.authority_is_asked().await;
    let (address, authority) = (house.address(), house.authority.clone());
    let closing = tokio::spawn(async move { house.close().await });
    until_refused(address).await;
    authority.feel(Mood::Well);
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!((answer.request_id.as_str(), said(&answer).as_str()), ("answered", "ALLOW HEALTH_OK"));
    let ended = answers.message().await.unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable);
    assert_eq!(ended.get_details_error_info().unwrap().reason, "LEAVING");
    assert!(ended.get_details_retry_info().unwrap().retry_delay.is_some());
    timeout(LONG, closing).await.expect("the stream is over").unwrap();
}

/// Nobody is let in any more.
async fn until_refused(address: SocketAddr) {
    for _ in 0..1000 {
        if TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{address} is still open");
}

/// From its first line on a gateway that is told to stop takes its leave; it is never just killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_at_any_moment_of_the_start_is_heard() {
    let mut house = House::open().await;
    house.close().await;
    let config = house.folder.path().join("ridegate.toml");
    for word in ["INSECURE", "metrics and probes", "serving"] {
        for _ in 0..5 {
            let (status, log) = Process::terminate_at(word, &config);
            assert_eq!(status, Some(0), "at {word:?}: {log}");
            assert!(log.contains("stopped"), "{log}");
        }
    }
}

/// Who says it twice does not want to wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_stops_at_once() {
    let mut house = House::open().await;
    house.close().await;
    let config = house.folder.path().join("ridegate.toml");
    let patient = std::fs::read_to_string(&config).unwrap().replace("notice = \"0s\"", "notice = \"10m\"");
    std::fs::write(&config, patient).unwrap();
    let process = Process::start(&config);
    let (status, log) = process.terminate_twice();
    assert_eq!(status, Some(1), "{log}");
    assert!(log.contains("told to stop twice"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_end_is_cut_at_the_bound() {
    let mut house = House::listening("drain = \"200ms\"\n", "[limits]\ncall = \"10m\"\n").await;
    house.authority.feel(Mood::Stalled);
    let mut client = PartnerServiceClient::new(house.channel_of(&partner_identity("yikatong")));
    let call = tokio::spawn(async move { client.link_rider(as_partner("yikatong", link_request(1))).await });
    let asked = house.authority.clone();
    wait_until(|| asked.exchanges() > 0).await;
    timeout(LONG, house.close()).await.expect("cut");
    let cut = timeout(LONG, call).await.unwrap().unwrap().unwrap_err();
    assert!(cut.get_details_error_info().is_none(), "not an answer of the gateway's: {cut:?}");
}
