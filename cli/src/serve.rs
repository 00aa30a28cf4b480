//! `ridegate serve`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use ridegate_gateway::{app::Settings, clock::Clock, config::ConfigFile};
use tracing::{info, warn};

use crate::{EXIT_USAGE, fail, log, signal};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Configuration; `ridegate.example.toml` explains every key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// For your own machine only: test keys are accepted, and without [tls] there is none and callers' identities are
    /// read from the metadata key x-ridegate-identity. Listens on loopback only.
    #[arg(long)]
    insecure_dev: bool,
    /// Stand in another period, such as 2022-06-15T12:00:00+08:00, with ",frozen" behind it if time shall not pass.
    #[arg(long, value_name = "TIME", requires = "insecure_dev")]
    clock: Option<Clock>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let clock = arguments.clock.clone().unwrap_or(Clock::system());
    let settings = ConfigFile::load(&arguments.config).and_then(|file| {
        log::start(&file.config.log);
        Settings::new(file, clock.clone(), arguments.insecure_dev)
    });
    match settings {
        Err(error) => fail(EXIT_USAGE, &error),
        Ok(settings) => match serve(settings, &clock, arguments.insecure_dev) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, &format!("{error:#}")),
        },
    }
}

#[tokio::main]
async fn serve(settings: Settings, clock: &Clock, insecure_dev: bool) -> Result<()> {
    let tls = settings.expiry();
    if insecure_dev {
        warn!(tls = tls.is_some(), "INSECURE: test keys are accepted. For development only");
    }
    if tls.is_none() {
        warn!("INSECURE: no TLS, and callers' identities are believed as they are stated");
    }
    let (policy, enforced, partners) =
        (settings.policy_version().to_owned(), settings.enforces_now(), settings.partners());
    let running = settings.start().await?;
    if let Some(operations) = running.operations() {
        info!(%operations, "metrics and probes");
    }
    info!(address = %running.address(), tls = tls.is_some(), clock = %clock.now(), partners, policy, enforced, "serving");
    signal::stop().await?;
    info!("stopping");
    running.stop().await;
    Ok(())
}
