//! Watches a long run: memory, processor time, connections and latency of every interval, in a file of rows.

use std::{
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use crate::{
    judge::Row,
    load::Shared,
    plan::{Part, REPLICAS},
    report::percentile,
    stand::lock,
};

/// Longest that a replica may take to tell its metrics.
const METRICS: Duration = Duration::from_secs(3);

/// Where the rows are written.
pub fn file() -> PathBuf {
    let given = std::env::var_os("RIDEGATE_SOAK_CSV").map(PathBuf::from);
    given.unwrap_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("soak.csv"))
}

pub struct Watcher {
    over: watch::Sender<bool>,
    rows: JoinHandle<Vec<Row>>,
}

impl Watcher {
    /// Writes a row every ten seconds, or more often if the run is short.
    pub fn begin(load: Shared, file: PathBuf, lasts: Duration) -> Self {
        let every = (lasts / 12).clamp(Duration::from_secs(1), Duration::from_secs(10));
        let (over, ends) = watch::channel(false);
        Self { over, rows: tokio::spawn(watch(load, file, every, ends)) }
    }

    pub async fn end(self) -> Vec<Row> {
        self.over.send_replace(true);
        self.rows.await.unwrap()
    }
}

async fn watch(load: Shared, path: PathBuf, every: Duration, mut ends: watch::Receiver<bool>) -> Vec<Row> {
    let mut file = File::create(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    writeln!(file, "{}", header()).unwrap();
    let (mut rows, mut seen, mut closed) = (vec![], 0, 0);
    let mut number = 0;
    loop {
        number += 1;
        tokio::select! {
            () = load.wait_until(every * number) => {}
            _ = ends.wait_for(|over| *over) => break,
        }
        let before = rows.last().map_or(Duration::ZERO, |row: &Row| row.at);
        let row = row(&load, &mut seen, &mut closed, before).await;
        writeln!(file, "{}", line(&row)).unwrap();
        file.flush().unwrap();
        if number.is_multiple_of(6) {
            tell(&row);
        }
        rows.push(row);
    }
    eprintln!("{}: {} rows", path.display(), rows.len());
    rows
}

async fn row(load: &Shared, seen: &mut usize, closed: &mut u64, before: Duration) -> Row {
    let at = load.now();
    let mut row = Row { at, lasted: at - before, ..Row::default() };
    let mut times = {
        let records = lock(&load.records);
        let new = &records.samples[*seen..];
        *seen = records.samples.len();
        row.verdicts = new.len() as u64;
        row.failed = new.iter().filter(|sample| sample.failed).count() as u64;
        row.degraded = new.iter().filter(|sample| sample.degraded.is_some()).count() as u64;
        new.iter().map(|sample| sample.answered - sample.asked).collect::<Vec<_>>()
    };
    [row.p50, row.p99, row.p999] = [500, 990, 999].map(|of| percentile(&mut times, of));
    let all = load.closed.load(Relaxed);
    row.closed = all - *closed;
    *closed = all;
    for number in 0..usize::from(REPLICAS) {
        let process = load.stand.process(number);
        let (memory, processor) = process.map_or_else(Default::default, |(pid, _)| of_process(pid));
        row.memory.push(memory);
        row.processor.push(processor);
        if let Some((_, operations)) = process {
            row.connections += timeout(METRICS, connections(operations)).await.ok().flatten().unwrap_or(0);
        }
    }
    let shared = Arc::clone(load);
    let redis = tokio::task::spawn_blocking(move || {
        let redis = lock(&shared.stand.redis);
        redis.process()?;
        let said = redis.cli(&["INFO", "memory"]);
        said.lines().find_map(|line| line.strip_prefix("used_memory:"))?.trim().parse().ok()
    });
    row.redis = redis.await.unwrap().unwrap_or(0);
    let history = load.history();
    row.killed = history
        .spans
        .iter()
        .filter(|span| span.from > before && span.from <= at)
        .map(|span| name(span.part))
        .collect();
    row
}

fn name(part: Part) -> String {
    match part {
        Part::Replica(number) => format!("replica {number}"),
        Part::Redis => "Redis".to_owned(),
        Part::Postgres => "PostgreSQL".to_owned(),
        Part::Authority => "authority".to_owned(),
    }
}

/// Memory that is resident, in bytes, and processor time so far; nothing of a process that has just ended.
fn of_process(pid: u32) -> (u64, Duration) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Its name, in brackets, may have anything in it; hundredths of seconds, of its own and in the system.
    let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' ').skip(11).take(2));
    let hundredths = fields.into_iter().flatten().filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    (kib.unwrap_or(0) * 1024, Duration::from_millis(hundredths * 10))
}

/// Callers' connections that a replica has.
async fn connections(operations: SocketAddr) -> Option<u64> {
    let mut socket = TcpStream::connect(operations).await.ok()?;
    let ask = "GET /metrics HTTP/1.1\r\nhost: ridegate\r\nconnection: close\r\n\r\n";
    socket.write_all(ask.as_bytes()).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    let open = answer.lines().filter(|line| line.starts_with("ridegate_connections{"));
    Some(open.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum())
}

fn header() -> String {
    let of_replicas = |what: &str| {
        let columns: Vec<_> = (0..REPLICAS).map(|number| format!("{what}_{number}")).collect();
        columns.join(",")
    };
    format!(
        "seconds,verdicts,lookup_failed,degraded,closed_connections,p50_us,p99_us,p999_us,{},{},redis_kib,connections,killed",
        of_replicas("resident_kib"),
        of_replicas("processor_ms")
    )
}

fn line(row: &Row) -> String {
    let memory: Vec<_> = row.memory.iter().map(|bytes| (bytes / 1024).to_string()).collect();
    let processor: Vec<_> = row.processor.iter().map(|time| time.as_millis().to_string()).collect();
    format!(
        "{:.0},{},{},{},{},{},{},{},{},{},{},{},{}",
        row.at.as_secs_f64(),
        row.verdicts,
        row.failed,
        row.degraded,
        row.closed,
        row.p50.as_micros(),
        row.p99.as_micros(),
        row.p999.as_micros(),
        memory.join(","),
        processor.join(","),
        row.redis / 1024,
        row.connections,
        row.killed.join(" and ")
    )
}

/// A line of progress.
fn tell(row: &Row) {
    let memory: Vec<_> = row.memory.iter().map(|bytes| format!("{}", bytes / 1_000_000)).collect();
    eprintln!(
        "{:>5.1} min  {:>5.0} verdicts/s  p50 {:?}  p99 {:?}  {} MB  Redis {} MB  {} connections",
        row.at.as_secs_f64() / 60.0,
        row.verdicts as f64 / row.lasted.as_secs_f64(),
        row.p50,
        row.p99,
        memory.join("/"),
        row.redis / 1_000_000,
        row.connections
    );
}
