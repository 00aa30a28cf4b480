//! Asks one of the peers, as fast as it answers.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use envoy_types::pb::envoy::{
    extensions::common::ratelimit::v3::{RateLimitDescriptor, rate_limit_descriptor::Entry},
    service::ratelimit::v3::{RateLimitRequest, rate_limit_service_client::RateLimitServiceClient},
};
use jiff::SignedDuration;
use ridegate_proto::validator::v1::{
    CheckRequest, Direction, check_request::Medium, validator_service_client::ValidatorServiceClient,
};
use ridegate_sim::{machine, pki::Pki};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::{
    Row,
    serve::{DOMAIN, PARTNER, Peer},
    unit,
};

const CONNECTIONS: usize = 8;
const STREAMS: usize = 8;
const WARM_UP: Duration = Duration::from_secs(1);
/// As long as a MOT code.
const CODE: [u8; 401] = [0x81; 401];

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_before = self.0.kill();
        let _known = self.0.wait();
    }
}

impl Server {
    fn start(peer: Peer, pki: &Path) -> Result<(Self, String)> {
        let name = clap::ValueEnum::to_possible_value(&peer).context("a name")?;
        let child = Command::new(std::env::current_exe()?)
            .args(["serve", name.get_name(), "--pki"])
            .arg(pki)
            .stdout(Stdio::piped())
            .spawn()?;
        let (mut server, mut address) = (Self(child), String::new());
        BufReader::new(server.0.stdout.take().context("no output")?).read_line(&mut address)?;
        Ok((server, address.trim().to_owned()))
    }

    fn memory(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).ok()?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(kib.split_whitespace().next()?.parse::<f64>().ok()? * 1024.0 / 1e6)
    }
}

/// One peer.
pub async fn measure(peer: Peer, long: Duration) -> Result<Row> {
    let folder = tempfile::tempdir()?;
    let pki = Pki::create(&folder.path().join("pki"), SignedDuration::from_hours(24))?;
    pki.server(&["127.0.0.1".into()])?;
    let files = pki.caller("gate", "urn:ridegate:validator:bjbus:gate")?;
    let (server, address) = Server::start(peer, &folder.path().join("pki"))?;
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(files.endpoint(&format!("https://{address}"), &pki.ca())?.connect().await?);
    }
    ask(peer, &channels, WARM_UP).await?;
    let before = (unit()?, machine::cpu(server.0.id()), Instant::now());
    let answers = ask(peer, &channels, long).await?;
    let (cpu, took) = (machine::cpu(server.0.id()) - before.1, before.2.elapsed());
    Ok(Row {
        name: peer.name().to_owned(),
        answers_per_second: answers / took.as_secs_f64(),
        cpu_us: cpu / answers,
        r_us: f64::midpoint(before.0, unit()?),
        memory_mb: server.memory().context("its memory")?,
    })
}

/// As many as are answered in this time.
async fn ask(peer: Peer, channels: &[Channel], long: Duration) -> Result<f64> {
    let until = Instant::now() + long;
    let mut streams: JoinSet<Result<f64>> = JoinSet::new();
    for (number, channel) in channels.iter().cycle().take(CONNECTIONS * STREAMS).enumerate() {
        let channel = channel.clone();
        streams.spawn(async move {
            let mut answers = 0.0;
            while Instant::now() < until {
                one(peer, channel.clone(), number).await?;
                answers += 1.0;
            }
            Ok(answers)
        });
    }
    let mut all = 0.0;
    while let Some(answers) = streams.join_next().await {
        all += answers??;
    }
    Ok(all)
}

async fn one(peer: Peer, channel: Channel, number: usize) -> Result<()> {
    if peer == Peer::Echo {
        let request = CheckRequest {
            request_id: format!("compare-{number}"),
            medium: Some(Medium::QrCode(CODE.to_vec().into())),
            direction: Direction::Boarding.into(),
            location: "compare".to_owned(),
            device_id: String::new(),
            scanned_at: None,
        };
        ValidatorServiceClient::new(channel).check(request).await?;
        return Ok(());
    }
    let entry = |key: &str, value: &str| Entry { key: key.to_owned(), value: value.to_owned() };
    let descriptor = RateLimitDescriptor {
        entries: vec![entry(PARTNER, "yikatong"), entry("reader", &format!("gate-{number}"))],
        ..RateLimitDescriptor::default()
    };
    let request =
        RateLimitRequest { domain: DOMAIN.to_owned(), descriptors: vec![descriptor], hits_addend: 1 };
    RateLimitServiceClient::new(channel).should_rate_limit(request).await?;
    Ok(())
}
