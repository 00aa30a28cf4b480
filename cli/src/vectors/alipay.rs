//! Files of `"format": "alipay"`.

use std::collections::BTreeMap;

use ridegate_adapters::{
    MotTrust, Partners, Profile,
    alipay::{AlipayIssuing, CardType, IssuerAlgorithm, Prefix, PublishedKey},
};
use serde::Deserialize;

use super::{
    Suite,
    codes::{self, Case, limits, profile},
};

#[derive(Deserialize)]
pub(super) struct File {
    #[serde(rename = "format")]
    _format: String,
    trust: Trust,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Trust {
    max_validity_s: u16,
    future_skew_s: u32,
    /// Whatever else there is.
    #[serde(flatten)]
    partners: BTreeMap<String, Partner>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Partner {
    keys: Vec<Stated>,
    card_types: Vec<String>,
    /// One; empty for none.
    #[serde(default)]
    prefix: String,
    /// Several.
    #[serde(default)]
    prefixes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    key_id: u8,
    algorithm: u8,
    curve: String,
    public_key: String,
}

pub(super) fn load(file: File) -> Result<Box<dyn Suite>, String> {
    let File { trust, cases, .. } = file;
    limits(trust.max_validity_s, trust.future_skew_s)?;
    let profiles = trust.partners.into_iter().map(|(name, stated)| partner(&name, stated));
    let partners = Partners::new(profiles.collect::<Result<_, _>>()?, MotTrust::default())
        .map_err(|error| format!("trust: {error}"))?;
    codes::suite(partners, cases)
}

fn partner(name: &str, stated: Partner) -> Result<Profile, String> {
    let profile = profile(name)?;
    let refuse = |why: String| format!("trust: partner {name:?}: {why}");
    Ok(Profile { alipay: Some(issuing(stated).map_err(refuse)?), ..profile })
}

fn issuing(stated: Partner) -> Result<AlipayIssuing, String> {
    let Partner { keys, card_types, prefix, prefixes } = stated;
    let prefixes = Some(prefix).filter(|one| !one.is_empty()).into_iter().chain(prefixes);
    AlipayIssuing::new(
        prefixes.map(|text| Prefix::from_hex(&text)).collect::<Result<_, _>>()?,
        card_types.into_iter().map(CardType::try_from).collect::<Result<_, _>>()?,
        keys.iter().map(published).collect::<Result<_, _>>()?,
    )
}

fn published(key: &Stated) -> Result<PublishedKey, String> {
    let algorithm = match (key.algorithm, key.curve.as_str()) {
        (1, "secp256k1") => IssuerAlgorithm::Secp256k1,
        (2, "sm2") => IssuerAlgorithm::Sm2,
        _ => return Err(format!("key_id {}: expected algorithm 1 on secp256k1 or 2 on sm2", key.key_id)),
    };
    PublishedKey::new(key.key_id, algorithm, &key.public_key)
}
