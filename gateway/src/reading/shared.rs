//! What partners have read, for all replicas: in Redis, under names that tell nothing, sealed, for as long as the code
//! lives. Whatever is wrong with it, the partner is asked instead.

use std::{sync::Arc, time::Duration};

use ridegate_adapters::{Reading, UnixSeconds};
use tokio::sync::Semaphore;

use crate::{
    backends::redis::{Redis, Script, shared::prefix},
    domain::pseudonym::Pseudonym,
    keyring::Keyring,
    metrics::{CacheMetrics, Metrics},
};

const GET: &str = "return redis.call('GET', KEYS[1])";
const PUT: &str = "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])";
/// Readings that are on their way there at once. What comes on top is not told: another replica asks for itself.
const UNDER_WAY: usize = 64;

/// What all replicas have read.
pub struct Shared {
    redis: Arc<Redis>,
    keys: Arc<Keyring>,
    /// The longest wait for Redis.
    timeout: Duration,
    get: Script,
    put: Arc<Script>,
    under_way: Arc<Semaphore>,
    served: CacheMetrics,
}

impl Shared {
    /// Kept in this Redis, which is waited for no longer than `timeout`.
    pub fn new(redis: Arc<Redis>, timeout: Duration, keys: Arc<Keyring>, metrics: &Metrics) -> Self {
        Self {
            redis,
            keys,
            timeout,
            get: Script::new(GET),
            put: Arc::new(Script::new(PUT)),
            under_way: Arc::new(Semaphore::new(UNDER_WAY)),
            served: metrics.cache("shared_readings"),
        }
    }

    /// What was read of the code of this name, if it can be used at `now`. What is damaged, or sealed under a key that is
    /// not known here, is as if it were not there.
    pub(super) async fn find(&self, name: &Pseudonym, cap: Duration, now: UnixSeconds) -> Option<Reading> {
        let (key, cap) = (self.key(name), cap.min(self.timeout));
        let sealed = self.redis.run::<Option<Vec<u8>>>(&self.get, "reading", &[&key], &[], cap).await;
        let sealed = sealed.ok().flatten();
        let reading = sealed.and_then(|sealed| self.open(&sealed, name)).filter(|read| !read.is_over(now));
        if reading.is_some() {
            self.served.hit();
        } else {
            self.served.miss();
        }
        reading
    }

    /// Keeps it until its code is over. In the background; not at all if too many are on their way.
    pub(super) fn tell(&self, name: Pseudonym, reading: &Reading, now: UnixSeconds) {
        let lives_on = reading.lives_on(now);
        if lives_on == 0 || !self.redis.is_there() {
            return;
        }
        let Ok(place) = Arc::clone(&self.under_way).try_acquire_owned() else { return };
        let Some(sealed) = self.seal(reading, &name) else { return };
        let (redis, put, key, cap) =
            (Arc::clone(&self.redis), Arc::clone(&self.put), self.key(&name), self.timeout);
        tokio::spawn(async move {
            let millis = (u64::from(lives_on) * 1_000).to_string();
            let arguments = [sealed.as_slice(), millis.as_bytes()];
            let _lost = redis.run::<()>(&put, "reading_put", &[&key], &arguments, cap).await;
            drop(place);
        });
    }

    /// Gateways of another secret have other keys here.
    fn key(&self, name: &Pseudonym) -> Vec<u8> {
        format!("{}:r:{}", prefix(&self.keys), hex::encode(name.0)).into_bytes()
    }

    fn seal(&self, reading: &Reading, name: &Pseudonym) -> Option<Vec<u8>> {
        self.keys.seal(&reading.to_bytes(), name).ok()
    }

    fn open(&self, kept: &[u8], name: &Pseudonym) -> Option<Reading> {
        Reading::from_bytes(&self.keys.open(kept, name).ok()?)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Shared({:?})", self.redis)
    }
}
