//! Who calls: a URI such as `urn:ridegate:validator:<operator>:<device>`.

use ridegate_adapters::PartnerId;
use thiserror::Error;

/// A caller, by role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A gate, a bus reader or a station computer.
    Validator(Validator),
    /// A partner's system.
    Partner(PartnerId),
}

/// A validator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validator {
    /// Who operates it.
    pub operator: String,
    /// Which it is.
    pub device: String,
}

/// A URI that names no role of ours.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("expected urn:ridegate:validator:<operator>:<device> or urn:ridegate:partner:<partner>")]
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
            [Some("validator"), Some(operator), Some(device), None]
                if is_name(operator) && is_name(device) =>
            {
                Ok(Self::Validator(Validator { operator: operator.into(), device: device.into() }))
            }
            [Some("partner"), Some(partner), None, None] => {
                PartnerId::new(partner).map(Self::Partner).ok_or(UnknownIdentity)
            }
            _ => Err(UnknownIdentity),
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
        assert_eq!(Identity::parse("urn:ridegate:validator:bjsubway:gate-7"), Ok(Identity::Validator(gate)));
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
            "urn:ridegate:root:me",
            "URN:RIDEGATE:partner:alipay",
            " urn:ridegate:partner:alipay",
        ] {
            assert_eq!(Identity::parse(uri), Err(UnknownIdentity), "{uri}");
        }
    }
}
