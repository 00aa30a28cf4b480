//! Files of `"format": "online"`: codes that only their partner can read, as far as they can be told without asking.

use std::collections::BTreeMap;

use ridegate_adapters::{
    Iin, MotTrust, Partners, Profile,
    emv_cpm::{AidPrefix, CpmIssuing},
    opaque::OpaqueIssuing,
    unionpay_token::TokenIssuing,
};
use serde::Deserialize;

use super::{
    Suite,
    codes::{self, Case, profile},
};

#[derive(Deserialize)]
pub(super) struct File {
    #[serde(rename = "format")]
    _format: String,
    trust: BTreeMap<String, Partner>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Partner {
    aid_prefix: Option<String>,
    #[serde(default)]
    iin: Vec<String>,
    opaque_prefix_ascii: Option<String>,
    opaque_length: Option<usize>,
    opaque_first_byte: Option<String>,
}

pub(super) fn load(file: File) -> Result<Box<dyn Suite>, String> {
    let File { trust, cases, .. } = file;
    let profiles = trust.into_iter().map(|(name, stated)| {
        let profile = profile(&name)?;
        shows(profile, stated).map_err(|why| format!("trust: partner {name:?}: {why}"))
    });
    let partners = Partners::new(profiles.collect::<Result<_, String>>()?, MotTrust::default())
        .map_err(|error| format!("trust: {error}"))?;
    codes::suite(partners, cases)
}

/// A partner with IINs shows tokens that begin so; with the beginning of an AID too, cards.
fn shows(profile: Profile, stated: Partner) -> Result<Profile, String> {
    let Partner { aid_prefix, iin, opaque_prefix_ascii, opaque_length, opaque_first_byte } = stated;
    let iins = iin.into_iter().map(Iin::try_from).collect::<Result<Vec<_>, _>>()?;
    let aid = aid_prefix.map(AidPrefix::try_from).transpose()?;
    let begins = opaque_prefix_ascii.map(|text| OpaqueIssuing::begins(&text)).transpose()?;
    let sized = match (opaque_length, opaque_first_byte) {
        (Some(length), Some(first)) => Some(OpaqueIssuing::sized(length, &first)?),
        (None, None) => None,
        _ => return Err("expected opaque_length and opaque_first_byte together".into()),
    };
    Ok(Profile {
        emv_cpm: aid.map(|aid| CpmIssuing { aids: vec![aid], iins: iins.clone() }),
        unionpay_token: (!iins.is_empty()).then_some(TokenIssuing { iins }),
        opaque: begins.into_iter().chain(sized).collect(),
        ..profile
    })
}
