//! The schema and the way there from every earlier one.

use std::borrow::Cow;

use sqlx::{
    AnyPool,
    error::DatabaseError,
    migrate::{AppliedMigration, Migrate, MigrateError, Migration, MigrationType, Migrator},
};

use super::OpenError;

/// The schema's version.
const VERSION: i64 = 2;

const TABLE: &str = "_sqlx_migrations";

/// The way, for one kind of database. What was released is never edited: a database knows what it has been through.
fn steps(embedded: bool) -> Migrator {
    let step = |version, name, sql: &'static str| {
        Migration::new(
            version,
            Cow::Borrowed(name),
            MigrationType::Simple,
            sqlx::SqlSafeStr::into_sql_str(sql),
            false,
        )
    };
    Migrator::with_migrations(if embedded {
        vec![
            step(1, "links", include_str!("sql/sqlite-1.sql")),
            step(2, "cards and keys", include_str!("sql/sqlite-2.sql")),
        ]
    } else {
        vec![step(2, "links, cards and keys", include_str!("sql/postgres-2.sql"))]
    })
}

/// Brings a database up to date; tells from which version, 0 if it was empty.
pub(super) async fn migrate(pool: &AnyPool, embedded: bool) -> Result<i64, OpenError> {
    let before = version(pool).await?;
    let migrated = steps(embedded).run(pool).await;
    migrated.map_err(|error| match error {
        MigrateError::VersionMissing(found) => OpenError::Newer { found, known: VERSION },
        error => OpenError::Migration(error),
    })?;
    Ok(before)
}

/// Makes sure that a database has this version's schema.
pub(super) async fn check(pool: &AnyPool) -> Result<(), OpenError> {
    let mut connection = pool.acquire().await?;
    let applied = connection.list_applied_migrations(TABLE).await.map_err(|error| match error {
        // Where nobody has migrated yet not even the list of migrations is there.
        MigrateError::Execute(sqlx::Error::Database(error)) if is_no_table(error.as_ref()) => {
            OpenError::NotMigrated
        }
        MigrateError::Execute(error) => OpenError::Database(error),
        error => OpenError::Migration(error),
    })?;
    match newest(&applied) {
        VERSION => Ok(()),
        found if found > VERSION => Err(OpenError::Newer { found, known: VERSION }),
        _ => Err(OpenError::NotMigrated),
    }
}

async fn version(pool: &AnyPool) -> Result<i64, OpenError> {
    let mut connection = pool.acquire().await?;
    connection.ensure_migrations_table(TABLE).await.map_err(OpenError::Migration)?;
    let applied = connection.list_applied_migrations(TABLE).await.map_err(OpenError::Migration)?;
    Ok(newest(&applied))
}

/// PostgreSQL's `undefined_table`; SQLite has no code for it, and is migrated before it is looked at.
fn is_no_table(error: &dyn DatabaseError) -> bool {
    error.code().is_some_and(|code| code == "42P01")
}

fn newest(applied: &[AppliedMigration]) -> i64 {
    applied.iter().map(|step| step.version).max().unwrap_or(0)
}
