//! The registry: who linked what. In an embedded SQLite database, or in PostgreSQL for a fleet; what is said to either
//! is the same. An acknowledged change survives kill −9 and power loss.

mod ask;
mod batches;
mod change;
mod changes;
mod delegations;
mod error;
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

pub use ask::{PATIENCE, ask};
pub use batches::{Batch, BatchRow};
pub use changes::{Changed, Head};
pub use delegations::{Pending, Wanted};
pub use error::{OpenError, RegistryError};
pub use open::Location;
pub use purge::{Purged, Scope};
pub use record::{Entry, RecordError};
pub use rekey::Rekeyed;
pub use retention::{Forgotten, Kept};

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
};

use sqlx::{Any, AnyPool, Executor, Row};

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
    /// The key that the registry is written under, once it was found to be the one that this process has.
    knows_key: AtomicI64,
    /// The key that the registry is written under and this process does not have; 0 if it has it.
    lacks_key: AtomicI64,
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
        self.find_each(&[names.to_vec()]).await?.pop().unwrap_or(Ok(None))
    }

    /// Whose accounts they are that may have these names each, in their order and by one question. A row that cannot be read is the
    /// answer to whom it belongs to and to nobody else.
    pub async fn find_each(
        &self,
        accounts: &[Vec<Pseudonym>],
    ) -> Result<Vec<Result<Option<Found>, RegistryError>>, RegistryError> {
        let columns = "SELECT key, key_id, subject FROM link";
        let rows = row::by_names(columns, &accounts.concat(), self.reader()?).await?;
        let missing = match self.lacks_key.load(Relaxed) {
            0 => Ok(None),
            // Its name may be one that this process cannot make.
            id => Err(RegistryError::KeyMissing(id)),
        };
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            // Whose a row is of which this cannot be read is not known: it may be anybody's.
            let name = row::pseudonym(&row, "key")?;
            found.insert(name, self.subject(&row, &name));
        }
        let answer = |names: &Vec<Pseudonym>| {
            let known = names.iter().find_map(|name| Some((*name, found.get(name)?.clone())));
            known.map_or(missing.clone(), |(name, subject)| Ok(Some(Found { name, subject: subject? })))
        };
        Ok(accounts.iter().map(answer).collect())
    }

    /// The link as its partner may see it: of a card that another linked, nothing.
    pub async fn get(&self, names: &[Pseudonym], partner: &str) -> Result<Option<LinkRecord>, RegistryError> {
        let columns =
            "SELECT partner, linked_at, channel, consent_wording, consent_at, consent_purpose FROM link";
        let row = row::by_names(columns, names, self.reader()?).await?.pop();
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

    /// Where it is read, once it was found to be ours.
    fn reader(&self) -> Result<&AnyPool, RegistryError> {
        if self.checked.load(Relaxed) { Ok(&self.readers) } else { Err(RegistryError::NotChecked) }
    }

    /// Where it is written, once it was found to be ours.
    fn writer(&self) -> Result<&AnyPool, RegistryError> {
        self.reader().map(|_| &self.writer)
    }

    /// The key of this number.
    fn key(&self, id: i64) -> Result<Arc<Key>, RegistryError> {
        self.keys.get(id).ok_or(RegistryError::KeyMissing(id))
    }

    /// Makes sure that the key the registry is written under is known. One that came to the file after it was read is
    /// found there, and taken if it is the one that the registry knows by that number. Without it, what is not found may
    /// be there all the same.
    pub async fn learn_key(&self, id: i64) -> Result<(), RegistryError> {
        let learnt = self.learn(id, self.reader()?).await;
        self.lacks_key.store(if learnt.is_ok() { 0 } else { id }, Relaxed);
        learnt
    }

    async fn learn<'c>(&self, id: i64, at: impl Executor<'c, Database = Any>) -> Result<(), RegistryError> {
        if self.knows_key.load(Relaxed) == id {
            return Ok(());
        }
        let check = sqlx::query_scalar("SELECT value FROM key_check WHERE key_id = $1").bind(id);
        let check: Vec<u8> = check.fetch_one(at).await?;
        let is_it = |key: &Arc<Key>| key.check_value().0.as_slice() == check;
        // One that was known by the same number and is another is replaced by the one that it should be.
        let known = self.keys.get(id);
        let found = known.into_iter().chain(self.keys.look_again(id).ok().flatten()).find(is_it);
        self.keys.admit(&found.ok_or(RegistryError::KeyMissing(id))?);
        self.knows_key.store(id, Relaxed);
        Ok(())
    }

    /// The subject of a row of this name.
    fn subject(&self, row: &sqlx::any::AnyRow, name: &Pseudonym) -> Result<Subject, RegistryError> {
        let key = self.key(row.try_get("key_id")?)?;
        let subject = key.open(row.try_get("subject")?, name);
        let subject = subject.map_err(|_| RegistryError::Unreadable("subject"))?;
        String::from_utf8(subject).map(Subject::new).map_err(|_| RegistryError::Unreadable("subject"))
    }
}
