//! A city that runs: gateway, authority, partners, and riders who have linked.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use jiff::SignedDuration;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use ridegate_adapters::MAX_VALIDITY_S;
use ridegate_gateway::clock::Clock;
use ridegate_proto::partner::v1::{
    Channel as LinkChannel, Consent, LinkResult, LinkRiderRequest, Medium,
    partner_service_client::PartnerServiceClient,
};
use tempfile::TempDir;
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};
use tonic::transport::Channel;

use crate::{
    authority::Authority,
    gates::{BUS, METRO},
    online::Half,
    pki::{Files, Pki},
    progress::progress,
    redis::Redis,
    replicas::Replicas,
    resolver::Resolver,
    riders::{self, RIDERS, Rider, wire},
    site::Site,
    trust::{Phone, Shows, Trust},
};

/// Where the city's clock stands when it starts: inside the 72-hour window.
pub const START: &str = "2022-06-15T12:00:00+08:00";

const CERTIFICATES_LIVE: SignedDuration = SignedDuration::from_hours(30 * 24);
const LINKS_AT_ONCE: usize = 8;
/// How long a code of the city's phones lives.
pub(crate) const VALIDITY_S: u16 = 60;

/// What a city is like.
#[derive(Debug, Clone, Copy)]
pub struct Blueprint<'a> {
    /// Makes the same city again.
    pub seed: u64,
    /// Gateways, one at least.
    pub replicas: usize,
    /// Whether they share a Redis, a private one.
    pub redis: bool,
    /// A new folder for it; without one it gets one that goes when it closes.
    pub folder: Option<&'a Path>,
    /// More configuration for its gateways, in TOML.
    pub gateway: &'a str,
}

impl Default for Blueprint<'_> {
    fn default() -> Self {
        Self { seed: 2022, replicas: 1, redis: false, folder: None, gateway: "" }
    }
}

/// A city that runs.
pub struct City {
    pub(crate) replicas: Replicas,
    /// What the replicas share.
    pub(crate) redis: Option<Redis>,
    pub(crate) clock: Clock,
    pub(crate) partners: Vec<String>,
    /// Who makes its codes.
    trust: Trust,
    /// Phones of issuers whom no trusted root has certified, one a partner.
    pub(crate) outsiders: Vec<Phone>,
    riders: HashMap<(usize, Rider), Vec<Commuter>>,
    /// A healthy rider of the first partner whose codes live long enough to be pasted.
    visitor: Commuter,
    pub(crate) authority: Authority,
    /// Of partners whose codes only they can read.
    resolvers: Vec<Resolver>,
    /// Certificates, configuration and registry.
    folder: PathBuf,
    /// The folder, if it shall go when the city closes.
    _temporary: Option<TempDir>,
}

/// A rider with a phone.
pub(crate) struct Commuter {
    pub(crate) phone: Phone,
    account: String,
    last_code: Mutex<u32>,
}

impl City {
    /// Builds a city in a new folder.
    pub async fn build(plan: &Blueprint<'_>) -> Result<Self> {
        let mut rng = ChaCha20Rng::seed_from_u64(plan.seed);
        let temporary = plan.folder.is_none().then(tempfile::tempdir).transpose()?;
        let folder = plan.folder.or(temporary.as_ref().map(TempDir::path)).context("no folder")?.to_owned();
        let pki = Pki::create(&folder.join("pki"), CERTIFICATES_LIVE)?;
        let server = pki.server(&["localhost".into(), "127.0.0.1".into(), "::1".into()])?;
        let mut trust = Trust::new(&mut rng)?;
        let clock: Clock = START.parse().map_err(anyhow::Error::msg)?;
        let resolvers = resolvers(&pki, &server, &mut trust, &clock)?;
        trust.write(&folder)?;
        let authority = Authority::start()?;
        let redis = if plan.redis { Some(Redis::start(&folder.join("redis")).await?) } else { None };
        let config = configure(&folder, &authority, redis.as_ref(), plan.gateway)?;
        let mut replicas = Replicas::start(&config, &clock, plan.replicas.max(1)).await?;
        replicas.connect(&pki, &trust)?;
        let city = Self {
            replicas,
            redis,
            partners: trust.partners().map(|(id, _)| id.to_owned()).collect(),
            outsiders: outsiders(&clock, &mut rng)?,
            riders: settle(&trust, &clock, &mut rng)?,
            visitor: commuter(&trust, 0, 0, MAX_VALIDITY_S, &clock, &mut rng)?,
            clock,
            authority,
            resolvers,
            trust,
            folder,
            _temporary: temporary,
        };
        city.link_riders().await?;
        city.link_cards().await?;
        city.site(plan.seed).write(&city.folder)?;
        Ok(city)
    }

    /// How others find it. A gate of the metro's asks.
    fn site(&self, seed: u64) -> Site {
        let gate = Files::of(Path::new("pki"), &format!("validator-{METRO}-gate-1"));
        Site {
            endpoint: self.endpoint(),
            seed,
            clock_offset_seconds: Site::offset(&self.clock),
            ca: "pki/ca.pem".into(),
            certificate: gate.certificate,
            key: gate.key,
        }
    }

    /// Where the gateway listens; the first of its replicas.
    pub fn endpoint(&self) -> String {
        self.endpoints().next().unwrap_or_default()
    }

    /// Where each replica listens.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = String> {
        self.replicas.addresses().map(|address| format!("https://{address}"))
    }

    /// Where certificates, configuration and registry are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The connection of a gate or a partner to the first replica.
    pub(crate) fn channel(&self, identity: &str) -> Result<Channel> {
        self.replicas.channel(identity, 0)
    }

    /// Whether a code used at one replica is used at all.
    pub(crate) fn shares_claims(&self) -> bool {
        self.replicas.count() == 1 || self.redis.is_some()
    }

    /// The city's clock.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A code of a healthy rider that lives for twenty minutes.
    pub fn visitors_code(&self) -> Result<Vec<u8>> {
        self.visitor.phone.code(u32::try_from(self.clock.unix_seconds().0)?)
    }

    /// Closes everything.
    pub async fn stop(self) {
        self.replicas.stop().await;
        self.authority.stop();
        drop(self.redis);
        self.resolvers.iter().for_each(Resolver::stop);
    }

    /// What the gateway says of half of this code, of the partner whose turn it is.
    pub(crate) fn half(&self, turn: usize, code: &[u8]) -> Result<Half> {
        let mut partners = self.trust.partners();
        Ok(partners.nth(turn % self.partners.len()).context("no such partner")?.1.half(code))
    }

    /// The places of the partners whose codes the gateway reads by itself.
    pub(crate) fn signed(&self) -> Vec<usize> {
        let signed = |(place, (_, shows)): (usize, (&str, Shows<'_>))| {
            (!matches!(shows, Shows::Online(_))).then_some(place)
        };
        self.trust.partners().enumerate().filter_map(signed).collect()
    }

    /// The rider of this kind whose turn it is.
    pub(crate) fn pick(&self, partner: usize, rider: Rider, turn: usize) -> Result<&Commuter> {
        let commuters = self.riders.get(&(partner % self.partners.len(), rider)).context("no such rider")?;
        commuters.get(turn % commuters.len()).context("no such rider")
    }

    async fn link_riders(&self) -> Result<()> {
        let linked = self.riders.iter().filter(|((_, rider), _)| rider.is_linked());
        let riders = linked
            .flat_map(|((partner, rider), commuters)| commuters.iter().map(|one| (*partner, *rider, one)));
        let riders: Vec<_> = riders.chain([(0, Rider::Healthy, &self.visitor)]).collect();
        let progress = progress(riders.len(), "riders link ");
        let room = Arc::new(Semaphore::new(LINKS_AT_ONCE));
        let mut tasks: JoinSet<Result<()>> = JoinSet::new();
        for (position, rider, commuter) in riders {
            let (partner, shows) = self.trust.partners().nth(position).context("no such partner")?;
            let now = self.clock.now();
            let (subject, code) =
                (format!("subject-{}", commuter.account), format!("code-{}", commuter.account));
            self.authority.authorise(&code, &subject);
            if let Some(facts) = rider.facts(now) {
                self.authority.set(&subject, facts);
            }
            let request = link_request(shows.medium(&commuter.account), code, wire(now));
            let channel = self.channel(&format!("urn:ridegate:partner:{partner}"))?;
            let (mut client, progress) = (PartnerServiceClient::new(channel), progress.clone());
            let turn = Arc::clone(&room).acquire_owned().await?;
            tasks.spawn(async move {
                let result = client.link_rider(request).await?.into_inner().result();
                drop(turn);
                progress.step();
                if result == LinkResult::Linked {
                    Ok(())
                } else {
                    bail!("a rider was not linked: {result:?}")
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        progress.finish();
        Ok(())
    }
}

impl Commuter {
    /// A code of a second that this phone has not shown one of.
    pub(crate) async fn code(&self, clock: &Clock) -> Result<Vec<u8>> {
        self.phone.code(self.next_second(clock).await?)
    }

    /// A code of this second, which lives longest.
    pub(crate) async fn newest_code(&self, clock: &Clock) -> Result<Vec<u8>> {
        loop {
            let now = u32::try_from(clock.unix_seconds().0)?;
            let last =
                std::mem::replace(&mut *self.last_code.lock().unwrap_or_else(PoisonError::into_inner), now);
            if last < now {
                return self.phone.code(now);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Seconds from half a validity ago on, one a code. A phone that has shown one of every second until now waits.
    pub(crate) async fn next_second(&self, clock: &Clock) -> Result<u32> {
        loop {
            let now = u32::try_from(clock.unix_seconds().0)?;
            {
                let mut last = self.last_code.lock().unwrap_or_else(PoisonError::into_inner);
                let next = (now - u32::from(VALIDITY_S) / 2).max(*last + 1);
                if next <= now {
                    *last = next;
                    return Ok(next);
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A server of its own for every partner whose codes only it can read. They know the gateway by its certificate.
pub(crate) fn resolvers(
    pki: &Pki,
    server: &Files,
    trust: &mut Trust,
    clock: &Clock,
) -> Result<Vec<Resolver>> {
    pki.caller("gateway", "urn:ridegate:operator:gateway")?;
    let books: Vec<_> = trust.books().map(|(partner, book)| (partner.to_owned(), book.clone())).collect();
    let mut resolvers = Vec::with_capacity(books.len());
    for (partner, book) in books {
        let resolver = Resolver::start_with_tls(book, clock.clone(), server, &pki.ca())?;
        let section = format!(
            "endpoint = \"{}\"\ntimeout = \"5s\"\nca = \"../pki/ca.pem\"\n\
             certificate = \"../pki/gateway.pem\"\nkey = \"../pki/gateway.key\"\n",
            resolver.endpoint()
        );
        trust.name_resolver(&partner, section);
        resolvers.push(resolver);
    }
    Ok(resolvers)
}

/// Writes what all replicas are configured with.
fn configure(folder: &Path, authority: &Authority, redis: Option<&Redis>, more: &str) -> Result<PathBuf> {
    // Times are wide: on a busy machine the demo shall be slow, not wrong. The latencies it shows are the real ones.
    let redis = redis.map(|redis| format!("[redis]\nnodes = [\"{}\"]\ntimeout = \"1s\"\n", redis.url()));
    let redis = redis.unwrap_or_default();
    let config = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\nnotice = \"0s\"\nreflection = true\n\
         [tls]\ncertificate = \"pki/server.pem\"\nkey = \"pki/server.key\"\nclient_ca = \"pki/ca.pem\"\n\
         [operations]\naddress = \"127.0.0.1:0\"\n\
         [authority]\nendpoint = \"{}\"\nlookup_timeout = \"5s\"\nexchange_timeout = \"10s\"\n\
         [registry]\ntimeout = \"5s\"\n\
         [verdict]\nbudget = \"10s\"\nwait = \"10s\"\ndouble_read = \"30s\"\n\
         [cards]\nper_device_per_second = 1000\nper_device_burst = 1000\n\
         [partners]\nprofiles = \"profiles\"\nmot_trust = \"mot-trust.toml\"\n\
         [fleets]\nfull_reasons = [\"{BUS}\"]\nhelp = {{ {METRO} = \"96165\", {BUS} = \"96166\" }}\n\
         {redis}{more}\n",
        authority.endpoint(),
    );
    let path = folder.join("ridegate.toml");
    std::fs::write(&path, config)?;
    Ok(path)
}

fn settle(
    trust: &Trust,
    clock: &Clock,
    rng: &mut ChaCha20Rng,
) -> Result<HashMap<(usize, Rider), Vec<Commuter>>> {
    let mut settled = HashMap::new();
    for position in 0..trust.partners().count() {
        for (rider, count) in RIDERS {
            let commuters = (0..count).map(|turn| {
                commuter(trust, position, riders::number(position, rider, turn), VALIDITY_S, clock, rng)
            });
            settled.insert((position, rider), commuters.collect::<Result<_>>()?);
        }
    }
    Ok(settled)
}

/// Issuers of the same numbers, certified by a root that nobody trusts.
fn outsiders(clock: &Clock, rng: &mut ChaCha20Rng) -> Result<Vec<Phone>> {
    let forged = Trust::new(rng)?;
    let phones =
        (0..forged.partners().count()).map(|position| commuter(&forged, position, 0, VALIDITY_S, clock, rng));
    phones.map(|commuter| Ok(commuter?.phone)).collect()
}

fn commuter(
    trust: &Trust,
    partner: usize,
    number: usize,
    validity: u16,
    clock: &Clock,
    rng: &mut ChaCha20Rng,
) -> Result<Commuter> {
    let (_, shows) = trust.partners().nth(partner).context("no such partner")?;
    let account = shows.account(number);
    let authorized_until = u32::try_from(clock.unix_seconds().0)? + 86_400;
    let phone = shows.authorise(&account, authorized_until, validity, rng)?;
    Ok(Commuter { phone, account, last_code: Mutex::new(0) })
}

/// As a partner's app asks for it, with the consent that goes with it.
pub(crate) fn link_request(medium: Medium, code: String, now: prost_types::Timestamp) -> LinkRiderRequest {
    LinkRiderRequest {
        idempotency_key: format!("link-{}", medium.account),
        media: vec![medium],
        authorization_code: code,
        consent: Some(Consent {
            wording_version: "2022-06".into(),
            granted_at: Some(now),
            purpose: "health check at gates".into(),
        }),
        channel: LinkChannel::App.into(),
        client: None,
    }
}
