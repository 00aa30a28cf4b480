//! Every conformance case gives exactly what it expects.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod common;

use common::{Everything, FILES, cases, file, open, vectors_dir};
use ridegate_adapters::{
    CodeError, FUTURE_SKEW_S, MAX_VALIDITY_S, Mark, NoMemory, Opened, Partners, Profile,
    alipay::{IssuerAlgorithm, PublishedKey},
};
use serde_json::{Value, json};

fn outcome(result: Result<Opened, CodeError>) -> Value {
    match result {
        Err(error) => json!({ "error": error.name() }),
        Ok(Opened::Online(code)) => {
            json!({ "online": { "partner": code.partner().as_str(), "format": code.format() } })
        }
        Ok(Opened::Checked(code)) => {
            let mut shown = json!({
                "partner": code.partner.as_str(),
                "format": code.format,
                "account": code.medium.account().expose(),
                "generated_at": code.generated_at.0,
                "expires_at": code.expires_at.0,
                "authorized_until": code.authorized_until.unwrap().0,
            });
            for (name, digits) in [("issuer", code.medium.issuer()), ("platform", code.platform)] {
                if let Some(digits) = digits {
                    shown[name] = digits.to_string().into();
                }
            }
            json!({ "code": shown })
        }
    }
}

#[test]
fn every_case_gives_exactly_what_it_expects() {
    let partners = Partners::shipped().unwrap();
    for (format, count) in FILES {
        let cases = cases(format);
        assert_eq!(cases.len(), count);
        for case in cases {
            let got = outcome(open(&partners, &case.payload, case.now, &NoMemory));
            assert_eq!(got, case.expect, "{format}: {}", case.name);
        }
    }
}

#[test]
fn remembering_issuer_levels_changes_no_answer() {
    let partners = Partners::shipped().unwrap();
    for (format, count) in FILES {
        let memory = Everything::default();
        for round in 0..2 {
            for case in cases(format) {
                let got = outcome(open(&partners, &case.payload, case.now, &memory));
                assert_eq!(got, case.expect, "round {round}: {}", case.name);
            }
        }
        let remembered = memory.0.lock().unwrap().len();
        assert_eq!(remembered > 0, format != "online", "{format}");
        assert!(remembered < count, "{format}: {remembered}");
    }
}

#[test]
fn what_ships_trusts_exactly_what_the_mot_cases_were_made_with() {
    let partners = Partners::shipped().unwrap();
    let file = file("mot");
    let mut expected: Vec<_> = file["trust"]["partners"].as_array().unwrap().clone();
    let mut shipped: Vec<_> = partners
        .iter()
        .flat_map(|profile| {
            profile.mot.iter().map(|issuing| {
                json!({ "partner": profile.id.as_str(), "platform": issuing.platform.to_string(), "issuer": issuing.issuer.to_string() })
            })
        })
        .collect();
    let by_name = |value: &Value| value["partner"].as_str().unwrap().to_owned();
    expected.sort_by_key(by_name);
    shipped.sort_by_key(by_name);
    assert_eq!(shipped, expected);

    let trust = include_str!("../mot-trust.toml");
    for root in file["trust"]["roots"].as_array().unwrap() {
        assert!(trust.contains(root["record"].as_str().unwrap()));
    }
}

#[test]
fn what_ships_trusts_exactly_what_the_alipay_cases_were_made_with() {
    let partners = Partners::shipped().unwrap();
    let key = |key: &PublishedKey| {
        let (algorithm, curve) = match key.algorithm() {
            IssuerAlgorithm::Secp256k1 => (1, "secp256k1"),
            IssuerAlgorithm::Sm2 => (2, "sm2"),
        };
        json!({ "key_id": key.id(), "algorithm": algorithm, "curve": curve, "public_key": hex::encode(key.as_bytes()) })
    };
    let shipped: serde_json::Map<_, _> = partners
        .iter()
        .filter_map(|profile| {
            let issuing = profile.alipay.as_ref()?;
            let mut shown = json!({
                "keys": issuing.keys().iter().map(key).collect::<Vec<_>>(),
                "card_types": issuing.card_types().iter().map(ToString::to_string).collect::<Vec<_>>(),
            });
            match issuing.prefixes() {
                [none] if none.is_empty() => shown["prefix"] = "".into(),
                some => shown["prefixes"] = some.iter().map(ToString::to_string).collect::<Vec<_>>().into(),
            }
            Some((profile.id.to_string(), shown))
        })
        .collect();
    let mut expected = file("alipay")["trust"].as_object().unwrap().clone();
    assert_eq!(expected.remove("max_validity_s"), Some(MAX_VALIDITY_S.into()));
    assert_eq!(expected.remove("future_skew_s"), Some(FUTURE_SKEW_S.into()));
    assert_eq!(shipped, expected);
}

#[test]
fn what_ships_claims_exactly_what_the_online_cases_were_made_with() {
    let partners = Partners::shipped().unwrap();
    let shown = |profile: &Profile| {
        let mut shown = json!({});
        if let (Some(cpm), Some(token)) = (&profile.emv_cpm, &profile.unionpay_token) {
            let [aid] = cpm.aids.as_slice() else { panic!("one scheme") };
            assert_eq!(cpm.iins, token.iins);
            shown["aid_prefix"] = aid.to_string().into();
            shown["iin"] = cpm.iins.iter().map(ToString::to_string).collect::<Vec<_>>().into();
        }
        for issuing in &profile.opaque {
            match issuing.mark() {
                Mark::Begins(text) => {
                    shown["opaque_prefix_ascii"] = std::str::from_utf8(text).unwrap().into();
                }
                Mark::Sized { length, first } => {
                    shown["opaque_length"] = (*length).into();
                    shown["opaque_first_byte"] = format!("{first:02x}").into();
                }
            }
        }
        (profile.id.to_string(), shown)
    };
    let shipped: serde_json::Map<_, _> =
        partners.iter().filter(|profile| profile.is_online()).map(shown).collect();
    assert_eq!(Value::from(shipped), file("online")["trust"]);
}

#[test]
fn the_copied_cases_equal_their_source_where_that_is_present() {
    let source = vectors_dir().join("../../../shared/vectors");
    let mut compared = 0;
    for entry in std::fs::read_dir(vectors_dir()).unwrap() {
        let copy = entry.unwrap().path();
        let original = source.join(copy.file_name().unwrap());
        assert!(!std::fs::read(&copy).unwrap().is_empty());
        if original.exists() {
            assert_eq!(
                std::fs::read(&copy).unwrap(),
                std::fs::read(&original).unwrap(),
                "{}",
                copy.display()
            );
        }
        compared += 1;
    }
    assert_eq!(compared, 4);
}
