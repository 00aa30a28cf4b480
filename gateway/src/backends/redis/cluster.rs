//! A cluster: which node has which slot, and a line to each.
//!
//! The crate has a connection to a whole cluster. It is not used: while it finds out who has which slot, nobody's question
//! is sent on, and it finds out whenever a node does not answer, so one that hangs would cost the others' riders their time.
//! Here every node has its own line, with its own breaker and its own keeper: one that is away costs its own slots, and
//! after some failures not even those any time. Who has which slot is looked up beside, and swapped whole.

use std::{collections::HashMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use redis::Value;
use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use tracing::{info, warn};

use super::{
    Away, Redis,
    cause::Cause,
    connection::{Connection, Question},
    keeper::{self, Whose},
    line::{Connections, No},
    place::{Address, PATIENCE, Place},
    slots::{Map, Node, Range},
};

/// How often it is looked up who has which slot, beside whenever a node says that it has one no more.
const EVERY: Duration = Duration::from_secs(1);
const AT_ONCE: Duration = Duration::from_millis(20);
/// A slot that is being moved is asked for at one more node; one that has been moved as well.
const HOPS: usize = 3;

/// What is known of it.
#[derive(Default)]
pub(super) struct Cluster {
    map: ArcSwap<Map>,
    stale: Notify,
}

impl Cluster {
    /// Asks the node that has the slot of the first key, and whom it names instead.
    pub(super) async fn ask(
        &self,
        question: Question<'_>,
        cap: Duration,
        useful: Duration,
    ) -> Result<Value, Away> {
        let began = Instant::now();
        let map = self.map.load_full();
        let mut node = question.keys.first().and_then(|key| map.node_of(key)).ok_or(Away::Unconnected)?;
        let mut asking = false;
        for _ in 0..HOPS {
            let left = cap.saturating_sub(began.elapsed());
            let address = match node.line.ask(question, (left, useful), asking).await {
                Ok(value) => return Ok(value),
                Err(No::Away(away)) => return Err(away),
                Err(No::Moved(address)) => {
                    self.is_stale();
                    asking = false;
                    address
                }
                Err(No::Ask(address)) => {
                    asking = true;
                    address
                }
            };
            // One that is not known yet is found beside; nobody waits for that.
            node = map.node_at(&address.told_by(&node.address)).ok_or(Away::Refused)?;
        }
        Err(Away::Refused)
    }

    /// To every node that has slots; `None` for one that is away.
    pub(super) fn connections(&self) -> Vec<Option<Arc<Connections>>> {
        self.map.load().nodes().iter().map(|node| node.line.used()).collect()
    }

    /// Some node can be asked.
    pub(super) fn is_there(&self) -> bool {
        self.map.load().nodes().iter().any(|node| node.line.used().is_some())
    }

    /// Every slot can be asked for.
    pub(super) fn is_whole(&self) -> bool {
        let map = self.map.load();
        map.is_complete() && map.nodes().iter().all(|node| node.line.used().is_some())
    }

    /// A key in a slot of this node's.
    pub(super) fn probe_key(&self, address: &Address) -> Option<String> {
        self.map.load().node_at(address)?.probe.clone()
    }

    /// Who has which slot is looked up again.
    pub(super) fn is_stale(&self) {
        self.stale.notify_one();
    }
}

/// Follows the cluster for as long as the process runs.
pub(super) async fn keep(redis: Arc<Redis>, cluster: &Arc<Cluster>) {
    let mut keepers = Keepers { redis: Arc::clone(&redis), tasks: JoinSet::new(), of: HashMap::new() };
    let mut was_found = None;
    loop {
        match find(&redis.place, &cluster.map.load_full()).await {
            Ok(ranges) => {
                keepers.follow(cluster, &ranges);
                if was_found.replace(true) == Some(false) {
                    info!("Redis is used again");
                }
            }
            // While some node is there the others are looked after by their keepers, which have told.
            Err(_) if cluster.is_there() => {}
            Err(why) => {
                if was_found.replace(false) != Some(false) {
                    let why = why.words();
                    warn!(why, "Redis is away: claims and quotas are of this replica alone");
                }
            }
        }
        redis.tell();
        tokio::select! {
            () = sleep(EVERY) => {}
            () = async { cluster.stale.notified().await; sleep(AT_ONCE).await } => {}
        }
    }
}

/// One for each node. They end with this.
struct Keepers {
    redis: Arc<Redis>,
    tasks: JoinSet<()>,
    of: HashMap<Address, AbortHandle>,
}

impl Keepers {
    fn follow(&mut self, cluster: &Arc<Cluster>, ranges: &[Range]) {
        let before = cluster.map.load_full();
        if before.is_of(ranges) {
            return;
        }
        let map = Arc::new(Map::new(ranges, &before));
        cluster.map.store(Arc::clone(&map));
        self.of.retain(|address, keeper| {
            let stays = map.node_at(address).is_some();
            if !stays {
                keeper.abort();
            }
            stays
        });
        for Node { address, line, .. } in map.nodes() {
            let begin = || {
                let (redis, line) = (Arc::clone(&self.redis), Arc::clone(line));
                let whose = Whose::Node(address.clone(), Arc::clone(cluster));
                self.tasks.spawn(async move { keeper::keep(&redis, &line, &whose).await })
            };
            self.of.entry(address.clone()).or_insert_with(begin);
        }
        // Those that were told to end have ended.
        while self.tasks.try_join_next().is_some() {}
    }
}

/// Who has which slot: as a node says that is there, or else the first that can be connected to.
async fn find(place: &Place, map: &Map) -> Result<Vec<Range>, Cause> {
    let mut why = Cause::Unreachable;
    for node in map.nodes() {
        let Some(connections) = node.line.used() else { continue };
        match ask(connections.here(), &node.address).await {
            Ok(ranges) => return Ok(ranges),
            Err(cause) => why = cause,
        }
    }
    for node in &place.nodes {
        let Some(address) = Address::of(node) else { continue };
        let asked = match place.connect(node).await {
            Ok(connection) => ask(&connection, &address).await,
            Err(cause) => Err(cause),
        };
        match asked {
            Ok(ranges) => return Ok(ranges),
            Err(cause) => why = cause,
        }
    }
    Err(why)
}

async fn ask(connection: &Connection, teller: &Address) -> Result<Vec<Range>, Cause> {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    let answer = timeout(PATIENCE, connection.send(command, false)).await.map_err(|_| Cause::Silent)?;
    let answer = answer.map_err(|error| Cause::of(&error))?;
    // A node that has forgotten its cluster has none.
    Range::read(answer, teller).filter(|ranges| !ranges.is_empty()).ok_or(Cause::Alone)
}
