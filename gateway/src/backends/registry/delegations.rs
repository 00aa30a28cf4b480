//! Links for somebody else that were begun: confirmed with digits that the health authority sent (D7).

use std::fmt;

use jiff::Timestamp;
use ridegate_adapters::PartnerId;
use sqlx::{AssertSqlSafe, Row};

use super::{
    Registry, RegistryError,
    row::{bytes, places, time},
};
use crate::{
    domain::{facts::Subject, link::AGENT_LIMIT, pseudonym::Pseudonym},
    keyring::Use,
};

/// What is wanted, in bytes that only whoever began it reads.
pub type Wanted = Vec<u8>;

/// One that was begun.
#[derive(Clone, PartialEq, Eq)]
pub struct Pending {
    /// What is wanted.
    pub wanted: Wanted,
    /// How often digits were sent.
    pub sends: i64,
    /// When the last were.
    pub sent_at: Timestamp,
    /// How often they were tried.
    pub tries: i64,
}

/// What is wanted names riders.
impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pending({} sends, {} tries)", self.sends, self.tries)
    }
}

impl Registry {
    /// Remembers one. If it was remembered before, by a repeat of the same request, it stays as it is.
    pub async fn begin_delegation(
        &self,
        key: &Pseudonym,
        partner: &PartnerId,
        wanted: &[u8],
        now: Timestamp,
    ) -> Result<(), RegistryError> {
        let mut change = self.begin().await?;
        let sealed = change.key.seal(wanted, key).map_err(|_| RegistryError::Unreadable("wanted"))?;
        let statement = "INSERT INTO delegation (key, partner, key_id, wanted, sends, sent_at, tries, at) \
                         VALUES ($1, $2, $3, $4, 1, $5, 0, $6) ON CONFLICT DO NOTHING";
        sqlx::query(statement)
            .bind(bytes(key))
            .bind(partner.as_str())
            .bind(change.key.id())
            .bind(sealed)
            .bind(now.as_millisecond())
            .bind(now.as_second())
            .execute(&mut *change.at)
            .await?;
        change.commit().await
    }

    /// One of this partner's.
    pub async fn delegation(
        &self,
        key: &Pseudonym,
        partner: &PartnerId,
    ) -> Result<Option<Pending>, RegistryError> {
        let row = sqlx::query(
            "SELECT key_id, wanted, sends, sent_at, tries FROM delegation WHERE key = $1 AND partner = $2",
        );
        let row = row.bind(bytes(key)).bind(partner.as_str()).fetch_optional(self.reader()?).await?;
        let Some(row) = row else { return Ok(None) };
        let under = self.key(row.try_get("key_id")?)?;
        let wanted = under.open(row.try_get("wanted")?, key);
        Ok(Some(Pending {
            wanted: wanted.map_err(|_| RegistryError::Unreadable("wanted"))?,
            sends: row.try_get("sends")?,
            sent_at: time(&row, "sent_at")?,
            tries: row.try_get("tries")?,
        }))
    }

    /// Takes one more send; false if another took it meanwhile.
    pub async fn take_send(
        &self,
        key: &Pseudonym,
        seen: &Pending,
        now: Timestamp,
    ) -> Result<bool, RegistryError> {
        let taken = sqlx::query(
            "UPDATE delegation SET sends = sends + 1, sent_at = $3, tries = 0 WHERE key = $1 AND sends = $2",
        );
        let taken = taken
            .bind(bytes(key))
            .bind(seen.sends)
            .bind(now.as_millisecond())
            .execute(self.writer()?)
            .await?;
        Ok(taken.rows_affected() == 1)
    }

    /// Gives a send back, with all as it was `seen` before it was taken: nothing was sent. Tries that others took meanwhile
    /// are counted.
    pub async fn give_send_back(&self, key: &Pseudonym, seen: &Pending) -> Result<(), RegistryError> {
        let back = sqlx::query(
            "UPDATE delegation SET sends = $2, sent_at = $3, tries = tries + $4 WHERE key = $1 AND sends = $2 + 1",
        );
        let back =
            back.bind(bytes(key)).bind(seen.sends).bind(seen.sent_at.as_millisecond()).bind(seen.tries);
        back.execute(self.writer()?).await?;
        Ok(())
    }

    /// Takes one of the tries that are left; tells how many are left then, `None` if none was.
    pub async fn take_try(&self, key: &Pseudonym, tries: i64) -> Result<Option<i64>, RegistryError> {
        let taken: Option<i64> = sqlx::query_scalar(
            "UPDATE delegation SET tries = tries + 1 WHERE key = $1 AND tries < $2 RETURNING tries",
        )
        .bind(bytes(key))
        .bind(tries)
        .fetch_optional(self.writer()?)
        .await?;
        Ok(taken.map(|taken| tries - taken))
    }

    /// Gives a try back: nobody looked at it.
    pub async fn give_try_back(&self, key: &Pseudonym) -> Result<(), RegistryError> {
        let back = sqlx::query("UPDATE delegation SET tries = tries - 1 WHERE key = $1 AND tries > 0");
        back.bind(bytes(key)).execute(self.writer()?).await?;
        Ok(())
    }

    /// How many cards an agent may still do.
    pub async fn agent_places_left(&self, agent: &Subject) -> Result<usize, RegistryError> {
        let keys = self.keys.all();
        let names: Vec<_> =
            keys.iter().map(|key| key.pseudonym(Use::Person, &[agent.expose().as_bytes()])).collect();
        let statement = format!("SELECT COUNT(*) FROM link WHERE agent IN {}", places(1, names.len()));
        let mut query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(statement));
        for name in &names {
            query = query.bind(bytes(name));
        }
        let used = query.fetch_one(self.reader()?).await?;
        Ok(usize::try_from(AGENT_LIMIT - used).unwrap_or_default())
    }
}
