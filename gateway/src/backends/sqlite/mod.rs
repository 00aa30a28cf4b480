//! The registry of links in an embedded SQLite database. An acknowledged change survives kill −9 and power loss:
//! every commit is synced (WAL, `synchronous = FULL`).

mod open;
mod tickets;

pub use open::OpenError;

use std::{fs::File, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use sqlx::{
    Row, Sqlite, SqlitePool, Transaction,
    sqlite::{
        SqliteConnectOptions, SqliteExecutor, SqliteJournalMode, SqlitePoolOptions, SqliteRow,
        SqliteSynchronous,
    },
};
use thiserror::Error;

use crate::{
    domain::{
        facts::Subject,
        link::{Consent, LinkOrder, LinkOutcome, LinkRecord},
        pseudonym::Pseudonym,
    },
    keyring::{Keyring, Use},
};

const READERS: u32 = 4;
/// Longest wait for a connection or a lock. The verdict path has a shorter one of its own.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an idempotency key is remembered.
const IDEMPOTENCY_S: i64 = 48 * 3600;

/// The registry.
#[derive(Debug)]
pub struct Registry {
    readers: SqlitePool,
    writer: SqlitePool,
    keys: Arc<Keyring>,
    /// Held for as long as this is open: what is remembered of links is true only while nobody else changes them.
    _lock: File,
}

/// The registry did not answer.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// Down, busy or full.
    #[error("the registry is not available: {0}")]
    Unavailable(#[from] sqlx::Error),
    /// No answer in time.
    #[error("the registry did not answer in time")]
    TimedOut,
    /// A row that the gateway did not write, or wrote under another key.
    #[error("the registry holds a row that cannot be read: {0}")]
    Unreadable(&'static str),
}

impl RegistryError {
    /// As metrics call it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Unavailable(_) => "unavailable",
            Self::Unreadable(_) => "wrong_answer",
        }
    }
}

impl Registry {
    /// Opens the database, or makes it.
    pub async fn open(path: &Path, keys: Arc<Keyring>) -> Result<Self, OpenError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            // A withdrawn link leaves nothing behind in free pages.
            .pragma("secure_delete", "ON")
            .busy_timeout(PATIENCE);
        let lock = open::lock(path)?;
        open::make_private(path)?;
        let pool = SqlitePoolOptions::new().acquire_timeout(PATIENCE);
        let writer = pool.clone().max_connections(1).connect_with(options.clone()).await?;
        open::prepare(&writer, &keys).await?;
        let readers = pool.max_connections(READERS).connect_with(options.read_only(true)).await?;
        Ok(Self { readers, writer, keys, _lock: lock })
    }

    /// Whether it answers.
    pub async fn ping(&self) -> Result<(), RegistryError> {
        sqlx::query("SELECT 1 FROM link LIMIT 1").fetch_optional(&self.readers).await?;
        Ok(())
    }

    /// Whose account it is; `None` if it is not linked.
    pub async fn find(&self, key: &Pseudonym) -> Result<Option<Subject>, RegistryError> {
        let row = sqlx::query("SELECT subject FROM link WHERE key = ?").bind(bytes(key));
        let Some(row) = row.fetch_optional(&self.readers).await? else { return Ok(None) };
        let subject =
            self.keys.open(row.try_get("subject")?, key).map_err(|_| RegistryError::Unreadable("subject"))?;
        let subject = String::from_utf8(subject).map_err(|_| RegistryError::Unreadable("subject"))?;
        Ok(Some(Subject::new(subject)))
    }

    /// The link as its partner may see it.
    pub async fn get(&self, key: &Pseudonym) -> Result<Option<LinkRecord>, RegistryError> {
        let row = sqlx::query(
            "SELECT linked_at, channel, consent_wording, consent_at, consent_purpose FROM link WHERE key = ?",
        );
        row.bind(bytes(key)).fetch_optional(&self.readers).await?.map(|row| record(&row)).transpose()
    }

    /// What was answered under this order's idempotency key, if anything was.
    pub async fn answered(&self, order: &LinkOrder) -> Result<Option<LinkOutcome>, RegistryError> {
        answered(&self.readers, order).await
    }

    /// Links every medium of the order to its subject, or none. Committed when this returns.
    pub async fn link(
        &self,
        order: &LinkOrder,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<LinkOutcome, RegistryError> {
        let mut change = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        if let Some(outcome) = answered(&mut *change, order).await? {
            return Ok(outcome);
        }
        let person = self.keys.pseudonym(Use::Person, &[subject.expose().as_bytes()]);
        let (mut taken, mut fresh) = (Vec::new(), Vec::new());
        for (position, key) in order.keys.iter().enumerate() {
            match owner(&mut change, key).await? {
                None => fresh.push(key),
                Some(owner) if owner == bytes(&person) => {}
                Some(_) => taken.push(position),
            }
        }
        if !taken.is_empty() {
            return Ok(LinkOutcome::LinkedToSomeoneElse(taken));
        }
        let outcome = if fresh.is_empty() { LinkOutcome::AlreadyLinked } else { LinkOutcome::Linked };
        for key in fresh {
            let sealed = self.keys.seal(subject.expose().as_bytes(), key);
            let sealed = sealed.map_err(|_| RegistryError::Unreadable("subject"))?;
            insert(&mut change, key, &person, sealed, order, now).await?;
        }
        remember(&mut change, order, &outcome, now).await?;
        change.commit().await?;
        Ok(outcome)
    }

    /// Deletes a link; tells whether there was one. Committed when this returns.
    pub async fn unlink(&self, key: &Pseudonym) -> Result<bool, RegistryError> {
        let deleted =
            sqlx::query("DELETE FROM link WHERE key = ?").bind(bytes(key)).execute(&self.writer).await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Closes the database. Whoever asks afterwards gets [`RegistryError::Unavailable`].
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Asked before the authority is, and again inside the change: of two equal requests at once the second gets the
/// first one's answer.
async fn answered<'c>(
    at: impl SqliteExecutor<'c>,
    order: &LinkOrder,
) -> Result<Option<LinkOutcome>, RegistryError> {
    let row =
        sqlx::query("SELECT request, outcome FROM idempotency WHERE key = ?").bind(bytes(&order.idempotency));
    let Some(row) = row.fetch_optional(at).await? else { return Ok(None) };
    if row.try_get::<Vec<u8>, _>("request")? != bytes(&order.fingerprint) {
        return Ok(Some(LinkOutcome::KeyReused));
    }
    let outcome =
        LinkOutcome::from_code(row.try_get("outcome")?).ok_or(RegistryError::Unreadable("outcome"))?;
    Ok(Some(outcome))
}

async fn owner(
    change: &mut Transaction<'_, Sqlite>,
    key: &Pseudonym,
) -> Result<Option<Vec<u8>>, RegistryError> {
    let person = sqlx::query_scalar("SELECT person FROM link WHERE key = ?").bind(bytes(key));
    Ok(person.fetch_optional(&mut **change).await?)
}

async fn insert(
    change: &mut Transaction<'_, Sqlite>,
    key: &Pseudonym,
    person: &Pseudonym,
    subject: Vec<u8>,
    order: &LinkOrder,
    now: Timestamp,
) -> Result<(), RegistryError> {
    sqlx::query(
        "INSERT INTO link
            (key, person, subject, linked_at, channel, consent_wording, consent_at, consent_purpose)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(bytes(key))
    .bind(bytes(person))
    .bind(subject)
    .bind(now.as_millisecond())
    .bind(order.channel)
    .bind(&order.consent.wording_version)
    .bind(order.consent.granted_at.as_millisecond())
    .bind(&order.consent.purpose)
    .execute(&mut **change)
    .await?;
    Ok(())
}

/// In the same transaction as the links, so that an answer is remembered exactly if it came true.
async fn remember(
    change: &mut Transaction<'_, Sqlite>,
    order: &LinkOrder,
    outcome: &LinkOutcome,
    now: Timestamp,
) -> Result<(), RegistryError> {
    let Some(code) = outcome.code() else { return Ok(()) };
    sqlx::query("DELETE FROM idempotency WHERE at < ?")
        .bind(now.as_second() - IDEMPOTENCY_S)
        .execute(&mut **change)
        .await?;
    sqlx::query("INSERT OR REPLACE INTO idempotency (key, request, outcome, at) VALUES (?, ?, ?, ?)")
        .bind(bytes(&order.idempotency))
        .bind(bytes(&order.fingerprint))
        .bind(code)
        .bind(now.as_second())
        .execute(&mut **change)
        .await?;
    Ok(())
}

fn bytes(name: &Pseudonym) -> Vec<u8> {
    name.0.to_vec()
}

fn time(row: &SqliteRow, column: &'static str) -> Result<Timestamp, RegistryError> {
    Timestamp::from_millisecond(row.try_get(column)?).map_err(|_| RegistryError::Unreadable(column))
}

fn record(row: &SqliteRow) -> Result<LinkRecord, RegistryError> {
    Ok(LinkRecord {
        linked_at: time(row, "linked_at")?,
        channel: row.try_get("channel")?,
        consent: Consent {
            wording_version: row.try_get("consent_wording")?,
            granted_at: time(row, "consent_at")?,
            purpose: row.try_get("consent_purpose")?,
        },
    })
}
