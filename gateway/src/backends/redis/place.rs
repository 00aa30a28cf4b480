//! Where Redis is, and how it is entered.

use std::fmt;

use redis::{ConnectionInfo, IntoConnectionInfo, TlsCertificates};
use secrecy::SecretString;

/// What kind of Redis it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// One server.
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
    /// Whom its certificate is trusted from, and the gateway's own. Only with `rediss://`.
    pub certificates: Option<TlsCertificates>,
}

impl Place {
    /// Reads an address: `redis://host:port`, or `rediss://host:port` with TLS.
    pub fn node(url: &str) -> Result<ConnectionInfo, &'static str> {
        url.into_connection_info().map_err(|_| "must be redis://host:port, or rediss://host:port with TLS")
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        f.debug_struct("Place").field("form", &self.form).field("nodes", &nodes).finish_non_exhaustive()
    }
}
