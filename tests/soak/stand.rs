//! Everything that runs: four replicas in processes of their own, and what is behind them.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::SignedDuration;
use ridegate_gateway::clock::Clock;
use ridegate_sim::{
    authority::Authority,
    pki::{Files, Pki},
    resolver::Resolver,
};
use tempfile::TempDir;

use crate::{
    city::{City, NOON_TEXT},
    plan::{How, Part, REPLICAS},
    postgres::{Postgres, free_port},
    process::{Process, text},
    redis::Redis,
};

/// How patient the replicas are, and how much they remember.
#[derive(Debug, Clone, Copy)]
pub enum Temper {
    /// So that a busy machine changes no answer.
    Patient,
    /// As shipped; caches so small that they are full, so that what grows is not they.
    AsShipped,
}

const PATIENT: &str = "[verdict]\nbudget = \"5s\"\nwait = \"10s\"\n";
const CACHES: &str = "[memory]\nlinks = 1000\nfacts = 1000\nauthorizations = \"3MB\"\nreadings = 10000\n";

pub struct Stand {
    /// The binary that is run.
    binary: PathBuf,
    folder: TempDir,
    pki: Pki,
    pub clock: Clock,
    pub authority: Authority,
    _resolvers: Vec<Resolver>,
    pub redis: Mutex<Redis>,
    postgres: Mutex<Postgres>,
    replicas: Vec<Mutex<Option<Process>>>,
    pub addresses: Vec<SocketAddr>,
}

impl Stand {
    /// Starts everything.
    pub fn start(city: &mut City, temper: Temper) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::create(&folder.path().join("pki"), SignedDuration::from_hours(48)).unwrap();
        pki.server(&["127.0.0.1".into()]).unwrap();
        let clock: Clock = NOON_TEXT.parse().unwrap();
        let authority = Authority::start().unwrap();
        let books: Vec<_> =
            city.trust.books().map(|(partner, book)| (partner.to_owned(), book.clone())).collect();
        let mut resolvers = vec![];
        for (partner, book) in books {
            let resolver = Resolver::start(book, clock.clone()).unwrap();
            let section = format!("endpoint = \"{}\"\n", resolver.endpoint());
            let patient = "timeout = \"5s\"\n";
            let section = if matches!(temper, Temper::Patient) { section + patient } else { section };
            city.trust.name_resolver(&partner, section);
            resolvers.push(resolver);
        }
        city.trust.write(folder.path()).unwrap();
        let (redis, postgres) = (Redis::start(), Postgres::start());
        let binary = std::env::var_os("RIDEGATE_SOAK_BINARY")
            .map_or_else(|| env!("CARGO_BIN_EXE_ridegate").into(), |given| fs::canonicalize(given).unwrap());
        let addresses: Vec<_> = (0..REPLICAS).map(|_| free_address()).collect();
        let mut stand = Self {
            binary,
            folder,
            pki,
            clock,
            authority,
            _resolvers: resolvers,
            redis: Mutex::new(redis),
            postgres: Mutex::new(postgres),
            replicas: vec![],
            addresses,
        };
        stand.furnish(temper);
        for number in 0..REPLICAS {
            let process = stand.run(number);
            stand.replicas.push(Mutex::new(Some(process)));
        }
        stand
    }

    /// Writes each replica's configuration, and makes the registry.
    fn furnish(&self, temper: Temper) {
        let postgres = lock(&self.postgres);
        let url = postgres.create_database();
        let name = url.rsplit('/').next().unwrap();
        fs::write(self.folder.path().join("postgres.password"), postgres.password()).unwrap();
        let (budgets, authority, registry, redis) = match temper {
            Temper::Patient => {
                (PATIENT, "lookup_timeout = \"2s\"\n", "timeout = \"2s\"\n", "timeout = \"1s\"\n")
            }
            Temper::AsShipped => (CACHES, "", "", ""),
        };
        for (number, address) in self.addresses.iter().enumerate() {
            let config = format!(
                "[listen]\naddress = \"{address}\"\nnotice = \"0s\"\n[operations]\naddress = \"127.0.0.1:0\"\n\
                 [tls]\ncertificate = \"pki/server.pem\"\nkey = \"pki/server.key\"\nclient_ca = \"pki/ca.pem\"\n\
                 [authority]\nendpoint = \"{}\"\n{authority}\
                 [registry]\nurl = \"{}\"\npassword_file = \"postgres.password\"\nconnections = 8\n{registry}\
                 [redis]\nnodes = [\"{}\"]\n{redis}\
                 [partners]\nprofiles = \"profiles\"\nmot_trust = \"mot-trust.toml\"\n\
                 [quota]\ncodes_per_second = 100000\ncodes_burst = 100000\ncalls_per_second = 100000\ncalls_burst = 100000\n\
                 {budgets}",
                self.authority.endpoint(),
                postgres.address(name),
                lock(&self.redis).url(),
            );
            fs::write(self.config(number), config).unwrap();
        }
        for command in [&["key", "add"][..], &["migrate", "--insecure-dev"]] {
            let mut ridegate = Command::new(&self.binary);
            let done = ridegate.args(command).arg("--config").arg(self.config(0)).output().unwrap();
            assert!(done.status.success(), "{command:?}: {}", text(&done.stderr));
        }
    }

    fn config(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("replica-{number}.toml"))
    }

    /// A replica's process, in the present of the run.
    fn run(&self, number: u8) -> Process {
        let mut said = String::new();
        for _ in 0..5 {
            let mut command = Command::new(&self.binary);
            command.env("RUST_LOG", "info").args(["serve", "--insecure-dev", "--clock"]);
            command.arg(self.clock.now().to_string()).arg("--config").arg(self.config(number.into()));
            match Process::run(command) {
                Ok(process) => return process,
                Err(log) => said = log,
            }
        }
        panic!("replica {number} does not start:\n{said}");
    }

    /// Ends a part at once, or asks a replica to end.
    pub fn end(&self, part: Part, how: How) {
        match part {
            Part::Replica(number) => {
                let process = lock(&self.replicas[usize::from(number)]).take().unwrap();
                match how {
                    How::Kill => process.kill(),
                    How::Terminate => {
                        let (code, log) = process.terminate();
                        assert_eq!(code, Some(0), "{log}");
                    }
                }
            }
            Part::Redis => lock(&self.redis).kill(),
            Part::Postgres => lock(&self.postgres).kill(),
            Part::Authority => self.authority.stop(),
        }
    }

    /// Starts what was ended, where it was; returns when it serves.
    pub fn start_again(&self, part: Part) {
        match part {
            Part::Replica(number) => {
                *lock(&self.replicas[usize::from(number)]) = Some(self.run(number));
            }
            Part::Redis => lock(&self.redis).restart(),
            Part::Postgres => lock(&self.postgres).restart(),
            Part::Authority => self.authority.start_again().unwrap(),
        }
    }

    /// A replica's process, and where its metrics are; nothing while it is away.
    pub fn process(&self, number: usize) -> Option<(u32, SocketAddr)> {
        let process = lock(&self.replicas[number]);
        process.as_ref().map(|process| (process.id(), process.operations.parse().unwrap()))
    }

    /// A caller's certificate.
    pub fn certify(&self, identity: &str) -> Files {
        let name = identity.trim_start_matches("urn:ridegate:").replace(':', "-");
        self.pki.caller(&name, identity).unwrap()
    }

    pub fn ca(&self) -> PathBuf {
        self.pki.ca()
    }

    /// What is run.
    pub fn binary(&self) -> &Path {
        &self.binary
    }
}

fn free_address() -> SocketAddr {
    // Nobody who takes any port takes it while its owner is away.
    ([127, 0, 0, 1], free_port()).into()
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
