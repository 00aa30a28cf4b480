//! What is kept no longer than it is needed (D32).

use std::time::Duration;

use jiff::Timestamp;

use super::{Registry, RegistryError};

/// How long is kept what is not a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Answers under idempotency keys.
    pub answers: Duration,
    /// Holders of lost cards.
    pub lost_cards: Duration,
    /// Links for somebody else that were begun.
    pub delegations: Duration,
    /// Results of batches.
    pub batches: Duration,
    /// That a link ended, for replicas that remember it.
    pub changes: Duration,
}

impl Registry {
    /// Deletes what has been kept long enough; tells how much there was of each.
    pub async fn forget_old(
        &self,
        kept: &Kept,
        now: Timestamp,
    ) -> Result<Vec<(&'static str, u64)>, RegistryError> {
        let tasks = [
            ("answers", "DELETE FROM idempotency WHERE at < $1", kept.answers),
            ("lost cards", "DELETE FROM link WHERE lost_at < $1", kept.lost_cards),
            ("delegations", "DELETE FROM delegation WHERE at < $1", kept.delegations),
            (
                "batch rows",
                "DELETE FROM batch_refused WHERE batch IN (SELECT key FROM batch WHERE at < $1)",
                kept.batches,
            ),
            ("batches", "DELETE FROM batch WHERE at < $1", kept.batches),
            ("changes", "DELETE FROM change WHERE at < $1", kept.changes),
        ];
        let mut forgotten = Vec::new();
        let tickets = self.forget_old_tickets(now).await?;
        if tickets > 0 {
            forgotten.push(("tickets", tickets));
        }
        for (what, statement, long) in tasks {
            let before = now.as_second() - i64::try_from(long.as_secs()).unwrap_or(i64::MAX);
            let gone = sqlx::query(statement).bind(before).execute(&self.writer).await?.rows_affected();
            if gone > 0 {
                forgotten.push((what, gone));
            }
        }
        Ok(forgotten)
    }
}
