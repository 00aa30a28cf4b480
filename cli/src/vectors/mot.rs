//! Files of `"format": "mot"`: payloads at an instant, opened with the file's own trust.

use std::collections::BTreeMap;

use ridegate_adapters::{
    Bcd8, CodeError, MotIssuing, MotTrust, Name, NoMemory, PartnerId, PartnerKind, Partners, Profile,
    QuotaProfile, RideCode, UnixSeconds,
    mot::{FUTURE_SKEW_S, MAX_VALIDITY_S},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Outcome, Suite, outcome};

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

#[derive(Deserialize)]
struct Case {
    name: String,
    payload: String,
    now: i64,
    expect: Value,
}

struct Mot {
    partners: Partners,
    cases: Vec<(Case, Vec<u8>)>,
}

pub(super) fn load(file: File) -> Result<Box<dyn Suite>, String> {
    let File { trust, cases, .. } = file;
    if (trust.max_validity_s, trust.future_skew_s) != (MAX_VALIDITY_S, FUTURE_SKEW_S) {
        return Err(format!(
            "trust: max_validity_s is {MAX_VALIDITY_S} and future_skew_s is {FUTURE_SKEW_S} in this version"
        ));
    }
    let cases = cases.into_iter().map(|case| {
        let payload = hex::decode(&case.payload);
        payload
            .map_err(|_| format!("case {:?}: payload: expected hexadecimal", case.name))
            .map(|bytes| (case, bytes))
    });
    Ok(Box::new(Mot { cases: cases.collect::<Result<_, _>>()?, partners: partners(trust)? }))
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
    let profiles = rows.iter().map(|(name, rows)| profile(name, rows)).collect::<Result<_, _>>()?;
    Partners::new(profiles, mot).map_err(|error| format!("trust: {error}"))
}

/// One partner's rows. A file that does not say which account types are onboarded onboards all.
fn profile(name: &str, rows: &[Partner]) -> Result<Profile, String> {
    let id = PartnerId::new(name).ok_or_else(|| {
        format!("trust: partner {name:?}: expected 1 to 32 lower-case letters, digits and hyphens")
    })?;
    let every_type = || (0..=u8::MAX).collect();
    let issuing = |row: &Partner| MotIssuing {
        platform: row.platform,
        issuer: row.issuer,
        account_types: row.account_types.clone().unwrap_or_else(every_type),
    };
    Ok(Profile {
        id,
        name: Name { zh: name.into(), en: name.into() },
        city: String::new(),
        kind: PartnerKind::Metro,
        test: true,
        mot: rows.iter().map(issuing).collect(),
        quota: QuotaProfile::default(),
    })
}

impl Suite for Mot {
    fn run(&self) -> Vec<Outcome> {
        let case = |(case, payload): &(Case, Vec<u8>)| {
            let opened = self.partners.recognise(payload);
            let opened = opened.and_then(|scanned| scanned.open(UnixSeconds(case.now), &NoMemory));
            outcome(&case.name, &case.expect, &shown(opened))
        };
        self.cases.iter().map(case).collect()
    }
}

fn shown(opened: Result<RideCode, CodeError>) -> Value {
    match opened {
        Err(error) => json!({ "error": error.name() }),
        Ok(code) => json!({ "code": {
            "partner": code.partner.as_str(),
            "format": code.format,
            "issuer": code.issuer.to_string(),
            "platform": code.platform.to_string(),
            "account": code.account.expose(),
            "generated_at": code.generated_at.0,
            "expires_at": code.expires_at.0,
            "authorized_until": code.authorized_until.0,
        }}),
    }
}
