//! A gateway with everything around it, for one test.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::SignedDuration;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use ridegate_gateway::{
    app::{Running, Settings},
    clock::Clock,
    config::ConfigFile,
};
use ridegate_proto::{
    partner::v1::{
        Channel as LinkChannel, Consent, GetLinkRequest, LinkResult, LinkRiderRequest, LinkRiderResponse,
        Medium, MediumKind, UnlinkRiderRequest, partner_service_client::PartnerServiceClient,
    },
    validator::v1::{
        CheckRequest, CheckResponse, Direction, check_request,
        validator_service_client::ValidatorServiceClient,
    },
};
use ridegate_sim::{
    authority::Authority,
    issuing::{Key, Phone, Terms},
    online::Book,
    pki::{Files, Pki},
    resolver::Resolver,
    riders::{Rider, wire},
    trust::{Phone as AnyPhone, Trust},
};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tempfile::TempDir;
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::process::Process;

pub const NOON: &str = "2022-06-15T12:00:00+08:00,frozen";
pub const GATE: &str = "urn:ridegate:validator:bjsubway:gate-1";
pub const PARTNER: &str = "yikatong";
pub const ISSUER: &str = "99990001";

/// As patient with the authority; longer than a standstill, shorter than a call may take.
const UNHURRIED: &str = "lookup_timeout = \"5s\"\nexchange_timeout = \"6s\"";
/// Budgets so wide that a busy machine changes no answer.
const WIDE: &str = "[verdict]\nbudget = \"10s\"\nwait = \"10s\"\n[registry]\ntimeout = \"5s\"\n";
/// Where `Pki` writes.
const TLS: &str = "[tls]\ncertificate = \"pki/server.pem\"\nkey = \"pki/server.key\"\nclient_ca = \"pki/ca.pem\"\nreload = \"20ms\"\n";

pub struct House {
    gateway: Option<Running>,
    /// Address and operations of a gateway in a process of its own that serves this house.
    elsewhere: Option<[SocketAddr; 2]>,
    pub authority: Authority,
    pub clock: Clock,
    pub channel: Channel,
    pub folder: TempDir,
    /// Who certifies callers, in a house with TLS.
    pub pki: Option<Pki>,
    channels: Mutex<HashMap<String, Channel>>,
    /// Of the partners whose codes only they can read, in a house that has them.
    pub resolvers: HashMap<String, Resolver>,
    trust: Trust,
    used: Mutex<HashSet<u32>>,
    taps: AtomicU32,
}

impl House {
    pub async fn open() -> Self {
        Self::with("").await
    }

    /// With more configuration. Budgets are wide, so that a busy machine changes no answer.
    pub async fn with(more: &str) -> Self {
        Self::exactly(&format!("{WIDE}{more}"), UNHURRIED).await
    }

    /// With TLS: every caller has a certificate and a connection of its own.
    pub async fn guarded(more: &str) -> Self {
        Self::guarded_listening("", more).await
    }

    /// With TLS, and these keys of `[listen]`.
    pub async fn guarded_listening(listen: &str, more: &str) -> Self {
        Self::with_pki(listen, more, |_| {}).await
    }

    /// With TLS, and more keys of `[tls]`, when the certificate authority has done this.
    pub async fn guarded_with_tls(tls: &str, prepare: impl FnOnce(&Pki)) -> Self {
        Self::with_pki("", tls, prepare).await
    }

    async fn with_pki(listen: &str, more: &str, prepare: impl FnOnce(&Pki)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(&folder.path().join("pki"), SignedDuration::from_hours(24)).unwrap();
        pki.server(&["localhost".into(), "127.0.0.1".into()]).unwrap();
        prepare(&pki);
        // What comes first in `more` may be keys of `[tls]`.
        let config = format!("{WIDE}{TLS}{more}");
        Self::build(folder, Some(pki), listen, &config, UNHURRIED).await
    }

    /// With TLS, this configuration, and budgets as they are.
    pub async fn guarded_exactly(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(&folder.path().join("pki"), SignedDuration::from_hours(24)).unwrap();
        pki.server(&["localhost".into(), "127.0.0.1".into()]).unwrap();
        Self::build(folder, Some(pki), "", &format!("{TLS}{config}"), "").await
    }

    /// With a resolver for every partner whose codes only it can read, and this configuration.
    pub async fn with_resolvers(config: &str) -> Self {
        let (authority, folder) = (Authority::start().unwrap(), tempfile::tempdir().unwrap());
        let trust = Trust::new(&mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        let clock: Clock = NOON.parse().unwrap();
        let resolver = |(id, book): (&str, &Book)| {
            (id.to_owned(), Resolver::start(book.clone(), clock.clone()).unwrap())
        };
        let resolvers = trust.books().map(resolver).collect();
        let house = (trust, clock, resolvers);
        Self::furnished(house, authority, folder, None, "", config, UNHURRIED).await
    }

    /// With an authority that asks for certificates, and these keys of `[authority]`.
    pub async fn with_secure_authority(keys: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(&folder.path().join("pki"), SignedDuration::from_hours(24)).unwrap();
        let server = pki.server(&["127.0.0.1".into()]).unwrap();
        pki.caller("operator", "urn:ridegate:operator:gateway").unwrap();
        let authority = Authority::start_with_tls(&server, &pki.ca()).unwrap();
        Self::beside(authority, folder, None, "", WIDE, &format!("lookup_timeout = \"5s\"\n{keys}")).await
    }

    /// With these keys of `[listen]`, and more configuration.
    pub async fn listening(listen: &str, more: &str) -> Self {
        let config = format!("{WIDE}{more}");
        Self::build(tempfile::tempdir().unwrap(), None, listen, &config, UNHURRIED).await
    }

    /// With this configuration, and these keys of `[authority]`.
    pub async fn exactly(config: &str, authority_keys: &str) -> Self {
        Self::build(tempfile::tempdir().unwrap(), None, "", config, authority_keys).await
    }

    async fn build(
        folder: TempDir,
        pki: Option<Pki>,
        listen: &str,
        config: &str,
        authority_keys: &str,
    ) -> Self {
        Self::beside(Authority::start().unwrap(), folder, pki, listen, config, authority_keys).await
    }

    async fn beside(
        authority: Authority,
        folder: TempDir,
        pki: Option<Pki>,
        listen: &str,
        config: &str,
        authority_keys: &str,
    ) -> Self {
        let trust = Trust::new(&mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        let house = (trust, NOON.parse().unwrap(), HashMap::new());
        Self::furnished(house, authority, folder, pki, listen, config, authority_keys).await
    }

    async fn furnished(
        (mut trust, clock, resolvers): (Trust, Clock, HashMap<String, Resolver>),
        authority: Authority,
        folder: TempDir,
        pki: Option<Pki>,
        listen: &str,
        config: &str,
        authority_keys: &str,
    ) -> Self {
        for (partner, resolver) in &resolvers {
            // As patient as the verdict is.
            let section =
                format!("endpoint = \"{}\"\ntimeout = \"10s\"\nconcurrent_calls = 16\n", resolver.endpoint());
            trust.name_resolver(partner, section);
        }
        trust.write(folder.path()).unwrap();
        let path = write_listening(folder.path(), &authority, listen, config, authority_keys);
        let settings = Settings::new(ConfigFile::load(&path).unwrap(), clock.clone(), true).unwrap();
        let gateway = settings.start().await.unwrap();
        let channel = match pki {
            // Of nobody, and never used: a connection says who is at its end.
            Some(_) => Endpoint::from_static("http://127.0.0.1:1").connect_lazy(),
            None => connect(&format!("http://{}", gateway.address())).await,
        };
        Self {
            gateway: Some(gateway),
            elsewhere: None,
            authority,
            clock,
            channel,
            folder,
            pki,
            channels: Mutex::default(),
            resolvers,
            trust,
            used: Mutex::default(),
            taps: AtomicU32::new(0),
        }
    }

    /// The connection of a caller: its own in a house with TLS, else everybody's.
    pub fn channel_of(&self, identity: &str) -> Channel {
        let Some(pki) = &self.pki else { return self.channel.clone() };
        let mut channels = self.channels.lock().unwrap();
        let number = channels.len();
        let certify = || {
            let files = pki.stranger(&format!("caller-{number}"), &[identity]).unwrap();
            files.endpoint(&self.endpoint(), &pki.ca()).unwrap().connect_lazy()
        };
        channels.entry(identity.to_owned()).or_insert_with(certify).clone()
    }

    /// A connection with this certificate.
    pub fn channel_with(&self, files: &Files) -> Channel {
        files.endpoint(&self.endpoint(), &self.pki.as_ref().unwrap().ca()).unwrap().connect_lazy()
    }

    /// A connection without a certificate.
    pub fn channel_of_nobody(&self) -> Channel {
        let ca = Certificate::from_pem(std::fs::read(self.pki.as_ref().unwrap().ca()).unwrap());
        let tls = ClientTlsConfig::new().ca_certificate(ca);
        Endpoint::from_shared(self.endpoint()).unwrap().tls_config(tls).unwrap().connect_lazy()
    }

    pub fn address(&self) -> SocketAddr {
        self.elsewhere.map_or_else(|| self.gateway.as_ref().unwrap().address(), |[at, _]| at)
    }

    pub fn operations(&self) -> SocketAddr {
        self.elsewhere.map_or_else(|| self.gateway.as_ref().unwrap().operations().unwrap(), |[_, at]| at)
    }

    /// Where the gateway listens, with its scheme.
    pub fn endpoint(&self) -> String {
        let scheme = if self.pki.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address())
    }

    /// Takes the table of links away from under the gateway.
    pub async fn take_registry_away(&self) {
        rename(self, "link", "away").await;
    }

    /// Has the house served by a process from now on.
    pub async fn move_to(&mut self, process: &Process) {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop().await;
        }
        let at = [&process.address, &process.operations].map(|at| at.parse().unwrap());
        self.elsewhere = Some(at);
        self.channels.lock().unwrap().clear();
    }

    /// Closes every caller's connection; who calls next connects anew.
    pub fn hang_up(&self) {
        self.channels.lock().unwrap().clear();
    }

    /// The same house with a new gateway.
    pub async fn reopen(mut self) -> Self {
        self.close().await;
        let file = ConfigFile::load(&self.folder.path().join("ridegate.toml")).unwrap();
        let gateway = Settings::new(file, self.clock.clone(), true).unwrap().start().await.unwrap();
        self.gateway = Some(gateway);
        self.channels.lock().unwrap().clear();
        if self.pki.is_none() {
            self.channel = connect(&self.endpoint()).await;
        }
        self
    }

    /// Stops the gateway in this process; another may serve the house from now on, through `channel`.
    pub async fn close(&mut self) {
        self.gateway.take().unwrap().stop().await;
    }

    pub fn inspections(&self) -> [u64; 3] {
        self.gateway.as_ref().unwrap().inspections()
    }

    /// A phone of this account with the first partner; its codes live for twenty minutes, so that there are enough of them.
    pub fn phone(&self, account: u64) -> Phone {
        self.phone_on(account, ISSUER)
    }

    pub fn phone_on(&self, account: u64, platform: &str) -> Phone {
        let mut rng = ChaCha20Rng::seed_from_u64(account);
        let terms = Terms {
            account: digits(account),
            platform: platform.into(),
            authorized_until: self.now() + 2 * 86_400,
            validity: 1200,
            account_type: 1,
            custom: vec![],
        };
        self.trust.issuer(ISSUER).unwrap().authorise(Key::generate(&mut rng).unwrap(), &terms).unwrap()
    }

    /// A phone of this account with a partner that shows other codes than MOT's: a user id, or U and nine digits.
    pub fn phone_of(&self, partner: &str, user: &str) -> AnyPhone {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let shows = self.trust.partner(partner).unwrap();
        shows.authorise(user, self.now() + 2 * 86_400, 1200, &mut rng).unwrap()
    }

    /// Who makes codes here.
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    pub fn now(&self) -> u32 {
        self.clock.unix_seconds().0.try_into().unwrap()
    }

    /// A code no other call has made: of a second of its own.
    pub fn fresh(&self, phone: &Phone) -> Vec<u8> {
        let mut used = self.used.lock().unwrap();
        let now = self.now();
        let second =
            (now - 1190..=now).rev().find(|second| used.insert(*second)).expect("a second nobody used");
        phone.code(second).unwrap()
    }

    /// Links an account and makes the authority know its rider.
    pub async fn settle(&self, account: u64, rider: Rider) {
        if let Some(facts) = rider.facts(self.clock.now()) {
            self.authority.set(&subject(account), facts);
        }
        self.authority.authorise(&format!("code-{account}"), &subject(account));
        let answer = self.link(PARTNER, link_request(account)).await.unwrap();
        assert_eq!(answer.result(), LinkResult::Linked);
    }

    pub async fn link(&self, partner: &str, request: LinkRiderRequest) -> Result<LinkRiderResponse, Status> {
        let mut client = PartnerServiceClient::new(self.channel_of(&partner_identity(partner)));
        client.link_rider(as_partner(partner, request)).await.map(Response::into_inner)
    }

    pub async fn unlink(&self, partner: &str, account: u64) -> Result<bool, Status> {
        let request = UnlinkRiderRequest { medium: Some(medium(account)) };
        let mut client = PartnerServiceClient::new(self.channel_of(&partner_identity(partner)));
        client.unlink_rider(as_partner(partner, request)).await.map(|answer| answer.into_inner().unlinked)
    }

    pub async fn is_linked(&self, partner: &str, account: u64) -> Result<bool, Status> {
        let request = GetLinkRequest { medium: Some(medium(account)) };
        let mut client = PartnerServiceClient::new(self.channel_of(&partner_identity(partner)));
        client.get_link(as_partner(partner, request)).await.map(|answer| answer.into_inner().link.is_some())
    }

    /// Shows a code at the first gate on the way in, as a tap of its own.
    pub async fn tap(&self, code: Vec<u8>) -> CheckResponse {
        let id = format!("tap-{}", self.taps.fetch_add(1, Relaxed));
        self.check(GATE, request(&id, code)).await.unwrap()
    }

    pub async fn check(&self, identity: &str, request: CheckRequest) -> Result<CheckResponse, Status> {
        let mut client = ValidatorServiceClient::new(self.channel_of(identity));
        client.check(identified(identity, request)).await.map(Response::into_inner)
    }

    /// Waits until the first question reaches the authority.
    pub async fn authority_is_asked(&self) {
        wait_until(|| self.authority.asked() != (0, 0)).await;
    }

    /// Taps a fresh code of this phone again and again until the answer is as wanted; fails after five seconds.
    pub async fn tap_until(&self, phone: &Phone, wanted: impl Fn(&CheckResponse) -> bool) -> CheckResponse {
        let mut answer = None;
        for _ in 0..500 {
            let now = self.tap(self.fresh(phone)).await;
            if wanted(&now) {
                return now;
            }
            answer = Some(now);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never as wanted; last {answer:?}");
    }
}

/// Waits for a condition; fails after ten seconds.
pub async fn wait_until(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never came true");
}

pub fn write_config(folder: &Path, authority: &Authority, more: &str, authority_keys: &str) -> PathBuf {
    write_listening(folder, authority, "", more, authority_keys)
}

fn write_listening(
    folder: &Path,
    authority: &Authority,
    listen: &str,
    more: &str,
    authority_keys: &str,
) -> PathBuf {
    let listen =
        if listen.contains("notice") { listen.to_owned() } else { format!("notice = \"0s\"\n{listen}") };
    let config = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n{listen}\n[operations]\naddress = \"127.0.0.1:0\"\n[authority]\nendpoint = \"{}\"\n{authority_keys}\n\
         [partners]\nprofiles = \"profiles\"\nmot_trust = \"mot-trust.toml\"\nreload = \"20ms\"\n{more}\n",
        authority.endpoint()
    );
    let path = folder.join("ridegate.toml");
    std::fs::write(&path, config).unwrap();
    path
}

pub async fn connect(endpoint: &str) -> Channel {
    Endpoint::from_shared(endpoint.to_owned()).unwrap().connect().await.unwrap()
}

pub fn digits(account: u64) -> String {
    format!("{account:020}")
}

pub fn subject(account: u64) -> String {
    format!("subject-of-{account}")
}

pub fn medium(account: u64) -> Medium {
    Medium { kind: MediumKind::MotCode.into(), issuer: ISSUER.into(), account: digits(account) }
}

pub fn user_id(account: u64) -> String {
    format!("2088{account:012}")
}

pub fn alipay_medium(account: u64) -> Medium {
    Medium { kind: MediumKind::AlipayCode.into(), issuer: String::new(), account: user_id(account) }
}

pub fn link_request(account: u64) -> LinkRiderRequest {
    let noon = "2022-06-15T12:00:00+08:00".parse().unwrap();
    LinkRiderRequest {
        idempotency_key: format!("key-{account}"),
        media: vec![medium(account)],
        authorization_code: format!("code-{account}"),
        consent: Some(Consent {
            wording_version: "1".into(),
            granted_at: Some(wire(noon)),
            purpose: "gates".into(),
        }),
        channel: LinkChannel::App.into(),
        client: None,
    }
}

pub fn request(id: &str, code: Vec<u8>) -> CheckRequest {
    CheckRequest {
        request_id: id.into(),
        medium: Some(check_request::Medium::QrCode(code.into())),
        direction: Direction::Entry.into(),
        location: "xizhimen".into(),
        device_id: String::new(),
        scanned_at: None,
    }
}

pub fn identified<T>(identity: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-ridegate-identity", identity.parse().unwrap());
    request
}

pub fn as_partner<T>(partner: &str, message: T) -> Request<T> {
    identified(&partner_identity(partner), message)
}

pub fn partner_identity(partner: &str) -> String {
    format!("urn:ridegate:partner:{partner}")
}

/// Verdict and reason, as `ALLOW HEALTH_OK`.
pub fn said(answer: &CheckResponse) -> String {
    let strip = |name: &str| name.split_once('_').unwrap().1.to_owned();
    format!("{} {}", strip(answer.verdict().as_str_name()), strip(answer.reason().as_str_name()))
}

/// Takes the table of links away from under the gateway, or gives it back.
pub async fn rename(house: &House, from: &str, to: &str) {
    let options = SqliteConnectOptions::new().filename(house.folder.path().join("ridegate.db"));
    let other = SqlitePool::connect_with(options).await.unwrap();
    let change = format!("ALTER TABLE {from} RENAME TO {to}");
    sqlx::query(sqlx::AssertSqlSafe(change)).execute(&other).await.unwrap();
    other.close().await;
}
