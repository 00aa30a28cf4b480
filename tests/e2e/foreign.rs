//! A foreign client: Python programs, made from the protos alone, over mTLS. Each is in `tests/python`.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use ridegate_proto::partner::v1::{LinkResult, LinkRiderRequest, Medium, MediumKind};
use ridegate_sim::{authority::Mood, issuing::Phone, riders::Rider};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Instant, timeout_at},
};

use crate::{
    cards,
    house::{GATE, House, ISSUER, NOON, digits, link_request, request, said, subject},
    observed::counted_to,
    tickets::{buyer, id_number},
};

/// The longest that a program may run.
const LONGEST: Duration = Duration::from_secs(100);

const CALLERS: [(&str, &str); 7] = [
    ("validator", GATE),
    ("second_validator", "urn:ridegate:validator:bjsubway:gate-2"),
    ("partner", "urn:ridegate:partner:yikatong"),
    ("other_partner", "urn:ridegate:partner:alipay"),
    ("ticketing", "urn:ridegate:ticketing:bjsubway:window-1"),
    ("operator", "urn:ridegate:operator:li.wei"),
    ("unknown", "urn:ridegate:root:me"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn link() {
    let house = House::guarded("").await;
    let riders: Vec<_> = (1..=5).map(|account| rider_to_link(&house, account, 3)).collect();
    Program::start(&house, "link", &json!({ "to_link": riders })).end().await;
    assert!(house.is_linked("yikatong", 2).await.unwrap(), "and the registry has it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tap() {
    let house = House::guarded("").await;
    let card = (MediumKind::YikatongCard, "01001000", "1000751112345678");
    cards::link(&house, "yikatong", card, 9, Rider::Healthy).await;
    let codes = json!({
        "healthy": codes(&house, Rider::Healthy, 1, 8).await,
        "overdue": codes(&house, Rider::Overdue, 2, 2).await,
        "unlinked": codes(&house, Rider::Unlinked, 3, 1).await,
        "expired": [hex::encode(house.phone(1).code(house.now() - 1201).unwrap())],
    });
    Program::start(&house, "tap", &json!({ "codes": codes })).end().await;
    assert_eq!(house.inspections(), [1, 0, 0], "the report was counted, the bad ones were not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream() {
    let house = House::guarded("").await;
    let codes = json!({
        "healthy": codes(&house, Rider::Healthy, 1, 50).await,
        "overdue": codes(&house, Rider::Overdue, 2, 50).await,
        "unlinked": codes(&house, Rider::Unlinked, 3, 50).await,
        "single": codes(&house, Rider::Healthy, 4, 6).await,
    });
    Program::start(&house, "stream", &json!({ "codes": codes })).end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quota() {
    let quota = "[quota]\ncalls_per_second = 1\ncalls_burst = 3\ncodes_per_second = 1\ncodes_burst = 2\n";
    let house = House::guarded(quota).await;
    let codes = json!({
        "healthy": codes(&house, Rider::Healthy, 1, 60).await,
        "others": [code_of_another_partner(&house, 2).await],
    });
    let facts = json!({ "codes": codes, "to_link": [rider_to_link(&house, 3, 0)] });
    Program::start(&house, "quota", &facts).end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles() {
    let house = House::guarded("").await;
    Program::start(&house, "roles", &json!({})).end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deadlines() {
    // The budgets are the gateway's own; only the registry may take the whole of them on a busy machine.
    let config = "[limits]\ncall = \"2s\"\n[registry]\ntimeout = \"5s\"\n";
    let house = House::guarded_exactly(config).await;
    let mut healthy = Vec::new();
    for account in 1..=5 {
        healthy.extend(codes(&house, Rider::Healthy, account, 1).await);
    }
    let facts = json!({ "codes": { "healthy": healthy }, "to_link": [rider_to_link(&house, 6, 0)] });
    house.authority.feel(Mood::Stalled);
    let mut program = Program::start(&house, "deadlines", &facts);
    program.until("answer again").await;
    house.authority.feel(Mood::Well);
    program.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health() {
    let house = House::guarded("").await;
    let mut program = Program::start(&house, "health", &json!({}));
    program.until("watching").await;
    house.authority.stop();
    program.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection() {
    for (listen, reflection) in [("reflection = true\n", true), ("", false)] {
        let house = House::guarded_listening(listen, "").await;
        let codes = json!({ "healthy": codes(&house, Rider::Healthy, 1, 2).await });
        Program::start(&house, "reflection", &json!({ "codes": codes, "reflection": reflection }))
            .end()
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ticket() {
    let house = House::guarded("[tickets]\nper_device_per_minute = 1\nper_device_burst = 20\n").await;
    let numbers = [buyer(&house, 1, Rider::Healthy), buyer(&house, 2, Rider::Overdue), id_number(3)];
    Program::start(&house, "ticket", &json!({ "id_numbers": numbers })).end().await;
}

/// A partner's resolver in another language, over mutual TLS. Its profile comes while the gateway runs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resolver() {
    let house = House::guarded("").await;
    let pki = house.pki.as_ref().unwrap();
    pki.caller("gateway", "urn:ridegate:operator:gateway").unwrap();
    make_known(&house, 7);
    let media = vec![Medium {
        kind: MediumKind::OnlineCode.into(),
        issuer: String::new(),
        account: "rider seven".into(),
    }];
    let linked = house.link("yitongxing", LinkRiderRequest { media, ..link_request(7) }).await.unwrap();
    assert_eq!(linked.result(), LinkResult::Linked);

    let pem = |name: &str| house.folder.path().join("pki").join(name);
    let server = json!({ "certificate": pem("server.pem"), "key": pem("server.key") });
    let mut program = Program::start(
        &house,
        "resolver",
        &json!({ "server": server, "calls": 6, "account": "rider seven" }),
    );
    let first = program.line().await.unwrap();
    let port = first.strip_prefix("listening on ").unwrap();
    let profile = house.folder.path().join("profiles/yitongxing.toml");
    let text = std::fs::read_to_string(&profile).unwrap();
    let (text, _nobody) = text.split_once("[resolver]").unwrap();
    let resolver = format!(
        "{text}[resolver]\nendpoint = \"https://127.0.0.1:{port}\"\ntimeout = \"10s\"\nca = \"../pki/ca.pem\"\n\
         certificate = \"../pki/gateway.pem\"\nkey = \"../pki/gateway.key\"\n"
    );
    std::fs::write(&profile, resolver).unwrap();
    counted_to(&house, "ridegate_partner_reloads_total{outcome=\"taken\"}", 1).await;

    for (code, expect) in [
        ("good", "ALLOW HEALTH_OK"),
        ("expired", "INSPECT CODE_EXPIRED"),
        ("revoked", "INSPECT CODE_UNTRUSTED"),
        ("somebody else's", "INSPECT CODE_UNTRUSTED"),
        ("says nothing", "INSPECT LOOKUP_FAILED"),
        ("raises", "INSPECT LOOKUP_FAILED"),
    ] {
        assert_eq!(said_of(&house, &format!("YTX1:{code}")).await, expect, "{code}");
    }
    program.end().await;
    let again = request("another tap", "YTX1:good".into());
    assert_eq!(
        said(&house.check(GATE, again).await.unwrap()),
        "INSPECT CODE_REPLAYED",
        "read before, and used up"
    );
}

async fn said_of(house: &House, code: &str) -> String {
    said(&house.check("urn:ridegate:validator:bjsubway:gate-9", request(code, code.into())).await.unwrap())
}

/// So many fresh codes of one rider, who is linked unless it is one who is not.
async fn codes(house: &House, rider: Rider, account: u64, count: usize) -> Vec<String> {
    if rider.is_linked() {
        house.settle(account, rider).await;
    }
    fresh(house, &house.phone(account), count)
}

fn fresh(house: &House, phone: &Phone, count: usize) -> Vec<String> {
    (0..count).map(|_| hex::encode(house.fresh(phone))).collect()
}

/// A code of a healthy rider whom another partner has linked.
async fn code_of_another_partner(house: &House, account: u64) -> String {
    make_known(house, account);
    let linked = house.link("alipay", link_request(account)).await.unwrap();
    assert_eq!(linked.result(), LinkResult::Linked);
    hex::encode(house.fresh(&house.phone_on(account, "50023301")))
}

/// A healthy rider who has agreed to be linked, and so many codes.
fn rider_to_link(house: &House, account: u64, count: usize) -> Value {
    make_known(house, account);
    let LinkRiderRequest { idempotency_key, authorization_code, .. } = link_request(account);
    json!({
        "issuer": ISSUER,
        "account": digits(account),
        "authorization_code": authorization_code,
        "idempotency_key": idempotency_key,
        "codes": fresh(house, &house.phone(account), count),
    })
}

fn make_known(house: &House, account: u64) {
    house.authority.set(&subject(account), Rider::Healthy.facts(house.clock.now()).unwrap());
    house.authority.authorise(&link_request(account).authorization_code, &subject(account));
}

/// A program that runs.
struct Program {
    name: &'static str,
    child: Child,
    lines: UnboundedReceiver<String>,
    over: Instant,
}

impl Program {
    /// Starts `tests/python/NAME.py` in this house. The facts come on top of what every program is told.
    fn start(house: &House, name: &'static str, facts: &Value) -> Self {
        let told = house.folder.path().join("house.json");
        std::fs::write(&told, describe(house, facts).to_string()).unwrap();
        let mut child = Command::new(python())
            .arg(root().join("tests/python").join(name).with_extension("py"))
            .arg(told)
            .env_remove("PYTHONPATH")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = unbounded_channel();
        thread::spawn(move || said.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { name, child, lines, over: Instant::now() + LONGEST }
    }

    /// What it prints next; `None` when it has ended.
    async fn line(&mut self) -> Option<String> {
        let line = timeout_at(self.over, self.lines.recv()).await.expect("it takes too long")?;
        println!("{}: {line}", self.name);
        Some(line)
    }

    /// Waits until it prints this.
    async fn until(&mut self, wanted: &str) {
        while self.line().await.unwrap_or_else(|| panic!("{} ended before {wanted:?}", self.name)) != wanted {
        }
    }

    /// Waits until it ends, and fails unless all its checks held and there were some.
    async fn end(mut self) {
        let mut last = String::new();
        while let Some(line) = self.line().await {
            last = line;
        }
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{}: {status}; the reason is above", self.name);
        let checks: u32 = last.strip_suffix(" checks").and_then(|count| count.parse().ok()).unwrap_or(0);
        assert!(checks > 0, "{} does not say how many checks it made: {last:?}", self.name);
    }
}

impl Drop for Program {
    /// One that failed or took too long is not left behind.
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _known = self.child.wait();
    }
}

/// The house, as `tests/python/house.py` reads it.
fn describe(house: &House, facts: &Value) -> Value {
    let pki = house.pki.as_ref().unwrap();
    let caller = |(name, identity): (&str, &str)| {
        let files = pki.stranger(name, &[identity]).unwrap();
        let files = json!({ "certificate": files.certificate, "key": files.key, "identity": identity });
        (name.to_owned(), files)
    };
    let mut told = json!({
        "address": house.address().to_string(),
        "now": NOON.trim_end_matches(",frozen"),
        "protos": root().join("proto"),
        "ca": pki.ca(),
        "callers": CALLERS.map(caller).into_iter().collect::<serde_json::Map<_, _>>(),
        "codes": {},
        "to_link": [],
    });
    told.as_object_mut().unwrap().extend(facts.as_object().unwrap().clone());
    told
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The interpreter with what the programs need: `RIDEGATE_PYTHON`, or the one `make python` has set up.
pub fn python() -> PathBuf {
    let python = std::env::var_os("RIDEGATE_PYTHON")
        .map_or_else(|| root().join("target/python/bin/python"), PathBuf::from);
    assert!(python.exists(), "{}: not there; run `make python`", python.display());
    python
}
