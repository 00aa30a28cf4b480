//! `ridegate demo`.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use ridegate_sim::{
    city::{Blueprint, City, START},
    demo::{self, Options},
    redis::Redis,
    report::Report,
    stay,
};

use crate::{EXIT_USAGE, fail, signal::Signals, tell};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Taps in all.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    taps: u32,
    /// Taps a second; 0: as fast as it goes.
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    rate: u32,
    /// Makes the same riders and the same stories again.
    #[arg(long, default_value_t = 2022)]
    seed: u64,
    /// Gateways, on one registry. The gates are spread over them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    replicas: u8,
    /// Start a private redis-server, which the replicas share; and look afterwards at whether they are as one.
    #[arg(long)]
    redis: bool,
    /// Leave the city running afterwards, and say how to call it with another client.
    #[arg(long)]
    stay: bool,
    /// An empty folder for the city's certificates, configuration and registry; other commands find the city there.
    /// Without this, one that goes when the city closes.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// More configuration for the city's gateway, in TOML: for seeing the demo fail.
    #[arg(long, value_name = "TOML", default_value = "", hide = true)]
    gateway: String,
}

const ALONE: &str = "The replicas share the registry alone: without --redis a code that was let in at one is let in at another once \
                     more, a retry at another is decided afresh, and each has its share of a partner's budget.";

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if let Some(folder) = arguments.folder.as_deref().filter(|folder| !is_free(folder)) {
        return fail(
            EXIT_USAGE,
            &format!("--folder: {} is not empty; name one that is, or a new one", folder.display()),
        );
    }
    if arguments.redis && !Redis::is_installed() {
        let missing =
            "--redis needs redis-server: install Debian's package redis-server, or leave --redis away";
        return fail(EXIT_USAGE, &missing);
    }
    match live(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(1, &format!("{error:#}")),
    }
}

/// Whether nothing lies there.
pub(crate) fn is_free(folder: &Path) -> bool {
    match folder.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

#[tokio::main]
async fn live(arguments: &Arguments) -> Result<bool> {
    let mut signals = Signals::new()?;
    let (city, report) = tokio::select! {
        ridden = ride(arguments) => ridden?,
        () = signals.next() => bail!("told to stop before the day was over"),
    };
    if arguments.stay {
        tell(&format!("\n{}", stay::instructions(&city)?));
        signals.next().await;
    }
    Arc::into_inner(city).context("somebody is still in the city")?.stop().await;
    Ok(report.is_clean())
}

async fn ride(arguments: &Arguments) -> Result<(Arc<City>, Report)> {
    let options = Options {
        taps: arguments.taps.try_into()?,
        rate: (arguments.rate > 0).then_some(arguments.rate),
        seed: arguments.seed,
    };
    tell(&format!("A city on this machine, {START}, seed {}.", options.seed));
    if arguments.replicas > 1 && !arguments.redis {
        tell(&ALONE);
    }
    let plan = Blueprint {
        seed: options.seed,
        replicas: arguments.replicas.into(),
        redis: arguments.redis,
        folder: arguments.folder.as_deref(),
        gateway: &arguments.gateway,
    };
    let city = Arc::new(City::build(&plan).await?);
    let report = demo::ride(&city, &options).await?;
    tell(&report);
    Ok((city, report))
}
