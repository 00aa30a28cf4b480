//! Everything that the system puts out, searched for everything that names a rider.

use std::fmt::Write as _;

use base64::{Engine, prelude::BASE64_STANDARD};
use ridegate_proto::{
    partner::v1::{LinkRiderRequest, Medium, MediumKind},
    validator::v1::{CheckRequest, validator_service_client::ValidatorServiceClient},
};
use ridegate_sim::{authority::Mood, riders::Rider};

use crate::{
    frames::{Client, connect},
    house::{GATE, House, digits, identified, link_request, medium, request, said, subject},
    observed::get,
    process::Process,
};

const RIDER: u64 = 31_041_234_567;
const OVERDUE: u64 = 31_047_654_321;
const UNLINKED: u64 = 31_040_102_030;

/// What names a rider, or could: in every form in which it might be printed.
fn canaries(codes: &[Vec<u8>]) -> Vec<String> {
    let mut canaries = vec!["canary".to_owned(), "subject-of".to_owned()];
    for account in [RIDER, OVERDUE, UNLINKED] {
        canaries.extend([
            account.to_string(),
            digits(account),
            subject(account),
            hex::encode(digits(account)),
        ]);
        canaries.extend([format!("code-{account}"), format!("key-{account}")]);
    }
    for code in codes {
        // The account's ten bytes within, and the signature at its end: by these a rider could be found again.
        // Base 64 has the same letters wherever it begins at a third byte.
        let end = code.len() / 3 * 3;
        for part in [&code[138..162], &code[end - 30..end]] {
            canaries.push(hex::encode(part));
            canaries.push(hex::encode_upper(part));
            canaries.push(BASE64_STANDARD.encode(part));
            canaries.push(format!("{part:?}").trim_matches(['[', ']']).to_owned());
            canaries.push(part.escape_ascii().to_string());
        }
    }
    canaries
}

/// A day at the gates, with everything that can go wrong. Returns the codes that were shown, and every error.
async fn live(house: &House) -> (Vec<Vec<u8>>, String) {
    let mut errors = String::new();
    house.settle(RIDER, Rider::Healthy).await;
    house.settle(OVERDUE, Rider::Overdue).await;
    let phones = [RIDER, OVERDUE, UNLINKED].map(|account| house.phone(account));
    let mut codes: Vec<_> = phones.iter().map(|phone| house.fresh(phone)).collect();
    for (code, expect) in codes.iter().zip(["ALLOW HEALTH_OK", "INSPECT HEALTH", "INSPECT NOT_LINKED"]) {
        let answer = house.check(GATE, request("request-canary", code.clone())).await.unwrap();
        assert_eq!(said(&answer), expect);
    }
    let elsewhere = "urn:ridegate:validator:bjsubway:gate-2";
    let answer = house.check(elsewhere, request("r", codes[0].clone())).await.unwrap();
    assert_eq!(said(&answer), "INSPECT CODE_REPLAYED");

    let mut damaged = house.fresh(&phones[0]);
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    for code in [damaged, codes[0][..200].to_vec(), b"canary, of nobody's format".to_vec()] {
        assert!(said(&house.tap(code).await).starts_with("INSPECT CODE_"));
    }
    let long = CheckRequest { location: "canary ".repeat(20), ..request("r", codes[0].clone()) };
    writeln!(errors, "{:?}", house.check(GATE, long).await.unwrap_err()).unwrap();
    let mut stream = ValidatorServiceClient::new(house.channel_of(GATE));
    let taps = vec![request("stream-canary", house.fresh(&phones[0])), CheckRequest::default()];
    let mut answers =
        stream.check_stream(identified(GATE, tokio_stream::iter(taps))).await.unwrap().into_inner();
    assert_eq!(said(&answers.message().await.unwrap().unwrap()), "ALLOW HEALTH_OK");
    writeln!(errors, "{:?}", answers.message().await.unwrap_err()).unwrap();

    let account = "canary".to_owned();
    let bad = LinkRiderRequest { media: vec![Medium { account, ..medium(RIDER) }], ..link_request(RIDER) };
    writeln!(errors, "{:?}", house.link("yikatong", bad).await.unwrap_err()).unwrap();
    let reused = LinkRiderRequest { channel: 2, ..link_request(RIDER) };
    writeln!(errors, "{:?}", house.link("yikatong", reused).await.unwrap_err()).unwrap();
    let nobody = Client::greet_unless_gone(Box::new(connect(house).await)).await;
    drop(nobody);
    house.authority.stop();
    writeln!(errors, "{:?}", house.link("yikatong", link_request(UNLINKED)).await.unwrap_err()).unwrap();
    codes.push(house.fresh(&phones[0]));
    house.tap(codes[3].clone()).await;
    house.take_registry_away().await;
    writeln!(errors, "{:?}", house.unlink("yikatong", RIDER).await.unwrap_err()).unwrap();
    (codes, errors)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_names_a_rider_is_ever_put_out() {
    for format in ["text", "json"] {
        let mut house = House::guarded(&format!("[log]\nformat = \"{format}\"\n")).await;
        house.close().await;
        let process = Process::start_logging("trace", &house.folder.path().join("ridegate.toml"));
        house.move_to(&process).await;
        let (codes, errors) = live(&house).await;
        let pages = get(&house, "/metrics").await.1 + &get(&house, "/readyz").await.1;
        drop(house);
        let (status, log) = process.terminate();
        assert_eq!(status, Some(0));

        assert!(log.contains("a partner's request could not be carried out"), "the twin: it was logged");
        assert!(log.contains("DEBUG"), "down to the last word");
        assert!(pages.contains("ridegate_verdicts_total{partner=\"yikatong\""));
        assert_eq!(errors.lines().count(), 6);
        for canary in canaries(&codes) {
            for (what, out) in [("log", &log), ("pages", &pages), ("errors", &errors)] {
                assert!(!out.contains(&canary), "{canary} in the {what}: {out}");
            }
        }
        if format == "json" {
            let odd = log.lines().find(|line| serde_json::from_str::<serde_json::Value>(line).is_err());
            assert_eq!(odd, None, "every line is JSON");
        }
    }
}

/// Of codes that only their partner can read: nothing of the code, of the account it stands for, or of the card inside.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_code_that_its_partner_reads_is_ever_put_out() {
    let mut house =
        House::with_resolvers("[verdict]\nbudget = \"10s\"\nwait = \"10s\"\n[registry]\ntimeout = \"5s\"\n")
            .await;
    house.close().await;
    let process = Process::start_logging("trace", &house.folder.path().join("ridegate.toml"));
    house.channel = crate::house::connect(&process.endpoint).await;
    house.move_to(&process).await;
    let (account, now) = ("U000000777", house.now());
    house.authority.set(&subject(RIDER), Rider::Healthy.facts(house.clock.now()).unwrap());
    house.authority.authorise(&format!("code-{RIDER}"), &subject(RIDER));
    let media =
        vec![Medium { kind: MediumKind::OnlineCode.into(), issuer: String::new(), account: account.into() }];
    house.link("unionpay", LinkRiderRequest { media: media.clone(), ..link_request(RIDER) }).await.unwrap();
    let bad = vec![Medium { issuer: "canary ".repeat(10), ..media[0].clone() }];
    let error = house.link("unionpay", LinkRiderRequest { media: bad, ..link_request(1) }).await.unwrap_err();
    let phone = house.phone_of("unionpay", account);
    let mut codes = Vec::new();
    for (mood, seconds, expect) in [
        (Mood::Well, [0, 1], "ALLOW HEALTH_OK"),
        (Mood::Failing, [2, 3], "INSPECT LOOKUP_FAILED"),
        (Mood::Confused, [4, 5], "INSPECT LOOKUP_FAILED"),
    ] {
        house.resolvers["unionpay"].feel(mood);
        for ago in seconds {
            codes.push(phone.code(now - ago).unwrap());
            assert_eq!(said(&house.tap(codes.last().unwrap().clone()).await), expect);
        }
    }
    house.resolvers["unionpay"].stop();
    for ago in 6..20 {
        codes.push(phone.code(now - ago).unwrap());
        assert_eq!(said(&house.tap(codes.last().unwrap().clone()).await), "INSPECT LOOKUP_FAILED");
    }
    let pages = get(&house, "/metrics").await.1;
    let (status, log) = process.terminate();
    assert_eq!(status, Some(0));
    assert!(log.contains("a partner's resolver does not answer"), "the twin: it was logged");
    assert!(pages.contains("ridegate_resolver_up{partner=\"unionpay\"} 0"));
    let error = format!("{error:?}");
    // The account, the partner's id of the code, the card's number, and every code as text and as bytes.
    let mut canaries = vec![
        account.to_owned(),
        "777-16552".into(),
        "6200000000000777".into(),
        "canary".into(),
        subject(RIDER),
    ];
    for code in &codes {
        canaries.extend([String::from_utf8(code.clone()).unwrap(), hex::encode(code), format!("{code:?}")]);
    }
    for canary in canaries {
        for (what, out) in [("log", &log), ("pages", &pages), ("error", &error)] {
            assert!(!out.contains(canary.trim_matches(['[', ']'])), "{canary} in the {what}");
        }
    }
}

/// The twin: each form is found where it is.
#[test]
fn canaries_are_found() {
    let code: Vec<u8> = (0..=255).chain(0..=80).collect();
    let printed = [
        format!("{code:?}"),
        hex::encode(&code),
        hex::encode_upper(&code),
        BASE64_STANDARD.encode(&code),
        code.escape_ascii().to_string(),
    ];
    let printed = printed.join(" ");
    let found = canaries(std::slice::from_ref(&code)).into_iter().filter(|canary| printed.contains(canary));
    assert_eq!(found.count(), 2 * 5, "of each of two parts every form");
}
