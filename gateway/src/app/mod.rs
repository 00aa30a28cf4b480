//! Wires the gateway up. The one place that knows every part: a configuration becomes settings, settings become a gateway
//! that runs.

mod onboard;
mod redis;
mod running;
mod settings;
mod tickets;
mod upkeep;
mod upstream;
mod wire;

pub use onboard::resolver;
pub use running::Running;
pub use settings::Settings;
pub use upkeep::Upkeep;

use std::{net::SocketAddr, path::PathBuf};

use thiserror::Error;

use crate::{
    backends::registry::{Location, OpenError},
    keyring::KeyError,
    transport::ReflectionError,
};

/// Why the gateway did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The key file.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key file is missing although the registry is there.
    #[error("key file {0}: missing, although the registry exists and was written under it")]
    KeyMissing(PathBuf),
    /// The key file is missing, and several processes need the same.
    #[error("key file {0}: missing: make one with `ridegate key add`, and give it to every replica")]
    KeyNotMade(PathBuf),
    /// There is no registry here.
    #[error("registry {0}: is not there")]
    NoRegistry(Location),
    /// A file that cannot be made.
    #[error("{}: its folder is not there", .0.display())]
    NoFolder(PathBuf),
    /// The registry.
    #[error("registry {location}: {source}")]
    Registry {
        /// The database.
        location: Location,
        /// Why.
        source: OpenError,
    },
    /// The contract that is told to who asks.
    #[error(transparent)]
    Reflection(#[from] ReflectionError),
    /// An address.
    #[error("{key} {address}: {source}")]
    Listen {
        /// `listen.address` or `operations.address`.
        key: &'static str,
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}
