//! Files of `"format": "mot"`.

use std::collections::BTreeMap;

use ridegate_adapters::{Bcd8, MotIssuing, MotTrust, Partners, Profile};
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
    roots: Vec<Root>,
    #[serde(default)]
    revoked_certificates: Vec<Revoked>,
    partners: Vec<Partner>,
    max_validity_s: u16,
    future_skew_s: u32,
}

#[derive(Deserialize)]
struct Root {
    index: u8,
    record: String,
}

#[derive(Deserialize)]
struct Revoked {
    issuer: Bcd8,
    serial: u32,
}

#[derive(Deserialize)]
struct Partner {
    #[serde(rename = "partner")]
    name: String,
    platform: Bcd8,
    issuer: Bcd8,
    account_types: Option<Vec<u8>>,
}

pub(super) fn load(file: File) -> Result<Box<dyn Suite>, String> {
    let File { trust, cases, .. } = file;
    limits(trust.max_validity_s, trust.future_skew_s)?;
    codes::suite(partners(trust)?, cases)
}

fn partners(trust: Trust) -> Result<Partners, String> {
    // The index beside a record is for the reader; the record's own byte 10 is what counts, so they must agree.
    let differs = |root: &Root| {
        hex::decode(&root.record).is_ok_and(|bytes| bytes.get(10).is_some_and(|at| *at != root.index))
    };
    if let Some(root) = trust.roots.iter().find(|root| differs(root)) {
        return Err(format!("trust: root {}: its record has another index", root.index));
    }
    let revoked = trust.revoked_certificates.into_iter().map(|revoked| (revoked.issuer, revoked.serial));
    let mot = MotTrust::new(trust.roots.into_iter().map(|root| root.record), revoked)
        .map_err(|error| format!("trust: {error}"))?;
    let mut rows: BTreeMap<String, Vec<Partner>> = BTreeMap::new();
    for row in trust.partners {
        rows.entry(row.name.clone()).or_default().push(row);
    }
    let profiles = rows.iter().map(|(name, rows)| partner(name, rows)).collect::<Result<_, _>>()?;
    Partners::new(profiles, mot).map_err(|error| format!("trust: {error}"))
}

/// One partner's rows. A file that does not say which account types are onboarded onboards all.
fn partner(name: &str, rows: &[Partner]) -> Result<Profile, String> {
    let every_type = || (0..=u8::MAX).collect();
    let issuing = |row: &Partner| MotIssuing {
        platform: row.platform,
        issuer: row.issuer,
        account_types: row.account_types.clone().unwrap_or_else(every_type),
    };
    Ok(Profile { mot: rows.iter().map(issuing).collect(), ..profile(name)? })
}
