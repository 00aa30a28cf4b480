//! One change: all of it or nothing.

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use sqlx::{Any, AssertSqlSafe, Transaction, error::DatabaseError};

use super::{
    Registry, RegistryError, open,
    row::{bytes, places, pseudonym},
};
use crate::{
    domain::{link::Consent, pseudonym::Pseudonym},
    keyring::{Key, Keyring},
};

/// How often a change is tried that another overtook.
pub(super) const ATTEMPTS: usize = 8;

/// A change under way. Dropped without [`commit`](Self::commit) it never was.
pub(super) struct Change {
    pub(super) at: Transaction<'static, Any>,
    /// What is written now is written under this key. It stays so until this change is over.
    pub(super) key: Arc<Key>,
    pub(super) keys: Arc<Keyring>,
    embedded: bool,
}

/// A link to be written.
pub(super) struct NewLink {
    pub(super) key: Pseudonym,
    pub(super) partner: String,
    pub(super) kind: &'static str,
    pub(super) account: Vec<u8>,
    pub(super) person: Pseudonym,
    pub(super) subject: Vec<u8>,
    pub(super) place: Option<i64>,
    pub(super) agent: Option<Agent>,
    pub(super) linked_at: Timestamp,
    pub(super) channel: i32,
    pub(super) consent: Consent,
}

/// Who did it, and which of the agent's places the link takes.
pub(super) struct Agent {
    pub(super) name: Pseudonym,
    pub(super) subject: Vec<u8>,
    pub(super) place: i64,
}

const COLUMNS: &str = "key, key_id, partner, kind, account, person, subject, place, agent, agent_subject, agent_place, \
                       linked_at, channel, consent_wording, consent_at, consent_purpose";
const WIDTH: usize = 16;

impl Registry {
    pub(super) async fn begin(&self) -> Result<Change, RegistryError> {
        let mut at = open::begin(self.writer()?, self.embedded).await?;
        // Whoever changes the key waits until this is over; an embedded database lets one process write at a time.
        let current =
            if self.embedded { "SELECT current FROM keyset" } else { "SELECT current FROM keyset FOR SHARE" };
        let current: i64 = sqlx::query_scalar(current).fetch_one(&mut *at).await?;
        self.learn(current, &mut *at).await?;
        let (key, keys) = (self.key(current)?, Arc::clone(&self.keys));
        Ok(Change { at, key, keys, embedded: self.embedded })
    }
}

impl Change {
    pub(super) async fn commit(self) -> Result<(), RegistryError> {
        Ok(self.at.commit().await?)
    }

    /// Names under every key.
    pub(super) fn names_by(&self, name: impl Fn(&Key) -> Pseudonym) -> Vec<Pseudonym> {
        self.keys.all().iter().map(|key| name(key)).collect()
    }

    /// `(…), (…)`: places for so many rows, whose values are bound in this order. SQLite looks numbered places up one after
    /// another, which takes long where there are thousands; it takes places without a number as they come.
    pub(super) fn rows(&self, many: usize, width: usize) -> String {
        let row = |row| {
            if self.embedded {
                format!("({}?)", "?, ".repeat(width - 1))
            } else {
                places(row * width + 1, width)
            }
        };
        (0..many).map(row).collect::<Vec<_>>().join(", ")
    }

    /// Writes links; tells which. One whose name, or whose person's or agent's place, is taken is left out: the
    /// database says so, whoever else writes at the same moment.
    pub(super) async fn insert(
        &mut self,
        mut links: Vec<NewLink>,
    ) -> Result<HashSet<Pseudonym>, RegistryError> {
        if links.is_empty() {
            return Ok(HashSet::new());
        }
        // Always in the same order: two changes that write the same links must not wait for each other.
        links.sort_unstable_by_key(|link| link.key.0);
        let rows = self.rows(links.len(), WIDTH);
        let statement =
            format!("INSERT INTO link ({COLUMNS}) VALUES {rows} ON CONFLICT DO NOTHING RETURNING key");
        let mut query = sqlx::query(AssertSqlSafe(statement));
        let key_id = self.key.id();
        for link in links {
            let agent = link.agent;
            query = query
                .bind(bytes(&link.key))
                .bind(key_id)
                .bind(link.partner)
                .bind(link.kind)
                .bind(link.account)
                .bind(bytes(&link.person))
                .bind(link.subject)
                .bind(link.place)
                .bind(agent.as_ref().map(|agent| bytes(&agent.name)))
                .bind(agent.as_ref().map(|agent| agent.subject.clone()))
                .bind(agent.map(|agent| agent.place))
                .bind(link.linked_at.as_millisecond())
                .bind(i64::from(link.channel))
                .bind(link.consent.wording_version)
                .bind(link.consent.granted_at.as_millisecond())
                .bind(link.consent.purpose);
        }
        let rows = query.fetch_all(&mut *self.at).await?;
        rows.iter().map(|row| pseudonym(row, "key")).collect()
    }

    /// Notes that these links ended, for replicas that remember them. From here to its end this change is the only one
    /// that may.
    pub(super) async fn note(&mut self, ended: &[Pseudonym], now: Timestamp) -> Result<(), RegistryError> {
        let ended: Vec<_> = ended.iter().map(|name| Some(bytes(name))).collect();
        self.note_rows(&ended, now).await
    }

    /// Notes that every link ended.
    pub(super) async fn note_all(&mut self, now: Timestamp) -> Result<(), RegistryError> {
        self.note_rows(&[None], now).await
    }

    async fn note_rows(&mut self, ended: &[Option<Vec<u8>>], now: Timestamp) -> Result<(), RegistryError> {
        if ended.is_empty() {
            return Ok(());
        }
        let many = i64::try_from(ended.len()).map_err(|_| RegistryError::Contended)?;
        let last: i64 = sqlx::query_scalar("UPDATE change_head SET seq = seq + $1 RETURNING seq")
            .bind(many)
            .fetch_one(&mut *self.at)
            .await?;
        for (chunk, seqs) in ended.chunks(500).zip((last - many + 1..).step_by(500)) {
            let statement = format!("INSERT INTO change (seq, at, key) VALUES {}", self.rows(chunk.len(), 3));
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for (key, seq) in chunk.iter().zip(seqs..) {
                query = query.bind(seq).bind(now.as_second()).bind(key.clone());
            }
            query.execute(&mut *self.at).await?;
        }
        Ok(())
    }
}

/// Whether another change came between, or the database gave this one up for it: it may be tried again.
pub(super) fn gave_way(error: &RegistryError) -> bool {
    match error {
        RegistryError::Contended => true,
        // PostgreSQL: serialization failure, deadlock. An embedded database has one writer at a time.
        RegistryError::Unavailable(error) => {
            let code = error.as_database_error().and_then(DatabaseError::code);
            matches!(code.as_deref(), Some("40001" | "40P01"))
        }
        _ => false,
    }
}
