//! Batches of concession cards, message by message (D9).

use std::sync::Arc;

use ridegate_adapters::{Medium, PartnerId};
use thiserror::Error;

use super::{Linking, LinkingError, Redacted, spawned};
use crate::{
    backends::{
        authority::{Exchanged, MAX_BATCH},
        registry::{Batch, BatchRow},
    },
    domain::{
        batch::{Progress, RefusedRow, RowResult},
        link::Consent,
        pseudonym::Pseudonym,
    },
    keyring::Use,
};

/// One row as it came: a card and the authority's code for its holder, or why it cannot be used.
pub type Stated = Result<(Medium, Redacted), RowResult>;

/// Rows that were not carried out.
#[derive(Debug, Error)]
pub enum BatchError {
    /// Something behind the gateway did not answer.
    #[error(transparent)]
    Failed(#[from] LinkingError),
    /// Rows are left out between those that were carried out and these.
    #[error("rows are left out")]
    Gap,
}

impl Linking {
    /// A batch of this partner's.
    pub fn batch(&self, partner: &PartnerId, id: &str, consent: Consent, channel: i32) -> Batch {
        Batch { key: self.batch_key(partner, id), partner: partner.clone(), consent, channel }
    }

    /// How far a batch is, and its refused rows from this one on; `None` if there is no such batch.
    pub async fn batch_progress(
        &self,
        partner: &PartnerId,
        id: &str,
        from: u64,
    ) -> Result<Option<(Progress, Vec<RefusedRow>)>, LinkingError> {
        let key = self.batch_key(partner, id);
        let Some(progress) = self.timed("progress", self.registry.progress(&key)).await? else {
            return Ok(None);
        };
        let refused = self.timed("refused_rows", self.registry.refused_rows(&key, from)).await?;
        Ok(Some((progress, refused)))
    }

    /// Carries out rows of which the first is the batch's row of this number. Those that were carried out before are
    /// passed over. A crash at any point loses nothing: the same rows again are exchanged for the same holders.
    pub async fn carry_out(
        &self,
        batch: &Arc<Batch>,
        first: u64,
        rows: Vec<Stated>,
    ) -> Result<(), BatchError> {
        let done = self.timed("rows_done", self.registry.rows_done(&batch.key)).await;
        let mut done = done.map_err(LinkingError::from)?.unwrap_or_default();
        let end = first + rows.len() as u64;
        // Another may go on with the same batch at the same time: then fewer are left here, and in the end none.
        while done < end {
            // Also where the batch was purged meanwhile.
            if done < first {
                return Err(BatchError::Gap);
            }
            let passed = usize::try_from(done - first).unwrap_or(usize::MAX);
            let left = rows.get(passed..).unwrap_or_default();
            let exchanged = self.exchange(batch, done, left).await?;
            let (linking, batch, now) = (self.clone(), Arc::clone(batch), self.clock.now());
            done = spawned(async move {
                linking.timed("carry_out", linking.registry.carry_out(&batch, done, &exchanged, now)).await
            })
            .await?;
        }
        Ok(())
    }

    /// Every row's code for its holder.
    async fn exchange(
        &self,
        batch: &Batch,
        first: u64,
        rows: &[Stated],
    ) -> Result<Vec<BatchRow>, LinkingError> {
        let mut exchanged = Vec::with_capacity(rows.len());
        for (chunk, start) in rows.chunks(MAX_BATCH).zip((first..).step_by(MAX_BATCH)) {
            let asked: Vec<_> = chunk
                .iter()
                .zip(start..)
                .filter_map(|(row, number)| {
                    let (_, code) = row.as_ref().ok()?;
                    Some((code.expose().to_owned(), self.row_key(batch, number)))
                })
                .collect();
            let mut answers = self.authority.batch_exchange(&asked).await?.into_iter();
            for row in chunk {
                exchanged.push(match row {
                    Err(refused) => BatchRow::Refused(*refused),
                    Ok((card, _)) => match answers.next() {
                        Some(Exchanged::Subject(holder)) => BatchRow::Card(card.clone(), holder),
                        Some(Exchanged::Used) => BatchRow::Refused(RowResult::AuthorizationUsed),
                        Some(Exchanged::Unknown) | None => BatchRow::Refused(RowResult::AuthorizationUnknown),
                    },
                });
            }
        }
        Ok(exchanged)
    }

    /// Under which key the authority exchanges this row's code.
    fn row_key(&self, batch: &Batch, row: u64) -> String {
        hex::encode(self.keys.pseudonym(Use::Batch, &[&batch.key.0, &row.to_be_bytes()]).0)
    }

    fn batch_key(&self, partner: &PartnerId, id: &str) -> Pseudonym {
        self.keys.pseudonym(Use::Batch, &[partner.as_str().as_bytes(), id.as_bytes()])
    }
}
