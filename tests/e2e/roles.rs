//! Who may call what: every role against every RPC, with identities from certificates.

use prost::Message;
use prost_types::FileDescriptorSet;
use ridegate_proto::validator::v1::{CheckRequest, validator_service_client::ValidatorServiceClient};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt;

use crate::{
    house::{GATE, House, identified},
    tickets::WINDOW,
};

const CHECK: &str = "/ridegate.validator.v1.ValidatorService/Check";
/// Calls for those partners alone whose profile issues cards.
const OF_CARD_COMPANIES: [&str; 5] =
    ["BatchLink", "GetBatch", "ReportLost", "ReportReissued", "ReportReturned"];

/// Every call of the contract that is served here: its service's audience and its path.
fn calls() -> Vec<(String, String)> {
    let files = FileDescriptorSet::decode(ridegate_proto::FILE_DESCRIPTOR_SET).unwrap().file;
    let mut calls = Vec::new();
    for file in &files {
        let audience = file.package().split('.').nth(1).unwrap();
        for service in file.service.iter().filter(|_| !["authority", "resolver"].contains(&audience)) {
            let path = |method: &str| format!("/{}.{}/{method}", file.package(), service.name());
            calls.extend(service.method.iter().map(|method| (audience.to_owned(), path(method.name()))));
        }
    }
    calls
}

/// Calls an RPC with an empty message: whoever may call it is told that a field is missing. On the wire all kinds of calls
/// are alike, and an empty message is every kind's.
async fn call(channel: Channel, path: &str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    // What a caller states is not believed: its certificate says who it is.
    let lie = if path.contains("partner") { "urn:ridegate:partner:yikatong" } else { GATE };
    let lie = if path.contains("ticketing") { WINDOW } else { lie };
    let message = identified(lie, tokio_stream::iter([()]));
    let answers = client.streaming(message, path.parse().unwrap(), ProstCodec::<(), ()>::default()).await;
    answers?.into_inner().message().await.map(drop)
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_role_against_every_call() {
    let house = House::guarded("").await;
    let nobody = house.channel_of_nobody();
    let calls = calls();
    assert_eq!(calls.len(), 18, "every call that is served, and no other");
    let health = async |channel: Channel| {
        came_to(HealthClient::new(channel).check(HealthCheckRequest::default()).await.map(drop))
    };
    let (role, stranger) = ("WRONG_ROLE", "UNKNOWN_IDENTITY");
    for (identity, may, comes_to, otherwise) in [
        (GATE, "validator", "let in", role),
        ("urn:ridegate:partner:yikatong", "partner", "let in", role),
        ("urn:ridegate:partner:alipay", "partner", "let in", role),
        ("urn:ridegate:partner:no-such-partner", "partner", "UNKNOWN_PARTNER", role),
        (WINDOW, "ticketing", "let in", role),
        ("urn:ridegate:operator:li.wei", "operator", "let in", role),
        ("urn:ridegate:root:me", "", "", stranger),
        ("https://example.cn/gate-1", "", "", stranger),
    ] {
        for (audience, path) in &calls {
            let is_companys = OF_CARD_COMPANIES.iter().any(|call| path.ends_with(&format!("/{call}")));
            let expect = match audience == may {
                true if is_companys && identity.ends_with(":alipay") => "NOT_A_CARD_COMPANY",
                true => comes_to,
                false => otherwise,
            };
            assert_eq!(came_to(call(house.channel_of(identity), path).await), expect, "{identity} {path}");
        }
        assert_eq!(health(house.channel_of(identity)).await, "let in", "{identity}");
    }
    for (_, path) in &calls {
        assert_eq!(came_to(call(nobody.clone(), path).await), "NO_IDENTITY", "nobody {path}");
    }
    assert_eq!(health(nobody).await, "let in", "nobody");
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
    for path in [CHECK, "/ridegate.partner.v1.PartnerService/GetLink"] {
        assert_eq!(came_to(call(channel.clone(), path).await), "UNKNOWN_IDENTITY");
    }
    // Names that are not for us may stand beside the one that is.
    let beside = pki.stranger("beside", &["https://example.cn/7", GATE]).unwrap();
    assert_eq!(came_to(call(house.channel_with(&beside), CHECK).await), "let in");
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
    assert_eq!(came_to(call(house.channel.clone(), CHECK).await), "let in");
}
