//! `ridegate import`, as a card company runs it: whatever breaks, every card of the file is carried out once.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use jiff::SignedDuration;
use ridegate_proto::partner::v1::{BatchRow, BatchRowResult, BatchStart, Consent, Medium, MediumKind};
use ridegate_sim::pki::Pki;
use tempfile::TempDir;

use crate::{
    card_desk::{CARD_COMPANY, Gateway, Mishap},
    process::{ridegate, text},
};

const HEADER: &str = "kind,issuer,number,authorization_code\n";
const KINDS: [(&str, MediumKind); 3] = [
    ("senior-card", MediumKind::SeniorCard),
    ("civil-affairs-card", MediumKind::CivilAffairsCard),
    ("disability-service-card", MediumKind::DisabilityServiceCard),
];

fn number(card: usize) -> String {
    format!("3104{card:012}")
}

fn code(card: usize) -> String {
    format!("grant-{card:06}")
}

fn line(card: usize) -> String {
    format!("{},99990001,{},{}\n", KINDS[card % 3].0, number(card), code(card))
}

fn row(card: usize) -> BatchRow {
    let kind = KINDS[card % 3].1.into();
    let medium = Medium { kind, issuer: "99990001".into(), account: number(card) };
    BatchRow { medium: Some(medium), authorization_code: code(card) }
}

fn lines(cards: usize) -> String {
    (0..cards).fold(HEADER.to_owned(), |text, card| text + &line(card))
}

fn start(batch: &str) -> BatchStart {
    let consent = Consent {
        wording_version: "2022-06".into(),
        granted_at: Some(prost_types::Timestamp { seconds: 1_655_265_600, nanos: 0 }),
        purpose: "gates".into(),
    };
    BatchStart { batch_id: batch.into(), consent: Some(consent) }
}

struct Company {
    folder: TempDir,
    file: PathBuf,
}

impl Company {
    fn with(content: impl AsRef<[u8]>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cards.csv");
        fs::write(&file, content).unwrap();
        Self { folder, file }
    }

    fn command(&self, gateway: &Gateway, more: &[&str]) -> Command {
        let endpoint = format!("http://{}", gateway.address());
        self.command_to(&["--endpoint", &endpoint, "--identity", CARD_COMPANY], more)
    }

    fn command_to(&self, gateway: &[&str], more: &[&str]) -> Command {
        let mut command = ridegate();
        command.arg("import").arg(&self.file).args(gateway);
        command.args(["--consent-version", "2022-06", "--consent-purpose", "gates"]);
        command.args(["--consent-granted-at", "2022-06-15T12:00:00+08:00"]).args(more);
        if !more.iter().any(|argument| argument.starts_with("--timeout")) {
            // A busy machine answers late.
            command.arg("--timeout=20s");
        }
        command
    }

    fn import(&self, gateway: &Gateway, more: &[&str]) -> Output {
        self.command(gateway, more).output().unwrap()
    }

    /// Begins, and waits until the gateway does nothing more.
    fn begin(&self, gateway: &Gateway) -> Child {
        let mut command = self.command(gateway, &[]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        gateway.is_held();
        child
    }

    fn refused(&self) -> PathBuf {
        self.folder.path().join("cards.refused.csv")
    }
}

/// What it printed, in which no card is.
#[track_caller]
fn done(output: &Output, status: i32) -> (String, String) {
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(status), "{shown}\n{said}");
    names_no_card(&shown);
    names_no_card(&said);
    assert!(!said.contains(['\r', '\x1b']), "plain lines where there is no terminal: {said:?}");
    (shown, said)
}

#[track_caller]
fn names_no_card(text: &str) {
    assert!(!text.contains("310400") && !text.contains("grant-"), "{text}");
}

#[track_caller]
fn carried_out(gateway: &Gateway, cards: usize) {
    let rows = gateway.batch().rows;
    let once = rows.len() == cards && rows.iter().enumerate().all(|(card, (done, _))| *done == row(card));
    assert!(once, "{} rows, not each of {cards} once and in order", rows.len());
}

#[test]
fn every_card_of_a_file_is_linked_and_none_again() {
    let (gateway, company) = (Gateway::start(), Company::with(lines(1234)));
    let (shown, said) = done(&company.import(&gateway, &[]), 0);
    carried_out(&gateway, 1234);
    let name = company.file.display();
    let table = format!(
        "{name}: 1234 cards\n  linked                   1234\n  already linked              0\n  refused in the file         0\n1234 rows in "
    );
    assert!(shown.starts_with(&table) && shown.ends_with(" rows/s\n"), "{shown}");
    let sent = gateway.batch().start;
    assert_eq!(start(&sent.batch_id), sent);
    assert_eq!(sent.batch_id.len(), 32);
    assert!(said.starts_with(&format!("1234 rows, batch {}\n", sent.batch_id)), "{said}");
    assert!(said.ends_with("1234/1234 rows\n"), "{said}");
    assert!(!company.refused().exists());

    let (shown, said) = done(&company.import(&gateway, &[]), 0);
    assert!(said.ends_with("1234 of 1234 rows are carried out\n"), "{said}");
    assert!(shown.contains("linked                   1234\n") && shown.contains("\n0 rows in "), "{shown}");
    assert_eq!(gateway.calls(), 1, "nothing is sent again");
    // Another consent is another batch.
    let other = Gateway::start();
    done(&company.import(&other, &["--batch-id", "june"]), 0);
    assert_eq!(other.batch().start, start("june"));
}

#[test]
fn columns_come_in_any_order_and_as_spreadsheets_write_them() {
    let mut content = "\u{feff}\"number\",authorization_code,kind,issuer\r\n".to_owned();
    for card in 0..3 {
        write!(content, "{},\"{}\",{},99990001\r\n\r\n", number(card), code(card), KINDS[card % 3].0)
            .unwrap();
    }
    let (gateway, company) = (Gateway::start(), Company::with(content.trim_end()));
    done(&company.import(&gateway, &[]), 0);
    carried_out(&gateway, 3);
}

#[test]
fn after_breaks_it_goes_on_and_carries_out_every_row_once() {
    let (gateway, company) = (Gateway::start(), Company::with(lines(4321)));
    gateway.expect(&[
        (1, Mishap::Cut),
        (501, Mishap::Unavailable),
        (1300, Mishap::LaterUnavailable),
        (1800, Mishap::Cut),
        (4000, Mishap::Cut),
        (4321, Mishap::Cut),
    ]);
    let (_, said) = done(&company.import(&gateway, &["--retries", "2"]), 0);
    carried_out(&gateway, 4321);
    assert_eq!(said.matches("trying again in 250ms (1 of 2)").count(), 6, "{said}");
    assert!(said.contains("500 of 4321 rows are carried out: going on from there\n"), "{said}");
    assert!(said.contains("Unavailable: the registry is away"), "{said}");
    assert_eq!(gateway.calls(), 6, "the last row's answer was lost, not the row");
}

#[test]
fn it_goes_on_from_any_row() {
    let company = Company::with(lines(1234));
    for before in [1, 499, 500, 501, 733, 1233] {
        let gateway = Gateway::start();
        let rows: Vec<_> = (0..before).map(row).collect();
        gateway.has_done("june", start("june"), &rows);
        let (shown, said) = done(&company.import(&gateway, &["--batch-id", "june"]), 0);
        carried_out(&gateway, 1234);
        assert!(said.contains(&format!("{before} of 1234 rows are carried out: going on")), "{said}");
        assert!(shown.contains(&format!("\n{} rows in ", 1234 - before)), "{shown}");
        assert_eq!(gateway.received(), 1234 - before, "no card is shown to anybody twice");
    }
}

#[test]
fn the_same_command_goes_on_after_kill_9() {
    let (gateway, company) = (Gateway::start(), Company::with(lines(20_000)));
    gateway.expect(&[(700, Mishap::Hold)]);
    let mut child = company.begin(&gateway);
    child.kill().unwrap();
    child.wait().unwrap();
    gateway.go_on();
    let (_, said) = done(&company.import(&gateway, &[]), 0);
    carried_out(&gateway, 20_000);
    assert!(said.contains("rows are carried out: going on from there"), "{said}");
}

#[test]
fn told_to_stop_it_says_how_to_go_on() {
    let (gateway, company) = (Gateway::start(), Company::with(lines(20_000)));
    gateway.expect(&[(700, Mishap::Hold)]);
    let child = company.begin(&gateway);
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let (shown, said) = done(&child.wait_with_output().unwrap(), 130);
    assert_eq!(shown, "");
    let expected =
        "ridegate: 1000 of 20000 rows are carried out; the same command goes on where this one stopped\n";
    assert!(said.ends_with(expected), "{said}");
    gateway.go_on();
    done(&company.import(&gateway, &[]), 0);
    carried_out(&gateway, 20_000);
}

#[test]
fn refused_cards_are_told_by_their_lines() {
    let used = |card| (number(card), BatchRowResult::AuthorizationUsed);
    // More than a page.
    let mut results: Vec<_> = (100..1350).map(used).collect();
    results.push((number(1999), BatchRowResult::LinkedToSomeoneElse));
    results.push((number(0), BatchRowResult::AlreadyLinked));
    let gateway = Gateway::refusing(results);
    let mut content = lines(2).into_bytes();
    content.extend(b"senior-card,99990001,3104000000009999,grant-9999,more\n");
    content.extend(b"3104000000009999,99990001,senior-card,grant-9999\n");
    content.extend(b"senior-card,99990001,3104000000009999,\xd6\xd0\n\n");
    content.extend(b"senior-card,99990001,\"3104000000009999,grant-9999\n");
    content.extend(format!("senior-card,99990001,3104000000009999,{}\n", "grant-".repeat(20_000)).bytes());
    content.extend((2..2000).map(line).collect::<String>().bytes());
    let company = Company::with(content);

    gateway.expect(&[(1500, Mishap::Cut)]);
    let (shown, _) = done(&company.import(&gateway, &[]), 1);
    carried_out(&gateway, 2000);
    for expected in [
        "cards.csv: 2005 cards\n",
        "  linked                    748\n",
        "  already linked              1\n",
        "  linked to someone else      1\n",
        "  authorization used       1250\n",
        "  refused in the file         5\n",
        &format!("refused cards: {}\n", company.refused().display()),
    ] {
        assert!(shown.contains(expected), "{expected} in {shown}");
    }
    let report = fs::read_to_string(company.refused()).unwrap();
    names_no_card(&report);
    let lines: Vec<_> = report.lines().collect();
    assert_eq!(lines[0], "line,kind,result,what_to_do");
    let results = ["LINE_FIELDS", "LINE_KIND_UNKNOWN", "LINE_NOT_UTF8", "LINE_QUOTE_OPEN", "LINE_TOO_LONG"];
    for ((at, result), line) in [4, 5, 6, 8, 9].into_iter().zip(results).zip(&lines[1..]) {
        assert!(line.starts_with(&format!("{at},,{result},")), "{line}");
    }
    assert_eq!(lines.len(), 1 + 5 + 1251);
    for (at, line) in lines[6..1256].iter().enumerate() {
        let (kind, _) = KINDS[(at + 100) % 3];
        let expected = format!(
            "{},{kind},AUTHORIZATION_USED,the code was used before: have the health authority authorise the holder again",
            at + 108
        );
        assert_eq!(*line, expected);
    }
    assert!(lines[1256].starts_with("2007,civil-affairs-card,LINKED_TO_SOMEONE_ELSE,"), "{}", lines[1256]);

    // What was written is not lost, and nothing is sent before that is clear.
    let (_, said) = done(&company.import(&gateway, &[]), 64);
    assert!(
        said.contains("cards.refused.csv: is there already; --force overwrites it, --refused FILE names")
    );
    done(&company.import(&gateway, &["--force"]), 1);
    assert_eq!(fs::read_to_string(company.refused()).unwrap(), report);
    let elsewhere = company.folder.path().join("other.csv");
    done(&company.import(&gateway, &["--refused", elsewhere.to_str().unwrap()]), 1);
    assert_eq!(fs::read_to_string(elsewhere).unwrap(), report);
    let file = company.file.to_str().unwrap();
    let (_, said) = done(&company.import(&gateway, &["--force", "--refused", file]), 64);
    assert!(said.contains("expected a file in a folder that is there"), "{said}");
}

#[test]
fn a_file_without_one_usable_line_is_reported_and_nothing_is_asked() {
    let company = Company::with(format!("{HEADER}adult-card,99990001,{},{}\n", number(1), code(1)));
    let (shown, _) = done(&company.command_to(&nowhere(), &[]).output().unwrap(), 1);
    assert!(shown.contains("refused in the file      1\n"), "{shown}");
    let report = fs::read_to_string(company.refused()).unwrap();
    assert!(report.contains("\n2,,LINE_KIND_UNKNOWN,kind is senior-card or "), "{report}");
}

#[test]
fn long_codes_still_fit_into_messages() {
    let long = |card: usize| format!("{}{card:03}", "x".repeat(253));
    let content = (0..700).fold(HEADER.to_owned(), |text, card| {
        text + &format!("senior-card,99990001,{},{}\n", number(card), long(card))
    });
    let (gateway, company) = (Gateway::start(), Company::with(content));
    done(&company.import(&gateway, &[]), 0);
    let rows = gateway.batch().rows;
    assert!(
        rows.len() == 700
            && rows.iter().enumerate().all(|(card, (row, _))| row.authorization_code == long(card))
    );
}

#[test]
fn memory_does_not_grow_with_the_file() {
    let memory = |content: &[u8]| {
        let (gateway, company) = (Gateway::start(), Company::with(content));
        gateway.expect(&[(1, Mishap::Hold)]);
        let mut child = company.begin(&gateway);
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        most.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    let small = memory(lines(1).as_bytes());
    let mut content = lines(1).into_bytes();
    // A quote that never ends, a line that hardly does, and many.
    content.extend(b"senior-card,99990001,\"\n");
    content.extend(vec![b'x'; 8 << 20]);
    content.push(b'\n');
    content.extend((1..150_000).map(line).collect::<String>().bytes());
    let large = memory(&content);
    let file = content.len() >> 10;
    assert!(large < small + file / 2, "{large} KiB for {file} KiB, {small} KiB for a line");
}

/// An address at which nobody listens.
fn nowhere() -> [&'static str; 4] {
    ["--endpoint", "http://127.0.0.1:1", "--identity", CARD_COMPANY]
}

#[track_caller]
fn refused_file(content: &[u8], why: &str) {
    let company = Company::with(content);
    let (shown, said) = done(&company.command_to(&nowhere(), &[]).output().unwrap(), 64);
    assert_eq!(shown, "");
    assert!(said.contains(&format!("cards.csv{why}")), "{why} in {said}");
}

#[test]
fn a_file_that_cannot_be_used_is_refused_before_anything_is_asked() {
    let expected = "expected kind,issuer,number,authorization_code in any order, with commas between\n";
    refused_file(b"", ":1: the file is empty");
    refused_file(HEADER.as_bytes(), ": there is no card below the header");
    refused_file(line(1).as_bytes(), &format!(":1: there is no header: {expected}"));
    refused_file(b"kind,issuer,number\n", &format!(":1: there is no column authorization_code: {expected}"));
    refused_file(
        format!("kind,issuer,number,authorization_code,{}\n", number(1)).as_bytes(),
        &format!(":1: column 5 is none of these: {expected}"),
    );
    refused_file(b"\x7fELF\x02\x01\x01\0\0\0", &format!(":1: this is not CSV in UTF-8: {expected}"));
    refused_file(&vec![0xff; 100_000], &format!(":1: this is not CSV in UTF-8: {expected}"));
    refused_file(b"\xff\xfek\0i\0", ":1: this is UTF-16: save it as UTF-8\n");
    let company = Company::with("");
    fs::remove_file(&company.file).unwrap();
    let (_, said) = done(&company.command_to(&nowhere(), &[]).output().unwrap(), 64);
    assert!(said.contains("cards.csv: cannot be read: No such file"), "{said}");
    fs::create_dir(&company.file).unwrap();
    let (_, said) = done(&company.command_to(&nowhere(), &[]).output().unwrap(), 64);
    assert!(said.contains("cards.csv: "), "{said}");
}

#[test]
fn arguments_that_cannot_be_used_are_refused() {
    let company = Company::with(lines(1));
    let refused = |more: &[&str], why: &str| {
        let (_, said) = done(&company.command_to(&nowhere(), more).output().unwrap(), 64);
        assert!(said.contains(why), "{why} in {said}");
    };
    let file = company.file.to_str().unwrap();
    let (_, said) = done(&ridegate().args(["import", file]).args(nowhere()).output().unwrap(), 64);
    for needed in ["--consent-version", "--consent-granted-at", "--consent-purpose"] {
        assert!(said.contains(needed), "{needed} in {said}");
    }
    refused(&["--batch-id", ""], "expected 1 to 64 characters");
    refused(&["--batch-id", &"x".repeat(65)], "expected 1 to 64 characters");
    refused(&["--refused", "/nowhere/at/all.csv"], "expected a file in a folder that is there");
    refused(&["--ca", file], "--ca, --certificate and --key are for https:// endpoints");
    refused(&["--retries=-1"], "--retries");
    let command = company.command_to(&["--endpoint", "https://127.0.0.1:1"], &[]).output().unwrap();
    assert!(done(&command, 64).1.contains("an https:// endpoint needs --ca, --certificate and --key"));
    let missing = ["--endpoint", "https://127.0.0.1:1", "--ca", "/a", "--certificate", "/b", "--key", "/c"];
    assert!(done(&company.command_to(&missing, &[]).output().unwrap(), 64).1.contains("cannot be read"));
}

#[test]
fn a_gateway_that_is_not_there_or_goes_away_is_told_from_one_that_refuses() {
    let company = Company::with(lines(1234));
    let (_, said) = done(&company.command_to(&nowhere(), &[]).output().unwrap(), 69);
    assert!(said.contains("http://127.0.0.1:1: cannot be reached"), "{said}");
    // Somebody listens and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let silent = ["--endpoint", &endpoint, "--identity", CARD_COMPANY];
    let impatient = ["--retries=1", "--timeout=2s"];
    let (_, said) = done(&company.command_to(&silent, &impatient).output().unwrap(), 69);
    assert!(said.contains("(1 of 1)") && said.contains("no answer in time"), "{said}");

    let gateway = Gateway::start();
    gateway.expect(&[(600, Mishap::Vanish)]);
    let (shown, said) = done(&company.import(&gateway, &["--retries", "2"]), 69);
    assert!(
        said.contains("(2 of 2)") && said.ends_with("\n  the same command goes on where this one stopped\n"),
        "{said}"
    );
    assert_eq!(shown, "");

    let gateway = Gateway::start();
    gateway.expect(&[(600, Mishap::Refuse)]);
    let (_, said) = done(&company.import(&gateway, &[]), 1);
    assert!(said.contains("the gateway refuses: no answer: PermissionDenied: no cards of yours"), "{said}");
    let url = format!("http://{}", gateway.address());
    let other = ["--endpoint", &url, "--identity", "urn:ridegate:partner:alipay"];
    let (_, said) = done(&company.command_to(&other, &[]).output().unwrap(), 1);
    assert!(said.contains("PermissionDenied: not a card company"), "{said}");
}

#[test]
fn a_file_that_changes_or_is_another_batchs_is_not_sent_to_its_end() {
    let (gateway, company) = (Gateway::start(), Company::with(lines(20_000)));
    gateway.expect(&[(500, Mishap::Hold)]);
    let child = company.begin(&gateway);
    let mut file = OpenOptions::new().append(true).open(&company.file).unwrap();
    file.write_all(line(20_000).as_bytes()).unwrap();
    gateway.go_on();
    let (_, said) = done(&child.wait_with_output().unwrap(), 1);
    assert!(said.contains("cards.csv: it was changed while it was being sent"), "{said}");
    assert!(gateway.batch().rows.len() < 20_000);

    let gateway = Gateway::start();
    let longer: Vec<_> = (0..100).map(row).collect();
    gateway.has_done("june", start("june"), &longer);
    let (_, said) = done(&Company::with(lines(99)).import(&gateway, &["--batch-id", "june"]), 64);
    assert!(said.contains("batch june has 100 rows at the gateway, more than the 99 of this file"), "{said}");
}

#[test]
fn over_tls_the_certificate_says_who_sends() {
    let company = Company::with(lines(600));
    let folder: &Path = &company.folder.path().join("pki");
    let pki = Pki::create(folder, SignedDuration::from_hours(24)).unwrap();
    let files = pki.caller("partner", CARD_COMPANY).unwrap();
    let gateway = Gateway::guarded(&pki);
    gateway.expect(&[(500, Mishap::Cut)]);
    let url = format!("https://{}", gateway.address());
    let [ca, certificate, key] =
        [pki.ca(), files.certificate, files.key].map(|path| path.display().to_string());
    let tls = ["--endpoint", &url, "--ca", &ca, "--certificate", &certificate, "--key", &key];
    done(&company.command_to(&tls, &[]).output().unwrap(), 0);
    carried_out(&gateway, 600);
    // Whom the CA does not vouch for is not sent a card.
    let other = Pki::create(&folder.join("other"), SignedDuration::from_hours(24)).unwrap().ca();
    let other = other.display().to_string();
    let wrong = ["--endpoint", &url, "--ca", &other, "--certificate", &certificate, "--key", &key];
    done(&company.command_to(&wrong, &["--batch-id", "second"]).output().unwrap(), 69);
    carried_out(&gateway, 600);
}
