//! From a configuration to settings that are safe to start with.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use ridegate_adapters::Partners;

use super::{
    onboard::{Follower, Onboarded, TEST_KEYS},
    redis,
    upstream::{Stated, Upstream},
};
use crate::{
    backends::registry::Location,
    clock::Clock,
    config::{Authority, Config, ConfigError, ConfigFile},
    domain::{
        passage::{Direction, Passage},
        policy::Policy,
    },
    door::tls::{Ends, Tls, TlsError, TlsFiles},
};

/// A configuration whose files were all read, and what is taken for now.
#[derive(Debug)]
pub struct Settings {
    pub(super) config: Config,
    pub(super) onboarded: Onboarded,
    pub(super) follower: Option<Follower>,
    pub(super) policy: Arc<Policy>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) authority: Upstream,
    pub(super) registry: Location,
    pub(super) redis: Option<redis::Stated>,
    pub(super) clock: Clock,
}

/// File descriptors for what is not a connection: registry, authority, operations, files that are read.
const DESCRIPTORS_OF_OURS: usize = 256;

impl Settings {
    /// Reads what the configuration names, and refuses what would not be safe.
    pub fn new(file: ConfigFile, clock: Clock, insecure_dev: bool) -> Result<Self, ConfigError> {
        let (onboarded, follower) = Onboarded::by(&file, insecure_dev)?;
        let policy = Arc::new(file.load_policy()?);
        if !insecure_dev && onboarded.partners.has_test_keys() {
            return Err(refuse_test_keys(&file, &onboarded.partners));
        }
        let tls = file.config.tls.clone().map(|tls| Tls::load(tls.into())).transpose();
        let tls = tls.map_err(|error| refuse_certificates(&file, &error))?.map(Arc::new);
        if !insecure_dev && tls.is_none() {
            let why =
                "must be given: without TLS the gateway serves on your own machine only, with --insecure-dev";
            return Err(file.refuse("tls", "certificate", why));
        }
        if insecure_dev && !file.config.listen.address.get().ip().is_loopback() {
            let why = "must be a loopback address with --insecure-dev, such as 127.0.0.1:7443";
            return Err(file.refuse("listen", "address", why));
        }
        let operations = file.config.operations.address;
        if insecure_dev && operations.is_some_and(|address| !address.get().ip().is_loopback()) {
            let why = "must be a loopback address with --insecure-dev, such as 127.0.0.1:9464";
            return Err(file.refuse("operations", "address", why));
        }
        let authority = authority(&file, insecure_dev)?;
        let registry = registry(&file, insecure_dev)?;
        let redis = redis::redis(&file, insecure_dev)?;
        Ok(Self { config: file.config, onboarded, follower, policy, tls, authority, registry, redis, clock })
    }

    /// Where it will listen.
    pub const fn address(&self) -> SocketAddr {
        self.config.listen.address.get()
    }

    /// Whether callers show certificates.
    pub const fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// When the certificates it uses end, by `server`, `client_ca`, `client_crl`, `authority_ca`, `authority_client`,
    /// `redis_ca`, `redis_client`, and `resolver_ca` and `resolver_client` with a partner's name behind a slash.
    pub fn ends(&self) -> Ends {
        let own = self.tls.iter().flat_map(|tls| tls.ends());
        own.chain(self.authority_ends())
            .chain(self.redis_ends())
            .chain(self.onboarded.ends.iter().cloned())
            .collect()
    }

    /// Of those, the authority's.
    pub(super) fn authority_ends(&self) -> Ends {
        let Upstream { ca_end, client_end, .. } = self.authority;
        let ends = [("authority_ca", ca_end), ("authority_client", client_end)];
        ends.into_iter().filter_map(|(name, end)| Some((name.into(), end?))).collect()
    }

    /// Of those, the ones for Redis.
    pub(super) fn redis_ends(&self) -> Ends {
        self.redis.as_ref().map(|redis| redis.ends.clone()).unwrap_or_default()
    }

    /// Takes in as many connections as so many file descriptors are enough for, if the configuration asks for more;
    /// tells how many those are.
    pub fn fit_into(&mut self, descriptors: u64) -> Option<usize> {
        let limits = &mut self.config.limits;
        let beside = limits.handshakes.get() + limits.anonymous.get() + DESCRIPTORS_OF_OURS;
        let room = usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(beside).max(1);
        let too_many = limits.connections.get() > room;
        too_many.then(|| limits.connections = limits.connections.at_most(room)).map(|()| room)
    }

    /// How many partners it knows.
    pub fn partners(&self) -> usize {
        self.onboarded.partners.iter().count()
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
}

/// Where links are kept. What passes to a server is nobody else's business, so it crosses no network in the clear.
pub(super) fn registry(file: &ConfigFile, insecure_dev: bool) -> Result<Location, ConfigError> {
    let registry = &file.config.registry;
    let Some(url) = &registry.url else { return Ok(Location::File(registry.path.clone())) };
    let password = registry.password_file.as_ref().map(std::fs::read_to_string).transpose();
    let password = password
        .map_err(|error| file.refuse("registry", "password_file", &format!("cannot be read: {error}")))?;
    let connections = u32::try_from(registry.connections.get()).unwrap_or(u32::MAX);
    let server = Location::server(url, password.as_deref().map(str::trim), connections, insecure_dev);
    server.map_err(|why| file.refuse("registry", "url", why))
}

/// Whom facts come from.
fn authority(file: &ConfigFile, insecure_dev: bool) -> Result<Upstream, ConfigError> {
    let Authority { endpoint, ca, certificate, key, .. } = &file.config.authority;
    let stated =
        Stated { endpoint, ca: ca.as_deref(), certificate: certificate.as_deref(), key: key.as_deref() };
    stated.upstream(insecure_dev).map_err(|(key, why)| file.refuse("authority", key, &why))
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
        TEST_KEYS
    };
    file.refuse("partners", key, why)
}

impl From<crate::config::Tls> for TlsFiles {
    fn from(tls: crate::config::Tls) -> Self {
        let crate::config::Tls { certificate, key, client_ca, client_crl, .. } = tls;
        Self { certificate, key, client_ca, client_crl }
    }
}
