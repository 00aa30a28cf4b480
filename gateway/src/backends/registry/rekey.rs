//! Writing the registry anew under the newest key, while it is in use.

use std::sync::Arc;

use jiff::Timestamp;
use sqlx::{Row, any::AnyRow};

use super::{
    Registry, RegistryError,
    change::Change,
    links::{seal, split},
    row::{bytes, pseudonym},
};
use crate::{
    domain::{facts::Subject, pseudonym::Pseudonym},
    keyring::{Key, KeyId, Use},
};

/// Rows written in one change.
const CHUNK: i64 = 500;

/// What writing anew came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rekeyed {
    /// The key it is written under now.
    pub key: KeyId,
    /// Links written anew.
    pub links: u64,
    /// Links of the first databases, whose account cannot be read: they stay under their key.
    pub unreadable: u64,
    /// Keys that nothing is written under any more: they may be taken from the key file.
    pub retired: Vec<KeyId>,
}

impl Registry {
    /// Makes the newest key the one that everything is written under from now on; tells its number. Every replica should
    /// have heard of it before [`rekey`](Self::rekey): one that has not would not find what is written under it.
    pub async fn begin_rekey(&self, now: Timestamp) -> Result<KeyId, RegistryError> {
        let newest = self.keys.all().last().map(Arc::clone).ok_or(RegistryError::KeyMissing(1))?;
        self.begin_under(&newest, now).await?;
        Ok(newest.id())
    }

    /// Writes all links anew that are under another key. Broken off, it goes on where it was the next time. `told` hears
    /// how many are written so far.
    pub async fn rekey(
        &self,
        key: KeyId,
        now: Timestamp,
        told: impl Fn(u64) + Send + Sync,
    ) -> Result<Rekeyed, RegistryError> {
        let (mut after, mut links) = (Vec::new(), 0);
        loop {
            let mut change = self.begin().await?;
            let rows = sqlx::query(
                "SELECT key, key_id, account, subject, agent_subject, agent FROM link WHERE key > $1 ORDER BY key LIMIT $2",
            );
            let rows = rows.bind(after.clone()).bind(CHUNK).fetch_all(&mut *change.at).await?;
            let Some(last) = rows.last() else { break };
            after = last.try_get("key")?;
            links += change.rewrite(self, &rows, now).await?;
            change.commit().await?;
            told(links);
        }
        self.retire(key, links, now).await
    }

    /// From here on every process writes under this key.
    async fn begin_under(&self, newest: &Key, now: Timestamp) -> Result<(), RegistryError> {
        let mut change = self.begin().await?;
        if change.key.id() == newest.id() {
            return Ok(());
        }
        sqlx::query("INSERT INTO key_check (key_id, value) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(newest.id())
            .bind(bytes(newest.check_value()))
            .execute(&mut *change.at)
            .await?;
        change.record("key", &format!("written under key {} from now on", newest.id()), now).await?;
        // Last, so that this change waits for nobody while it holds what everybody needs.
        sqlx::query("UPDATE keyset SET current = $1").bind(newest.id()).execute(&mut *change.at).await?;
        change.commit().await
    }

    /// There are only as many as were begun within a day.
    async fn rekey_delegations(&self, key: KeyId) -> Result<(), RegistryError> {
        let mut change = self.begin().await?;
        let rows = sqlx::query("SELECT key, key_id, wanted FROM delegation WHERE key_id <> $1").bind(key);
        for row in rows.fetch_all(&mut *change.at).await? {
            let name = pseudonym(&row, "key")?;
            let wanted = self.key(row.try_get("key_id")?)?.open(row.try_get("wanted")?, &name);
            let wanted = wanted.map_err(|_| RegistryError::Unreadable("wanted"))?;
            let sealed = change.key.seal(&wanted, &name).map_err(|_| RegistryError::Unreadable("wanted"))?;
            sqlx::query("UPDATE delegation SET key_id = $2, wanted = $3 WHERE key = $1")
                .bind(bytes(&name))
                .bind(change.key.id())
                .bind(sealed)
                .execute(&mut *change.at)
                .await?;
        }
        change.commit().await
    }

    async fn retire(&self, key: KeyId, links: u64, now: Timestamp) -> Result<Rekeyed, RegistryError> {
        self.rekey_delegations(key).await?;
        let mut change = self.begin().await?;
        let unreadable: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM link WHERE key_id <> $1")
            .bind(key)
            .fetch_one(&mut *change.at)
            .await?;
        let retired = sqlx::query_scalar(
            "DELETE FROM key_check WHERE key_id <> $1 AND key_id <> 0 AND key_id NOT IN (SELECT key_id FROM link) \
             AND key_id NOT IN (SELECT key_id FROM delegation) RETURNING key_id",
        );
        let retired: Vec<KeyId> = retired.bind(key).fetch_all(&mut *change.at).await?;
        change.record("key", &format!("{links} links written anew under key {key}"), now).await?;
        change.commit().await?;
        Ok(Rekeyed { key, links, unreadable: unreadable.try_into().unwrap_or_default(), retired })
    }
}

impl Change {
    /// Writes rows anew that are under another key; tells how many.
    async fn rewrite(
        &mut self,
        registry: &Registry,
        rows: &[AnyRow],
        now: Timestamp,
    ) -> Result<u64, RegistryError> {
        let mut renamed = Vec::new();
        for row in rows {
            let id = row.try_get::<KeyId, _>("key_id")?;
            let Some(account) = row.try_get::<Option<Vec<u8>>, _>("account")? else { continue };
            if id == self.key.id() {
                continue;
            }
            let old = pseudonym(row, "key")?;
            let under = registry.key(id)?;
            let account = under.open(&account, &old).map_err(|_| RegistryError::Unreadable("account"))?;
            let subject = registry.subject(row, &old)?;
            let agent = agent(&under, row)?;
            if self.rename(&old, &account, &subject, agent.as_ref()).await? {
                renamed.push(old);
            }
        }
        // Who remembers a link under its old name forgets it: its end would be told under the new one.
        self.note(&renamed, now).await?;
        Ok(renamed.len() as u64)
    }

    /// False if the row is there no more.
    async fn rename(
        &mut self,
        old: &Pseudonym,
        account: &[u8],
        subject: &Subject,
        agent: Option<&Subject>,
    ) -> Result<bool, RegistryError> {
        let parts = split(account).ok_or(RegistryError::Unreadable("account"))?;
        let name = self.key.pseudonym(Use::Link, &parts.each_ref().map(Vec::as_slice));
        let person = |subject: &Subject| self.key.pseudonym(Use::Person, &[subject.expose().as_bytes()]);
        let agent_name = agent.map(person);
        let agent_subject = match (agent, &agent_name) {
            (Some(agent), Some(name)) => Some(seal(&self.key, agent, name)?),
            _ => None,
        };
        // In place: whoever ends the link at this moment under its old name ends it under the new one.
        let statement = "UPDATE link SET key = $2, key_id = $3, account = $4, person = $5, subject = $6, agent = $7, \
                         agent_subject = $8 WHERE key = $1";
        let renamed = sqlx::query(statement)
            .bind(bytes(old))
            .bind(bytes(&name))
            .bind(self.key.id())
            .bind(self.key.seal(account, &name).map_err(|_| RegistryError::Unreadable("account"))?)
            .bind(bytes(&person(subject)))
            .bind(seal(&self.key, subject, &name)?)
            .bind(agent_name.as_ref().map(bytes))
            .bind(agent_subject)
            .execute(&mut *self.at)
            .await?;
        Ok(renamed.rows_affected() == 1)
    }
}

/// Who did it for the person.
fn agent(under: &Key, row: &AnyRow) -> Result<Option<Subject>, RegistryError> {
    let Some(sealed) = row.try_get::<Option<Vec<u8>>, _>("agent_subject")? else { return Ok(None) };
    let subject = under.open(&sealed, &pseudonym(row, "agent")?);
    let subject = subject.map_err(|_| RegistryError::Unreadable("agent"))?;
    String::from_utf8(subject)
        .map(|name| Some(Subject::new(name)))
        .map_err(|_| RegistryError::Unreadable("agent"))
}
