//! The connections to one server, one for each core, which many use at once, and the breaker in them: after some failures in a
//! row over one of them, nobody asks over any of them any more.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use redis::{ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    Away,
    cause::Cause,
    connection::{Connection, Question},
    place::Address,
};
use crate::cores;

/// So many failures in a row over one connection, and nobody is asked any more.
const ENOUGH: u32 = 5;
/// A question that had less time than this (its verdict had none left) says nothing about who was asked.
const FAIR: Duration = Duration::from_millis(5);

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
    connections: ArcSwapOption<Connections>,
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
        let Some(connections) = self.used() else { return Err(No::Away(Away::Unconnected)) };
        let connection = connections.here();
        let began = Instant::now();
        match timeout(cap, connection.run(question, asking)).await {
            Ok(Ok(value)) => {
                if began.elapsed() <= useful {
                    connection.is_useful();
                }
                Ok(value)
            }
            Ok(Err(error)) => Err(connections.failed(connection, &error)),
            Err(_) => {
                connections.count(connection, if cap >= FAIR { Cause::Silent } else { Cause::Question });
                Err(No::Away(Away::TimedOut))
            }
        }
    }

    /// As [`ask`](Self::ask), several at once; the answers are in their order. Who has the slot instead is not told: of one server
    /// nobody has.
    pub(super) async fn ask_each(
        &self,
        questions: &[Question<'_>],
        (cap, useful): (Duration, Duration),
    ) -> Vec<Result<Value, Away>> {
        let all = |away| vec![Err(away); questions.len()];
        let Some(connections) = self.used() else { return all(Away::Unconnected) };
        let connection = connections.here();
        let began = Instant::now();
        let failed = |error: &RedisError| match connections.failed(connection, error) {
            No::Away(away) => away,
            No::Moved(_) | No::Ask(_) => Away::Refused,
        };
        match timeout(cap, connection.run_each(questions)).await {
            Ok(Ok(answers)) => {
                let is_useful = began.elapsed() <= useful;
                let answers = answers.into_iter().map(|answer| match answer {
                    Ok(value) => {
                        if is_useful {
                            connection.is_useful();
                        }
                        Ok(value)
                    }
                    Err(error) => Err(failed(&error)),
                });
                answers.collect()
            }
            Ok(Err(error)) => all(failed(&error)),
            Err(_) => {
                connections.count(connection, Cause::Silent);
                all(Away::TimedOut)
            }
        }
    }

    /// The connections, while they may be used.
    pub(super) fn used(&self) -> Option<Arc<Connections>> {
        self.connections.load_full().filter(|connections| connections.over.borrow().is_none())
    }

    pub(super) fn set(&self, connections: Option<Arc<Connections>>) {
        self.connections.store(connections);
    }
}

/// A connection of each core's own, so that an answer arrives where somebody waits for it and wakes nobody elsewhere. They are made
/// together and end together, and never remade in silence: what comes after them are others.
pub(super) struct Connections {
    first: Connection,
    others: Box<[Connection]>,
    /// Why nobody asks over them any more.
    over: watch::Sender<Option<Cause>>,
}

impl Connections {
    /// In the order of the cores' numbers; `None` of none.
    pub(super) fn new(of_cores: Vec<Connection>) -> Option<Self> {
        let mut of_cores = of_cores.into_iter();
        let (first, others) = (of_cores.next()?, of_cores.collect());
        Some(Self { first, others, over: watch::Sender::new(None) })
    }

    /// That of the core that this is called on.
    pub(super) fn here(&self) -> &Connection {
        let other = cores::number().checked_sub(1).and_then(|number| self.others.get(number));
        other.unwrap_or(&self.first)
    }

    pub(super) fn each(&self) -> impl Iterator<Item = &Connection> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Ends when nobody asks over them any more.
    pub(super) async fn over(&self) -> Cause {
        let mut over = self.over.subscribe();
        let cause = over.wait_for(Option::is_some).await.ok().and_then(|cause| *cause);
        cause.unwrap_or(Cause::Lost)
    }

    fn failed(&self, connection: &Connection, error: &RedisError) -> No {
        let elsewhere = error.redirect_node().and_then(|(address, _)| Address::parse(address));
        match (error.kind(), elsewhere) {
            (ErrorKind::Server(ServerErrorKind::Moved), Some(address)) => return No::Moved(address),
            (ErrorKind::Server(ServerErrorKind::Ask), Some(address)) => return No::Ask(address),
            _ => {}
        }
        let cause = Cause::of(error);
        self.count(connection, cause);
        No::Away(if cause == Cause::Silent { Away::TimedOut } else { Away::Refused })
    }

    /// One that hangs alone is noticed as fast as a server that does: the others' answers say nothing about it.
    fn count(&self, connection: &Connection, cause: Cause) {
        let weight = cause.weight(ENOUGH);
        if weight > 0 && connection.is_useless(weight) >= ENOUGH {
            self.over.send_if_modified(|over| {
                let is_first = over.is_none();
                over.get_or_insert(cause);
                is_first
            });
        }
    }
}
