//! A PostgreSQL of a test's own: Debian's, in a folder that goes with it, as the user that it insists on.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use ridegate_sim::pki::Files;
use tempfile::TempDir;

/// Who owns every database; may do everything.
const USER: &str = "ridegate";
/// Small, because a dozen of them run at once. `fsync` stays on: what is committed must be there after `kill`.
const SETTINGS: [&str; 10] = [
    "shared_buffers=16MB",
    "max_connections=60",
    "fsync=on",
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    // Files, so that a kill leaves nothing in /dev/shm.
    "dynamic_shared_memory_type=mmap",
    "max_wal_size=64MB",
    "min_wal_size=32MB",
    "autovacuum_naptime=5s",
    "log_min_messages=warning",
];
/// A busy machine recovers a killed cluster slowly.
const PATIENCE: Duration = Duration::from_mins(1);

/// A cluster. Stopped, and its folder removed, when it is dropped.
pub struct Postgres {
    programs: Programs,
    folder: TempDir,
    port: u16,
    password: String,
    server: Option<Child>,
    databases: AtomicU32,
}

impl Postgres {
    /// A new cluster, which answers.
    pub fn start() -> Self {
        let programs = Programs::find();
        let template = programs.template();
        let folder = programs.folder();
        copy(&template.join("data"), &folder.path().join("data"));
        let password = fs::read_to_string(template.join("password")).unwrap();
        let mut postgres =
            Self { programs, folder, port: 0, password, server: None, databases: AtomicU32::new(0) };
        let mut said = String::new();
        for _ in 0..5 {
            // Somebody else may take the port before the server does.
            postgres.port = free_port();
            match postgres.serve() {
                Ok(()) => return postgres,
                Err(log) => said = log,
            }
        }
        panic!("PostgreSQL does not start:\n{said}");
    }

    /// A database that no other call has made, and its URL.
    pub fn create_database(&self) -> String {
        let name = format!("ridegate_{}", self.databases.fetch_add(1, Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// How a client finds this database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The same without the password, as a gateway's configuration has it.
    pub fn address(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// The password, that a gateway has in a file.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Runs SQL; returns the rows, one a line, columns between bars. `database` is a name or a URL.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.client("psql", &["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"], database, Some(sql))
    }

    /// Everything that a database holds, as SQL in plain text: for searching.
    pub fn dump(&self, database: &str) -> String {
        self.client("pg_dump", &["--inserts"], database, None)
    }

    /// From now on it also takes connections with TLS, and shows this certificate.
    pub fn secure(&self, shown: &Files) {
        let data = self.folder.path().join("data");
        let owner = fs::metadata(&data).unwrap();
        for (from, to) in [(&shown.certificate, "server.crt"), (&shown.key, "server.key")] {
            let to = data.join(to);
            fs::copy(from, &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
            chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        self.sql("postgres", "ALTER SYSTEM SET ssl = on");
        self.sql("postgres", "SELECT pg_reload_conf()");
        let is_on = || self.sql("postgres", "SHOW ssl").trim() == "on";
        assert!(comes_true(is_on), "PostgreSQL does not take this certificate");
    }

    /// Where everything of it lies.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// As a power cut: the server and every process of its ends at once, nothing is flushed, nothing is closed.
    pub fn kill(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        // Stopped first, so that it makes no more of them.
        signal("STOP", &[server.id()]);
        let mut all = children(server.id());
        all.push(server.id());
        signal("KILL", &all);
        server.wait().unwrap();
        assert!(comes_true(|| all.iter().all(|pid| is_over(*pid))), "processes that cannot be killed");
    }

    /// A server on the same folder and the same port; what still ran is killed.
    pub fn restart(&mut self) {
        self.kill();
        if let Err(log) = self.serve() {
            panic!("PostgreSQL does not start again:\n{log}");
        }
    }

    /// The server's processes.
    pub fn processes(&self) -> Vec<u32> {
        let Some(server) = &self.server else { return vec![] };
        let mut all = children(server.id());
        all.push(server.id());
        all
    }

    /// Starts the server; when it does not, its log.
    fn serve(&mut self) -> Result<(), String> {
        let log = self.folder.path().join("log");
        let data = self.folder.path().join("data");
        let mut command = self.programs.as_server("postgres");
        command.arg("-D").arg(&data).args(["-p", &self.port.to_string()]);
        command.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        let output = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let mut server = command.spawn().unwrap();
        let pid = server.id();
        let mut ended = false;
        let answers = comes_true(|| {
            ended = server.try_wait().unwrap().is_some();
            ended || says_ready(&data, pid)
        });
        self.server = Some(server);
        if answers && !ended {
            return Ok(());
        }
        self.stop();
        Err(fs::read_to_string(log).unwrap_or_default())
    }

    /// Immediate shutdown: it takes its processes with it and gives its shared memory back.
    fn stop(&mut self) {
        let Some(server) = &mut self.server else { return };
        signal("QUIT", &[server.id()]);
        if comes_true(|| server.try_wait().is_ok_and(|status| status.is_some())) {
            self.server = None;
        } else {
            self.kill();
        }
    }

    fn client(&self, program: &str, arguments: &[&str], database: &str, sql: Option<&str>) -> String {
        let name = database.rsplit('/').next().unwrap();
        let mut command = Command::new(self.programs.folder.join(program));
        command.args(arguments).args(["--host=127.0.0.1", "--username", USER, "--dbname", name]);
        command.args(["--port", &self.port.to_string()]).env("PGPASSWORD", &self.password);
        command.args(sql.into_iter().flat_map(|sql| ["--command", sql])).stdin(Stdio::null());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let killed = self.server.is_none();
        self.stop();
        if let Some(memory) = shared_memory(&self.folder.path().join("data")).filter(|_| killed) {
            // What a server that was killed left in the system.
            let _gone = Command::new("ipcrm").args(["-m", &memory]).stderr(Stdio::null()).status();
        }
    }
}

/// Debian's programs, and whom they run as.
struct Programs {
    folder: PathBuf,
    /// The server refuses to be root.
    root: bool,
}

impl Programs {
    fn find() -> Self {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let folders = versions.map(|version| version.path().join("bin"));
        let newest = folders.filter(|folder| folder.join("initdb").exists()).max_by_key(|folder| {
            let version = folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
            version.and_then(|version| version.parse::<u32>().ok())
        });
        let folder = newest.expect(
            "PostgreSQL is not installed: no /usr/lib/postgresql/*/bin/initdb; `make test` installs what the tests need",
        );
        Self { folder, root: fs::metadata("/proc/self").unwrap().uid() == 0 }
    }

    /// One of them, as the user `postgres` if we are root. Its process is the program's own: nothing stands between.
    fn as_server(&self, program: &str) -> Command {
        let program = self.folder.join(program);
        if !self.root {
            return Command::new(program);
        }
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--"]).arg(program);
        // It may not be allowed to stand where we do.
        command.current_dir("/");
        command
    }

    /// A new folder through which the server may pass.
    fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        if self.root {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        }
        folder
    }

    fn give(&self, path: &Path) {
        if self.root {
            run(Command::new("chown").arg("postgres:").arg(path));
        }
    }

    /// An empty cluster to copy, made once: that takes a second, a copy a tenth.
    fn template(&self) -> PathBuf {
        let version = run(Command::new(self.folder.join("initdb")).arg("--version"));
        let version = version.split_whitespace().nth(2).expect("initdb (PostgreSQL) VERSION");
        let whose = if self.root { "-root" } else { "" };
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let template = kept.join(format!("postgres-{version}{whose}"));
        let lock = File::create(kept.join("postgres.lock")).unwrap();
        lock.lock().unwrap();
        if !template.exists() {
            self.make_template(&template);
        }
        template
    }

    fn make_template(&self, template: &Path) {
        let folder = self.folder();
        let (data, password) = (folder.path().join("data"), folder.path().join("password"));
        fs::create_dir(&data).unwrap();
        fs::write(&password, format!("{:032x}", rand::random::<u128>())).unwrap();
        self.give(&data);
        self.give(&password);
        let mut command = self.as_server("initdb");
        command.arg("--pgdata").arg(&data).arg("--pwfile").arg(&password);
        command.args(["--username", USER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"]);
        run(&mut command);
        let part = template.with_extension("part");
        let _left_behind = fs::remove_dir_all(&part);
        copy(folder.path(), &part);
        fs::rename(part, template).unwrap();
    }
}

/// With owners and modes.
fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Below those that the system gives to connections, so that it is still free after a restart.
pub fn free_port() -> u16 {
    let mut ports = (0..1000).map(|_| rand::random_range(10_000..32_000));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// The eighth line of its own file says how far the server is, the first which server.
fn says_ready(data: &Path, pid: u32) -> bool {
    let file = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = file.lines();
    lines.next() == Some(&pid.to_string()) && lines.nth(6).is_some_and(|status| status.trim() == "ready")
}

/// The segment of shared memory that a server which was killed has left behind.
fn shared_memory(data: &Path) -> Option<String> {
    let file = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    file.lines().nth(6)?.split_whitespace().nth(1).map(ToOwned::to_owned)
}

/// State and parent of a process.
fn process(pid: u32) -> Option<(String, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may have anything in it.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.to_owned(), fields.next()?.parse().ok()?))
}

fn children(of: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| process(*pid).is_some_and(|(_, parent)| parent == of)).collect()
}

/// It is not there, or only waits to be buried.
fn is_over(pid: u32) -> bool {
    process(pid).is_none_or(|(state, _)| matches!(state.as_str(), "Z" | "X"))
}

fn signal(name: &str, pids: &[u32]) {
    let pids = pids.iter().map(ToString::to_string);
    // One may have ended by itself.
    let _told = Command::new("kill").args(["-s", name]).args(pids).stderr(Stdio::null()).status().unwrap();
}

fn comes_true(mut condition: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !condition() {
        if began.elapsed() > PATIENCE {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

#[test]
fn what_was_committed_before_a_power_cut_is_there_after_it() {
    let mut postgres = Postgres::start();
    let url = postgres.create_database();
    assert_ne!(postgres.create_database(), url);
    assert!(url.starts_with("postgres://ridegate:") && url.contains("@127.0.0.1:"));
    let name = url.rsplit('/').next().unwrap();
    assert_eq!(postgres.url(name), url);
    postgres.sql(&url, "CREATE TABLE kept (what text); INSERT INTO kept VALUES ('this')");
    let before = postgres.processes();
    assert!(before.len() > 3, "{before:?}");
    postgres.kill();
    assert!(before.iter().all(|pid| is_over(*pid)), "none of {before:?}");
    assert_eq!(postgres.processes(), Vec::<u32>::new());
    postgres.restart();
    assert_eq!(postgres.sql(&url, "SELECT what FROM kept"), "this\n");
    assert_eq!(postgres.sql("postgres", "SHOW fsync"), "on\n");
    assert!(postgres.dump(&url).contains("INSERT INTO public.kept VALUES ('this');"));
    // Also on a server that runs.
    postgres.restart();
    assert_eq!(postgres.sql(name, "SELECT what FROM kept"), "this\n");
}

#[test]
fn nothing_is_left_of_a_cluster_that_nobody_needs_any_more() {
    let postgres = Postgres::start();
    let (all, folder) = (postgres.processes(), postgres.folder.path().to_owned());
    drop(postgres);
    assert!(comes_true(|| all.iter().all(|pid| is_over(*pid))), "none of {all:?}");
    assert!(!folder.exists());

    // Nor of one whose test fails.
    let (tell, hear) = std::sync::mpsc::channel();
    let failed = thread::spawn(move || {
        let mut postgres = Postgres::start();
        tell.send((postgres.processes(), postgres.folder.path().to_owned())).unwrap();
        postgres.sql("postgres", "SELECT 1");
        postgres.kill();
        let memory = shared_memory(&postgres.folder.path().join("data"));
        tell.send((vec![memory.unwrap().parse().unwrap()], PathBuf::new())).unwrap();
        panic!("as a test that fails");
    });
    assert!(failed.join().is_err());
    let ((all, folder), (memory, _)) = (hear.recv().unwrap(), hear.recv().unwrap());
    assert!(comes_true(|| all.iter().all(|pid| is_over(*pid))), "none of {all:?}");
    assert!(!folder.exists());
    let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let is_it = |line: &str| line.split_whitespace().nth(1) == Some(&memory[0].to_string());
    assert!(!segments.lines().any(is_it), "{segments}");
}
