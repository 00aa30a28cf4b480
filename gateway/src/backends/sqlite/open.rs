//! Opening the database: its schema, its lock, and whether it is ours.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

use sqlx::SqlitePool;
use thiserror::Error;

use crate::keyring::Keyring;

const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
    CREATE TABLE secret (check_value BLOB NOT NULL) STRICT;
    CREATE TABLE link (
        key             BLOB PRIMARY KEY,
        person          BLOB NOT NULL,
        subject         BLOB NOT NULL,
        linked_at       INTEGER NOT NULL,
        channel         INTEGER NOT NULL,
        consent_wording TEXT NOT NULL,
        consent_at      INTEGER NOT NULL,
        consent_purpose TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE idempotency (
        key     BLOB PRIMARY KEY,
        request BLOB NOT NULL,
        outcome INTEGER NOT NULL,
        at      INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX idempotency_at ON idempotency (at);
    CREATE TABLE ticket (
        person BLOB PRIMARY KEY,
        sale   BLOB NOT NULL UNIQUE,
        number BLOB UNIQUE,
        until  INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX ticket_until ON ticket (until);
    PRAGMA user_version = 1;
";

/// A database that cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Not readable, not writable, or no database.
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    /// Another process has it.
    #[error("another ridegate has it open")]
    InUse,
    /// The database's file, or the one that is locked while it is open.
    #[error("{path}: {source}")]
    Lock {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Made by a later version.
    #[error("its schema is version {found}, this ridegate knows up to {SCHEMA_VERSION}: use a newer one")]
    Newer {
        /// Its version.
        found: i64,
    },
    /// Written under another key.
    #[error("it was written under another key: the key file is not this database's")]
    OtherKey,
}

/// Locks a file beside the database; the system lets go of it when the process ends, however it ends.
pub(super) fn lock(database: &Path) -> Result<File, OpenError> {
    // By its real name: two names for one database must meet at one lock. A new one has only the one it was given.
    let database = database.canonicalize().unwrap_or_else(|_| database.to_owned());
    let mut path = database.into_os_string();
    path.push(".lock");
    let path = PathBuf::from(path);
    let refused = |source| OpenError::Lock { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse),
        Err(TryLockError::Error(source)) => Err(refused(source)),
    }
}

/// Makes a new database's file, for its owner only. What lies beside it (the log of changes) takes after it.
pub(super) fn make_private(database: &Path) -> Result<(), OpenError> {
    let mut options = File::options();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let made = options.open(database);
    made.map(drop).map_err(|source| OpenError::Lock { path: database.to_owned(), source })
}

/// Makes the tables of a new database; of an old one looks at its version and whose key it was written under.
pub(super) async fn prepare(writer: &SqlitePool, keys: &Keyring) -> Result<(), OpenError> {
    let mut change = writer.begin_with("BEGIN IMMEDIATE").await?;
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *change).await?;
    match found {
        0 => {
            sqlx::raw_sql(SCHEMA).execute(&mut *change).await?;
            let check = keys.check_value().0.to_vec();
            sqlx::query("INSERT INTO secret (check_value) VALUES (?)")
                .bind(check)
                .execute(&mut *change)
                .await?;
        }
        SCHEMA_VERSION => {
            let check: Vec<u8> =
                sqlx::query_scalar("SELECT check_value FROM secret").fetch_one(&mut *change).await?;
            if check != keys.check_value().0.to_vec() {
                return Err(OpenError::OtherKey);
            }
        }
        found => return Err(OpenError::Newer { found }),
    }
    Ok(change.commit().await?)
}
