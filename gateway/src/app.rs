//! Wires the gateway up. The one place that knows every part.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use ridegate_adapters::Partners;
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tonic::transport::{Endpoint, server::TcpIncoming};

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
    keyring::{KeyError, Keyring},
    linking::Linking,
    resolve::{
        Resolver, desk::Desk, facts::Freshness, levels::Levels, links::Links, lookups::Lookups, watch,
    },
    road::Road,
    transport::{self, Fleets, Inspections, PartnerApi, ValidatorApi},
};

/// A configuration whose files were all read, and what is taken for now.
#[derive(Debug)]
pub struct Settings {
    config: Config,
    partners: Arc<Partners>,
    policy: Arc<Policy>,
    clock: Clock,
}

/// Settings with which the gateway does not start. Nothing was opened.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// A file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// There is no TLS yet.
    #[error("serving needs --insecure-dev: this version has no TLS, so it serves on your own machine only")]
    Insecure,
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
    /// The address.
    #[error("listen.address {address}: {source}")]
    Listen {
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
    inspections: Arc<Inspections>,
    drain: Duration,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    watch: JoinHandle<()>,
    registry: Arc<Registry>,
}

impl Settings {
    /// Reads what the configuration names, and refuses what would not be safe.
    pub fn new(file: ConfigFile, clock: Clock, insecure_dev: bool) -> Result<Self, SettingsError> {
        let partners = Arc::new(file.load_partners()?);
        let policy = Arc::new(file.load_policy()?);
        if !insecure_dev && partners.has_test_keys() {
            return Err(refuse_test_keys(&file, &partners).into());
        }
        if !insecure_dev {
            return Err(SettingsError::Insecure);
        }
        if !file.config.listen.address.ip().is_loopback() {
            let why = "must be a loopback address with --insecure-dev, such as 127.0.0.1:7443";
            return Err(file.refuse("listen", "address", why).into());
        }
        Ok(Self { config: file.config, partners, policy, clock })
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
        let address = self.config.listen.address;
        let listen = |source| StartError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;

        let inspections = Arc::new(Inspections::default());
        let (validators, partners, watch) = self.wire(&keys, &registry, &inspections);
        let (stop, stopped) = oneshot::channel();
        let router = transport::router(validators, partners);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = tokio::spawn(router.serve_with_incoming_shutdown(incoming, async {
            let _dropped = stopped.await;
        }));
        let drain = self.config.listen.drain.get();
        Ok(Running { address, inspections, drain, stop, server, watch, registry })
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
    ) -> (ValidatorApi, PartnerApi, JoinHandle<()>) {
        let Config { authority, verdict, memory, fleets, quota, .. } = &self.config;
        let client = Authority::new(
            Endpoint::from(authority.endpoint.uri().clone()),
            authority.exchange_timeout.get(),
        );
        let desk = Arc::new(Desk::new(self.clock.clone(), self.freshness(), memory.facts.get()));
        let cap = authority.lookup_timeout.get();
        let lookups =
            Lookups::start(client.clone(), Arc::clone(&desk), authority.concurrent_calls.get(), cap);
        let links = Arc::new(Links::new(Arc::clone(registry), memory.links.get()));
        let quotas = Arc::new(Quotas::new(&self.partners, rates(quota)));
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
            levels: Levels::new(memory.authorizations.get()),
            claims: Claims::new(Arc::clone(keys), verdict.double_read.signed()),
            resolver,
            policy: Arc::clone(&self.policy),
            in_flight: Semaphore::new(verdict.in_flight.get()),
        };
        let validators = ValidatorApi {
            road: Arc::new(road),
            fleets: Arc::new(fleets.clone().into()),
            inspections: Arc::clone(inspections),
            budget: verdict.budget.get(),
            reply_margin: verdict.reply_margin.get(),
        };
        let linking = Linking {
            registry: Arc::clone(registry),
            links,
            authority: client.clone(),
            keys: Arc::clone(keys),
            clock: self.clock.clone(),
        };
        let partners = PartnerApi { partners: Arc::clone(&self.partners), quotas, linking };
        (validators, partners, tokio::spawn(watch::follow(client, desk)))
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

    /// Takes no new connections, finishes what runs for as long as the configuration allows, and closes.
    pub async fn stop(self) {
        let _already_over = self.stop.send(());
        let abort = self.server.abort_handle();
        if timeout(self.drain, self.server).await.is_err() {
            tracing::warn!("connections were cut at the end of listen.drain");
            abort.abort();
        }
        self.watch.abort();
        let [passed, refused, left] = self.inspections.counts();
        tracing::info!(passed, refused, left, "stopped; what staff decided");
        self.registry.close().await;
    }
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
