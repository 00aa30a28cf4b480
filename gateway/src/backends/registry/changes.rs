//! The log of links that ended, which replicas follow.

use sqlx::{Row, any::AnyRow};

use super::{Registry, RegistryError, row::pseudonym};
use crate::domain::pseudonym::Pseudonym;

/// Changes told at once.
const PAGE: i64 = 4096;

/// How far the log goes, and the key that the registry is written under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last change.
    pub seq: i64,
    /// The key's number.
    pub key: i64,
}

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// These links ended, in this order; the log was followed up to here.
    Links {
        /// What they were called.
        names: Vec<Pseudonym>,
        /// The last of these changes.
        upto: i64,
    },
    /// Every link ended, or changes are gone from the log that were never seen: nothing remembered can be trusted.
    Everything,
}

impl Registry {
    /// How far the log goes.
    pub async fn head(&self) -> Result<Head, RegistryError> {
        // A log without links would be no use: one is asked for that nobody has, by its key.
        let head = "SELECT seq, current, (SELECT COUNT(*) FROM link WHERE key = $1) AS none FROM change_head, keyset";
        let row = sqlx::query(head).bind(Vec::<u8>::new()).fetch_one(self.reader()?).await?;
        Ok(Head { seq: row.try_get("seq")?, key: row.try_get("current")? })
    }

    /// The change before the first that is still told of.
    pub async fn tail(&self) -> Result<i64, RegistryError> {
        let tail = "SELECT COALESCE((SELECT MIN(seq) - 1 FROM change), seq) AS tail FROM change_head";
        Ok(sqlx::query(tail).fetch_one(self.reader()?).await?.try_get("tail")?)
    }

    /// The changes that come after this one.
    pub async fn changes(&self, after: i64) -> Result<Changed, RegistryError> {
        let rows = sqlx::query("SELECT seq, key FROM change WHERE seq > $1 ORDER BY seq LIMIT $2")
            .bind(after)
            .bind(PAGE)
            .fetch_all(self.reader()?)
            .await?;
        let (mut names, mut upto) = (Vec::with_capacity(rows.len()), after);
        for row in &rows {
            // Numbers follow one another: one that is missing was there, and is gone.
            if row.try_get::<i64, _>("seq")? != upto + 1 || is_everything(row)? {
                return Ok(Changed::Everything);
            }
            upto += 1;
            names.push(pseudonym(row, "key")?);
        }
        Ok(if rows.is_empty() { Changed::Everything } else { Changed::Links { names, upto } })
    }
}

fn is_everything(row: &AnyRow) -> Result<bool, RegistryError> {
    Ok(row.try_get::<Option<Vec<u8>>, _>("key")?.is_none())
}
