//! Why Redis did not do what it was asked, and whether that is its fault.

use std::{error::Error, io, sync::Arc};

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why. Without a word of what was asked or answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Nobody listens, or the address is none.
    Unreachable,
    /// No answer in time.
    Silent,
    /// The connection broke.
    Lost,
    /// One of the certificates.
    Untrusted,
    /// User and password.
    Unknown,
    /// The user may not do what is needed.
    Forbidden,
    /// A replica, which takes no writes.
    Replica,
    /// Out of memory.
    Full,
    /// It reads what it has on disk.
    Loading,
    /// It has lost the rest of the cluster, or its master.
    Alone,
    /// The Sentinels know no master of this name.
    NoMaster,
    /// It is on another machine, and was to be asked without TLS.
    Exposed,
    /// Nothing is wrong with it: this question cannot be answered, or not here.
    Question,
    /// It can do nothing at the moment.
    Unfit,
}

impl Cause {
    pub(super) fn of(error: &RedisError) -> Self {
        use ServerErrorKind as Said;
        match error.kind() {
            _ if error.is_timeout() => Self::Silent,
            _ if error.is_connection_refusal() => Self::Unreachable,
            ErrorKind::Io if is_of_certificates(error) => Self::Untrusted,
            ErrorKind::Io | ErrorKind::Parse | ErrorKind::Client => Self::Lost,
            ErrorKind::InvalidClientConfig => Self::Untrusted,
            ErrorKind::AuthenticationFailed => Self::Unknown,
            ErrorKind::Server(Said::NoPerm) => Self::Forbidden,
            ErrorKind::Server(Said::ReadOnly) => Self::Replica,
            ErrorKind::Server(Said::BusyLoading) => Self::Loading,
            ErrorKind::Server(Said::ClusterDown | Said::MasterDown) => Self::Alone,
            ErrorKind::Extension => Self::of_code(error.code().unwrap_or_default()),
            _ => Self::Question,
        }
    }

    /// Of errors that the crate does not know.
    fn of_code(code: &str) -> Self {
        match code {
            "OOM" => Self::Full,
            "NOAUTH" | "WRONGPASS" => Self::Unknown,
            "BUSY" | "MISCONF" | "NOREPLICAS" | "UNKILLABLE" => Self::Unfit,
            _ => Self::Question,
        }
    }

    /// How many failures it counts for, where so many are enough.
    pub(super) const fn weight(self, enough: u32) -> u32 {
        match self {
            Self::Question => 0,
            // Nothing will ever come over this connection again.
            Self::Lost | Self::Unreachable | Self::Untrusted => enough,
            _ => 1,
        }
    }

    /// For the log.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::Unreachable => "nobody listens there",
            Self::Silent => "it does not answer in time",
            Self::Lost => "the connection broke",
            Self::Untrusted => "its certificate is not trusted, or the gateway's is not, or there is no TLS",
            Self::Unknown => "it does not take user and password",
            Self::Forbidden => "its user may not do what the gateway needs",
            Self::Replica => "it is a replica",
            Self::Full => "it is out of memory",
            Self::Loading => "it is loading",
            Self::Alone => "it has lost its master or its cluster",
            Self::Exposed => "it is on another machine: that needs rediss://",
            Self::NoMaster => "the Sentinels know no master of this name",
            Self::Question => "it does not understand what the gateway asks",
            Self::Unfit => "it can do nothing at the moment",
        }
    }
}

/// The crate wraps what TLS says twice.
fn is_of_certificates(error: &RedisError) -> bool {
    let inner = error.source().and_then(|inner| inner.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    let io = inner.and_then(|inner| inner.downcast_ref::<io::Error>());
    io.is_some_and(|io| matches!(io.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput))
}
