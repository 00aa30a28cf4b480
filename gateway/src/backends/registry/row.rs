//! Reading rows.

use jiff::Timestamp;
use sqlx::{Any, AssertSqlSafe, Executor, Row, any::AnyRow};

use super::RegistryError;
use crate::domain::{
    link::{Consent, LinkRecord},
    pseudonym::Pseudonym,
};

/// The rows of `link` that have one of these names each and are not lost cards'.
pub(super) async fn by_names<'c>(
    columns: &'static str,
    names: &[Pseudonym],
    at: impl Executor<'c, Database = Any>,
) -> Result<Vec<AnyRow>, RegistryError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    // As many places as the next power of two, the last name in all that are left: each number of them is another statement,
    // which a connection prepares once and remembers.
    let many = names.len().next_power_of_two();
    let statement = format!("{columns} WHERE key IN {} AND lost_at IS NULL", places(1, many));
    let mut query = sqlx::query(AssertSqlSafe(statement));
    for name in names.iter().chain(names.last().into_iter().cycle()).take(many) {
        query = query.bind(bytes(name));
    }
    Ok(query.fetch_all(at).await?)
}

/// `($3, $4)`: so many places for values, from this one on.
pub(super) fn places(first: usize, many: usize) -> String {
    let places: Vec<_> = (first..first + many).map(|place| format!("${place}")).collect();
    format!("({})", places.join(", "))
}

pub(super) fn bytes(name: &Pseudonym) -> Vec<u8> {
    name.0.to_vec()
}

pub(super) fn pseudonym(row: &AnyRow, column: &'static str) -> Result<Pseudonym, RegistryError> {
    let bytes: Vec<u8> = row.try_get(column)?;
    bytes.try_into().map(Pseudonym).map_err(|_| RegistryError::Unreadable(column))
}

pub(super) fn time(row: &AnyRow, column: &'static str) -> Result<Timestamp, RegistryError> {
    Timestamp::from_millisecond(row.try_get(column)?).map_err(|_| RegistryError::Unreadable(column))
}

/// Whether a link is this partner's. Of the first databases' links the name alone tells, and whoever knows it is.
pub(super) fn is_of(stored: &str, partner: &str) -> bool {
    stored.is_empty() || stored == partner
}

pub(super) fn record(row: &AnyRow) -> Result<LinkRecord, RegistryError> {
    Ok(LinkRecord {
        linked_at: time(row, "linked_at")?,
        channel: row
            .try_get::<i64, _>("channel")?
            .try_into()
            .map_err(|_| RegistryError::Unreadable("channel"))?,
        consent: consent(row)?,
    })
}

pub(super) fn consent(row: &AnyRow) -> Result<Consent, RegistryError> {
    Ok(Consent {
        wording_version: row.try_get("consent_wording")?,
        granted_at: time(row, "consent_at")?,
        purpose: row.try_get("consent_purpose")?,
    })
}
