//! What operators do to the registry, with no gateway needed and beside those that run.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{StartError, settings};
use crate::{
    backends::{
        redis::{Away, Place, Redis, shared::Shared},
        registry::{Location, Registry},
    },
    config::{ConfigError, ConfigFile},
    cores::Cores,
    health::Health,
    keyring::{KeyId, Keyring},
    metrics::Metrics,
};

/// Longest wait for Redis to be there.
const REDIS: Duration = Duration::from_secs(5);

/// The registry that a configuration names.
#[derive(Debug)]
pub struct Upkeep {
    location: Location,
    redis: Option<Place>,
    key_file: std::path::PathBuf,
}

impl Upkeep {
    /// Reads where it is.
    pub fn of(file: &ConfigFile, insecure_dev: bool) -> Result<Self, ConfigError> {
        let location = settings::registry(file, insecure_dev)?.for_upkeep();
        let redis = super::redis::redis(file, insecure_dev)?.map(|stated| stated.place);
        Ok(Self { location, redis, key_file: file.config.registry.key_file.clone() })
    }

    /// Makes the schema, or brings it up to date; tells from which version, 0 if there was none.
    pub async fn migrate(&self) -> Result<i64, StartError> {
        let keys = Arc::new(self.keys()?);
        Registry::migrate(&self.location, keys).await.map_err(|source| self.failed(source))
    }

    /// Opens it. It must be there.
    pub async fn open(&self) -> Result<(Registry, Arc<Keyring>), StartError> {
        if self.location.is_new() {
            return Err(StartError::NoRegistry(self.location.clone()));
        }
        let keys = Arc::new(self.keys()?);
        let registry = Registry::open(&self.location, Arc::clone(&keys)).await;
        let registry = registry.map_err(|source| self.failed(source))?;
        registry.check().await.map_err(|source| self.failed(source))?;
        Ok((registry, keys))
    }

    /// Deletes what replicas share of accounts in Redis; tells how many entries. `None` where they share nothing.
    pub async fn sweep(&self, keys: &Arc<Keyring>) -> Option<Result<u64, Away>> {
        let health = Health::new(false);
        let asked = Metrics::default().upstream("redis");
        let redis = Redis::new(self.redis.clone()?, &Cores::here(), asked, health.clone());
        let keeper = tokio::spawn(Arc::clone(&redis).keep());
        let mut state = health.follow();
        let there = timeout(REDIS, state.wait_for(|state| state.redis == Some(true))).await.is_ok();
        let shared = Shared::new(redis, Arc::clone(keys), REDIS);
        let swept = if there { shared.sweep().await } else { Err(Away::Unconnected) };
        keeper.abort();
        Some(swept)
    }

    /// Adds a key to the key file, or makes it; tells the key's number. Nothing is written under it yet.
    pub fn add_key(&self) -> Result<KeyId, StartError> {
        if self.key_file.exists() {
            return Ok(Keyring::add(&self.key_file)?);
        }
        match &self.location {
            Location::File(path) if path.exists() => Err(StartError::KeyMissing(self.key_file.clone())),
            _ => Ok(Keyring::create(&self.key_file).map(|_| 1)?),
        }
    }

    fn keys(&self) -> Result<Keyring, StartError> {
        keys(&self.key_file, &self.location)
    }

    fn failed(&self, source: crate::backends::registry::OpenError) -> StartError {
        StartError::Registry { location: self.location.clone(), source }
    }
}

/// A new embedded registry gets a new key. An old one needs its own: a fresh key would leave every link unreadable; and
/// replicas at one server need the same.
pub(super) fn keys(file: &Path, registry: &Location) -> Result<Keyring, StartError> {
    match (file.exists(), registry) {
        (true, _) => Ok(Keyring::load(file)?),
        (false, Location::Server { .. }) => Err(StartError::KeyNotMade(file.to_owned())),
        (false, Location::File(path)) if path.exists() => Err(StartError::KeyMissing(file.to_owned())),
        (false, Location::File(_)) => Ok(Keyring::create(file)?),
    }
}
