//! Calling a running gateway, as one validator.

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

/// The gateway to call, and who calls.
#[derive(clap::Args)]
#[group(skip)]
pub(crate) struct Arguments {
    /// A running city's folder: where its gateway is, and a validator's certificate.
    #[cfg(feature = "sim")]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["endpoint", "ca", "certificate", "key"])]
    city: Option<PathBuf>,
    /// A gateway: `https://host:port`, with --ca, --certificate and --key; `http://host:port`, with --identity, if it was
    /// started with --insecure-dev.
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// Whom the gateway's certificate must be from, PEM.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Your certificate as a validator, PEM.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Its key, PEM.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Who you are where there is no TLS: `urn:ridegate:validator:<operator>:<device>`.
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

/// A connection.
pub(crate) struct Client {
    service: ValidatorServiceClient<Channel>,
    identity: Option<AsciiMetadataValue>,
    timeout: Duration,
}

impl Arguments {
    /// The gateway they name. Refuses what does not go together.
    pub(crate) fn gateway(&self) -> Result<Gateway, Stop> {
        let timeout = Duration::try_from(self.timeout).ok().filter(|timeout| !timeout.is_zero());
        let timeout =
            timeout.ok_or_else(|| Stop::usage("--timeout: expected more than nothing, such as 2s"))?;
        let (endpoint, caller) = self.found()?;
        Ok(Gateway { endpoint, caller, timeout })
    }

    #[cfg(feature = "sim")]
    fn found(&self) -> Result<(String, Caller), Stop> {
        let Some(folder) = &self.city else { return self.named() };
        let Site { endpoint, ca, certificate, key, .. } = Site::read(folder)?;
        let pem = Pem { ca: folder.join(ca), certificate: folder.join(certificate), key: folder.join(key) };
        self.no_identity()?;
        Ok((endpoint, Caller::Certified(pem)))
    }

    #[cfg(not(feature = "sim"))]
    fn found(&self) -> Result<(String, Caller), Stop> {
        self.named()
    }

    fn named(&self) -> Result<(String, Caller), Stop> {
        let city = if cfg!(feature = "sim") { "--city DIR, or " } else { "" };
        let endpoint = self.endpoint.clone();
        let endpoint =
            endpoint.ok_or_else(|| Stop::usage(format!("which gateway? Expected {city}--endpoint URL")))?;
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
        Ok((endpoint, caller))
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
    usable.ok_or_else(|| Stop::usage("--identity: expected urn:ridegate:validator:<operator>:<device>"))
}

impl Gateway {
    /// Connects. Refuses files of PEM that cannot be read, a gateway that is not there in time or not whom `ca` vouches
    /// for.
    pub(crate) async fn connect(self) -> Result<Client> {
        let (wait, name) = (self.timeout, self.endpoint.clone());
        let endpoint = Endpoint::from_shared(self.endpoint)?.tcp_nodelay(true);
        let (endpoint, identity) = match self.caller {
            Caller::Stated(identity) => (endpoint, Some(identity)),
            Caller::Certified(pem) => (endpoint.tls_config(pem.config()?).context("certificates")?, None),
        };
        let connected = match tokio::time::timeout(wait, endpoint.connect()).await {
            Ok(connected) => connected.map_err(Into::into),
            Err(_) => Err(anyhow!("no connection in time")),
        };
        let channel = connected.with_context(|| format!("{name}: cannot be reached"))?;
        Ok(Client { service: ValidatorServiceClient::new(channel), identity, timeout: wait })
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

impl Client {
    /// Asks about one tap, and for the time each stage takes.
    pub(crate) async fn check(&mut self, tap: CheckRequest) -> Result<Response<CheckResponse>, Status> {
        let mut request = Request::new(tap);
        request.set_timeout(self.timeout);
        let metadata = request.metadata_mut();
        metadata.insert("x-ridegate-timing", MetadataValue::from_static("1"));
        if let Some(identity) = &self.identity {
            metadata.insert("x-ridegate-identity", identity.clone());
        }
        self.service.check(request).await
    }
}
