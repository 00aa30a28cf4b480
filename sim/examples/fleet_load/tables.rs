//! What was measured, for people and for programs.

use std::{collections::BTreeMap, fmt};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::{
    crowd::Case,
    load::Seen,
    stand::{Counts, Fleet},
};

const SAMPLES: usize = 300;
const SCRIPTS: [&str; 3] = ["command evalsha", "command eval", "command fcall"];

/// One case: everything is per verdict, times in µs.
#[derive(Debug, Serialize)]
pub struct Row {
    case: Case,
    verdicts: u64,
    verdicts_per_second: f64,
    said: BTreeMap<String, u64>,
    gateway_us: f64,
    redis_us: f64,
    postgres_us: f64,
    /// One ECDSA P-256 verification.
    r_us: f64,
    gateway_r: f64,
    redis_scripts: f64,
    redis_commands: f64,
    /// Questions to everybody behind the gateway, by name of upstream and call; commands of Redis by name.
    counts: BTreeMap<String, f64>,
    p50_us: u64,
    p99_us: u64,
}

impl Row {
    pub fn new(case: Case, seen: Seen, counts: &Counts, unit: f64) -> Self {
        let each = seen.verdicts as f64;
        let scripts = SCRIPTS
            .iter()
            .map(|name| counts.0.get(*name).copied().unwrap_or(0.0))
            .fold(0.0, |sum, one| sum + one);
        let gateway_us = counts.of("cpu gateway") / each;
        Self {
            case,
            verdicts: seen.verdicts,
            verdicts_per_second: each / seen.took.as_secs_f64(),
            gateway_us,
            redis_us: counts.of("cpu redis") / each,
            postgres_us: counts.of("cpu postgres") / each,
            r_us: unit,
            gateway_r: gateway_us / unit,
            redis_scripts: scripts / each,
            redis_commands: (counts.of("command ") - scripts) / each,
            counts: counts.0.iter().map(|(name, number)| (name.clone(), number / each)).collect(),
            p50_us: seen.latency.value_at_quantile(0.5),
            p99_us: seen.latency.value_at_quantile(0.99),
            said: seen.said,
        }
    }

    /// Questions to one of those behind the gateway. The change log is followed whatever comes.
    fn asked(&self, upstream: &str) -> f64 {
        let asked = |name: &str| name.starts_with(upstream) && name != "registry changes";
        self.counts.iter().filter(|(name, _)| asked(name)).fold(0.0, |sum, (_, one)| sum + one)
    }
}

/// What a fleet of this size did.
#[derive(Debug, Serialize)]
pub struct Run {
    pub replicas: usize,
    pub redis: bool,
    pub registry: &'static str,
    pub rows: Vec<Row>,
    pub kept: Option<Kept>,
    /// When nobody tapped, a second.
    pub idle: Counts,
}

/// What Redis keeps.
#[derive(Debug, Serialize)]
pub struct Kept {
    /// Bytes for every verdict of all cases: memory in use before and after.
    bytes_per_verdict: f64,
    keys: f64,
    /// By kind of key: how many of the sample, bytes each (`MEMORY USAGE`), life left in seconds.
    kinds: BTreeMap<String, (usize, f64, f64)>,
}

impl Kept {
    pub async fn of(fleet: &Fleet, before: f64, rows: &[Row]) -> Self {
        let redis = fleet.redis().unwrap();
        let number =
            |said: &str| said.trim_start_matches(':').lines().next().and_then(|one| one.parse::<f64>().ok());
        let mut kinds = BTreeMap::<String, Vec<(f64, f64)>>::new();
        for _ in 0..SAMPLES {
            let said = redis.ask("RANDOMKEY").await.unwrap();
            let Some(key) = said.lines().nth(1).filter(|key| key.starts_with("rg")) else { break };
            let bytes = number(&redis.ask(&format!("MEMORY USAGE {key}")).await.unwrap());
            let left = number(&redis.ask(&format!("PTTL {key}")).await.unwrap());
            if let Some((bytes, left)) = bytes.zip(left) {
                kinds.entry(kind(key)).or_default().push((bytes, left / 1000.0));
            }
        }
        let verdicts: u64 = rows.iter().map(|row| row.verdicts).sum();
        let mean = |of: &[(f64, f64)], which: fn(&(f64, f64)) -> f64| {
            of.iter().map(which).sum::<f64>() / of.len() as f64
        };
        Self {
            bytes_per_verdict: (fleet.redis_memory().await.unwrap() - before) / verdicts as f64,
            keys: number(&redis.ask("DBSIZE").await.unwrap()).unwrap_or(0.0),
            kinds: kinds
                .into_iter()
                .map(|(kind, of)| (kind, (of.len(), mean(&of, |one| one.0), mean(&of, |one| one.1))))
                .collect(),
        }
    }
}

/// What is left of a key without names: `a`, `c`, `{quota}`.
fn kind(key: &str) -> String {
    let parts = key.split(':').skip(2).filter(|part| part.len() < 12);
    parts.collect::<Vec<_>>().join(":")
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let redis = if self.redis { "one Redis" } else { "no Redis" };
        let of = if self.replicas == 1 { "1 replica" } else { &format!("{} replicas", self.replicas) };
        writeln!(f, "{of}, {redis}, {}", self.registry)?;
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header([
            "per verdict",
            "gateway µs",
            "÷ R",
            "R µs",
            "Redis µs",
            "scripts",
            "commands in them",
            "Redis awaited",
            "registry asked",
            "authority asked",
            "PostgreSQL µs",
            "p50 ms",
            "p99 ms",
            "verdicts/s",
        ]);
        for row in &self.rows {
            let millis = |micros: u64| format!("{:.1}", micros as f64 / 1000.0);
            table.add_row([
                row.case.name().to_owned(),
                format!("{:.0}", row.gateway_us),
                format!("{:.2}", row.gateway_r),
                format!("{:.0}", row.r_us),
                format!("{:.1}", row.redis_us),
                format!("{:.2}", row.redis_scripts),
                format!("{:.2}", row.redis_commands),
                format!("{:.2}", row.asked("redis ")),
                format!("{:.3}", row.asked("registry ")),
                format!("{:.3}", row.asked("authority ")),
                format!("{:.0}", row.postgres_us),
                millis(row.p50_us),
                millis(row.p99_us),
                format!("{:.0}", row.verdicts_per_second),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(f, "{table}")?;
        for row in self.rows.iter().filter(|row| row.said.keys().any(|said| said != "HEALTH_OK")) {
            writeln!(f, "{}: {:?}", row.case.name(), row.said)?;
        }
        if let Some(kept) = &self.kept {
            write!(f, "Redis keeps {:.0} bytes a verdict, {:.0} keys:", kept.bytes_per_verdict, kept.keys)?;
            for (kind, (count, bytes, left)) in &kept.kinds {
                write!(f, " {kind} ({count} of {SAMPLES} looked at) {bytes:.0} bytes for {left:.0} s more;")?;
            }
            writeln!(f)?;
        }
        write!(
            f,
            "idle, a second: gateways {:.0} µs of CPU, Redis {:.0} µs, {:.1} looks at the change log, {:.1} commands",
            self.idle.of("cpu gateway"),
            self.idle.of("cpu redis"),
            self.idle.of("registry changes"),
            self.idle.of("command "),
        )
    }
}
