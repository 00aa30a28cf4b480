//! A registry somewhere, and what is behind it.

use std::{path::Path, sync::Arc};

use ridegate_gateway::{
    backends::registry::{Location, Registry},
    keyring::Keyring,
};
use tempfile::TempDir;

use crate::postgres::Postgres;

/// A registry somewhere, and the file of its keys.
pub(super) struct Store {
    pub(super) folder: TempDir,
    pub(super) server: Option<(Postgres, String)>,
}

impl Store {
    pub(super) fn file() -> Self {
        Self::new(None)
    }

    pub(super) fn server() -> Self {
        let server = Postgres::start();
        let url = server.create_database();
        let database = url.rsplit('/').next().unwrap().to_owned();
        Self::new(Some((server, database)))
    }

    pub(super) fn new(server: Option<(Postgres, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Keyring::create(&folder.path().join("ridegate.key")).unwrap();
        Self { folder, server }
    }

    pub(super) fn key_file(&self) -> std::path::PathBuf {
        self.folder.path().join("ridegate.key")
    }

    pub(super) fn keys(&self) -> Arc<Keyring> {
        Arc::new(Keyring::load(&self.key_file()).unwrap())
    }

    pub(super) fn location(&self) -> Location {
        match &self.server {
            None => Location::File(self.folder.path().join("ridegate.db")),
            Some((server, database)) => {
                Location::server(&server.address(database), Some(server.password()), 8, true).unwrap()
            }
        }
    }

    pub(super) async fn open(&self) -> Registry {
        self.open_with(self.keys()).await
    }

    pub(super) async fn open_with(&self, keys: Arc<Keyring>) -> Registry {
        if self.server.is_some() {
            Registry::migrate(&self.location(), Arc::clone(&keys)).await.unwrap();
        }
        Registry::open(&self.location(), keys).await.unwrap()
    }

    /// Changes the database behind the gateway's back, in words that both understand.
    pub(super) async fn behind(&self, statement: &str) -> Result<(), String> {
        match &self.server {
            None => {
                let path = self.folder.path().join("ridegate.db");
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
                let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
                let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&pool).await;
                pool.close().await;
                done.map(drop).map_err(|error| error.to_string())
            }
            Some((server, database)) => {
                let pool = sqlx::PgPool::connect(&server.url(database)).await.unwrap();
                let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&pool).await;
                pool.close().await;
                done.map(drop).map_err(|error| error.to_string())
            }
        }
    }

    /// Everything that a thief of the database would have.
    pub(super) fn stolen(&self) -> Vec<u8> {
        match &self.server {
            None => {
                let files = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
                let database =
                    |path: &Path| path.file_name().unwrap().to_str().unwrap().contains("ridegate.db");
                files.filter(|path| database(path)).flat_map(|path| std::fs::read(path).unwrap()).collect()
            }
            Some((server, database)) => server.dump(database).into_bytes(),
        }
    }
}
