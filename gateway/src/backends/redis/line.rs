//! A connection to one server, which many use at once, and the breaker in it: after some failures in a row nobody asks
//! over it any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use redis::{
    Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{Away, Script, cause::Cause, place::Address};

/// So many failures in a row, and nobody is asked any more.
const ENOUGH: u32 = 5;
/// A question that had less time than this (its verdict had none left) says nothing about who was asked.
const FAIR: Duration = Duration::from_millis(5);

/// What is asked of it.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) script: &'a Script,
    pub(super) keys: &'a [&'a [u8]],
    pub(super) arguments: &'a [&'a [u8]],
}

/// Why there is no answer from here.
pub(super) enum No {
    Away(Away),
    /// The slot is with somebody else.
    Moved(Address),
    /// What is not here of the slot is with somebody else already.
    Ask(Address),
}

/// The way to one server.
#[derive(Default)]
pub(super) struct Line {
    /// `None` while it is away.
    connection: ArcSwapOption<Connection>,
}

impl Line {
    /// Asks, if the server is there; waits for `cap` at most. Only an answer that came within `useful` says that the server
    /// is of use: others are for what nobody waits for.
    pub(super) async fn ask(
        &self,
        question: Question<'_>,
        (cap, useful): (Duration, Duration),
        asking: bool,
    ) -> Result<Value, No> {
        let Some(connection) = self.used() else { return Err(No::Away(Away::Unconnected)) };
        let began = Instant::now();
        match timeout(cap, connection.run(question, asking)).await {
            Ok(Ok(value)) => {
                if began.elapsed() <= useful {
                    connection.failures.store(0, Relaxed);
                }
                Ok(value)
            }
            Ok(Err(error)) => Err(connection.failed(&error)),
            Err(_) => {
                connection.count(if cap >= FAIR { Cause::Silent } else { Cause::Question });
                Err(No::Away(Away::TimedOut))
            }
        }
    }

    /// The connection, while it may be used.
    pub(super) fn used(&self) -> Option<Arc<Connection>> {
        self.connection.load_full().filter(|connection| connection.over.borrow().is_none())
    }

    pub(super) fn set(&self, connection: Option<Arc<Connection>>) {
        self.connection.store(connection);
    }
}

/// A connection. It is never remade in silence: what comes after it is another one.
pub(super) struct Connection {
    line: MultiplexedConnection,
    /// In a row.
    failures: AtomicU32,
    /// Why nobody asks over it any more.
    over: watch::Sender<Option<Cause>>,
}

impl Connection {
    pub(super) fn new(line: MultiplexedConnection) -> Self {
        Self { line, failures: AtomicU32::new(0), over: watch::Sender::new(None) }
    }

    /// By the script's name; in full where that is not known: a server that was started anew, a replica that is master now,
    /// another node of the cluster, `SCRIPT FLUSH`.
    pub(super) async fn run(&self, question: Question<'_>, asking: bool) -> RedisResult<Value> {
        let Question { script, keys, arguments } = question;
        match self.send(script.by_name(keys, arguments), asking).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(script.in_full(keys, arguments), asking).await
            }
            answer => answer,
        }
    }

    /// Sends one command; after `ASKING`, which holds for the command behind it only, if need be.
    pub(super) async fn send(&self, command: Cmd, asking: bool) -> RedisResult<Value> {
        let mut line = self.line.clone();
        if !asking {
            return line.req_packed_command(&command).await?.extract_error();
        }
        let mut both = redis::pipe();
        both.cmd("ASKING").ignore().add_command(command);
        let answers = line.req_packed_commands(&both, 1, 1).await?;
        answers.into_iter().next_back().unwrap_or(Value::Nil).extract_error()
    }

    /// Sends several commands. An answer that says no makes all of it a failure.
    pub(super) async fn send_all(&self, commands: &Pipeline) -> RedisResult<()> {
        let mut line = self.line.clone();
        let answers = line.req_packed_commands(commands, 0, commands.len()).await?;
        answers.into_iter().try_for_each(|answer| answer.extract_error().map(drop))
    }

    /// Ends when nobody asks over it any more.
    pub(super) async fn over(&self) -> Cause {
        let mut over = self.over.subscribe();
        let cause = over.wait_for(Option::is_some).await.ok().and_then(|cause| *cause);
        cause.unwrap_or(Cause::Lost)
    }

    fn failed(&self, error: &RedisError) -> No {
        let elsewhere = error.redirect_node().and_then(|(address, _)| Address::parse(address));
        match (error.kind(), elsewhere) {
            (ErrorKind::Server(ServerErrorKind::Moved), Some(address)) => return No::Moved(address),
            (ErrorKind::Server(ServerErrorKind::Ask), Some(address)) => return No::Ask(address),
            _ => {}
        }
        let cause = Cause::of(error);
        self.count(cause);
        No::Away(if cause == Cause::Silent { Away::TimedOut } else { Away::Refused })
    }

    fn count(&self, cause: Cause) {
        let weight = cause.weight(ENOUGH);
        if weight == 0 {
            return;
        }
        let failures = self.failures.fetch_add(weight, Relaxed).saturating_add(weight);
        if failures >= ENOUGH {
            self.over.send_if_modified(|over| {
                let is_first = over.is_none();
                over.get_or_insert(cause);
                is_first
            });
        }
    }
}
