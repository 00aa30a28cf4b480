//! One gateway, the real binary, with everything behind it at the end of a proxy.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use jiff::SignedDuration;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use ridegate_faults::Proxy;
use ridegate_gateway::{
    backends::registry::{Location, Registry},
    keyring::Keyring,
};
use ridegate_proto::{
    partner::v1::{
        GetLinkRequest, LinkResult, LinkRiderRequest, LinkRiderResponse,
        partner_service_client::PartnerServiceClient,
    },
    validator::v1::validator_service_client::ValidatorServiceClient,
};
use ridegate_sim::{
    authority::Authority,
    pki::{Files, Pki},
    resolver::Resolver,
    trust::Trust,
};
use tempfile::TempDir;
use tokio::{
    task::block_in_place,
    time::{Instant, sleep},
};
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint},
};

use super::{
    cells::{Cell, Form, Upstream},
    riders::{Class, ONLINE, Riders},
};
use crate::{
    house::{GATE, NOON, PARTNER, as_partner, identified, link_request, medium, request, said, subject},
    observed::page,
    postgres::Postgres,
    process::Process,
    redis::{Cluster, MASTER, Redis, Sentinel},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Redis, in one of its forms.
pub enum Store {
    One(Redis),
    Sentinel(Sentinel),
    Cluster(Cluster),
}

/// All of it.
pub struct Stand {
    _folder: TempDir,
    pub authority: Authority,
    pub resolver: Resolver,
    _other_resolver: Resolver,
    pub redis: Store,
    /// With the database's name.
    pub postgres: Option<(Postgres, String)>,
    pub wires: HashMap<Upstream, Proxy>,
    process: Option<Process>,
    config: PathBuf,
    trust: Trust,
    cold: u64,
}

impl Stand {
    /// With everybody linked, so many of them cold, on this configuration.
    pub async fn build(cell: &Cell, cold: u64, settings: &Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = cell.secure.then(|| certified(folder.path()));
        let mut trust = Trust::new(&mut ChaCha20Rng::seed_from_u64(1)).unwrap();
        let authority = match &pki {
            None => Authority::start().unwrap(),
            Some((pki, server)) => Authority::start_with_tls(server, &pki.ca()).unwrap(),
        };
        let [resolver, other] = ONLINE.map(|partner| start_resolver(&trust, partner, pki.as_ref()));
        let redis = block_in_place(|| Store::start(cell));
        let postgres = match cell.who {
            Upstream::Registry => Some(database(folder.path()).await),
            _ => None,
        };
        if let (Some((server, _)), Some((_, shown))) = (&postgres, &pki) {
            block_in_place(|| server.secure(shown));
        }
        let mut wires = HashMap::new();
        let ends = [
            (Upstream::Authority, Some(authority.endpoint())),
            (Upstream::Resolver, Some(resolver.endpoint())),
            (Upstream::Redis, redis.url()),
            (Upstream::Registry, postgres.as_ref().map(|(server, name)| server.address(name))),
        ];
        for (who, end) in ends {
            if let Some(end) = end {
                wires.insert(who, Proxy::start("127.0.0.1:0", host(&end), 11).await.unwrap());
            }
        }
        let at = |who: Upstream| wires[&who].address();
        let scheme = if cell.secure { "https" } else { "http" };
        let tls = if cell.secure { client_files(folder.path()) } else { String::new() };
        let patient = &settings.resolver;
        trust.name_resolver(
            ONLINE[0],
            format!("endpoint = \"{scheme}://{}\"\n{tls}{patient}", at(Upstream::Resolver)),
        );
        trust.name_resolver(ONLINE[1], format!("endpoint = \"{}\"\n{tls}{patient}", other.endpoint()));
        trust.write(folder.path()).unwrap();
        let store = redis.section(wires.get(&Upstream::Redis));
        let registry = postgres.as_ref().map_or_else(String::new, |(_, name)| {
            let trusted = folder.path().join("pki/ca.pem").display().to_string();
            let tls = format!("?sslmode=verify-full&sslrootcert={trusted}");
            let tls = if cell.secure { &tls } else { "" };
            format!(
                "url = \"postgres://gate@{}/{name}{tls}\"\npassword_file = \"postgres.password\"\n",
                at(Upstream::Registry)
            )
        });
        fs::write(folder.path().join("redis.password"), "secret\n").unwrap();
        let config = folder.path().join("ridegate.toml");
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\nnotice = \"0s\"\n[operations]\naddress = \"127.0.0.1:0\"\n\
             [partners]\nprofiles = \"profiles\"\nmot_trust = \"mot-trust.toml\"\n\
             [authority]\nendpoint = \"{scheme}://{}\"\n{tls}{}\n[redis]\n{store}{}\n[registry]\n{registry}{}\n{}",
            at(Upstream::Authority),
            settings.authority,
            settings.redis,
            settings.registry,
            settings.more,
        );
        fs::write(&config, text).unwrap();
        Self {
            _folder: folder,
            authority,
            resolver,
            _other_resolver: other,
            redis,
            postgres,
            wires,
            process: None,
            config,
            trust,
            cold,
        }
    }

    /// Starts a gateway.
    pub fn serve(&mut self) {
        self.process = Some(block_in_place(|| Process::start_running(&self.config)));
    }

    /// Links everybody and shows a code of each who is to be remembered. Who taps from then on.
    pub async fn furnish(&self) -> Riders {
        for who in self.wires.keys() {
            self.until(who.gauge(), 1.0).await;
        }
        let mut riders = Riders::new(&self.trust, &self.authority, self.cold);
        for account in Riders::links() {
            self.authority.authorise(&format!("code-{account}"), &subject(account));
        }
        let [channel] = self.channels();
        let link = |(partner, request)| link_at_last(channel.clone(), partner, request);
        stream::iter(Riders::to_link(self.cold)).map(link).buffer_unordered(8).collect::<()>().await;
        let warm = |(number, (class, code))| warm(channel.clone(), number, class, code);
        stream::iter(riders.warming_taps().into_iter().enumerate())
            .map(warm)
            .buffer_unordered(4)
            .collect::<()>()
            .await;
        riders
    }

    /// Stops the gateway; what it has logged.
    pub fn stop(&mut self) -> String {
        let process = self.process.take().unwrap();
        block_in_place(|| process.terminate().1)
    }

    /// Connections to the gateway.
    pub fn channels<const MANY: usize>(&self) -> [Channel; MANY] {
        let endpoint = &self.process.as_ref().unwrap().endpoint;
        std::array::from_fn(|_| Endpoint::from_shared(endpoint.clone()).unwrap().connect_lazy())
    }

    /// A page of its operations.
    pub async fn page(&self, path: &str) -> (u16, String) {
        page(&self.process.as_ref().unwrap().operations, path).await
    }

    /// What it counts.
    pub async fn metrics(&self) -> Counts {
        Counts::parse(&self.page("/metrics").await.1)
    }

    async fn until(&self, sample: &str, value: f64) {
        assert!(self.comes_to(sample, value, PATIENCE).await, "{sample} never comes to {value}");
    }

    /// Whether a sample comes to this in time.
    pub async fn comes_to(&self, sample: &str, value: f64, within: Duration) -> bool {
        let began = Instant::now();
        while (self.metrics().await.of(sample) - value).abs() > f64::EPSILON {
            if began.elapsed() > within {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// What is wrong with links: one that was acknowledged and is not there, one that was not and cannot be repeated.
    pub async fn lost_links(&self, links: &HashMap<u64, bool>) -> Vec<String> {
        let [channel] = self.channels();
        let mut wrong = Vec::new();
        for (account, acknowledged) in links {
            if *acknowledged {
                let mut client = PartnerServiceClient::new(channel.clone());
                let ask = GetLinkRequest { medium: Some(medium(*account)) };
                let answer = client.get_link(as_partner(PARTNER, ask)).await.map(Response::into_inner);
                if answer.as_ref().is_ok_and(|answer| answer.link.is_none()) {
                    wrong.push("a link that was acknowledged is not there".to_owned());
                } else if let Err(error) = answer {
                    wrong.push(format!("a link cannot be asked for: {:?}", error.code()));
                }
                continue;
            }
            let again = link(channel.clone(), PARTNER, link_request(*account)).await;
            let repeated =
                again.is_ok_and(|a| matches!(a.result(), LinkResult::Linked | LinkResult::AlreadyLinked));
            if !repeated {
                wrong.push("a link that was not acknowledged cannot be repeated".to_owned());
            }
        }
        wrong
    }
}

/// Keys of the configuration, by section, beside what every stand has.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub authority: String,
    pub redis: String,
    pub registry: String,
    /// Of a partner's `[resolver]`.
    pub resolver: String,
    /// Whole sections.
    pub more: String,
}

/// What the gateway shows, and whom it trusts.
fn client_files(folder: &Path) -> String {
    let at = folder.join("pki").display().to_string();
    format!("ca = \"{at}/ca.pem\"\ncertificate = \"{at}/operator.pem\"\nkey = \"{at}/operator.key\"\n")
}

/// Who certifies the gateway and whom it asks, and the certificate of these.
fn certified(folder: &Path) -> (Pki, Files) {
    let pki = Pki::create(&folder.join("pki"), SignedDuration::from_hours(24)).unwrap();
    pki.caller("operator", "urn:ridegate:operator:gateway").unwrap();
    let server = pki.server(&["127.0.0.1".into()]).unwrap();
    (pki, server)
}

fn start_resolver(trust: &Trust, partner: &str, pki: Option<&(Pki, Files)>) -> Resolver {
    let (_, book) = trust.books().find(|(id, _)| *id == partner).unwrap();
    let clock = NOON.parse().unwrap();
    match pki {
        None => Resolver::start(book.clone(), clock).unwrap(),
        Some((pki, server)) => Resolver::start_with_tls(book.clone(), clock, server, &pki.ca()).unwrap(),
    }
}

/// A database in which the gateway may read and write, and nothing else.
async fn database(folder: &Path) -> (Postgres, String) {
    let server = block_in_place(Postgres::start);
    let name = block_in_place(|| server.create_database()).rsplit('/').next().unwrap().to_owned();
    let ring = Arc::new(Keyring::create(&folder.join("ridegate.key")).unwrap());
    let owner = Location::server(&server.address(&name), Some(server.password()), 2, true).unwrap();
    Registry::migrate(&owner, ring).await.unwrap();
    fs::write(folder.join("postgres.password"), server.password()).unwrap();
    let role = format!(
        "CREATE ROLE gate LOGIN PASSWORD '{}'; GRANT ALL ON ALL TABLES IN SCHEMA public TO gate; \
         GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO gate",
        server.password()
    );
    block_in_place(|| server.sql(&name, &role));
    (server, name)
}

impl Store {
    fn start(cell: &Cell) -> Self {
        match cell.form {
            Form::One => Self::One(Redis::with(&["user default off", "user gate on >secret ~* &* +@all"])),
            Form::Sentinel => Self::Sentinel(Sentinel::start()),
            Form::Cluster if cell.has_a_replica() => Self::Cluster(Cluster::with_a_replica()),
            Form::Cluster => Self::Cluster(Cluster::start()),
        }
    }

    /// Where a proxy can stand before it: the others tell their own addresses.
    fn url(&self) -> Option<String> {
        match self {
            Self::One(redis) => Some(redis.url()),
            Self::Sentinel(_) | Self::Cluster(_) => None,
        }
    }

    fn section(&self, wire: Option<&Proxy>) -> String {
        match self {
            Self::One(_) => format!(
                "nodes = [\"redis://{}\"]\nuser = \"gate\"\npassword_file = \"redis.password\"\n",
                wire.unwrap().address()
            ),
            Self::Sentinel(sentinel) => format!("nodes = {:?}\nsentinel = \"{MASTER}\"\n", sentinel.urls()),
            Self::Cluster(cluster) => format!("nodes = {:?}\ncluster = true\n", cluster.urls()),
        }
    }
}

/// What the gateway counts, by sample.
#[derive(Debug, Clone, Default)]
pub struct Counts(HashMap<String, f64>);

impl Counts {
    fn parse(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (sample, value) = line.rsplit_once(' ')?;
            Some((sample.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// 0 if there is none.
    pub fn of(&self, sample: &str) -> f64 {
        self.0.get(sample).copied().unwrap_or_default()
    }

    /// By how much each of those that begin so has gone up since.
    pub fn since<'a>(&'a self, before: &Self, begins: &str) -> Vec<(&'a str, f64)> {
        let mine = self.0.iter().filter(|(sample, _)| sample.starts_with(begins));
        let up = mine.map(|(sample, value)| (sample.as_str(), value - before.of(sample)));
        up.filter(|(_, up)| *up > 0.0).collect()
    }
}

/// A machine that does other work too is slow now and then.
async fn link_at_last(channel: Channel, partner: &str, request: LinkRiderRequest) {
    let began = Instant::now();
    while !link(channel.clone(), partner, request.clone())
        .await
        .is_ok_and(|answer| matches!(answer.result(), LinkResult::Linked | LinkResult::AlreadyLinked))
    {
        assert!(began.elapsed() < PATIENCE, "not linked");
    }
}

/// Until the right answer comes: what is not used up may be shown again.
async fn warm(channel: Channel, number: usize, class: Class, code: Vec<u8>) {
    let mut client = ValidatorServiceClient::new(channel);
    let began = Instant::now();
    for turn in 0.. {
        let tap = identified(GATE, request(&format!("warm-{number}-{turn}"), code.clone()));
        let answer = client.check(tap).await.unwrap().into_inner();
        if said(&answer) == class.well() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{class:?}: {}", said(&answer));
    }
}

async fn link(
    channel: Channel,
    partner: &str,
    request: LinkRiderRequest,
) -> Result<LinkRiderResponse, Status> {
    let mut client = PartnerServiceClient::new(channel);
    client.link_rider(as_partner(partner, request)).await.map(Response::into_inner)
}

/// Host and port of a URL.
fn host(url: &str) -> &str {
    let after = url.split_once("://").unwrap().1;
    let after = after.rsplit_once('@').map_or(after, |(_, after)| after);
    after.split('/').next().unwrap()
}
