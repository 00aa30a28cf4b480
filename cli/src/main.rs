//! The one binary: `ridegate`.

#[cfg(feature = "sim")]
mod bench;
mod check;
mod client;
#[cfg(feature = "sim")]
mod code;
#[cfg(feature = "sim")]
mod demo;
mod dumps;
mod faults;
mod import;
mod log;
mod partner;
mod picture;
#[cfg(feature = "sim")]
mod pki;
mod refusal;
mod registry;
mod scan;
mod serve;
mod signal;
mod vectors;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;
#[cfg(feature = "sim")]
use ridegate_gateway::config::{Log, LogLevel};
use zeroizing_alloc::ZeroAlloc;

/// Memory is overwritten when it is freed: what named a rider is gone with the call that needed it, and a dump of the
/// process, or a page that the system has swapped out, does not hold it (D34).
#[global_allocator]
static MEMORY: ZeroAlloc<MiMalloc> = ZeroAlloc(MiMalloc);

/// Arguments or a configuration that cannot be used, or a file of a form that is not known (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;
/// The gateway cannot be reached, or no more (`EX_UNAVAILABLE`).
const EXIT_UNREACHABLE: u8 = 69;

/// Tells a gate whether a rider may go straight through (ALLOW) or a person should look (INSPECT), whichever
/// city's metro app or payment app the ride code came from.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve validators and partners over gRPC.
    Serve(serve::Arguments),
    /// Look at a configuration, and everything it names, without serving. Exit 64 if it cannot be used, 1 if a
    /// certificate ends too soon.
    CheckConfig(check::Arguments),
    /// Run a whole city on this machine: authority, partners, riders, gates. Needs nothing else.
    #[cfg(feature = "sim")]
    Demo(demo::Arguments),
    /// Measure what a gateway can do on this machine: over mTLS, at rates that do not wait for answers, every verdict checked.
    /// Exit 0 if every tap was answered as it should be, 1 if not, 64 if the arguments cannot be used.
    #[cfg(feature = "sim")]
    Bench(bench::Arguments),
    /// Certificates for development.
    #[cfg(feature = "sim")]
    #[command(subcommand)]
    Pki(pki::Command),
    /// Make a ride code as a rider of a demo city shows it: hex, or a picture.
    #[cfg(feature = "sim")]
    Code(code::Arguments),
    /// Read ride codes from pictures and ask a running gateway about each. Exit 0 if every answer is ALLOW, 2 if any is
    /// INSPECT, 1 if one could not be asked, 64 if the arguments cannot be used.
    Scan(scan::Arguments),
    /// Link the concession cards of a card company in bulk, from a CSV file. Breaks are mended, and the same command again
    /// goes on where it stopped. Exit 0 if every card is linked, 1 if one was refused or could not be sent, 64 if the
    /// arguments or the file cannot be used, 69 if the gateway cannot be reached, 130 if it was told to stop.
    Import(import::Arguments),
    /// Make the registry's schema, or bring it up to date. `serve` does it by itself to an SQLite file, not to PostgreSQL.
    Migrate(registry::Arguments),
    /// The keys that links are kept under.
    #[command(subcommand)]
    Key(registry::Key),
    /// Write the registry anew under the newest key of the key file, while gateways use it.
    Rekey(registry::Arguments),
    /// Delete links, and whatever else is kept: of one person, of one partner, or everything. Leaves an entry in the record.
    /// Gateways that run forget what they remember within a second.
    Purge(registry::Purge),
    /// Show what was done to the registry, and that nothing was taken from that record.
    Record(registry::Arguments),
    /// Partners' profiles and codes.
    #[command(subcommand)]
    Partner(partner::Command),
    /// Conformance cases.
    #[command(subcommand)]
    Vectors(Vectors),
    /// Stand between a gateway and one of those behind it, and break what passes: late, slow, spoilt, stalled, reset,
    /// refused. For drills: to see your own alarms go off.
    Faults(faults::Arguments),
}

#[derive(Subcommand)]
enum Vectors {
    /// Run conformance files and print every case that is not as it expects. Exit 1 if any is not, 64 if a file
    /// cannot be run.
    Check {
        /// Files of the form of `tests/vectors/mot.json`, `alipay.json`, `online.json` or `policy.json`.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => {
            // Nobody is left to tell if this cannot be printed.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    match command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::CheckConfig(arguments) => check::run(&arguments),
        #[cfg(feature = "sim")]
        Command::Demo(arguments) => match log::start(&Log { level: LogLevel::Warn, ..Log::default() }) {
            Ok(()) => demo::run(&arguments),
            Err(error) => fail(EXIT_USAGE, &error),
        },
        #[cfg(feature = "sim")]
        Command::Bench(arguments) => bench::run(&arguments),
        #[cfg(feature = "sim")]
        Command::Pki(command) => pki::run(&command),
        #[cfg(feature = "sim")]
        Command::Code(arguments) => code::run(&arguments),
        Command::Scan(arguments) => scan::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Migrate(arguments) => registry::migrate(&arguments),
        Command::Key(command) => registry::key(&command),
        Command::Rekey(arguments) => registry::rekey(&arguments),
        Command::Purge(arguments) => registry::purge(&arguments),
        Command::Record(arguments) => registry::record(&arguments),
        Command::Partner(command) => partner::run(&command),
        Command::Vectors(Vectors::Check { files }) => vectors::run(&files),
        Command::Faults(arguments) => faults::run(&arguments),
    }
}

/// Why a command ends early.
enum Stop {
    /// Its arguments cannot be used: what is wrong, and what is allowed.
    Usage(String),
    /// It could not do its work.
    Failed(anyhow::Error),
    /// It could not reach the gateway that was to do its work.
    Unreachable(anyhow::Error),
}

impl Stop {
    fn usage(why: impl Into<String>) -> Self {
        Self::Usage(why.into())
    }

    fn exit(&self) -> ExitCode {
        match self {
            Self::Usage(why) => fail(EXIT_USAGE, why),
            Self::Failed(error) => fail(1, &format!("{error:#}")),
            Self::Unreachable(error) => fail(EXIT_UNREACHABLE, &format!("{error:#}")),
        }
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

/// Says something on standard output. Who reads it may stop before its end.
fn tell(what: &dyn std::fmt::Display) {
    let _closed = writeln!(std::io::stdout(), "{what}");
}

/// Says why on standard error and gives the exit code.
#[expect(clippy::print_stderr, reason = "this is where the program speaks to who started it")]
fn fail(code: u8, why: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("ridegate: {why}");
    ExitCode::from(code)
}
