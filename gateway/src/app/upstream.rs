//! How something behind the gateway is asked: address and certificates become a client's settings. What passes there is
//! nobody else's business, so it crosses no network in the clear.

use std::{fs, path::Path};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::{config, door::tls};

/// What a configuration or a profile says of it.
pub(super) struct Stated<'a> {
    pub(super) endpoint: &'a config::Endpoint,
    pub(super) ca: Option<&'a Path>,
    pub(super) certificate: Option<&'a Path>,
    pub(super) key: Option<&'a Path>,
}

/// Somebody who can be asked.
#[derive(Debug, Clone)]
pub(super) struct Upstream {
    pub(super) endpoint: Endpoint,
    /// When the first certificate of those who certify it ends.
    pub(super) ca_end: Option<Timestamp>,
    /// When the gateway's own certificate for it ends.
    pub(super) client_end: Option<Timestamp>,
    /// Of address and files.
    pub(super) fingerprint: [u8; 32],
}

/// The key at fault, and why.
type Refusal = (&'static str, String);

impl Stated<'_> {
    pub(super) fn upstream(&self, insecure_dev: bool) -> Result<Upstream, Refusal> {
        let uri = self.endpoint.uri();
        let mut upstream = Upstream {
            endpoint: Endpoint::from(uri.clone()),
            ca_end: None,
            client_end: None,
            fingerprint: [0; 32],
        };
        let mut digest = Sha256::new_with_prefix(uri.to_string());
        if self.endpoint.is_secure() {
            self.secure(&mut upstream, &mut digest)?;
        } else {
            self.plain(insecure_dev)?;
        }
        upstream.fingerprint = digest.finalize().into();
        Ok(upstream)
    }

    fn plain(&self, insecure_dev: bool) -> Result<(), Refusal> {
        let refuse = |why: &str| Err(("endpoint", why.to_owned()));
        if self.ca.is_some() || self.certificate.is_some() || self.key.is_some() {
            return refuse("must be https:// where ca, certificate or key are given");
        }
        if !insecure_dev && !self.endpoint.is_local() {
            return refuse("must be https:// where it is not on this machine");
        }
        Ok(())
    }

    fn secure(&self, upstream: &mut Upstream, digest: &mut Sha256) -> Result<(), Refusal> {
        let ca = self.ca.ok_or_else(|| ("ca", "must be given with an https:// endpoint".to_owned()))?;
        let pem = read("ca", ca, digest)?;
        upstream.ca_end = Some(end_of("ca", ca, &pem)?);
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem));
        match (self.certificate, self.key) {
            (Some(certificate), Some(key)) => {
                let pem = read("certificate", certificate, digest)?;
                upstream.client_end = Some(end_of("certificate", certificate, &pem)?);
                tls = tls.identity(Identity::from_pem(pem, read("key", key, digest)?));
            }
            (None, None) => {}
            (Some(_), None) => return Err(("certificate", "needs its key".into())),
            (None, Some(_)) => return Err(("key", "needs its certificate".into())),
        }
        let secured = upstream.endpoint.clone().tls_config(tls);
        upstream.endpoint = secured.map_err(|error| {
            ("key", format!("ca, certificate and key do not go together: {}", root(&error)))
        })?;
        Ok(())
    }
}

/// Whether this is the key of this certificate.
pub(super) fn go_together(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let tls = ClientTlsConfig::new().identity(Identity::from_pem(certificate, key));
    let secured = Endpoint::from_static("https://localhost").tls_config(tls);
    secured.map(drop).map_err(|error| format!("certificate and key do not go together: {}", root(&error)))
}

fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn read(key: &'static str, path: &Path, digest: &mut Sha256) -> Result<Vec<u8>, Refusal> {
    let pem = fs::read(path).map_err(|error| (key, format!("cannot be read: {error}")))?;
    digest.update(pem.len().to_be_bytes());
    digest.update(&pem);
    Ok(pem)
}

fn end_of(key: &'static str, path: &Path, pem: &[u8]) -> Result<Timestamp, Refusal> {
    tls::end_of(path, pem).map_err(|error| (key, error.to_string()))
}
