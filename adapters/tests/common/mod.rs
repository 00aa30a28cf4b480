//! The conformance cases, and a memory to run them with.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::{collections::HashMap, path::Path, sync::Arc, sync::Mutex};

use ridegate_adapters::{CodeError, IssuerMemory, LevelsId, Partners, RideCode, UnixSeconds, sm2::PublicKey};
use serde_json::Value;

pub fn vectors_dir() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors"))
}

pub fn mot() -> Value {
    serde_json::from_str(&std::fs::read_to_string(vectors_dir().join("mot.json")).unwrap()).unwrap()
}

pub struct Case {
    pub name: String,
    pub payload: Vec<u8>,
    pub now: UnixSeconds,
    pub expect: Value,
}

pub fn mot_cases() -> Vec<Case> {
    let file = mot();
    let case = |case: &Value| Case {
        name: case["name"].as_str().unwrap().to_owned(),
        payload: hex::decode(case["payload"].as_str().unwrap()).unwrap(),
        now: UnixSeconds(case["now"].as_i64().unwrap()),
        expect: case["expect"].clone(),
    };
    file["cases"].as_array().unwrap().iter().map(case).collect()
}

/// The code called `name`.
pub fn mot_case(name: &str) -> Case {
    mot_cases().into_iter().find(|case| case.name == name).unwrap()
}

pub fn open(
    partners: &Partners,
    payload: &[u8],
    now: UnixSeconds,
    memory: &dyn IssuerMemory,
) -> Result<RideCode, CodeError> {
    partners.recognise(payload)?.open(now, memory)
}

/// Remembers everything, and counts.
#[derive(Default)]
pub struct Everything(pub Mutex<HashMap<LevelsId, Arc<PublicKey>>>);

impl IssuerMemory for Everything {
    fn recall(&self, levels: &LevelsId) -> Option<Arc<PublicKey>> {
        self.0.lock().unwrap().get(levels).cloned()
    }

    fn remember(&self, levels: LevelsId, user: Arc<PublicKey>) {
        self.0.lock().unwrap().insert(levels, user);
    }
}
