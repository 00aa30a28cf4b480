//! What operators did to the registry. Entries are added and never changed; each holds the hash of the one before, so
//! that whoever changes one must change all after it (D35).

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::Row;
use thiserror::Error;

use super::{
    Registry, RegistryError,
    change::{ATTEMPTS, Change, gave_way},
    row::time,
};

/// One entry. It names no rider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1 on.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What was done, in a word.
    pub act: String,
    /// What came of it.
    pub detail: String,
    /// Of this entry and all before it.
    pub hash: Vec<u8>,
}

/// A record that cannot be read, or is not what it was.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// An entry was changed, or one before it taken away.
    #[error("entry {0} of the record is not what was written: it or one before it was changed or taken away")]
    Broken(i64),
}

impl Registry {
    /// Adds an entry on its own.
    pub async fn note_act(&self, act: &str, detail: &str, now: Timestamp) -> Result<(), RegistryError> {
        for _ in 0..ATTEMPTS {
            let mut change = self.begin().await?;
            match change.record(act, detail, now).await {
                Ok(()) => return change.commit().await,
                // Another came first: this one comes after it.
                Err(error) if gave_way(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RegistryError::Contended)
    }

    /// Every entry, oldest first, if none was changed.
    pub async fn record(&self) -> Result<Vec<Entry>, RecordError> {
        let rows = sqlx::query("SELECT seq, at, act, detail, previous, hash FROM record ORDER BY seq");
        let rows = rows.fetch_all(self.reader()?).await.map_err(RegistryError::from)?;
        let (mut entries, mut previous) = (Vec::with_capacity(rows.len()), Vec::new());
        for (row, expected) in rows.iter().zip(1..) {
            let read = || -> Result<(Entry, Vec<u8>), RegistryError> {
                let entry = Entry {
                    seq: row.try_get("seq")?,
                    at: time(row, "at")?,
                    act: row.try_get("act")?,
                    detail: row.try_get("detail")?,
                    hash: row.try_get("hash")?,
                };
                Ok((entry, row.try_get("previous")?))
            };
            let (entry, before) = read()?;
            let is_next = entry.seq == expected && before == previous;
            if !is_next || entry.hash != hash(&previous, entry.seq, entry.at, &entry.act, &entry.detail) {
                return Err(RecordError::Broken(expected));
            }
            previous.clone_from(&entry.hash);
            entries.push(entry);
        }
        Ok(entries)
    }
}

impl Change {
    /// Adds an entry. Of two at once one finds its number taken.
    pub(super) async fn record(
        &mut self,
        act: &str,
        detail: &str,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let last = sqlx::query("SELECT seq, hash FROM record ORDER BY seq DESC LIMIT 1");
        let (seq, previous) = match last.fetch_optional(&mut *self.at).await? {
            Some(row) => (row.try_get::<i64, _>("seq")? + 1, row.try_get("hash")?),
            None => (1, Vec::new()),
        };
        // As it is stored, so that it is the same when it is read.
        let now = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
        let statement = "INSERT INTO record (seq, at, act, detail, previous, hash) VALUES ($1, $2, $3, $4, $5, $6) \
                         ON CONFLICT DO NOTHING";
        let added = sqlx::query(statement)
            .bind(seq)
            .bind(now.as_millisecond())
            .bind(act)
            .bind(detail)
            .bind(previous.clone())
            .bind(hash(&previous, seq, now, act, detail))
            .execute(&mut *self.at)
            .await?;
        if added.rows_affected() == 1 { Ok(()) } else { Err(RegistryError::Contended) }
    }
}

fn hash(previous: &[u8], seq: i64, at: Timestamp, act: &str, detail: &str) -> Vec<u8> {
    let mut digest = Sha256::new();
    let (seq, at) = (seq.to_be_bytes(), at.as_millisecond().to_be_bytes());
    for part in [previous, &seq, &at, act.as_bytes(), detail.as_bytes()] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().to_vec()
}
