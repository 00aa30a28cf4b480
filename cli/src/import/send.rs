//! Sending a batch: from where the gateway says, until it has all rows, whatever breaks in between.

use std::{convert::Infallible, time::Duration};

use anyhow::anyhow;
use prost::Message;
use ridegate_proto::partner::v1::{
    BatchLinkRequest, BatchProgress, BatchRows, BatchStart, GetBatchRequest, GetBatchResponse,
    batch_link_request::Part, partner_service_client::PartnerServiceClient,
};
use tokio::{sync::mpsc, task::JoinHandle, time};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

use super::{cards::Cards, progress::Progress};
use crate::{Stop, client::Connection, refusal, signal::Signals};

/// Rows of a message.
const MAX_ROWS: usize = 500;
/// Bytes of a message: a gateway takes 64 KiB of a partner.
const MAX_BYTES: usize = 60 * 1024;
/// Messages that are made before they can be sent.
const AHEAD: usize = 2;
/// How often the gateway is asked how far it is.
const POLL: Duration = Duration::from_millis(500);
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A batch at a gateway.
pub(super) struct Batch {
    pub(super) connection: Connection,
    pub(super) start: BatchStart,
    /// How often in a row to try again without a row carried out.
    pub(super) retries: u32,
}

/// How sending came to an end.
pub(super) enum Ended {
    /// All rows were carried out, so many of them now.
    Done(BatchProgress, u64),
    /// We were told to stop.
    Stopped,
}

/// Why one attempt came to nothing.
enum Break {
    /// The gateway said so, or what lies between.
    Status(Box<Status>),
    /// It helps nobody to try again.
    Stop(Stop),
}

impl From<Status> for Break {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

impl From<Stop> for Break {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl Batch {
    /// Sends what the gateway has not carried out yet.
    pub(super) async fn send(
        &self,
        cards: &Cards,
        progress: &Progress,
        signals: &mut Signals,
    ) -> Result<Ended, Stop> {
        let (mut failures, mut first, mut earlier) = (0, None, 0);
        loop {
            let mut began = None;
            let ended = tokio::select! {
                ended = self.attempt(cards, progress, &mut began) => ended,
                () = signals.next() => return Ok(Ended::Stopped),
            };
            first = first.or(began);
            let broken = match ended {
                Ok(done) => {
                    let now = done.rows_done.saturating_sub(first.unwrap_or_default());
                    return Ok(Ended::Done(done, now));
                }
                Err(Break::Stop(stop)) => return Err(stop),
                Err(Break::Status(status)) => status,
            };
            // What an attempt carried out last may only be told to the next one.
            let carried_out = began.is_some_and(|began| began > earlier || progress.done() > began);
            failures = if carried_out { 1 } else { failures + 1 };
            earlier = began.unwrap_or(earlier);
            let wait = self.next_try(&broken, failures, first.is_some())?;
            let why = refusal::shown(&broken).replace("\n  ", "; ");
            progress.say(&format!("{why}\ntrying again in {wait:?} ({failures} of {})", self.retries));
            tokio::select! {
                () = time::sleep(wait) => {}
                () = signals.next() => return Ok(Ended::Stopped),
            }
        }
    }

    /// How long to wait before the next attempt; refuses when there is to be none.
    fn next_try(&self, status: &Status, failures: u32, heard: bool) -> Result<Duration, Stop> {
        let why = anyhow!("{}", refusal::shown(status));
        if !is_passing(status) {
            return Err(Stop::Failed(why.context("the gateway refuses")));
        }
        if (!heard && is_broken(status)) || failures > self.retries {
            return Err(Stop::Unreachable(why));
        }
        let wait = FIRST_WAIT.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST_WAIT);
        let told = status.get_details_retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
        Ok(wait.max(told.min(LONGEST_WAIT * 6)))
    }

    /// One attempt: asks where to go on from, and sends from there. Sets `began` to that row.
    async fn attempt(
        &self,
        cards: &Cards,
        progress: &Progress,
        began: &mut Option<u64>,
    ) -> Result<BatchProgress, Break> {
        let before = self.progress(cards).await?;
        let (done, all) = (before.rows_done, cards.rows);
        *began = Some(done);
        progress.go_on(done);
        if done == all {
            return Ok(before);
        }
        let (messages, made) = mpsc::channel(AHEAD);
        let making = self.make(cards.clone(), done, messages);
        let answer = {
            let mut service = self.service();
            let sending = service.batch_link(self.connection.request(ReceiverStream::new(made)));
            tokio::select! {
                answer = sending => answer,
                never = self.poll(cards, progress) => match never {},
            }
        };
        // What was made ends with the call. A file that cannot be read looks like its end to the gateway.
        if let Ok(Err(error)) = making.await {
            let name = cards.path().display().to_string();
            return Err(Stop::Failed(anyhow::Error::new(error).context(name)).into());
        }
        let last = answer?.into_inner().progress.unwrap_or_default();
        progress.at(last.rows_done);
        if last.rows_done < cards.rows {
            return Err(Status::unavailable("the gateway ended before the last row").into());
        }
        Ok(self.must_fit(last, cards)?)
    }

    /// Says how far the gateway is, for as long as it is polled. That it cannot be asked now and then harms nothing.
    async fn poll(&self, cards: &Cards, progress: &Progress) -> Infallible {
        let mut ticks = time::interval(POLL);
        ticks.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Ok(answer) = self.ask(cards.rows).await {
                progress.at(answer.progress.unwrap_or_default().rows_done);
            }
        }
    }

    /// How far the gateway is.
    async fn progress(&self, cards: &Cards) -> Result<BatchProgress, Break> {
        let answer = self.ask(cards.rows).await?;
        Ok(self.must_fit(answer.progress.unwrap_or_default(), cards)?)
    }

    fn must_fit(&self, progress: BatchProgress, cards: &Cards) -> Result<BatchProgress, Stop> {
        if progress.rows_done <= cards.rows {
            return Ok(progress);
        }
        let (id, done, rows) = (&self.start.batch_id, progress.rows_done, cards.rows);
        Err(Stop::usage(format!(
            "batch {id} has {done} rows at the gateway, more than the {rows} of this file: it was begun with another file"
        )))
    }

    /// As [`Batch::ask`], and tries again when that may help.
    pub(super) async fn ask_patiently(&self, from_row: u64) -> Result<GetBatchResponse, Stop> {
        let mut failures = 0;
        loop {
            match self.ask(from_row).await {
                Ok(answer) => return Ok(answer),
                Err(status) => {
                    failures += 1;
                    time::sleep(self.next_try(&status, failures, true)?).await;
                }
            }
        }
    }

    /// Progress, and up to 1,000 refused rows from this one on. A batch that was not begun has done nothing.
    pub(super) async fn ask(&self, from_row: u64) -> Result<GetBatchResponse, Status> {
        let batch_id = self.start.batch_id.clone();
        let request = self.connection.request(GetBatchRequest { batch_id, from_row });
        let mut service = self.service();
        // A time-out of the request's own would not hold for the body of the answer.
        let answer = time::timeout(self.connection.timeout, service.get_batch(request)).await;
        match answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))) {
            Err(status) if status.code() == Code::NotFound => Ok(GetBatchResponse::default()),
            answer => Ok(answer?.into_inner()),
        }
    }

    fn service(&self) -> PartnerServiceClient<Channel> {
        PartnerServiceClient::new(self.connection.channel.clone())
    }

    /// Makes the messages from this row on, as fast as they are taken.
    fn make(
        &self,
        cards: Cards,
        from: u64,
        messages: mpsc::Sender<BatchLinkRequest>,
    ) -> JoinHandle<std::io::Result<()>> {
        let start = self.start.clone();
        tokio::task::spawn_blocking(move || {
            // Who does not take them any more has said why.
            let send = |part| messages.blocking_send(BatchLinkRequest { part: Some(part) }).is_ok();
            if !send(Part::Start(start)) {
                return Ok(());
            }
            let (mut lines, mut message, mut bytes) = (cards.lines()?, BatchRows::default(), 0);
            while let Some(line) = lines.next()? {
                let Some(card) = line.card.ok().filter(|card| card.position >= from) else { continue };
                // With its tag and length.
                let more = card.row.encoded_len() + 8;
                if message.rows.len() == MAX_ROWS || bytes + more > MAX_BYTES {
                    cards.must_be_same(&lines)?;
                    if !send(Part::Rows(std::mem::take(&mut message))) {
                        return Ok(());
                    }
                    bytes = 0;
                }
                if message.rows.is_empty() {
                    message.first_row = card.position;
                }
                message.rows.push(card.row);
                bytes += more;
            }
            cards.must_be_same(&lines)?;
            let _taken = message.rows.is_empty() || send(Part::Rows(message));
            Ok(())
        })
    }
}

/// The connection or the gateway's machine, not the gateway's own word.
fn is_broken(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

/// Whether the same may be tried again.
fn is_passing(status: &Status) -> bool {
    let passes = matches!(
        status.code(),
        Code::Unavailable
            | Code::ResourceExhausted
            | Code::DeadlineExceeded
            | Code::Cancelled
            | Code::Aborted
            // Rows are left out: asking again says where to go on.
            | Code::FailedPrecondition
    );
    passes || is_broken(status)
}
