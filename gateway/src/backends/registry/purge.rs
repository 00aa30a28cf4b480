//! Deleting what is kept of one person, of one partner, or of everybody, and proving it (D25, D32).

use std::fmt;

use jiff::Timestamp;
use ridegate_adapters::PartnerId;
use sqlx::AssertSqlSafe;

use super::{
    Registry, RegistryError,
    change::Change,
    row::{bytes, places, pseudonym},
};
use crate::{
    domain::{facts::Subject, pseudonym::Pseudonym},
    keyring::Use,
};

/// Links deleted in one change.
const CHUNK: i64 = 5_000;

/// Whose.
#[derive(Debug, Clone)]
pub enum Scope {
    /// Of the person who has the account of one of these names.
    Person(Vec<Pseudonym>),
    /// Of everybody, through this partner.
    Partner(PartnerId),
    /// Of everybody.
    Everything,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(_) => f.write_str("one person"),
            Self::Partner(partner) => write!(f, "partner {partner}"),
            Self::Everything => f.write_str("everything"),
        }
    }
}

/// What a purge came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// Links that were there, those of lost cards included.
    pub found: u64,
    /// Links that are there no more.
    pub deleted: u64,
    /// Links that are still there: none, or the purge did not come to its end.
    pub left: u64,
    /// Links in the whole registry afterwards.
    pub others: u64,
    /// Whether the database has given up the room they took. If it was too busy, another purge does it.
    pub swept: bool,
}

impl fmt::Display for Purged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found, deleted, left, others, swept } = self;
        write!(f, "links found {found}, deleted {deleted}, left {left}; links of others {others}")?;
        if *swept { Ok(()) } else { f.write_str("; their room not given up yet: run it again") }
    }
}

/// A condition on links, and what it compares with.
struct Condition {
    sql: String,
    names: Vec<Vec<u8>>,
    partner: Option<String>,
}

impl Registry {
    /// Deletes, looks whether it is gone, and leaves an entry in the record. `told` hears how many are deleted so far.
    pub async fn purge(
        &self,
        scope: &Scope,
        now: Timestamp,
        told: impl Fn(u64) + Send + Sync,
    ) -> Result<Purged, RegistryError> {
        let condition = self.condition(scope).await?;
        let found = self.count(&condition).await?;
        let mut deleted = 0;
        loop {
            let ended = self.delete_some(&condition, now).await?;
            if ended == 0 {
                break;
            }
            deleted += ended;
            told(deleted);
        }
        self.delete_the_rest(scope, &condition, now).await?;
        let swept = self.sweep().await.is_ok();
        let left = self.count(&condition).await?;
        let all = Condition { sql: "1 = 1".into(), names: Vec::new(), partner: None };
        let others = self.count(&all).await?.saturating_sub(left);
        let came_to = Purged { found, deleted, left, others, swept };
        self.note_act("purge", &format!("{scope}: {came_to}"), now).await?;
        Ok(came_to)
    }

    /// How many links a purge would delete.
    pub async fn would_purge(&self, scope: &Scope) -> Result<u64, RegistryError> {
        let condition = self.condition(scope).await?;
        self.count(&condition).await
    }

    async fn condition(&self, scope: &Scope) -> Result<Condition, RegistryError> {
        let (sql, names, partner) = match scope {
            Scope::Everything => ("1 = 1".to_owned(), Vec::new(), None),
            Scope::Partner(partner) => {
                ("partner = $1".to_owned(), Vec::new(), Some(partner.as_str().to_owned()))
            }
            Scope::Person(names) => {
                let persons = self.persons_of(names).await?;
                if persons.is_empty() {
                    ("1 = 0".to_owned(), Vec::new(), None)
                } else {
                    (format!("person IN {}", places(1, persons.len())), persons, None)
                }
            }
        };
        Ok(Condition { sql, names, partner })
    }

    /// What the person who has one of these accounts is called, under every key.
    async fn persons_of(&self, names: &[Pseudonym]) -> Result<Vec<Vec<u8>>, RegistryError> {
        let statement =
            format!("SELECT key, key_id, subject FROM link WHERE key IN {}", places(1, names.len()));
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for name in names {
            query = query.bind(bytes(name));
        }
        let Some(row) = query.fetch_optional(&self.readers).await? else { return Ok(Vec::new()) };
        let subject: Subject = self.subject(&row, &pseudonym(&row, "key")?)?;
        let called = |key: &crate::keyring::Key| key.pseudonym(Use::Person, &[subject.expose().as_bytes()]);
        Ok(self.keys.all().iter().map(|key| bytes(&called(key))).collect())
    }

    async fn count(&self, condition: &Condition) -> Result<u64, RegistryError> {
        let statement = format!("SELECT COUNT(*) FROM link WHERE {}", condition.sql);
        let mut query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(statement));
        for name in &condition.names {
            query = query.bind(name.clone());
        }
        if let Some(partner) = &condition.partner {
            query = query.bind(partner.clone());
        }
        Ok(query.fetch_one(&self.readers).await?.try_into().unwrap_or_default())
    }

    /// Deletes some links, and notes that they ended; tells how many.
    async fn delete_some(&self, condition: &Condition, now: Timestamp) -> Result<u64, RegistryError> {
        let mut change = self.begin().await?;
        let statement = format!(
            "DELETE FROM link WHERE key IN (SELECT key FROM link WHERE {} LIMIT {CHUNK}) RETURNING key",
            condition.sql
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for name in &condition.names {
            query = query.bind(name.clone());
        }
        if let Some(partner) = &condition.partner {
            query = query.bind(partner.clone());
        }
        let rows = query.fetch_all(&mut *change.at).await?;
        let ended = rows.iter().map(|row| pseudonym(row, "key")).collect::<Result<Vec<_>, _>>()?;
        change.note(&ended, now).await?;
        change.commit().await?;
        Ok(ended.len() as u64)
    }

    /// What is kept beside links.
    async fn delete_the_rest(
        &self,
        scope: &Scope,
        condition: &Condition,
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let mut change = self.begin().await?;
        match scope {
            Scope::Person(_) => {
                change.delete_agent(condition).await?;
                change.delete_ticket(condition).await?;
            }
            Scope::Partner(partner) => change.delete_partner(partner).await?,
            Scope::Everything => {
                change.delete_all().await?;
                // Last: replicas forget everything, also what the log no longer tells.
                change.note_all(now).await?;
            }
        }
        change.commit().await
    }

    /// Has the database give up what it only marked as deleted.
    async fn sweep(&self) -> Result<(), RegistryError> {
        let statements: &[&'static str] = if self.embedded {
            &["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"]
        } else {
            &["VACUUM link", "VACUUM idempotency", "VACUUM ticket"]
        };
        for statement in statements {
            sqlx::raw_sql(*statement).execute(&self.writer).await?;
        }
        Ok(())
    }
}

impl Change {
    /// Links that the person made for others stay; who made them is forgotten.
    async fn delete_agent(&mut self, condition: &Condition) -> Result<(), RegistryError> {
        if condition.names.is_empty() {
            return Ok(());
        }
        let statement = format!(
            "UPDATE link SET agent = NULL, agent_subject = NULL, agent_place = NULL WHERE agent IN {}",
            places(1, condition.names.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for name in &condition.names {
            query = query.bind(name.clone());
        }
        query.execute(&mut *self.at).await?;
        Ok(())
    }

    /// An open ticket is under one of the same names.
    async fn delete_ticket(&mut self, condition: &Condition) -> Result<(), RegistryError> {
        for name in &condition.names {
            sqlx::query("DELETE FROM ticket WHERE person = $1")
                .bind(name.clone())
                .execute(&mut *self.at)
                .await?;
        }
        Ok(())
    }

    async fn delete_partner(&mut self, partner: &PartnerId) -> Result<(), RegistryError> {
        for statement in [
            "DELETE FROM batch_refused WHERE batch IN (SELECT key FROM batch WHERE partner = $1)",
            "DELETE FROM batch WHERE partner = $1",
            "DELETE FROM delegation WHERE partner = $1",
        ] {
            sqlx::query(statement).bind(partner.as_str()).execute(&mut *self.at).await?;
        }
        Ok(())
    }

    async fn delete_all(&mut self) -> Result<(), RegistryError> {
        for statement in [
            "DELETE FROM idempotency",
            "DELETE FROM ticket",
            "DELETE FROM batch_refused",
            "DELETE FROM batch",
            "DELETE FROM delegation",
            "DELETE FROM change",
        ] {
            sqlx::query(statement).execute(&mut *self.at).await?;
        }
        Ok(())
    }
}
