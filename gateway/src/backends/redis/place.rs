//! Where Redis is, and how it is entered.

use std::{fmt, net::IpAddr, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, TlsCertificates, io::tcp::TcpSettings,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{runtime::Handle, time::timeout};

use super::{cause::Cause, connection::Connection};

/// Longest wait for a connection, and for an answer that no verdict waits for. The crate would wait for longer.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// Questions under way on one connection; whoever comes then waits for its turn, inside its cap.
const UNDER_WAY: usize = 4096;

/// What kind of Redis it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// One server; of several the first that answers and takes writes.
    Single,
    /// Sentinels, which say where the master of this name is.
    Sentinel(Box<str>),
    /// A cluster, of which some nodes are named.
    Cluster,
}

/// A user, and its password.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Of an access control list; none: the default user.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
}

/// Where Redis is.
#[derive(Clone)]
pub struct Place {
    /// What it is.
    pub form: Form,
    /// Its addresses: of Redis, or of its Sentinels.
    pub nodes: Vec<ConnectionInfo>,
    /// For Redis.
    pub access: Access,
    /// For its Sentinels.
    pub sentinel_access: Access,
    /// How long an answer is waited for. One that comes later is of no use to a verdict.
    pub timeout: Duration,
    /// Whom its certificate is trusted from, and the gateway's own. Only with `rediss://`.
    pub certificates: Option<TlsCertificates>,
}

impl Place {
    /// Reads an address: `redis://host:port`, or `rediss://host:port` with TLS. Nothing else may be in it, a password least
    /// of all.
    pub fn node(url: &str) -> Result<ConnectionInfo, &'static str> {
        let form = "must be redis://host:port, or rediss://host:port with TLS";
        let parsed = redis::parse_redis_url(url).ok_or(form)?;
        if parsed.password().is_some() {
            return Err("must not hold a password: name a password_file");
        }
        if !parsed.username().is_empty() {
            return Err("must not hold a user: name it as user");
        }
        let is_bare =
            matches!(parsed.path(), "" | "/") && parsed.query().is_none() && parsed.fragment().is_none();
        if !is_bare || !matches!(parsed.scheme(), "redis" | "rediss") || parsed.port().is_none() {
            return Err(form);
        }
        parsed.into_connection_info().map_err(|_| form)
    }

    /// Whether it is asked over TLS.
    pub fn is_secure(node: &ConnectionInfo) -> bool {
        matches!(node.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// Whether it is on this machine.
    pub fn is_local(node: &ConnectionInfo) -> bool {
        let (ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }) = node.addr() else {
            return false;
        };
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// Whom its certificates are trusted from (none: those whom the system trusts), and the gateway's own certificate and
    /// key, all in PEM. Refuses what is none.
    pub fn certificates(
        ca: Option<Vec<u8>>,
        client: Option<(Vec<u8>, Vec<u8>)>,
    ) -> Result<TlsCertificates, &'static str> {
        let client_tls = client.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        let certificates = TlsCertificates { client_tls, root_cert: ca };
        let readable = Client::build_with_tls("rediss://localhost", certificates.clone());
        readable.map(|_| certificates).map_err(|_| "ca, certificate and key must be PEM files")
    }

    /// A server that was named by another: asked as those of the configuration are. Where those are on this machine and have
    /// no TLS, it must be here too: what passes there crosses no network in the clear.
    pub(super) fn at(&self, address: &Address) -> Result<ConnectionInfo, Cause> {
        let (host, port) = (address.host.to_string(), address.port);
        let node = self.nodes.first().ok_or(Cause::Unreachable)?;
        let is_secure = Self::is_secure(node);
        let named = node.clone().set_addr(if is_secure {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        });
        let stays_here = self.nodes.iter().all(Self::is_local);
        if !is_secure && stays_here && !Self::is_local(&named) { Err(Cause::Exposed) } else { Ok(named) }
    }

    pub(super) async fn connect(&self, node: &ConnectionInfo) -> Result<Connection, Cause> {
        enter(self.client(node, &self.access)?).await
    }

    /// One for each of these runtimes, which live there.
    pub(super) async fn connect_on(
        &self,
        runtimes: &[Handle],
        node: &ConnectionInfo,
    ) -> Result<Vec<Connection>, Cause> {
        let client = self.client(node, &self.access)?;
        let entering: Vec<_> = runtimes.iter().map(|runtime| runtime.spawn(enter(client.clone()))).collect();
        let mut entered = Vec::with_capacity(entering.len());
        for connection in entering {
            entered.push(connection.await.map_err(|_| Cause::Lost)??);
        }
        Ok(entered)
    }

    pub(super) async fn connect_to_sentinel(&self, node: &ConnectionInfo) -> Result<Connection, Cause> {
        enter(self.client(node, &self.sentinel_access)?).await
    }

    fn client(&self, node: &ConnectionInfo, access: &Access) -> Result<Client, Cause> {
        // What the crate would tell the server of itself its user need not be allowed to tell.
        let mut settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(user) = &access.user {
            settings = settings.set_username(user);
        }
        if let Some(password) = &access.password {
            settings = settings.set_password(password.expose_secret());
        }
        let tcp = TcpSettings::default().set_nodelay(true);
        let node = node.clone().set_redis_settings(settings).set_tcp_settings(tcp);
        let client = match &self.certificates {
            Some(certificates) if Self::is_secure(&node) => {
                Client::build_with_tls(node, certificates.clone())
            }
            _ => Client::open(node),
        };
        client.map_err(|error| Cause::of(&error))
    }
}

/// A connection lives in the runtime where it is made.
async fn enter(client: Client) -> Result<Connection, Cause> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        // Whoever asks has a patience of his own.
        .set_response_timeout(None)
        .set_pipeline_buffer_size(UNDER_WAY);
    let connected = timeout(PATIENCE, client.get_multiplexed_async_connection_with_config(&config)).await;
    let connected = connected.map_err(|_| Cause::Silent)?.map_err(|error| Cause::of(&error))?;
    Ok(Connection::new(connected))
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        f.debug_struct("Place").field("form", &self.form).field("nodes", &nodes).finish_non_exhaustive()
    }
}

/// Where a server of a cluster, or the master, is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Address {
    /// Empty: that of who told it.
    host: Box<str>,
    port: u16,
}

impl Address {
    pub(super) fn new(host: impl Into<Box<str>>, port: u16) -> Self {
        Self { host: host.into(), port }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Some(Self::new(host.trim_matches(['[', ']']), port.parse().ok()?))
    }

    /// Of a node of the configuration.
    pub(super) fn of(node: &ConnectionInfo) -> Option<Self> {
        match node.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some(Self::new(host.as_str(), *port))
            }
            _ => None,
        }
    }

    /// As it is seen by who was told it by `teller`.
    pub(super) fn told_by(self, teller: &Self) -> Self {
        // "?" is what a node says that does not know its own address.
        if matches!(&*self.host, "" | "?") {
            Self { host: teller.host.clone(), port: self.port }
        } else {
            self
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(nodes: &[&str], host: &str) -> Result<String, Cause> {
        let nodes = nodes.iter().map(|url| Place::node(url).unwrap()).collect();
        let (access, sentinel_access) = (Access::default(), Access::default());
        let place = Place {
            form: Form::Cluster,
            nodes,
            access,
            sentinel_access,
            timeout: Duration::from_secs(1),
            certificates: None,
        };
        place.at(&Address::new(host, 7)).map(|node| format!("{} {}", node.addr(), Place::is_secure(&node)))
    }

    #[test]
    fn whoever_is_named_by_others_is_asked_as_they_are_and_nobody_elsewhere_in_the_clear() {
        assert_eq!(named(&["rediss://localhost:1"], "10.0.0.1").as_deref(), Ok("10.0.0.1:7 true"));
        for here in ["127.0.0.2", "localhost", "::1"] {
            assert_eq!(named(&["redis://127.0.0.1:1"], here), Ok(format!("{here}:7 false")));
        }
        for elsewhere in ["10.0.0.1", "redis.example"] {
            assert_eq!(named(&["redis://127.0.0.1:1"], elsewhere), Err(Cause::Exposed));
            // For development: the configuration names one elsewhere already.
            assert!(named(&["redis://127.0.0.1:1", "redis://10.0.0.9:1"], elsewhere).is_ok());
        }
    }

    #[test]
    fn an_address_is_read_with_its_host_in_brackets_or_without_one() {
        assert_eq!(Address::parse("[::1]:7"), Some(Address::new("::1", 7)));
        let teller = Address::new("h", 1);
        assert_eq!(Address::parse(":7").map(|address| address.told_by(&teller)), Some(Address::new("h", 7)));
        assert_eq!(Address::parse("h"), None);
        assert_eq!(Address::parse("h:x"), None);
    }
}
