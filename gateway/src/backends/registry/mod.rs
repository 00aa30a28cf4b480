//! The registry: who linked what. In an embedded SQLite database, or in PostgreSQL for a fleet; what is said to either
//! is the same. An acknowledged change survives kill −9 and power loss.

mod batches;
mod change;
mod changes;
mod delegations;
mod links;
mod lost;
mod open;
mod purge;
mod record;
mod rekey;
mod retention;
mod row;
mod schema;
mod tickets;

pub use batches::{Batch, BatchRow};
pub use changes::{Changed, Head};
pub use delegations::{Pending, Wanted};
pub use open::{Location, OpenError};
pub use purge::{Purged, Scope};
pub use record::{Entry, RecordError};
pub use rekey::Rekeyed;
pub use retention::Kept;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use sqlx::{AnyPool, Row};
use thiserror::Error;

use crate::{
    domain::{
        facts::Subject,
        link::{LinkOutcome, LinkRecord},
        pseudonym::Pseudonym,
    },
    keyring::{Key, Keyring},
};

/// The registry.
#[derive(Debug)]
pub struct Registry {
    readers: AnyPool,
    writer: AnyPool,
    keys: Arc<Keyring>,
    /// Whether it is SQLite.
    embedded: bool,
    /// Whether it was found to be ours, with this version's schema. Nothing is read or written before.
    checked: AtomicBool,
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
    /// It has not been found to be ours yet.
    #[error("the registry was not reached yet")]
    NotChecked,
    /// It is not ours, or not of this version.
    #[error("the registry cannot be used: {0}")]
    NotUsable(OpenError),
    /// Others changed the same again and again.
    #[error("the registry is too busy with the same rider")]
    Contended,
    /// It is written under a key that this process does not have.
    #[error("the registry is written under key {0}, which is not in the key file")]
    KeyMissing(i64),
    /// A row that the gateway did not write, or wrote under another key.
    #[error("the registry holds a row that cannot be read: {0}")]
    Unreadable(&'static str),
}

impl RegistryError {
    /// As metrics call it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Unavailable(_)
            | Self::NotChecked
            | Self::NotUsable(_)
            | Self::Contended
            | Self::KeyMissing(_) => "unavailable",
            Self::Unreadable(_) => "wrong_answer",
        }
    }
}

/// A link that was found: what it is called, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name, under whichever key it was written.
    pub name: Pseudonym,
    /// The person.
    pub subject: Subject,
}

impl Registry {
    /// Whose account it is that may have these names; `None` if it is not linked.
    pub async fn find(&self, names: &[Pseudonym]) -> Result<Option<Found>, RegistryError> {
        self.is_checked()?;
        let columns = "SELECT key, key_id, subject FROM link";
        let Some(row) = row::by_names(columns, names, &self.readers).await? else { return Ok(None) };
        let name = row::pseudonym(&row, "key")?;
        let subject = self.subject(&row, &name)?;
        Ok(Some(Found { name, subject }))
    }

    /// The link as its partner may see it: of a card that another linked, nothing.
    pub async fn get(&self, names: &[Pseudonym], partner: &str) -> Result<Option<LinkRecord>, RegistryError> {
        self.is_checked()?;
        let columns =
            "SELECT partner, linked_at, channel, consent_wording, consent_at, consent_purpose FROM link";
        let row = row::by_names(columns, names, &self.readers).await?;
        let theirs = |row: &sqlx::any::AnyRow| {
            Ok::<_, RegistryError>(row::is_of(&row.try_get::<String, _>("partner")?, partner))
        };
        match row {
            Some(row) if theirs(&row)? => row::record(&row).map(Some),
            _ => Ok(None),
        }
    }

    /// Closes the database. Whoever asks afterwards gets [`RegistryError::Unavailable`].
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    fn is_checked(&self) -> Result<(), RegistryError> {
        if self.checked.load(Relaxed) { Ok(()) } else { Err(RegistryError::NotChecked) }
    }

    /// The key of this number. One that came to the file after it was read is found there.
    fn key(&self, id: i64) -> Result<Arc<Key>, RegistryError> {
        if self.keys.get(id).is_none() {
            // What cannot be read now is looked for again the next time.
            let _unreadable = self.keys.reload();
        }
        self.keys.get(id).ok_or(RegistryError::KeyMissing(id))
    }

    /// The subject of a row of this name.
    fn subject(&self, row: &sqlx::any::AnyRow, name: &Pseudonym) -> Result<Subject, RegistryError> {
        let key = self.key(row.try_get("key_id")?)?;
        let subject = key.open(row.try_get("subject")?, name);
        let subject = subject.map_err(|_| RegistryError::Unreadable("subject"))?;
        String::from_utf8(subject).map(Subject::new).map_err(|_| RegistryError::Unreadable("subject"))
    }
}
