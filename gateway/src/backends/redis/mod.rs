//! Redis: what every replica of the gateway shares. A cache beside the process, and the place where claims on codes are
//! judged for the whole fleet.
//!
//! Nothing here is needed for an answer. Whoever asks gets what Redis says in the time there is, or [`Away`].

mod cause;
mod cluster;
mod connection;
mod keeper;
mod line;
mod outbox;
mod place;
mod quota;
mod records;
mod script;
mod sentinel;
pub mod shared;
mod slots;
mod sweep;
#[cfg(test)]
mod tests;

pub use place::{Access, Form, Place};
pub use quota::{Answer, Ask, Bank};
pub use script::Script;

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use redis::FromRedisValue;
use thiserror::Error;
use tokio::{runtime::Handle, sync::watch, time::Instant};

use self::{
    cluster::Cluster,
    connection::Question,
    keeper::Whose,
    line::{Line, No},
};
use crate::{cores::Cores, health::Health, metrics::UpstreamMetrics};

/// One Redis, whatever its form, and the connections to it that are made anew whenever they are lost.
pub struct Redis {
    place: Place,
    /// Of the cores that ask, each of which has connections of its own.
    runtimes: Vec<Handle>,
    lines: Lines,
    /// Goes up with every connection: what was written before may be lost.
    life: watch::Sender<u64>,
    asked: UpstreamMetrics,
    health: Health,
}

enum Lines {
    One(Line),
    Cluster(Arc<Cluster>),
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
    /// Asked from these cores. Not connected yet: [`keep`](Self::keep) is to run beside. Until then it is away.
    pub fn new(place: Place, cores: &Cores, asked: UpstreamMetrics, health: Health) -> Arc<Self> {
        let lines = match place.form {
            Form::Cluster => Lines::Cluster(Arc::default()),
            Form::Single | Form::Sentinel(_) => Lines::One(Line::default()),
        };
        let redis =
            Self { place, runtimes: cores.runtimes(), lines, life: watch::Sender::new(0), asked, health };
        redis.tell();
        Arc::new(redis)
    }

    /// Runs a script on keys that lie in one slot. `call` names it in metrics. Waits for `cap` at most; not at all while
    /// Redis, or the node of the cluster that has the slot, is known to be away.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        call: &'static str,
        keys: &[&[u8]],
        arguments: &[&[u8]],
        cap: Duration,
    ) -> Result<T, Away> {
        let began = Instant::now();
        let question = Question { script, keys, arguments };
        let answer = match &self.lines {
            Lines::One(line) => {
                line.ask(question, (cap, self.place.timeout), false).await.map_err(|no| match no {
                    No::Away(away) => away,
                    // It is a cluster, which the configuration does not say.
                    No::Moved(_) | No::Ask(_) => Away::Refused,
                })
            }
            Lines::Cluster(cluster) => cluster.ask(question, cap, self.place.timeout).await,
        };
        let answer = answer.and_then(|value| redis::from_redis_value(value).map_err(|_| Away::Refused));
        self.asked.asked(call, answer.as_ref().err().map_or("ok", |away| away.name()), began);
        answer
    }

    /// Asks all of these, together where one server has all keys; the answers are in their order.
    async fn run_each<T: FromRedisValue>(
        &self,
        call: &'static str,
        questions: &[Question<'_>],
        cap: Duration,
    ) -> Vec<Result<T, Away>> {
        let Lines::One(line) = &self.lines else {
            let each = questions.iter().map(|one| self.run(one.script, call, one.keys, one.arguments, cap));
            return join_all(each).await;
        };
        let began = Instant::now();
        let answers = line.ask_each(questions, (cap, self.place.timeout)).await;
        let answers = answers.into_iter().map(|answer| {
            let answer = answer.and_then(|value| redis::from_redis_value(value).map_err(|_| Away::Refused));
            self.asked.asked(call, answer.as_ref().err().map_or("ok", |away| away.name()), began);
            answer
        });
        answers.collect()
    }

    /// How many cores ask.
    fn cores(&self) -> usize {
        self.runtimes.len()
    }

    /// Whether it can be asked at this moment; of a cluster, some node.
    pub fn is_there(&self) -> bool {
        match &self.lines {
            Lines::One(line) => line.used().is_some(),
            Lines::Cluster(cluster) => cluster.is_there(),
        }
    }

    /// Goes up each time that a connection is made, to a node or to all there is: what was written before may be lost, and
    /// what happened meanwhile was not told.
    pub fn lives(&self) -> watch::Receiver<u64> {
        self.life.subscribe()
    }

    /// Connects, and again whenever a connection is lost, for as long as the process runs.
    pub async fn keep(self: Arc<Self>) {
        match &self.lines {
            Lines::One(line) => keeper::keep(&self, line, &Whose::Master).await,
            Lines::Cluster(cluster) => cluster::keep(Arc::clone(&self), cluster).await,
        }
    }

    /// Whether all of it can be asked.
    fn tell(&self) {
        self.health.redis(match &self.lines {
            Lines::One(line) => line.used().is_some(),
            Lines::Cluster(cluster) => cluster.is_whole(),
        });
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redis({:?})", self.place)
    }
}
