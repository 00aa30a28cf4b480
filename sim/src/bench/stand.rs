//! The folder that a gateway is started from, everybody behind it, and the gateway itself.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use jiff::SignedDuration;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use ridegate_gateway::clock::Clock;
use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::sleep};
use tonic::transport::{Channel, Endpoint};

use super::{Plan, reader::Reader};
use crate::{
    authority::Authority,
    city::resolvers,
    gates::BUS,
    pki::{Files, Pki},
    progress::{progress, say},
    resolver::Resolver,
    trust::Trust,
};

const CERTIFICATES_LIVE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Readers with a certificate of their own; more connections share them.
const READERS: usize = 64;
const HANDSHAKES_AT_ONCE: usize = 32;
const OWN_STARTS_WITHIN: Duration = Duration::from_mins(2);
const SOMEBODY_STARTS_WITHIN: Duration = Duration::from_mins(30);
/// Whatever still runs then is ended.
const STOPS_WITHIN: Duration = Duration::from_mins(1);
const BETWEEN_TRIES: Duration = Duration::from_millis(100);
/// Ports that are tried.
const TRIES: usize = 1000;
const LOG: &str = "gateway.log";

/// A policy that holds today, whatever today is: a test counts for three days.
const POLICY: &str = "name = \"bench\"\nversion = 1\ntime_zone = \"Asia/Shanghai\"\n\
                      [[windows]]\nfrom = \"2000-01-01\"\nmax_day = 3\n[[counting]]\nbase = \"report\"\n";

/// A partner that shows more than one a second shows more than it may.
const SPENT: &[u8] = b"[quota]\ncodes_per_second = 1\ncodes_burst = 1\n";

/// Everything that a gateway needs.
pub(super) struct Stand {
    pub(super) trust: Arc<Trust>,
    pub(super) authority: Authority,
    resolvers: Vec<Resolver>,
    pki: Pki,
    folder: PathBuf,
    _temporary: Option<TempDir>,
    /// Where the gateway listens.
    address: SocketAddr,
    operations: SocketAddr,
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.authority.stop();
        self.resolvers.iter().for_each(Resolver::stop);
    }
}

impl Stand {
    pub(super) fn build(plan: &Plan<'_>) -> Result<Self> {
        let temporary = plan.folder.is_none().then(tempfile::tempdir).transpose()?;
        let folder = plan.folder.or(temporary.as_ref().map(TempDir::path)).context("no folder")?.to_owned();
        let pki = Pki::create(&folder.join("pki"), CERTIFICATES_LIVE)?;
        let server = pki.server(&["localhost".into(), "127.0.0.1".into()])?;
        let mut trust = Trust::new(&mut ChaCha20Rng::seed_from_u64(plan.seed))?;
        let resolvers = resolvers(&pki, &server, &mut trust, &Clock::system())?;
        trust.write(&folder)?;
        let stand = Self {
            trust: Arc::new(trust),
            authority: Authority::start()?,
            resolvers,
            pki,
            _temporary: temporary,
            address: free()?,
            operations: free()?,
            folder,
        };
        fs::write(stand.folder.join("policy.toml"), POLICY)?;
        if let Some(partner) = plan.mix.throttled_partner()? {
            let profile = stand.folder.join("profiles").join(format!("{partner}.toml"));
            OpenOptions::new().append(true).open(profile)?.write_all(SPENT)?;
        }
        fs::write(stand.config(), stand.configuration(plan))?;
        Ok(stand)
    }

    fn config(&self) -> PathBuf {
        self.folder.join("ridegate.toml")
    }

    /// Budgets are wide: what is measured is the gateway, not what a partner has agreed to. Times are those that ship.
    fn configuration(&self, plan: &Plan<'_>) -> String {
        let Self { address, operations, authority, .. } = self;
        let connections = plan.connections + 64;
        format!(
            "[listen]\naddress = \"{address}\"\nnotice = \"0s\"\n\
             [tls]\ncertificate = \"pki/server.pem\"\nkey = \"pki/server.key\"\nclient_ca = \"pki/ca.pem\"\n\
             [limits]\nconnections = {connections}\nper_caller = {connections}\nhandshakes_per_address = 512\n\
             [operations]\naddress = \"{operations}\"\n\
             [authority]\nendpoint = \"{}\"\n\
             [quota]\ncodes_per_second = 1000000\ncodes_burst = 1000000\ncalls_per_second = 1000000\ncalls_burst = 1000000\n\
             [partners]\nprofiles = \"profiles\"\nmot_trust = \"mot-trust.toml\"\n\
             [policy]\nfile = \"policy.toml\"\n\
             [fleets]\nfull_reasons = [\"{BUS}\"]\n{}\n",
            authority.endpoint(),
            plan.more,
        )
    }

    /// The gateway: a process of this program, or, without one, whatever somebody starts.
    pub(super) async fn gateway(&self, plan: &Plan<'_>) -> Result<Gateway> {
        let Some(binary) = plan.gateway.as_deref() else {
            say(&format!(
                "Start a gateway, in any way, on this machine:\n\n  ridegate serve --insecure-dev --config {}\n",
                self.config().display()
            ));
            self.await_gateway(None, SOMEBODY_STARTS_WITHIN).await?;
            return Ok(Gateway { child: None, operations: self.operations });
        };
        let log = File::create(self.folder.join(LOG))?;
        let words: Vec<_> = plan.under.iter().map(OsStr::new).chain([binary.as_os_str()]).collect();
        let (program, more) = words.split_first().context("no program")?;
        let child = Command::new(program)
            .args(more)
            .args(["serve", "--insecure-dev", "--config"])
            .arg(self.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Whatever starts it need not be it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{}: cannot be started", program.display()))?;
        let mut gateway = Gateway { child: Some(child), operations: self.operations };
        self.await_gateway(gateway.child.as_mut(), OWN_STARTS_WITHIN).await?;
        Ok(gateway)
    }

    async fn await_gateway(&self, mut child: Option<&mut Child>, within: Duration) -> Result<()> {
        let (endpoint, began) = (self.caller("hello", &reader(0))?, Instant::now());
        while endpoint.connect().await.is_err() {
            if let Some(child) = &mut child
                && let Some(status) = child.try_wait()?
            {
                let said = fs::read_to_string(self.folder.join(LOG)).unwrap_or_default();
                bail!(
                    "the gateway ended before it served ({status}): {}",
                    said.lines().last().unwrap_or_default()
                );
            }
            if began.elapsed() > within {
                bail!("no gateway answers on {} after {within:?}", self.address);
            }
            sleep(BETWEEN_TRIES).await;
        }
        Ok(())
    }

    fn caller(&self, name: &str, identity: &str) -> Result<Endpoint> {
        let files = Files::of(&self.folder.join("pki"), name);
        let files = if files.certificate.exists() { files } else { self.pki.caller(name, identity)? };
        files.endpoint(&format!("https://{}", self.address), &self.pki.ca())
    }

    /// A connection of each partner's of the mix.
    pub(super) fn partners(&self, plan: &Plan<'_>) -> Result<Vec<Channel>> {
        let partners = plan.mix.partners.iter().map(|one| &one.partner);
        partners
            .map(|name| {
                let name = format!("partner-{name}");
                let identity = format!("urn:ridegate:{}", name.replacen('-', ":", 1));
                Ok(self.caller(&name, &identity)?.connect_lazy())
            })
            .collect()
    }

    /// Readers, each with a connection. Two that follow each other have different names, if there are two.
    pub(super) async fn readers(&self, plan: &Plan<'_>) -> Result<Vec<Reader>> {
        let (count, stream) = (plan.connections, plan.stream);
        let endpoints: Vec<_> = (0..count.min(READERS))
            .map(|number| self.caller(&format!("reader-{number}"), &reader(number)))
            .collect::<Result<_>>()?;
        let progress = progress(count, "readers connect ");
        let mut connecting: JoinSet<Result<(usize, Reader)>> = JoinSet::new();
        let mut readers = Vec::with_capacity(count);
        for number in 0..count {
            if connecting.len() >= HANDSHAKES_AT_ONCE {
                readers.push(connecting.join_next().await.context("nobody connects")???);
            }
            // Whoever comes after the last is the first: they are not of one reader either.
            let would_be_the_first = number > 0 && number % READERS == 0 && number + 1 == count;
            let name = if would_be_the_first { READERS / 2 } else { number % READERS };
            let endpoint = endpoints.get(name).context("no such reader")?.clone();
            let progress = progress.clone();
            connecting.spawn(async move {
                let reader = Reader::new(endpoint.connect().await?, stream).await?;
                progress.step();
                Ok((number, reader))
            });
        }
        while let Some(reader) = connecting.join_next().await {
            readers.push(reader??);
        }
        readers.sort_by_key(|(number, _)| *number);
        progress.finish();
        Ok(readers.into_iter().map(|(_, reader)| reader).collect())
    }
}

fn reader(number: usize) -> String {
    format!("urn:ridegate:validator:{BUS}:reader-{number}")
}

/// An address that nobody listens on, and that nobody gets who asks the system for any.
fn free() -> Result<SocketAddr> {
    let mut ports = (0..TRIES).map(|_| rand::random_range(10_000..32_000));
    let free = ports.find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    Ok(free.context("no port is free")?.local_addr()?)
}

/// A gateway that serves. Ends what was started for it.
pub(super) struct Gateway {
    child: Option<Child>,
    pub(super) operations: SocketAddr,
}

impl Gateway {
    /// Told to stop, it ends in order: what watches it is told all.
    pub(super) async fn stop(mut self) -> Result<()> {
        let Some(child) = &mut self.child else { return Ok(()) };
        rustix::process::kill_process_group(Pid::from_child(child), Signal::TERM)?;
        let told = Instant::now();
        while child.try_wait()?.is_none() && told.elapsed() < STOPS_WITHIN {
            sleep(BETWEEN_TRIES).await;
        }
        Ok(())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ended_before = rustix::process::kill_process_group(Pid::from_child(child), Signal::KILL);
            let _known = child.wait();
        }
    }
}
