//! Partners come, change and go while the gateway runs: one file, no release.

use std::{fs, path::PathBuf};

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use ridegate_proto::{
    partner::v1::{LinkResult, LinkRiderRequest, Medium},
    validator::v1::CheckResponse,
};
use ridegate_sim::{
    issuing::{Key, Root, Terms},
    resolver::Resolver,
    riders::Rider,
    trust::Shows,
};
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    house::{GATE, House, PARTNER, digits, link_request, medium, request, said, subject},
    observed::{counted_to, metric},
    process::{Process, ridegate, text},
};

const TAKEN: &str = "ridegate_partner_reloads_total{outcome=\"taken\"}";
const REFUSED: &str = "ridegate_partner_reloads_total{outcome=\"refused\"}";

/// A twelfth city, certified by an issuer that the roots know already.
const TWELFTH: &str = r#"
    id = "suzhou-metro"
    name = { zh = "苏州轨道交通", en = "Suzhou Metro" }
    city = "Suzhou"
    kind = "metro"
    test = true
    [[mot]]
    platform = "99993205"
    issuer = "99990001"
    account_types = [1]
    [prompts]
    not_linked = { zh = "请在苏e行中授权", en = "Please link in the Suzhou app" }
"#;

fn profile(house: &House, partner: &str) -> PathBuf {
    house.folder.path().join("profiles").join(format!("{partner}.toml"))
}

/// Writes a profile as operators should: whole, under its name, at once.
fn write(house: &House, partner: &str, text: &str) {
    let unfinished = profile(house, partner).with_extension("new");
    fs::write(&unfinished, text).unwrap();
    fs::rename(&unfinished, profile(house, partner)).unwrap();
}

fn prompt(answer: &CheckResponse) -> (&str, &str) {
    let prompt = answer.prompt.as_ref().unwrap();
    (&prompt.zh, &prompt.en)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_twelfth_city_is_one_file_in_a_running_gateway() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let phone = house.phone_on(7, "99993205");
    assert_eq!(
        said(&house.tap(house.fresh(&phone)).await),
        "INSPECT CODE_UNTRUSTED",
        "nobody's platform yet"
    );
    let request = || {
        house.authority.set(&subject(7), Rider::Healthy.facts(house.clock.now()).unwrap());
        house.authority.authorise("code-7", &subject(7));
        link_request(7)
    };
    let unknown = house.link("suzhou-metro", request()).await.unwrap_err();
    assert_eq!(unknown.get_details_error_info().unwrap().reason, "UNKNOWN_PARTNER");

    write(&house, "suzhou-metro", TWELFTH);
    counted_to(&house, TAKEN, 1).await;
    let answer = house.tap(house.fresh(&phone)).await;
    assert_eq!((said(&answer).as_str(), answer.partner.as_str()), ("INSPECT NOT_LINKED", "suzhou-metro"));
    assert_eq!(prompt(&answer), ("请在苏e行中授权", "Please link in the Suzhou app"), "in its own words");
    assert_eq!(house.link("suzhou-metro", request()).await.unwrap().result(), LinkResult::Linked);
    assert_eq!(said(&house.tap(house.fresh(&phone)).await), "ALLOW HEALTH_OK");
    // Nobody else noticed.
    let yikatong = house.tap(house.fresh(&house.phone(8))).await;
    assert_eq!(prompt(&yikatong).0, "未查询到健康码信息，请您尽快授权升级");
    assert_eq!(said(&house.tap(house.fresh(&house.phone(1))).await), "ALLOW HEALTH_OK");

    fs::remove_file(profile(&house, "suzhou-metro")).unwrap();
    counted_to(&house, TAKEN, 2).await;
    assert_eq!(said(&house.tap(house.fresh(&phone)).await), "INSPECT CODE_UNTRUSTED", "gone again");
    let gone = house.is_linked("suzhou-metro", 7).await.unwrap_err();
    assert_eq!(gone.code(), Code::PermissionDenied);
    assert_eq!(metric(&house, REFUSED).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_cannot_be_used_leaves_everything_as_it_was() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let phone = house.phone(1);
    let mut refused = 0;
    for bad in [
        TWELFTH.replace("city", "citty"),
        TWELFTH.replace("99993205", "999932"),
        // Somebody else's.
        TWELFTH.replace("99993205", "99990001"),
        TWELFTH.replace("suzhou-metro", "yikatong"),
        "half a fi".into(),
    ] {
        refused += 1;
        write(&house, "suzhou-metro", &bad);
        counted_to(&house, REFUSED, refused).await;
        assert_eq!(said(&house.tap(house.fresh(&phone)).await), "ALLOW HEALTH_OK");
    }
    let trust = house.folder.path().join("mot-trust.toml");
    let good = fs::read_to_string(&trust).unwrap();
    fs::remove_file(&trust).unwrap();
    counted_to(&house, REFUSED, refused + 1).await;
    assert_eq!(said(&house.tap(house.fresh(&phone)).await), "ALLOW HEALTH_OK");
    assert_eq!(metric(&house, TAKEN).await, 0);

    fs::write(&trust, good).unwrap();
    write(&house, "suzhou-metro", TWELFTH);
    counted_to(&house, TAKEN, 1).await;
    let twelfth = house.tap(house.fresh(&house.phone_on(7, "99993205"))).await;
    assert_eq!(twelfth.partner, "suzhou-metro");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_revoked_counts_no_more() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let phone = house.phone(1);
    assert_eq!(said(&house.tap(house.fresh(&phone)).await), "ALLOW HEALTH_OK");
    let trust = house.folder.path().join("mot-trust.toml");
    let text = fs::read_to_string(&trust).unwrap() + "[[revoked]]\nissuer = \"99990001\"\nserial = 1\n";
    fs::write(&trust, text).unwrap();
    counted_to(&house, TAKEN, 1).await;
    assert_eq!(
        said(&house.tap(house.fresh(&phone)).await),
        "INSPECT CODE_UNTRUSTED",
        "levels remembered or not"
    );
    let new = house.tap(house.fresh(&house.phone(2))).await;
    assert_eq!(said(&new), "INSPECT CODE_UNTRUSTED", "its issuer remembered or not");
}

/// What was remembered under a root goes with it, also where another has its index.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_that_is_replaced_vouches_for_nothing_its_successor_does_not() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let phone = house.phone(1);
    assert_eq!(said(&house.tap(house.fresh(&phone)).await), "ALLOW HEALTH_OK");
    // The city's root has the index 7.
    let other = Root::new(Key::generate(&mut ChaCha20Rng::seed_from_u64(2)).unwrap(), 7).record().unwrap();
    let trust = format!("test = true\n[[root]]\nrecord = \"{other}\"\n");
    fs::write(house.folder.path().join("mot-trust.toml"), trust).unwrap();
    counted_to(&house, TAKEN, 1).await;
    // One whose authorization was remembered, and a new one of an issuer that was.
    for phone in [phone, house.phone(2)] {
        assert_eq!(said(&house.tap(house.fresh(&phone)).await), "INSPECT CODE_UNTRUSTED");
    }
}

/// What a partner may still spend is not given anew when somebody else's file changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_another_partner_fills_up_nobodys_budget() {
    let house = House::with("[quota]\ncalls_per_second = 1\ncalls_burst = 200\n").await;
    let spend = async || {
        let mut spent = 0;
        while house.is_linked(PARTNER, 1).await.is_ok() {
            spent += 1;
        }
        spent
    };
    assert!(spend().await >= 200);
    write(&house, "suzhou-metro", TWELFTH);
    counted_to(&house, TAKEN, 1).await;
    let back = spend().await;
    assert!(back < 100, "a second gives one call back, a new budget two hundred: {back}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_that_must_be_asked_comes_and_moves_while_the_gateway_runs() {
    let house =
        House::with_resolvers("[verdict]\nbudget = \"10s\"\nwait = \"10s\"\n[registry]\ntimeout = \"5s\"\n")
            .await;
    let Shows::Online(book) = house.trust().partner("yitongxing").unwrap() else {
        panic!("it must be asked")
    };
    let phone = house.phone_of("yitongxing", "U000000001");
    assert_eq!(said(&house.tap(phone.code(house.now()).unwrap()).await), "INSPECT NOT_LINKED");
    house.resolvers["yitongxing"].stop();
    assert_eq!(said(&house.tap(phone.code(house.now() - 1).unwrap()).await), "INSPECT LOOKUP_FAILED");

    let elsewhere = Resolver::start(book.clone(), house.clock.clone()).unwrap();
    let text = fs::read_to_string(profile(&house, "yitongxing")).unwrap();
    let moved = text.replace(&house.resolvers["yitongxing"].endpoint(), &elsewhere.endpoint());
    assert_ne!(text, moved);
    write(&house, "yitongxing", &moved);
    counted_to(&house, TAKEN, 1).await;
    assert_eq!(said(&house.tap(phone.code(house.now() - 2).unwrap()).await), "INSPECT NOT_LINKED");
    assert_eq!(elsewhere.asked(), 1);
    assert_eq!(house.resolvers["unionpay"].asked(), 0);
}

/// Certificates that come after the profile that names them, and change without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_profiles_name_are_followed_too() {
    let house = House::guarded("").await;
    let pki = house.pki.as_ref().unwrap();
    pki.caller("gateway", "urn:ridegate:operator:gateway").unwrap();
    let text = fs::read_to_string(profile(&house, "yitongxing")).unwrap();
    let (text, _nobody) = text.split_once("[resolver]").unwrap();
    let named = "endpoint = \"https://127.0.0.1:1\"\nca = \"later/ca.pem\"\n";
    write(&house, "yitongxing", &format!("{text}[resolver]\n{named}"));
    counted_to(&house, REFUSED, 1).await;
    let folder = house.folder.path().join("profiles/later");
    fs::create_dir(&folder).unwrap();
    fs::copy(pki.ca(), folder.join("ca.pem")).unwrap();
    counted_to(&house, TAKEN, 1).await;
    let end = "ridegate_certificate_expiry_timestamp_seconds{certificate=\"resolver_ca/yitongxing\"}";
    assert!(metric(&house, end).await > 0);

    fs::write(folder.join("ca.pem"), "no certificate").unwrap();
    counted_to(&house, REFUSED, 2).await;
    fs::copy(pki.ca(), folder.join("ca.pem")).unwrap();
    counted_to(&house, TAKEN, 2).await;

    // Of who is gone nothing is shown.
    let up = "ridegate_resolver_up{partner=\"yitongxing\"}";
    assert_eq!(metric(&house, up).await, 1);
    fs::remove_file(profile(&house, "yitongxing")).unwrap();
    counted_to(&house, TAKEN, 3).await;
    assert_eq!((metric(&house, up).await, metric(&house, end).await), (0, 0));
    // What an editor leaves beside an open file is no profile.
    fs::write(profile(&house, ".yitongxing"), "half a fi").unwrap();
    write(&house, "suzhou-metro", TWELFTH);
    counted_to(&house, TAKEN, 4).await;
}

/// Test keys are for one's own machine, also when they come later.
#[test]
fn a_profile_with_test_keys_is_refused_at_the_start_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("ridegate.toml");
    fs::create_dir(folder.path().join("profiles")).unwrap();
    fs::write(folder.path().join("mot-trust.toml"), "").unwrap();
    let write = |resolver: &str, test: &str| {
        let profile = format!(
            "id = \"x\"\nname = {{ zh = \"某\", en = \"X\" }}\ncity = \"X\"\nkind = \"metro\"\n{test}\n\
             [[opaque]]\nbegins = \"X1:\"\n[resolver]\n{resolver}\n"
        );
        fs::write(folder.path().join("profiles/x.toml"), profile).unwrap();
        let text = "[authority]\nendpoint = \"http://127.0.0.1:1\"\n[partners]\nprofiles = \"profiles\"\nmot_trust = \"mot-trust.toml\"\n";
        fs::write(&config, text).unwrap();
    };
    let refused = |resolver: &str, test: &str| {
        write(resolver, test);
        let done = ridegate().args(["check-config", "--config"]).arg(&config).output().unwrap();
        assert_eq!(done.status.code(), Some(64));
        text(&done.stderr)
    };
    let local = "endpoint = \"http://127.0.0.1:9\"";
    assert!(refused(local, "test = true").contains("partners.profiles: holds test keys"));
    for (resolver, why) in [
        (
            "endpoint = \"127.0.0.1:9\"",
            "x.toml: resolver.endpoint: expected https://host:port or http://host:port",
        ),
        (
            "endpoint = \"http://resolver.example:9\"",
            "x.toml: resolver.endpoint: must be https:// where it is not on this machine",
        ),
        (
            "endpoint = \"https://resolver.example:9\"",
            "x.toml: resolver.ca: must be given with an https:// endpoint",
        ),
        ("endpoint = \"https://resolver.example:9\"\nca = \"no.pem\"", "x.toml: resolver.ca: cannot be read"),
        (
            "endpoint = \"http://127.0.0.1:9\"\nca = \"no.pem\"",
            "x.toml: resolver.endpoint: must be https:// where ca, certificate or key are given",
        ),
        ("endpoint = \"https://resolver.example:9\"\nca = \"x.toml\"", "x.toml: resolver.ca: "),
        (
            "endpoint = \"http://127.0.0.1:9\"\ntimeout = \"1m\"",
            "x.toml:10: expected a duration from 1ms to 10s",
        ),
    ] {
        let said = refused(resolver, "");
        assert!(said.contains(why), "{resolver}: {said}");
    }
}

/// Whom a gateway in a process of its own follows too, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_partners_is_in_the_log() {
    let mut house = House::open().await;
    house.close().await;
    let process = Process::start(&house.folder.path().join("ridegate.toml"));
    house.move_to(&process).await;
    write(&house, "suzhou-metro", &TWELFTH.replace("99993205", "99990001"));
    counted_to(&house, REFUSED, 1).await;
    write(&house, "suzhou-metro", TWELFTH);
    counted_to(&house, TAKEN, 1).await;
    let (status, log) = process.terminate();
    assert_eq!(status, Some(0));
    let refused = log.lines().find(|line| line.contains("the last good ones stay")).unwrap();
    assert!(
        refused.contains("suzhou-metro and yikatong both claim MOT platform 99990001 with issuer 99990001"),
        "{refused}"
    );
    assert!(log.lines().any(|line| line.contains("partners were reloaded partners=12")), "{log}");
}

/// A medium of each kind, for who reads this first.
#[tokio::test]
async fn what_a_partner_does_not_show_it_cannot_link() {
    let house = House::open().await;
    let mot = |partner: &str| {
        let request = LinkRiderRequest { media: vec![Medium { ..medium(1) }], ..link_request(1) };
        let house = &house;
        let partner = partner.to_owned();
        async move { house.link(&partner, request).await }
    };
    let refused = mot("unionpay").await.unwrap_err();
    assert_eq!(refused.message(), "media[0].issuer: must be one of this partner's own");
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let terms = Terms {
        account: digits(1),
        platform: "99990001".into(),
        authorized_until: house.now() + 60,
        validity: 60,
        account_type: 2,
        custom: vec![],
    };
    let phone = house
        .trust()
        .issuer("99990001")
        .unwrap()
        .authorise(Key::generate(&mut rng).unwrap(), &terms)
        .unwrap();
    let answer = house.check(GATE, request("r", phone.code(house.now()).unwrap())).await.unwrap();
    assert_eq!(said(&answer), "INSPECT MEDIUM_UNSUPPORTED", "an account type that is not onboarded");
}
