//! A redis-server of one's own: on a free loopback port, nothing written to disk, gone with who started it.

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use rand::RngExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

const PROGRAM: &str = "redis-server";
/// Below the ports that the system gives to connections: none of those takes the port while Redis is down.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
const PATIENCE: Duration = Duration::from_secs(10);
const TRIES: usize = 10;

/// A Redis that runs, or was killed.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    folder: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Redis {
    /// Whether the program is on this machine.
    pub fn is_installed() -> bool {
        let version =
            Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        !matches!(version, Err(error) if error.kind() == ErrorKind::NotFound)
    }

    /// Starts one that works in this folder, which is made.
    pub async fn start(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        for _ in 0..TRIES {
            let redis = Self { port: free_port()?, folder: folder.to_owned(), child: Mutex::default() };
            if redis.run().await? {
                return Ok(redis);
            }
        }
        bail!("{PROGRAM} found no free port")
    }

    /// Where it is, as a gateway is told.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its number in the system; `None` while it does not run.
    pub fn id(&self) -> Option<u32> {
        lock(&self.child).as_ref().map(Child::id)
    }

    /// Ends it as a crash does. When this returns it is gone.
    pub fn kill(&self) {
        if let Some(mut child) = lock(&self.child).take() {
            let _ended_before = child.kill();
            let _known = child.wait();
        }
    }

    /// Starts it again, on the same port, empty.
    pub async fn start_again(&self) -> Result<()> {
        ensure!(self.run().await?, "{PROGRAM} could not be started again: its port was taken");
        Ok(())
    }

    /// What it says to one command without spaces in its words, such as `INFO commandstats`.
    pub async fn ask(&self, command: &str) -> Result<String> {
        let mut line = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        line.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).await?;
        let mut said = Vec::new();
        line.read_to_end(&mut said).await?;
        Ok(String::from_utf8_lossy(&said).into_owned())
    }

    /// Starts it and waits until it answers; tells whether it does. It does not if somebody else took the port.
    async fn run(&self) -> Result<bool> {
        let child = Command::new(PROGRAM)
            .args(["--bind", "127.0.0.1", "--port", &self.port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--dir")
            .arg(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C on the terminal is ours to hear; it is told by us.
            .process_group(0)
            .spawn()
            .context(PROGRAM)?;
        *lock(&self.child) = Some(child);
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let answers = self.ask("PING").await.is_ok_and(|said| said.starts_with("+PONG"));
            if lock(&self.child).as_mut().is_none_or(|child| !matches!(child.try_wait(), Ok(None))) {
                return Ok(false);
            }
            if answers {
                return Ok(true);
            }
            sleep(Duration::from_millis(5)).await;
        }
        bail!("{PROGRAM} does not answer")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> Result<u16> {
    let mut rng = rand::rng();
    let mut ports = (0..1000).map(|_| rng.random_range(PORTS));
    ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok()).context("no free port")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_killed_and_comes_again_empty_and_goes_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let redis = Redis::start(folder.path()).await.unwrap();
        assert!(redis.ask("SET a 1").await.unwrap().starts_with("+OK"));
        assert!(redis.ask("GET a").await.unwrap().starts_with("$1\r\n1"));

        redis.kill();
        assert!(redis.ask("PING").await.is_err());
        redis.start_again().await.unwrap();
        assert!(redis.ask("GET a").await.unwrap().starts_with("$-1"));
        assert!(folder.path().read_dir().unwrap().next().is_none(), "nothing is written");

        let id = redis.id().unwrap();
        drop(redis);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
