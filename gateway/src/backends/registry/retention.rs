//! What is kept no longer than it is needed (D32).

use std::time::Duration;

use jiff::Timestamp;

use super::{Registry, RegistryError};

/// Rows deleted in one statement: others who write wait no longer than for these.
const CHUNK: i64 = 2_000;

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

/// What became of the old of one kind.
#[derive(Debug)]
pub struct Forgotten {
    /// What.
    pub what: &'static str,
    /// How many; or why they could not be forgotten.
    pub many: Result<u64, RegistryError>,
}

impl Registry {
    /// Deletes what has been kept long enough. One kind that cannot be deleted keeps no other from it.
    pub async fn forget_old(&self, kept: &Kept, now: Timestamp) -> Vec<Forgotten> {
        let tasks = [
            (
                "answers",
                "DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE at < $1 LIMIT $2)",
                kept.answers,
            ),
            (
                "lost cards",
                "DELETE FROM link WHERE key IN (SELECT key FROM link WHERE lost_at < $1 LIMIT $2)",
                kept.lost_cards,
            ),
            (
                "delegations",
                "DELETE FROM delegation WHERE key IN (SELECT key FROM delegation WHERE at < $1 LIMIT $2)",
                kept.delegations,
            ),
            (
                "changes",
                "DELETE FROM change WHERE seq IN (SELECT seq FROM change WHERE at < $1 LIMIT $2)",
                kept.changes,
            ),
        ];
        let before = |long: Duration| now.as_second() - i64::try_from(long.as_secs()).unwrap_or(i64::MAX);
        let mut forgotten = Vec::new();
        for (what, statement, long) in tasks {
            forgotten.push(Forgotten { what, many: self.forget(statement, before(long)).await });
        }
        forgotten.push(Forgotten { what: "batches", many: self.forget_batches(before(kept.batches)).await });
        forgotten.push(Forgotten { what: "tickets", many: self.forget_old_tickets(now).await });
        forgotten
    }

    /// Deletes in chunks, until none is left.
    async fn forget(&self, statement: &'static str, before: i64) -> Result<u64, RegistryError> {
        let mut all = 0;
        loop {
            let gone = sqlx::query(statement).bind(before).bind(CHUNK).execute(self.writer()?).await?;
            all += gone.rows_affected();
            if gone.rows_affected() < CHUNK.unsigned_abs() {
                return Ok(all);
            }
        }
    }

    /// A batch goes after its rows.
    async fn forget_batches(&self, before: i64) -> Result<u64, RegistryError> {
        let rows = "DELETE FROM batch_refused WHERE batch = $1 AND row_no IN \
                    (SELECT row_no FROM batch_refused WHERE batch = $1 LIMIT $2)";
        let old: Vec<Vec<u8>> = sqlx::query_scalar("SELECT key FROM batch WHERE at < $1")
            .bind(before)
            .fetch_all(self.reader()?)
            .await?;
        for batch in &old {
            loop {
                let gone = sqlx::query(rows).bind(batch.clone()).bind(CHUNK).execute(self.writer()?).await?;
                if gone.rows_affected() < CHUNK.unsigned_abs() {
                    break;
                }
            }
            for statement in ["DELETE FROM batch_count WHERE batch = $1", "DELETE FROM batch WHERE key = $1"]
            {
                sqlx::query(statement).bind(batch.clone()).execute(self.writer()?).await?;
            }
        }
        Ok(old.len() as u64)
    }
}
