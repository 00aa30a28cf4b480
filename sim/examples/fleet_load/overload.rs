//! Far too much at once: three times as many taps as one gateway can answer, and all validators of a city connecting in the
//! same second. Open loop: a tap is due when it is due, whether those before it were answered or not.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use h2::client::SendRequest;
use hdrhistogram::Histogram;
use prost::{Message, bytes::Bytes};
use ridegate_proto::validator::v1::{
    CheckResponse, Reason, validator_service_client::ValidatorServiceClient,
};
use ridegate_sim::{machine, scrape};
use tokio::{
    net::TcpStream,
    sync::{Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, interval_at, sleep, timeout},
};
use tonic::transport::{Channel, Endpoint};

use crate::{
    crowd::{Crowd, tap},
    load,
    stand::{Fleet, Stand},
};

const CHANNELS: usize = 64;
const TICK: Duration = Duration::from_millis(1);
/// More than this many unanswered are not sent: so many calls the connections take.
const OUTSTANDING: usize = CHANNELS * 120;
const CALM: Duration = Duration::from_secs(10);
const SHOWN: Duration = Duration::from_secs(1);
/// A caller waits so long for a connection, then tries again.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
/// For so long one who stands there taps.
const STANDS: Duration = Duration::from_secs(5);
/// Answers that a connection may hold before somebody reads them.
const ANSWERS_UNREAD: usize = 100_000;
/// Connections that are begun at once.
const BEGUN: usize = 2_000;

/// One answer.
struct Answer {
    took: Duration,
    /// Of that, until a connection had room for it.
    unsent: Duration,
    /// `None`: an RPC error.
    reason: Option<Reason>,
}

/// What was seen in an interval.
struct Seen {
    let_in: Histogram<u64>,
    shed: Histogram<u64>,
    unsent: Histogram<u64>,
    errors: u64,
    others: u64,
}

struct Load {
    /// Each message as it goes over the wire.
    messages: Vec<Bytes>,
    connections: Vec<SendRequest<Bytes>>,
    /// Taps so far.
    sent: AtomicUsize,
    /// Taps that were due and not sent, since too many were unanswered.
    dropped: AtomicU64,
    room: Semaphore,
}

pub async fn run(stand: &mut Stand, crowd: &Crowd, overloaded: Duration, connections: usize) {
    println!("\n## Phones that were seen before: one signature for each tap");
    too_many(stand, crowd, overloaded).await;
    println!("\n## Phones that were never seen: two signatures");
    stand.configured("[memory]\nauthorizations = \"4KB\"\n");
    too_many(stand, crowd, overloaded).await;
    println!("\n## Everybody connects at once");
    crowd_at_the_door(stand, crowd, connections).await;
}

/// Half of what it can do, three times as much as it can do for so long, and half again.
async fn too_many(stand: &mut Stand, crowd: &Crowd, overloaded: Duration) {
    stand.hurry(false);
    let most = most(&Fleet::start(stand, 1, None).await, crowd).await;
    stand.hurry(true);
    let fleet = Fleet::start(stand, 1, None).await;
    load::warm_up(&load::connect(&fleet).await, crowd, 1).await;
    println!("\nas much as it can do, beside the load on the same machine: {most:.0} verdicts/s");
    let load = Arc::new(Load {
        messages: crowd.codes().enumerate().map(message).collect(),
        connections: connections_to(fleet.addresses().0).await,
        sent: AtomicUsize::new(0),
        dropped: AtomicU64::new(0),
        room: Semaphore::new(OUTSTANDING),
    });
    let calm = most * 0.5;
    println!(
        "\n| offered | let in: verdicts/s, p50, p99 ms | OVERLOADED: /s, p50, p99 ms | p99 until sent | not sent | errors | others | metrics page ms | CPU | MB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    phase(&load, &fleet, "half", calm, CALM).await;
    phase(&load, &fleet, "three times", most * 3.0, overloaded).await;
    phase(&load, &fleet, "half again", calm, CALM).await;
}

/// Closed loop, everything known: twice, for the first time warms.
async fn most(fleet: &Fleet, crowd: &Crowd) -> f64 {
    let connections = load::connect(fleet).await;
    load::warm_up(&connections, crowd, 1).await;
    let mut most = 0.0;
    for case in [crate::crowd::Case::Cold, crate::crowd::Case::Warm] {
        let seen = connections.show(crowd.taps(case, 1)).await;
        most = seen.verdicts as f64 / seen.took.as_secs_f64();
    }
    most
}

/// So many taps a second for a while; a line for every second.
async fn phase(load: &Arc<Load>, fleet: &Fleet, name: &str, rate: f64, span: Duration) {
    let (tell, mut answers) = mpsc::unbounded_channel();
    let driver = tokio::spawn(Arc::clone(load).drive(rate, span, tell));
    let mut cpu = machine::cpu(fleet.id());
    let (mut seen, mut second) = (Seen::new(), interval_at(Instant::now() + SHOWN, SHOWN));
    loop {
        tokio::select! {
            answer = answers.recv() => match answer {
                Some(answer) => seen.add(&answer),
                None => break,
            },
            _ = second.tick() => {
                let asked = Instant::now();
                let page = timeout(Duration::from_secs(10), scrape::metrics(fleet.addresses().1)).await;
                let page = if matches!(page, Ok(Ok(_))) { millis(asked.elapsed()) } else { "none".into() };
                let dropped = load.dropped.swap(0, Relaxed);
                let used = machine::cpu(fleet.id());
                let busy = (used - cpu) / 10_000.0;
                cpu = used;
                println!("| {name} {rate:.0} | {} | {dropped} | {} | {} | {page} | {busy:.0} % | {} |", seen.shown(), seen.errors, seen.others, megabytes(fleet.id()));
                seen = Seen::new();
            }
        }
    }
    driver.await.unwrap();
}

impl Load {
    async fn drive(self: Arc<Self>, rate: f64, span: Duration, tell: mpsc::UnboundedSender<Answer>) {
        let (began, mut tick) = (Instant::now(), interval(TICK));
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut sent = 0_u64;
        while began.elapsed() < span {
            let due = tick.tick().await;
            let upto = due.duration_since(began).as_secs_f64() * rate;
            while (sent as f64) < upto {
                sent += 1;
                self.send(due, &tell);
            }
        }
        // Those that are under way are waited for by whoever hears of them.
    }

    /// Without a gRPC client, which costs as much as the verdict: what is measured is on the same machine.
    fn send(self: &Arc<Self>, due: Instant, tell: &mpsc::UnboundedSender<Answer>) {
        let Ok(room) = self.room.try_acquire() else {
            self.dropped.fetch_add(1, Relaxed);
            return;
        };
        room.forget();
        let number = self.sent.fetch_add(1, Relaxed);
        let connection = self.connections[number % self.connections.len()].clone();
        let message = self.messages[number % self.messages.len()].clone();
        let (load, tell) = (Arc::clone(self), tell.clone());
        tokio::spawn(async move {
            let connection = connection.ready().await;
            let unsent = due.elapsed();
            let reason = match connection {
                Ok(connection) => ask(connection, message).await,
                Err(_) => None,
            };
            load.room.add_permits(1);
            let _over = tell.send(Answer { took: due.elapsed(), unsent, reason });
        });
    }
}

/// A tap at one of many gates, framed.
fn message((number, code): (usize, &Vec<u8>)) -> Bytes {
    let mut request = tap(&format!("over-{number}"), code);
    request.device_id = format!("gate-{number}");
    let message = request.encode_to_vec();
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    framed.into()
}

async fn connections_to(address: &str) -> Vec<SendRequest<Bytes>> {
    let mut connections = Vec::new();
    for _ in 0..CHANNELS {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut client = h2::client::Builder::new();
        // Answers are small, and where cores are short nobody reads them for a while: that is no attack of the gateway's.
        client.data_frame_budget(ANSWERS_UNREAD * 256);
        let (requests, connection) = client.handshake(socket).await.unwrap();
        tokio::spawn(connection);
        connections.push(requests);
    }
    connections
}

/// `None`: an RPC error, or no answer.
async fn ask(mut connection: SendRequest<Bytes>, message: Bytes) -> Option<Reason> {
    let request = http::Request::post("http://ridegate/ridegate.validator.v1.ValidatorService/Check")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("x-ridegate-identity", "urn:ridegate:validator:bjsubway:station-1");
    let (response, mut body) = connection.send_request(request.body(()).ok()?, false).ok()?;
    body.send_data(message, true).ok()?;
    let mut response = response.await.ok()?.into_body();
    let mut framed = Vec::new();
    while let Some(data) = response.data().await {
        let data = data.ok()?;
        response.flow_control().release_capacity(data.len()).ok()?;
        framed.extend_from_slice(&data);
    }
    Some(CheckResponse::decode(framed.get(5..)?).ok()?.reason())
}

impl Seen {
    fn new() -> Self {
        let histogram = || Histogram::new_with_bounds(1, 600_000_000, 3).unwrap();
        Self { let_in: histogram(), shed: histogram(), unsent: histogram(), errors: 0, others: 0 }
    }

    fn add(&mut self, answer: &Answer) {
        self.unsent.saturating_record(u64::try_from(answer.unsent.as_micros()).unwrap_or(u64::MAX));
        let micros = u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX);
        match answer.reason {
            // A code that is shown again costs as much.
            Some(Reason::HealthOk | Reason::CodeReplayed) => self.let_in.saturating_record(micros),
            Some(Reason::Overloaded) => self.shed.saturating_record(micros),
            Some(_) => self.others += 1,
            None => self.errors += 1,
        }
    }

    fn shown(&self) -> String {
        let at =
            |of: &Histogram<u64>, quantile| millis(Duration::from_micros(of.value_at_quantile(quantile)));
        let both = |of: &Histogram<u64>| format!("{}, {}, {}", of.len(), at(of, 0.5), at(of, 0.99));
        format!("{} | {} | {}", both(&self.let_in), both(&self.shed), at(&self.unsent, 0.99))
    }
}

/// Everybody connects at the same moment, each with a handshake of its own, and says its first word, while those who are
/// in go on.
async fn crowd_at_the_door(stand: &mut Stand, crowd: &Crowd, connections: usize) {
    stand.guard(connections + 1);
    let fleet = Fleet::start(stand, 1, None).await;
    let endpoint = stand.caller(fleet.addresses().0);
    let endpoint = endpoint.connect_timeout(CONNECTED_WITHIN);
    let standing = Standing::connect(endpoint.clone(), crowd.codes().cloned().collect());
    let before = standing.taps().await.unwrap();
    println!("\none caller, 200 taps a second, before: {before}; memory {} MB", megabytes(fleet.id()));

    let (began, cpu) = (Instant::now(), machine::cpu(fleet.id()));
    let room = Arc::new(Semaphore::new(BEGUN));
    let mut coming: JoinSet<(Channel, Duration, u32)> = JoinSet::new();
    for _ in 0..connections {
        let (endpoint, room) = (endpoint.clone(), Arc::clone(&room));
        coming.spawn(async move { come_in(&endpoint, &room, began).await });
    }
    let during = standing.taps();
    let (mut inside, mut times, mut again) = (Vec::new(), Vec::new(), 0);
    while let Some(come) = coming.join_next().await {
        let (channel, took, tries) = come.unwrap();
        inside.push(channel);
        times.push(took);
        again += tries - 1;
        if inside.len() % 1_000 == 0 {
            println!(
                "{} are in after {:.1} s; memory {} MB",
                inside.len(),
                began.elapsed().as_secs_f64(),
                megabytes(fleet.id())
            );
        }
    }
    times.sort_unstable();
    let cost = (machine::cpu(fleet.id()) - cpu) / connections as f64;
    println!("meanwhile: {}", during.await.unwrap());
    println!(
        "{connections} connections: all in after {:.1} s, half after {:.1} s; {again} tries more; {cost:.0} µs of the gateway's CPU each",
        times.last().unwrap().as_secs_f64(),
        times[times.len() / 2].as_secs_f64()
    );
    let after = standing.taps().await.unwrap();
    println!("afterwards: {after}; memory {} MB", megabytes(fleet.id()));
}

async fn come_in(endpoint: &Endpoint, room: &Semaphore, began: Instant) -> (Channel, Duration, u32) {
    let mut tries = 1;
    loop {
        let turn = room.acquire().await.unwrap();
        let connected = endpoint.connect().await;
        drop(turn);
        if let Ok(channel) = connected {
            return (channel, began.elapsed(), tries);
        }
        tries += 1;
        sleep(Duration::from_millis(200)).await;
    }
}

/// A caller with a thread of its own: what it sees is the gateway's doing, and not that of the others beside it.
struct Standing(mpsc::UnboundedSender<oneshot::Sender<String>>);

impl Standing {
    fn connect(endpoint: Endpoint, codes: Vec<Vec<u8>>) -> Self {
        let (ask, mut asked) = mpsc::unbounded_channel::<oneshot::Sender<String>>();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let channel = endpoint.connect().await.unwrap();
                while let Some(tell) = asked.recv().await {
                    let _nobody_waits = tell.send(taps_of(&channel, &codes, STANDS).await);
                }
            });
        });
        Self(ask)
    }

    /// Taps for a while, from now on.
    fn taps(&self) -> oneshot::Receiver<String> {
        let (tell, told) = oneshot::channel();
        self.0.send(tell).unwrap();
        told
    }
}

/// 200 a second, open loop.
async fn taps_of(channel: &Channel, codes: &[Vec<u8>], span: Duration) -> String {
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let (began, mut tick) = (Instant::now(), interval(Duration::from_millis(5)));
    let mut asked = JoinSet::new();
    while began.elapsed() < span {
        let due = tick.tick().await;
        let turn = TURN.fetch_add(1, Relaxed);
        let mut request = tap(&format!("stand-{turn}"), &codes[turn % codes.len()]);
        request.device_id = format!("gate-{turn}");
        let mut client = ValidatorServiceClient::new(channel.clone());
        asked.spawn(async move { (client.check(request).await.is_ok(), due.elapsed()) });
    }
    let mut times = Histogram::<u64>::new_with_bounds(1, 600_000_000, 3).unwrap();
    let mut errors = 0;
    for (answered, took) in asked.join_all().await {
        times.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        errors += u64::from(!answered);
    }
    let at = |quantile| millis(Duration::from_micros(times.value_at_quantile(quantile)));
    format!("{} answers, {errors} errors, p50 {} p99 {} max {} ms", times.len(), at(0.5), at(0.99), at(1.0))
}

fn millis(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}

fn megabytes(id: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    resident.and_then(|kb| kb.trim().trim_end_matches(" kB").trim().parse::<u64>().ok()).unwrap_or(0) / 1024
}
