//! Wires the gateway up. The one place that knows every part.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use ridegate_adapters::Partners;
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity as ClientIdentity};

use crate::{
    admission::quota::{DefaultRates, Quotas, Rate},
    backends::{
        authority::Authority,
        sqlite::{OpenError, Registry},
    },
    claim::Claims,
    clock::Clock,
    config::{Config, ConfigError, ConfigFile},
    domain::{
        passage::{Direction, Passage},
        policy::Policy,
    },
    door::{
        Door, Limits,
        tls::{Expiry, Tls, TlsError, TlsFiles},
    },
    health::Health,
    keyring::{KeyError, Keyring},
    linking::Linking,
    metrics::Metrics,
    operations,
    resolve::{
        Resolver, desk::Desk, facts::Freshness, levels::Levels, links::Links, lookups::Lookups, watch,
    },
    road::Road,
    transport::{self, Calls, Fleets, Inspections, Manners, PartnerApi, ReflectionError, ValidatorApi},
};

/// A configuration whose files were all read, and what is taken for now.
#[derive(Debug)]
pub struct Settings {
    config: Config,
    partners: Arc<Partners>,
    policy: Arc<Policy>,
    tls: Option<Arc<Tls>>,
    authority: Endpoint,
    clock: Clock,
}

/// Why the gateway did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key file is missing although the registry is there.
    #[error("key file {0}: missing, although the registry exists and was written under it")]
    KeyMissing(PathBuf),
    /// The registry.
    #[error("registry {path}: {source}")]
    Registry {
        /// The database.
        path: PathBuf,
        /// Why.
        source: OpenError,
    },
    /// The contract that is told to who asks.
    #[error(transparent)]
    Reflection(#[from] ReflectionError),
    /// An address.
    #[error("{key} {address}: {source}")]
    Listen {
        /// `listen.address` or `operations.address`.
        key: &'static str,
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// A gateway that answers.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    operations: Option<SocketAddr>,
    inspections: Arc<Inspections>,
    door: Door,
    health: Health,
    notice: Duration,
    /// What goes on beside the answering; ends with this.
    beside: JoinSet<()>,
    registry: Arc<Registry>,
}

/// How often the registry is asked whether it answers.
const PROBE_EVERY: Duration = Duration::from_secs(1);

impl Settings {
    /// Reads what the configuration names, and refuses what would not be safe.
    pub fn new(file: ConfigFile, clock: Clock, insecure_dev: bool) -> Result<Self, ConfigError> {
        let partners = Arc::new(file.load_partners()?);
        let policy = Arc::new(file.load_policy()?);
        if !insecure_dev && partners.has_test_keys() {
            return Err(refuse_test_keys(&file, &partners));
        }
        let tls = file.config.tls.clone().map(|tls| Tls::load(tls.into())).transpose();
        let tls = tls.map_err(|error| refuse_certificates(&file, &error))?.map(Arc::new);
        if !insecure_dev && tls.is_none() {
            let why =
                "must be given: without TLS the gateway serves on your own machine only, with --insecure-dev";
            return Err(file.refuse("tls", "certificate", why));
        }
        if insecure_dev && !file.config.listen.address.ip().is_loopback() {
            let why = "must be a loopback address with --insecure-dev, such as 127.0.0.1:7443";
            return Err(file.refuse("listen", "address", why));
        }
        let authority = authority_endpoint(&file, insecure_dev)?;
        Ok(Self { config: file.config, partners, policy, tls, authority, clock })
    }

    /// Looks at what starting would need, and opens nothing: the key file.
    pub fn check(&self) -> Result<(), StartError> {
        let registry = &self.config.registry;
        if registry.key_file.exists() || registry.path.exists() { self.keys().map(drop) } else { Ok(()) }
    }

    /// Where it will listen.
    pub const fn address(&self) -> SocketAddr {
        self.config.listen.address
    }

    /// When its certificates end; `None` without TLS.
    pub fn expiry(&self) -> Option<Expiry> {
        self.tls.as_ref().map(|tls| tls.expiry())
    }

    /// How many partners it knows.
    pub fn partners(&self) -> usize {
        self.partners.iter().count()
    }

    /// Whether the policy asks anything at this moment, on the way in.
    pub fn enforces_now(&self) -> bool {
        let entry = Passage { direction: Direction::Entry, location: String::new() };
        self.policy.enforced(self.clock.now(), &entry).is_some()
    }

    /// The policy's name and version.
    pub fn policy_version(&self) -> &str {
        self.policy.version()
    }

    /// Opens the registry, starts listening, and serves until told to stop.
    pub async fn start(self) -> Result<Running, StartError> {
        let keys = Arc::new(self.keys()?);
        let registry = Arc::new(self.registry(&keys).await?);
        let listener = listen("listen.address", self.config.listen.address).await?;
        let address = listener.local_addr().unwrap_or(self.config.listen.address);
        let (metrics, health) = (Arc::new(Metrics::default()), Health::new(self.enforces_now()));
        let inspections = Arc::new(Inspections::default());
        let mut beside = JoinSet::new();

        let calls = self.wire(&keys, &registry, &inspections, &metrics, &health, &mut beside)?;
        beside.spawn(probe(Arc::clone(&registry), health.clone()));
        if let (Some(tls), Some(config)) = (&self.tls, &self.config.tls) {
            beside.spawn(Arc::clone(tls).follow(config.reload.get(), metrics.tls()));
        }
        let mut operations = None;
        if let Some(address) = self.config.operations.address {
            let listener = listen("operations.address", address).await?;
            operations = listener.local_addr().ok();
            beside.spawn(operations::serve(listener, Arc::clone(&metrics), health.clone()));
        }
        let door = Door::open(listener, self.tls.clone(), self.limits(), metrics.door(), calls);
        let notice = self.config.listen.notice.get();
        Ok(Running { address, operations, inspections, door, health, notice, beside, registry })
    }

    /// A new registry gets a new key. An old one needs its own: a fresh key would leave every link unreadable.
    fn keys(&self) -> Result<Keyring, StartError> {
        let registry = &self.config.registry;
        match (registry.key_file.exists(), registry.path.exists()) {
            (true, _) => Ok(Keyring::load(&registry.key_file)?),
            (false, false) => Ok(Keyring::create(&registry.key_file)?),
            (false, true) => Err(StartError::KeyMissing(registry.key_file.clone())),
        }
    }

    async fn registry(&self, keys: &Arc<Keyring>) -> Result<Registry, StartError> {
        let path = &self.config.registry.path;
        let opened = Registry::open(path, Arc::clone(keys)).await;
        opened.map_err(|source| StartError::Registry { path: path.clone(), source })
    }

    fn wire(
        &self,
        keys: &Arc<Keyring>,
        registry: &Arc<Registry>,
        inspections: &Arc<Inspections>,
        metrics: &Arc<Metrics>,
        health: &Health,
        beside: &mut JoinSet<()>,
    ) -> Result<Calls, ReflectionError> {
        let Config { authority, verdict, memory, fleets, quota, .. } = &self.config;
        let client = Authority::new(
            self.authority.clone(),
            authority.exchange_timeout.get(),
            metrics.upstream("authority"),
        );
        let desk = Arc::new(Desk::new(self.clock.clone(), self.freshness(), memory.facts.get()));
        let cap = authority.lookup_timeout.get();
        let calls = authority.concurrent_calls.get();
        let lookups = Lookups::start(client.clone(), Arc::clone(&desk), calls, cap, metrics.cache("facts"));
        let links = Arc::new(Links::new(Arc::clone(registry), memory.links.get(), metrics));
        let quotas = Arc::new(Quotas::new(&self.partners, rates(quota), Arc::clone(metrics)));
        let resolver = Resolver {
            links: Arc::clone(&links),
            lookups: Arc::new(lookups),
            keys: Arc::clone(keys),
            registry_cap: self.config.registry.timeout.get(),
            authority_cap: cap,
        };
        let road = Road {
            clock: self.clock.clone(),
            partners: Arc::clone(&self.partners),
            quotas: Arc::clone(&quotas),
            levels: Levels::new(memory.authorizations.get(), metrics),
            claims: Claims::new(Arc::clone(keys), verdict.double_read.signed(), Arc::clone(metrics)),
            resolver,
            policy: Arc::clone(&self.policy),
            in_flight: Semaphore::new(verdict.in_flight.get()),
            metrics: Arc::clone(metrics),
        };
        let validators = ValidatorApi {
            road: Arc::new(road),
            fleets: Arc::new(fleets.clone().into()),
            inspections: Arc::clone(inspections),
            budget: verdict.budget.get(),
            reply_margin: verdict.reply_margin.get(),
            metrics: Arc::clone(metrics),
        };
        let linking = Linking {
            registry: Arc::clone(registry),
            links,
            authority: client.clone(),
            keys: Arc::clone(keys),
            clock: self.clock.clone(),
        };
        let partners = PartnerApi { partners: Arc::clone(&self.partners), quotas, linking };
        beside.spawn(watch::follow(client, desk, health.clone()));
        let manners = Manners {
            longest_call: self.config.limits.call.get(),
            reflection: self.config.listen.reflection,
        };
        transport::calls(validators, partners, health, metrics, manners)
    }

    fn limits(&self) -> Limits {
        let limits = &self.config.limits;
        Limits {
            connections: limits.connections.get(),
            per_caller: limits.per_caller.get(),
            anonymous: limits.anonymous.get(),
            handshakes: limits.handshakes.get(),
            handshakes_per_address: limits.handshakes_per_address.get(),
            handshake: limits.handshake.get(),
            streams: limits.streams.get_u32(),
            header_bytes: limits.header_bytes.get_u32(),
            idle: limits.idle.get(),
            age: limits.age.get(),
            ping_every: limits.ping_every.get(),
            ping_timeout: limits.ping_timeout.get(),
            drain: self.config.listen.drain.get(),
        }
    }

    fn freshness(&self) -> Freshness {
        let facts = &self.config.facts;
        Freshness {
            unwatched: facts.unwatched_max.signed(),
            no_record: facts.no_record_max.signed(),
            stale: facts.stale_max.signed(),
        }
    }
}

impl Running {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What staff decided so far.
    pub fn inspections(&self) -> [u64; 3] {
        self.inspections.counts()
    }

    /// Where metrics and probes are, if they are served.
    pub const fn operations(&self) -> Option<SocketAddr> {
        self.operations
    }

    /// Says that it will be gone, goes on for the notice so that everybody can hear it, then lets nobody in, finishes
    /// what runs, and cuts off what still runs after the drain time.
    pub async fn stop(mut self) {
        self.health.stop();
        sleep(self.notice).await;
        self.door.close().await;
        self.beside.shutdown().await;
        let [passed, refused, left] = self.inspections.counts();
        tracing::info!(passed, refused, left, "stopped; what staff decided");
        self.registry.close().await;
    }
}

async fn listen(key: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { key, address, source })
}

/// Asks the registry again and again whether it answers.
async fn probe(registry: Arc<Registry>, health: Health) {
    loop {
        let answered = timeout(PROBE_EVERY, registry.ping()).await;
        health.registry(matches!(answered, Ok(Ok(()))));
        sleep(PROBE_EVERY).await;
    }
}

/// Whom facts come from. They are nobody else's business, so they cross no network in the clear.
fn authority_endpoint(file: &ConfigFile, insecure_dev: bool) -> Result<Endpoint, ConfigError> {
    let config = &file.config.authority;
    let endpoint = Endpoint::from(config.endpoint.uri().clone());
    let refuse = |key, why: &str| file.refuse("authority", key, why);
    if !config.endpoint.is_secure() {
        if config.ca.is_some() || config.certificate.is_some() || config.key.is_some() {
            return Err(refuse("endpoint", "must be https:// where ca, certificate or key are given"));
        }
        return match insecure_dev || config.endpoint.is_local() {
            true => Ok(endpoint),
            false => Err(refuse("endpoint", "must be https:// where it is not on this machine")),
        };
    }
    let read = |key, path: &Option<PathBuf>| {
        let read = path.as_ref().map(std::fs::read).transpose();
        read.map_err(|error| refuse(key, &format!("cannot be read: {error}")))
    };
    let ca =
        read("ca", &config.ca)?.ok_or_else(|| refuse("ca", "must be given with an https:// endpoint"))?;
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    match (read("certificate", &config.certificate)?, read("key", &config.key)?) {
        (Some(certificate), Some(key)) => tls = tls.identity(ClientIdentity::from_pem(certificate, key)),
        (None, None) => {}
        (Some(_), None) => return Err(refuse("certificate", "needs its key")),
        (None, Some(_)) => return Err(refuse("key", "needs its certificate")),
    }
    endpoint.tls_config(tls).map_err(|error| refuse("certificate", &format!("ca, certificate, key: {error}")))
}

fn refuse_certificates(file: &ConfigFile, error: &TlsError) -> ConfigError {
    let tls = file.config.tls.as_ref();
    let is = |path: fn(&crate::config::Tls) -> Option<&PathBuf>| tls.and_then(path) == Some(&error.file);
    let key = match () {
        () if is(|tls| Some(&tls.key)) => "key",
        () if is(|tls| Some(&tls.client_ca)) => "client_ca",
        () if is(|tls| tls.client_crl.as_ref()) => "client_crl",
        () => "certificate",
    };
    file.refuse("tls", key, &error.to_string())
}

/// By a test key anybody can sign.
fn refuse_test_keys(file: &ConfigFile, partners: &Partners) -> ConfigError {
    let unset = file.config.partners.profiles.is_none();
    let key = if partners.iter().any(|profile| profile.test) { "profiles" } else { "mot_trust" };
    let why = if unset {
        "unset, so the test profiles that ship are used: for --insecure-dev only; set profiles and mot_trust"
    } else {
        "holds test keys (test = true): for --insecure-dev only"
    };
    file.refuse("partners", key, why)
}

fn rates(quota: &crate::config::Quota) -> DefaultRates {
    DefaultRates {
        codes: Rate { per_second: quota.codes_per_second, burst: quota.codes_burst },
        calls: Rate { per_second: quota.calls_per_second, burst: quota.calls_burst },
    }
}

impl From<crate::config::Fleets> for Fleets {
    fn from(fleets: crate::config::Fleets) -> Self {
        Self {
            full_reasons: fleets.full_reasons.into_iter().collect(),
            help: fleets.help,
            default_help: fleets.help_default,
        }
    }
}

impl From<crate::config::Tls> for TlsFiles {
    fn from(tls: crate::config::Tls) -> Self {
        let crate::config::Tls { certificate, key, client_ca, client_crl, .. } = tls;
        Self { certificate, key, client_ca, client_crl }
    }
}
