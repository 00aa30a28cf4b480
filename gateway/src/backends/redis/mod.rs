//! Redis: what every replica of the gateway shares. A cache beside the process, and the place where claims on codes are
//! judged for the whole fleet.
//!
//! Nothing here is needed for an answer. Whoever asks gets what Redis says in the time there is, or [`Away`].

mod connection;
mod place;
mod records;
mod script;
pub mod shared;
#[cfg(test)]
mod tests;

pub use place::{Access, Form, Place};
pub use script::Script;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use redis::FromRedisValue;
use thiserror::Error;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use self::connection::Connection;
use crate::{health::Health, metrics::UpstreamMetrics};

/// One Redis, whatever its form, and the connection to it that is made anew whenever it is lost.
pub struct Redis {
    place: Place,
    /// `None` while Redis is away: then nobody waits for it.
    connection: ArcSwapOption<Connection>,
    /// Goes up with every connection: what was written before may be lost.
    life: watch::Sender<u64>,
    asked: UpstreamMetrics,
    health: Health,
}

/// Redis was not there, or not in time, or refused. What was to be done may have been done all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Away {
    /// There is no connection; nobody waited.
    #[error("there is no connection to Redis")]
    Unconnected,
    /// No answer in time.
    #[error("Redis did not answer in time")]
    TimedOut,
    /// It failed, or answered with an error.
    #[error("Redis refused")]
    Refused,
}

impl Away {
    /// For metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unconnected => "unconnected",
            Self::TimedOut => "timed_out",
            Self::Refused => "refused",
        }
    }
}

impl Redis {
    /// Not connected yet: [`keep`](Self::keep) is to run beside.
    pub fn new(place: Place, asked: UpstreamMetrics, health: Health) -> Arc<Self> {
        Arc::new(Self {
            place,
            connection: ArcSwapOption::empty(),
            life: watch::Sender::new(0),
            asked,
            health,
        })
    }

    /// Runs a script on keys that lie in one slot. `call` names it in metrics. Waits for `cap` at most; not at all while
    /// Redis is known to be away.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        call: &'static str,
        keys: &[&[u8]],
        arguments: &[&[u8]],
        cap: Duration,
    ) -> Result<T, Away> {
        let began = Instant::now();
        let answer = match self.connection.load_full() {
            None => Err(Away::Unconnected),
            Some(connection) => match timeout(cap, connection.run(script, keys, arguments)).await {
                Ok(Ok(value)) => redis::from_redis_value(value).map_err(|_| Away::Refused),
                Ok(Err(error)) => Err(connection.failed(&error)),
                Err(_) => Err(connection.late()),
            },
        };
        self.asked.asked(call, answer.as_ref().err().map_or("ok", |away| away.name()), began);
        answer
    }

    /// Whether there is a connection at this moment.
    pub fn is_there(&self) -> bool {
        self.connection.load().is_some()
    }

    /// Goes up each time that a connection is made: what was written before may be lost, and what happened meanwhile was
    /// not told.
    pub fn lives(&self) -> watch::Receiver<u64> {
        self.life.subscribe()
    }

    /// Connects, and again whenever the connection is lost, for as long as the process runs.
    pub async fn keep(self: Arc<Self>) {
        connection::keep(&self).await;
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redis({:?})", self.place)
    }
}
