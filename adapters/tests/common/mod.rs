//! The conformance cases, and a memory to run them with.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::panic)]

use std::{collections::HashMap, path::Path, sync::Arc, sync::Mutex};

use ridegate_adapters::{
    CertificateId, CodeError, IssuerMemory, LevelsId, Opened, Partners, UnixSeconds, UserKey, sm2,
};
use serde_json::Value;

/// When every case was made.
pub const NOW: UnixSeconds = UnixSeconds(1_655_265_600);

pub fn vectors_dir() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors"))
}

pub fn file(format: &str) -> Value {
    let path = vectors_dir().join(format!("{format}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Formats that have conformance cases, with how many there are.
pub const FILES: [(&str, usize); 3] = [("mot", 59), ("alipay", 31), ("online", 17)];

pub struct Case {
    pub name: String,
    pub payload: Vec<u8>,
    pub now: UnixSeconds,
    pub expect: Value,
}

pub fn cases(format: &str) -> Vec<Case> {
    let file = file(format);
    let case = |case: &Value| Case {
        name: case["name"].as_str().unwrap().to_owned(),
        payload: hex::decode(case["payload"].as_str().unwrap()).unwrap(),
        now: UnixSeconds(case["now"].as_i64().unwrap()),
        expect: case["expect"].clone(),
    };
    file["cases"].as_array().unwrap().iter().map(case).collect()
}

/// Every case of every file.
pub fn every_case() -> Vec<Case> {
    FILES.iter().flat_map(|(format, _)| cases(format)).collect()
}

/// The code called `name`.
pub fn case(format: &str, name: &str) -> Case {
    cases(format).into_iter().find(|case| case.name == name).unwrap()
}

pub fn mot_case(name: &str) -> Case {
    case("mot", name)
}

pub fn alipay_case(name: &str) -> Case {
    case("alipay", name)
}

pub fn open(
    partners: &Partners,
    payload: &[u8],
    now: UnixSeconds,
    memory: &dyn IssuerMemory,
) -> Result<Opened, CodeError> {
    partners.recognise(payload)?.open(now, memory)
}

/// Remembers everything, and counts.
#[derive(Default)]
pub struct Everything(
    pub Mutex<HashMap<LevelsId, Arc<UserKey>>>,
    pub Mutex<HashMap<CertificateId, sm2::PublicKey>>,
);

impl IssuerMemory for Everything {
    fn recall(&self, levels: &LevelsId) -> Option<Arc<UserKey>> {
        self.0.lock().unwrap().get(levels).cloned()
    }

    fn remember(&self, levels: LevelsId, user: Arc<UserKey>) {
        self.0.lock().unwrap().insert(levels, user);
    }

    fn recall_issuer(&self, certificate: &CertificateId) -> Option<sm2::PublicKey> {
        self.1.lock().unwrap().get(certificate).cloned()
    }

    fn remember_issuer(&self, certificate: CertificateId, issuer: sm2::PublicKey) {
        // As a gateway does.
        self.1.lock().unwrap().insert(certificate, issuer.fixed());
    }
}

/// Vouches for one issuer's key, whatever the certificate.
pub struct Certifying(pub sm2::PublicKey);

impl IssuerMemory for Certifying {
    fn recall(&self, _: &LevelsId) -> Option<Arc<UserKey>> {
        None
    }

    fn remember(&self, _: LevelsId, _: Arc<UserKey>) {}

    fn recall_issuer(&self, _: &CertificateId) -> Option<sm2::PublicKey> {
        Some(self.0.clone())
    }

    fn remember_issuer(&self, _: CertificateId, _: sm2::PublicKey) {
        panic!("an issuer that is vouched for was verified again");
    }
}

/// Vouches for the rider's key of one code, whatever the levels.
pub struct Vouching(pub Arc<UserKey>);

impl IssuerMemory for Vouching {
    fn recall(&self, _: &LevelsId) -> Option<Arc<UserKey>> {
        Some(Arc::clone(&self.0))
    }

    fn remember(&self, _: LevelsId, _: Arc<UserKey>) {
        panic!("levels that are vouched for were verified again");
    }

    fn recall_issuer(&self, _: &CertificateId) -> Option<sm2::PublicKey> {
        panic!("an issuer was asked for whose levels are vouched for");
    }

    fn remember_issuer(&self, _: CertificateId, _: sm2::PublicKey) {
        panic!("an issuer was verified whose levels are vouched for");
    }
}
