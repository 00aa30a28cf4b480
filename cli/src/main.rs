//! The one binary: `ridegate`.

mod check;
#[cfg(feature = "sim")]
mod demo;
mod log;
#[cfg(feature = "sim")]
mod pki;
mod serve;
mod signal;
mod vectors;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use ridegate_gateway::config::{Log, LogLevel};

/// A configuration that cannot be used, or a file of a form that is not known (`EX_USAGE` of sysexits.h).
const EXIT_USAGE: u8 = 64;

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
    /// Certificates for development.
    #[cfg(feature = "sim")]
    #[command(subcommand)]
    Pki(pki::Command),
    /// Conformance cases.
    #[command(subcommand)]
    Vectors(Vectors),
}

#[derive(Subcommand)]
enum Vectors {
    /// Run conformance files and print every case that is not as it expects. Exit 1 if any is not, 64 if a file
    /// cannot be run.
    Check {
        /// Files of the form of `tests/vectors/mot.json` or `tests/vectors/policy.json`.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    match command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::CheckConfig(arguments) => check::run(&arguments),
        #[cfg(feature = "sim")]
        Command::Demo(arguments) => {
            log::start(&Log { level: LogLevel::Warn, ..Log::default() });
            demo::run(&arguments)
        }
        #[cfg(feature = "sim")]
        Command::Pki(command) => pki::run(&command),
        Command::Vectors(Vectors::Check { files }) => vectors::run(&files),
    }
}

/// Says why on standard error and gives the exit code.
#[expect(clippy::print_stderr, reason = "this is where the program speaks to who started it")]
fn fail(code: u8, why: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("ridegate: {why}");
    ExitCode::from(code)
}
