//! The gateway's replicas, and everybody's connections to each of them.

use std::{collections::HashMap, net::SocketAddr, path::Path};

use anyhow::{Context, Result};
use ridegate_gateway::{
    app::{Running, Settings},
    clock::Clock,
    config::ConfigFile,
};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::{
    gates::{GATES, Gate},
    pki::Pki,
    trust::Trust,
};

/// Gateways of one configuration: one registry, one key file, a port each.
pub(crate) struct Replicas {
    gateways: Vec<Running>,
    /// The channels of every caller there is, by identity: one a replica, made when it is first used. Each caller has a
    /// certificate of its own.
    callers: HashMap<String, Vec<Channel>>,
}

impl Replicas {
    /// So many gateways of this configuration.
    pub(crate) async fn start(config: &Path, clock: &Clock, count: usize) -> Result<Self> {
        let mut gateways = Vec::with_capacity(count);
        for _ in 0..count {
            let settings = Settings::new(ConfigFile::load(config)?, clock.clone(), true)?;
            gateways.push(settings.start().await?);
        }
        Ok(Self { gateways, callers: HashMap::new() })
    }

    /// Certifies every gate and every partner, and gives each its connections.
    pub(crate) fn connect(&mut self, pki: &Pki, trust: &Trust) -> Result<()> {
        let gates = (0..GATES).map(|number| Gate::new(number).identity);
        let partners = trust.partners().map(|(partner, _)| format!("urn:ridegate:partner:{partner}"));
        for identity in gates.chain(partners) {
            let name = identity.trim_start_matches("urn:ridegate:").replace(':', "-");
            let files = pki.caller(&name, &identity)?;
            let channel = |gateway: &Running| {
                let endpoint = files.endpoint(&format!("https://{}", gateway.address()), &pki.ca())?;
                anyhow::Ok(endpoint.connect_lazy())
            };
            let channels = self.gateways.iter().map(channel).collect::<Result<_>>()?;
            self.callers.insert(identity, channels);
        }
        Ok(())
    }

    pub(crate) const fn count(&self) -> usize {
        self.gateways.len()
    }

    /// The connection of a gate or a partner to one of them.
    pub(crate) fn channel(&self, identity: &str, replica: usize) -> Result<Channel> {
        let channels = self.callers.get(identity).context("nobody of that name is in the city")?;
        channels.get(replica % self.count().max(1)).cloned().context("no such replica")
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.gateways.iter().map(Running::address)
    }

    /// Where the metrics of each are.
    pub(crate) fn operations(&self) -> impl Iterator<Item = SocketAddr> {
        self.gateways.iter().filter_map(Running::operations)
    }

    /// What staff decided so far, at all of them.
    pub(crate) fn inspections(&self) -> [u64; 3] {
        self.gateways.iter().map(Running::inspections).fold([0; 3], |sum, one| {
            let mut both = sum.into_iter().zip(one).map(|(sum, one)| sum + one);
            std::array::from_fn(|_| both.next().unwrap_or(0))
        })
    }

    pub(crate) async fn stop(self) {
        let mut stopping: JoinSet<()> = self.gateways.into_iter().map(Running::stop).collect();
        while stopping.join_next().await.is_some() {}
    }
}
