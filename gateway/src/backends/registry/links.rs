//! Links made and withdrawn.

use std::collections::HashSet;

use jiff::Timestamp;
use ridegate_adapters::{CardKind, Medium, PartnerId};
use sqlx::{Any, AssertSqlSafe, Executor, Row};

use super::{
    LinkOutcome, Registry, RegistryError,
    change::{ATTEMPTS, Agent, Change, NewLink, gave_way},
    row::{bytes, places},
};
use crate::{
    domain::{
        facts::Subject,
        link::{AGENT_LIMIT, LinkOrder, place},
        pseudonym::Pseudonym,
    },
    keyring::{Key, Use, account_parts},
};

/// A medium nobody has linked, and what it is called under the present key.
struct Free<'o> {
    position: usize,
    medium: &'o Medium,
}

impl Registry {
    /// What was answered under this order's idempotency key, if anything was.
    pub async fn answered(&self, order: &LinkOrder) -> Result<Option<LinkOutcome>, RegistryError> {
        answered(self.reader()?, order).await
    }

    /// Links every medium of the order to its subject, or none. Committed when this returns.
    pub async fn link(
        &self,
        order: &LinkOrder,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<LinkOutcome, RegistryError> {
        for _ in 0..ATTEMPTS {
            let mut change = self.begin().await?;
            match change.link(order, subject, now).await {
                // Overtaken: what the other did is seen the next time.
                Ok(None) => {}
                Ok(Some(outcome)) => {
                    change.commit().await?;
                    return Ok(outcome);
                }
                Err(error) if gave_way(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RegistryError::Contended)
    }

    /// Ends the link that has one of these names, of this partner; of whoever linked it where none is given. The holder of
    /// a lost card is forgotten with it. Tells what was linked until now. Committed when this returns.
    pub async fn unlink(
        &self,
        names: &[Pseudonym],
        partner: Option<&PartnerId>,
        now: Timestamp,
    ) -> Result<Vec<Pseudonym>, RegistryError> {
        let mut change = self.begin().await?;
        let theirs = partner.map_or(String::new(), |_| format!(" AND partner IN ('', ${})", names.len() + 1));
        let statement = format!(
            "DELETE FROM link WHERE key IN {}{theirs} RETURNING key, lost_at",
            places(1, names.len())
        );
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for name in names {
            query = query.bind(bytes(name));
        }
        if let Some(partner) = partner {
            query = query.bind(partner.as_str());
        }
        let mut ended = Vec::new();
        for row in query.fetch_all(&mut *change.at).await? {
            if row.try_get::<Option<i64>, _>("lost_at")?.is_none() {
                ended.push(super::row::pseudonym(&row, "key")?);
            }
        }
        change.note(&ended, now).await?;
        change.commit().await?;
        Ok(ended)
    }
}

/// Asked before the authority is, and again inside the change: of two equal requests at once the second gets the
/// first one's answer.
async fn answered<'c>(
    at: impl Executor<'c, Database = Any>,
    order: &LinkOrder,
) -> Result<Option<LinkOutcome>, RegistryError> {
    let row = sqlx::query("SELECT request, outcome FROM idempotency WHERE key = $1")
        .bind(bytes(&order.idempotency));
    let Some(row) = row.fetch_optional(at).await? else { return Ok(None) };
    if row.try_get::<Vec<u8>, _>("request")? != bytes(&order.fingerprint) {
        return Ok(Some(LinkOutcome::KeyReused));
    }
    let outcome = LinkOutcome::from_code(row.try_get("outcome")?);
    Ok(Some(outcome.ok_or(RegistryError::Unreadable("outcome"))?))
}

impl Change {
    /// `None`: another change came between.
    async fn link(
        &mut self,
        order: &LinkOrder,
        subject: &Subject,
        now: Timestamp,
    ) -> Result<Option<LinkOutcome>, RegistryError> {
        if let Some(outcome) = answered(&mut *self.at, order).await? {
            return Ok(Some(outcome));
        }
        let persons = self.persons(subject);
        let (mut taken, mut free) = (Vec::new(), Vec::new());
        for (position, medium) in order.media.iter().enumerate() {
            match self.holder(&order.partner, medium).await? {
                None => free.push(Free { position, medium }),
                Some(holder) if persons.contains(&holder) => {}
                Some(_) => taken.push(position),
            }
        }
        if !taken.is_empty() {
            return Ok(Some(LinkOutcome::LinkedToSomeoneElse(taken)));
        }
        let full = self.full(&persons, &free).await?;
        if !full.is_empty() {
            return Ok(Some(LinkOutcome::LimitReached(full)));
        }
        let Some(agents) = self.agents(order, free.len(), subject).await? else {
            return Ok(Some(LinkOutcome::AgentLimitReached));
        };
        let outcome = if free.is_empty() { LinkOutcome::AlreadyLinked } else { LinkOutcome::Linked };
        let links = free
            .iter()
            .zip(agents)
            .map(|(free, agent)| self.new_link(order, free.medium, subject, agent, now));
        let links = links.collect::<Result<Vec<_>, _>>()?;
        let wanted = links.len();
        if self.insert(links).await?.len() != wanted || !self.remember(order, &outcome, now).await? {
            return Ok(None);
        }
        Ok(Some(outcome))
    }

    /// What the person may be called.
    pub(super) fn persons(&self, subject: &Subject) -> Vec<Pseudonym> {
        self.names_by(|key| key.pseudonym(Use::Person, &[subject.expose().as_bytes()]))
    }

    /// Whose the medium is. A lost card is nobody's: whoever links it now makes an end of it.
    pub(super) async fn holder(
        &mut self,
        partner: &PartnerId,
        medium: &Medium,
    ) -> Result<Option<Pseudonym>, RegistryError> {
        let names = self.names_by(|key| key.link_key(partner, medium));
        let statement =
            format!("SELECT key, person, lost_at FROM link WHERE key IN {}", places(1, names.len()));
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for name in &names {
            query = query.bind(bytes(name));
        }
        let Some(row) = query.fetch_optional(&mut *self.at).await? else { return Ok(None) };
        if row.try_get::<Option<i64>, _>("lost_at")?.is_none() {
            return super::row::pseudonym(&row, "person").map(Some);
        }
        sqlx::query("DELETE FROM link WHERE key = $1 AND lost_at IS NOT NULL")
            .bind(row.try_get::<Vec<u8>, _>("key")?)
            .execute(&mut *self.at)
            .await?;
        Ok(None)
    }

    /// Media, by position and kind, for which the person has no place any more (D6). That two changes at once do not both find
    /// one is the database's business: a place is unique.
    async fn full(
        &mut self,
        persons: &[Pseudonym],
        free: &[Free<'_>],
    ) -> Result<Vec<(usize, CardKind)>, RegistryError> {
        if free.iter().all(|free| place(free.medium).is_none()) {
            return Ok(Vec::new());
        }
        let statement = format!(
            "SELECT place FROM link WHERE person IN {} AND place IS NOT NULL",
            places(1, persons.len())
        );
        let mut query = sqlx::query_scalar(AssertSqlSafe(statement));
        for person in persons {
            query = query.bind(bytes(person));
        }
        let mut used: HashSet<i64> = query.fetch_all(&mut *self.at).await?.into_iter().collect();
        let full = free.iter().filter_map(|free| match free.medium {
            Medium::Card { kind, .. } => {
                let is_full = place(free.medium).is_some_and(|place| !used.insert(place));
                is_full.then_some((free.position, *kind))
            }
            _ => None,
        });
        Ok(full.collect())
    }

    /// The agent of each new link, with a place; `None` if the agent has not so many any more (D7).
    async fn agents(
        &mut self,
        order: &LinkOrder,
        many: usize,
        person: &Subject,
    ) -> Result<Option<Vec<Option<Agent>>>, RegistryError> {
        // Who does it for themselves needs no agent.
        let Some(agent) = order.agent.as_ref().filter(|agent| *agent != person) else {
            return Ok(Some(std::iter::repeat_with(|| None).take(many).collect()));
        };
        let names = self.persons(agent);
        let statement = format!("SELECT agent_place FROM link WHERE agent IN {}", places(1, names.len()));
        let mut query = sqlx::query_scalar(AssertSqlSafe(statement));
        for name in &names {
            query = query.bind(bytes(name));
        }
        let used: HashSet<i64> = query.fetch_all(&mut *self.at).await?.into_iter().collect();
        let name = self.key.pseudonym(Use::Person, &[agent.expose().as_bytes()]);
        let free = (1..=AGENT_LIMIT).filter(|place| !used.contains(place)).take(many);
        let taken =
            free.map(|place| Ok(Some(Agent { name, subject: seal(&self.key, agent, &name)?, place })));
        let taken = taken.collect::<Result<Vec<_>, RegistryError>>()?;
        Ok((taken.len() == many).then_some(taken))
    }

    pub(super) fn new_link(
        &self,
        order: &LinkOrder,
        medium: &Medium,
        subject: &Subject,
        agent: Option<Agent>,
        now: Timestamp,
    ) -> Result<NewLink, RegistryError> {
        let key = self.key.link_key(&order.partner, medium);
        Ok(NewLink {
            key,
            partner: order.partner.as_str().to_owned(),
            kind: medium.kind(),
            account: self
                .key
                .seal(&join(account_parts(&order.partner, medium)), &key)
                .map_err(|_| RegistryError::Unreadable("account"))?,
            person: self.key.pseudonym(Use::Person, &[subject.expose().as_bytes()]),
            subject: seal(&self.key, subject, &key)?,
            place: place(medium),
            agent,
            linked_at: now,
            channel: order.channel,
            consent: order.consent.clone(),
        })
    }

    /// In the same change as the links, so that an answer is remembered exactly if it came true. False if another
    /// request under the same key came first.
    async fn remember(
        &mut self,
        order: &LinkOrder,
        outcome: &LinkOutcome,
        now: Timestamp,
    ) -> Result<bool, RegistryError> {
        let Some(code) = outcome.code() else { return Ok(true) };
        let remembered = sqlx::query(
            "INSERT INTO idempotency (key, request, outcome, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        );
        let remembered = remembered
            .bind(bytes(&order.idempotency))
            .bind(bytes(&order.fingerprint))
            .bind(code)
            .bind(now.as_second())
            .execute(&mut *self.at)
            .await?;
        Ok(remembered.rows_affected() == 1)
    }
}

pub(super) fn seal(key: &Key, subject: &Subject, place: &Pseudonym) -> Result<Vec<u8>, RegistryError> {
    key.seal(subject.expose().as_bytes(), place).map_err(|_| RegistryError::Unreadable("subject"))
}

/// The parts of an account's name, so that they can be told apart again: each after its length.
pub(super) fn join(parts: [&[u8]; 4]) -> Vec<u8> {
    let length = |part: &[u8]| u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes();
    parts.iter().flat_map(|part| [&length(part), *part].concat()).collect()
}

/// What was joined.
pub(super) fn split(joined: &[u8]) -> Option<[Vec<u8>; 4]> {
    let mut rest = joined;
    let mut next = || {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (part, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        rest = after;
        Some(part.to_vec())
    };
    let parts = [next()?, next()?, next()?, next()?];
    rest.is_empty().then_some(parts)
}
