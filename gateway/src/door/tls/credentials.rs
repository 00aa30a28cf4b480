//! What a caller shows, and whom it names.

use jiff::Timestamp;
use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use super::files::end;
use crate::admission::identity::{Caller, Identity};

/// What a caller has shown.
#[derive(Debug)]
pub(in crate::door) struct Credentials {
    pub(in crate::door) caller: Caller,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) not_after: Timestamp,
}

impl Credentials {
    /// What a connection was shown. It was verified in the handshake, or in the one before that it resumes.
    pub(in crate::door) fn of(certificates: Option<&[CertificateDer<'static>]>) -> Self {
        let chain = certificates.unwrap_or_default().to_vec();
        let leaf = chain.first().map(|leaf| X509Certificate::from_der(leaf));
        let (caller, not_after) = match leaf {
            None => (Caller::Nobody, Timestamp::MAX),
            Some(Err(_)) => (Caller::Unknown, Timestamp::MAX),
            Some(Ok((_, leaf))) => (named(&leaf), end(&leaf).unwrap_or(Timestamp::MIN)),
        };
        Self { caller, chain, not_after }
    }
}

/// Who a certificate names: the one `urn:ridegate:` URI among its names.
fn named(leaf: &X509Certificate<'_>) -> Caller {
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
