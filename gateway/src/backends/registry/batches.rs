//! Batches of concession cards: so many rows were carried out, and the next message goes on from there (D9).

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use ridegate_adapters::{Medium, PartnerId};
use sqlx::{AssertSqlSafe, Row, any::AnyRow};

use super::{
    Registry, RegistryError,
    change::{ATTEMPTS, Change, NewLink, gave_way},
    row::bytes,
};
use crate::domain::{
    batch::{Progress, RefusedRow, RowResult},
    facts::Subject,
    link::{Consent, LinkOrder},
    pseudonym::Pseudonym,
};

/// Refused rows told at once.
const PAGE: i64 = 1000;

/// A batch, and what holds for all of its rows.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Its name.
    pub key: Pseudonym,
    /// Whose it is.
    pub partner: PartnerId,
    /// The holders' consent.
    pub consent: Consent,
    /// Where it was given, as the wire numbers it.
    pub channel: i32,
}

/// One row, as far as it is known without the registry.
#[derive(Debug, Clone)]
pub enum BatchRow {
    /// A card and its holder.
    Card(Medium, Subject),
    /// It cannot be carried out.
    Refused(RowResult),
}

impl Registry {
    /// How far a batch is; `None` if nobody has begun it.
    pub async fn progress(&self, batch: &Pseudonym) -> Result<Option<Progress>, RegistryError> {
        let Some(done) = self.rows_done(batch).await? else { return Ok(None) };
        let counts = sqlx::query("SELECT result, many FROM batch_count WHERE batch = $1 ORDER BY result");
        let rows = counts.bind(bytes(batch)).fetch_all(self.reader()?).await?;
        let read = |row: &AnyRow| Ok((result(row.try_get("result")?)?, count(row.try_get("many")?)));
        let counts = rows.iter().map(read).collect::<Result<_, RegistryError>>()?;
        Ok(Some(Progress { done, counts }))
    }

    /// How many rows of a batch were carried out; `None` if nobody has begun it.
    pub async fn rows_done(&self, batch: &Pseudonym) -> Result<Option<u64>, RegistryError> {
        let done = sqlx::query_scalar("SELECT rows_done FROM batch WHERE key = $1").bind(bytes(batch));
        Ok(done.fetch_optional(self.reader()?).await?.map(count))
    }

    /// The refused rows of a batch from this one on: a thousand at most.
    pub async fn refused_rows(&self, batch: &Pseudonym, from: u64) -> Result<Vec<RefusedRow>, RegistryError> {
        let rows = sqlx::query(
            "SELECT row_no, result FROM batch_refused WHERE batch = $1 AND row_no >= $2 ORDER BY row_no LIMIT $3",
        );
        let rows = rows.bind(bytes(batch)).bind(number(from)).bind(PAGE).fetch_all(self.reader()?).await?;
        rows.iter()
            .map(|row| {
                Ok(RefusedRow { row: count(row.try_get("row_no")?), result: result(row.try_get("result")?)? })
            })
            .collect()
    }

    /// Carries out rows of which the first is the batch's next: all of them or none. Tells how many rows are done then;
    /// if another has carried them out meanwhile, nothing is done here.
    pub async fn carry_out(
        &self,
        batch: &Batch,
        first: u64,
        rows: &[BatchRow],
        now: Timestamp,
    ) -> Result<u64, RegistryError> {
        for _ in 0..ATTEMPTS {
            let mut change = self.begin().await?;
            match change.carry_out(batch, first, rows, now).await {
                Ok(done) => {
                    change.commit().await?;
                    return Ok(done);
                }
                Err(error) if gave_way(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RegistryError::Contended)
    }
}

impl Change {
    async fn carry_out(
        &mut self,
        batch: &Batch,
        first: u64,
        rows: &[BatchRow],
        now: Timestamp,
    ) -> Result<u64, RegistryError> {
        // Whoever goes on with the same batch at the same time waits here until this is over.
        let begun = "INSERT INTO batch (key, partner, rows_done, at) VALUES ($1, $2, 0, $3) \
                     ON CONFLICT (key) DO UPDATE SET at = $3 RETURNING rows_done";
        let done: i64 = sqlx::query_scalar(begun)
            .bind(bytes(&batch.key))
            .bind(batch.partner.as_str())
            .bind(now.as_second())
            .fetch_one(&mut *self.at)
            .await?;
        if count(done) != first {
            return Ok(count(done));
        }
        let results = self.results(batch, rows, now).await?;
        let refused = results.iter().zip(first..).filter(|(result, _)| !result.is_linked());
        self.refuse(batch, refused.map(|(result, row)| (row, *result)).collect()).await?;
        self.count_results(batch, &results).await?;
        sqlx::query("UPDATE batch SET rows_done = rows_done + $2 WHERE key = $1")
            .bind(bytes(&batch.key))
            .bind(number(rows.len() as u64))
            .execute(&mut *self.at)
            .await?;
        Ok(first + rows.len() as u64)
    }

    /// Links every card that can be, in one statement; of the others asks whose they are.
    async fn results(
        &mut self,
        batch: &Batch,
        rows: &[BatchRow],
        now: Timestamp,
    ) -> Result<Vec<RowResult>, RegistryError> {
        // What a card is called, and which row named it first: later ones find it linked.
        let mut first = HashMap::new();
        for (position, row) in rows.iter().enumerate() {
            if let BatchRow::Card(medium, _) = row {
                first.entry(self.key.link_key(&batch.partner, medium)).or_insert(position);
            }
        }
        let mut linked = HashSet::new();
        // Only while keys change may a card be there under another name than the one that is tried.
        if self.keys.all().len() == 1 {
            let links = first.values().filter_map(|position| self.card(batch, rows.get(*position)?, now));
            let links = links.collect::<Result<Vec<_>, _>>()?;
            linked = self.insert(links).await?;
        }
        let mut results = Vec::with_capacity(rows.len());
        for (position, row) in rows.iter().enumerate() {
            results.push(match row {
                BatchRow::Refused(result) => *result,
                BatchRow::Card(medium, holder) => {
                    let name = self.key.link_key(&batch.partner, medium);
                    if linked.contains(&name) && first.get(&name) == Some(&position) {
                        RowResult::Linked
                    } else {
                        self.link_card(batch, row, medium, holder, now).await?
                    }
                }
            });
        }
        Ok(results)
    }

    /// A card that is linked already, or was reported lost and is linked anew.
    async fn link_card(
        &mut self,
        batch: &Batch,
        row: &BatchRow,
        medium: &Medium,
        holder: &Subject,
        now: Timestamp,
    ) -> Result<RowResult, RegistryError> {
        match self.holder(&batch.partner, medium).await? {
            Some(person) if self.persons(holder).contains(&person) => Ok(RowResult::AlreadyLinked),
            Some(_) => Ok(RowResult::LinkedToSomeoneElse),
            None => {
                let link = self.card(batch, row, now).transpose()?;
                // If another was faster now, all is tried again.
                let linked = self.insert(link.into_iter().collect()).await?;
                if linked.is_empty() { Err(RegistryError::Contended) } else { Ok(RowResult::Linked) }
            }
        }
    }

    fn card(&self, batch: &Batch, row: &BatchRow, now: Timestamp) -> Option<Result<NewLink, RegistryError>> {
        let BatchRow::Card(medium, holder) = row else { return None };
        let order = LinkOrder {
            partner: batch.partner.clone(),
            media: Vec::new(),
            consent: batch.consent.clone(),
            channel: batch.channel,
            agent: None,
            idempotency: batch.key,
            fingerprint: batch.key,
        };
        Some(self.new_link(&order, medium, holder, None, now))
    }

    async fn count_results(&mut self, batch: &Batch, results: &[RowResult]) -> Result<(), RegistryError> {
        let statement = "INSERT INTO batch_count (batch, result, many) VALUES ($1, $2, $3) \
                         ON CONFLICT (batch, result) DO UPDATE SET many = batch_count.many + excluded.many";
        for result in RowResult::ALL {
            let many = results.iter().filter(|came_to| **came_to == result).count() as u64;
            if many > 0 {
                let counted =
                    sqlx::query(statement).bind(bytes(&batch.key)).bind(result.code()).bind(number(many));
                counted.execute(&mut *self.at).await?;
            }
        }
        Ok(())
    }

    async fn refuse(&mut self, batch: &Batch, refused: Vec<(u64, RowResult)>) -> Result<(), RegistryError> {
        if refused.is_empty() {
            return Ok(());
        }
        let rows = self.rows(refused.len(), 3);
        let statement = format!("INSERT INTO batch_refused (batch, row_no, result) VALUES {rows}");
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for (row, result) in refused {
            query = query.bind(bytes(&batch.key)).bind(number(row)).bind(result.code());
        }
        query.execute(&mut *self.at).await?;
        Ok(())
    }
}

fn count(stored: i64) -> u64 {
    stored.try_into().unwrap_or_default()
}

fn number(count: u64) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

fn result(code: i64) -> Result<RowResult, RegistryError> {
    RowResult::from_code(code).ok_or(RegistryError::Unreadable("result"))
}
