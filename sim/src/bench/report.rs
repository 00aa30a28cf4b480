//! What was measured, as people read it and as programs do.

use std::{collections::BTreeMap, fmt};

use anyhow::Result;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use hdrhistogram::Histogram;
use serde::Serialize;

use super::{Class, Mix, Pace, Plan, Shown, cores};

/// What a process has used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// Of all its threads, since it began.
    pub cpu_seconds: f64,
    /// Resident now.
    pub memory_bytes: f64,
}

/// Milliseconds from the moment a tap was due to its answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the taps took no longer.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    #[serde(rename = "p99.9")]
    pub p999: f64,
    /// The longest.
    pub max: f64,
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// Taps a second that came by themselves; absent where a tap came as soon as another was answered.
    pub offered_per_second: Option<f64>,
    /// Answers a second, of any kind.
    pub answered_per_second: f64,
    /// Those of them that were decided.
    pub decided_per_second: f64,
    /// All taps.
    pub taps: u64,
    /// ms.
    pub latency_ms: Latency,
    /// µs of the gateway's CPU for a verdict that was decided, everything else that it did meanwhile included.
    pub cpu_us_per_verdict: f64,
    /// The same in R.
    pub cpu_r_per_verdict: f64,
    /// µs of CPU of one ECDSA P-256 verification, before and after.
    pub r_us: f64,
    /// Resident memory of the gateway at the end.
    pub memory_bytes: f64,
    /// The longest that a tap began late, by the callers' own fault, ms.
    pub late_ms: f64,
    /// How often each class was answered what.
    pub answers: Vec<Answers>,
    /// INSPECT because there was no time or no budget to decide.
    pub undecided: u64,
    /// Calls without an answer.
    pub failed: u64,
    /// Verdicts that were not the one that was due.
    pub wrong: u64,
    /// The first of those.
    pub told: Vec<String>,
}

/// How often a class was answered so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answers {
    /// What was shown.
    pub shown: Class,
    /// Verdict and reason, or the status of the call.
    pub said: String,
    /// How often.
    pub count: u64,
}

/// Everything that was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was shown.
    pub mix: Mix,
    /// Riders whom the gateway knew.
    pub riders: usize,
    /// Connections.
    pub connections: usize,
    /// Whether all taps of a connection went over one stream; else each was a call.
    pub stream: bool,
    /// Taps at once, where there is no rate.
    pub at_once: usize,
    /// Makes the same again.
    pub seed: u64,
    /// Cores that the gateway, its callers and everybody behind it shared.
    pub cores: usize,
    /// Everybody's first tap, before the others.
    pub first_taps: Step,
    /// In order.
    pub steps: Vec<Step>,
}

#[expect(clippy::cast_precision_loss, reason = "counts and µs of one measurement are far below 2^52")]
impl Step {
    pub(super) fn of(pace: Pace, shown: Shown, before: Cost, after: Cost, unit: f64) -> Self {
        let Shown { taps, tally, took, late } = shown;
        let (taps, seconds) = (taps as u64, took.as_secs_f64().max(1e-6));
        let decided = taps.saturating_sub(tally.undecided + tally.failed);
        let cpu = (after.cpu_seconds - before.cpu_seconds) * 1e6 / decided.max(1) as f64;
        let answers = tally.answers.into_iter();
        Self {
            offered_per_second: match pace {
                Pace::Rate(rate) => Some(rate),
                Pace::AtOnce(_) => None,
            },
            answered_per_second: taps as f64 / seconds,
            decided_per_second: decided as f64 / seconds,
            taps,
            latency_ms: Latency::of(&tally.latency),
            cpu_us_per_verdict: cpu,
            cpu_r_per_verdict: cpu / unit,
            r_us: unit,
            memory_bytes: after.memory_bytes,
            late_ms: late.as_secs_f64() * 1e3,
            answers: answers.map(|((shown, said), count)| Answers { shown, said, count }).collect(),
            undecided: tally.undecided,
            failed: tally.failed,
            wrong: tally.wrong,
            told: tally.told,
        }
    }

    /// Whether every tap was answered, never wrongly, and some were decided.
    pub fn is_right(&self) -> bool {
        self.wrong == 0 && self.failed == 0 && self.undecided < self.taps
    }

    /// In a line, for who waits.
    pub(super) fn line(&self) -> String {
        let Latency { p50, p99, .. } = self.latency_ms;
        let offered = self
            .offered_per_second
            .map_or_else(|| "as many as are answered".to_owned(), |rate| format!("{rate:.0}/s"));
        format!("{offered}: {:.0} answers/s, p50 {p50:.2} ms, p99 {p99:.2} ms", self.answered_per_second)
    }

    fn cells(&self) -> [String; 13] {
        let Latency { p50, p90, p99, p999, max } = self.latency_ms;
        let ms = |time: f64| format!("{time:.2}");
        [
            self.offered_per_second.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.0}")),
            format!("{:.0}", self.answered_per_second),
            ms(p50),
            ms(p90),
            ms(p99),
            ms(p999),
            ms(max),
            format!("{:.0}", self.cpu_us_per_verdict),
            format!("{:.2}", self.cpu_r_per_verdict),
            format!("{:.0}", self.memory_bytes / 1e6),
            self.undecided.to_string(),
            self.failed.to_string(),
            self.wrong.to_string(),
        ]
    }
}

const HEADER: [&str; 13] = [
    "taps/s",
    "answers/s",
    "p50 ms",
    "p90",
    "p99",
    "p99.9",
    "longest",
    "CPU µs",
    "CPU ÷ R",
    "MB",
    "undecided",
    "failed",
    "wrong",
];

#[expect(clippy::cast_precision_loss, reason = "µs of one measurement are far below 2^52")]
impl Latency {
    fn of(micros: &Histogram<u64>) -> Self {
        let ms = |quantile| micros.value_at_quantile(quantile) as f64 / 1e3;
        Self { p50: ms(0.5), p90: ms(0.9), p99: ms(0.99), p999: ms(0.999), max: micros.max() as f64 / 1e3 }
    }
}

impl Report {
    pub(super) fn of(plan: &Plan<'_>, first_taps: Step, steps: Vec<Step>) -> Result<Self> {
        Ok(Self {
            mix: plan.mix.clone(),
            riders: plan.riders,
            connections: plan.connections,
            stream: plan.stream,
            at_once: plan.at_once,
            seed: plan.seed,
            cores: cores()?,
            first_taps,
            steps,
        })
    }

    /// Whether every tap was answered, and never wrongly.
    pub fn is_right(&self) -> bool {
        self.all().all(Step::is_right)
    }

    fn all(&self) -> impl Iterator<Item = &Step> {
        std::iter::once(&self.first_taps).chain(&self.steps)
    }

    fn answers(&self) -> Table {
        let mut sums: BTreeMap<(Class, &str), u64> = BTreeMap::new();
        for Answers { shown, said, count } in self.steps.iter().flat_map(|step| &step.answers) {
            *sums.entry((*shown, said)).or_default() += count;
        }
        let mut table = table(["shown", "answered", "times"]);
        for ((shown, said), count) in sums {
            table.add_row([shown.name(), said, &count.to_string()]);
        }
        right(&mut table, 2);
        table
    }
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table
}

/// Numbers, from this column on.
fn right(table: &mut Table, from: usize) {
    for column in table.column_iter_mut().skip(from) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mix, riders, connections, stream, at_once, cores, seed, .. } = self;
        let calls = if *stream { "with a stream each" } else { "a call for each tap" };
        let partners: Vec<_> =
            mix.partners.iter().map(|one| format!("{}={}", one.partner, one.weight)).collect();
        writeln!(
            f,
            "{riders} known riders, {connections} connections, {calls}, seed {seed}; {cores} cores for the gateway, its callers and all behind it"
        )?;
        writeln!(
            f,
            "shown: {} first taps, {} new phones, {} replayed, {} forged, {} expired, {} throttled, {} unrecognized; {}\n",
            mix.fresh,
            mix.phones,
            mix.replays,
            mix.forged,
            mix.expired,
            mix.throttled,
            mix.unrecognized,
            partners.join(" ")
        )?;
        let mut loads = table(HEADER);
        for step in &self.steps {
            loads.add_row(step.cells());
        }
        right(&mut loads, 0);
        writeln!(f, "{loads}")?;
        writeln!(
            f,
            "– : {at_once} taps at once. Times are from when a tap was due; CPU and memory are the gateway's own.\n"
        )?;
        writeln!(f, "{}", self.answers())?;
        let units = self.steps.iter().map(|step| step.r_us);
        let (least, most) =
            units.fold((f64::MAX, 0.0_f64), |(least, most), unit| (least.min(unit), most.max(unit)));
        writeln!(f, "R, one ECDSA P-256 verification by aws-lc-rs: {least:.0} to {most:.0} µs of CPU")?;
        let late = self.steps.iter().map(|step| step.late_ms).fold(0.0, f64::max);
        writeln!(f, "callers began a tap at most {late:.1} ms late; that is in the times above")?;
        for told in self.all().flat_map(|step| &step.told) {
            writeln!(f, "WRONG  {told}")?;
        }
        let (wrong, failed) =
            self.all().fold((0, 0), |(wrong, failed), step| (wrong + step.wrong, failed + step.failed));
        let undecided: u64 = self.all().map(|step| step.undecided).sum();
        if (wrong, failed) != (0, 0) {
            write!(f, "{wrong} verdicts were WRONG, {failed} calls had no answer")
        } else if !self.is_right() {
            f.write_str("where every tap was left undecided, nothing was measured")
        } else if undecided > 0 {
            write!(
                f,
                "every verdict was the one that was due, but for {undecided} taps that were not decided"
            )
        } else {
            f.write_str("every verdict was the one that was due")
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use ridegate_proto::validator::v1::{CheckResponse, Reason, Verdict};

    use super::*;
    use crate::{
        bench::{
            deck::Due,
            tally::{Standing, Tally},
        },
        plan::enters,
        riders::Rider,
    };

    fn step(rate: Option<f64>, reason: Reason) -> Step {
        let mut tally = Tally::new().unwrap();
        let answer = CheckResponse {
            verdict: Verdict::Allow.into(),
            reason: reason.into(),
            ..CheckResponse::default()
        };
        let due = Due::Verdict(enters(Rider::Healthy));
        for ms in [1, 2, 3, 50] {
            tally.note(
                Class::Known,
                &due,
                Standing::default(),
                &Ok(answer.clone()),
                Duration::from_millis(ms),
            );
        }
        let shown = Shown { taps: 4, tally, took: Duration::from_secs(2), late: Duration::from_millis(1) };
        let cost = |cpu_seconds, memory_bytes| Cost { cpu_seconds, memory_bytes };
        let pace = rate.map_or(Pace::AtOnce(8), Pace::Rate);
        Step::of(pace, shown, cost(1.0, 5e7), cost(1.0006, 6e7), 100.0)
    }

    /// As measured at these rates.
    pub(in crate::bench) fn report(rates: &[Option<f64>]) -> Report {
        let partners = vec!["yikatong".parse().unwrap()];
        Report {
            mix: Mix { partners, ..Mix::default() },
            riders: 4,
            connections: 2,
            stream: false,
            at_once: 8,
            seed: 1,
            cores: 2,
            first_taps: step(None, Reason::HealthOk),
            steps: rates.iter().map(|rate| step(*rate, Reason::HealthOk)).collect(),
        }
    }

    #[test]
    fn cost_is_shared_by_the_verdicts_and_told_in_units() {
        let step = step(Some(2.0), Reason::HealthOk);
        assert!(
            (step.cpu_us_per_verdict - 150.0).abs() < 1e-6 && (step.cpu_r_per_verdict - 1.5).abs() < 1e-6
        );
        assert!((step.answered_per_second - 2.0).abs() < 1e-9);
        let Latency { p50, max, .. } = step.latency_ms;
        assert!((p50 - 2.0).abs() < 0.01 && (max - 50.0).abs() < 0.1, "{:?}", step.latency_ms);
    }

    #[test]
    fn a_report_is_right_only_if_every_step_is() {
        let mut report = report(&[None, Some(10.0)]);
        assert!(report.is_right());
        assert!(report.to_string().ends_with("every verdict was the one that was due"), "{report}");
        report.steps.push(step(Some(20.0), Reason::Exempt));
        assert!(!report.is_right());
        let shown = report.to_string();
        assert!(shown.contains("WRONG  known: expected ALLOW HEALTH_OK, got ALLOW EXEMPT"), "{shown}");
        assert!(shown.ends_with("4 verdicts were WRONG, 0 calls had no answer"), "{shown}");
    }

    #[test]
    fn a_report_says_what_was_not_decided_and_of_nothing_that_it_was_right() {
        let mut report = report(&[Some(10.0)]);
        report.steps.push(Step { undecided: 1, ..step(Some(20.0), Reason::HealthOk) });
        assert!(report.is_right());
        assert!(report.to_string().ends_with("was due, but for 1 taps that were not decided"), "{report}");
        report.steps.push(Step { undecided: 4, ..step(Some(30.0), Reason::HealthOk) });
        assert!(!report.is_right());
        assert!(report.to_string().ends_with("nothing was measured"), "{report}");
    }

    #[test]
    fn what_programs_read_has_names_with_units() {
        let json = serde_json::to_value(report(&[Some(10.0)])).unwrap();
        assert_eq!(json["steps"][0]["offered_per_second"], 10.0);
        assert!(json["steps"][0]["latency_ms"]["p99.9"].is_number());
        assert_eq!(json["steps"][0]["answers"][0]["shown"], "known");
    }
}
