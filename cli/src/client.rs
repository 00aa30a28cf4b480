//! Calling a running gateway: as one validator, or as a partner.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use jiff::SignedDuration;
use ridegate_proto::validator::v1::{
    CheckRequest, CheckResponse, validator_service_client::ValidatorServiceClient,
};
#[cfg(feature = "sim")]
use ridegate_sim::site::Site;
use tonic::{
    Request, Response, Status,
    metadata::{AsciiMetadataValue, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::Stop;

const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The gateway to call, and who calls.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Arguments {
    /// A running city's folder: where its gateway is, and a validator's certificate.
    #[cfg(feature = "sim")]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["endpoint", "ca", "certificate", "key"])]
    city: Option<PathBuf>,
    #[command(flatten)]
    named: Named,
}

/// A gateway that is named, and who calls.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Named {
    /// A gateway: `https://host:port`, with --ca, --certificate and --key; `http://host:port`, with --identity, if it was
    /// started with --insecure-dev.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Whom the gateway's certificate must be from, PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Your certificate, PEM. It says who you are.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Who you are where there is no TLS: `urn:ridegate:validator:<operator>:<device>` or
    /// `urn:ridegate:partner:<partner>`.
    #[arg(long, value_name = "URN")]
    identity: Option<String>,
    /// How long to wait for the connection, and for each answer.
    #[arg(long, default_value = "2s")]
    timeout: SignedDuration,
}

/// A gateway that can be called.
pub(crate) struct Gateway {
    endpoint: String,
    caller: Caller,
    timeout: Duration,
}

/// How the gateway knows who calls.
enum Caller {
    /// It believes what it is told.
    Stated(AsciiMetadataValue),
    /// By certificate.
    Certified(Pem),
}

/// Files of PEM.
struct Pem {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

/// A connection, made again by itself when it breaks.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    identity: Option<AsciiMetadataValue>,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
}

/// A connection as a validator.
pub(crate) struct Client {
    service: ValidatorServiceClient<Channel>,
    connection: Connection,
}

impl Arguments {
    /// The gateway they name. Refuses what does not go together.
    #[cfg(feature = "sim")]
    pub(crate) fn gateway(&self) -> Result<Gateway, Stop> {
        let Some(folder) = &self.city else { return self.named.gateway("--city DIR, or ") };
        let timeout = self.named.patience()?;
        let Site { endpoint, ca, certificate, key, .. } = Site::read(folder)?;
        let pem = Pem { ca: folder.join(ca), certificate: folder.join(certificate), key: folder.join(key) };
        self.named.no_identity()?;
        Ok(Gateway { endpoint, caller: Caller::Certified(pem), timeout })
    }

    /// The gateway they name. Refuses what does not go together.
    #[cfg(not(feature = "sim"))]
    pub(crate) fn gateway(&self) -> Result<Gateway, Stop> {
        self.named.gateway("")
    }
}

impl Named {
    /// The gateway they name. Refuses what does not go together; who names none is told what `or` is allowed.
    pub(crate) fn gateway(&self, or: &str) -> Result<Gateway, Stop> {
        let timeout = self.patience()?;
        let endpoint = self.endpoint.clone();
        let endpoint =
            endpoint.ok_or_else(|| Stop::usage(format!("which gateway? Expected {or}--endpoint URL")))?;
        let caller = if is_plain(&endpoint)? {
            if self.ca.is_some() || self.certificate.is_some() || self.key.is_some() {
                return Err(Stop::usage("--ca, --certificate and --key are for https:// endpoints"));
            }
            let identity = self.identity.as_ref();
            Caller::Stated(stated(
                identity.ok_or_else(|| Stop::usage("an http:// endpoint needs --identity"))?,
            )?)
        } else {
            self.no_identity()?;
            let (Some(ca), Some(certificate), Some(key)) = (&self.ca, &self.certificate, &self.key) else {
                return Err(Stop::usage("an https:// endpoint needs --ca, --certificate and --key"));
            };
            Caller::Certified(Pem { ca: ca.clone(), certificate: certificate.clone(), key: key.clone() })
        };
        Ok(Gateway { endpoint, caller, timeout })
    }

    fn patience(&self) -> Result<Duration, Stop> {
        let timeout = Duration::try_from(self.timeout).ok().filter(|timeout| !timeout.is_zero());
        timeout.ok_or_else(|| Stop::usage("--timeout: expected more than nothing, such as 2s"))
    }

    fn no_identity(&self) -> Result<(), Stop> {
        match self.identity {
            Some(_) => Err(Stop::usage(
                "--identity is for http:// endpoints: over TLS the certificate says who calls",
            )),
            None => Ok(()),
        }
    }
}

/// Whether there is no TLS. Refuses what is no endpoint.
fn is_plain(endpoint: &str) -> Result<bool, Stop> {
    let plain = match endpoint.split_once("://") {
        Some(("http", _)) => Some(true),
        Some(("https", _)) => Some(false),
        _ => None,
    };
    let usable = Endpoint::from_shared(endpoint.to_owned()).is_ok();
    plain
        .filter(|_| usable)
        .ok_or_else(|| Stop::usage("--endpoint: expected https://host:port or http://host:port"))
}

fn stated(identity: &str) -> Result<AsciiMetadataValue, Stop> {
    let usable = MetadataValue::try_from(identity).ok().filter(|_| identity.starts_with("urn:ridegate:"));
    usable.ok_or_else(|| Stop::usage("--identity: expected urn:ridegate:validator:<operator>:<device> or urn:ridegate:partner:<partner>"))
}

impl Gateway {
    /// Connects. Refuses what [`Gateway::look`] refuses, a gateway that is not there in time or not whom `ca` vouches for.
    pub(crate) async fn connect(self) -> Result<Connection> {
        let (wait, endpoint) = (self.timeout, self.look()?);
        let connected = match tokio::time::timeout(wait, endpoint.connect()).await {
            Ok(connected) => connected.map_err(Into::into),
            Err(_) => Err(anyhow!("no connection in time")),
        };
        let channel = connected.with_context(|| format!("{}: cannot be reached", self.endpoint))?;
        let identity = match self.caller {
            Caller::Stated(identity) => Some(identity),
            Caller::Certified(_) => None,
        };
        Ok(Connection { channel, identity, timeout: wait })
    }

    /// What can be known before anything is asked: refuses files of PEM that cannot be read.
    pub(crate) fn look(&self) -> Result<Endpoint> {
        let endpoint = Endpoint::from_shared(self.endpoint.clone())?.tcp_nodelay(true);
        // A connection that was lost without a word is noticed by this alone.
        let endpoint = endpoint.http2_keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_TIMEOUT);
        match &self.caller {
            Caller::Stated(_) => Ok(endpoint),
            Caller::Certified(pem) => endpoint.tls_config(pem.config()?).context("certificates"),
        }
    }
}

impl Pem {
    fn config(&self) -> Result<ClientTlsConfig> {
        let identity = Identity::from_pem(read(&self.certificate)?, read(&self.key)?);
        let ca = Certificate::from_pem(read(&self.ca)?);
        Ok(ClientTlsConfig::new().ca_certificate(ca).identity(identity))
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("{}: cannot be read", file.display()))
}

impl Connection {
    /// A request that says who asks, where the certificate does not.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(identity) = &self.identity {
            request.metadata_mut().insert("x-ridegate-identity", identity.clone());
        }
        request
    }
}

impl Client {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { service: ValidatorServiceClient::new(connection.channel.clone()), connection }
    }

    /// Asks about one tap, and for the time each stage takes.
    pub(crate) async fn check(&mut self, tap: CheckRequest) -> Result<Response<CheckResponse>, Status> {
        let mut request = self.connection.request(tap);
        request.set_timeout(self.connection.timeout);
        request.metadata_mut().insert("x-ridegate-timing", MetadataValue::from_static("1"));
        self.service.check(request).await
    }
}
