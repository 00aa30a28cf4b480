//! `ridegate faults`: an operator's own drills, with a proxy that breaks what passes through it.

mod arguments;
mod shown;
mod typed;

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use ridegate_faults::{Fault, Proxy};
use tokio::time::{Instant, interval, sleep_until};

use crate::{Stop, signal::Signals};
use arguments::{Step, checked, listening_address, time, to};
use shown::Shown;
use typed::Typed;

/// How often a person who looks sees what has passed.
const LOOK: Duration = Duration::from_secs(1);
/// As good as never.
const NEVER: Duration = Duration::from_hours(24 * 365);

#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// Who is behind it: Redis, PostgreSQL, the health authority, a partner's resolver. Looked up for every connection.
    #[arg(long, value_name = "HOST:PORT", value_parser = to)]
    to: String,
    /// Where to listen instead of there; port 0 is any that is free. An address of this machine alone.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// Let --listen name an address that other machines reach. Who reaches it reaches what is behind it.
    #[arg(long)]
    beyond_this_machine: bool,
    /// What is done from the start.
    #[arg(long, value_name = "FAULT", default_value = "well")]
    fault: Fault,
    /// What is done from a time after the start, such as "10s refuse"; again for what comes then, such as "25s well".
    #[arg(long, value_name = "TIME FAULT")]
    at: Vec<Step>,
    /// End after so long. Otherwise at Ctrl-C, SIGTERM, or "quit".
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    lasting: Option<Duration>,
    /// Chooses the bytes that are spoilt and the jitter; the same seed chooses the same.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

const AFTER_HELP: &str = "\
A FAULT is words, in any order:
  well             nothing is done
  latency=20ms     what passes is late by so much
  jitter=5ms       and by up to so much more, by chance
  drip=2000        no more than so many bytes a second
  corrupt=1000     one byte in so many, by chance, arrives as another
  way=up           to what goes to the server; way=down (what comes from it) if unset, way=both
and at most one of
  stall            connections stand, and nothing is carried
  reset            connections are reset; reset=512 after so many bytes from the server
  half-close       one way is closed, the other stays open
  refuse           nobody listens; connections that stand are reset

A line on standard input is the next fault; \"quit\" ends it, and so does Ctrl-D on a terminal.

Put it between a gateway and one of those behind it by changing the port in the gateway's configuration: redis.nodes,
registry.url, authority.endpoint, a partner's resolver. TLS passes through unseen; as certificates name a host, keep the
host's name and let it be this machine (in /etc/hosts, say). docs/operations.md has a drill.

Exit 0 when it was ended, 1 if it cannot listen, 64 if the arguments cannot be used.";

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match drill(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => stop.exit(),
    }
}

#[tokio::main]
async fn drill(arguments: &Arguments) -> Result<(), Stop> {
    let mut signals = Signals::new().context("signals cannot be heard")?;
    checked(&arguments.at, arguments.lasting).map_err(Stop::Usage)?;
    let listen = listening_address(&arguments.listen, &arguments.to, arguments.beyond_this_machine)
        .map_err(Stop::Usage)?;
    let proxy = Proxy::start(&listen.to_string(), &arguments.to, arguments.seed).await;
    let proxy = proxy.with_context(|| format!("cannot listen on {listen}"))?;
    proxy.set(arguments.fault.clone());
    let shown = Shown::begin(proxy, &arguments.to);
    let began = Instant::now();
    let mut steps = arguments.at.iter().peekable();
    let end = began + arguments.lasting.unwrap_or(NEVER);
    let mut typed = Typed::listen();
    let mut looks = interval(LOOK);
    loop {
        let next = steps.peek().map_or(NEVER, |step| step.after);
        tokio::select! {
            () = signals.next() => break,
            () = sleep_until(end) => break,
            () = sleep_until(began + next), if steps.peek().is_some() => {
                if let Some(step) = steps.next() {
                    shown.set(step.fault.clone());
                }
            }
            line = typed.next() => match line {
                None => break,
                Some(Ok(fault)) => shown.set(fault),
                Some(Err(why)) => shown.answer(&why),
            },
            _ = looks.tick() => shown.look(),
        }
    }
    shown.end();
    Ok(())
}
