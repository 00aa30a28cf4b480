//! Concession cards that were lost, and those issued in their place; cards handed back are unlinked like any (D9).

use jiff::Timestamp;
use ridegate_adapters::{Medium, PartnerId};
use sqlx::{AssertSqlSafe, Row};

use super::{
    Registry, RegistryError,
    change::{ATTEMPTS, Change, gave_way},
    row::{bytes, consent, places, pseudonym},
};
use crate::domain::{
    facts::Subject,
    link::{LinkOrder, Reissued},
    pseudonym::Pseudonym,
};

impl Registry {
    /// Ends the link of a lost card; its holder is remembered. Tells what it was called. Committed when this returns.
    pub async fn lose(&self, names: &[Pseudonym], now: Timestamp) -> Result<Vec<Pseudonym>, RegistryError> {
        let mut change = self.begin().await?;
        let statement = format!(
            "UPDATE link SET lost_at = $1, place = NULL, agent = NULL, agent_subject = NULL, agent_place = NULL \
             WHERE key IN {} AND lost_at IS NULL RETURNING key",
            places(2, names.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(statement)).bind(now.as_second());
        for name in names {
            query = query.bind(bytes(name));
        }
        let rows = query.fetch_all(&mut *change.at).await?;
        let ended = rows.iter().map(|row| pseudonym(row, "key")).collect::<Result<Vec<_>, _>>()?;
        change.note(&ended, now).await?;
        change.commit().await?;
        Ok(ended)
    }

    /// Links the card issued in place of a lost one to its holder, on the same consent. Committed when this returns.
    pub async fn reissue(
        &self,
        partner: &PartnerId,
        lost: &Medium,
        card: &Medium,
        now: Timestamp,
    ) -> Result<Reissued, RegistryError> {
        for _ in 0..ATTEMPTS {
            let mut change = self.begin().await?;
            let holder = change.holder_of_lost(self, partner, lost).await?;
            let Some((order, holder)) = holder else { return Ok(Reissued::HolderUnknown) };
            match change.reissue(&order, &holder, card, now).await {
                Ok(outcome) => {
                    change.commit().await?;
                    return Ok(outcome);
                }
                Err(error) if gave_way(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RegistryError::Contended)
    }
}

impl Change {
    /// Whose a lost card was, and on what consent it was linked.
    async fn holder_of_lost(
        &mut self,
        registry: &Registry,
        partner: &PartnerId,
        lost: &Medium,
    ) -> Result<Option<(LinkOrder, Subject)>, RegistryError> {
        let names = self.names_by(|key| key.link_key(partner, lost));
        let statement = format!(
            "SELECT key, key_id, subject, channel, consent_wording, consent_at, consent_purpose FROM link \
             WHERE key IN {} AND lost_at IS NOT NULL",
            places(1, names.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for name in &names {
            query = query.bind(bytes(name));
        }
        let Some(row) = query.fetch_optional(&mut *self.at).await? else { return Ok(None) };
        let name = pseudonym(&row, "key")?;
        let channel = row.try_get::<i64, _>("channel")?;
        let order = LinkOrder {
            partner: partner.clone(),
            media: Vec::new(),
            consent: consent(&row)?,
            channel: channel.try_into().map_err(|_| RegistryError::Unreadable("channel"))?,
            agent: None,
            idempotency: name,
            fingerprint: name,
        };
        Ok(Some((order, registry.subject(&row, &name)?)))
    }

    async fn reissue(
        &mut self,
        order: &LinkOrder,
        holder: &Subject,
        card: &Medium,
        now: Timestamp,
    ) -> Result<Reissued, RegistryError> {
        match self.holder(&order.partner, card).await? {
            Some(person) if self.persons(holder).contains(&person) => Ok(Reissued::Linked),
            Some(_) => Ok(Reissued::LinkedToSomeoneElse),
            None => {
                let link = self.new_link(order, card, holder, None, now)?;
                let linked = self.insert(vec![link]).await?;
                if linked.is_empty() { Err(RegistryError::Contended) } else { Ok(Reissued::Linked) }
            }
        }
    }
}
