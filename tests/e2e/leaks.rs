//! What a thief gets: of a database's files or its dump, of the logs and pages, and of the memory of a gateway that
//! runs. Every identifier that the test used is looked for there, in every form in which it might be (D33, D34).

use std::{
    collections::{BTreeSet, HashMap},
    fmt, fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rand::RngExt;
use ridegate_proto::{
    partner::v1::{
        Client, ConfirmDelegatedLinkRequest, ConfirmationResult, Consent, GetLinkRequest, LinkResult,
        LinkRiderRequest, Medium, MediumKind, Os, ReportLostRequest, ReportReissuedRequest,
        ReportReturnedRequest, StartDelegatedLinkRequest, UnlinkRiderRequest,
        partner_service_client::PartnerServiceClient,
    },
    ticketing::v1::{
        CheckSaleRequest, ReportSoldRequest, ReportUsedRequest, ticket_service_client::TicketServiceClient,
    },
    validator::v1::{CardKind, CardTap, CheckRequest, check_request},
};
use ridegate_sim::{authority::Mood, riders::Rider};
use tonic::{Response, Status, transport::Channel};

use crate::{
    batches::{row, rows, start},
    crashes::Store,
    house::{
        GATE, House, ISSUER, as_partner, digits, identified, link_request, partner_identity, request, said,
    },
    observed::{get, metric},
    process::Process,
    tickets::{WINDOW, id_number},
};

const COMPANY: &str = "yikatong";
/// What is kept in clear, and names nobody.
const PURPOSE: &str = "purpose-of-consent";
/// Calls of other riders after those that are searched for.
const OTHERS: u32 = 5;
const OFTEN: &str = "[tickets]\nper_device_per_minute = 100000\nper_device_burst = 100000\n[cards]\nper_device_per_second = 100000\nper_device_burst = 100000\n";

/// One form of one identifier.
struct Needle {
    what: String,
    bytes: Vec<u8>,
    /// Too short to be sure unless nothing of its kind stands beside it.
    alone: bool,
}

/// Everything that is looked for.
#[derive(Default)]
struct Needles {
    all: Vec<Needle>,
    /// By the first two bytes.
    begins: HashMap<[u8; 2], Vec<usize>>,
}

impl Needles {
    /// An identifier as text, in hex and in base 64 wherever it begins; digits also two in a byte.
    fn add(&mut self, kind: &str, text: &str) {
        self.form(format!("{kind}, as text"), text.as_bytes().to_vec());
        self.form(format!("{kind}, in hex"), hex::encode(text).into_bytes());
        self.form(format!("{kind}, in HEX"), hex::encode_upper(text).into_bytes());
        for before in 0..3 {
            let coded = BASE64_STANDARD.encode([&vec![0; before], text.as_bytes()].concat());
            // Letters that share bits with what stands before or behind are anybody's.
            let (first, last) = ((before * 8).div_ceil(6), (before + text.len()) * 8 / 6);
            self.form(format!("{kind}, in base 64"), coded.as_bytes()[first..last].to_vec());
        }
        if text.len() >= 10 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let even = &text[text.len() % 2..];
            self.form(format!("{kind}, packed"), hex::decode(even).unwrap());
            let shifted = &text[1 - text.len() % 2..];
            let shifted = &shifted[..shifted.len() / 2 * 2];
            self.form(format!("{kind}, packed from the second digit"), hex::decode(shifted).unwrap());
        }
    }

    /// Six digits. In anything else that short there are other people's six digits.
    fn add_digits(&mut self, text: &str) {
        self.form("digits".into(), text.as_bytes().to_vec());
        self.all.last_mut().unwrap().alone = true;
    }

    fn form(&mut self, what: String, bytes: Vec<u8>) {
        let begins = self.begins.entry([bytes[0], bytes[1]]).or_default();
        begins.push(self.all.len());
        self.all.push(Needle { what, bytes, alone: false });
    }

    /// Everything that is found, and where.
    fn search(&self, place: &str, hay: &[u8]) -> Vec<Found> {
        let mut is_begin = vec![false; 1 << 16];
        for begin in self.begins.keys() {
            is_begin[usize::from(u16::from_be_bytes(*begin))] = true;
        }
        let mut found = Vec::new();
        let mut last = 0;
        for (at, byte) in hay.iter().enumerate().skip(1) {
            let pair = usize::from(hay[at - 1]) << 8 | usize::from(*byte);
            if is_begin[pair] && at > last {
                for needle in self.at(hay, at - 1) {
                    last = at;
                    found.push(Found {
                        what: needle.what.clone(),
                        place: place.to_owned(),
                        around: hay[(at - 1).saturating_sub(48)..hay.len().min(at + 64)].to_vec(),
                    });
                }
            }
        }
        found
    }

    fn at<'n>(&'n self, hay: &'n [u8], at: usize) -> impl Iterator<Item = &'n Needle> {
        let begins = self.begins.get(&[hay[at], hay[at + 1]]).into_iter().flatten();
        let alone = move |needle: &Needle| {
            let beside = [at.checked_sub(1), Some(at + needle.bytes.len())];
            let word = |at: &usize| {
                hay.get(*at)
                    .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
            };
            !needle.alone || !beside.iter().flatten().any(word)
        };
        begins
            .map(|index| &self.all[*index])
            .filter(move |needle| hay[at..].starts_with(&needle.bytes) && alone(needle))
    }
}

/// Something that should not be there.
struct Found {
    what: String,
    place: String,
    around: Vec<u8>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} in {}: {}", self.what, self.place, self.around.escape_ascii())
    }
}

/// Writable memory of a process that stands still meanwhile, with the names that the system gives to it. What is not
/// writable are its files.
fn memory(pid: u32) -> Vec<(String, Vec<u8>)> {
    tell("STOP", pid);
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut file = fs::File::open(format!("/proc/{pid}/mem")).expect("leave to read a child's memory");
    let mut regions = Vec::new();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with("rw")))
    {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        file.seek(SeekFrom::Start(from)).unwrap();
        // What cannot be read is not in a dump either.
        if file.read_exact(&mut bytes).is_ok() {
            regions.push((format!("memory {line}"), bytes));
        }
    }
    tell("CONT", pid);
    regions
}

fn tell(signal: &str, pid: u32) {
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args(["-s", signal, &pid.to_string()]).status().unwrap().success());
}

fn search_memory(needles: &Needles, pid: u32) -> Vec<Found> {
    memory(pid).iter().flat_map(|(place, bytes)| needles.search(place, bytes)).collect()
}

/// A database's files, all of them.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Everything that a thief of the database would have: its files, and a dump.
fn stolen(store: &Store, house: &House) -> Vec<(String, Vec<u8>)> {
    let read = |path: PathBuf| (path.display().to_string(), fs::read(path).unwrap_or_default());
    let Some((server, name)) = store.postgres() else {
        let ours = files(house.folder.path()).into_iter();
        return ours.filter(|path| path.to_string_lossy().contains("ridegate.db")).map(read).collect();
    };
    server.sql(name, "CHECKPOINT");
    let mut stolen: Vec<_> = files(server.folder()).into_iter().map(read).collect();
    stolen.push(("dump".into(), server.dump(name).into_bytes()));
    stolen
}

fn random(digits: usize) -> String {
    (0..digits).map(|_| char::from(rand::rng().random_range(b'0'..=b'9'))).collect()
}

/// One rider with everything that names one. Chosen by chance, so that nothing else is it.
struct Someone {
    accounts: [u64; 2],
    user: String,
    cards: Vec<(CardKind, Medium)>,
    reissued: Medium,
    buyer: u32,
    /// What codes, keys, tickets and the subject are called.
    word: String,
    /// What the authority sent, and what came back: sales.
    learned: Vec<String>,
    digits: Vec<String>,
}

impl Someone {
    fn new() -> Self {
        let account = || rand::rng().random_range(31_040_000_000..31_050_000_000);
        let medium = |kind: MediumKind, issuer: &str, account: String| Medium {
            kind: kind.into(),
            issuer: issuer.into(),
            account,
        };
        let senior = || medium(MediumKind::SeniorCard, "01001001", random(16));
        let cards = vec![
            (CardKind::YikatongCard, medium(MediumKind::YikatongCard, "01001000", random(16))),
            (CardKind::YikatongNfc, medium(MediumKind::YikatongNfc, "01001000", random(16))),
            (CardKind::TUnionCard, medium(MediumKind::TUnionCard, "87654321", t_union())),
            (CardKind::SeniorCard, senior()),
            (CardKind::CivilAffairsCard, medium(MediumKind::CivilAffairsCard, "01001002", random(16))),
            (
                CardKind::DisabilityServiceCard,
                medium(MediumKind::DisabilityServiceCard, "01001003", random(16)),
            ),
        ];
        Self {
            accounts: [account(), account()],
            user: format!("2088{}", random(12)),
            cards,
            reissued: senior(),
            buyer: rand::rng().random_range(100_000_000..999_999_999),
            word: format!("{:016x}", rand::random::<u64>()),
            learned: Vec::new(),
            digits: Vec::new(),
        }
    }

    fn subject(&self) -> String {
        format!("s-{}", self.word.chars().rev().collect::<String>())
    }

    /// What may be nowhere once the calls are over.
    fn needles(&self) -> Needles {
        let mut needles = Needles::default();
        for account in self.accounts {
            needles.add("account", &account.to_string());
        }
        needles.add("user id", &self.user);
        for (kind, card) in &self.cards {
            needles.add(kind.as_str_name(), &card.account);
        }
        needles.add("card", &self.reissued.account);
        needles.add("ID number", &id_number(self.buyer));
        needles.add("code, key or ticket", &self.word);
        for learned in &self.learned {
            needles.add("sale or delegation", learned);
            needles
                .form("sale or delegation, as bytes".into(), hex::decode(learned.replace('-', "")).unwrap());
        }
        for digits in &self.digits {
            needles.add_digits(digits);
        }
        needles
    }

    /// What may be in memory, and nowhere else.
    fn subjects(&self) -> Needles {
        let mut needles = Needles::default();
        needles.add("subject", &self.subject());
        needles
    }
}

/// 19 digits that begin with 31, the last a check digit.
fn t_union() -> String {
    let digits = format!("3104{}", random(14));
    let sum = digits.bytes().rev().enumerate().map(|(place, digit)| {
        let digit = u32::from(digit - b'0') * if place % 2 == 0 { 2 } else { 1 };
        digit / 10 + digit % 10
    });
    let sum: u32 = sum.sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

fn desk(house: &House, partner: &str) -> PartnerServiceClient<Channel> {
    PartnerServiceClient::new(house.channel_of(&partner_identity(partner)))
}

impl House {
    async fn sale(&self, number: &str) -> Result<String, Status> {
        let asked = CheckSaleRequest { id_number: number.into(), location: "xizhimen".into() };
        let mut window = TicketServiceClient::new(self.channel_of(WINDOW));
        window.check_sale(identified(WINDOW, asked)).await.map(|answer| answer.into_inner().sale_id)
    }
}

/// A rider's life with us: everything that can be called, and much that is refused.
struct Life<'h> {
    house: &'h House,
    who: Someone,
    calls: u32,
    errors: String,
}

impl<'h> Life<'h> {
    async fn live(house: &'h House) -> Self {
        let mut life = Self { house, who: Someone::new(), calls: 0, errors: String::new() };
        let subject = life.who.subject();
        house.authority.set(&subject, Rider::Healthy.facts(house.clock.now()).unwrap());
        house.authority.number(&id_number(life.who.buyer), &subject);
        life.link().await;
        life.cards().await;
        life.tap().await;
        life.delegate().await;
        life.ticket().await;
        life.err().await;
        life.leave().await;
        life
    }

    fn word(&mut self, what: &str) -> String {
        self.calls += 1;
        format!("{what}-{}-{}", self.who.word, self.calls)
    }

    fn code(&mut self) -> String {
        let code = self.word("code");
        self.house.authority.authorise(&code, &self.who.subject());
        code
    }

    fn request(&mut self, media: Vec<Medium>) -> LinkRiderRequest {
        let consent = Consent { purpose: PURPOSE.into(), ..link_request(1).consent.unwrap() };
        LinkRiderRequest {
            idempotency_key: self.word("key"),
            media,
            authorization_code: self.code(),
            consent: Some(consent),
            client: Some(Client { os: Os::Ios.into(), app_version: "6.0".into() }),
            ..link_request(1)
        }
    }

    fn account(&self, which: usize) -> Medium {
        let account = digits(self.who.accounts[which]);
        Medium { kind: MediumKind::MotCode.into(), issuer: ISSUER.into(), account }
    }

    fn user(&self) -> Medium {
        let account = self.who.user.clone();
        Medium { kind: MediumKind::AlipayCode.into(), issuer: String::new(), account }
    }

    async fn link(&mut self) {
        let card = |which: usize, life: &Self| life.who.cards[which].1.clone();
        let media = vec![self.account(0), card(0, self), card(1, self), card(2, self)];
        let asked = self.request(media);
        for _ in 0..2 {
            let answer = self.house.link(COMPANY, asked.clone()).await.unwrap();
            assert_eq!(answer.result(), LinkResult::Linked);
        }
        let asked = self.request(vec![self.user()]);
        assert_eq!(self.house.link("alipay", asked).await.unwrap().result(), LinkResult::Linked);
        let asked = GetLinkRequest { medium: Some(self.account(0)) };
        assert!(
            desk(self.house, COMPANY)
                .get_link(as_partner(COMPANY, asked))
                .await
                .unwrap()
                .into_inner()
                .link
                .is_some()
        );
    }

    async fn cards(&mut self) {
        let company: Vec<_> = self.who.cards[3..].iter().map(|(_, card)| card.clone()).collect();
        let sent = company.iter().map(|card| row(card.clone(), &self.code())).collect();
        let id = format!("batch-{:016x}", rand::random::<u64>());
        let done = self.house.batch(COMPANY, vec![start(&id), rows(0, sent)]).await.unwrap();
        assert_eq!(done.progress.unwrap().counts[0].rows, 3);
        let mut company = desk(self.house, COMPANY);
        let lost = self.who.cards[3].1.clone();
        let asked = ReportLostRequest { medium: Some(lost.clone()) };
        assert!(company.report_lost(as_partner(COMPANY, asked)).await.unwrap().into_inner().unlinked);
        let asked = ReportReissuedRequest { lost: Some(lost), reissued: Some(self.who.reissued.clone()) };
        company.report_reissued(as_partner(COMPANY, asked)).await.unwrap();
    }

    async fn tap(&mut self) {
        let phone = self.house.phone(self.who.accounts[0]);
        let code = self.house.fresh(&phone);
        assert_eq!(said(&self.house.tap(code).await), "ALLOW HEALTH_OK");
        let unlinked = self.house.fresh(&self.house.phone(self.who.accounts[1]));
        assert_eq!(said(&self.house.tap(unlinked.clone()).await), "INSPECT NOT_LINKED");
        let mut damaged = unlinked;
        *damaged.last_mut().unwrap() ^= 1;
        assert!(said(&self.house.tap(damaged).await).starts_with("INSPECT CODE_"));
        let code = self.house.phone_of("alipay", &self.who.user).code(self.house.now()).unwrap();
        assert_eq!(said(&self.house.tap(code).await), "ALLOW HEALTH_OK");
        for (kind, medium) in self.who.cards.clone() {
            let card = CardTap { kind: kind.into(), number: medium.account, issuer: medium.issuer };
            let card = check_request::Medium::Card(card);
            let id = format!("card-{}", rand::random::<u32>());
            let tap = CheckRequest { medium: Some(card), ..request(&id, vec![]) };
            let expect = if kind == CardKind::SeniorCard { "INSPECT NOT_LINKED" } else { "ALLOW HEALTH_OK" };
            assert_eq!(said(&self.house.check(GATE, tap).await.unwrap()), expect);
        }
    }

    async fn delegate(&mut self) {
        let subject = self.who.subject();
        let code = self.word("code");
        self.house.authority.authorise_for(
            &code,
            &format!("agent-of-{}", rand::random::<u64>()),
            &subject,
            true,
        );
        let LinkRiderRequest { idempotency_key, media, consent, channel, client, .. } =
            self.request(vec![self.account(1)]);
        let asked = StartDelegatedLinkRequest {
            idempotency_key,
            media,
            authorization_code: code,
            consent,
            channel,
            client,
        };
        let mut company = desk(self.house, COMPANY);
        let started = company.start_delegated_link(as_partner(COMPANY, asked)).await.unwrap().into_inner();
        let sent = self.house.authority.texted(&subject).pop().unwrap();
        let wrong = if sent == "314159" { "271828" } else { "314159" };
        for (code, expect) in
            [(wrong, ConfirmationResult::WrongCode), (sent.as_str(), ConfirmationResult::Confirmed)]
        {
            let delegation_id = started.delegation_id.clone();
            let asked = ConfirmDelegatedLinkRequest { delegation_id, code: code.into() };
            let answer =
                company.confirm_delegated_link(as_partner(COMPANY, asked)).await.unwrap().into_inner();
            assert_eq!(answer.result(), expect);
        }
        self.who.digits.push(sent);
        self.who.learned.push(started.delegation_id);
    }

    async fn ticket(&mut self) {
        let sale_id = self.house.sale(&id_number(self.who.buyer)).await.unwrap();
        let ticket = self.word("ticket");
        let mut window = TicketServiceClient::new(self.house.channel_of(WINDOW));
        let asked = ReportSoldRequest { sale_id: sale_id.clone(), ticket };
        window.report_sold(identified(WINDOW, asked)).await.unwrap();
        assert_eq!(self.house.sale(&id_number(self.who.buyer)).await.unwrap(), "", "one at a time");
        let asked = ReportUsedRequest { ticket: self.word("ticket") };
        assert!(!window.report_used(identified(WINDOW, asked)).await.unwrap().into_inner().was_open);
        self.who.learned.push(sale_id);
    }

    /// What is refused, with identifiers in it.
    async fn err(&mut self) {
        let mut refused = Vec::new();
        let good = self.request(vec![self.account(0)]);
        for bad in [
            LinkRiderRequest {
                media: vec![Medium { account: self.who.user.clone(), ..self.account(0) }],
                ..good.clone()
            },
            LinkRiderRequest {
                media: vec![Medium { issuer: self.who.user.clone(), ..self.user() }],
                ..good.clone()
            },
            LinkRiderRequest { authorization_code: self.word("code").repeat(20), ..good.clone() },
            LinkRiderRequest { idempotency_key: self.word("key").repeat(9), ..good.clone() },
        ] {
            refused.push(self.house.link(COMPANY, bad).await.unwrap_err());
        }
        let number = id_number(self.who.buyer);
        refused.push(self.house.sale(&number[..17]).await.unwrap_err());
        self.house.authority.feel(Mood::Failing);
        refused.push(self.house.link(COMPANY, good.clone()).await.unwrap_err());
        self.house.authority.feel(Mood::Well);
        let unknown = LinkRiderRequest { authorization_code: self.word("code"), ..good };
        let answer = self.house.link(COMPANY, unknown).await.unwrap();
        assert_eq!(answer.result(), LinkResult::AuthorizationUnknown);
        self.errors = format!("{refused:?}");
    }

    async fn leave(&mut self) {
        let mut company = desk(self.house, COMPANY);
        let asked = UnlinkRiderRequest { medium: Some(self.account(1)) };
        assert!(company.unlink_rider(as_partner(COMPANY, asked)).await.unwrap().into_inner().unlinked);
        let asked = ReportReturnedRequest { medium: Some(self.who.cards[0].1.clone()) };
        let returned = company.report_returned(as_partner(COMPANY, asked)).await.map(Response::into_inner);
        assert!(returned.unwrap().unlinked);
    }
}

/// Waits until the gateway has no connection of callers any more.
async fn nobody_is_connected(house: &House) {
    for _ in 0..2000 {
        let mut open = 0;
        for role in ["validator", "partner", "ticketing"] {
            open += metric(house, &format!("ridegate_connections{{role=\"{role}\"}}")).await;
        }
        if open == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("somebody stays");
}

async fn search(store: Store) {
    let mut house = House::guarded(OFTEN).await;
    house.close().await;
    fs::remove_file(house.folder.path().join("ridegate.db")).unwrap();
    let config = store.furnish(house.folder.path());
    let process = Process::start_logging("trace", &config);
    house.move_to(&process).await;
    let life = Life::live(&house).await;
    let (who, errors) = (life.who, life.errors);
    for _ in 0..OTHERS {
        Life::live(&house).await;
    }
    let needles = who.needles();
    // The twin: while a call is under way, what it needs is there, and found.
    let mut other = Life { house: &house, who: Someone::new(), calls: 0, errors: String::new() };
    let asked = other.request(vec![other.account(0), other.user()]);
    let asked = LinkRiderRequest { media: vec![other.account(0)], ..asked };
    house.authority.feel(Mood::Stalled);
    let exchanges = house.authority.exchanges();
    let mut company = desk(&house, COMPANY);
    let waiting = tokio::spawn(async move { company.link_rider(as_partner(COMPANY, asked)).await });
    crate::house::wait_until(|| house.authority.exchanges() > exchanges).await;
    let seen: BTreeSet<_> =
        search_memory(&other.who.needles(), process.id()).into_iter().map(|found| found.what).collect();
    assert!(seen.contains("account, as text") && seen.contains("code, key or ticket, as text"), "{seen:?}");
    waiting.abort();
    house.authority.feel(Mood::Well);
    Life::live(&house).await;

    let pages = get(&house, "/metrics").await.1 + &get(&house, "/readyz").await.1;
    house.hang_up();
    nobody_is_connected(&house).await;
    let mut found = search_memory(&needles, process.id());
    let of_subjects = search_memory(&who.subjects(), process.id());
    println!("{} places in memory with a subject", of_subjects.len());

    let mut everywhere = stolen(&store, &house);
    assert!(everywhere.len() >= 2, "database and log");
    let mut clear = Needles::default();
    clear.add("purpose", PURPOSE);
    let of_database: Vec<_> =
        everywhere.iter().flat_map(|(place, bytes)| clear.search(place, bytes)).collect();
    assert!(!of_database.is_empty(), "the twin: what is in clear is found");
    let (status, log) = process.terminate();
    assert_eq!(status, Some(0));
    assert!(log.contains("a partner's request could not be carried out"), "the twin: it was logged");
    assert!(pages.contains("ridegate_verdicts_total{partner=\"yikatong\""));
    everywhere.extend(
        [("log", log), ("pages", pages), ("errors", errors)]
            .map(|(what, text)| (what.to_owned(), text.into_bytes())),
    );
    for (place, bytes) in &everywhere {
        found.extend(needles.search(place, bytes));
        found.extend(who.subjects().search(place, bytes));
    }
    assert!(found.is_empty(), "{} found: {found:?}", found.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_identifier_is_left_in_sqlite_logs_pages_or_memory() {
    Box::pin(search(Store::file())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_identifier_is_left_in_postgresql_logs_pages_or_memory() {
    Box::pin(search(Store::server())).await;
}

/// Every form is found where it is, and short ones only where they stand alone.
#[test]
fn what_is_there_is_found() {
    let (text, mut needles) = ("2088123412341234", Needles::default());
    needles.add("user id", text);
    needles.add_digits("123456");
    let forms = [
        text.to_owned(),
        hex::encode(text),
        hex::encode_upper(format!("\u{1f}{text}")),
        BASE64_STANDARD.encode(text),
        BASE64_STANDARD.encode(format!("a{text}b")),
        BASE64_STANDARD.encode(format!("ab{text}")),
        "\x00123456 ".into(),
    ];
    for form in forms {
        assert!(!needles.search("here", form.as_bytes()).is_empty(), "{form}");
    }
    assert_eq!(needles.search("here", &hex::decode(format!("00{text}00")).unwrap()).len(), 1);
    assert_eq!(needles.search("here", &hex::decode(format!("0{text}000")).unwrap()).len(), 1);
    for other in ["1234567", "0.123456", "a123456", "2088123412341235"] {
        assert!(needles.search("here", other.as_bytes()).is_empty(), "{other}");
    }
}
