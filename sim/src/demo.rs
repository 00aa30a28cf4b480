//! The whole city on loopback, over real gRPC.

use std::{
    collections::HashMap,
    io::IsTerminal,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use ridegate_gateway::{
    app::{Running, Settings},
    clock::Clock,
    config::Config,
};
use ridegate_proto::{
    partner::v1::{
        Channel as LinkChannel, Consent, LinkResult, LinkRiderRequest, Medium, MediumKind,
        partner_service_client::PartnerServiceClient,
    },
    validator::v1::{
        CheckRequest, CheckResponse, Direction, InspectionOutcome, Reason, ReportInspectionRequest, Verdict,
        check_request, validator_service_client::ValidatorServiceClient,
    },
};
use tempfile::TempDir;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    authority::Authority,
    city::{Rider, wire},
    issuing::{Key, Phone, Terms},
    plan::{self, Expected, Story},
    report::{Mismatch, Report},
    trust::Trust,
};

/// Where the demo's clock stands when it starts: inside the 72-hour window.
pub const START: &str = "2022-06-15T12:00:00+08:00";
/// The demo's metro fleet; it gets health reasons coarse, as every fleet does by default.
pub const METRO: &str = "bjsubway";
/// The demo's bus fleet; it is configured to get them in full.
pub const BUS: &str = "bjbus";

const GATES: usize = 24;
const IN_FLIGHT: usize = 16;
const LINKS_AT_ONCE: usize = 8;
/// Riders of a kind with each partner.
const RIDERS: usize = 4;
/// The most of these are needed, so there are more of them.
const HEALTHY_RIDERS: usize = 40;
const VALIDITY_S: u16 = 60;

/// What to show.
#[derive(Debug, Clone)]
pub struct Options {
    /// Taps in all.
    pub taps: usize,
    /// Taps a second; `None`: as fast as it goes.
    pub rate: Option<u32>,
    /// Makes the same city and the same stories again.
    pub seed: u64,
    /// More configuration for the gateway, in TOML.
    pub config: String,
}

/// A city that runs.
pub struct City {
    gateway: Running,
    clock: Clock,
    riders: HashMap<(usize, Rider), Vec<Arc<Commuter>>>,
    partners: Vec<String>,
    forger: Key,
    outsiders: Vec<Phone>,
    /// Kept for as long as the city runs.
    _authority: Authority,
    _folder: TempDir,
}

struct Commuter {
    phone: Phone,
    account: String,
    last_code: Mutex<u32>,
}

impl City {
    /// Builds a city: gateway, authority, partners, and riders who link.
    pub async fn build(options: &Options) -> Result<Self> {
        let mut rng = ChaCha20Rng::seed_from_u64(options.seed);
        let folder = tempfile::tempdir()?;
        let trust = Trust::new(&mut rng)?;
        trust.write(folder.path())?;
        let authority = Authority::start().await?;
        let clock: Clock = START.parse().map_err(anyhow::Error::msg)?;
        let gateway = start_gateway(folder.path(), &authority, clock.clone(), &options.config).await?;

        let partners: Vec<_> = trust.partners().map(|(id, _)| id.to_owned()).collect();
        let riders = settle(&trust, &clock, &mut rng)?;
        let outsiders = outsiders(&trust, &clock, &mut rng)?;
        let forger = Key::generate(&mut rng)?;
        let city = Self {
            gateway,
            clock,
            riders,
            partners,
            forger,
            outsiders,
            _authority: authority.clone(),
            _folder: folder,
        };
        city.link_riders(&authority, &trust).await?;
        Ok(city)
    }

    /// Where the gateway listens.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.gateway.address())
    }

    /// The city's clock.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A code of a healthy rider.
    pub fn fresh_code(&self) -> Result<Vec<u8>> {
        self.pick(0, Rider::Healthy, 0)?.code(&self.clock)
    }

    /// Closes everything.
    pub async fn stop(self) {
        self.gateway.stop().await;
    }

    async fn link_riders(&self, authority: &Authority, trust: &Trust) -> Result<()> {
        let linked = |((_, rider), commuters): &(&(usize, Rider), &Vec<_>)| {
            rider.is_linked() && !Vec::is_empty(commuters)
        };
        let total: usize = self.riders.iter().filter(linked).map(|(_, commuters)| commuters.len()).sum();
        let progress = progress(total, "riders link ");
        let room = Arc::new(Semaphore::new(LINKS_AT_ONCE));
        let channel = Endpoint::from_shared(self.endpoint())?.connect().await?;
        let mut tasks: JoinSet<Result<()>> = JoinSet::new();
        let issuings: Vec<_> =
            trust.partners().map(|(id, issuing)| (id.to_owned(), issuing.issuer.to_string())).collect();
        for ((position, rider), commuters) in self.riders.iter().filter(linked) {
            let (partner, issuer) = issuings.get(*position).context("partner")?.clone();
            for commuter in commuters {
                let subject = format!("subject-{partner}-{}", commuter.account);
                let now = self.clock.now();
                if let Some(facts) = rider.facts(now) {
                    authority.set(&subject, facts);
                }
                let code = format!("code-{partner}-{}", commuter.account);
                authority.authorise(&code, &subject);
                let request = link_request(&issuer, &commuter.account, code, wire(now));
                let (channel, partner) = (channel.clone(), partner.clone());
                let turn = Arc::clone(&room).acquire_owned().await?;
                let progress = progress.clone();
                tasks.spawn(async move {
                    let request = identified(request, &format!("urn:ridegate:partner:{partner}"))?;
                    let answer = PartnerServiceClient::new(channel).link_rider(request).await?.into_inner();
                    drop(turn);
                    progress.step();
                    if answer.result() == LinkResult::Linked {
                        Ok(())
                    } else {
                        bail!("a rider was not linked: {:?}", answer.result())
                    }
                });
            }
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        progress.finish();
        Ok(())
    }

    fn pick(&self, partner: usize, rider: Rider, turn: usize) -> Result<&Arc<Commuter>> {
        let commuters = self.riders.get(&(partner % self.partners.len(), rider)).context("no such rider")?;
        commuters.get(turn % commuters.len()).context("no such rider")
    }
}

impl Commuter {
    /// A code of this second, or of the next that this phone has not shown one of.
    fn code(&self, clock: &Clock) -> Result<Vec<u8>> {
        self.phone.code(self.next_second(clock)?)
    }

    fn next_second(&self, clock: &Clock) -> Result<u32> {
        let now = u32::try_from(clock.unix_seconds().0)?;
        let mut last = self.last_code.lock().unwrap_or_else(PoisonError::into_inner);
        *last = (now - u32::from(VALIDITY_S) / 2).max(*last + 1);
        if *last > now + 15 {
            bail!("a rider rides more than once a second: ask for a lower rate")
        }
        Ok(*last)
    }
}

async fn start_gateway(folder: &Path, authority: &Authority, clock: Clock, more: &str) -> Result<Running> {
    // Budgets are wide: on a busy machine the demo shall be slow, not wrong. The latencies it shows are the real ones.
    let config = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n\
         [authority]\nendpoint = \"{}\"\nlookup_timeout = \"5s\"\nexchange_timeout = \"10s\"\n\
         [registry]\ntimeout = \"5s\"\n\
         [verdict]\nbudget = \"10s\"\n\
         [partners]\nprofiles = \"profiles\"\nmot_trust = \"mot-trust.toml\"\n\
         [fleets]\nfull_reasons = [\"{BUS}\"]\nhelp_default = \"12345\"\nhelp = {{ {METRO} = \"96165\", {BUS} = \"96166\" }}\n\
         {more}\n",
        authority.endpoint(),
    );
    let path = folder.join("ridegate.toml");
    std::fs::write(&path, config)?;
    Ok(Settings::new(Config::load(&path)?, clock, true)?.start().await?)
}

fn settle(
    trust: &Trust,
    clock: &Clock,
    rng: &mut ChaCha20Rng,
) -> Result<HashMap<(usize, Rider), Vec<Arc<Commuter>>>> {
    let mut riders = HashMap::new();
    let mut number = 0_u64;
    for (position, (_, issuing)) in trust.partners().enumerate() {
        let issuer = trust.issuer(&issuing.issuer.to_string())?;
        for rider in Rider::ALL {
            let count = if rider == Rider::Healthy { HEALTHY_RIDERS } else { RIDERS };
            let mut commuters = Vec::with_capacity(count);
            for _ in 0..count {
                number += 1;
                let terms = terms(number, &issuing.platform.to_string(), clock)?;
                let phone = issuer.authorise(Key::generate(rng)?, &terms)?;
                commuters.push(Arc::new(Commuter {
                    phone,
                    account: terms.account,
                    last_code: Mutex::new(0),
                }));
            }
            riders.insert((position, rider), commuters);
        }
    }
    Ok(riders)
}

/// Phones that an issuer authorised whom no trusted root has certified, one a partner.
fn outsiders(trust: &Trust, clock: &Clock, rng: &mut ChaCha20Rng) -> Result<Vec<Phone>> {
    let forged = Trust::new(rng)?;
    let mut phones = Vec::new();
    for (_, issuing) in trust.partners() {
        let issuer = forged.issuer(&issuing.issuer.to_string())?;
        let terms = terms(0, &issuing.platform.to_string(), clock)?;
        phones.push(issuer.authorise(Key::generate(rng)?, &terms)?);
    }
    Ok(phones)
}

fn terms(number: u64, platform: &str, clock: &Clock) -> Result<Terms> {
    Ok(Terms {
        account: format!("3104{number:016}"),
        platform: platform.to_owned(),
        authorized_until: u32::try_from(clock.unix_seconds().0)? + 86_400,
        validity: VALIDITY_S,
        account_type: 1,
        custom: Vec::new(),
    })
}

fn link_request(issuer: &str, account: &str, code: String, now: prost_types::Timestamp) -> LinkRiderRequest {
    LinkRiderRequest {
        idempotency_key: format!("link-{account}"),
        media: vec![Medium {
            kind: MediumKind::MotCode.into(),
            issuer: issuer.into(),
            account: account.into(),
        }],
        authorization_code: code,
        consent: Some(Consent {
            wording_version: "2022-06".into(),
            granted_at: Some(now),
            purpose: "health check at gates".into(),
        }),
        channel: LinkChannel::App.into(),
    }
}

/// A request as this caller.
pub fn identified<T>(message: T, identity: &str) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-ridegate-identity", identity.parse()?);
    Ok(request)
}

/// Lets the riders of `options` ride through a city.
pub async fn ride(city: &Arc<City>, options: &Options) -> Result<Report> {
    let mut rng = ChaCha20Rng::seed_from_u64(options.seed.wrapping_add(1));
    let stories = plan::stories(options.taps, &mut rng);
    let progress = progress(options.taps, "taps        ");
    let channel = Endpoint::from_shared(city.endpoint())?.tcp_nodelay(true).connect().await?;
    let report = Arc::new(Mutex::new(Report::new()?));
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let (began, mut tasks) = (Instant::now(), JoinSet::new());
    let mut sent = 0_u32;
    for (turn, story) in stories.into_iter().enumerate() {
        if let Some(rate) = options.rate {
            sleep_until(began + Duration::from_secs(1) * sent / rate.max(1)).await;
        }
        sent += u32::try_from(story.expected().len())?;
        let permit = Arc::clone(&room).acquire_owned().await?;
        let visit =
            Visit { city: Arc::clone(city), channel: channel.clone(), turn, story, noise: rng.random() };
        let (report, progress) = (Arc::clone(&report), progress.clone());
        tasks.spawn(async move {
            let ridden = visit.ride(&report, &progress).await;
            drop(permit);
            ridden
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    progress.finish();
    let report = Arc::try_unwrap(report).ok().context("a rider is still on the way")?;
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.took = began.elapsed();
    report.inspections = city.gateway.inspections();
    Ok(report)
}

/// One story on its way.
struct Visit {
    city: Arc<City>,
    channel: Channel,
    turn: usize,
    story: Story,
    noise: u64,
}

/// A gate or a bus door.
struct Gate {
    identity: String,
    bus: bool,
}

impl Gate {
    fn new(number: usize) -> Self {
        let (bus, number) = (number % 4 == 3, number % GATES);
        let identity = if bus {
            format!("urn:ridegate:validator:{BUS}:reader-{number}")
        } else {
            format!("urn:ridegate:validator:{METRO}:gate-{number}")
        };
        Self { identity, bus }
    }

    fn direction(&self, out: bool) -> Direction {
        match (self.bus, out) {
            (false, false) => Direction::Entry,
            (false, true) => Direction::Exit,
            (true, false) => Direction::Boarding,
            (true, true) => Direction::Alighting,
        }
    }
}

impl Visit {
    async fn ride(&self, report: &Mutex<Report>, progress: &Progress) -> Result<()> {
        let code = self.code()?;
        let mut first_verdict = String::new();
        for (visit, expected) in self.story.expected().into_iter().enumerate() {
            let (gate, request) = self.tap(visit, &code);
            let began = Instant::now();
            let answer = self.check(&gate, request).await;
            let latency = began.elapsed();
            progress.step();
            let answer = answer.map(Response::into_inner);
            self.book(report, &gate, expected, &first_verdict, &answer, latency);
            let Ok(answer) = answer else { continue };
            if answer.verdict() == Verdict::Inspect && self.noise % 4 == 0 {
                self.staff_look(&gate, &answer).await?;
                lock(report).reported += 1;
            }
            if first_verdict.is_empty() {
                first_verdict = answer.verdict_id;
            }
        }
        Ok(())
    }

    /// What the rider shows.
    fn code(&self) -> Result<Vec<u8>> {
        let clock = &self.city.clock;
        let commuter = self.city.pick(self.turn, self.story.rider(), self.turn / self.city.partners.len())?;
        match self.story {
            Story::ShowsExpired => {
                let ran_out = u32::try_from(clock.unix_seconds().0)? - u32::from(VALIDITY_S) - 30;
                commuter.phone.code(ran_out)
            }
            Story::ForgesPhone => commuter.phone.forged(&self.city.forger, commuter.next_second(clock)?),
            Story::ForgesIssuer => {
                let outsider =
                    self.city.outsiders.get(self.turn % self.city.outsiders.len()).context("outsider")?;
                outsider.code(u32::try_from(clock.unix_seconds().0)?)
            }
            Story::ShowsDamaged => {
                let mut code = commuter.code(clock)?;
                code.pop();
                Ok(code)
            }
            Story::ShowsSomethingElse => {
                Ok(plan::something_else(&mut ChaCha20Rng::seed_from_u64(self.noise)))
            }
            _ => commuter.code(clock),
        }
    }

    /// Which gate, and what it sends.
    fn tap(&self, visit: usize, code: &[u8]) -> (Gate, CheckRequest) {
        let elsewhere = matches!(self.story, Story::LendsCode | Story::TriesNextGate);
        // Four on: another gate of the same fleet.
        let gate = Gate::new(self.turn + if elsewhere { 4 * visit } else { 0 });
        let again = if self.story == Story::IsRetried { 0 } else { visit };
        let request = CheckRequest {
            request_id: format!("tap-{}-{again}", self.turn),
            medium: Some(check_request::Medium::QrCode(code.to_vec().into())),
            direction: gate.direction(matches!(self.story, Story::Leaves(_))).into(),
            location: if gate.bus { "line-1" } else { "xizhimen" }.into(),
            device_id: String::new(),
            scanned_at: None,
        };
        (gate, request)
    }

    async fn check(&self, gate: &Gate, request: CheckRequest) -> Result<Response<CheckResponse>, Status> {
        let request = identified(request, &gate.identity).map_err(|_| Status::internal("identity"))?;
        ValidatorServiceClient::new(self.channel.clone()).check(request).await
    }

    fn book(
        &self,
        report: &Mutex<Report>,
        gate: &Gate,
        expected: Expected,
        first_verdict: &str,
        answer: &Result<CheckResponse, Status>,
        latency: Duration,
    ) {
        let partner = self.city.partners.get(self.turn % self.city.partners.len()).map_or("", String::as_str);
        let wanted = Seen::expected(expected, gate, partner, first_verdict);
        let mut report = lock(report);
        report.sent += 1;
        let got = match answer {
            Ok(answer) => {
                let seen = Seen::answered(answer);
                report.answer(seen.allow, &seen.reason, &seen.partner, latency);
                if seen == wanted {
                    return;
                }
                seen.to_string()
            }
            Err(status) => format!("status {:?}", status.code()),
        };
        report.mismatch(Mismatch { story: format!("{:?}", self.story), expected: wanted.to_string(), got });
    }

    async fn staff_look(&self, gate: &Gate, answer: &CheckResponse) -> Result<()> {
        let outcome = match self.noise % 3 {
            0 => InspectionOutcome::Passed,
            1 => InspectionOutcome::Refused,
            _ => InspectionOutcome::Left,
        };
        let report =
            ReportInspectionRequest { verdict_id: answer.verdict_id.clone(), outcome: outcome.into() };
        let report = identified(report, &gate.identity)?;
        ValidatorServiceClient::new(self.channel.clone()).report_inspection(report).await?;
        Ok(())
    }
}

/// What of an answer is compared.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    allow: bool,
    reason: String,
    partner: String,
    retry_of: String,
}

impl Seen {
    fn expected(expected: Expected, gate: &Gate, partner: &str, first_verdict: &str) -> Self {
        let coarse = !gate.bus
            && matches!(
                expected.reason,
                "HEALTH_ABNORMAL" | "HEALTH_POPUP" | "TEST_MISSING" | "TEST_OVERDUE"
            );
        Self {
            allow: expected.allow,
            reason: if coarse { "HEALTH" } else { expected.reason }.to_owned(),
            partner: if expected.partner { partner } else { "" }.to_owned(),
            retry_of: if expected.repeats { first_verdict } else { "" }.to_owned(),
        }
    }

    fn answered(answer: &CheckResponse) -> Self {
        let reason = answer.reason().as_str_name();
        Self {
            allow: answer.verdict() == Verdict::Allow,
            reason: reason.strip_prefix("REASON_").unwrap_or(Reason::Unspecified.as_str_name()).to_owned(),
            partner: answer.partner.clone(),
            retry_of: answer.retry_of.clone(),
        }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.allow { "ALLOW" } else { "INSPECT" };
        let repeat = if self.retry_of.is_empty() { "" } else { ", a repeat" };
        let partner = if self.partner.is_empty() { "nobody" } else { &self.partner };
        write!(f, "{verdict} {} of {partner}{repeat}", self.reason)
    }
}

fn lock(report: &Mutex<Report>) -> std::sync::MutexGuard<'_, Report> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bar where somebody looks, a line now and then where nobody does.
#[derive(Clone)]
struct Progress {
    bar: ProgressBar,
    label: &'static str,
    lines: bool,
}

fn progress(total: usize, label: &'static str) -> Progress {
    let bar = ProgressBar::new(total as u64);
    let style = ProgressStyle::with_template("{prefix} {bar:40} {pos}/{len} {per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(label);
    Progress { bar, label, lines: !std::io::stderr().is_terminal() }
}

impl Progress {
    fn step(&self) {
        self.bar.inc(1);
        let total = self.bar.length().unwrap_or(0);
        let done = self.bar.position();
        if self.lines && (done == total || done.is_multiple_of((total / 5).max(1))) {
            self.bar.suspend(|| say(&format!("{} {done}/{total}", self.label)));
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[expect(clippy::print_stderr, reason = "progress is for the person who waits")]
fn say(line: &str) {
    eprintln!("{line}");
}
