//! A gateway that runs, until it is told to stop.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    backends::registry::Registry, cores::Cores, door::Door, health::Health, metrics::Metrics,
    transport::Inspections,
};

/// The longest that the registry may take to close. What was acknowledged is on disk already.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// A gateway that answers.
#[derive(Debug)]
pub struct Running {
    pub(super) address: SocketAddr,
    pub(super) operations: Option<SocketAddr>,
    pub(super) inspections: Arc<Inspections>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) door: Door,
    pub(super) health: Health,
    pub(super) notice: Duration,
    /// What goes on beside the answering; ends with this.
    pub(super) beside: JoinSet<()>,
    pub(super) registry: Arc<Registry>,
    /// The last to go: whoever asked the registry from one has left a connection there.
    pub(super) cores: Arc<Cores>,
}

impl Running {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What staff decided so far.
    pub fn inspections(&self) -> [u64; 3] {
        self.inspections.counts()
    }

    /// Where metrics and probes are, if they are served.
    pub const fn operations(&self) -> Option<SocketAddr> {
        self.operations
    }

    /// Ends when it cannot answer everybody any more, and will not by itself: a thread of its own has ended.
    pub async fn broken(&self) {
        self.cores.ended().await;
    }

    /// Says that it will be gone, goes on for the notice so that everybody can hear it, then lets nobody in, finishes
    /// what runs, and cuts off what still runs after the drain time.
    pub async fn stop(mut self) {
        self.health.stop();
        sleep(self.notice).await;
        self.door.close().await;
        self.beside.shutdown().await;
        let [passed, refused, left] = self.inspections.counts();
        let verdicts = self.metrics.reached();
        tracing::info!(verdicts, passed, refused, left, "stopped; what staff decided after INSPECT");
        let _stuck = timeout(CLOSE_WITHIN, self.registry.close()).await;
    }
}
