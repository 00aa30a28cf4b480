//! Label sets.

use std::{borrow::Cow, fmt::Write as _};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use ridegate_adapters::PartnerId;

/// A partner of the configuration, or `none`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Partner(Option<PartnerId>);

impl From<Option<PartnerId>> for Partner {
    fn from(partner: Option<PartnerId>) -> Self {
        Self(partner)
    }
}

impl EncodeLabelValue for Partner {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.0.as_ref().map_or("none", PartnerId::as_str))
    }
}

macro_rules! labels {
    ($($name:ident { $($label:ident: $type:ty),* })*) => {$(
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        #[allow(clippy::struct_field_names, reason = "a label is called what it is")]
        pub(super) struct $name { $(pub(super) $label: $type),* }
    )*};
}

labels! {
    Verdict { partner: Partner, verdict: &'static str, reason: &'static str }
    StageName { stage: &'static str }
    Outcome { outcome: &'static str }
    TicketCheck { verdict: &'static str, reason: &'static str }
    Budget { partner: Partner, budget: &'static str, outcome: &'static str }
    Cache { cache: &'static str }
    CacheLookup { cache: &'static str, outcome: &'static str }
    Upstreamed { upstream: &'static str, call: &'static str, outcome: &'static str }
    Upstream { upstream: &'static str }
    Asked { partner: Partner, outcome: &'static str }
    Retried { upstream: Cow<'static, str>, outcome: &'static str }
    NotAsked { partner: Partner, cause: &'static str }
    OfPartner { partner: Partner }
    Rpc { service: &'static str, method: &'static str, code: &'static str }
    Call { service: &'static str, method: &'static str }
    Dependency { dependency: &'static str }
    Role { role: &'static str }
    Cause { cause: &'static str }
    Certificate { certificate: Cow<'static, str> }
}
