//! Every conformance case gives exactly what it expects.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{Everything, mot, mot_cases, open, vectors_dir};
use ridegate_adapters::{CodeError, NoMemory, Partners, RideCode};
use serde_json::{Value, json};

fn outcome(result: Result<RideCode, CodeError>) -> Value {
    match result {
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

#[test]
fn every_mot_case_gives_exactly_what_it_expects() {
    let partners = Partners::shipped().unwrap();
    let cases = mot_cases();
    assert_eq!(cases.len(), 59);
    for case in cases {
        assert_eq!(
            outcome(open(&partners, &case.payload, case.now, &NoMemory)),
            case.expect,
            "{}",
            case.name
        );
    }
}

#[test]
fn remembering_issuer_levels_changes_no_answer() {
    let partners = Partners::shipped().unwrap();
    let memory = Everything::default();
    for round in 0..2 {
        for case in mot_cases() {
            let got = outcome(open(&partners, &case.payload, case.now, &memory));
            assert_eq!(got, case.expect, "round {round}: {}", case.name);
        }
    }
    let remembered = memory.0.lock().unwrap().len();
    assert!((1..59).contains(&remembered), "{remembered}");
}

#[test]
fn what_ships_trusts_exactly_what_the_cases_were_made_with() {
    let partners = Partners::shipped().unwrap();
    let file = mot();
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

    let trust = include_str!("../partners/mot-trust.toml");
    for root in file["trust"]["roots"].as_array().unwrap() {
        assert!(trust.contains(root["record"].as_str().unwrap()));
    }
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
