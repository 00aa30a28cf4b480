//! A station computer's stream.

use std::collections::HashMap;

use ridegate_proto::validator::v1::{
    CheckRequest, Direction, validator_service_client::ValidatorServiceClient,
};
use ridegate_sim::riders::Rider;
use tonic::Code;
use tonic_types::StatusExt;

use crate::house::{GATE, House, identified, request, said};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_answered_under_its_own_id() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    house.settle(2, Rider::Overdue).await;
    let phones = [house.phone(1), house.phone(2), house.phone(3)];
    let expect = ["ALLOW HEALTH_OK", "INSPECT HEALTH", "INSPECT NOT_LINKED"];
    let taps: Vec<_> = (0..40_u32)
        .flat_map(|turn| phones.iter().enumerate().map(move |(who, phone)| (turn, who, phone)))
        .map(|(turn, who, phone)| {
            let code = phone.code(house.now() - turn).unwrap();
            CheckRequest {
                device_id: format!("gate-{who}-{turn}"),
                ..request(&format!("{who}/{turn}"), code)
            }
        })
        .collect();
    let sent = taps.len();
    let mut client = ValidatorServiceClient::new(house.channel.clone());
    let taps = identified(GATE, tokio_stream::iter(taps));
    let mut answers = client.check_stream(taps).await.unwrap().into_inner();
    let mut told = HashMap::new();
    while let Some(answer) = answers.message().await.unwrap() {
        let who: usize = answer.request_id.split('/').next().unwrap().parse().unwrap();
        assert_eq!(said(&answer), expect[who]);
        assert!(told.insert(answer.request_id, answer.verdict_id).is_none(), "answered twice");
    }
    assert_eq!(told.len(), sent);
}

#[tokio::test]
async fn a_message_that_cannot_be_used_ends_the_stream_after_those_before_it_were_answered() {
    let house = House::open().await;
    let good = |id: &str| request(id, house.fresh(&house.phone(1)));
    let bad = CheckRequest { direction: Direction::Unspecified.into(), ..good("bad") };
    let taps = vec![good("a"), good("b"), good("c"), bad, good("never")];
    let mut client = ValidatorServiceClient::new(house.channel.clone());
    let mut answers =
        client.check_stream(identified(GATE, tokio_stream::iter(taps))).await.unwrap().into_inner();
    let mut told = Vec::new();
    let ended = loop {
        match answers.message().await {
            Ok(Some(answer)) => told.push(answer.request_id),
            Ok(None) => panic!("ended without saying why"),
            Err(status) => break status,
        }
    };
    told.sort();
    assert_eq!(told, ["a", "b", "c"]);
    assert_eq!(ended.code(), Code::InvalidArgument);
    assert_eq!(ended.get_details_bad_request().unwrap().field_violations[0].field, "direction");
}
