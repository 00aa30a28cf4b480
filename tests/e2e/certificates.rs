//! TLS as the gateway insists on it, and certificates that change while it runs.

use std::{fs, path::Path, time::Duration};

use jiff::SignedDuration;
use rand::SeedableRng;
use ridegate_sim::{
    pki::{Files, Pki},
    riders::Rider,
    trust::Trust,
};
use tokio::time::timeout;
use tokio_rustls::{
    TlsConnector,
    rustls::{HandshakeKind, pki_types::CertificateDer},
};

use crate::{
    frames::{
        Client, END_HEADERS, END_STREAM, HEADERS, SETTINGS, Terms, USUAL, connect, frame, headers, secure,
        tls_client,
    },
    house::{GATE, House, link_request, request, said},
    observed::{counted, counted_to, metric},
    process::{ridegate, text},
};

const LONG: Duration = Duration::from_secs(30);
const REVOKED: &str = "client_crl = \"pki/crl.pem\"\n";

/// Whether a client gets as far as the gateway's settings, and by which handshake.
async fn is_let_in(house: &House, client: &TlsConnector) -> Option<HandshakeKind> {
    let stream = secure(client, connect(house).await).await.ok()?;
    let kind = stream.get_ref().1.handshake_kind();
    let mut client = Client::greet_unless_gone(Box::new(stream)).await?;
    timeout(LONG, client.next()).await.expect("told").and(kind)
}

fn pki(house: &House) -> &Pki {
    house.pki.as_ref().unwrap()
}

fn gate(house: &House, name: &str) -> Files {
    pki(house).caller(name, &format!("urn:ridegate:validator:bjsubway:{name}")).unwrap()
}

/// The gateway's certificate, as a new connection is shown it.
async fn shown(house: &House, client: &TlsConnector) -> CertificateDer<'static> {
    let stream = secure(client, connect(house).await).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_tls_1_3_and_only_http_2() {
    let house = House::guarded("").await;
    let files = gate(&house, "modern");
    assert!(is_let_in(&house, &tls_client(&house, &files, USUAL)).await.is_some());
    for terms in [Terms { tls12: true, ..USUAL }, Terms { alpn: b"http/1.1", ..USUAL }] {
        assert!(is_let_in(&house, &tls_client(&house, &files, terms)).await.is_none());
    }
    assert_eq!(counted_to(&house, "ridegate_connections_refused_total{cause=\"tls\"}", 2).await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_ca_or_one_that_is_over_is_not_let_in() {
    let house = House::guarded("").await;
    let elsewhere = house.folder.path().join("elsewhere");
    let stranger =
        Pki::create(&elsewhere, SignedDuration::from_hours(1)).unwrap().caller("gate", GATE).unwrap();
    assert!(is_let_in(&house, &tls_client(&house, &stranger, USUAL)).await.is_none());

    let over = Pki::open(&house.folder.path().join("pki"), SignedDuration::from_secs(-60)).unwrap();
    let over = over.caller("over", GATE).unwrap();
    assert!(is_let_in(&house, &tls_client(&house, &over, USUAL)).await.is_none());
    // A gateway's certificate is not a caller's.
    let server = Files::of(&house.folder.path().join("pki"), "server");
    assert!(is_let_in(&house, &tls_client(&house, &server, USUAL)).await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_taken_and_what_cannot_be_used_is_not() {
    let house = House::guarded("").await;
    let folder = house.folder.path().join("pki");
    let client = tls_client(&house, &gate(&house, "gate"), USUAL);
    let first = shown(&house, &client).await;
    // A connection from before goes on as it was.
    assert_eq!(said(&house.check(GATE, request("r", vec![])).await.unwrap()), "INSPECT CODE_UNRECOGNIZED");

    fs::write(folder.join("server.key"), "half a fi").unwrap();
    counted(&house, "ridegate_certificate_reloads_total{outcome=\"refused\"}").await;
    assert_eq!(shown(&house, &client).await, first, "the last good one stays");

    let next = renewed(&house, SignedDuration::from_hours(12));
    replace(&next, &folder);
    counted(&house, "ridegate_certificate_reloads_total{outcome=\"taken\"}").await;
    let second = shown(&house, &client).await;
    assert_ne!(second, first);
    assert_eq!(said(&house.check(GATE, request("r", vec![])).await.unwrap()), "INSPECT CODE_UNRECOGNIZED");

    let expiry =
        metric(&house, "ridegate_certificate_expiry_timestamp_seconds{certificate=\"server\"}").await;
    let ca = metric(&house, "ridegate_certificate_expiry_timestamp_seconds{certificate=\"client_ca\"}").await;
    assert!((43_000..44_000).contains(&(ca - expiry)), "half a day before its CA: {expiry} {ca}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_ca_for_callers_is_taken_and_the_old_one_is_over() {
    let house = House::guarded("").await;
    let elsewhere = house.folder.path().join("elsewhere");
    let other = Pki::create(&elsewhere, SignedDuration::from_hours(1)).unwrap();
    let (old, new) = (gate(&house, "old"), other.caller("new", GATE).unwrap());
    let (old, new) = (tls_client(&house, &old, USUAL), tls_client(&house, &new, USUAL));
    assert!(is_let_in(&house, &old).await.is_some() && is_let_in(&house, &new).await.is_none());
    fs::copy(other.ca(), house.folder.path().join("pki/ca.pem")).unwrap();
    counted(&house, "ridegate_certificate_reloads_total{outcome=\"taken\"}").await;
    assert!(is_let_in(&house, &old).await.is_none() && is_let_in(&house, &new).await.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_certificate_is_not_let_in_and_its_session_is_not_resumed() {
    let house = House::guarded_with_tls(REVOKED, |pki| {
        pki.caller("somebody-else", "urn:ridegate:validator:bjsubway:gate-9").unwrap();
        pki.revoke(&["somebody-else"]).unwrap();
    })
    .await;
    let lost = tls_client(&house, &gate(&house, "lost"), USUAL);
    let kept = tls_client(&house, &gate(&house, "kept"), USUAL);
    for client in [&lost, &kept] {
        assert_eq!(is_let_in(&house, client).await, Some(HandshakeKind::Full));
        assert_eq!(is_let_in(&house, client).await, Some(HandshakeKind::Resumed));
    }
    pki(&house).revoke(&["lost"]).unwrap();
    counted(&house, "ridegate_certificate_reloads_total{outcome=\"taken\"}").await;
    assert_eq!(is_let_in(&house, &lost).await, None);
    assert_eq!(is_let_in(&house, &kept).await, Some(HandshakeKind::Full), "once anew, and then as before");
    assert_eq!(is_let_in(&house, &kept).await, Some(HandshakeKind::Resumed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_is_asked_over_tls_by_a_gateway_it_knows() {
    for (keys, expect) in [
        ("certificate = \"pki/operator.pem\"\nkey = \"pki/operator.key\"", "ALLOW HEALTH_OK"),
        // The twin: it lets nobody in who shows nothing.
        ("", "INSPECT NOT_LINKED"),
    ] {
        let house = House::with_secure_authority(&format!("ca = \"pki/ca.pem\"\n{keys}")).await;
        house.authority.set("subject-of-1", Rider::Healthy.facts(house.clock.now()).unwrap());
        house.authority.authorise("code-1", "subject-of-1");
        let linked = house.link("yikatong", link_request(1)).await;
        assert_eq!(linked.is_ok(), expect.starts_with("ALLOW"), "{linked:?}");
        assert_eq!(said(&house.tap(house.fresh(&house.phone(1))).await), expect);
    }
}

#[test]
fn facts_cross_no_network_in_the_clear() {
    let folder = configured(SignedDuration::from_hours(1));
    let file = folder.path().join("ridegate.toml");
    let good = fs::read_to_string(&file).unwrap();
    for (authority, says) in [
        ("http://authority.example.cn:7444", "can be used"),
        ("https://127.0.0.1:1", "authority.ca: must be given with an https:// endpoint"),
        ("https://127.0.0.1:1\"\nca = \"pki/no.pem", "authority.ca: cannot be read"),
        (
            "https://127.0.0.1:1\"\nca = \"pki/ca.pem\"\nkey = \"pki/server.key",
            "authority.key: needs its certificate",
        ),
        ("http://127.0.0.1:1\"\nca = \"pki/ca.pem", "authority.endpoint: must be https:// where"),
    ] {
        fs::write(&file, good.replace("http://127.0.0.1:1", authority)).unwrap();
        if says == "can be used" {
            check_config(folder.path(), &[], 0, says);
            let done = production(&file);
            assert!(
                done.contains("authority.endpoint: must be https:// where it is not on this machine"),
                "{done}"
            );
        } else {
            check_config(folder.path(), &[], 64, says);
        }
    }
}

/// What check-config says of a configuration for production: with keys that are not for tests.
fn production(file: &Path) -> String {
    let folder = file.parent().unwrap();
    Trust::new(&mut rand_chacha::ChaCha20Rng::seed_from_u64(1)).unwrap().write(folder).unwrap();
    let profiles = fs::read_dir(folder.join("profiles")).unwrap().map(|entry| entry.unwrap().path());
    for path in profiles.chain([folder.join("mot-trust.toml")]) {
        let real = fs::read_to_string(&path).unwrap().replace("test = true", "test = false");
        fs::write(&path, real).unwrap();
    }
    let partners = "[partners]\nprofiles = \"profiles\"\nmot_trust = \"mot-trust.toml\"\n";
    fs::write(file, fs::read_to_string(file).unwrap() + partners).unwrap();
    text(&ridegate().args(["check-config", "--config"]).arg(file).output().unwrap().stderr)
}

/// Not only is a revoked caller not let in any more: it is put out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_revoked_or_over_loses_the_connection_that_stands() {
    let house = House::guarded_with_tls(REVOKED, |pki| {
        pki.caller("somebody-else", "urn:ridegate:validator:bjsubway:gate-9").unwrap();
        pki.revoke(&["somebody-else"]).unwrap();
    })
    .await;
    let brief = Pki::open(&house.folder.path().join("pki"), SignedDuration::from_secs(5)).unwrap();
    let mut seated = vec![];
    for name in ["lost", "kept", "brief"] {
        // Over soon after it is made.
        let files = if name == "brief" { brief.caller(name, GATE).unwrap() } else { gate(&house, name) };
        let stream = secure(&tls_client(&house, &files, USUAL), connect(&house).await).await.unwrap();
        let mut client = Client::greet(Box::new(stream)).await;
        assert!(client.until(SETTINGS).await.is_some());
        seated.push(client);
    }
    pki(&house).revoke(&["lost"]).unwrap();
    timeout(LONG, seated[0].read_to_end()).await.expect("revoked");
    timeout(LONG, seated[2].read_to_end()).await.expect("over");
    assert_eq!(counted_to(&house, "ridegate_connections_left_total{cause=\"disowned\"}", 2).await, 2);
    seated[1].send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &headers(&[]))).await;
    assert!(seated[1].until(HEADERS).await.is_some(), "the other one goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_is_over_does_not_take_the_place_of_a_good_one() {
    let house = House::guarded("").await;
    let client = tls_client(&house, &gate(&house, "gate"), USUAL);
    let good = shown(&house, &client).await;
    replace(&renewed(&house, SignedDuration::from_secs(-60)), &house.folder.path().join("pki"));
    counted(&house, "ridegate_certificate_reloads_total{outcome=\"refused\"}").await;
    assert_eq!(shown(&house, &client).await, good);
    assert_eq!(metric(&house, "ridegate_certificate_reloads_total{outcome=\"taken\"}").await, 0);
}

/// A certificate for the gateway from the same CA, in a folder of its own.
fn renewed(house: &House, lifetime: SignedDuration) -> Files {
    let (folder, next) = (house.folder.path().join("pki"), house.folder.path().join("next"));
    fs::create_dir(&next).unwrap();
    for file in ["ca.pem", "ca.key"] {
        fs::copy(folder.join(file), next.join(file)).unwrap();
    }
    Pki::open(&next, lifetime).unwrap().server(&["localhost".into(), "127.0.0.1".into()]).unwrap()
}

/// Puts a certificate in place of the gateway's, one file after the other, as a person would.
fn replace(files: &Files, folder: &Path) {
    fs::copy(&files.certificate, folder.join("server.pem")).unwrap();
    fs::copy(&files.key, folder.join("server.key")).unwrap();
}

/// A configuration with TLS in a folder, for the binary.
fn configured(lifetime: SignedDuration) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"), lifetime).unwrap();
    pki.server(&["localhost".into()]).unwrap();
    let config = "[tls]\ncertificate = \"pki/server.pem\"\nkey = \"pki/server.key\"\nclient_ca = \"pki/ca.pem\"\n\
                  [authority]\nendpoint = \"http://127.0.0.1:1\"\n";
    fs::write(folder.path().join("ridegate.toml"), config).unwrap();
    folder
}

#[track_caller]
fn check_config(folder: &Path, more: &[&str], status: i32, says: &str) {
    let done = ridegate()
        .args(["check-config", "--insecure-dev", "--config"])
        .arg(folder.join("ridegate.toml"))
        .args(more)
        .output()
        .unwrap();
    let said = text(&done.stdout) + &text(&done.stderr);
    assert!(said.contains(says), "expected {says:?} in {said}");
    assert_eq!(done.status.code(), Some(status), "{said}");
    assert!(
        !folder.join("ridegate.db").exists() && !folder.join("ridegate.key").exists(),
        "nothing is opened"
    );
}

#[test]
fn check_config_looks_at_everything_and_opens_nothing() {
    let folder = configured(SignedDuration::from_hours(24 * 10));
    let path = folder.path();
    check_config(path, &[], 0, "can be used");
    check_config(path, &[], 0, "partners         11");
    check_config(path, &[], 0, "policy           beijing-2022/1");
    check_config(path, &["--fail-if-expiring", "9d"], 0, "in 9 days");
    check_config(path, &["--fail-if-expiring", "14d"], 1, "certificates: server ends at 20");
    check_config(path, &["--fail-if-expiring", "soon"], 64, "expected a time such as 14d or 36h");

    let key = fs::read(path.join("pki/server.key")).unwrap();
    for (file, content, says) in [
        ("server.key", "nothing", "ridegate.toml:3: tls.key: "),
        ("server.pem", "nothing", "ridegate.toml:2: tls.certificate: "),
        ("ca.pem", "", "ridegate.toml:4: tls.client_ca: "),
    ] {
        let file = path.join("pki").join(file);
        let good = fs::read(&file).unwrap();
        fs::write(&file, content).unwrap();
        check_config(path, &[], 64, says);
        check_config(path, &[], 64, "expected ");
        fs::write(&file, good).unwrap();
    }
    // One that is over.
    let over = Pki::open(&path.join("pki"), SignedDuration::from_secs(-60)).unwrap();
    let [good, good_key] =
        ["server.pem", "server.key"].map(|file| fs::read(path.join("pki").join(file)).unwrap());
    for file in ["server.pem", "server.key"] {
        fs::remove_file(path.join("pki").join(file)).unwrap();
    }
    over.server(&["localhost".into()]).unwrap();
    check_config(path, &[], 64, "ridegate.toml:2: tls.certificate: ");
    check_config(path, &[], 64, "expected a certificate that is valid now");
    fs::write(path.join("pki/server.pem"), good).unwrap();
    fs::write(path.join("pki/server.key"), good_key).unwrap();
    // A key that belongs to another certificate.
    let other = configured(SignedDuration::from_hours(1));
    fs::copy(other.path().join("pki/server.key"), path.join("pki/server.key")).unwrap();
    check_config(path, &[], 64, "ridegate.toml:2: tls.certificate: ");
    fs::write(path.join("pki/server.key"), key).unwrap();
    fs::remove_file(path.join("pki/ca.pem")).unwrap();
    check_config(path, &[], 64, "pki/ca.pem: cannot be read");
}

#[test]
fn a_key_file_that_is_missing_is_found_before_the_start() {
    let folder = configured(SignedDuration::from_hours(1));
    fs::write(folder.path().join("ridegate.db"), "").unwrap();
    let done = ridegate()
        .args(["check-config", "--insecure-dev", "--config"])
        .arg(folder.path().join("ridegate.toml"))
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(64));
    assert!(text(&done.stderr).contains("ridegate.key: missing, although the registry exists"));
}

#[test]
fn the_schema_that_is_checked_in_is_the_configurations() {
    let done = ridegate().args(["check-config", "--print-schema"]).output().unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/ridegate.schema.json");
    let checked_in = fs::read_to_string(file).unwrap();
    let again = "ridegate check-config --print-schema > docs/ridegate.schema.json";
    assert_eq!(text(&done.stdout), checked_in, "made again by: {again}");
}

#[test]
fn pki_makes_a_ca_and_a_certificate_for_every_role() {
    let folder = tempfile::tempdir().unwrap();
    let pki = folder.path().join("pki");
    let run = |arguments: &[&str]| ridegate().arg("pki").args(arguments).output().unwrap();
    let here = pki.to_str().unwrap();
    let made = run(&["init", here, "--name", "gateway.example.cn"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    assert!(text(&made.stdout).contains("[tls]\ncertificate = "));
    for name in ["ca", "server", "validator", "partner", "ticketing", "operator"] {
        let files = Files::of(&pki, name);
        assert!(files.certificate.exists(), "{name}");
        #[cfg(unix)]
        {
            let permissions =
                std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&files.key).unwrap().permissions());
            assert_eq!(permissions & 0o777, 0o600, "{name}");
        }
    }
    let again = run(&["init", here]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("is there already, and would be lost"));

    let more = run(&["issue", here, "urn:ridegate:validator:bjbus:reader-7"]);
    assert_eq!(more.status.code(), Some(0), "{}", text(&more.stderr));
    assert!(pki.join("validator-bjbus-reader-7.pem").exists());
    let serial = |name: &str| {
        let pem = fs::read(pki.join(name).with_extension("pem")).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
        pem.parse_x509().unwrap().raw_serial().to_vec()
    };
    assert_eq!(run(&["issue", here, "urn:ridegate:validator:bjbus:reader-8"]).status.code(), Some(0));
    assert_ne!(
        serial("validator-bjbus-reader-7"),
        serial("validator-bjbus-reader-8"),
        "one can be revoked alone"
    );
    for (identity, file, status) in [
        ("urn:ridegate:root:me", "x", 64),
        (GATE, "../x", 64),
        (GATE, "", 64),
        (GATE, "ca", 64),
        (GATE, "crl", 64),
    ] {
        assert_eq!(run(&["issue", here, identity, "--file", file]).status.code(), Some(status));
    }
}
