//! Opening a registry: which database, its schema, and whether it is ours.

use std::{
    fmt::{self, Write},
    fs::File,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use sqlx::{
    AnyConnection, AnyPool, ConnectOptions, Row,
    any::{AnyConnectOptions, AnyPoolOptions},
    postgres::{PgConnectOptions, PgSslMode},
};

use super::{OpenError, Registry, schema};
use crate::keyring::{Keyring, STEADY};

/// Connections that read an embedded database at once.
const READERS: u32 = 4;
/// Longest wait for a connection or a lock. The verdict path has a shorter one of its own.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which database.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// SQLite, in this file.
    File(PathBuf),
    /// PostgreSQL.
    Server {
        /// `postgres://…`, with the password if one is needed.
        url: Box<str>,
        /// Connections at once.
        connections: u32,
        /// Whether a statement may take as long as it needs: of an operator's, none waits at a gate.
        patient: bool,
    },
}

impl Location {
    /// A server, by its address. The password is no part of that; without TLS it must be on this machine.
    pub fn server(
        url: &str,
        password: Option<&str>,
        connections: u32,
        insecure_dev: bool,
    ) -> Result<Self, &'static str> {
        let form = "must be postgres://user@host:port/database, with ?sslmode=verify-full&sslrootcert=… after it \
                    where the server is not on this machine";
        let after =
            url.strip_prefix("postgres://").or_else(|| url.strip_prefix("postgresql://")).ok_or(form)?;
        let user = after.split_once('@').map_or("", |(user, _)| user);
        if user.contains(':') || after.contains("password=") {
            return Err("must not hold a password: name a password_file, or set PGPASSWORD");
        }
        let options: PgConnectOptions = url.parse().map_err(|_| form)?;
        let host = options.get_host();
        let is_local = options.get_socket().is_some()
            || host.starts_with('/')
            || host == "localhost"
            || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let is_secure = matches!(options.get_ssl_mode(), PgSslMode::VerifyFull);
        if !is_local && !is_secure && !insecure_dev {
            return Err("must say sslmode=verify-full where the server is not on this machine");
        }
        // As it was written, and not as sqlx writes it, which loses the file that `sslrootcert` names.
        let mut url = url.parse::<AnyConnectOptions>().map_err(|_| form)?.database_url;
        if let Some(password) = password {
            url.set_password(Some(&quoted(password))).map_err(|()| form)?;
        }
        Ok(Self::Server { url: url.as_str().into(), connections, patient: false })
    }

    /// For an operator's work.
    #[must_use]
    pub fn for_upkeep(self) -> Self {
        match self {
            Self::File(_) => self,
            Self::Server { url, .. } => Self::Server { url, connections: 2, patient: true },
        }
    }

    /// Whether there can be nothing in it: its file is not there. Of a server it is not known.
    pub fn is_new(&self) -> bool {
        matches!(self, Self::File(path) if !path.exists())
    }

    pub(super) const fn is_file(&self) -> bool {
        matches!(self, Self::File(_))
    }

    fn options(&self) -> Result<AnyConnectOptions, sqlx::Error> {
        sqlx::any::install_default_drivers();
        let url = match self {
            Self::File(path) => {
                // What a path may hold and a URL gives another meaning to.
                let path = path.to_string_lossy();
                let path = path.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
                format!("sqlite:{path}?mode=rwc")
            }
            Self::Server { url, .. } => url.to_string(),
        };
        // Statements are not logged: what they are about is nobody's business.
        Ok(url.parse::<AnyConnectOptions>()?.disable_statement_logging())
    }

    fn pool(&self, connections: u32) -> AnyPoolOptions {
        let settings = self.settings();
        AnyPoolOptions::new()
            .acquire_timeout(PATIENCE)
            // Made ahead: the verdict path has no time to connect.
            .min_connections(connections.min(4))
            .max_connections(connections)
            // A server that went and came back has closed its connections; a file is always there.
            .test_before_acquire(!self.is_file())
            .after_connect(move |connection, _| Box::pin(settle(connection, settings)))
    }

    /// What every connection must keep to, whatever the server's defaults: what is acknowledged is on disk, and nobody
    /// waits for ever.
    const fn settings(&self) -> &'static str {
        match self {
            // A withdrawn link leaves nothing behind in free pages. Names are as good as random, so a batch of links
            // touches pages all over: 32 MiB of them are remembered, and as many written before they are sorted in.
            Self::File(_) => {
                "PRAGMA busy_timeout = 2000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 PRAGMA secure_delete = ON; PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 8192"
            }
            Self::Server { patient: false, .. } => {
                "SET synchronous_commit = on; SET statement_timeout = '30s'; SET lock_timeout = '2s'; \
                 SET idle_in_transaction_session_timeout = '10s'"
            }
            Self::Server { patient: true, .. } => "SET synchronous_commit = on",
        }
    }
}

/// As a part of a URL may be: whatever it holds stands for itself.
fn quoted(password: &str) -> String {
    password.bytes().fold(String::new(), |mut quoted, byte| {
        let _never_fails = write!(quoted, "%{byte:02X}");
        quoted
    })
}

/// The server's address may hold a password.
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::Server { .. } => f.write_str("Server(…)"),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Server { .. } => f.write_str("on PostgreSQL"),
        }
    }
}

async fn settle(connection: &mut AnyConnection, settings: &'static str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(settings).execute(connection).await.map(drop)
}

impl Registry {
    /// Opens the database. An embedded one is made if it is not there, and brought up to date; a server's must be, or
    /// is looked at again by [`check`](Self::check) if it cannot be reached now.
    pub async fn open(location: &Location, keys: Arc<Keyring>) -> Result<Self, OpenError> {
        let _turn = take_turn(location)?;
        let registry = Self::connect(location, keys).await?;
        if location.is_file() {
            schema::migrate(&registry.writer, true).await?;
        }
        match registry.check().await {
            Err(OpenError::Database(_)) if !location.is_file() => Ok(registry),
            checked => checked.map(|()| registry),
        }
    }

    /// Makes sure that it is ours, with this version's schema, unless that was done.
    pub async fn check(&self) -> Result<(), OpenError> {
        if !self.checked.load(Relaxed) {
            schema::check(&self.writer).await?;
            self.adopt().await?;
            self.checked.store(true, Relaxed);
        }
        Ok(())
    }

    /// Makes the schema, or brings it up to date; tells from which version, 0 if there was none.
    pub async fn migrate(location: &Location, keys: Arc<Keyring>) -> Result<i64, OpenError> {
        let _turn = take_turn(location)?;
        let registry = Self::connect(location, keys).await?;
        let before = schema::migrate(&registry.writer, location.is_file()).await?;
        registry.check().await?;
        registry.close().await;
        Ok(before)
    }

    async fn connect(location: &Location, keys: Arc<Keyring>) -> Result<Self, OpenError> {
        let options = location.options()?;
        let (readers, writer) = match location {
            Location::File(path) => {
                make_private(path)?;
                let writer = location.pool(1).connect_with(options.clone()).await?;
                (location.pool(READERS).connect_lazy_with(options), writer)
            }
            Location::Server { connections, .. } => {
                let pool = location.pool(*connections).connect_lazy_with(options);
                (pool.clone(), pool)
            }
        };
        Ok(Self {
            readers,
            writer,
            keys,
            embedded: location.is_file(),
            checked: AtomicBool::new(false),
            knows_key: AtomicI64::new(0),
            lacks_key: AtomicI64::new(0),
        })
    }

    /// Takes a new database under the newest key; of an old one makes sure that its keys are ours.
    async fn adopt(&self) -> Result<(), OpenError> {
        let mut change = begin(&self.writer, self.embedded).await?;
        let newest = self.keys.all().last().map(Arc::clone);
        let checks =
            sqlx::query("SELECT key_id, value FROM key_check ORDER BY key_id").fetch_all(&mut *change);
        let mut has_steady = false;
        for row in checks.await? {
            let id = row.try_get("key_id")?;
            let key = self.keys.get(id);
            let ours = match &key {
                _ if id == STEADY => self.keys.steady_check(),
                Some(key) => key.check_value(),
                None => return Err(OpenError::KeyMissing(id)),
            };
            if row.try_get::<Vec<u8>, _>("value")? != ours.0 {
                return Err(OpenError::OtherKey);
            }
            has_steady |= id == STEADY;
        }
        let mut current: Option<i64> =
            sqlx::query_scalar("SELECT current FROM keyset").fetch_optional(&mut *change).await?;
        let mut checks = Vec::new();
        if !has_steady {
            checks.push((STEADY, self.keys.steady_check().0));
        }
        if let (None, Some(newest)) = (current, newest) {
            current = Some(newest.id());
            let under = sqlx::query("INSERT INTO keyset (one, current) VALUES (1, $1)").bind(newest.id());
            under.execute(&mut *change).await?;
            checks.push((newest.id(), newest.check_value().0));
        }
        for (id, value) in checks {
            let check = sqlx::query("INSERT INTO key_check (key_id, value) VALUES ($1, $2)");
            check.bind(id).bind(value.to_vec()).execute(&mut *change).await?;
        }
        change.commit().await?;
        self.knows_key.store(current.unwrap_or_default(), Relaxed);
        Ok(())
    }
}

/// A change, of one process at a time where the database is embedded.
pub(super) async fn begin(
    writer: &AnyPool,
    embedded: bool,
) -> Result<sqlx::Transaction<'static, sqlx::Any>, sqlx::Error> {
    writer.begin_with(if embedded { "BEGIN IMMEDIATE" } else { "BEGIN" }).await
}

/// Makes a new database's file, for its owner only. What lies beside it (the log of changes) takes after it.
fn make_private(database: &Path) -> Result<(), OpenError> {
    let mut options = File::options();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let made = options.open(database);
    made.map(drop).map_err(|source| OpenError::File { path: database.to_owned(), source })
}

/// Of several processes that open one file at once, one after the other makes sure of its schema. The system lets go of
/// the lock when the file is closed, however the process ends.
fn take_turn(location: &Location) -> Result<Option<File>, OpenError> {
    let Location::File(database) = location else { return Ok(None) };
    // By its real name: two names for one database must meet at one lock. A new one has only the one it was given.
    let database = database.canonicalize().unwrap_or_else(|_| database.clone());
    let mut path = database.into_os_string();
    path.push(".lock");
    let path = PathBuf::from(path);
    let opened = File::options().create(true).truncate(false).write(true).open(&path);
    let locked = opened.and_then(|file| file.lock().map(|()| Some(file)));
    locked.map_err(|source| OpenError::File { path, source })
}
