//! Ride codes as pictures: `ridegate code` draws them, `ridegate scan` reads them and asks, Debian's tools agree.

use std::{
    io::Write,
    net::TcpListener,
    path::Path,
    process::{Command, Output, Stdio},
};

use image::{DynamicImage, GrayImage, Luma, imageops};
use ridegate_sim::{
    city::{Blueprint, City},
    mint::Mint,
    picture::png,
    pki::Files,
    riders::Rider,
    site::Site,
};
use tempfile::TempDir;

use crate::house::{GATE, House, digits};
use crate::process::{ridegate, text};

const AT: &str = "2022-06-15T12:00:00+08:00";
const OTHER_GATE: &str = "urn:ridegate:validator:bjsubway:gate-2";
const PARTNERS: [&str; 11] = [
    "yikatong",
    "beijing-bus",
    "alipay",
    "guangzhou-metro",
    "hohhot-metro",
    "chongqing-metro",
    "tianjin-metro",
    "yitongxing",
    "unionpay",
    "cmb",
    "shanghai-metro",
];

fn code(arguments: &[&str]) -> Output {
    ridegate().arg("code").args(arguments).output().unwrap()
}

fn scan(arguments: &[&str]) -> Output {
    ridegate().env_remove("NO_COLOR").arg("scan").args(arguments).output().unwrap()
}

fn done(output: &Output, status: i32) -> (String, String) {
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{shown}\n{said}");
    (shown, said)
}

/// What a scan of one picture shows: the lines that begin with what they are.
fn line<'s>(shown: &'s str, what: &str) -> &'s str {
    let line = shown.lines().find_map(|line| line.trim_start().strip_prefix(what));
    line.unwrap_or_else(|| panic!("no {what} in {shown}")).trim()
}

fn write(folder: &TempDir, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// One of Debian's tools, fed with this.
fn tool(name: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(name);
    let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut process = command
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}; `make test` installs what the tests need"));
    process.stdin.take().unwrap().write_all(input).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "{name}: {:?}", output.status);
    output.stdout
}

fn zbarimg(picture: &str) -> Vec<u8> {
    tool("zbarimg", &["--quiet", "--raw", "--oneshot", "-Sbinary", picture], &[])
}

fn read(picture: &Path) -> Vec<u8> {
    let picture = image::open(picture).unwrap().to_luma8();
    let mut picture = rqrr::PreparedImage::prepare(picture);
    let (grids, mut code) = (picture.detect_grids(), Vec::new());
    assert_eq!(grids.len(), 1);
    grids[0].decode_to(&mut code).unwrap();
    code
}

#[test]
fn every_partners_code_is_in_its_picture_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    for (position, partner) in PARTNERS.into_iter().enumerate() {
        let whose = ["--seed", "7", "--at", AT, "--partner", partner, "--rider", "overdue", "--turn", "3"];
        let (hex, said) = done(&code(&whose), 0);
        assert_eq!(said, "");
        let account = Mint::new(7).unwrap().account(position, Rider::Overdue, 3).unwrap();
        // BCD in a MOT code, ASCII in an Alipay code; of the others only the partner can tell.
        let told = hex.contains(&account) || hex.contains(&hex::encode(&account));
        assert_eq!(told, !account.starts_with('U'), "it is that rider's");
        let bytes = hex::decode(hex.strip_suffix('\n').unwrap()).unwrap();

        let path = folder.path().join(format!("{partner}.png"));
        let name = path.to_str().unwrap();
        let (shown, said) = done(&code(&[&whose[..], &["--out", name]].concat()), 0);
        assert_eq!(shown, "");
        let length = bytes.len();
        let expected = format!(
            "{name}: a code of {partner}, overdue rider 3, {length} bytes, valid until 2022-06-15T12:20:00+08:00\n"
        );
        assert_eq!(said, expected, "and nothing of the account");
        assert_eq!(read(&path), bytes);
        assert_eq!(zbarimg(name), bytes);
    }
}

#[test]
fn zbar_reads_what_we_draw_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let every: Vec<u8> = (0..=u8::MAX).collect();
    let payloads = [
        vec![0],
        vec![0xff; 3],
        every.clone(),
        every.iter().rev().copied().collect(),
        every.repeat(4),
        b"0123456789012345678901234567890123456789".to_vec(),
        "请配合工作人员".into(),
        // Would be Kanji to an encoder that looks for them.
        [0x93, 0x5f, 0xe4, 0xaa].repeat(20),
    ];
    for payload in payloads {
        let picture = write(&folder, "code.png", png(&payload).unwrap());
        assert_eq!(zbarimg(&picture), payload);
        assert_eq!(read(Path::new(&picture)), payload);
    }
}

#[test]
fn what_code_cannot_use_is_refused_with_what_is_allowed() {
    let seed = ["--seed", "7", "--at", AT];
    let whole = ["--seed", "7", "--at", AT, "--partner", "yikatong"];
    let refused = |arguments: &[&str], expected: &str| {
        let (shown, said) = done(&code(arguments), 64);
        assert_eq!(shown, "");
        assert!(said.contains(expected), "expected {expected:?} in {said:?}");
    };
    refused(
        &[&seed[..], &["--partner", "yikatogn"]].concat(),
        "--partner: the city has no such partner; it has yikatong, beijing-bus, alipay, \
         guangzhou-metro, hohhot-metro, chongqing-metro, tianjin-metro",
    );
    refused(&["--partner", "yikatong"], "which city? Expected --city DIR, or --seed N and --at TIME");
    refused(&["--partner", "yikatong", "--seed", "7"], "--at <TIME>");
    let time = "--at: expected a time from 1970 to 2105, such as 2022-06-15T12:00:00+08:00";
    for at in ["noon", "2022-06-15", "1969-12-31T23:59:59Z", "2106-02-07T00:00:00Z"] {
        refused(&["--partner", "yikatong", "--seed", "7", "--at", at], time);
    }
    refused(&[&whole[..], &["--rider", "ill"]].concat(), "expected one of healthy, exempt, overdue");
    refused(&[&whole[..], &["--account", "31049999"]].concat(), "--account: expected 20 digits");
    let tianjin = ["--seed", "7", "--at", AT, "--partner", "tianjin-metro", "--account"];
    for account in ["31049999999999999999", "天津天津天津"] {
        refused(&[&tianjin[..], &[account]].concat(), "--account: expected 16 ASCII characters");
    }
    refused(&[&whole[..], &["--out", "code.jpg"]].concat(), "--out: expected a name that ends in .png");
    refused(&[&whole[..], &["--forged", "--expired"]].concat(), "cannot be used with");
    refused(&[&whole[..], &["--validity", "0"]].concat(), "--validity");

    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere/code.png");
    let out = code(&[&whole[..], &["--out", nowhere.to_str().unwrap()]].concat());
    assert!(done(&out, 1).1.contains("nowhere/code.png: cannot be written"));
    let city = code(&["--partner", "yikatong", "--city", folder.path().to_str().unwrap()]);
    assert!(done(&city, 1).1.contains("city.json: cannot be read; is this a running city's folder?"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_is_asked_about_and_shown_again_at_another_gate_is_a_replay() {
    let house = House::open().await;
    house.settle(8, Rider::Healthy).await;
    let code = house.fresh(&house.phone(8));
    let picture = write(&house.folder, "ours.png", png(&code).unwrap());
    let at = |identity: &str| scan(&["--endpoint", &house.endpoint(), "--identity", identity, &picture]);

    let (shown, said) = done(&at(GATE), 0);
    assert_eq!((line(&shown, "verdict"), line(&shown, "partner")), ("ALLOW HEALTH_OK", "yikatong"));
    assert!(shown.starts_with(&format!("{picture}\n")), "{shown}");
    assert_eq!(line(&shown, "evidence age"), "0s");
    assert!(line(&shown, "policy").starts_with("beijing-2022/"), "{shown}");
    assert!(line(&shown, "round trip").ends_with(" ms"), "{shown}");
    let first = line(&shown, "verdict id").to_owned();

    let (read_twice, _) = done(&at(GATE), 0);
    assert_eq!(line(&read_twice, "retry of"), first);

    let (replayed, _) = done(&at(OTHER_GATE), 2);
    assert_eq!(line(&replayed, "verdict"), "INSPECT CODE_REPLAYED");
    assert!(!line(&replayed, "prompt").is_empty());

    let hex = hex::encode(&code);
    for output in [shown, said, read_twice, replayed] {
        assert!(!output.contains(&hex[..40]) && !output.contains(&digits(8)) && !output.contains('\x1b'));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn qrencodes_pictures_photos_and_bytes_in_hex_are_asked_about_all_the_same() {
    let house = House::open().await;
    house.settle(8, Rider::Healthy).await;
    let phone = house.phone(8);
    let theirs = house.folder.path().join("theirs.png");
    tool("qrencode", &["-8", "-o", theirs.to_str().unwrap()], &house.fresh(&phone));

    let mut photo =
        image::load_from_memory(&png(&house.fresh(&phone)).unwrap()).unwrap().rotate270().to_luma8();
    for (x, y, pixel) in photo.enumerate_pixels_mut() {
        let grain = u8::try_from(x.wrapping_mul(x ^ y).wrapping_mul(2_654_435_761) >> 27).unwrap();
        pixel.0[0] = 70 + pixel.0[0] / 4 + grain;
    }
    let jpeg = house.folder.path().join("photo.jpg");
    DynamicImage::from(photo).save(&jpeg).unwrap();

    let caller = ["--endpoint", &house.endpoint(), "--identity", GATE];
    let files = [theirs.to_str().unwrap(), jpeg.to_str().unwrap()];
    let (shown, _) = done(&scan(&[&caller[..], &files].concat()), 0);
    assert_eq!(shown.matches("ALLOW HEALTH_OK").count(), 2, "{shown}");

    let hex = hex::encode(house.fresh(&phone));
    let (shown, _) = done(&scan(&[&caller[..], &["--hex", &hex]].concat()), 0);
    assert_eq!(line(&shown, "verdict"), "ALLOW HEALTH_OK");
    let (shown, _) = done(&scan(&[&caller[..], &["--hex", &hex[2..]]].concat()), 2);
    assert_eq!(line(&shown, "verdict"), "INSPECT CODE_UNRECOGNIZED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_codes_in_a_picture_are_asked_about_from_the_top_down() {
    let house = House::open().await;
    house.settle(8, Rider::Healthy).await;
    house.settle(9, Rider::Overdue).await;
    let mut both = GrayImage::from_pixel(900, 1800, Luma([255]));
    for (account, top) in [(9, 20), (8, 900)] {
        let code = png(&house.fresh(&house.phone(account))).unwrap();
        imageops::replace(&mut both, &image::load_from_memory(&code).unwrap().to_luma8(), 10, top);
    }
    let picture = house.folder.path().join("both.png");
    both.save(&picture).unwrap();
    let caller = ["--endpoint", &house.endpoint(), "--identity", GATE, "--color", "always"];
    let (shown, _) = done(&scan(&[&caller[..], &[picture.to_str().unwrap()]].concat()), 2);
    let (first, second) = shown.split_once("\n\n").unwrap();
    assert!(first.contains("code 1 of 2") && first.contains("INSPECT HEALTH "), "{shown}");
    assert!(second.contains("code 2 of 2") && second.contains("ALLOW HEALTH_OK "), "{shown}");
    assert!(first.contains("\x1b[41m") && !first.contains("\x1b[42m"), "a red screen: {shown}");
    assert!(second.contains("\x1b[42m"), "a green one: {shown}");
    let (exit, _) =
        done(&scan(&[&caller[..], &["--direction", "exit", picture.to_str().unwrap()]].concat()), 0);
    assert_eq!(
        exit.matches("ALLOW NOT_ENFORCED").count() + exit.matches("ALLOW HEALTH_OK").count(),
        2,
        "{exit}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_asked_unless_every_picture_can_be_read() {
    let house = House::open().await;
    house.settle(8, Rider::Healthy).await;
    let good = write(&house.folder, "good.png", png(&house.fresh(&house.phone(8))).unwrap());
    let blank = house.folder.path().join("blank.png");
    GrayImage::from_pixel(300, 300, Luma([255])).save(&blank).unwrap();
    let caller = ["--endpoint", &house.endpoint(), "--identity", GATE];
    let (shown, said) = done(&scan(&[&caller[..], &[&good, blank.to_str().unwrap()]].concat()), 1);
    assert_eq!(shown, "");
    assert!(said.contains("blank.png: no QR code found"), "{said}");
    assert_eq!(line(&done(&scan(&[&caller[..], &[&good]].concat()), 0).0, "verdict"), "ALLOW HEALTH_OK");
    let elsewhere = ["--endpoint", &house.endpoint(), "--identity", OTHER_GATE, &good];
    assert_eq!(
        line(&done(&scan(&elsewhere), 2).0, "verdict"),
        "INSPECT CODE_REPLAYED",
        "the twin: asking uses it up"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_refuses_to_answer_says_why() {
    let house = House::open().await;
    let refused = |identity: &str, more: &[&str]| {
        let endpoint = house.endpoint();
        let arguments = [&["--endpoint", &endpoint, "--identity", identity, "--hex", "8101"], more].concat();
        let (shown, said) = done(&scan(&arguments), 1);
        assert_eq!(shown, "");
        said
    };
    let said = refused("urn:ridegate:partner:yikatong", &[]);
    assert!(
        said.contains("--hex: no answer: PermissionDenied") && said.contains("reason WRONG_ROLE"),
        "{said}"
    );
    let said = refused(GATE, &["--location", &"x".repeat(65)]);
    assert!(said.contains("reason INVALID_FIELD") && said.contains("field location: "), "{said}");

    // The system connects, and nobody ever says anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let arguments = ["--endpoint", &address, "--identity", GATE, "--hex", "8101", "--timeout", "100ms"];
    let (_, said) = done(&scan(&arguments), 1);
    assert!(said.contains("no answer: ") && said.to_lowercase().contains("timeout"), "{said}");
    let (_, said) =
        done(&scan(&["--endpoint", "http://127.0.0.1:1", "--identity", GATE, "--hex", "8101"]), 1);
    assert!(said.contains("http://127.0.0.1:1: cannot be reached"), "{said}");
}

#[test]
fn what_scan_cannot_use_is_refused_with_what_is_allowed() {
    let refused = |arguments: &[&str], expected: &str| {
        let (shown, said) = done(&scan(arguments), 64);
        assert_eq!(shown, "");
        assert!(said.contains(expected), "expected {expected:?} in {said:?}");
    };
    let (plain, tls) =
        (["--hex", "81", "--endpoint", "http://[::1]:1"], ["--hex", "81", "--endpoint", "https://[::1]:1"]);
    refused(&["--hex", "81"], "which gateway? Expected --city DIR, or --endpoint URL");
    refused(&["--endpoint", "http://127.0.0.1:1"], "<FILES>");
    refused(&plain, "an http:// endpoint needs --identity");
    refused(
        &[&plain[..], &["--identity", "gate-1"]].concat(),
        "--identity: expected urn:ridegate:validator:",
    );
    refused(&[&plain[..], &["--identity", GATE, "--ca", "ca.pem"]].concat(), "are for https:// endpoints");
    refused(&tls, "an https:// endpoint needs --ca, --certificate and --key");
    refused(&[&tls[..], &["--identity", GATE]].concat(), "--identity is for http:// endpoints");
    refused(&[&plain[..], &["--timeout", "soon"]].concat(), "--timeout");
    refused(&[&plain[..], &["--timeout", "0s"]].concat(), "--timeout: expected more than nothing");
    refused(&[&plain[..], &["--direction", "up"]].concat(), "entry, exit, boarding, alighting");
    for endpoint in ["127.0.0.1:1", "ftp://127.0.0.1:1", "http://", "https:// "] {
        refused(
            &["--hex", "81", "--endpoint", endpoint],
            "--endpoint: expected https://host:port or http://host:port",
        );
    }
    let caller = ["--endpoint", "http://127.0.0.1:1", "--identity", GATE];
    for hex in ["", "8", "xyz", "81 00"] {
        refused(&[&caller[..], &["--hex", hex]].concat(), "--hex: expected bytes as hex digits");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_made_for_a_running_city_is_one_of_its_riders() {
    let city = City::build(&Blueprint { seed: 7, ..Blueprint::default() }).await.unwrap();
    let folder = city.folder();
    let (here, bus) = (folder.to_str().unwrap(), Files::of(&folder.join("pki"), "validator-bjbus-reader-3"));
    let (ca, endpoint) = (folder.join("pki/ca.pem"), city.endpoint());
    let told = |status: i32, partner: &str, how: &[&str]| {
        let picture = folder.join("code.png");
        let picture = picture.to_str().unwrap();
        done(&code(&[&["--city", here, "--partner", partner, "--out", picture], how].concat()), 0);
        let who = [&ca, &bus.certificate, &bus.key].map(|file| file.to_str().unwrap());
        let gateway = ["--endpoint", &endpoint, "--ca", who[0], "--certificate", who[1], "--key", who[2]];
        let (shown, _) = done(&scan(&[&gateway[..], &["--direction", "boarding", picture]].concat()), status);
        if status == 0 {
            assert_eq!(line(&shown, "partner"), partner);
        }
        line(&shown, "verdict").to_owned()
    };
    for partner in PARTNERS {
        assert_eq!(told(0, partner, &["--turn", "59"]), "ALLOW HEALTH_OK", "{partner}");
    }
    for (rider, status, expected) in [
        ("exempt", 0, "ALLOW EXEMPT"),
        ("overdue", 2, "INSPECT TEST_OVERDUE"),
        ("abnormal", 2, "INSPECT HEALTH_ABNORMAL"),
        ("popup", 2, "INSPECT HEALTH_POPUP"),
        ("untested", 2, "INSPECT TEST_MISSING"),
        ("no-record", 2, "INSPECT NO_RECORD"),
        ("unlinked", 2, "INSPECT NOT_LINKED"),
    ] {
        assert_eq!(told(status, "hohhot-metro", &["--rider", rider, "--turn", "2"]), expected, "{rider}");
    }
    assert_eq!(told(2, "yikatong", &["--account", "31049999999999999999"]), "INSPECT NOT_LINKED");
    assert_eq!(told(2, "tianjin-metro", &["--account", "TJ99999999999999"]), "INSPECT NOT_LINKED");
    assert_eq!(told(2, "tianjin-metro", &["--forged"]), "INSPECT CODE_UNTRUSTED");
    assert_eq!(told(2, "yikatong", &["--expired"]), "INSPECT CODE_EXPIRED");
    assert_eq!(told(2, "yikatong", &["--forged"]), "INSPECT CODE_UNTRUSTED");
    assert_eq!(told(2, "yikatong", &["--damaged"]), "INSPECT CODE_MALFORMED");
    // The city's own gate asks where nobody else is named; the metro gets health reasons coarse.
    let (shown, _) = done(&code(&["--city", here, "--partner", "alipay", "--rider", "overdue"]), 0);
    let (shown, _) = done(&scan(&["--city", here, "--hex", shown.trim()]), 2);
    assert_eq!(line(&shown, "verdict"), "INSPECT HEALTH");
    city.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_the_certificate_says_who_asks_and_stages_are_shown() {
    let house = House::guarded("").await;
    house.settle(8, Rider::Healthy).await;
    let picture = write(&house.folder, "code.png", png(&house.fresh(&house.phone(8))).unwrap());
    let pki = house.pki.as_ref().unwrap();
    let (gate, ca, endpoint) = (pki.caller("gate", GATE).unwrap(), pki.ca(), house.endpoint());
    let named = |ca: &Path, key: &Path| {
        let [ca, certificate, key] = [ca, &gate.certificate, key].map(|file| file.to_str().unwrap());
        scan(&["--endpoint", &endpoint, "--ca", ca, "--certificate", certificate, "--key", key, &picture])
    };
    let (shown, _) = done(&named(&ca, &gate.key), 0);
    assert_eq!(line(&shown, "verdict"), "ALLOW HEALTH_OK");
    for stage in [
        "recognise",
        "quota",
        "accept",
        "turn",
        "verify",
        "claim",
        "link",
        "facts",
        "policy",
        "total",
        "round trip",
    ] {
        let times = shown.split("verdict id").nth(1).unwrap();
        let took = line(times, stage).trim_end_matches(" ms").parse::<f64>();
        assert!(took.is_ok_and(|took| took >= 0.0), "{stage} in {shown}");
    }

    let site = Site {
        endpoint: endpoint.clone(),
        seed: 1,
        clock_offset_seconds: 0,
        ca: "pki/ca.pem".into(),
        certificate: "pki/gate.pem".into(),
        key: "pki/gate.key".into(),
    };
    site.write(house.folder.path()).unwrap();
    let folder = house.folder.path().to_str().unwrap();
    assert!(!line(&done(&scan(&["--city", folder, &picture]), 0).0, "retry of").is_empty());
    let (_, said) = done(&scan(&["--city", folder, "--identity", GATE, &picture]), 64);
    assert!(said.contains("over TLS the certificate"), "{said}");

    assert!(done(&named(&ca, Path::new("no.key")), 1).1.contains("no.key: cannot be read"));
    // Signed by nobody the client trusts.
    let (_, said) = done(&named(&gate.certificate, &gate.key), 1);
    let untrusted = format!("{endpoint}: cannot be reached");
    assert!(said.contains(&untrusted) && said.contains("certificate"), "{said}");
}
