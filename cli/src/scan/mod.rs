//! `ridegate scan`: what a reader would show.

mod answer;
mod paint;
mod timing;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{ColorChoice, ValueEnum};
use ridegate_gateway::clock::Clock;
use ridegate_proto::validator::v1::{CheckRequest, Direction as WireDirection, Verdict, check_request};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    Stop,
    client::{self, Client},
    picture, refusal,
};
use paint::Paint;
use timing::Timing;

/// Whoever does not get ALLOW: a person should look.
const EXIT_INSPECT: u8 = 2;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Pictures (PNG or JPEG); each QR code in them is asked about, from the top down.
    #[arg(required_unless_present = "hex", conflicts_with = "hex")]
    files: Vec<PathBuf>,
    /// A code's bytes instead of a picture.
    #[arg(long)]
    hex: Option<String>,
    #[command(flatten)]
    gateway: client::Arguments,
    /// Which way the rider is going.
    #[arg(long, value_enum, default_value_t = Direction::Entry)]
    direction: Direction,
    /// Station or line.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    location: String,
    /// Whether to paint: on a terminal, unless `NO_COLOR` is set.
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
}

#[derive(Clone, Copy, ValueEnum)]
enum Direction {
    /// Into a metro station.
    Entry,
    /// Out of a metro station.
    Exit,
    /// Onto a bus.
    Boarding,
    /// Off a bus.
    Alighting,
}

/// A code, and where it is from.
struct Scanned {
    name: String,
    code: Vec<u8>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match scan(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(stop) => stop.exit(),
    }
}

/// Every picture is read before anything is asked: asking uses codes up.
#[tokio::main]
async fn scan(arguments: &Arguments) -> Result<u8, Stop> {
    let gateway = arguments.gateway.gateway()?;
    let scanned = arguments.scanned()?;
    let mut client = Client::new(gateway.connect().await?);
    let (mut exit, paint) = (0, Paint::new(arguments.color));
    for (position, Scanned { name, code }) in scanned.into_iter().enumerate() {
        if position > 0 {
            print("\n");
        }
        let verdict = ask(&mut client, &name, arguments.tap(code), paint).await;
        exit = match (exit, verdict) {
            (1, _) | (_, None) => 1,
            (exit, Some(Verdict::Allow)) => exit,
            (_, Some(_)) => EXIT_INSPECT,
        };
    }
    Ok(exit)
}

/// Asks about one code and shows the answer. `None`: there was none.
async fn ask(client: &mut Client, name: &str, tap: CheckRequest, paint: Paint) -> Option<Verdict> {
    let began = Instant::now();
    let answer = client.check(tap).await;
    let round_trip = began.elapsed();
    match answer {
        Ok(answer) => {
            let timing = Timing::new(answer.metadata(), round_trip);
            print(&format!("{name}\n{}\n{timing}", answer::shown(answer.get_ref(), paint)));
            Some(answer.get_ref().verdict())
        }
        Err(status) => {
            crate::fail(1, &format!("{name}: {}", refusal::shown(&status)));
            None
        }
    }
}

impl Arguments {
    fn scanned(&self) -> Result<Vec<Scanned>, Stop> {
        if let Some(hex) = &self.hex {
            let code = hex::decode(hex.trim()).ok().filter(|code| !code.is_empty());
            let code = code.ok_or_else(|| Stop::usage("--hex: expected bytes as hex digits, two a byte"))?;
            return Ok(vec![Scanned { name: "--hex".into(), code }]);
        }
        let mut scanned = Vec::new();
        for file in &self.files {
            let codes = picture::read(file)?;
            let of = codes.len();
            scanned.extend(codes.into_iter().enumerate().map(|(position, code)| {
                let which = if of > 1 { format!(", code {} of {of}", position + 1) } else { String::new() };
                Scanned { name: format!("{}{which}", file.display()), code }
            }));
        }
        Ok(scanned)
    }

    fn tap(&self, code: Vec<u8>) -> CheckRequest {
        CheckRequest {
            request_id: request_id(),
            medium: Some(check_request::Medium::QrCode(code.into())),
            direction: self.direction.wire().into(),
            location: self.location.clone(),
            device_id: String::new(),
            scanned_at: None,
        }
    }
}

impl Direction {
    const fn wire(self) -> WireDirection {
        match self {
            Self::Entry => WireDirection::Entry,
            Self::Exit => WireDirection::Exit,
            Self::Boarding => WireDirection::Boarding,
            Self::Alighting => WireDirection::Alighting,
        }
    }
}

/// One that no other scan has: each is a tap of its own.
fn request_id() -> String {
    let now = Clock::system().now();
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let nanos = u32::try_from(now.subsec_nanosecond()).unwrap_or_default();
    Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanos)).to_string()
}

#[expect(clippy::print_stdout, reason = "the answer is what the command is for")]
fn print(text: &str) {
    print!("{text}");
}
