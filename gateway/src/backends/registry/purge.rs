//! Deleting what is kept of one person, of one partner, or of everybody, and proving it (D25, D32).

use std::fmt;

use jiff::Timestamp;
use ridegate_adapters::PartnerId;
use sqlx::{AssertSqlSafe, Row};

use super::{
    Registry, RegistryError,
    change::Change,
    row::{bytes, places, pseudonym},
};
use crate::{
    domain::{facts::Subject, pseudonym::Pseudonym},
    keyring::{Key, Use},
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
    /// What the person's open ticket is under.
    ticket: Option<Vec<u8>>,
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
        // First, so that no deletion is without its entry however this ends.
        self.note_act("purge", &format!("{scope}: begun, links found {found}"), now).await?;
        let (mut deleted, mut after) = (0, Vec::new());
        while let Some(ended) = self.delete_some(&condition, &mut after, now).await? {
            deleted += ended;
            told(deleted);
        }
        self.delete_the_rest(scope, &condition, now).await?;
        let swept = self.sweep(scope).await.unwrap_or(false);
        let left = self.count(&condition).await?;
        let all = Condition { sql: "1 = 1".into(), names: Vec::new(), partner: None, ticket: None };
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
        let nothing = Condition { sql: "1 = 0".to_owned(), names: Vec::new(), partner: None, ticket: None };
        match scope {
            Scope::Everything => Ok(Condition { sql: "1 = 1".to_owned(), ..nothing }),
            Scope::Partner(partner) => {
                let partner = Some(partner.as_str().to_owned());
                Ok(Condition { sql: "partner = $1".to_owned(), partner, ..nothing })
            }
            Scope::Person(names) => {
                let Some(subject) = self.subject_of(names).await? else { return Ok(nothing) };
                let parts = [subject.expose().as_bytes()];
                let called = |key: &std::sync::Arc<Key>| bytes(&key.pseudonym(Use::Person, &parts));
                let names: Vec<_> = self.keys.all().iter().map(called).collect();
                let ticket = Some(bytes(&self.keys.pseudonym(Use::Person, &parts)));
                Ok(Condition {
                    sql: format!("person IN {}", places(1, names.len())),
                    names,
                    ticket,
                    ..nothing
                })
            }
        }
    }

    /// The person who has one of these accounts.
    async fn subject_of(&self, names: &[Pseudonym]) -> Result<Option<Subject>, RegistryError> {
        let statement =
            format!("SELECT key, key_id, subject FROM link WHERE key IN {}", places(1, names.len()));
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for name in names {
            query = query.bind(bytes(name));
        }
        let Some(row) = query.fetch_optional(self.reader()?).await? else { return Ok(None) };
        self.subject(&row, &pseudonym(&row, "key")?).map(Some)
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
        Ok(query.fetch_one(self.reader()?).await?.try_into().unwrap_or_default())
    }

    /// Deletes some links that come after this one, and notes that they ended; tells how many, `None` if there was none.
    async fn delete_some(
        &self,
        condition: &Condition,
        after: &mut Vec<u8>,
        now: Timestamp,
    ) -> Result<Option<u64>, RegistryError> {
        let mut change = self.begin().await?;
        let first = condition.names.len() + usize::from(condition.partner.is_some()) + 1;
        let statement = format!(
            "DELETE FROM link WHERE key IN \
             (SELECT key FROM link WHERE {} AND key > ${first} ORDER BY key LIMIT {CHUNK}) RETURNING key",
            condition.sql
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for name in &condition.names {
            query = query.bind(name.clone());
        }
        if let Some(partner) = &condition.partner {
            query = query.bind(partner.clone());
        }
        let rows = query.bind(after.clone()).fetch_all(&mut *change.at).await?;
        let ended = rows.iter().map(|row| pseudonym(row, "key")).collect::<Result<Vec<_>, _>>()?;
        let Some(last) = ended.iter().map(|name| name.0).max() else { return Ok(None) };
        *after = last.to_vec();
        change.note(&ended, now).await?;
        change.commit().await?;
        Ok(Some(ended.len() as u64))
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

    /// Has the database give up what it only marked as deleted; tells whether it could.
    async fn sweep(&self, scope: &Scope) -> Result<bool, RegistryError> {
        if !self.embedded {
            for statement in [
                "VACUUM link",
                "VACUUM idempotency",
                "VACUUM ticket",
                "VACUUM delegation",
                "VACUUM batch",
                "VACUUM batch_refused",
                "VACUUM change",
            ] {
                sqlx::raw_sql(statement).execute(self.writer()?).await?;
            }
            return Ok(true);
        }
        // What was deleted is overwritten already (`secure_delete`); the room of one person is not worth everybody's wait.
        if !matches!(scope, Scope::Person(_)) {
            sqlx::raw_sql("VACUUM").execute(self.writer()?).await?;
        }
        // The log beside the database still holds it until this comes to its end; a reader may be in the way.
        let ended = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(self.writer()?).await?;
        Ok(ended.try_get::<i64, _>(0)? == 0)
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

    /// An open ticket is under a name of its own.
    async fn delete_ticket(&mut self, condition: &Condition) -> Result<(), RegistryError> {
        if let Some(person) = &condition.ticket {
            let gone = sqlx::query("DELETE FROM ticket WHERE person = $1").bind(person.clone());
            gone.execute(&mut *self.at).await?;
        }
        Ok(())
    }

    async fn delete_partner(&mut self, partner: &PartnerId) -> Result<(), RegistryError> {
        for statement in [
            "DELETE FROM batch_refused WHERE batch IN (SELECT key FROM batch WHERE partner = $1)",
            "DELETE FROM batch_count WHERE batch IN (SELECT key FROM batch WHERE partner = $1)",
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
            "DELETE FROM batch_count",
            "DELETE FROM batch",
            "DELETE FROM delegation",
            "DELETE FROM change",
        ] {
            sqlx::query(statement).execute(&mut *self.at).await?;
        }
        Ok(())
    }
}
