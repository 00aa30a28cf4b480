//! What the machine says: CPU of processes, and the unit that it is told in.

use std::{fs, hint::black_box};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
    },
};

const MESSAGE: [u8; 300] = [0x81; 300];
const VERIFICATIONS: u32 = 2000;

/// R: µs of CPU for one ECDSA P-256 verification by aws-lc-rs, the mean of two thousand. `None` where the system does not
/// tell what a thread has used.
pub fn unit() -> Option<f64> {
    let random = SystemRandom::new();
    let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = EcdsaKeyPair::generate_pkcs8(signing, &random).ok()?;
    let pair = EcdsaKeyPair::from_pkcs8(signing, pair.as_ref()).ok()?;
    let signature = pair.sign(&random, &MESSAGE).ok()?;
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
    let key = key.parse().ok()?;
    let before = on_cpu("/proc/thread-self/schedstat")?;
    for _ in 0..VERIFICATIONS {
        key.verify_sig(black_box(&MESSAGE), signature.as_ref()).ok()?;
    }
    Some((on_cpu("/proc/thread-self/schedstat")? - before) / f64::from(VERIFICATIONS))
}

/// µs that the living threads of a process were on a CPU.
pub fn cpu(id: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
    threads.filter_map(|thread| on_cpu(&thread.path().join("schedstat").to_string_lossy())).sum()
}

/// µs of CPU of a process, its children and those of its children that have ended.
pub fn cpu_of_family(id: u32) -> f64 {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let children = entries.filter_map(|entry| {
        let id: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((id, stat(id)?))
    });
    let living: f64 = children.filter(|(_, stat)| stat.parent == id).map(|(id, _)| cpu(id)).sum();
    living + cpu(id) + stat(id).map_or(0.0, |stat| stat.ended_children)
}

struct Stat {
    parent: u32,
    /// µs.
    ended_children: f64,
}

fn stat(id: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // Behind the name, which may hold anything.
    let fields: Vec<_> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: f64 = [13, 14]
        .iter()
        .map(|field| fields.get(*field).and_then(|ticks| ticks.parse().ok()).unwrap_or(0.0))
        .sum();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, ended_children: ticks * 10_000.0 })
}

fn on_cpu(file: &str) -> Option<f64> {
    let nanos: f64 = fs::read_to_string(file).ok()?.split_whitespace().next()?.parse().ok()?;
    Some(nanos / 1000.0)
}
