//! `ridegate import`: concession cards linked in bulk by their card company (D9), through `BatchLink`.

mod cards;
mod columns;
mod fault;
mod progress;
mod report;
mod send;

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use prost::Message;
use ridegate_proto::partner::v1::{BatchProgress, BatchStart, Consent, RefusedRow};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{Stop, client, fail, signal::Signals, tell};
use cards::Cards;
use progress::Progress;
use report::Refused;
use send::{Batch, Ended};

const GO_ON: &str = "the same command goes on where this one stopped";
/// A card was refused.
const EXIT_REFUSED: u8 = 1;
/// Ended by Ctrl-C, as shells count it.
const EXIT_STOPPED: u8 = 130;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// CSV in UTF-8: a line `kind,issuer,number,authorization_code`, in any order, then one card a line. kind is senior-card,
    /// civil-affairs-card or disability-service-card.
    file: PathBuf,
    #[command(flatten)]
    gateway: client::Named,
    /// Version of the wording that the holders agreed to, at most 64 characters.
    #[arg(long, value_name = "VERSION", value_parser = |text: &str| characters(text, 64))]
    consent_version: String,
    /// When they did, such as 2022-06-15T12:00:00+08:00.
    #[arg(long, value_name = "TIME")]
    consent_granted_at: Timestamp,
    /// What for, at most 128 characters.
    #[arg(long, value_name = "TEXT", value_parser = |text: &str| characters(text, 128))]
    consent_purpose: String,
    /// Names the batch, at most 64 characters. Otherwise the file's content and the consent do, so that the same command
    /// goes on where it stopped. Under one id, always give the same file: rows that were carried out are not sent again.
    #[arg(long, value_name = "ID", value_parser = |text: &str| characters(text, 64))]
    batch_id: Option<String>,
    /// Where to write which cards were refused, if any. Otherwise beside the file, as NAME.refused.csv.
    #[arg(long, value_name = "FILE")]
    refused: Option<PathBuf>,
    /// Overwrite that file if it is there.
    #[arg(long)]
    force: bool,
    /// How often in a row to try again, once the gateway was reached, without a row carried out.
    #[arg(long, value_name = "TIMES", default_value_t = 10)]
    retries: u32,
}

fn characters(text: &str, most: usize) -> Result<String, String> {
    let usable = (1..=most).contains(&text.chars().count());
    usable.then(|| text.to_owned()).ok_or_else(|| format!("expected 1 to {most} characters"))
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match import(arguments) {
        Ok(code) => ExitCode::from(code),
        Err(stop) => stop.exit(),
    }
}

#[tokio::main]
async fn import(arguments: &Arguments) -> Result<u8, Stop> {
    let gateway = arguments.gateway.gateway("")?;
    gateway.look().map_err(|error| Stop::usage(format!("{error:#}")))?;
    let report = arguments.report()?;
    let cards = Cards::look(&arguments.file)?;
    let (start, progress) = (arguments.start(&cards), Progress::of(cards.rows));
    let began = Instant::now();
    if cards.rows == 0 {
        let (done, pages) = (BatchProgress::default(), Pages::none());
        return finish(arguments, &report, &cards, &done, (0, began), pages).await;
    }
    let mut signals = Signals::new().context("signals").map_err(Stop::Failed)?;
    progress.say(&format!("{} rows, batch {}", cards.rows, start.batch_id));
    let connection = gateway.connect().await.map_err(Stop::Unreachable)?;
    let batch = Batch { connection, start, retries: arguments.retries };
    let ended = batch.send(&cards, &progress, &mut signals).await;
    progress.finish();
    let (done, sent) = match ended {
        Ok(Ended::Done(done, sent)) => (done, sent),
        Ok(Ended::Stopped) => return Ok(stopped(&batch, &cards, &progress).await),
        Err(Stop::Unreachable(error)) => return Err(Stop::Unreachable(anyhow!("{error:#}\n  {GO_ON}"))),
        Err(stop) => return Err(stop),
    };
    tokio::select! {
        code = finish(arguments, &report, &cards, &done, (sent, began), Pages::of(&batch)) => code,
        () = signals.next() => Ok(stopped(&batch, &cards, &progress).await),
    }
}

/// Says how far it came.
async fn stopped(batch: &Batch, cards: &Cards, progress: &Progress) -> u8 {
    let answer = batch.ask(cards.rows).await;
    let done =
        answer.map_or_else(|_| progress.done(), |answer| answer.progress.unwrap_or_default().rows_done);
    fail(EXIT_STOPPED, &format!("{done} of {} rows are carried out; {GO_ON}", cards.rows));
    EXIT_STOPPED
}

/// Shows what became of the cards, and writes which were refused.
async fn finish(
    arguments: &Arguments,
    report: &Path,
    cards: &Cards,
    done: &BatchProgress,
    (sent, began): (u64, Instant),
    pages: Pages<'_>,
) -> Result<u8, Stop> {
    tell(&report::table(done, cards, sent, began.elapsed()));
    if report::refused(done, cards) == 0 {
        return Ok(0);
    }
    let file = Refused::create(report, arguments.force).map_err(|error| unwritable(report, error))?;
    let written = write(file, report, cards, pages).await;
    if written.is_err() {
        // Half of it would be taken for all, and keep the same command from writing it again.
        let _gone = fs::remove_file(report);
    }
    written?;
    tell(&format!("refused cards: {}", report.display()));
    Ok(EXIT_REFUSED)
}

/// Lines and refused rows go through the file side by side.
async fn write(mut file: Refused, report: &Path, cards: &Cards, mut pages: Pages<'_>) -> Result<(), Stop> {
    let of_cards = |error: io::Error| unreadable(cards.path(), error);
    let of_report = |error: io::Error| unwritable(report, error);
    let mut lines = cards.lines().map_err(of_cards)?;
    let mut next = pages.next().await?;
    while let Some(line) = lines.next().map_err(of_cards)? {
        match &line.card {
            Err(fault) => file.unusable(line.number, *fault).map_err(of_report)?,
            Ok(card) => {
                if let Some(row) = next.filter(|row| row.row == card.position) {
                    file.row(line.number, card, row).map_err(of_report)?;
                    next = pages.next().await?;
                }
            }
        }
    }
    file.finish().map_err(of_report)
}

fn unwritable(file: &Path, error: io::Error) -> Stop {
    Stop::Failed(anyhow::Error::new(error).context(format!("{}: cannot be written", file.display())))
}

fn unreadable(file: &Path, error: io::Error) -> Stop {
    Stop::Failed(anyhow::Error::new(error).context(format!("{}: cannot be read", file.display())))
}

/// Rows that the gateway refused, in order, a page at a time.
struct Pages<'b> {
    batch: Option<&'b Batch>,
    page: VecDeque<RefusedRow>,
    from: u64,
}

impl<'b> Pages<'b> {
    const fn none() -> Self {
        Self { batch: None, page: VecDeque::new(), from: 0 }
    }

    const fn of(batch: &'b Batch) -> Self {
        Self { batch: Some(batch), page: VecDeque::new(), from: 0 }
    }

    async fn next(&mut self) -> Result<Option<RefusedRow>, Stop> {
        let Some(batch) = self.batch else { return Ok(None) };
        if self.page.is_empty() {
            let rows = batch.ask_patiently(self.from).await?.refused;
            // Whatever a gateway says, no row comes twice.
            self.page = rows.into_iter().filter(|row| row.row >= self.from).collect();
        }
        let row = self.page.pop_front();
        match row {
            Some(row) => self.from = row.row + 1,
            None => self.batch = None,
        }
        Ok(row)
    }
}

impl Arguments {
    /// Where refused cards are written to. Refuses what would be lost or cannot be, before anything is sent.
    fn report(&self) -> Result<PathBuf, Stop> {
        let report = self.refused.clone().unwrap_or_else(|| self.file.with_extension("refused.csv"));
        let there = report.display();
        if report.exists() && !self.force {
            return Err(Stop::usage(format!(
                "{there}: is there already; --force overwrites it, --refused FILE names another"
            )));
        }
        let folder = report.parent().filter(|folder| !folder.as_os_str().is_empty());
        let same = fs::canonicalize(&report)
            .is_ok_and(|report| fs::canonicalize(&self.file).is_ok_and(|file| file == report));
        if same || report.is_dir() || !folder.is_none_or(Path::is_dir) {
            return Err(Stop::usage(format!(
                "--refused: {there}: expected a file in a folder that is there"
            )));
        }
        Ok(report)
    }

    fn start(&self, cards: &Cards) -> BatchStart {
        let consent = Consent {
            wording_version: self.consent_version.clone(),
            granted_at: Some(prost_types::Timestamp {
                seconds: self.consent_granted_at.as_second(),
                nanos: self.consent_granted_at.subsec_nanosecond(),
            }),
            purpose: self.consent_purpose.clone(),
        };
        let batch_id = self.batch_id.clone().unwrap_or_else(|| batch_id(&cards.digest, &consent));
        BatchStart { batch_id, consent: Some(consent) }
    }
}

/// The same for the same file and consent, and for no other.
fn batch_id(file: &[u8; 32], consent: &Consent) -> String {
    let hash = Sha256::new_with_prefix(file).chain_update(consent.encode_to_vec()).finalize();
    hex::encode(hash.get(..16).unwrap_or_default())
}
