//! The keeper of one line: connects every core, makes sure that it can be used, looks after it, and connects again. Nobody waits
//! for it.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::future::try_join_all;
use redis::{ConnectionInfo, RedisError, Value};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::{
    Redis, Script,
    cause::Cause,
    cluster::Cluster,
    connection::{Connection, Question},
    line::{Connections, Line},
    place::{Address, Form, PATIENCE, Place},
    sentinel::{self, Sentinels},
};

/// From one attempt to the next.
const AGAIN: Duration = Duration::from_millis(100);
/// From one look at a connection to the next.
const EVERY: Duration = Duration::from_millis(500);
/// The Sentinels are asked at every so many of them whether the master is still the same.
const SENTINELS_EVERY: u32 = 4;
/// A life shorter than this makes the next attempt come later, up to the longest pause: so that one which can be used for
/// moments only is not most of the log.
const SHORT: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// From this pause on, after three short lives in a row, a connection that is lost once more is said to be away.
const SHORT_AGAIN: Duration = Duration::from_millis(400);

/// A write and a script: a replica and a server out of memory would answer `PING`. It says what it was told, so that answers
/// which are another question's are noticed: a byte that arrives as another can make two answers of one.
static PROBE: LazyLock<Script> =
    LazyLock::new(|| Script::new("redis.call('SET', KEYS[1], '', 'PX', 60000) return ARGV[1]"));
/// What the next probe is told.
static WORDS: AtomicU64 = AtomicU64::new(0);

/// Who is at the end of a line.
pub(super) enum Whose {
    /// The one master that there is.
    Master,
    /// A node of a cluster.
    Node(Address, Arc<Cluster>),
}

/// For as long as the process runs, or the node is one.
pub(super) async fn keep(redis: &Redis, line: &Line, whose: &Whose) {
    let mut was_there = None;
    let mut pause = AGAIN;
    let mut sentinels = Sentinels::default();
    loop {
        let why = match connect(redis, whose, &mut sentinels).await {
            Ok((connections, node)) => {
                let began = Instant::now();
                line.set(Some(Arc::clone(&connections)));
                redis.life.send_modify(|life| *life += 1);
                redis.tell();
                say_back(whose, was_there.replace(true));
                let why = watch(redis, &connections, &node, whose, &mut sentinels).await;
                line.set(None);
                redis.tell();
                let is_short = began.elapsed() < SHORT;
                let is_short_again = is_short && pause >= SHORT_AGAIN;
                pause = if is_short { (pause * 2).min(LONGEST_PAUSE) } else { AGAIN };
                // One that was lost: the attempt to have another says why, unless that can be had at once. Of one that is had
                // and lost again and again somebody must be told all the same: most of the time there is none.
                (why != Cause::Lost || is_short_again).then_some(why)
            }
            Err(why) => Some(why),
        };
        if let Some(why) = why.filter(|_| was_there != Some(false)) {
            was_there = Some(false);
            say_away(whose, why);
        }
        sleep(pause).await;
    }
}

/// Connections that can be used, and the server at their end: the first that they can be had with.
async fn connect(
    redis: &Redis,
    whose: &Whose,
    sentinels: &mut Sentinels,
) -> Result<(Arc<Connections>, ConnectionInfo), Cause> {
    let mut why = Cause::NoMaster;
    for node in whose.candidates(&redis.place, sentinels).await? {
        match connect_to(redis, &node, whose).await {
            Ok(connections) => return Ok((Arc::new(connections), node)),
            Err(cause) => why = cause,
        }
    }
    Err(why)
}

async fn connect_to(redis: &Redis, node: &ConnectionInfo, whose: &Whose) -> Result<Connections, Cause> {
    let place = &redis.place;
    let connections = Connections::new(place.connect_on(&redis.runtimes, node).await?).ok_or(Cause::Lost)?;
    for connection in connections.each() {
        if matches!((whose, &place.form), (Whose::Master, Form::Sentinel(_))) {
            sentinel::must_be_master(connection).await?;
        }
        // Once for the script's sake. Then as a verdict would: one that answers too late for that is not used.
        probe(connection, whose, PATIENCE).await?;
        probe(connection, whose, place.timeout).await?;
    }
    Ok(connections)
}

/// Ends when the connections are of no use any more.
async fn watch(
    redis: &Redis,
    connections: &Connections,
    node: &ConnectionInfo,
    whose: &Whose,
    sentinels: &mut Sentinels,
) -> Cause {
    let looks = async {
        let mut looks = 0_u32;
        loop {
            sleep(EVERY).await;
            let probes = connections.each().map(|connection| probe(connection, whose, PATIENCE));
            if let Err(cause) = try_join_all(probes).await {
                return cause;
            }
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(SENTINELS_EVERY)
                && whose.is_elsewhere(&redis.place, node, sentinels).await
            {
                return Cause::Replica;
            }
        }
    };
    tokio::select! {
        cause = connections.over() => cause,
        cause = looks => cause,
    }
}

async fn probe(connection: &Connection, whose: &Whose, cap: Duration) -> Result<(), Cause> {
    let key = match whose {
        Whose::Master => "rg1:probe".to_owned(),
        Whose::Node(address, cluster) => match cluster.probe_key(address) {
            Some(key) => key,
            // It has no slots: nobody asks it anything.
            None => return Ok(()),
        },
    };
    let keys = [key.as_bytes()];
    let word = WORDS.fetch_add(1, Relaxed).to_be_bytes();
    let arguments: [&[u8]; 1] = [&word];
    let question = Question { script: &PROBE, keys: &keys, arguments: &arguments };
    match timeout(cap, connection.run(question, false)).await {
        Ok(Ok(Value::BulkString(said))) if said == word => Ok(()),
        // The answer to something else.
        Ok(Ok(_)) => Err(Cause::Lost),
        Ok(Err(error)) => whose.excuse(&error).ok_or_else(|| Cause::of(&error)),
        Err(_) => Err(Cause::Silent),
    }
}

impl Whose {
    async fn candidates(
        &self,
        place: &Place,
        sentinels: &mut Sentinels,
    ) -> Result<Vec<ConnectionInfo>, Cause> {
        match (self, &place.form) {
            (Self::Node(address, _), _) => Ok(vec![place.at(address)?]),
            // Whom most of them name, and nobody else: one that few still name was master before.
            (Self::Master, Form::Sentinel(master)) => {
                let masters = sentinels.masters(place, master).await?;
                Ok(masters.into_iter().take(1).collect())
            }
            (Self::Master, _) => Ok(place.nodes.clone()),
        }
    }

    /// Whether the Sentinels name another master now. While they do not answer the one that is known is kept.
    async fn is_elsewhere(&self, place: &Place, node: &ConnectionInfo, sentinels: &mut Sentinels) -> bool {
        match (self, &place.form) {
            (Self::Master, Form::Sentinel(master)) => {
                let now = sentinels.masters(place, master).await;
                now.is_ok_and(|now| now.first().is_some_and(|now| now.addr() != node.addr()))
            }
            _ => false,
        }
    }

    /// The slot of the probe has gone to another node: this one answers, and that is what was asked.
    fn excuse(&self, error: &RedisError) -> Option<()> {
        let Self::Node(_, cluster) = self else { return None };
        error.redirect_node().map(|_| cluster.is_stale())
    }
}

fn say_back(whose: &Whose, was_there: Option<bool>) {
    match whose {
        _ if was_there != Some(false) => {}
        Whose::Master => info!("Redis is used again"),
        Whose::Node(address, _) => info!(%address, "a node of Redis is used again"),
    }
}

fn say_away(whose: &Whose, why: Cause) {
    let why = why.words();
    match whose {
        Whose::Master => warn!(why, "Redis is away: claims and quotas are of this replica alone"),
        Whose::Node(address, _) => {
            warn!(%address, why, "a node of Redis is away: what it holds is of this replica alone");
        }
    }
}
