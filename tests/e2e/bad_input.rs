//! Bad input gets a verdict, or a status that names the field and never the value.

use proptest::prelude::*;
use ridegate_proto::{
    partner::v1::{
        Consent, LinkRiderRequest, Medium, UnlinkRiderRequest, partner_service_client::PartnerServiceClient,
    },
    validator::v1::{
        CheckRequest, CheckResponse, Direction, InspectionOutcome, ReportInspectionRequest,
        validator_service_client::ValidatorServiceClient,
    },
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::house::{
    GATE, House, ISSUER, alipay_medium, digits, identified, link_request, medium, request, said,
};

#[track_caller]
fn names(status: &Status, field: &str) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    assert!(status.message().starts_with(field), "{}", status.message());
}

#[tokio::test]
async fn a_tap_with_an_unusable_field_is_told_which() {
    let house = House::open().await;
    let good = request("r", vec![0x81]);
    let long = "x".repeat(65);
    for (bad, field) in [
        (CheckRequest { request_id: String::new(), ..good.clone() }, "request_id"),
        (CheckRequest { request_id: long.clone(), ..good.clone() }, "request_id"),
        (CheckRequest { medium: None, ..good.clone() }, "medium"),
        (CheckRequest { direction: Direction::Unspecified.into(), ..good.clone() }, "direction"),
        (CheckRequest { direction: 99, ..good.clone() }, "direction"),
        (CheckRequest { location: long.clone(), ..good.clone() }, "location"),
        (CheckRequest { device_id: long.clone(), ..good.clone() }, "device_id"),
        (request("r", vec![0x81; 4097]), "qr_code"),
        (CheckRequest::default(), "direction"),
    ] {
        let status = house.check(GATE, bad).await.unwrap_err();
        names(&status, field);
        assert!(!status.message().contains("xxx"));
    }
}

#[tokio::test]
async fn bytes_of_every_kind_get_a_verdict() {
    let house = House::open().await;
    let genuine = house.fresh(&house.phone(1));
    for (code, expect) in [
        (vec![], "INSPECT CODE_UNRECOGNIZED"),
        (vec![0; 4096], "INSPECT CODE_UNRECOGNIZED"),
        (vec![0xff; 4096], "INSPECT CODE_MALFORMED"),
        // Text is nobody's code, also where a scanner has made it of one.
        ("乘车码".into(), "INSPECT CODE_UNRECOGNIZED"),
        (b"\xef\xbf\xbd\xef\xbf\xbd".to_vec(), "INSPECT CODE_UNRECOGNIZED"),
        (String::from_utf8_lossy(&genuine).into_owned().into_bytes(), "INSPECT CODE_UNRECOGNIZED"),
        (genuine[..genuine.len() - 1].to_vec(), "INSPECT CODE_MALFORMED"),
        ([genuine.as_slice(), &[0]].concat(), "INSPECT CODE_MALFORMED"),
    ] {
        assert_eq!(said(&house.tap(code).await), expect);
    }
    for ahead in [0, 20] {
        assert_eq!(
            said(&house.tap(house.phone(2).code(house.now() + ahead).unwrap()).await),
            "INSPECT NOT_LINKED"
        );
    }
    for skewed in [house.now() + 21, house.now() - 1201, 0, u32::MAX - 100] {
        assert_eq!(said(&house.tap(house.phone(2).code(skewed).unwrap()).await), "INSPECT CODE_EXPIRED");
    }
    let stranger = house.phone_on(3, "12345678");
    let answer = house.tap(house.fresh(&stranger)).await;
    assert_eq!((said(&answer).as_str(), answer.partner.as_str()), ("INSPECT CODE_UNTRUSTED", ""));
}

#[tokio::test]
async fn when_the_validators_own_clock_is_wrong_the_gateways_decides() {
    let house = House::open().await;
    for seconds in [i64::MIN, -1, 0, i64::MAX] {
        let scanned_at = Some(prost_types::Timestamp { seconds, nanos: -5 });
        let tap =
            CheckRequest { scanned_at, ..request(&format!("r{seconds}"), house.fresh(&house.phone(1))) };
        assert_eq!(said(&house.check(GATE, tap).await.unwrap()), "INSPECT NOT_LINKED");
    }
}

#[test]
fn arbitrary_bytes_through_the_front_door_get_inspect() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let house = runtime.block_on(House::open());
    let config = ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() };
    let start = prop_oneof![Just(vec![]), Just(vec![0x81, 0x01, 0x49, 0x24]), Just(vec![0x80])];
    let strategy = (start, proptest::collection::vec(any::<u8>(), 0..500), 0_i32..6, "\\PC{0,70}");
    proptest::test_runner::TestRunner::new(config)
        .run(&strategy, |(mut code, rest, direction, id)| {
            code.extend(rest);
            let tap = CheckRequest { direction, request_id: id, ..request("", code) };
            match runtime.block_on(house.check(GATE, tap)) {
                Ok(answer) => prop_assert!(said(&answer).starts_with("INSPECT CODE_")),
                Err(status) => prop_assert_eq!(status.code(), Code::InvalidArgument),
            }
            Ok(())
        })
        .unwrap();
}

#[tokio::test]
async fn a_link_with_an_unusable_field_is_told_which_and_never_what() {
    let house = House::open().await;
    let good = link_request(1);
    let consent = |change: fn(&mut Consent)| {
        let mut consent = good.consent.clone().unwrap();
        change(&mut consent);
        LinkRiderRequest { consent: Some(consent), ..good.clone() }
    };
    let media = |change: fn(&mut Medium)| {
        let mut bad = medium(1);
        change(&mut bad);
        LinkRiderRequest { media: vec![medium(2), bad], ..good.clone() }
    };
    for (bad, field) in [
        (LinkRiderRequest { idempotency_key: String::new(), ..good.clone() }, "idempotency_key"),
        (LinkRiderRequest { idempotency_key: "x".repeat(65), ..good.clone() }, "idempotency_key"),
        (LinkRiderRequest { authorization_code: String::new(), ..good.clone() }, "authorization_code"),
        (LinkRiderRequest { authorization_code: "x".repeat(257), ..good.clone() }, "authorization_code"),
        (LinkRiderRequest { channel: 0, ..good.clone() }, "channel"),
        (LinkRiderRequest { channel: 77, ..good.clone() }, "channel"),
        (LinkRiderRequest { media: vec![], ..good.clone() }, "media"),
        (LinkRiderRequest { media: (1..=9).map(medium).collect(), ..good.clone() }, "media"),
        (LinkRiderRequest { media: vec![medium(1), medium(1)], ..good.clone() }, "media[1]"),
        (LinkRiderRequest { consent: None, ..good.clone() }, "consent"),
        (consent(|consent| consent.wording_version.clear()), "consent.wording_version"),
        // PostgreSQL takes no such text, and a terminal obeys it.
        (consent(|consent| consent.wording_version.push('\0')), "consent.wording_version"),
        (consent(|consent| consent.purpose.push('\u{1b}')), "consent.purpose"),
        (consent(|consent| consent.purpose = "x".repeat(129)), "consent.purpose"),
        (consent(|consent| consent.granted_at = None), "consent.granted_at"),
        (consent(|consent| consent.granted_at.as_mut().unwrap().seconds += 301), "consent.granted_at"),
        (consent(|consent| consent.granted_at.as_mut().unwrap().nanos = -5), "consent.granted_at"),
        (consent(|consent| consent.granted_at.as_mut().unwrap().nanos = 1_000_000_000), "consent.granted_at"),
        (consent(|consent| consent.granted_at.as_mut().unwrap().seconds = i64::MAX), "consent.granted_at"),
        (media(|medium| medium.kind = 0), "media[1].kind"),
        (media(|medium| medium.issuer = "9999000x".into()), "media[1].issuer"),
        (media(|medium| medium.issuer = "00000000".into()), "media[1].issuer"),
        (media(|medium| medium.account.truncate(19)), "media[1].account"),
        (media(|medium| medium.account = "3104123456789012345x".into()), "media[1].account"),
        (media(|medium| medium.account = "٣١٠٤١٢٣٤٥٦".into()), "media[1].account"),
    ] {
        let status = house.link("yikatong", bad).await.unwrap_err();
        names(&status, field);
        for value in ["3104", "xxx", &digits(1), ISSUER, "9999000x"] {
            assert!(!format!("{status:?}").contains(value), "{status:?}");
        }
    }
    assert!(!house.is_linked("yikatong", 1).await.unwrap());
    let alipay = |change: fn(&mut Medium)| {
        let mut bad = alipay_medium(1);
        change(&mut bad);
        LinkRiderRequest { media: vec![alipay_medium(2), bad], ..good.clone() }
    };
    let cases = [
        ("yikatong", alipay(|_| {}), "media[0].kind"),
        ("alipay", alipay(|medium| medium.issuer = ISSUER.into()), "media[1].issuer"),
        ("alipay", alipay(|medium| medium.account.truncate(15)), "media[1].account"),
        ("alipay", alipay(|medium| medium.account.push('1')), "media[1].account"),
        ("alipay", alipay(|medium| medium.account = "支付宝支付2".into()), "media[1].account"),
        ("alipay", alipay(|medium| medium.account = alipay_medium(2).account), "media[1]"),
        ("tianjin-metro", LinkRiderRequest { media: vec![medium(1)], ..good.clone() }, "media[0].issuer"),
    ];
    for (partner, bad, field) in cases {
        let status = house.link(partner, bad).await.unwrap_err();
        names(&status, field);
        for value in ["2088", ISSUER, "支付"] {
            assert!(!format!("{status:?}").contains(value), "{status:?}");
        }
    }
    let mut client = PartnerServiceClient::new(house.channel.clone());
    let nothing = identified("urn:ridegate:partner:yikatong", UnlinkRiderRequest { medium: None });
    names(&client.unlink_rider(nothing).await.unwrap_err(), "medium");
}

/// A `CheckRequest` whose text fields hold any bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct RawRequest {
    #[prost(bytes = "vec", tag = "1")]
    request_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    location: Vec<u8>,
    /// A varint where a submessage belongs.
    #[prost(uint32, tag = "6")]
    scanned_at: u32,
}

#[tokio::test]
async fn a_message_that_cannot_be_decoded_is_the_callers_fault_and_names_the_field() {
    let house = House::open().await;
    let garbled = b"canary-\xff\xfe".to_vec();
    let good = RawRequest { request_id: b"r".to_vec(), location: vec![], scanned_at: 0 };
    for (bad, field) in [
        (RawRequest { request_id: garbled.clone(), ..good.clone() }, "request_id"),
        (RawRequest { location: garbled, ..good.clone() }, "location"),
        (RawRequest { scanned_at: 7, ..good }, "message"),
    ] {
        let codec = || tonic_prost::ProstCodec::<RawRequest, CheckResponse>::default();
        let mut client = tonic::client::Grpc::new(house.channel.clone());
        client.ready().await.unwrap();
        let path = "/ridegate.validator.v1.ValidatorService/Check".parse().unwrap();
        let status = client.unary(identified(GATE, bad.clone()), path, codec()).await.unwrap_err();
        names(&status, field);
        assert!(!format!("{status:?}").contains("canary"));

        let path = "/ridegate.validator.v1.ValidatorService/CheckStream".parse().unwrap();
        let stream = identified(GATE, tokio_stream::iter([bad]));
        client.ready().await.unwrap();
        let mut answers = client.streaming(stream, path, codec()).await.unwrap().into_inner();
        names(&answers.message().await.unwrap_err(), field);
    }
}

#[tokio::test]
async fn an_inspection_report_must_name_an_answer_and_say_what_was_decided() {
    let house = House::open().await;
    let answer = house.tap(vec![]).await;
    let mut client = ValidatorServiceClient::new(house.channel.clone());
    let mut send = async |verdict_id: &str, outcome: i32| {
        client
            .report_inspection(identified(
                GATE,
                ReportInspectionRequest { verdict_id: verdict_id.into(), outcome },
            ))
            .await
    };
    let passed = InspectionOutcome::Passed.into();
    for id in ["", "x", "00000000-0000-0000-0000-000000000000"] {
        names(&send(id, passed).await.unwrap_err(), "verdict_id");
    }
    names(&send(&answer.verdict_id, 0).await.unwrap_err(), "outcome");
    assert_eq!(house.inspections(), [0, 0, 0]);
    send(&answer.verdict_id, passed).await.unwrap();
    send(&answer.verdict_id, InspectionOutcome::Left.into()).await.unwrap();
    assert_eq!(house.inspections(), [1, 0, 1]);
}
