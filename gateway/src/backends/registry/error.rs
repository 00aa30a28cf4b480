//! Why a registry cannot be used, or did not answer.

use std::{path::PathBuf, sync::Arc};

use thiserror::Error;

use crate::keyring::KeyId;

/// A database that cannot be used.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Not reachable, not readable, not writable, or no database.
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    /// Its file cannot be made.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its schema cannot be brought up to date.
    #[error("its schema cannot be brought up to date: {0}")]
    Migration(sqlx::migrate::MigrateError),
    /// Made by a later version.
    #[error("its schema is version {found}, this ridegate knows up to {known}: use a newer one")]
    Newer {
        /// Its version.
        found: i64,
        /// The last that is known.
        known: i64,
    },
    /// Made by an earlier version, or not yet.
    #[error("its schema is not of this version: run `ridegate migrate`")]
    NotMigrated,
    /// Written under another key.
    #[error("it was written under another key: the key file is not this database's")]
    OtherKey,
    /// Written under a key that is not in the key file.
    #[error("it was written under key {0}, which is not in the key file")]
    KeyMissing(KeyId),
}

/// The registry did not answer. Many may have asked at once, and each is told.
#[derive(Debug, Clone, Error)]
pub enum RegistryError {
    /// Down, busy or full.
    #[error("the registry is not available: {0}")]
    Unavailable(Arc<sqlx::Error>),
    /// No answer in time.
    #[error("the registry did not answer in time")]
    TimedOut,
    /// It was not asked: it does not answer.
    #[error("the registry does not answer and was not asked")]
    Skipped,
    /// It has not been found to be ours yet.
    #[error("the registry was not reached yet")]
    NotChecked,
    /// It is not ours, or not of this version.
    #[error("the registry cannot be used: {0}")]
    NotUsable(Arc<OpenError>),
    /// Others changed the same again and again.
    #[error("the registry is too busy with the same rider")]
    Contended,
    /// It is written under a key that this process does not have.
    #[error("the registry is written under key {0}, which is not in the key file")]
    KeyMissing(i64),
    /// An answer that its driver did not survive.
    #[error("the registry's answer broke its driver")]
    Garbled,
    /// A row that the gateway did not write, or wrote under another key.
    #[error("the registry holds a row that cannot be read: {0}")]
    Unreadable(&'static str),
}

impl From<sqlx::Error> for RegistryError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(Arc::new(error))
    }
}

impl RegistryError {
    /// As metrics call it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TimedOut => "timed_out",
            Self::Unavailable(_)
            | Self::Skipped
            | Self::NotChecked
            | Self::NotUsable(_)
            | Self::Contended
            | Self::KeyMissing(_) => "unavailable",
            Self::Garbled | Self::Unreadable(_) => "wrong_answer",
        }
    }
}
