//! Certificates, as files have them.

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio_rustls::rustls::{
    self, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject},
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::TLS13,
};
use x509_parser::{
    prelude::{FromDer, X509Certificate},
    revocation_list::CertificateRevocationList,
};

use crate::clock::Clock;

/// Where the certificates are.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The gateway's certificate and those above it, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Who certifies validators, partners and operators, PEM.
    pub client_ca: PathBuf,
    /// Whose certificates have been revoked, PEM.
    pub client_crl: Option<PathBuf>,
}

/// A file of certificates that cannot be used.
#[derive(Debug, Error)]
#[error("{}: {why}", .file.display())]
pub struct TlsError {
    /// Which.
    pub file: PathBuf,
    why: Why,
}

#[derive(Debug, Error)]
enum Why {
    #[error("cannot be read: {0}")]
    Unreadable(std::io::Error),
    #[error("expected {0}")]
    Content(&'static str),
    #[error(transparent)]
    Refused(#[from] rustls::Error),
    #[error(transparent)]
    Verifier(#[from] VerifierBuilderError),
}

/// When certificates end, by the name that metrics have for them.
pub type Ends = Vec<(Cow<'static, str>, Timestamp)>;

/// Certificates that were read and go together.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) ends: Ends,
    pub(super) fingerprint: Fingerprint,
}

/// The files as they are at this moment.
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
    client_crl: Option<Vec<u8>>,
}

impl TlsFiles {
    /// Reads them.
    pub(super) fn load(&self) -> Result<Loaded, TlsError> {
        self.load_contents(&self.read()?)
    }

    pub(super) fn read(&self) -> Result<Contents, TlsError> {
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_ca: read(&self.client_ca)?,
            client_crl: self.client_crl.as_deref().map(read).transpose()?,
        })
    }

    pub(super) fn load_contents(&self, contents: &Contents) -> Result<Loaded, TlsError> {
        let chain = certificates(&self.certificate, &contents.certificate)?;
        let authorities = certificates(&self.client_ca, &contents.client_ca)?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|_| error(&self.key, Why::Content("a private key in PEM")))?;
        valid_now(&self.certificate, &chain)?;
        let mut ends = vec![
            ("server".into(), first_end(&self.certificate, &chain)?),
            ("client_ca".into(), first_end(&self.client_ca, &authorities)?),
        ];
        let provider = Arc::new(aws_lc_rs::default_provider());
        let crls = self.crls(contents, &mut ends)?;
        let verifier = self.verifier(authorities, crls, &provider)?;
        let refused = |source| error(&self.certificate, Why::Refused(source));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(refused)?
            .with_client_cert_verifier(Arc::clone(&verifier))
            .with_single_cert(chain, key)
            .map_err(refused)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // Who comes again shows its ticket instead of its certificate. Tickets are of this configuration only, so
        // that one from before a reload, perhaps of a certificate revoked since, means nothing.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(refused)?;
        Ok(Loaded { config: Arc::new(config), verifier, ends, fingerprint: contents.fingerprint() })
    }

    fn crls(
        &self,
        contents: &Contents,
        ends: &mut Ends,
    ) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
        let (Some(pem), Some(file)) = (&contents.client_crl, &self.client_crl) else { return Ok(vec![]) };
        let bad = || error(file, Why::Content("revocation lists in PEM"));
        let crls = CertificateRevocationListDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
        let crls = crls.ok().filter(|crls| !crls.is_empty()).ok_or_else(bad)?;
        for der in &crls {
            let (_, crl) = CertificateRevocationList::from_der(der).map_err(|_| bad())?;
            let next = crl.next_update().and_then(|next| Timestamp::from_second(next.timestamp()).ok());
            ends.extend(next.map(|next| ("client_crl".into(), next)));
        }
        Ok(crls)
    }

    fn verifier(
        &self,
        authorities: Vec<CertificateDer<'static>>,
        crls: Vec<CertificateRevocationListDer<'static>>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority).map_err(|source| error(&self.client_ca, Why::Refused(source)))?;
        }
        // Who has no certificate may ask for health, and is told what is missing for the rest. A list that is overdue
        // still counts: to refuse every caller because of it would stop the city.
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .allow_unauthenticated()
            .with_crls(crls)
            .allow_unknown_revocation_status()
            .build()
            .map_err(|source| error(&self.client_ca, Why::Verifier(source)))
    }
}

pub(super) type Fingerprint = [u8; 32];

impl Contents {
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut digest = Sha256::new();
        let crl = self.client_crl.as_deref().unwrap_or_default();
        for part in [&self.certificate[..], &self.key, &self.client_ca, crl] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok();
    read.filter(|read| !read.is_empty()).ok_or_else(|| error(file, Why::Content("certificates in PEM")))
}

/// A certificate that is over, not valid yet, or for something else would be refused by every caller.
fn valid_now(file: &Path, chain: &[CertificateDer<'_>]) -> Result<(), TlsError> {
    let refuse = |expected| Err(error(file, Why::Content(expected)));
    let Some(Ok((_, leaf))) = chain.first().map(|leaf| X509Certificate::from_der(leaf)) else {
        return refuse("X.509 certificates");
    };
    let (validity, now) = (leaf.validity(), Clock::system().now().as_second());
    if !(validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now) {
        return refuse("a certificate that is valid now");
    }
    match leaf.extended_key_usage() {
        Ok(Some(usage)) if !usage.value.server_auth && !usage.value.any => {
            refuse("a certificate for a server")
        }
        _ => Ok(()),
    }
}

/// When the first of the certificates in a PEM file ends.
pub fn end_of(file: &Path, pem: &[u8]) -> Result<Timestamp, TlsError> {
    first_end(file, &certificates(file, pem)?)
}

fn first_end(file: &Path, certificates: &[CertificateDer<'_>]) -> Result<Timestamp, TlsError> {
    let end = |der: &CertificateDer<'_>| end(&X509Certificate::from_der(der).ok()?.1);
    let ends = certificates.iter().map(end).collect::<Option<Vec<_>>>();
    let first = ends.and_then(|ends| ends.into_iter().min());
    first.ok_or_else(|| error(file, Why::Content("X.509 certificates")))
}

pub(super) fn end(certificate: &X509Certificate<'_>) -> Option<Timestamp> {
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|source| error(file, Why::Unreadable(source)))
}

fn error(file: &Path, why: Why) -> TlsError {
    TlsError { file: file.to_owned(), why }
}
