//! `ridegate bench`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use ridegate_sim::bench::{self, Load, Mix, Plan, Report, Share, Weight};

use crate::{EXIT_USAGE, demo::is_free, fail, signal::Signals, tell};

/// A gateway lets so many wait for each core, however long it takes.
const CALLS_A_CORE: usize = 4;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Taps a second, which come whether or not others are answered; several, one after the other, with commas.
    /// Without this: as many as are answered, and then parts of that.
    #[arg(long, value_name = "TAPS", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: Vec<u32>,
    /// Only as many as are answered.
    #[arg(long, conflicts_with = "rate")]
    max: bool,
    /// How long each measurement lasts.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=300))]
    seconds: u64,
    /// Connections of readers.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    connections: u16,
    /// All taps of a connection go over one stream, as a station computer sends those of its gates; without this each is a call.
    #[arg(long)]
    stream: bool,
    /// Taps at once, over all connections, where there is no rate. Without this, four for each core: more are too much,
    /// and a gateway says so.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    at_once: Option<u16>,
    /// Riders whom the gateway knows when it begins.
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    riders: u32,
    /// Whose riders they are, and how much each partner weighs.
    #[arg(long, value_name = "PARTNER=WEIGHT", value_delimiter = ',', default_value = "yikatong")]
    partners: Vec<Weight>,
    /// Riders of whom the gateway knows nothing: link, facts and two signatures are new to it.
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    fresh: Share,
    /// Known riders with a new phone: two signatures are.
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    new_phones: Share,
    /// Codes that were used before, at another gate.
    #[arg(long, value_name = "SHARE", default_value = "1%")]
    replays: Share,
    /// Codes that another phone has signed.
    #[arg(long, value_name = "SHARE", default_value = "1%")]
    forged: Share,
    /// Codes that ran out.
    #[arg(long, value_name = "SHARE", default_value = "1%")]
    expired: Share,
    /// Codes of another partner, which may show one a second.
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    throttled: Share,
    /// Codes of nobody's.
    #[arg(long, value_name = "SHARE", default_value = "0%")]
    unrecognized: Share,
    /// Makes the same riders and the same order of what they show again.
    #[arg(long, default_value_t = 2022)]
    seed: u64,
    /// Measure a gateway that you start yourself: the command is shown, and waited for.
    #[arg(long, requires = "folder")]
    running: bool,
    /// The `ridegate` to measure, such as a build for production; without this, the program that measures.
    #[arg(long, value_name = "PROGRAM", conflicts_with = "running")]
    gateway: Option<PathBuf>,
    /// A program with its arguments that starts the gateway, such as 'taskset -c 0'.
    #[arg(long, value_name = "COMMAND", value_delimiter = ' ', conflicts_with = "running")]
    under: Vec<String>,
    /// An empty folder for certificates, partners and configuration; without this, one that goes at the end.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// More configuration for the gateway, in TOML. Sections that the folder's `ridegate.toml` has already cannot be begun again.
    #[arg(long, value_name = "TOML", default_value = "")]
    config: String,
    /// Write everything that was measured here.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the latency of each rate here, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mix = mix(arguments);
    if let Some(why) = unusable(arguments).or_else(|| mix.check().err().map(|why| why.to_string())) {
        return fail(EXIT_USAGE, &why);
    }
    match measure(arguments, mix) {
        Ok(report) if report.is_right() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => fail(1, &format!("{error:#}")),
    }
}

fn unusable(arguments: &Arguments) -> Option<String> {
    if let Some(folder) = arguments.folder.as_deref().filter(|folder| !is_free(folder)) {
        return Some(format!("--folder: {} is not empty; name one that is, or a new one", folder.display()));
    }
    if arguments.replays.part() > 0.0 && arguments.connections < 2 {
        return Some(
            "--replays: a code is shown again at another gate; name two --connections at least".to_owned(),
        );
    }
    (arguments.plot.is_some() && arguments.max)
        .then(|| "--plot: draws the latency of rates, and --max has none".to_owned())
}

#[tokio::main]
async fn measure(arguments: &Arguments, mix: Mix) -> Result<Report> {
    let mut signals = Signals::new()?;
    // Each connection is a descriptor here, and one of the gateway's.
    rlimit::increase_nofile_limit(u64::MAX)?;
    let plan = plan(arguments, mix)?;
    let report = tokio::select! {
        report = bench::run(&plan) => report?,
        () = signals.next() => bail!("told to stop before all was measured"),
    };
    tell(&report);
    if let Some(file) = &arguments.json {
        write(file, &(serde_json::to_string_pretty(&report)? + "\n"))?;
    }
    if let Some(file) = &arguments.plot {
        write(file, &bench::plot(&report)?)?;
    }
    Ok(report)
}

fn mix(arguments: &Arguments) -> Mix {
    Mix {
        partners: arguments.partners.clone(),
        fresh: arguments.fresh,
        phones: arguments.new_phones,
        replays: arguments.replays,
        forged: arguments.forged,
        expired: arguments.expired,
        throttled: arguments.throttled,
        unrecognized: arguments.unrecognized,
    }
}

fn plan(arguments: &Arguments, mix: Mix) -> Result<Plan<'_>> {
    let cores = std::thread::available_parallelism()?.get();
    let rates = || arguments.rate.iter().copied().map(f64::from).collect();
    let gateway = match &arguments.gateway {
        Some(program) => Some(program.clone()),
        None if arguments.running => None,
        None => Some(std::env::current_exe()?),
    };
    Ok(Plan {
        mix,
        riders: usize::try_from(arguments.riders)?,
        connections: arguments.connections.into(),
        stream: arguments.stream,
        at_once: arguments.at_once.map_or(CALLS_A_CORE * cores, usize::from),
        load: match (arguments.max, arguments.rate.is_empty()) {
            (true, _) => Load::Most,
            (false, true) => Load::Parts,
            (false, false) => Load::Rates(rates()),
        },
        long: Duration::from_secs(arguments.seconds),
        seed: arguments.seed,
        folder: arguments.folder.as_deref(),
        gateway,
        under: &arguments.under,
        more: &arguments.config,
    })
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("{}: cannot be written", file.display()))
}
