//! Redis of a test's own, in each of its forms: in a folder that goes with it, nothing of it kept.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use ridegate_sim::pki::{Files, Pki};
use tempfile::TempDir;

/// May do everything, whatever a test forbids the others.
const TESTER: [&str; 2] = ["tester", "secret-of-the-tester"];
/// A busy machine elects slowly.
const PATIENCE: Duration = Duration::from_mins(1);
/// What Sentinels call their master.
pub const MASTER: &str = "riders";

/// A server. Stopped, and its folder removed, when it is dropped.
pub struct Redis {
    folder: TempDir,
    port: u16,
    /// What it says when it can be used.
    ready: &'static str,
    arguments: Vec<&'static str>,
    /// How a client finds it.
    scheme: &'static str,
    client: Vec<String>,
    server: Option<Child>,
}

impl Redis {
    /// A new server, which answers.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these lines of configuration.
    pub fn with(lines: &[&str]) -> Self {
        Self::begin(lines, None)
    }

    /// With TLS, certified by `pki`; it wants a certificate of its clients as well, such as `client`.
    pub fn with_tls(pki: &Pki, [server, client]: [&Files; 2], lines: &[&str]) -> Self {
        Self::begin(lines, Some((pki, server, client)))
    }

    fn begin(lines: &[&str], tls: Option<(&Pki, &Files, &Files)>) -> Self {
        let mut said = String::new();
        for _ in 0..5 {
            // Somebody else may take the port before the server does.
            let mut redis = Self {
                folder: tempfile::tempdir().unwrap(),
                port: free_port(),
                ready: "Ready to accept connections",
                arguments: vec![],
                scheme: if tls.is_some() { "rediss" } else { "redis" },
                client: ["--user", TESTER[0], "--pass", TESTER[1], "--no-auth-warning"]
                    .map(ToOwned::to_owned)
                    .into(),
                server: None,
            };
            let mut settings = match tls {
                None => format!("port {}\n", redis.port),
                Some((pki, server, client)) => redis.certified(pki, server, client),
            };
            let tester = format!("user {} on >{} ~* &* +@all\n", TESTER[0], TESTER[1]);
            settings.push_str(&tester);
            // A replica is there at once, and nobody's memory goes to disk.
            settings += "save \"\"\nappendonly no\nrepl-diskless-sync-delay 0\nrepl-diskless-load swapdb\n";
            settings += &lines.join("\n");
            match redis.configure(&settings) {
                Ok(()) => return redis,
                Err(log) => said = log,
            }
        }
        panic!("Redis does not start:\n{said}");
    }

    /// What it is told of certificates; the client is told as well.
    fn certified(&mut self, pki: &Pki, server: &Files, client: &Files) -> String {
        let ca = shown(&pki.ca());
        let [certificate, key] = [&client.certificate, &client.key].map(|path| shown(path));
        let asking = ["--tls", "--cacert", &ca, "--cert", &certificate, "--key", &key];
        self.client.extend(asking.map(ToOwned::to_owned));
        let [of_server, key_of_server] = [&server.certificate, &server.key].map(|path| shown(path));
        format!(
            "port 0\ntls-port {}\ntls-ca-cert-file {ca}\ntls-cert-file {of_server}\ntls-key-file {key_of_server}\n\
             tls-client-cert-file {certificate}\ntls-client-key-file {key}\n",
            self.port
        )
    }

    /// One that watches over the master on this port.
    fn watching(port: u16) -> Self {
        let mut said = String::new();
        for _ in 0..5 {
            let mut sentinel = Self {
                folder: tempfile::tempdir().unwrap(),
                port: free_port(),
                ready: "+monitor master",
                arguments: vec!["--sentinel"],
                scheme: "redis",
                client: vec![],
                server: None,
            };
            let settings = format!(
                "port {}\nsentinel monitor {MASTER} 127.0.0.1 {port} 2\nsentinel down-after-milliseconds {MASTER} 1000\n\
                 sentinel failover-timeout {MASTER} 3000\n",
                sentinel.port
            );
            match sentinel.configure(&settings) {
                Ok(()) => return sentinel,
                Err(log) => said = log,
            }
        }
        panic!("Sentinel does not start:\n{said}");
    }

    fn configure(&mut self, settings: &str) -> Result<(), String> {
        let common = format!("bind 127.0.0.1\nprotected-mode no\ndir {}\n", shown(self.folder.path()));
        fs::write(self.folder.path().join("redis.conf"), format!("{common}{settings}\n")).unwrap();
        self.serve()
    }

    /// How a client finds it.
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// The port it listens on.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// As a power cut: nothing is closed, and what it knew is gone.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            // It may have ended by itself.
            let _over = server.kill();
            server.wait().unwrap();
        }
    }

    /// A server on the same port that knows nothing; what still ran is killed.
    pub fn restart(&mut self) {
        self.kill();
        if let Err(log) = self.serve() {
            panic!("Redis does not start again:\n{log}");
        }
    }

    /// It stands still: connections stay, nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// It goes on where it stood.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.server.as_ref().expect("a server that runs").id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Asks it something, as one who may do everything; what it says.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = self.client(arguments).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said.trim_end().to_owned()
    }

    fn client(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("redis-cli");
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).args(&self.client);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// What it has logged since it was started.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The time that it has computed for so far.
    pub fn cpu(&self) -> Duration {
        let pid = self.server.as_ref().expect("a server that runs").id();
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        // Its name, in brackets, may have anything in it; hundredths of seconds, of its own and in the system.
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
        let hundredths: u64 = fields.skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(hundredths * 10)
    }

    /// Its process, while it runs.
    pub fn process(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Starts the server; when it does not, its log.
    fn serve(&mut self) -> Result<(), String> {
        let log = self.folder.path().join("log");
        let output = File::create(&log).unwrap();
        let mut command = Command::new("redis-server");
        command.arg(self.folder.path().join("redis.conf")).args(&self.arguments);
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let server = command.spawn();
        let server = self
            .server
            .insert(server.expect("redis-server is not installed; `make test` installs what the tests need"));
        let mut ended = false;
        let ready = comes_true(|| {
            ended = server.try_wait().unwrap().is_some();
            ended || fs::read_to_string(&log).is_ok_and(|said| said.contains(self.ready))
        });
        if ready && !ended {
            return Ok(());
        }
        self.kill();
        Err(fs::read_to_string(log).unwrap_or_default())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A master, a replica of it, and three Sentinels that watch over them.
pub struct Sentinel {
    /// One of them is the master.
    pub servers: [Redis; 2],
    /// Who watches.
    pub sentinels: Vec<Redis>,
}

impl Sentinel {
    /// All of them, who know each other.
    pub fn start() -> Self {
        let master = Redis::start();
        let replica = Redis::with(&[&format!("replicaof 127.0.0.1 {}", master.port)]);
        let follows = || replica.cli(&["INFO", "replication"]).contains("master_link_status:up");
        assert!(comes_true(follows), "a replica that does not follow");
        let sentinels: Vec<_> = (0..3).map(|_| Redis::watching(master.port)).collect();
        let know_all = || {
            sentinels.iter().all(|sentinel| {
                let said = sentinel.cli(&["SENTINEL", "MASTER", MASTER]);
                let lines: Vec<_> = said.lines().collect();
                let is = |name, value| lines.windows(2).any(|pair| *pair == [name, value]);
                is("num-slaves", "1") && is("num-other-sentinels", "2") && is("flags", "master")
            })
        };
        assert!(comes_true(know_all), "Sentinels that do not find each other");
        Self { servers: [master, replica], sentinels }
    }

    /// Where the Sentinels are.
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Redis::url).collect()
    }

    /// Which of the servers most of them say is the master.
    pub fn master(&self) -> usize {
        let said = self.sentinels[0].cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
        let port = said.lines().nth(1).unwrap().parse::<u16>().unwrap();
        self.servers.iter().position(|server| server.port == port).unwrap()
    }

    /// Kills the master; the other one is it when this returns. Which it is.
    pub fn fail_over(&mut self) -> usize {
        let before = self.master();
        self.servers[before].kill();
        self.elected(1 - before)
    }

    /// Waits until this one is the master.
    pub fn elected(&self, after: usize) -> usize {
        let elected = || self.master() == after && self.servers[after].cli(&["ROLE"]).starts_with("master");
        assert!(comes_true(elected), "no new master");
        after
    }
}

/// Three masters, which share the slots. One that is away takes its own with it and no other's.
pub struct Cluster {
    /// The masters.
    pub servers: Vec<Redis>,
}

impl Cluster {
    /// All of them, who know each other.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these lines of configuration for each.
    pub fn with(lines: &[&str]) -> Self {
        Self::of(lines, Redis::with)
    }

    /// With TLS, certified by `pki`; to each other they show themselves as clients.
    pub fn with_tls(pki: &Pki, files: [&Files; 2]) -> Self {
        Self::of(&["tls-cluster yes"], |lines| Redis::with_tls(pki, files, lines))
    }

    fn of(lines: &[&str], start: impl Fn(&[&str]) -> Redis) -> Self {
        let mut settings =
            vec!["cluster-enabled yes", "cluster-node-timeout 2000", "cluster-require-full-coverage no"];
        settings.extend(lines);
        let servers: Vec<_> = (0..3).map(|_| start(&settings)).collect();
        let all: Vec<_> = servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        let mut arguments = vec!["--cluster", "create"];
        arguments.extend(all.iter().map(String::as_str));
        arguments.push("--cluster-yes");
        servers[0].cli(&arguments);
        let cluster = Self { servers };
        let agreed = || {
            cluster.servers.iter().all(|server| server.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
        };
        assert!(comes_true(agreed), "no cluster");
        cluster
    }

    /// The same, and a fourth that is a replica of the first.
    pub fn with_a_replica() -> Self {
        let lines = ["cluster-enabled yes", "cluster-node-timeout 2000", "cluster-require-full-coverage no"];
        let mut cluster = Self::start();
        let (replica, first) = (Redis::with(&lines), cluster.servers[0].port.to_string());
        assert_eq!(replica.cli(&["CLUSTER", "MEET", "127.0.0.1", &first]), "OK");
        let id = cluster.servers[0].cli(&["CLUSTER", "MYID"]);
        let follows = || replica.client(&["CLUSTER", "REPLICATE", &id]).output().unwrap().stdout == b"OK\n";
        assert!(comes_true(follows), "a replica that knows nobody");
        let in_step = || {
            let linked = replica.cli(&["INFO", "replication"]).contains("master_link_status:up");
            let known = |server: &Redis| server.cli(&["CLUSTER", "NODES"]).contains("slave");
            linked && cluster.servers.iter().all(known)
        };
        assert!(comes_true(in_step), "a replica that does not follow");
        cluster.servers.push(replica);
        cluster
    }

    /// Waits until the fourth is a master in the first one's place.
    pub fn elected(&self) {
        let is_master = || self.servers[3].cli(&["ROLE"]).starts_with("master");
        assert!(comes_true(is_master), "no new master");
    }

    /// Where they are.
    pub fn urls(&self) -> Vec<String> {
        self.servers.iter().map(Redis::url).collect()
    }

    /// The slot of a key.
    pub fn slot(&self, key: &str) -> u16 {
        self.running().cli(&["CLUSTER", "KEYSLOT", key]).parse().unwrap()
    }

    /// Which of the servers a slot is with.
    pub fn owner(&self, slot: u16) -> usize {
        let nodes = self.running().cli(&["CLUSTER", "NODES"]);
        let has = |range: &str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            first.parse().is_ok_and(|first| slot >= first) && last.parse().is_ok_and(|last| slot <= last)
        };
        let line = nodes.lines().find(|line| line.split(' ').skip(8).any(has)).expect("a slot of somebody");
        let port = line.split([':', '@']).nth(1).unwrap().parse::<u16>().unwrap();
        self.servers.iter().position(|server| server.port == port).unwrap()
    }

    /// A key of each server's, with this before it.
    pub fn keys(&self, prefix: &str) -> Vec<String> {
        let key_of = |server| {
            let mut keys = (0..).map(|number| format!("{prefix}{number}"));
            keys.find(|key| self.owner(self.slot(key)) == server).unwrap()
        };
        (0..self.servers.len()).map(key_of).collect()
    }

    /// Every key that there is.
    pub fn scan(&self) -> Vec<String> {
        let of = |server: &Redis| server.cli(&["--scan"]).lines().map(str::to_owned).collect::<Vec<_>>();
        self.servers.iter().flat_map(of).collect()
    }

    /// Gives a slot, with what is in it, to another server.
    pub fn move_slot(&self, slot: u16, to: usize) {
        let from = self.begin_to_move_slot(slot, to);
        let (source, target) = (&self.servers[from], &self.servers[to]);
        let slot = slot.to_string();
        let keys = source.cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "10000"]);
        let port = target.port.to_string();
        for key in keys.lines() {
            let said = source.cli(&["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
            assert!(matches!(said.as_str(), "OK" | "NOKEY"), "{said}");
        }
        let id = target.cli(&["CLUSTER", "MYID"]);
        let third = self.servers.iter().enumerate().filter(|(place, _)| *place != from && *place != to);
        let third = third.map(|(_, server)| server).filter(|server| server.server.is_some());
        // The others would hear of it sooner or later.
        for server in [target, source].into_iter().chain(third) {
            assert_eq!(server.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &id]), "OK");
        }
    }

    /// From now on what is not in the slot is asked for at the other server (`ASK`). Which had it.
    pub fn begin_to_move_slot(&self, slot: u16, to: usize) -> usize {
        let from = self.owner(slot);
        let (source, target) = (&self.servers[from], &self.servers[to]);
        let slot = slot.to_string();
        let ids = [source, target].map(|server| server.cli(&["CLUSTER", "MYID"]));
        assert_eq!(target.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids[0]]), "OK");
        assert_eq!(source.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids[1]]), "OK");
        from
    }

    fn running(&self) -> &Redis {
        self.servers.iter().find(|server| server.server.is_some()).expect("a server that runs")
    }
}

/// Below those that the system gives to connections, so that it is still free after a restart; with its neighbour of ten
/// thousand further, where a cluster talks.
fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut ports = (0..1000).map(|_| rand::random_range(10_000..22_000));
    ports.find(|port| is_free(*port) && is_free(*port + 10_000)).expect("a free port")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// For what other processes come to, which tell nobody.
fn comes_true(mut condition: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !condition() {
        if began.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

fn is_over(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_server_that_was_killed_starts_again_on_its_port_and_knows_nothing() {
    let mut redis = Redis::start();
    let url = redis.url();
    assert_eq!(redis.cli(&["SET", "kept", "this"]), "OK");
    assert_eq!(redis.cli(&["GET", "kept"]), "this");
    redis.pause();
    redis.resume();
    redis.restart();
    assert_eq!(redis.url(), url);
    assert_eq!(redis.cli(&["GET", "kept"]), "");
    assert!(redis.cpu() < Duration::from_mins(1));
    assert!(!redis.folder.path().join("dump.rdb").exists());
}

#[test]
fn nothing_is_left_of_a_server_that_nobody_needs_any_more() {
    let failed = thread::spawn(|| {
        let redis = Redis::start();
        redis.pause();
        std::panic::panic_any((redis.process().unwrap(), redis.folder.path().to_owned()));
    });
    let left = failed.join().unwrap_err();
    let (pid, folder) = *left.downcast::<(u32, std::path::PathBuf)>().unwrap();
    assert!(is_over(pid) && !folder.exists());
}

#[test]
fn sentinels_elect_and_clusters_move() {
    let mut watched = Sentinel::start();
    assert_eq!(watched.master(), 0);
    assert_eq!(watched.fail_over(), 1);
    let cluster = Cluster::start();
    let keys = cluster.keys("key");
    let slot = cluster.slot(&keys[0]);
    assert_eq!(cluster.servers[0].cli(&["SET", &keys[0], "this"]), "OK");
    cluster.move_slot(slot, 2);
    assert_eq!(cluster.servers[2].cli(&["GET", &keys[0]]), "this");
}
