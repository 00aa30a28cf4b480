//! `ridegate partner check`, as a partner's engineer runs it.

use std::{fs, path::Path, process::Output};

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use ridegate_gateway::clock::Clock;
use ridegate_sim::{authority::Mood, mint::Mint, online::Book, pki::Pki, resolver::Resolver, trust::Trust};
use serde_json::Value;

use crate::{
    house::NOON,
    process::{ridegate, text},
};

const AT: [&str; 2] = ["--at", "2022-06-15T12:00:00+08:00"];

fn shipped(partner: &str) -> String {
    format!("{}/../adapters/partners/{partner}.toml", env!("CARGO_MANIFEST_DIR"))
}

fn case(file: &str, name: &str) -> String {
    let path = format!("{}/../tests/vectors/{file}.json", env!("CARGO_MANIFEST_DIR"));
    let file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let cases = file["cases"].as_array().unwrap();
    cases.iter().find(|case| case["name"] == name).unwrap()["payload"].as_str().unwrap().to_owned()
}

fn check(arguments: &[&str]) -> Output {
    ridegate().args(["partner", "check"]).args(arguments).output().unwrap()
}

/// What it printed, and the exit code.
fn said(arguments: &[&str]) -> (String, Option<i32>) {
    let done = check(arguments);
    assert_eq!(text(&done.stderr), "");
    (text(&done.stdout), done.status.code())
}

#[track_caller]
fn refused(arguments: &[&str], why: &str) {
    let done = check(arguments);
    assert!(text(&done.stderr).contains(why), "{why:?} in {:?}", text(&done.stderr));
    assert_eq!(done.status.code(), Some(64));
}

#[test]
fn every_profile_that_ships_can_be_used_beside_the_others() {
    let folder = Path::new(&shipped("x")).parent().unwrap().to_str().unwrap().to_owned();
    for (partner, says) in [
        ("yikatong", "mot             platform 99990001, issuer 99990001, account types 1"),
        ("tianjin-metro", "alipay          prefixes 5401 5402, card types TJ000001"),
        ("unionpay", "emv-cpm         AIDs a000000333, IINs 62"),
        ("cmb", "unionpay-token  IINs 621286 622588"),
        ("yitongxing", "opaque          payloads that begin with 595458313a"),
        ("shanghai-metro", "resolver        http://127.0.0.1:7454, no TLS, 80ms at most, 128 calls at once"),
    ] {
        let (shown, exit) = said(&[&shipped(partner), "--beside", &folder]);
        assert!(shown.contains("can be used") && shown.contains(says), "{shown}");
        assert!(shown.contains("test keys: never for production"));
        assert_eq!(exit, Some(0));
    }
}

#[test]
fn every_field_and_every_check_of_a_code_is_shown_and_nothing_tells_whose_it_is() {
    let code = case("mot", "long account");
    let (shown, exit) = said(&[&[&shipped("yikatong"), "--code", &code], &AT[..]].concat());
    assert_eq!(exit, Some(0), "{shown}");
    for line in [
        "mot of yikatong, 332 bytes",
        "    136   10  5 card account              …3456",
        "    150    4  7 code platform             99990001",
        "    263    4  16 generated at             2022-06-15T03:59:55Z",
        "  passed       signature of the root",
        "  passed       signature of the phone",
        "  genuine",
    ] {
        assert!(shown.contains(line), "{line:?} in {shown}");
    }
    assert_eq!(shown.matches("  passed ").count(), 11);
    assert!(!shown.contains("31041234567890123456"), "{shown}");
}

#[test]
fn the_check_that_fails_is_shown_with_its_error_and_what_comes_after_it_was_not_reached() {
    for (partner, file, name, failed, passed) in [
        ("yikatong", "mot", "code expired", "not expired: code expired (CODE_EXPIRED)", 7),
        (
            "alipay",
            "alipay",
            "signed by a stranger",
            "signature of the issuer: signature of the issuer does not verify (BAD_SIGNATURE)",
            7,
        ),
        (
            "cmb",
            "online",
            "CPM cut inside a template",
            "structure: structure: must be BER-TLV, every length in its shortest form (MALFORMED)",
            0,
        ),
        (
            "unionpay",
            "online",
            "CPM of a scheme nobody onboarded",
            "medium is onboarded: AID: not onboarded (UNSUPPORTED_MEDIUM)",
            1,
        ),
    ] {
        let (shown, exit) = said(&[&[&shipped(partner), "--code", &case(file, name)], &AT[..]].concat());
        assert!(shown.contains(&format!("  FAILED       {failed}")), "{failed:?} in {shown}");
        assert_eq!(shown.matches("  passed ").count(), passed, "{shown}");
        assert!(shown.contains("not a code that this partner's riders could use"));
        assert_eq!(exit, Some(2));
    }
    let (shown, exit) = said(&[&shipped("yikatong"), "--code", "00"]);
    assert!(shown.contains("FAILED       no format claims these bytes"), "{shown}");
    assert_eq!(exit, Some(2));
}

#[test]
fn somebody_elses_code_is_none_of_this_partners() {
    let folder = Path::new(&shipped("x")).parent().unwrap().to_str().unwrap().to_owned();
    let code = case("online", "UnionPay CPM");
    let (shown, exit) = said(&[&shipped("cmb"), "--beside", &folder, "--code", &code]);
    assert!(shown.contains("FAILED       it is unionpay's, not cmb's"), "{shown}");
    assert_eq!(exit, Some(2));
}

#[test]
fn codes_are_read_from_pictures_too() {
    let folder = tempfile::tempdir().unwrap();
    Trust::new(&mut ChaCha20Rng::seed_from_u64(7)).unwrap().write(folder.path()).unwrap();
    let picture = folder.path().join("code.png");
    let drawn = ridegate()
        .args(["code", "--seed", "7", "--partner", "yikatong", "--out"])
        .arg(&picture)
        .args(AT)
        .output()
        .unwrap();
    assert!(drawn.status.success(), "{}", text(&drawn.stderr));
    let profile = folder.path().join("profiles/yikatong.toml");
    let trust = folder.path().join("mot-trust.toml");
    let (profile, trust, picture) =
        (profile.to_str().unwrap(), trust.to_str().unwrap(), picture.to_str().unwrap());
    let (shown, exit) = said(&[&[profile, "--mot-trust", trust, "--code", picture], &AT[..]].concat());
    assert!(shown.contains(&format!("code 1, {picture}")) && shown.contains("  genuine"), "{shown}");
    assert_eq!(exit, Some(0));
    // The twin: by the roots that ship it is not.
    let (shown, exit) = said(&[&[profile, "--code", picture], &AT[..]].concat());
    assert!(shown.contains("FAILED       issuer is trusted: root unknown"), "{shown}");
    assert_eq!(exit, Some(2));
}

#[test]
fn a_profile_that_cannot_be_used_is_refused_with_file_line_and_what_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.toml");
    let good = fs::read_to_string(shipped("yitongxing")).unwrap();
    let name = file.to_str().unwrap();
    for (from, to, why) in [
        ("city", "citty", "x.toml:6: unknown field `citty`, expected one of `id`, `name`, `city`"),
        ("YTX1:", "62", "x.toml:12: payloads that begin with 3632 may be unionpay-token codes"),
        (
            "http://127.0.0.1:7451",
            "ftp://x",
            "x.toml: resolver.endpoint: expected https://host:port or http://host:port",
        ),
        (
            "http://127.0.0.1:7451",
            "https://127.0.0.1:7451",
            "x.toml: resolver.ca: must be given with an https:// endpoint",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        fs::write(&file, good.replacen(from, to, 1)).unwrap();
        refused(&[name], why);
    }
    fs::write(&file, good.replace("\"yitongxing\"", "\"somebody\"")).unwrap();
    let beside = Path::new(&shipped("x")).parent().unwrap().to_str().unwrap().to_owned();
    refused(
        &[name, "--beside", &beside],
        "somebody and yitongxing both claim payloads that begin with 595458313a",
    );
    refused(&["no-such.toml"], "no-such.toml: cannot be read");
    refused(&[name, "--code", "xyz"], "--code: expected hexadecimal");
    refused(&[name, "--beside", "no-such"], "--beside: no-such: cannot be read");
    refused(&[&shipped("yikatong"), "--mot-trust", name], "x.toml:");
}

/// A resolver that runs, with certificates on both sides, and the profile that names it.
fn running(folder: &Path) -> (Resolver, String, String) {
    let pki = Pki::create(&folder.join("pki"), jiff::SignedDuration::from_hours(1)).unwrap();
    let server = pki.server(&["127.0.0.1".into()]).unwrap();
    pki.caller("gateway", "urn:ridegate:operator:gateway").unwrap();
    let mut trust = Trust::new(&mut ChaCha20Rng::seed_from_u64(7)).unwrap();
    let book: Book = trust.books().find(|(partner, _)| *partner == "unionpay").unwrap().1.clone();
    let clock: Clock = NOON.parse().unwrap();
    let resolver = Resolver::start_with_tls(book, clock, &server, &pki.ca()).unwrap();
    let section = format!(
        "endpoint = \"{}\"\ntimeout = \"5s\"\nca = \"../pki/ca.pem\"\ncertificate = \"../pki/gateway.pem\"\nkey = \"../pki/gateway.key\"\n",
        resolver.endpoint()
    );
    trust.name_resolver("unionpay", section);
    trust.write(folder).unwrap();
    let mint = Mint::new(7).unwrap();
    let partner = mint.partners().position(|partner| partner == "unionpay").unwrap();
    let account = mint.account(partner, ridegate_sim::riders::Rider::Healthy, 0).unwrap();
    let order = ridegate_sim::mint::Order {
        partner,
        account,
        validity: 1200,
        at: AT[1].parse().unwrap(),
        flaw: None,
    };
    let code = hex::encode(mint.code(&order).unwrap().code);
    (resolver, folder.join("profiles/unionpay.toml").to_str().unwrap().to_owned(), code)
}

#[test]
fn the_partner_is_asked_over_mutual_tls_and_its_answer_is_shown_masked() {
    let folder = tempfile::tempdir().unwrap();
    let (resolver, profile, code) = running(folder.path());
    let asked = [&[profile.as_str(), "--ask", "--code", &code], &AT[..]].concat();
    let (shown, exit) = said(&asked);
    assert_eq!(exit, Some(0), "{shown}");
    for line in [
        "TLS, certificates on both sides",
        "the resolver answered in ",
        "  genuine, says the partner",
        "  expires at    2022-06-15T04:20:00Z",
    ] {
        assert!(shown.contains(line), "{line:?} in {shown}");
    }
    assert!(!shown.contains("U000000"), "{shown}");
    assert_eq!(resolver.asked(), 2, "once to connect, once to see how long it takes");

    let forged = format!("{}30", &code[..code.len() - 2]);
    let (shown, exit) = said(&[&[profile.as_str(), "--ask", "--code", &forged], &AT[..]].concat());
    assert!(exit == Some(2) && !shown.contains("genuine, says the partner"), "{shown}");

    // A card of another partner's is not shown to this one.
    let asked_so_far = resolver.asked();
    let cmb = "36323132383630303030303030303030303137";
    let beside = folder.path().join("profiles");
    let (shown, exit) =
        said(&[profile.as_str(), "--beside", beside.to_str().unwrap(), "--ask", "--code", cmb]);
    assert!(exit == Some(2) && shown.contains("it is cmb's, not unionpay's"), "{shown}");
    assert_eq!(resolver.asked(), asked_so_far);

    resolver.feel(Mood::Confused);
    let done = check(&asked);
    assert!(
        text(&done.stderr).contains("breaks its contract: answer must be a code or a refusal"),
        "{}",
        text(&done.stderr)
    );
    assert_eq!(done.status.code(), Some(1));
    resolver.stop();
    let done = check(&asked);
    assert!(text(&done.stderr).contains("the resolver was asked: "), "{}", text(&done.stderr));
    assert_eq!(done.status.code(), Some(1));
}
