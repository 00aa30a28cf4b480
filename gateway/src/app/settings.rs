//! From a configuration to settings that are safe to start with.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ridegate_adapters::Partners;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::{
    clock::Clock,
    config::{Config, ConfigError, ConfigFile},
    domain::{
        passage::{Direction, Passage},
        policy::Policy,
    },
    door::tls::{self, Ends, Tls, TlsError, TlsFiles},
};

/// A configuration whose files were all read, and what is taken for now.
#[derive(Debug)]
pub struct Settings {
    pub(super) config: Config,
    pub(super) partners: Arc<Partners>,
    pub(super) policy: Arc<Policy>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) authority: Endpoint,
    pub(super) authority_ends: Ends,
    pub(super) clock: Clock,
}

/// File descriptors for what is not a connection: registry, authority, operations, files that are read.
const DESCRIPTORS_OF_OURS: usize = 256;

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
        if insecure_dev && !file.config.listen.address.get().ip().is_loopback() {
            let why = "must be a loopback address with --insecure-dev, such as 127.0.0.1:7443";
            return Err(file.refuse("listen", "address", why));
        }
        let operations = file.config.operations.address;
        if insecure_dev && operations.is_some_and(|address| !address.get().ip().is_loopback()) {
            let why = "must be a loopback address with --insecure-dev, such as 127.0.0.1:9464";
            return Err(file.refuse("operations", "address", why));
        }
        let (authority, authority_ends) = authority_endpoint(&file, insecure_dev)?;
        Ok(Self { config: file.config, partners, policy, tls, authority, authority_ends, clock })
    }

    /// Where it will listen.
    pub const fn address(&self) -> SocketAddr {
        self.config.listen.address.get()
    }

    /// Whether callers show certificates.
    pub const fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// When the certificates it uses end, by `server`, `client_ca`, `client_crl`, `authority_ca` and `authority_client`.
    pub fn ends(&self) -> Ends {
        let own = self.tls.iter().flat_map(|tls| tls.ends());
        own.chain(self.authority_ends.iter().copied()).collect()
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
}

/// Whom facts come from, and when the certificates for that end. Facts are nobody else's business, so they cross no
/// network in the clear.
fn authority_endpoint(file: &ConfigFile, insecure_dev: bool) -> Result<(Endpoint, Ends), ConfigError> {
    let config = &file.config.authority;
    let endpoint = Endpoint::from(config.endpoint.uri().clone());
    let refuse = |key, why: &str| file.refuse("authority", key, why);
    if !config.endpoint.is_secure() {
        if config.ca.is_some() || config.certificate.is_some() || config.key.is_some() {
            return Err(refuse("endpoint", "must be https:// where ca, certificate or key are given"));
        }
        let allowed = insecure_dev || config.endpoint.is_local();
        let elsewhere = || refuse("endpoint", "must be https:// where it is not on this machine");
        return allowed.then_some((endpoint, vec![])).ok_or_else(elsewhere);
    }
    let read = |key, path: &Option<PathBuf>| {
        let read = path.as_ref().map(std::fs::read).transpose();
        read.map_err(|error| refuse(key, &format!("cannot be read: {error}")))
    };
    let end_of = |key, path: &Option<PathBuf>, pem: &[u8]| {
        tls::end_of(path.as_deref().unwrap_or(Path::new("")), pem)
            .map_err(|error| refuse(key, &error.to_string()))
    };
    let ca =
        read("ca", &config.ca)?.ok_or_else(|| refuse("ca", "must be given with an https:// endpoint"))?;
    let mut ends = vec![("authority_ca", end_of("ca", &config.ca, &ca)?)];
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    match (read("certificate", &config.certificate)?, read("key", &config.key)?) {
        (Some(certificate), Some(key)) => {
            ends.push(("authority_client", end_of("certificate", &config.certificate, &certificate)?));
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        (None, None) => {}
        (Some(_), None) => return Err(refuse("certificate", "needs its key")),
        (None, Some(_)) => return Err(refuse("key", "needs its certificate")),
    }
    let endpoint = endpoint.tls_config(tls);
    let endpoint = endpoint.map_err(|error| {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        refuse("key", &format!("ca, certificate and key do not go together: {cause}"))
    })?;
    Ok((endpoint, ends))
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

impl From<crate::config::Tls> for TlsFiles {
    fn from(tls: crate::config::Tls) -> Self {
        let crate::config::Tls { certificate, key, client_ca, client_crl, .. } = tls;
        Self { certificate, key, client_ca, client_crl }
    }
}
