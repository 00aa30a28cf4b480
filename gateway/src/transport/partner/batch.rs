//! Batches: a stream of rows, carried out message by message.

use std::{sync::Arc, time::Duration};

use ridegate_adapters::Profile;
use ridegate_proto::partner::v1::{
    BatchLinkRequest, BatchLinkResponse, BatchRows, BatchStart, Channel, batch_link_request::Part,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use super::{answer, read};
use crate::{
    admission::FieldError,
    backends::registry::Batch,
    linking::{BatchError, Linking},
    transport::status,
};

const MAX_ROWS: usize = 500;
/// The longest that a caller may take for its next message.
const PATIENCE: Duration = Duration::from_mins(1);

/// One stream.
pub(super) struct Stream<'s> {
    pub(super) linking: &'s Linking,
    pub(super) profile: &'s Profile,
    pub(super) messages: Streaming<BatchLinkRequest>,
    pub(super) leaving: CancellationToken,
}

impl Stream<'_> {
    /// Carries out what comes, to the end of the stream or to the first message that cannot be used.
    pub(super) async fn carry_out(mut self) -> Result<BatchLinkResponse, Status> {
        let (id, batch) = match self.next().await? {
            Some(Part::Start(start)) => self.start(start)?,
            Some(Part::Rows(_)) | None => return Err(field("start", "must come first")),
        };
        while let Some(part) = self.next().await? {
            match part {
                Part::Rows(rows) => self.rows(&batch, rows).await?,
                Part::Start(_) => return Err(field("start", "must come once, and first")),
            }
        }
        let progress = self.linking.batch_progress(&self.profile.id, &id, u64::MAX).await;
        let progress = progress.map_err(|error| status::linking(&error))?;
        let (progress, _) = progress.unwrap_or_default();
        Ok(BatchLinkResponse { progress: Some(answer::progress(progress)) })
    }

    /// The next message's part; `None` at the end. A connection that is asked to leave breaks the stream between two
    /// messages, and so does a caller that says nothing for too long: what was carried out stays so.
    async fn next(&mut self) -> Result<Option<Part>, Status> {
        let message = tokio::select! {
            () = self.leaving.cancelled() => return Err(status::leaving()),
            message = timeout(PATIENCE, self.messages.message()) => message,
        };
        let message = message.map_err(|_| status::deadline_exceeded())?;
        let message = message.map_err(|status| status::undecodable(&status).unwrap_or(status))?;
        let Some(BatchLinkRequest { part }) = message else { return Ok(None) };
        part.map(Some).ok_or_else(|| field("part", "must be start or rows"))
    }

    fn start(&self, start: BatchStart) -> Result<(String, Arc<Batch>), Status> {
        let refuse = |error: FieldError| status::field(&error);
        let id = read::batch_id(start.batch_id, "start.batch_id").map_err(refuse)?;
        let consent =
            read::consent(start.consent, self.linking.clock.now(), "start.consent").map_err(refuse)?;
        let batch = self.linking.batch(&self.profile.id, &id, consent, Channel::CardCompany.into());
        Ok((id, Arc::new(batch)))
    }

    async fn rows(&self, batch: &Arc<Batch>, rows: BatchRows) -> Result<(), Status> {
        if rows.rows.is_empty() || rows.rows.len() > MAX_ROWS {
            return Err(field("rows.rows", "must be 1 to 500"));
        }
        let first = rows.first_row;
        if i64::try_from(first).is_err() {
            return Err(field("rows.first_row", "must be how many rows come before these"));
        }
        let rows = rows.rows.into_iter().map(|row| read::row(row, self.profile)).collect();
        self.linking.carry_out(batch, first, rows).await.map_err(|error| match error {
            BatchError::Failed(error) => status::linking(&error),
            BatchError::Gap => status::rows_left_out(),
        })
    }
}

fn field(field: &str, rule: &'static str) -> Status {
    status::field(&FieldError::new(field, rule))
}
