//! The binary as a process.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// The longest that it may take to serve, or to end.
const PATIENCE: Duration = Duration::from_mins(2);

pub fn ridegate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ridegate"));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A gateway in a process of its own.
pub struct Process {
    child: Child,
    /// Where it listens: address and port.
    pub address: String,
    /// Where its metrics and probes are.
    pub operations: String,
    pub endpoint: String,
    /// Reads all it logs, so that it never waits for us.
    log: Option<JoinHandle<String>>,
    /// It has said that it is stopping.
    heard: Arc<AtomicBool>,
}

impl Process {
    pub fn start(config: &Path) -> Self {
        Self::start_logging("info", config)
    }

    pub fn start_logging(level: &str, config: &Path) -> Self {
        Self::listen_to(spawn(level, FROZEN, config)).expect("it ended before it served")
    }

    /// With a clock that begins at noon and runs.
    pub fn start_running(config: &Path) -> Self {
        Self::listen_to(spawn("info", RUNNING, config)).expect("it ended before it served")
    }

    /// Another binary than the one under test, or another clock: whatever this command starts. What it said if it ended
    /// before it served.
    #[allow(dead_code, reason = "the soak's, which is a test of its own")]
    pub fn run(mut command: Command) -> Result<Self, String> {
        Self::listen_to(command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn listen_to(mut child: Child) -> Result<Self, String> {
        let log = BufReader::new(child.stderr.take().unwrap());
        let (serving, address) = mpsc::channel();
        let heard = Arc::new(AtomicBool::new(false));
        let noted = Arc::clone(&heard);
        let log = thread::spawn(move || {
            let mut said = String::new();
            for line in log.lines().map_while(Result::ok) {
                if let Some(at) = field(&line, "operations") {
                    let _ = serving.send(at);
                } else if let Some(at) = field(&line, "address").filter(|_| line.contains("serving")) {
                    assert!(said.contains("INSECURE"), "it says so loudly");
                    let _ = serving.send(at);
                }
                noted.fetch_or(line.contains("stopping"), Relaxed);
                said.push_str(&line);
                said.push('\n');
            }
            said
        });
        let said = || address.recv_timeout(PATIENCE);
        let (Ok(operations), Ok(address)) = (said(), said()) else {
            let _ended_before = child.kill();
            child.wait().unwrap();
            return Err(log.join().unwrap());
        };
        let endpoint = format!("http://{address}");
        Ok(Self { child, address, operations, endpoint, log: Some(log), heard })
    }

    /// Its number in the system.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// kill −9: nothing is flushed, nothing is closed.
    pub fn kill(self) {
        drop(self);
    }

    pub fn terminate(mut self) -> (Option<i32>, String) {
        tell(&self.child);
        self.end()
    }

    fn end(&mut self) -> (Option<i32>, String) {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "told to stop, it does not end");
            thread::sleep(Duration::from_millis(2));
        };
        (status.code(), self.log.take().unwrap().join().unwrap())
    }

    /// SIGTERM, and when that was heard another.
    pub fn terminate_twice(mut self) -> (Option<i32>, String) {
        tell(&self.child);
        while !self.heard.load(Relaxed) {
            thread::yield_now();
        }
        tell(&self.child);
        self.end()
    }

    /// Starts, is told to stop as soon as it has said this, and ends as it may.
    pub fn terminate_at(word: &str, config: &Path) -> (Option<i32>, String) {
        let mut child = spawn("info", FROZEN, config);
        let mut told = false;
        let mut said = String::new();
        for line in BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok) {
            if !told && line.contains(word) {
                tell(&child);
                told = true;
            }
            said.push_str(&line);
            said.push('\n');
        }
        (child.wait().unwrap().code(), said)
    }
}

const RUNNING: &str = "2022-06-15T12:00:00+08:00";
const FROZEN: &str = "2022-06-15T12:00:00+08:00,frozen";

fn spawn(level: &str, clock: &str, config: &Path) -> Child {
    ridegate()
        .env("RUST_LOG", level)
        .args(["serve", "--insecure-dev", "--clock", clock, "--config"])
        .arg(config)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// SIGTERM.
fn tell(child: &Child) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
}

impl Drop for Process {
    /// None is left behind by a test that fails.
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _known = self.child.wait();
    }
}

/// A field of a line of the log, in text or JSON.
pub fn field(line: &str, name: &str) -> Option<String> {
    if let Ok(line) = serde_json::from_str::<serde_json::Value>(line) {
        return line[name].as_str().map(ToOwned::to_owned);
    }
    let (_, rest) = line.split_once(&format!(" {name}="))?;
    rest.split_whitespace().next().map(ToOwned::to_owned)
}
