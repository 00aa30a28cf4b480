//! `ridegate serve`.

use std::{path::PathBuf, process::ExitCode, thread::available_parallelism};

use anyhow::{Result, bail};
use ridegate_gateway::{app::Settings, clock::Clock, config::ConfigFile, cores::Cores};
use tracing::{info, warn};

use crate::{EXIT_USAGE, dumps, fail, log, signal::Signals};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Configuration; `ridegate.example.toml` explains every key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// For your own machine only: test keys are accepted, and without `[tls]` there is none and callers' identities are
    /// read from the metadata key x-ridegate-identity. Listens on loopback only.
    #[arg(long)]
    insecure_dev: bool,
    /// Stand in another period, such as 2022-06-15T12:00:00+08:00, with ",frozen" behind it if time shall not pass.
    #[arg(long, value_name = "TIME", requires = "insecure_dev")]
    clock: Option<Clock>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let clock = arguments.clock.clone().unwrap_or(Clock::system());
    let file = match ConfigFile::load(&arguments.config) {
        Ok(file) => file,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    if let Err(error) = log::start(&file.config.log) {
        return fail(EXIT_USAGE, &error);
    }
    let settings = match Settings::new(file, clock.clone(), arguments.insecure_dev) {
        Ok(settings) => settings,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    match settings.check() {
        Err(error) => fail(EXIT_USAGE, &error),
        Ok(()) => match on_every_core(|cores| serve(settings, cores, &clock, arguments.insecure_dev)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(1, &error),
        },
    }
}

/// Connections live on a thread for every core. Beside those is one for all that they share: who comes in, and the connections to
/// whatever is behind the gateway.
fn on_every_core<S: Future<Output = Result<()>>>(serving: impl FnOnce(Cores) -> S) -> Result<()> {
    let cores = Cores::start(available_parallelism()?.get())?;
    let beside = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    beside.block_on(serving(cores))
}

async fn serve(mut settings: Settings, cores: Cores, clock: &Clock, insecure_dev: bool) -> Result<()> {
    let mut signals = Signals::new()?;
    let tls = settings.has_tls();
    let insecure = match (insecure_dev, tls) {
        (false, _) => None,
        (true, true) => Some("INSECURE: test keys are accepted. For development only"),
        (true, false) => {
            Some("INSECURE: no TLS, callers are believed as they state themselves. For development only")
        }
    };
    if let Some(insecure) = insecure {
        log::say_loudly(insecure);
    } else if let Err(error) = dumps::forbid() {
        // It serves all the same: who looks into its memory needs to be this machine's operator anyway.
        warn!(%error, "the system may write this process's memory to disk when it ends badly");
    }
    // As many as the system lets us; it starts with few for programs of another age.
    let descriptors = rlimit::increase_nofile_limit(u64::MAX)?;
    if let Some(connections) = settings.fit_into(descriptors) {
        warn!(
            descriptors,
            connections, "too few file descriptors for limits.connections: so many are taken in"
        );
    }
    let (policy, enforced, partners) =
        (settings.policy_version().to_owned(), settings.enforces_now(), settings.partners());
    let running = tokio::select! {
        started = settings.start_on(cores) => started?,
        () = signals.next() => {
            info!("stopped before it served");
            return Ok(());
        }
    };
    if let Some(operations) = running.operations() {
        info!(%operations, "metrics and probes");
    }
    info!(address = %running.address(), tls, clock = %clock.now(), partners, policy, enforced, "serving");
    tokio::select! {
        () = signals.next() => {}
        () = running.broken() => bail!("a thread that answers has ended: start anew"),
    }
    info!("stopping; a second signal stops at once");
    tokio::select! {
        () = running.stop() => Ok(()),
        () = signals.next() => bail!("told to stop twice: what still ran was cut off"),
    }
}
