//! `ridegate demo`.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context, Result};
use ridegate_sim::{
    city::{City, START},
    demo::{self, Options},
    stay,
};

use crate::{fail, signal::Signals};

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
    /// Leave the city running afterwards, and say how to call it with another client.
    #[arg(long)]
    stay: bool,
    /// Where the city keeps its certificates, configuration and registry: a folder without a city in it. Without this, one that goes when the
    /// city closes.
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// More configuration for the city's gateway, in TOML: for seeing the demo fail.
    #[arg(long, value_name = "TOML", default_value = "", hide = true)]
    gateway: String,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match ride(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(1, &format!("{error:#}")),
    }
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "the report is what the command is for")]
async fn ride(arguments: &Arguments) -> Result<bool> {
    let options = Options {
        taps: arguments.taps.try_into()?,
        rate: (arguments.rate > 0).then_some(arguments.rate),
        seed: arguments.seed,
    };
    let mut signals = Signals::new()?;
    println!("A city on this machine, {START}, seed {}.", options.seed);
    let city = Arc::new(City::build(options.seed, &arguments.gateway, arguments.folder.as_deref()).await?);
    let report = demo::ride(&city, &options).await?;
    println!("{report}");
    if arguments.stay {
        println!("\n{}", stay::instructions(&city)?);
        signals.next().await;
    }
    Arc::into_inner(city).context("somebody is still in the city")?.stop().await;
    Ok(report.is_clean())
}
