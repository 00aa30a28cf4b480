//! One connection to Redis, and the keeper that makes it anew.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, RedisError, RedisResult, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{Away, Redis, Script};

/// Longest wait for a connection, and for the answer to a probe.
const PATIENCE: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_millis(100);
/// So many questions in a row that were not answered in time, and nobody is asked any more.
const ENOUGH: u32 = 5;

/// A connection that many may use at once.
pub(super) struct Connection {
    line: MultiplexedConnection,
    /// Questions in a row that failed.
    failures: AtomicU32,
}

impl Connection {
    async fn make(redis: &Redis) -> RedisResult<Self> {
        let node = redis
            .place
            .nodes
            .first()
            .cloned()
            .ok_or_else(|| RedisError::from((redis::ErrorKind::InvalidClientConfig, "no node")))?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        let line = Client::open(node)?.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Self { line, failures: AtomicU32::new(0) })
    }

    pub(super) async fn run(
        &self,
        script: &Script,
        keys: &[&[u8]],
        arguments: &[&[u8]],
    ) -> RedisResult<Value> {
        let mut line = self.line.clone();
        let asked = |value: RedisResult<Value>| value.and_then(Value::extract_error);
        let answer = match asked(line.req_packed_command(&script.by_name(keys, arguments)).await) {
            Err(error) if error.kind() == redis::ErrorKind::Server(ServerErrorKind::NoScript) => {
                asked(line.req_packed_command(&script.in_full(keys, arguments)).await)
            }
            answer => answer,
        };
        if answer.is_ok() {
            self.failures.store(0, Relaxed);
        }
        answer
    }

    pub(super) fn failed(&self, error: &RedisError) -> Away {
        let fatal = error.is_connection_dropped() || error.is_io_error();
        self.failures.fetch_add(if fatal { ENOUGH } else { 1 }, Relaxed);
        if error.is_timeout() { Away::TimedOut } else { Away::Refused }
    }

    pub(super) fn late(&self) -> Away {
        self.failures.fetch_add(1, Relaxed);
        Away::TimedOut
    }

    async fn is_alive(&self) -> bool {
        let mut line = self.line.clone();
        let ping = redis::cmd("PING");
        let pong = timeout(PATIENCE, line.req_packed_command(&ping)).await;
        self.failures.load(Relaxed) < ENOUGH && matches!(pong, Ok(Ok(_)))
    }
}

/// Makes the connection anew whenever it is lost.
pub(super) async fn keep(redis: &Redis) {
    let mut told = None;
    loop {
        if let Ok(Ok(connection)) = timeout(PATIENCE, Connection::make(redis)).await {
            let connection = Arc::new(connection);
            redis.connection.store(Some(Arc::clone(&connection)));
            redis.life.send_modify(|life| *life += 1);
            redis.health.redis(true);
            if told.replace(true) == Some(false) {
                info!("Redis is used again");
            }
            while connection.is_alive().await {
                sleep(EVERY).await;
            }
        }
        redis.connection.store(None);
        redis.health.redis(false);
        if told.replace(false) != Some(false) {
            warn!("Redis is away: claims and quotas are of this replica alone");
        }
        sleep(EVERY).await;
    }
}
