//! TLS 1.3 with certificates on both sides, reloaded when their files change.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::time::sleep;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, RootCertStore, ServerConfig,
        crypto::{CryptoProvider, aws_lc_rs},
        pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, pem::PemObject},
        server::{VerifierBuilderError, WebPkiClientVerifier},
        version::TLS13,
    },
};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use crate::{
    admission::identity::{Caller, Identity},
    clock::Clock,
    metrics::TlsMetrics,
};

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

/// When the certificates of a set of files end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// The first of the gateway's own chain.
    pub certificate: Timestamp,
    /// The first of those who certify callers.
    pub client_ca: Timestamp,
}

/// Certificates that were read and go together.
#[derive(Debug, Clone)]
pub struct Loaded {
    config: Arc<ServerConfig>,
    /// When they end.
    pub expiry: Expiry,
}

/// The certificates in use.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: ArcSwap<Loaded>,
}

/// The files as they are at this moment.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
    client_crl: Option<Vec<u8>>,
}

impl TlsFiles {
    /// Reads them.
    pub fn load(&self) -> Result<Loaded, TlsError> {
        self.load_contents(&self.read()?)
    }

    fn read(&self) -> Result<Contents, TlsError> {
        Ok(Contents {
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
            client_ca: read(&self.client_ca)?,
            client_crl: self.client_crl.as_deref().map(read).transpose()?,
        })
    }

    fn load_contents(&self, contents: &Contents) -> Result<Loaded, TlsError> {
        let chain = certificates(&self.certificate, &contents.certificate)?;
        let authorities = certificates(&self.client_ca, &contents.client_ca)?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|_| error(&self.key, Why::Content("a private key in PEM")))?;
        let expiry = Expiry {
            certificate: first_end(&self.certificate, &chain)?,
            client_ca: first_end(&self.client_ca, &authorities)?,
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = self.verifier(authorities, contents.client_crl.as_deref(), &provider)?;
        let refused = |source| error(&self.certificate, Why::Refused(source));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(refused)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(refused)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        // Who comes again shows its ticket instead of its certificate. Tickets are of this configuration only, so
        // that one from before a reload, perhaps of a certificate revoked since, means nothing.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(refused)?;
        Ok(Loaded { config: Arc::new(config), expiry })
    }

    fn verifier(
        &self,
        authorities: Vec<CertificateDer<'static>>,
        crl: Option<&[u8]>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in authorities {
            roots.add(authority).map_err(|source| error(&self.client_ca, Why::Refused(source)))?;
        }
        // Who has no certificate may ask for health, and is told what is missing for the rest.
        let mut verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
            .allow_unauthenticated();
        if let (Some(crl), Some(crl_file)) = (crl, &self.client_crl) {
            let crls = CertificateRevocationListDer::pem_slice_iter(crl).collect::<Result<Vec<_>, _>>();
            let crls = crls.ok().filter(|crls| !crls.is_empty());
            let crls = crls.ok_or_else(|| error(crl_file, Why::Content("revocation lists in PEM")))?;
            verifier = verifier.with_crls(crls).allow_unknown_revocation_status();
        }
        verifier.build().map_err(|source| error(&self.client_ca, Why::Verifier(source)))
    }
}

impl Tls {
    /// Reads the certificates for the first time.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = ArcSwap::from_pointee(files.load()?);
        Ok(Self { files, current })
    }

    /// When the certificates in use end.
    pub fn expiry(&self) -> Expiry {
        self.current.load().expiry
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.current.load().config).into()
    }

    /// Looks at the files again and again, and takes what has changed if it can be used. If it cannot, what was good
    /// last stays.
    pub async fn follow(self: Arc<Self>, every: Duration, metrics: TlsMetrics) {
        self.expiry().tell(&metrics);
        let mut seen = self.files.read().ok().map(|contents| contents.fingerprint());
        loop {
            sleep(every).await;
            let tls = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || tls.look_again(seen)).await;
            let Ok((fingerprint, outcome)) = looked else { continue };
            seen = fingerprint;
            match outcome {
                None => {}
                Some(Ok(expiry)) => {
                    metrics.reloaded(true);
                    expiry.tell(&metrics);
                    tracing::info!(certificate_ends = %expiry.certificate, "certificates were reloaded");
                }
                Some(Err(error)) => {
                    metrics.reloaded(false);
                    tracing::error!(cause = %error, "certificates cannot be used; the last good ones stay");
                }
            }
        }
    }

    /// What the files look like now, and what came of it if they look other than `seen`.
    fn look_again(
        &self,
        seen: Option<Fingerprint>,
    ) -> (Option<Fingerprint>, Option<Result<Expiry, TlsError>>) {
        let contents = match self.files.read() {
            Ok(contents) => contents,
            // Perhaps just being replaced. Said once.
            Err(error) => return (None, seen.map(|_| Err(error))),
        };
        let fingerprint = Some(contents.fingerprint());
        if fingerprint == seen {
            return (seen, None);
        }
        let outcome = self.files.load_contents(&contents).map(|loaded| {
            let expiry = loaded.expiry;
            self.current.store(Arc::new(loaded));
            expiry
        });
        (fingerprint, Some(outcome))
    }
}

impl Expiry {
    fn tell(self, metrics: &TlsMetrics) {
        metrics.expires("server", self.certificate);
        metrics.expires("client_ca", self.client_ca);
    }
}

type Fingerprint = [u8; 32];

impl Contents {
    fn fingerprint(&self) -> Fingerprint {
        let mut digest = Sha256::new();
        let crl = self.client_crl.as_deref().unwrap_or_default();
        for part in [&self.certificate[..], &self.key, &self.client_ca, crl] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

/// Who a connection's certificate names: the one `urn:ridegate:` URI among its names. The certificate itself was
/// verified in the handshake; only its end is looked at again, because a resumed session skips that.
pub(super) fn caller(certificates: Option<&[CertificateDer<'_>]>) -> Caller {
    let Some([leaf, ..]) = certificates else { return Caller::Nobody };
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else { return Caller::Unknown };
    if leaf.validity().not_after.timestamp() < Clock::system().now().as_second() {
        return Caller::Unknown;
    }
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return Caller::Unknown };
    let mut ours = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) if uri.starts_with("urn:ridegate:") => Some(uri),
        _ => None,
    });
    match (ours.next().map(|uri| Identity::parse(uri)), ours.next()) {
        (Some(Ok(identity)), None) => Caller::Known(identity),
        _ => Caller::Unknown,
    }
}

fn certificates(file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok();
    read.filter(|read| !read.is_empty()).ok_or_else(|| error(file, Why::Content("certificates in PEM")))
}

fn first_end(file: &Path, certificates: &[CertificateDer<'_>]) -> Result<Timestamp, TlsError> {
    let end = |der: &CertificateDer<'_>| {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
    };
    let ends = certificates.iter().map(end).collect::<Option<Vec<_>>>();
    ends.and_then(|ends| ends.into_iter().min())
        .ok_or_else(|| error(file, Why::Content("X.509 certificates")))
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|source| error(file, Why::Unreadable(source)))
}

fn error(file: &Path, why: Why) -> TlsError {
    TlsError { file: file.to_owned(), why }
}
