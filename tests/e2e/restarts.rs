//! Restarts under load: two gateways, one of which is always there while the other goes and comes back.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use ridegate_proto::validator::v1::validator_service_client::ValidatorServiceClient;
use ridegate_sim::{
    pki::{Files, Pki},
    riders::Rider,
};
use serde_json::{Value, json};
use tokio::time::{Instant, interval, sleep};
use tonic::{Request, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    foreign::{python, root},
    house::{GATE, House, request, said},
    postgres::free_port,
    process::{Process, field, text},
};

const RESTARTS: usize = 50;
/// Clients of each kind at once, and how often each taps.
const CLIENTS: usize = 4;
const PACE: Duration = Duration::from_millis(20);
const CODES: u32 = 1100;

/// Two gateways that serve the same riders, and what their callers need.
struct Pair {
    house: House,
    folders: [PathBuf; 2],
    processes: [Option<Process>; 2],
    /// Verdicts of those that have stopped, by their own count.
    reached: u64,
    gate: Files,
}

impl Pair {
    async fn start() -> Self {
        let mut house = House::guarded_listening("notice = \"100ms\"\n", "").await;
        for account in 1..=8 {
            house.settle(account, Rider::Healthy).await;
        }
        let gate = house.pki.as_ref().unwrap().caller("gate", GATE).unwrap();
        house.close().await;
        let folders = ["a", "b"].map(|name| house.folder.path().join(name));
        for folder in &folders {
            copy(house.folder.path(), folder);
        }
        let mut pair = Self { house, folders, processes: [None, None], reached: 0, gate };
        for which in [0, 1] {
            // Where it is found again: nobody who takes any port takes it meanwhile.
            let address = format!("127.0.0.1:{}", free_port());
            let file = pair.folders[which].join("ridegate.toml");
            let config = fs::read_to_string(&file).unwrap();
            fs::write(&file, config.replacen("127.0.0.1:0", &address, 1)).unwrap();
            pair.processes[which] = Some(pair.serve(which));
        }
        pair
    }

    fn serve(&self, which: usize) -> Process {
        Process::start_logging("info", &self.folders[which].join("ridegate.toml"))
    }

    fn addresses(&self) -> [String; 2] {
        [0, 1].map(|which: usize| self.processes[which].as_ref().unwrap().address.clone())
    }

    fn channels(&self) -> [Channel; 2] {
        self.addresses().map(|address| {
            let ca = self.house.pki.as_ref().map(Pki::ca).unwrap();
            self.gate.endpoint(&format!("https://{address}"), &ca).unwrap().connect_lazy()
        })
    }

    /// SIGTERM, and again from the start until it is ready.
    async fn restart(&mut self, which: usize, health: &Channel) {
        let process = self.processes[which].take().unwrap();
        let (status, log) = tokio::task::spawn_blocking(|| process.terminate()).await.unwrap();
        assert_eq!(status, Some(0), "{log}");
        self.reached += verdicts(&log);
        self.processes[which] = Some(self.serve(which));
        let mut health = HealthClient::new(health.clone());
        for _ in 0..10_000 {
            let ready = HealthCheckRequest { service: "readiness".into() };
            if health.check(Request::new(ready)).await.is_ok_and(|answer| answer.into_inner().status == 1) {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("never ready again");
    }

    /// Four threads of Python that do the same until there is a file `stop`.
    fn foreign_client(&self) -> Child {
        let folder = self.house.folder.path();
        let codes: Vec<_> = (5..=8).flat_map(|account| self.codes(account)).map(hex::encode).collect();
        let told = json!({
            "addresses": self.addresses(),
            "ca": self.house.pki.as_ref().unwrap().ca(),
            "certificate": self.gate.certificate,
            "key": self.gate.key,
            "codes": codes,
            "stop_file": folder.join("stop"),
            "pace_ms": PACE.as_millis(),
        });
        let file = folder.join("load.json");
        fs::write(&file, told.to_string()).unwrap();
        let program = root().join("tests/python/load.py");
        Command::new(python()).arg(program).arg(file).stdout(Stdio::piped()).spawn().unwrap()
    }

    fn codes(&self, account: u64) -> Vec<Vec<u8>> {
        let phone = self.house.phone(account);
        (0..CODES).map(|ago| phone.code(self.house.now() - ago).unwrap()).collect()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path() != *to) {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let is_ours = path.file_name().is_some_and(|name| name != "a" && name != "b");
        match path.is_dir() {
            true if is_ours => copy(&path, &target),
            true => {}
            false => drop(fs::copy(&path, &target).unwrap()),
        }
    }
}

/// What a gateway says at its end of how many verdicts it reached.
fn verdicts(log: &str) -> u64 {
    let last = log.lines().find_map(|line| field(line, "verdicts"));
    last.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("no count in {log}"))
}

/// What one client saw.
#[derive(Debug, Default)]
struct Seen {
    taps: u32,
    repeated: u32,
    worst: Duration,
}

/// Taps one code after another. What is not answered is repeated under the same id, at the other gateway and back.
async fn ride(channels: [Channel; 2], name: String, codes: Vec<Vec<u8>>, over: Arc<AtomicBool>) -> Seen {
    let (mut seen, mut pace, mut here) = (Seen::default(), interval(PACE), 0);
    for code in codes {
        pace.tick().await;
        if over.load(Relaxed) {
            break;
        }
        let began = Instant::now();
        let tap = request(&format!("{name}-{}", seen.taps), code);
        let answer = loop {
            let mut tap = Request::new(tap.clone());
            tap.set_timeout(Duration::from_secs(5));
            match ValidatorServiceClient::new(channels[here].clone()).check(tap).await {
                Ok(answer) => break answer.into_inner(),
                Err(status) => {
                    assert!(began.elapsed() < Duration::from_secs(30), "lost: {status:?}");
                    seen.repeated += 1;
                    here = 1 - here;
                }
            }
        };
        assert_eq!(said(&answer), "ALLOW HEALTH_OK", "tap {} of {name}", seen.taps);
        seen.taps += 1;
        seen.worst = seen.worst.max(began.elapsed());
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_restarts_lose_no_verdict() {
    let mut pair = Pair::start().await;
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let codes = pair.codes(client as u64 + 1);
            tokio::spawn(ride(pair.channels(), format!("client-{client}"), codes, Arc::clone(&over)))
        })
        .collect();
    let foreign = pair.foreign_client();
    let health = pair.channels();
    for turn in 0..RESTARTS {
        pair.restart(turn % 2, &health[turn % 2]).await;
    }
    over.store(true, Relaxed);
    fs::write(pair.house.folder.path().join("stop"), "").unwrap();
    let mut taps = 0;
    for client in clients {
        let seen = client.await.unwrap();
        println!("{seen:?}");
        assert!(seen.taps > 0);
        taps += seen.taps;
    }
    println!("{taps} taps, {RESTARTS} restarts");
    let foreign = foreign.wait_with_output().unwrap();
    println!("{}", text(&foreign.stdout));
    assert!(foreign.status.success(), "no tap of the foreign client is lost, none is answered wrongly");
    for process in pair.processes.into_iter().flatten() {
        let (status, log) = process.terminate();
        assert_eq!(status, Some(0));
        pair.reached += verdicts(&log);
    }
    // A verdict that was reached and did not get to its gate would have been asked for again: the gateways would have
    // reached more than the clients got.
    let foreign: Value = serde_json::from_str(text(&foreign.stdout).lines().last().unwrap()).unwrap();
    assert_eq!(
        pair.reached,
        u64::from(taps) + foreign["answered"].as_u64().unwrap(),
        "none was lost on the way"
    );
}
