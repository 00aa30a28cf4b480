//! What is measured: gateways in processes of their own, the Redis that they share, one registry, one authority.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use ridegate_sim::{
    authority::Authority,
    city::START,
    machine,
    pki::Pki,
    redis::Redis,
    scrape::{self, Metrics},
    trust::Trust,
};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::Arguments;

/// Everything that outlives one fleet.
pub struct Stand {
    pub authority: Authority,
    pub trust: Arc<Trust>,
    folder: TempDir,
    gateway: PathBuf,
    registry: Option<String>,
    postmaster: Option<u32>,
    /// Callers must have a certificate.
    pki: Option<Pki>,
    /// The core that gateways have to themselves.
    core: Option<usize>,
    more: String,
    /// Budget and waits are those that ship, and not so wide that nothing is ever too late or too much.
    hurries: bool,
}

impl Stand {
    pub fn build(arguments: &Arguments) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let trust = Trust::new(&mut ChaCha20Rng::seed_from_u64(2022)).unwrap();
        trust.write(folder.path()).unwrap();
        let stand = Self {
            authority: Authority::start().unwrap(),
            trust: Arc::new(trust),
            folder,
            gateway: arguments.gateway.clone(),
            registry: arguments.registry.clone(),
            postmaster: arguments.postmaster,
            pki: None,
            core: arguments.core,
            more: arguments.more.clone(),
            hurries: false,
        };
        if stand.registry.is_some() {
            let config = stand.configure(None);
            for command in [&["key", "add"][..], &["migrate"]] {
                let mut command_line = Command::new(&stand.gateway);
                let done = command_line
                    .args(command)
                    .args(["--insecure-dev", "--config"])
                    .arg(&config)
                    .output()
                    .unwrap();
                assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            }
        }
        stand
    }

    pub fn hurry(&mut self, hurries: bool) {
        self.hurries = hurries;
    }

    /// From now on gateways are configured so too.
    pub fn configured(&mut self, more: &str) {
        self.more.push_str(more);
    }

    /// How a gate with a certificate finds a gateway.
    pub fn caller(&self, address: &str) -> Endpoint {
        let pki = self.pki.as_ref().expect("a certificate authority");
        let files = pki.caller("gate", "urn:ridegate:validator:bjsubway:gate-1").unwrap();
        files.endpoint(&format!("https://{address}"), &pki.ca()).unwrap()
    }

    /// From now on gateways ask for certificates, and have room for so many connections from one address.
    pub fn guard(&mut self, connections: usize) {
        let pki = Pki::create(&self.folder.path().join("pki"), SignedDuration::from_hours(24)).unwrap();
        pki.server(&["localhost".into(), "127.0.0.1".into()]).unwrap();
        self.pki = Some(pki);
        let guarded = format!(
            "[tls]\ncertificate = \"pki/server.pem\"\nkey = \"pki/server.key\"\nclient_ca = \"pki/ca.pem\"\n\
             [limits]\nper_caller = {connections}\nhandshakes_per_address = 512\n"
        );
        self.more.push_str(&guarded);
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub const fn registry_name(&self) -> &'static str {
        if self.registry.is_some() { "PostgreSQL" } else { "SQLite" }
    }

    /// Times are wide: nothing that is measured is a time-out. Budgets too.
    fn configure(&self, redis: Option<&Redis>) -> PathBuf {
        let redis = redis.map(|redis| format!("[redis]\nnodes = [\"{}\"]\ntimeout = \"1s\"\n", redis.url()));
        let registry = self.registry.as_ref().map(|url| format!("url = \"{url}\"\n")).unwrap_or_default();
        let config = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\nnotice = \"0s\"\n[operations]\naddress = \"127.0.0.1:0\"\n\
             [authority]\nendpoint = \"{}\"\nlookup_timeout = \"5s\"\n[registry]\ntimeout = \"5s\"\n{registry}\
             {}\
             [quota]\ncodes_per_second = 1000000\ncodes_burst = 1000000\ncalls_per_second = 1000000\ncalls_burst = 1000000\n\
             [partners]\nprofiles = \"profiles\"\nmot_trust = \"mot-trust.toml\"\n{}{}",
            self.authority.endpoint(),
            if self.hurries { "" } else { "[verdict]\nbudget = \"10s\"\nwait = \"10s\"\n" },
            redis.unwrap_or_default(),
            self.more,
        );
        let path = self.folder.path().join("ridegate.toml");
        std::fs::write(&path, config).unwrap();
        path
    }
}

/// Replicas that run. Ends what it started.
pub struct Fleet {
    gateways: Vec<Gateway>,
    redis: Option<Redis>,
    postmaster: Option<u32>,
}

struct Gateway {
    child: Child,
    operations: SocketAddr,
    address: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _known = self.child.wait();
    }
}

impl Gateway {
    /// Their clocks are one: a replica that began later is as far.
    fn start(stand: &Stand, config: &Path, began: Instant) -> Self {
        let start: Timestamp = START.parse().unwrap();
        let clock = start + SignedDuration::try_from(began.elapsed()).unwrap();
        let clock = clock.to_string();
        let mut command = match stand.core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(&stand.gateway);
                command
            }
            None => Command::new(&stand.gateway),
        };
        let mut child = command
            .env("RUST_LOG", "info")
            .args(["serve", "--insecure-dev", "--clock", &clock, "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = |name: &str, of: &str| loop {
            let line = log.next().expect("the gateway ended before it served");
            if let Some((_, rest)) = line.split_once(&format!(" {name}=")).filter(|_| line.contains(of)) {
                return rest.split_whitespace().next().unwrap().to_owned();
            }
        };
        let operations = said("operations", "metrics").parse().unwrap();
        let address = said("address", "serving");
        // Read on, so that it never waits for us.
        std::thread::spawn(move || log.for_each(drop));
        Self { child, operations, address }
    }
}

impl Fleet {
    pub async fn start(stand: &Stand, replicas: usize, redis: Option<Redis>) -> Self {
        let config = stand.configure(redis.as_ref());
        let began = Instant::now();
        let gateways = (0..replicas).map(|_| Gateway::start(stand, &config, began)).collect();
        let fleet = Self { gateways, redis, postmaster: stand.postmaster };
        // Authority watched, Redis found.
        tokio::time::sleep(Duration::from_secs(4)).await;
        fleet
    }

    pub const fn replicas(&self) -> usize {
        self.gateways.len()
    }

    /// So many connections to each replica.
    pub async fn channels(&self, each: usize) -> Vec<Vec<Channel>> {
        let mut all = Vec::new();
        for gateway in &self.gateways {
            let mut channels = Vec::new();
            for _ in 0..each {
                let endpoint = Endpoint::from_shared(format!("http://{}", gateway.address)).unwrap();
                channels.push(endpoint.connect().await.unwrap());
            }
            all.push(channels);
        }
        all
    }

    /// The process of the first.
    pub fn id(&self) -> u32 {
        self.gateways[0].child.id()
    }

    /// Where the first listens, and where its metrics are.
    pub fn addresses(&self) -> (&str, SocketAddr) {
        (&self.gateways[0].address, self.gateways[0].operations)
    }

    pub const fn redis(&self) -> Option<&Redis> {
        self.redis.as_ref()
    }

    /// Bytes that Redis uses.
    pub async fn redis_memory(&self) -> Option<f64> {
        let said = self.redis.as_ref()?.ask("INFO memory").await.unwrap();
        said.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok())
    }

    /// What everybody has done until now.
    pub async fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        counts.add("cpu gateway", self.gateways.iter().map(|one| machine::cpu(one.child.id())).sum());
        if let Some(redis) = &self.redis {
            counts.add("cpu redis", redis.id().map_or(0.0, machine::cpu));
            let said = redis.ask("INFO commandstats").await.unwrap();
            for line in said.lines().filter_map(|line| line.strip_prefix("cmdstat_")) {
                let Some((name, rest)) = line.split_once(":calls=") else { continue };
                let calls = rest.split(',').next().and_then(|calls| calls.parse().ok());
                if !matches!(name, "info" | "quit") {
                    counts.add(&format!("command {name}"), calls.unwrap_or(0.0));
                }
            }
        }
        if let Some(postmaster) = self.postmaster {
            counts.add("cpu postgres", machine::cpu_of_family(postmaster));
        }
        for gateway in &self.gateways {
            counts.ask(&scrape::metrics(gateway.operations).await.unwrap());
        }
        counts
    }
}

/// Numbers that only go up, by what they count.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Counts(pub BTreeMap<String, f64>);

impl Counts {
    fn add(&mut self, name: &str, number: f64) {
        *self.0.entry(name.to_owned()).or_default() += number;
    }

    /// Questions to everybody behind a gateway.
    fn ask(&mut self, metrics: &Metrics) {
        let name = "ridegate_upstream_duration_seconds_count";
        for upstream in ["redis", "registry", "authority"] {
            for call in metrics.values(name, "call") {
                let labels = [format!("upstream=\"{upstream}\""), format!("call=\"{call}\"")];
                let number = metrics.sum(name, &[&labels[0], &labels[1]]);
                if number > 0.0 {
                    self.add(&format!("{upstream} {call}"), number);
                }
            }
        }
    }

    pub fn since(&self, before: &Self) -> Self {
        let less =
            |(name, now): (&String, &f64)| (name.clone(), now - before.0.get(name).copied().unwrap_or(0.0));
        Self(self.0.iter().map(less).collect())
    }

    pub fn over(mut self, time: Duration) -> Self {
        self.0.values_mut().for_each(|number| *number /= time.as_secs_f64());
        self
    }

    /// The sum of all that begin so.
    pub fn of(&self, begins: &str) -> f64 {
        self.0
            .iter()
            .filter(|(name, _)| name.starts_with(begins))
            .map(|(_, number)| number)
            .fold(0.0, |sum, one| sum + one)
    }
}
