//! Every case through the front door, with the profiles that ship.

use ridegate_gateway::{app::Settings, clock::Clock, config::ConfigFile, cores::Cores};
use ridegate_proto::validator::v1::validator_service_client::ValidatorServiceClient;
use ridegate_sim::authority::Authority;
use serde_json::Value;

use crate::house::{connect, identified, request, said};

/// What a validator is told of each error.
fn told(error: &str) -> &'static str {
    match error {
        "UNRECOGNIZED" => "INSPECT CODE_UNRECOGNIZED",
        "MALFORMED" => "INSPECT CODE_MALFORMED",
        "UNSUPPORTED_MEDIUM" => "INSPECT MEDIUM_UNSUPPORTED",
        "UNTRUSTED_ISSUER" | "CERTIFICATE_EXPIRED" | "VALIDITY_TOO_LONG" | "BAD_SIGNATURE" => {
            "INSPECT CODE_UNTRUSTED"
        }
        "AUTHORIZATION_EXPIRED" | "NOT_YET_VALID" | "CODE_EXPIRED" => "INSPECT CODE_EXPIRED",
        other => panic!("an error nobody knows: {other}"),
    }
}

#[tokio::test]
async fn every_case_is_told_as_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::start().unwrap();
    let path = folder.path().join("ridegate.toml");
    let config = format!(
        "listen.address = \"127.0.0.1:0\"\nauthority.endpoint = \"{}\"\n[verdict]\nbudget = \"10s\"\nwait = \"10s\"\n[registry]\ntimeout = \"5s\"\n",
        authority.endpoint()
    );
    std::fs::write(&path, config).unwrap();
    let clock: Clock = "2022-06-15T12:00:00+08:00,frozen".parse().unwrap();
    let settings = Settings::new(ConfigFile::load(&path).unwrap(), clock, true).unwrap();
    // As it is served to the world: on threads of its own. One connection lives on the one, the next on the other.
    let gateway = settings.start_on(Cores::start(2).unwrap()).await.unwrap();
    let here = format!("http://{}", gateway.address());
    let mut clients = [connect(&here).await, connect(&here).await].map(ValidatorServiceClient::new);

    let mut checked = 0;
    for file in [
        include_str!("../vectors/mot.json"),
        include_str!("../vectors/alipay.json"),
        include_str!("../vectors/online.json"),
    ] {
        let file: Value = serde_json::from_str(file).unwrap();
        for case in file["cases"].as_array().unwrap() {
            assert_eq!(case["now"], 1_655_265_600);
            let payload = hex::decode(case["payload"].as_str().unwrap()).unwrap();
            let expect = &case["expect"];
            let partner = |what: &str| expect[what]["partner"].as_str();
            let (told, partner) = match expect["error"].as_str() {
                Some(error) => (told(error), None),
                // Only the partner can read it, and nobody listens where the shipped profiles say.
                None if expect["online"].is_object() => ("INSPECT LOOKUP_FAILED", partner("online")),
                // Genuine, and nobody has linked it. INSPECT uses nothing up, so every case finds its code unused.
                None => ("INSPECT NOT_LINKED", partner("code")),
            };
            let gate = format!("urn:ridegate:validator:bjsubway:gate-{checked}");
            let client = &mut clients[checked % 2];
            let answer = client.check(identified(&gate, request("r", payload))).await.unwrap().into_inner();
            assert_eq!(said(&answer), told, "{}", case["name"]);
            assert_eq!(answer.retry_of, "");
            if let Some(partner) = partner {
                assert_eq!(answer.partner, partner, "{}", case["name"]);
            }
            checked += 1;
        }
    }
    assert_eq!(checked, 59 + 31 + 17);
    gateway.stop().await;
}
