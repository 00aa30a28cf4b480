//! `ridegate bench`: what a gateway can do on this machine. Codes are signed ahead; taps come over mTLS at a rate that does not
//! wait for answers; every verdict is compared with the one that is due; what a verdict costs is told in µs of CPU and in
//! R, one ECDSA P-256 verification measured beside it.

mod crowd;
mod deck;
mod drive;
mod mix;
mod plot;
mod reader;
mod report;
mod stand;
mod tally;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use self::{
    crowd::{Crowd, SHOWN_WITHIN},
    drive::Shown,
    reader::Reader,
    stand::{Gateway, Stand},
};
pub use self::{
    mix::{Class, Mix, Share, Weight},
    plot::plot,
    report::{Cost, Latency, Report, Step},
};
use crate::{
    machine,
    progress::{progress, say},
    scrape,
};

/// Taps that tell how many there must be for a whole measurement.
const TRIAL: usize = 2000;
/// Parts of the most that a gateway can answer, in which its latency is measured if no rate is asked for.
const PARTS: [f64; 6] = [0.1, 0.3, 0.5, 0.7, 0.8, 0.9];

/// What shall be measured.
#[derive(Debug)]
pub struct Plan<'a> {
    /// What is shown.
    pub mix: Mix,
    /// Riders whom the gateway knows when it begins.
    pub riders: usize,
    /// Connections of readers.
    pub connections: usize,
    /// Whether each connection is a station's, whose taps go over one stream; else each tap is a call.
    pub stream: bool,
    /// Taps at once, over all connections, where as much is asked as is answered.
    pub at_once: usize,
    /// How much is asked.
    pub load: Load,
    /// How long each measurement lasts, about.
    pub long: Duration,
    /// Makes the same riders and the same order of what they show again.
    pub seed: u64,
    /// An empty folder for everything that a gateway is started from; without one, one that goes at the end.
    pub folder: Option<&'a Path>,
    /// The `ridegate` that is measured. Without one, whatever somebody starts.
    pub gateway: Option<PathBuf>,
    /// A program with its arguments that starts it, such as `taskset -c 0`; empty for none.
    pub under: &'a [String],
    /// More configuration for it, in TOML.
    pub more: &'a str,
}

/// When the next tap comes.
#[derive(Debug, Clone, Copy)]
enum Pace {
    /// By itself, so many times a second.
    Rate(f64),
    /// When another is answered; so many are on their way.
    AtOnce(usize),
}

/// How much is asked of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Load {
    /// As much as is answered, and then parts of that.
    Parts,
    /// As much as is answered.
    Most,
    /// These many taps a second, one after the other.
    Rates(Vec<f64>),
}

/// Measures. Says on standard error how far it is.
pub async fn run(plan: &Plan<'_>) -> Result<Report> {
    let stand = Stand::build(plan)?;
    let gateway = stand.gateway(plan).await?;
    let (trust, authority) = (Arc::clone(&stand.trust), stand.authority.clone());
    let crowd =
        Crowd::gather(plan.riders, plan.seed, &plan.mix, trust, authority, stand.partners(plan)?).await?;
    let readers = stand.readers(plan).await?.into();
    let mut bench = Bench { plan, crowd, readers, gateway, shown: 0 };
    let report = bench.measure().await?;
    bench.gateway.stop().await?;
    Ok(report)
}

/// A gateway with its riders and readers.
struct Bench<'a> {
    plan: &'a Plan<'a>,
    crowd: Crowd,
    readers: Arc<[Reader]>,
    gateway: Gateway,
    /// How many decks were shown.
    shown: usize,
}

impl Bench<'_> {
    async fn measure(&mut self) -> Result<Report> {
        let plan = self.plan;
        say("every rider whom the gateway shall know taps once");
        // Few at once: whoever is told that it is too much stays unknown.
        let warm = self.step(plan.riders, &plan.mix.known(), Pace::AtOnce(cores()?)).await?;
        let mut steps = Vec::new();
        let rates = match &plan.load {
            Load::Rates(rates) => rates.clone(),
            Load::Most | Load::Parts => {
                let most = self.most().await?;
                let parts = if plan.load == Load::Most { &[][..] } else { &PARTS };
                let rates = parts.iter().map(|part| most.decided_per_second * part).collect();
                steps.push(most);
                rates
            }
        };
        for rate in rates {
            let step = self.step(taps(rate, plan.long), &plan.mix, Pace::Rate(rate)).await?;
            say(&step.line());
            steps.push(step);
        }
        Report::of(plan, warm, steps)
    }

    /// As much as is answered.
    async fn most(&mut self) -> Result<Step> {
        let (plan, pace) = (self.plan, Pace::AtOnce(self.plan.at_once));
        let trial = self.step(TRIAL, &plan.mix, pace).await?;
        let step = self.step(taps(trial.answered_per_second, plan.long), &plan.mix, pace).await?;
        say(&step.line());
        Ok(step)
    }

    /// Shows so many codes.
    async fn step(&mut self, count: usize, mix: &Mix, pace: Pace) -> Result<Step> {
        let (taps, since) = deck::make(count, mix, &mut self.crowd).await?;
        ensure!(
            since.elapsed() + self.plan.long <= SHOWN_WITHIN,
            "codes would run out before all are shown: ask for fewer --seconds, or for a lower --rate"
        );
        self.shown += 1;
        let name = format!("bench-{}", self.shown);
        let unit = machine::unit().context("R cannot be measured")?;
        let before = self.cost().await?;
        let bar = progress(taps.len(), "taps ");
        let shown = match pace {
            Pace::Rate(rate) => drive::at_rate(taps, &self.readers, rate, &name, bar).await?,
            Pace::AtOnce(at_once) => drive::at_most(taps, &self.readers, at_once, &name, bar).await?,
        };
        let after = self.cost().await?;
        let unit = f64::midpoint(unit, machine::unit().context("R cannot be measured")?);
        Ok(Step::of(pace, shown, before, after, unit))
    }

    /// What the gateway has used until now.
    async fn cost(&self) -> Result<Cost> {
        let metrics = scrape::metrics(self.gateway.operations).await.context("the gateway's metrics")?;
        let cost = Cost {
            cpu_seconds: metrics.sum("process_cpu_seconds_total", &[]),
            memory_bytes: metrics.sum("process_resident_memory_bytes", &[]),
        };
        // No process is without memory.
        ensure!(
            cost.memory_bytes > 0.0,
            "the gateway does not tell what it uses (process_… among its metrics)"
        );
        Ok(cost)
    }
}

/// Of this machine.
fn cores() -> Result<usize> {
    Ok(thread::available_parallelism()?.get())
}

/// So many taps in this time.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are below a million, times below an hour"
)]
fn taps(rate: f64, long: Duration) -> usize {
    ((rate * long.as_secs_f64()).ceil() as usize).max(1)
}
