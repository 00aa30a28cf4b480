//! From settings to a gateway that runs.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::Semaphore,
    task::JoinSet,
};

use super::{Running, Settings, StartError, onboard::Onboarded, upkeep::keys};
use crate::{
    admission::{
        cards::{CardLimits, CardTaps},
        quota::{DefaultRates, Fleet, Quotas},
        rate::Rate,
        turns::Turns,
    },
    backends::{
        authority::Authority,
        redis::{Bank, Redis, shared::Shared},
        registry::{Kept, Registry},
        retry::Retries,
    },
    claim::Claims,
    config::Config,
    cores::Cores,
    door::{Door, Limits},
    health::Health,
    keyring::Keyring,
    linking::Linking,
    metrics::Metrics,
    operations,
    reading::{self, Readers},
    resolve::{
        Resolver, coherence::Coherence, desk::Desk, facts::Freshness, levels::Levels, links::Links,
        lookups::Lookups, watch,
    },
    retention::Retention,
    road::Road,
    roster::{InForce, Roster},
    transport::{self, Calls, Fleets, Inspections, Manners, PartnerApi, ReflectionError, ValidatorApi},
};

/// Connections that the system may keep until they are taken, if it is set so (`net.core.somaxconn`): after a restart everybody
/// comes at once, and who finds no place there tries again only a second later, then three, then seven.
const ARRIVING: u32 = 4_096;

/// What several services share.
pub(super) struct Parts {
    pub(super) keys: Arc<Keyring>,
    pub(super) registry: Arc<Registry>,
    pub(super) redis: Option<Arc<Redis>>,
    inspections: Arc<Inspections>,
    roster: InForce,
    pub(super) metrics: Arc<Metrics>,
}

impl Settings {
    /// Looks at what starting would need, and opens nothing: folders and the key file.
    pub fn check(&self) -> Result<(), StartError> {
        let registry = &self.config.registry;
        let database = registry.url.is_none().then_some(&registry.path);
        for path in database.into_iter().chain([&registry.key_file]) {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if folder.is_some_and(|folder| !folder.is_dir()) {
                return Err(StartError::NoFolder(path.clone()));
            }
        }
        let is_needed = registry.key_file.exists() || !self.registry.is_new();
        if is_needed { self.keys().map(drop) } else { Ok(()) }
    }

    /// Opens the registry, starts listening, and serves until told to stop.
    pub async fn start(self) -> Result<Running, StartError> {
        self.start_on(Cores::here()).await
    }

    /// The same, and connections live on these cores.
    pub async fn start_on(mut self, cores: Cores) -> Result<Running, StartError> {
        let cores = Arc::new(cores);
        // Addresses first: where one is taken nothing shall have been made.
        let listener = listen("listen.address", self.config.listen.address.get())?;
        let address = listener.local_addr().unwrap_or(self.config.listen.address.get());
        let operations = match self.config.operations.address {
            Some(address) => Some(listen("operations.address", address.get())?),
            None => None,
        };
        let keys = Arc::new(self.keys()?);
        let registry = Arc::new(self.registry(&keys).await?);
        let metrics = Arc::new(Metrics::new(self.onboarded.partners.iter().map(|profile| &profile.id)));
        let health = Health::new(self.enforces_now());
        let inspections = Arc::new(Inspections::default());
        let mut beside = JoinSet::new();

        metrics.tls().ends(&self.authority_ends());
        metrics.tls().ends(&self.redis_ends());
        metrics.tls().ends_of_resolvers(&self.onboarded.ends);
        let redis = self.redis.take();
        let redis =
            redis.map(|stated| Redis::new(stated.place, &cores, metrics.upstream("redis"), health.clone()));
        if let Some(redis) = &redis {
            beside.spawn(Arc::clone(redis).keep());
        }
        let bank = redis.as_ref().map(|redis| Bank::new(Arc::clone(redis), &keys));
        let fleet = bank.map(|bank| Fleet::new(bank, metrics.quotas()));
        let roster = self.roster(&keys, redis.as_ref(), fleet.as_deref(), &metrics);
        if let Some(fleet) = fleet {
            let roster = Arc::clone(&roster);
            beside.spawn(fleet.keep(move || roster.load().quotas.budgets()));
        }
        if let Some(follower) = self.follower.take() {
            let every = self.config.partners.reload.get();
            beside.spawn(follower.follow(every, Arc::clone(&roster), Arc::clone(&metrics)));
        }
        let parts = Parts {
            keys,
            registry: Arc::clone(&registry),
            redis,
            inspections: Arc::clone(&inspections),
            roster,
            metrics: Arc::clone(&metrics),
        };
        let calls = self.wire(&parts, &health, &mut beside, cores.count()).await?;
        if let (Some(tls), Some(config)) = (&self.tls, &self.config.tls) {
            beside.spawn(Arc::clone(tls).follow(config.reload.get(), metrics.tls()));
        }
        let operations = operations.and_then(|listener| {
            let address = listener.local_addr().ok();
            beside.spawn(operations::serve(listener, Arc::clone(&metrics), health.clone()));
            address
        });
        let door = Door::open(
            listener,
            self.tls.clone(),
            self.limits(cores.count()),
            metrics.door(),
            calls,
            Arc::clone(&cores),
        );
        let notice = self.config.listen.notice.get();
        Ok(Running {
            address,
            operations,
            inspections,
            metrics,
            door,
            health,
            notice,
            beside,
            registry,
            cores,
        })
    }

    fn keys(&self) -> Result<Keyring, StartError> {
        keys(&self.config.registry.key_file, &self.registry)
    }

    async fn registry(&self, keys: &Arc<Keyring>) -> Result<Registry, StartError> {
        let opened = Registry::open(&self.registry, Arc::clone(keys)).await;
        opened.map_err(|source| StartError::Registry { location: self.registry.clone(), source })
    }

    /// The partners it has read, each with its budgets and its reader.
    fn roster(
        &mut self,
        keys: &Arc<Keyring>,
        redis: Option<&Arc<Redis>>,
        fleet: Option<&Fleet>,
        metrics: &Arc<Metrics>,
    ) -> InForce {
        let Onboarded { partners, resolvers, .. } = std::mem::take(&mut self.onboarded);
        let readings = self.config.memory.readings.get();
        let longest = self.config.verdict.budget.get();
        let timeout = self.config.redis.timeout.get();
        let shared =
            redis.map(|redis| reading::Shared::new(Arc::clone(redis), timeout, Arc::clone(keys), metrics));
        let memory = reading::Memory::new(readings, longest, Arc::clone(keys), shared, Arc::clone(metrics));
        let roster = Roster {
            quotas: Quotas::new(&partners, rates(&self.config.quota), fleet, Arc::clone(metrics)),
            readers: Readers::new(resolvers, Arc::new(memory)),
            partners,
        };
        Arc::new(ArcSwap::from_pointee(roster))
    }

    async fn wire(
        &self,
        parts: &Parts,
        health: &Health,
        beside: &mut JoinSet<()>,
        cores: usize,
    ) -> Result<Calls, ReflectionError> {
        let Parts { keys, registry, redis, inspections, roster, metrics } = parts;
        let Config { authority, verdict, memory, fleets, .. } = &self.config;
        let calls = authority.concurrent_calls.get();
        let client = Authority::new(
            self.authority.endpoint.clone(),
            [authority.lookup_timeout.get(), authority.exchange_timeout.get()],
            calls,
            Retries::new(metrics.retries("authority")),
            (metrics.upstream("authority"), metrics.breaker("authority")),
        );
        let timeout = self.config.redis.timeout.get();
        let shared = |redis: &Arc<Redis>| Arc::new(Shared::new(Arc::clone(redis), Arc::clone(keys), timeout));
        let fleet = redis.as_ref().map(shared);
        let desk = Arc::new(Desk::new(self.clock.clone(), self.freshness(), memory.facts.get()));
        let cap = authority.lookup_timeout.get();
        let lookups = Lookups::start(client.clone(), Arc::clone(&desk), calls, cap, metrics.cache("facts"));
        let lookups = Arc::new(lookups);
        let fleets = Arc::new(Fleets::from(fleets.clone()));
        let tickets = self.tickets(parts, client.clone(), Arc::clone(&lookups), Arc::clone(&fleets));
        let store = &self.config.registry;
        let times = [store.timeout.get(), store.stale_links_max.get()];
        let links = Arc::new(Links::start(Arc::clone(registry), memory.links.get(), times, metrics));
        let coherence = Coherence {
            registry: Arc::clone(registry),
            links: Arc::clone(&links),
            desk: Arc::clone(&desk),
            fleet: fleet.clone(),
            every: store.follow.get(),
            asked: metrics.upstream("registry"),
            health: health.clone(),
        };
        let heard = coherence.begin().await;
        beside.spawn(coherence.follow(heard));
        let retention = Retention {
            registry: Arc::clone(registry),
            desk: Arc::clone(&desk),
            clock: self.clock.clone(),
            kept: self.kept(),
            facts: self.config.retention.facts.signed(),
            every: self.config.retention.every.get(),
        };
        beside.spawn(retention.keep());
        let resolver = Resolver {
            links: Arc::clone(&links),
            lookups,
            fleet: fleet.clone(),
            keys: Arc::clone(keys),
            registry_cap: store.timeout.get(),
            authority_cap: cap,
        };
        let limits = card_limits(&self.config.cards);
        let cards = Arc::new(CardTaps::new(limits, Arc::clone(keys), Arc::clone(metrics)));
        beside.spawn(Arc::clone(&cards).forget());
        let double_read = verdict.double_read.signed();
        let claims = Claims::new(Arc::clone(keys), fleet.clone(), double_read, Arc::clone(metrics));
        beside.spawn(claims.clone().tell_again(self.clock.clone()));
        let road = Road {
            clock: self.clock.clone(),
            roster: Arc::clone(roster),
            levels: Levels::new(memory.authorizations.get(), memory.issuers.get(), metrics),
            claims,
            cards,
            resolver,
            policy: Arc::clone(&self.policy),
            in_flight: Semaphore::new(verdict.in_flight.get()),
            turns: Turns::new(verdict.wait.get(), cores),
            metrics: Arc::clone(metrics),
        };
        let validators = ValidatorApi {
            road: Arc::new(road),
            fleets,
            inspections: Arc::clone(inspections),
            budget: verdict.budget.get(),
            reply_margin: verdict.reply_margin.get(),
            metrics: Arc::clone(metrics),
        };
        let linking = Linking {
            registry: Arc::clone(registry),
            links,
            desk: Arc::clone(&desk),
            fleet,
            authority: client.clone(),
            keys: Arc::clone(keys),
            clock: self.clock.clone(),
            asked: metrics.upstream("registry"),
        };
        let partners = PartnerApi { roster: Arc::clone(roster), linking };
        beside.spawn(watch::follow(client, desk, health.clone()));
        let manners = Manners {
            longest_call: self.config.limits.call.get(),
            reflection: self.config.listen.reflection,
        };
        transport::calls(validators, partners, tickets, health, metrics, manners).await
    }

    fn kept(&self) -> Kept {
        let kept = &self.config.retention;
        Kept {
            answers: kept.answers.get(),
            lost_cards: kept.lost_cards.get(),
            delegations: kept.delegations.get(),
            batches: kept.batches.get(),
            changes: kept.changes.get(),
        }
    }

    fn limits(&self, cores: usize) -> Limits {
        let limits = &self.config.limits;
        Limits {
            connections: limits.connections.get(),
            per_caller: limits.per_caller.get(),
            anonymous: limits.anonymous.get(),
            anonymous_per_address: limits.anonymous_per_address.get(),
            handshakes: limits.handshakes.get(),
            handshakes_per_address: limits.handshakes_per_address.get(),
            handshake: limits.handshake.get(),
            cores,
            streams: limits.streams.get_u32(),
            header_bytes: limits.header_bytes.get_u32(),
            idle: limits.idle.get(),
            age: limits.age.get(),
            ping_every: limits.ping_every.get(),
            ping_timeout: limits.ping_timeout.get(),
            call: limits.call.get(),
            drain: self.config.listen.drain.get(),
        }
    }

    fn freshness(&self) -> Freshness {
        let facts = &self.config.facts;
        Freshness {
            unwatched: facts.unwatched_max.signed(),
            no_record: facts.no_record_max.signed(),
            stale: facts.stale_max.signed(),
        }
    }
}

fn listen(key: &'static str, address: std::net::SocketAddr) -> Result<TcpListener, StartError> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(ARRIVING)
    };
    bound().map_err(|source| StartError::Listen { key, address, source })
}

fn rates(quota: &crate::config::Quota) -> DefaultRates {
    DefaultRates {
        codes: Rate {
            per_second: quota.codes_per_second.get_nonzero(),
            burst: quota.codes_burst.get_nonzero(),
        },
        calls: Rate {
            per_second: quota.calls_per_second.get_nonzero(),
            burst: quota.calls_burst.get_nonzero(),
        },
    }
}

fn card_limits(cards: &crate::config::Cards) -> CardLimits {
    CardLimits {
        taps: Rate {
            per_second: cards.per_device_per_second.get_nonzero(),
            burst: cards.per_device_burst.get_nonzero(),
        },
        many: cards.many_cards.get(),
        window: cards.many_cards_window.get(),
    }
}

impl From<crate::config::Fleets> for Fleets {
    fn from(fleets: crate::config::Fleets) -> Self {
        Self {
            full_reasons: fleets.full_reasons.into_iter().collect(),
            help: fleets.help,
            default_help: fleets.help_default,
        }
    }
}
