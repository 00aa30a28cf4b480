//! What files of every format have in common: payloads at an instant, opened with the file's own trust.

use ridegate_adapters::{
    CodeError, FUTURE_SKEW_S, MAX_VALIDITY_S, MinAppVersions, NoMemory, Opened, PartnerId, PartnerKind,
    Partners, Profile, Prompts, QuotaProfile, UnixSeconds, Words,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Outcome, Suite, outcome};

#[derive(Deserialize)]
pub(super) struct Case {
    name: String,
    payload: String,
    now: i64,
    expect: Value,
}

struct Codes {
    partners: Partners,
    cases: Vec<(Case, Vec<u8>)>,
}

/// Cases to be opened with these partners.
pub(super) fn suite(partners: Partners, cases: Vec<Case>) -> Result<Box<dyn Suite>, String> {
    let cases = cases.into_iter().map(|case| {
        let payload = hex::decode(&case.payload);
        payload
            .map_err(|_| format!("case {:?}: payload: expected hexadecimal", case.name))
            .map(|bytes| (case, bytes))
    });
    Ok(Box::new(Codes { cases: cases.collect::<Result<_, _>>()?, partners }))
}

/// Refuses a file that was made for other limits.
pub(super) fn limits(max_validity_s: u16, future_skew_s: u32) -> Result<(), String> {
    if (max_validity_s, future_skew_s) == (MAX_VALIDITY_S, FUTURE_SKEW_S) {
        return Ok(());
    }
    Err(format!(
        "trust: max_validity_s is {MAX_VALIDITY_S} and future_skew_s is {FUTURE_SKEW_S} in this version"
    ))
}

/// A partner that shows nothing yet.
pub(super) fn profile(name: &str) -> Result<Profile, String> {
    let id = PartnerId::new(name).ok_or_else(|| {
        format!("trust: partner {name:?}: expected 1 to 32 lower-case letters, digits and hyphens")
    })?;
    Ok(Profile {
        id,
        name: Words { zh: name.into(), en: name.into() },
        city: String::new(),
        kind: PartnerKind::Metro,
        test: true,
        mot: Vec::new(),
        alipay: None,
        emv_cpm: None,
        unionpay_token: None,
        opaque: Vec::new(),
        cards: Vec::new(),
        min_app_version: MinAppVersions::default(),
        resolver: None,
        prompts: Prompts::default(),
        quota: QuotaProfile::default(),
    })
}

impl Suite for Codes {
    fn run(&self) -> Vec<Outcome> {
        let case = |(case, payload): &(Case, Vec<u8>)| {
            let opened = self.partners.recognise(payload);
            let opened = opened.and_then(|scanned| scanned.open(UnixSeconds(case.now), &NoMemory));
            outcome(&case.name, &case.expect, &shown(opened))
        };
        self.cases.iter().map(case).collect()
    }
}

fn shown(opened: Result<Opened, CodeError>) -> Value {
    let code = match opened {
        Err(error) => return json!({ "error": error.name() }),
        Ok(Opened::Online(code)) => {
            return json!({ "online": { "partner": code.partner().as_str(), "format": code.format() } });
        }
        Ok(Opened::Checked(code)) => code,
    };
    let mut shown = json!({
        "partner": code.partner.as_str(),
        "format": code.format,
        "account": code.medium.account().expose(),
        "generated_at": code.generated_at.0,
        "expires_at": code.expires_at.0,
        "authorized_until": code.authorized_until.map(|until| until.0),
    });
    if let Some(fields) = shown.as_object_mut() {
        let digits = [("issuer", code.medium.issuer()), ("platform", code.platform)];
        let digits = digits.into_iter().filter_map(|(name, digits)| Some((name, digits?)));
        fields.extend(digits.map(|(name, digits)| (name.to_owned(), digits.to_string().into())));
    }
    json!({ "code": shown })
}
