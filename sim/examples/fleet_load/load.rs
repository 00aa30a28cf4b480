//! Taps, as fast as they are answered: eight connections over all replicas, eight calls at once on each.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use ridegate_proto::validator::v1::{CheckRequest, validator_service_client::ValidatorServiceClient};
use tokio::task::JoinSet;
use tonic::{Request, transport::Channel};

use crate::{
    crowd::{ASIDE, Crowd},
    stand::Fleet,
};

const CONNECTIONS: usize = 8;
const STREAMS: usize = 8;

pub struct Connections {
    /// By replica.
    channels: Vec<Vec<Channel>>,
}

pub struct Seen {
    pub verdicts: u64,
    pub took: Duration,
    /// µs.
    pub latency: Histogram<u64>,
    /// What was said, and how often.
    pub said: BTreeMap<String, u64>,
}

pub async fn connect(fleet: &Fleet) -> Connections {
    Connections { channels: fleet.channels(CONNECTIONS.div_ceil(fleet.replicas())).await }
}

/// Every connection and every replica has been used once.
pub async fn warm_up(connections: &Connections, crowd: &Crowd, replicas: usize) {
    let taps =
        (0..replicas).map(|replica| (replica..ASIDE).step_by(replicas).map(|rider| crowd.aside(rider)));
    connections.show(taps.map(Iterator::collect).collect()).await;
}

impl Connections {
    /// Shows all taps, each at its replica.
    pub async fn show(&self, taps: Vec<Vec<CheckRequest>>) -> Seen {
        let began = Instant::now();
        let mut streams = JoinSet::new();
        for (replica, (taps, channels)) in taps.into_iter().zip(&self.channels).enumerate() {
            let taps = Arc::new(Mutex::new(taps));
            for (number, channel) in channels.iter().enumerate() {
                let identity = format!("urn:ridegate:validator:bjsubway:gate-{replica}-{number}");
                for _ in 0..STREAMS {
                    streams.spawn(stream(channel.clone(), identity.clone(), Arc::clone(&taps)));
                }
            }
        }
        let mut seen = Seen {
            verdicts: 0,
            took: Duration::ZERO,
            latency: Histogram::new_with_bounds(1, 60_000_000, 3).unwrap(),
            said: BTreeMap::new(),
        };
        for (latency, said) in streams.join_all().await.into_iter().flatten() {
            seen.verdicts += 1;
            seen.latency.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
            *seen.said.entry(said).or_default() += 1;
        }
        seen.took = began.elapsed();
        seen
    }
}

async fn stream(
    channel: Channel,
    identity: String,
    taps: Arc<Mutex<Vec<CheckRequest>>>,
) -> Vec<(Duration, String)> {
    let (mut client, mut seen) = (ValidatorServiceClient::new(channel), Vec::new());
    loop {
        let Some(tap) = taps.lock().unwrap().pop() else { return seen };
        let began = Instant::now();
        let answer = client.check(identified(&identity, tap)).await;
        let said = match answer.map(tonic::Response::into_inner) {
            Ok(answer) => {
                let degraded = if answer.degraded.is_some() { " degraded" } else { "" };
                format!("{}{degraded}", answer.reason().as_str_name().trim_start_matches("REASON_"))
            }
            Err(status) => format!("{:?}", status.code()),
        };
        seen.push((began.elapsed(), said));
    }
}

pub fn identified<T>(identity: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-ridegate-identity", identity.parse().unwrap());
    request
}
