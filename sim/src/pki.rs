//! A development certificate authority: it certifies a gateway and callers of every role, for one's own machine and for
//! tests. A production fleet has an authority of its own.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use jiff::SignedDuration;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use ridegate_gateway::{admission::identity::Identity, clock::Clock};
use time::OffsetDateTime;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity as KeyAndCertificate};
use x509_parser::{certificate::X509Certificate, pem::parse_x509_pem};

const NAME: &str = "ridegate development CA";
/// Clocks differ.
const BEFORE: SignedDuration = SignedDuration::from_hours(1);

/// A certificate authority in a folder.
#[derive(Debug)]
pub struct Pki {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    lifetime: SignedDuration,
}

/// A certificate and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// `NAME.pem`.
    pub certificate: PathBuf,
    /// `NAME.key`.
    pub key: PathBuf,
}

impl Pki {
    /// A new authority, whose certificates live so long; writes `ca.pem` and `ca.key`. The folder is made if need be.
    /// Refuses a folder that has one.
    pub fn create(folder: &Path, lifetime: SignedDuration) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let key = KeyPair::generate()?;
        // Of a name of its own: two authorities of one name are hard to tell apart when one is not trusted.
        let name = format!("{NAME} {:08x}", rand::random::<u32>());
        let mut params = authority(&name);
        (params.not_before, params.not_after) = validity(lifetime)?;
        let certificate = params.self_signed(&key)?;
        let files = Files::of(folder, "ca");
        files.write(&certificate.pem(), &key.serialize_pem())?;
        Ok(Self { folder: folder.to_owned(), issuer: Issuer::new(authority(&name), key), lifetime })
    }

    /// The authority of this folder. What it certifies does not outlive it.
    pub fn open(folder: &Path, lifetime: SignedDuration) -> Result<Self> {
        let Files { certificate, key } = Files::of(folder, "ca");
        let pem = fs::read_to_string(&key).with_context(|| format!("{}: no CA here", key.display()))?;
        let key = KeyPair::from_pem(&pem).with_context(|| format!("{}: not a private key", key.display()))?;
        let (name, end) = x509(&certificate, |ca| {
            let name = ca.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
            Some((name?.to_owned(), ca.validity().not_after.timestamp()))
        })?;
        let left = SignedDuration::from_secs(end - Clock::system().now().as_second());
        let issuer = Issuer::new(authority(&name), key);
        Ok(Self { folder: folder.to_owned(), issuer, lifetime: lifetime.min(left) })
    }

    /// Who trusts this file trusts all that is certified here.
    pub fn ca(&self) -> PathBuf {
        Files::of(&self.folder, "ca").certificate
    }

    /// Certifies a gateway that is reached by these names and addresses.
    pub fn server(&self, hosts: &[String]) -> Result<Files> {
        let mut params = CertificateParams::new(hosts)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.certify("server", "ridegate", params)
    }

    /// Certifies a caller: `urn:ridegate:…`. Anything else is refused.
    pub fn caller(&self, name: &str, identity: &str) -> Result<Files> {
        Identity::parse(identity)?;
        self.stranger(name, &[identity])
    }

    /// Certifies a caller under any names, also such as mean nothing to a gateway.
    pub fn stranger(&self, name: &str, uris: &[&str]) -> Result<Files> {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into()?));
        }
        self.certify(name, uris.first().copied().unwrap_or("nobody"), params)
    }

    /// Revokes what was certified under these names: writes `crl.pem`.
    pub fn revoke(&self, names: &[&str]) -> Result<PathBuf> {
        let (now, until) = validity(self.lifetime)?;
        let revoked = |name: &&str| {
            Ok::<_, anyhow::Error>(RevokedCertParams {
                serial_number: self.serial(name)?,
                revocation_time: now,
                reason_code: None,
                invalidity_date: None,
            })
        };
        let list = CertificateRevocationListParams {
            this_update: now,
            next_update: until,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: names.iter().map(revoked).collect::<Result<_>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let file = self.folder.join("crl.pem");
        fs::write(&file, list.signed_by(&self.issuer)?.pem()?)?;
        Ok(file)
    }

    /// The serial number of what was certified under this name.
    fn serial(&self, name: &str) -> Result<SerialNumber> {
        let file = Files::of(&self.folder, name).certificate;
        x509(&file, |certificate| Some(SerialNumber::from(certificate.raw_serial().to_vec())))
    }

    fn certify(&self, name: &str, subject: &str, mut params: CertificateParams) -> Result<Files> {
        let key = KeyPair::generate()?;
        params.distinguished_name.push(DnType::CommonName, subject);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = validity(self.lifetime)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let files = Files::of(&self.folder, name);
        files.write(&certificate.pem(), &key.serialize_pem())?;
        Ok(files)
    }
}

impl Files {
    /// The files of this name in a folder.
    pub fn of(folder: &Path, name: &str) -> Self {
        Self { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) }
    }

    /// A client of the gateway at `url`, which is trusted if `ca` certified it.
    pub fn endpoint(&self, url: &str, ca: &Path) -> Result<Endpoint> {
        let read = |file: &Path| fs::read(file).with_context(|| file.display().to_string());
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(ca)?))
            .identity(KeyAndCertificate::from_pem(read(&self.certificate)?, read(&self.key)?));
        Ok(Endpoint::from_shared(url.to_owned())?.tls_config(tls)?.tcp_nodelay(true))
    }

    fn write(&self, certificate: &str, key: &str) -> Result<()> {
        self.must_be_new()?;
        create(&self.key, true)?.write_all(key.as_bytes())?;
        create(&self.certificate, false)?.write_all(certificate.as_bytes())?;
        Ok(())
    }

    /// Refuses if a file would be lost.
    pub fn must_be_new(&self) -> Result<()> {
        match [&self.key, &self.certificate].into_iter().find(|file| file.exists()) {
            Some(file) => bail!("{}: is there already, and would be lost", file.display()),
            None => Ok(()),
        }
    }
}

/// A new file; a private one only its owner reads.
fn create(path: &Path, private: bool) -> Result<fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if private {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    options.open(path).with_context(|| path.display().to_string())
}

/// Something of the certificate in a file.
fn x509<T>(file: &Path, look: impl FnOnce(&X509Certificate<'_>) -> Option<T>) -> Result<T> {
    let what = || format!("{}: not a certificate in PEM", file.display());
    let pem = fs::read(file).with_context(|| file.display().to_string())?;
    let (_, pem) = parse_x509_pem(&pem).with_context(what)?;
    look(&pem.parse_x509().with_context(what)?).with_context(what)
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn validity(lifetime: SignedDuration) -> Result<(OffsetDateTime, OffsetDateTime)> {
    let now = Clock::system().now();
    let at = |distance: SignedDuration| {
        Ok::<_, anyhow::Error>(OffsetDateTime::from_unix_timestamp((now + distance).as_second())?)
    };
    Ok((at(-BEFORE)?, at(lifetime)?))
}
