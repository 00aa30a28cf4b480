//! Who calls: a URI such as `urn:ridegate:validator:<operator>:<device>`.

use ridegate_adapters::PartnerId;
use thiserror::Error;

/// A caller, by role.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A gate, a bus reader or a station computer.
    Validator(Validator),
    /// A partner's system.
    Partner(PartnerId),
    /// A ticket window or machine.
    Ticketing(Validator),
    /// A person who runs the gateway.
    Operator(String),
}

/// A validator, or a ticket window.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Validator {
    /// Who operates it.
    pub operator: String,
    /// Which it is.
    pub device: String,
}

/// What a connection says of who is at its other end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The certificate names one of ours.
    Known(Identity),
    /// The certificate names nobody.
    Unknown,
    /// There is no certificate.
    Nobody,
    /// There is no TLS: every call states its own identity, and is believed. For development only.
    Stated,
}

/// A URI that names no role of ours.
#[derive(Debug, PartialEq, Eq, Error)]
#[error(
    "expected urn:ridegate:validator:<operator>:<device>, urn:ridegate:partner:<partner>, \
     urn:ridegate:ticketing:<operator>:<device> or urn:ridegate:operator:<name>"
)]
pub struct UnknownIdentity;

impl Identity {
    /// Reads an identity URI.
    pub fn parse(uri: &str) -> Result<Self, UnknownIdentity> {
        let mut parts = uri.split(':');
        let head = [parts.next(), parts.next()];
        if head != [Some("urn"), Some("ridegate")] {
            return Err(UnknownIdentity);
        }
        match [parts.next(), parts.next(), parts.next(), parts.next()] {
            [Some("validator"), Some(operator), Some(device), None] => {
                Validator::new(operator, device).map(Self::Validator)
            }
            [Some("ticketing"), Some(operator), Some(device), None] => {
                Validator::new(operator, device).map(Self::Ticketing)
            }
            [Some("partner"), Some(partner), None, None] => PartnerId::new(partner).map(Self::Partner),
            [Some("operator"), Some(name), None, None] => {
                is_name(name).then(|| Self::Operator(name.to_owned()))
            }
            _ => None,
        }
        .ok_or(UnknownIdentity)
    }

    /// The role's name.
    pub const fn role(&self) -> &'static str {
        match self {
            Self::Validator(_) => "validator",
            Self::Partner(_) => "partner",
            Self::Ticketing(_) => "ticketing",
            Self::Operator(_) => "operator",
        }
    }
}

impl Validator {
    fn new(operator: &str, device: &str) -> Option<Self> {
        let fits = is_name(operator) && is_name(device);
        fits.then(|| Self { operator: operator.to_owned(), device: device.to_owned() })
    }
}

impl Caller {
    /// The role's name, `unknown`, `nobody` or `stated`.
    pub const fn role(&self) -> &'static str {
        match self {
            Self::Known(identity) => identity.role(),
            Self::Unknown => "unknown",
            Self::Nobody => "nobody",
            Self::Stated => "stated",
        }
    }
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read() {
        let gate = Validator { operator: "bjsubway".into(), device: "gate-7".into() };
        let window = gate.clone();
        assert_eq!(Identity::parse("urn:ridegate:validator:bjsubway:gate-7"), Ok(Identity::Validator(gate)));
        assert_eq!(
            Identity::parse("urn:ridegate:ticketing:bjsubway:gate-7"),
            Ok(Identity::Ticketing(window))
        );
        let operator = Identity::Operator("li.wei".into());
        assert_eq!(Identity::parse("urn:ridegate:operator:li.wei"), Ok(operator));
        let alipay = PartnerId::new("alipay").unwrap();
        assert_eq!(Identity::parse("urn:ridegate:partner:alipay"), Ok(Identity::Partner(alipay)));
    }

    #[test]
    fn near_misses_are_nobody() {
        for uri in [
            "",
            "urn",
            "urn:ridegate",
            "urn:ridegate:validator",
            "urn:ridegate:validator:bjsubway",
            "urn:ridegate:validator:bjsubway:",
            "urn:ridegate:validator::gate",
            "urn:ridegate:validator:bjsubway:gate:7",
            "urn:ridegate:validator:bjsubway:gate 7",
            "urn:ridegate:partner:",
            "urn:ridegate:partner:alipay:x",
            "urn:ridegate:partner:Alipay",
            "urn:ridegate:operator:",
            "urn:ridegate:operator:a:b",
            "urn:ridegate:ticketing:bjsubway",
            "urn:ridegate:root:me",
            "URN:RIDEGATE:partner:alipay",
            " urn:ridegate:partner:alipay",
        ] {
            assert_eq!(Identity::parse(uri), Err(UnknownIdentity), "{uri}");
        }
    }
}
