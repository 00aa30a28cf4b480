//! What operators see: metrics, probes, health, reflection.

use std::{collections::BTreeSet, net::SocketAddr};

use ridegate_proto::validator::v1::{Reason, validator_service_client::ValidatorServiceClient};
use ridegate_sim::{authority::Mood, riders::Rider};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::{Code, Request};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_client::HealthClient},
};

use crate::house::{GATE, House, identified, request, said};

/// GET, over HTTP/1.1: status and body.
pub async fn get(house: &House, path: &str) -> (u16, String) {
    page(&house.operations().to_string(), path).await
}

/// The same of a gateway whose operations are at this address.
pub async fn page(operations: &str, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(operations).await.unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nhost: ridegate\r\nconnection: close\r\n\r\n");
    socket.write_all(ask.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A sample's value; 0 if there is none.
pub async fn metric(house: &House, sample: &str) -> i64 {
    metric_at(house.operations(), sample).await
}

pub async fn metric_at(operations: SocketAddr, sample: &str) -> i64 {
    let (code, page) = page(&operations.to_string(), "/metrics").await;
    assert_eq!(code, 200);
    let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.map_or(0, |value| value.parse().unwrap())
}

/// Waits until a sample is no longer 0: a call is counted when its answer has been sent to its end.
pub async fn counted(house: &House, sample: &str) -> i64 {
    counted_to(house, sample, 1).await
}

/// Waits until a sample has come to a value, at least.
pub async fn counted_to(house: &House, sample: &str, least: i64) -> i64 {
    counted_to_at(house.operations(), sample, least).await
}

pub async fn counted_to_at(operations: SocketAddr, sample: &str, least: i64) -> i64 {
    for _ in 0..1000 {
        let value = metric_at(operations, sample).await;
        if value >= least {
            return value;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{sample} does not come to {least}");
}

pub async fn status(house: &House, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.into() };
    let answer = HealthClient::new(house.channel.clone()).check(request).await;
    answer.map(|answer| serving(answer.into_inner().status)).map_err(|status| status.code())
}

fn serving(status: i32) -> ServingStatus {
    if status == 1 { ServingStatus::Serving } else { ServingStatus::NotServing }
}

/// Asks until it is so; fails after ten seconds.
pub async fn until_status(house: &House, service: &str, expect: ServingStatus) {
    for _ in 0..1000 {
        if status(house, service).await == Ok(expect) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{service} never became {expect:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn liveness_readiness_and_dependencies_are_told_apart() {
    use ServingStatus::{NotServing, Serving};
    let house = House::open().await;
    let services = ["ridegate.validator.v1.ValidatorService", "ridegate.partner.v1.PartnerService"];
    let ready = ["readiness", "", services[0], services[1]];
    until_status(&house, "readiness", Serving).await;
    for service in ready.iter().chain(&["liveness", "dependency/registry", "dependency/authority"]) {
        assert_eq!(status(&house, service).await, Ok(Serving), "{service}");
    }
    assert_eq!(status(&house, "dependency/redis").await, Err(Code::NotFound));

    house.authority.stop();
    until_status(&house, "dependency/authority", NotServing).await;
    for service in ready.iter().chain(&["liveness", "dependency/registry"]) {
        assert_eq!(status(&house, service).await, Ok(Serving), "{service}: degraded, but it answers");
    }
    assert_eq!(metric(&house, "ridegate_dependency_up{dependency=\"authority\"}").await, 0);

    house.take_registry_away().await;
    until_status(&house, "dependency/registry", NotServing).await;
    assert_eq!(status(&house, services[1]).await, Ok(NotServing), "no link can be made");
    assert_eq!(status(&house, services[0]).await, Ok(Serving));
    let (code, page) = get(&house, "/readyz").await;
    assert_eq!((code, page.as_str()), (200, "ready\nregistry: down\nauthority: down\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_authority_it_starts_and_is_not_ready() {
    let house = House::open().await;
    house.authority.stop();
    let mut again = house.reopen().await;
    assert_eq!(status(&again, "readiness").await, Ok(ServingStatus::NotServing));
    assert_eq!(status(&again, "liveness").await, Ok(ServingStatus::Serving));
    assert_eq!(get(&again, "/readyz").await.0, 503);
    assert_eq!(get(&again, "/livez").await, (200, "ok\n".into()));
    // It answers all the same.
    assert_eq!(said(&again.tap(vec![]).await), "INSPECT CODE_UNRECOGNIZED");
    again.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verdicts_are_counted_once_each_under_names_that_are_fixed() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    house.settle(2, Rider::Overdue).await;
    let (healthy, overdue, code) = (house.phone(1), house.phone(2), house.fresh(&house.phone(1)));
    for _ in 0..3 {
        house.tap(house.fresh(&healthy)).await;
    }
    house.tap(house.fresh(&overdue)).await;
    house.tap(b"nobody's".to_vec()).await;
    house.check(GATE, request("first", code.clone())).await.unwrap();
    house.check("urn:ridegate:validator:bjsubway:gate-2", request("other", code)).await.unwrap();
    house.authority.feel(Mood::Failing);
    house.check(GATE, request("", vec![])).await.unwrap_err();

    let verdict = async |partner: &str, verdict: &str, reason: &str| {
        let labels = format!("partner=\"{partner}\",verdict=\"{verdict}\",reason=\"{reason}\"");
        metric(&house, &format!("ridegate_verdicts_total{{{labels}}}")).await
    };
    assert_eq!(verdict("yikatong", "ALLOW", "HEALTH_OK").await, 4);
    assert_eq!(verdict("yikatong", "INSPECT", "TEST_OVERDUE").await, 1);
    assert_eq!(verdict("yikatong", "INSPECT", "CODE_REPLAYED").await, 1);
    assert_eq!(verdict("none", "INSPECT", "CODE_UNRECOGNIZED").await, 1);
    assert_eq!(metric(&house, "ridegate_verdict_duration_seconds_count").await, 7);
    for (stage, count) in [
        ("recognise", 6),
        ("quota", 6),
        ("accept", 6),
        ("turn", 6),
        ("verify", 6),
        ("resolver", 0),
        ("claim", 5),
        ("link", 5),
        ("facts", 5),
        ("policy", 5),
    ] {
        let sample = format!("ridegate_stage_duration_seconds_count{{stage=\"{stage}\"}}");
        assert_eq!(metric(&house, &sample).await, count, "{stage}");
    }
    for (sample, count) in [
        ("ridegate_claims_total{outcome=\"fresh\"}", 5),
        ("ridegate_claims_total{outcome=\"replayed\"}", 1),
        ("ridegate_cache_lookups_total{cache=\"links\",outcome=\"miss\"}", 2),
        ("ridegate_cache_lookups_total{cache=\"links\",outcome=\"hit\"}", 3),
        ("ridegate_cache_lookups_total{cache=\"facts\",outcome=\"miss\"}", 2),
        ("ridegate_cache_lookups_total{cache=\"levels\",outcome=\"hit\"}", 4),
        ("ridegate_cache_lookups_total{cache=\"issuers\",outcome=\"miss\"}", 1),
        ("ridegate_cache_lookups_total{cache=\"issuers\",outcome=\"hit\"}", 1),
        ("ridegate_quota_checks_total{partner=\"yikatong\",budget=\"codes\",outcome=\"admitted\"}", 6),
        ("ridegate_quota_checks_total{partner=\"yikatong\",budget=\"calls\",outcome=\"admitted\"}", 2),
        (
            "ridegate_upstream_duration_seconds_count{upstream=\"authority\",call=\"Lookup\",outcome=\"ok\"}",
            2,
        ),
        ("ridegate_upstream_duration_seconds_count{upstream=\"registry\",call=\"find\",outcome=\"ok\"}", 2),
        ("ridegate_upstream_duration_seconds_count{upstream=\"registry\",call=\"link\",outcome=\"ok\"}", 2),
        ("ridegate_connections{role=\"stated\"}", 1),
    ] {
        assert_eq!(metric(&house, sample).await, count, "{sample}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_behind_is_timed_by_how_it_ended() {
    let house = House::exactly(
        "[verdict]\nbudget = \"10s\"\nwait = \"10s\"\n[registry]\ntimeout = \"5s\"\n",
        "lookup_timeout = \"3s\"",
    )
    .await;
    for account in 1..=4 {
        house.settle(account, Rider::Healthy).await;
    }
    for (account, mood, outcome) in [
        (1, Mood::Confused, "wrong_answer"),
        (2, Mood::Failing, "unavailable"),
        (3, Mood::Stalled, "timed_out"),
    ] {
        house.authority.feel(mood);
        assert_eq!(said(&house.tap(house.fresh(&house.phone(account))).await), "INSPECT LOOKUP_FAILED");
        let labels = format!("upstream=\"authority\",call=\"Lookup\",outcome=\"{outcome}\"");
        assert_eq!(
            counted(&house, &format!("ridegate_upstream_duration_seconds_count{{{labels}}}")).await,
            1
        );
    }
    house.authority.feel(Mood::Well);
    house.take_registry_away().await;
    house.unlink("yikatong", 4).await.unwrap_err();
    let labels = "upstream=\"registry\",call=\"unlink\",outcome=\"unavailable\"";
    assert_eq!(metric(&house, &format!("ridegate_upstream_duration_seconds_count{{{labels}}}")).await, 1);
}

/// A series that is born with its first increase hides it from `rate` and `increase`.
#[tokio::test]
async fn what_has_a_fixed_set_of_names_is_there_from_the_start() {
    let house = House::open().await;
    let (_, page) = get(&house, "/metrics").await;
    let inspect =
        (Reason::NotLinked as i32..=Reason::Overloaded as i32).filter_map(|n| Reason::try_from(n).ok());
    for reason in inspect.filter(|reason| *reason != Reason::Health) {
        let reason = reason.as_str_name().trim_start_matches("REASON_");
        for partner in ["yikatong", "none"] {
            let labels = format!("partner=\"{partner}\",verdict=\"INSPECT\",reason=\"{reason}\"");
            assert!(page.contains(&format!("ridegate_verdicts_total{{{labels}}} 0\n")), "{labels}");
        }
    }
    for sample in [
        "ridegate_certificate_reloads_total{outcome=\"refused\"} 0\n",
        "ridegate_connections_refused_total{cause=\"tls\"} 0\n",
        "ridegate_connections_left_total{cause=\"cut\"} 0\n",
        "ridegate_claims_total{outcome=\"replayed\"} 0\n",
        "ridegate_stage_duration_seconds_count{stage=\"resolver\"} 0\n",
        "ridegate_cache_lookups_total{cache=\"issuers\",outcome=\"miss\"} 0\n",
    ] {
        assert!(page.contains(sample), "{sample}");
    }
}

/// Everything that may stand behind a label, whoever calls and whatever is shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_label_has_a_value_that_a_caller_chose() {
    let house = House::open().await;
    house.settle(7, Rider::Healthy).await;
    house.tap(house.fresh(&house.phone(7))).await;
    house
        .check("urn:ridegate:validator:canary-operator:canary-gate", request("canary", b"canary".to_vec()))
        .await
        .unwrap();
    let mut client = tonic::client::Grpc::new(house.channel.clone());
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
    let canary = "/canary.Service/Canary".parse().unwrap();
    let unknown =
        client.unary(identified(GATE, HealthCheckRequest::default()), canary, codec).await.unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);

    let (_, page) = get(&house, "/metrics").await;
    assert!(page.ends_with("# EOF\n"), "OpenMetrics");
    for canary in ["canary", "0000000007", "subject-of", "code-7", "key-7"] {
        assert!(!page.contains(canary), "{canary} in {page}");
    }
    let labels = page.lines().filter_map(|line| Some(line.split_once('{')?.1.split_once('}')?.0));
    let names: BTreeSet<&str> =
        labels.flat_map(|labels| labels.split(',').map(|label| label.split('=').next().unwrap())).collect();
    let allowed = [
        "budget",
        "cache",
        "call",
        "cause",
        "code",
        "dependency",
        "le",
        "method",
        "outcome",
        "partner",
        "reason",
        "role",
        "service",
        "stage",
        "upstream",
        "verdict",
        "version",
    ];
    assert!(names.iter().all(|name| allowed.contains(name)), "{names:?}");
    assert!(page.contains("service=\"unknown\",method=\"unknown\",code=\"UNIMPLEMENTED\""));
}

#[tokio::test]
async fn who_asks_is_told_how_long_each_stage_took() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let mut tap = identified(GATE, request("timed", house.fresh(&house.phone(1))));
    tap.metadata_mut().insert("x-ridegate-timing", "1".parse().unwrap());
    let mut client = ValidatorServiceClient::new(house.channel.clone());
    let answer = client.check(tap).await.unwrap();
    let told = answer.metadata().get("server-timing").unwrap().to_str().unwrap();
    let stages: Vec<_> = told.split(", ").map(|stage| stage.split_once(";dur=").unwrap()).collect();
    let names: Vec<_> = stages.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        names,
        ["recognise", "quota", "accept", "turn", "verify", "claim", "link", "facts", "policy", "total"]
    );
    let millis: Vec<f64> = stages.iter().map(|(_, took)| took.parse().unwrap()).collect();
    assert!(millis[..9].iter().sum::<f64>() <= millis[9] + 0.01, "{told}");
    assert!(millis[4] > 0.0, "signatures take time: {told}");

    let untimed = client.check(identified(GATE, request("untimed", vec![]))).await.unwrap();
    assert!(untimed.metadata().get("server-timing").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_can_be_watched() {
    let house = House::open().await;
    let request = HealthCheckRequest { service: "dependency/authority".into() };
    let mut told =
        HealthClient::new(house.channel.clone()).watch(Request::new(request)).await.unwrap().into_inner();
    let mut next = async || serving(told.message().await.unwrap().unwrap().status);
    while next().await != ServingStatus::Serving {}
    house.authority.stop();
    while next().await != ServingStatus::NotServing {}
}
