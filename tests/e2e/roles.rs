//! Who may call what: every role against every RPC, with identities from certificates.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::FileDescriptorSet;
use ridegate_proto::{
    partner::v1::{
        GetLinkRequest, LinkRiderRequest, UnlinkRiderRequest, partner_service_client::PartnerServiceClient,
    },
    validator::v1::{
        CheckRequest, ReportInspectionRequest, validator_service_client::ValidatorServiceClient,
    },
};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt;

use crate::house::{GATE, House, identified};

const RPCS: [&str; 7] =
    ["Check", "CheckStream", "ReportInspection", "LinkRider", "UnlinkRider", "GetLink", "Health"];

/// Calls an RPC with an empty message: whoever may call it is told that a field is missing.
async fn call(channel: Channel, rpc: &str) -> Result<(), Status> {
    let mut validator = ValidatorServiceClient::new(channel.clone());
    let mut partner = PartnerServiceClient::new(channel.clone());
    // What a caller states is not believed: its certificate says who it is.
    let lie = "urn:ridegate:partner:yikatong";
    match rpc {
        "Check" => validator.check(identified(GATE, CheckRequest::default())).await.map(drop),
        "CheckStream" => {
            let taps = identified(GATE, tokio_stream::iter([CheckRequest::default()]));
            validator.check_stream(taps).await?.into_inner().message().await.map(drop)
        }
        "ReportInspection" => {
            validator.report_inspection(identified(GATE, ReportInspectionRequest::default())).await.map(drop)
        }
        "LinkRider" => partner.link_rider(identified(lie, LinkRiderRequest::default())).await.map(drop),
        "UnlinkRider" => partner.unlink_rider(identified(lie, UnlinkRiderRequest::default())).await.map(drop),
        "GetLink" => partner.get_link(identified(lie, GetLinkRequest::default())).await.map(drop),
        "Health" => HealthClient::new(channel).check(HealthCheckRequest::default()).await.map(drop),
        other => panic!("{other}"),
    }
}

/// What a call came to: `let in`, or why not.
fn came_to(answer: Result<(), Status>) -> String {
    match answer {
        Ok(()) => "let in".into(),
        Err(status) if status.code() == Code::InvalidArgument => "let in".into(),
        Err(status) => {
            let expected = [Code::Unauthenticated, Code::PermissionDenied];
            assert!(expected.contains(&status.code()), "{status:?}");
            status.get_details_error_info().unwrap().reason
        }
    }
}

/// The matrix has a column for every call of the contract that is served here.
#[test]
fn no_call_is_left_out() {
    let files = FileDescriptorSet::decode(ridegate_proto::FILE_DESCRIPTOR_SET).unwrap().file;
    let ours = files
        .iter()
        .filter(|file| !["ridegate.authority.v1", "ridegate.resolver.v1"].contains(&file.package()));
    let calls = ours.flat_map(|file| &file.service).flat_map(|service| &service.method);
    let calls: BTreeSet<_> = calls.map(|method| method.name().to_owned()).collect();
    assert_eq!(calls, RPCS.into_iter().filter(|rpc| *rpc != "Health").map(ToOwned::to_owned).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_against_every_call() {
    let house = House::guarded("").await;
    let nobody = house.channel_of_nobody();
    let (ok, role) = ("let in", "WRONG_ROLE");
    let (stranger, unknown) = ("UNKNOWN_IDENTITY", "UNKNOWN_PARTNER");
    let validator = [ok, ok, ok, role, role, role, ok];
    let partner = [role, role, role, ok, ok, ok, ok];
    let neither = [role, role, role, role, role, role, ok];
    for (identity, expect) in [
        (GATE, validator),
        ("urn:ridegate:partner:yikatong", partner),
        ("urn:ridegate:partner:alipay", partner),
        ("urn:ridegate:partner:no-such-partner", [role, role, role, unknown, unknown, unknown, ok]),
        ("urn:ridegate:ticketing:bjsubway:window-1", neither),
        ("urn:ridegate:operator:li.wei", neither),
        ("urn:ridegate:root:me", [stranger, stranger, stranger, stranger, stranger, stranger, ok]),
        ("https://example.cn/gate-1", [stranger, stranger, stranger, stranger, stranger, stranger, ok]),
    ] {
        for (rpc, expect) in RPCS.into_iter().zip(expect) {
            assert_eq!(came_to(call(house.channel_of(identity), rpc).await), expect, "{identity} {rpc}");
        }
    }
    for rpc in RPCS {
        let expect = if rpc == "Health" { ok } else { "NO_IDENTITY" };
        assert_eq!(came_to(call(nobody.clone(), rpc).await), expect, "nobody {rpc}");
    }
}

/// The contract, where it is served at all, is for those who may call something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_is_for_who_has_an_identity() {
    let house = House::guarded_listening("reflection = true\n", "").await;
    let asked = async |channel: Channel| {
        let ask = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut client = ServerReflectionClient::new(channel);
        let answers = client.server_reflection_info(tokio_stream::iter([ask])).await;
        came_to(answers.map(drop))
    };
    for identity in [GATE, "urn:ridegate:partner:alipay", "urn:ridegate:operator:li.wei"] {
        assert_eq!(asked(house.channel_of(identity)).await, "let in", "{identity}");
    }
    assert_eq!(asked(house.channel_of("urn:ridegate:root:me")).await, "UNKNOWN_IDENTITY");
    assert_eq!(asked(house.channel_of_nobody()).await, "NO_IDENTITY");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_two_identities_is_of_nobody() {
    let house = House::guarded("").await;
    let pki = house.pki.as_ref().unwrap();
    let two = pki.stranger("two", &[GATE, "urn:ridegate:partner:yikatong"]).unwrap();
    let channel = house.channel_with(&two);
    for rpc in ["Check", "GetLink"] {
        assert_eq!(came_to(call(channel.clone(), rpc).await), "UNKNOWN_IDENTITY");
    }
    // Names that are not for us may stand beside the one that is.
    let beside = pki.stranger("beside", &["https://example.cn/7", GATE]).unwrap();
    assert_eq!(came_to(call(house.channel_with(&beside), "Check").await), "let in");
}

#[tokio::test]
async fn without_tls_who_states_nothing_is_nobody() {
    let house = House::open().await;
    let mut validator = ValidatorServiceClient::new(house.channel.clone());
    let nobody = validator.check(Request::new(CheckRequest::default())).await.unwrap_err();
    assert_eq!(came_to(Err(nobody)), "NO_IDENTITY");
    for (identity, why) in [("gate-1", "UNKNOWN_IDENTITY"), ("urn:ridegate:operator:me", "WRONG_ROLE")] {
        let refused = validator.check(identified(identity, CheckRequest::default())).await.unwrap_err();
        assert_eq!(came_to(Err(refused)), why);
    }
    assert_eq!(came_to(call(house.channel.clone(), "Check").await), "let in");
}
