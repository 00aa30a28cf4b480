//! What a code costs: telling whose it is, parsing it, refusing it, verifying it the first and the next time. And what
//! each kind of signature costs by itself, to be read as ratios of one run.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;

use common::{Everything, case};
use criterion::{Criterion, criterion_group, criterion_main};
use ridegate_adapters::{
    NoMemory, Partners,
    alipay::AlipayCode,
    ecdsa::{self, Rs, Secp192k1, Secp256k1},
    mot::MotCode,
    sm2,
};

fn format(c: &mut Criterion, name: &str, plain: &str, parse: fn(&[u8]) -> bool) {
    let partners = Partners::shipped().unwrap();
    let code = case(name, plain);
    let expired = case(name, "code expired");
    let memory = Everything::default();
    let scanned = partners.recognise(&code.payload).unwrap();
    scanned.open(code.now, &memory).unwrap();

    let mut group = c.benchmark_group(format!("{name}, {plain}"));
    group.bench_function("recognise", |b| {
        b.iter(|| partners.recognise(black_box(&code.payload)).unwrap().partner());
    });
    group.bench_function("parse", |b| b.iter(|| parse(black_box(&code.payload))));
    group.bench_function("recognise and parse", |b| {
        b.iter(|| {
            let payload = black_box(&code.payload);
            (partners.recognise(payload).unwrap().partner(), parse(payload))
        });
    });
    group.bench_function("refuse expired", |b| {
        b.iter(|| {
            partners.recognise(black_box(&expired.payload)).unwrap().open(expired.now, &NoMemory).is_err()
        });
    });
    group.bench_function("verify first", |b| b.iter(|| scanned.open(code.now, &NoMemory).is_ok()));
    group.bench_function("verify next", |b| b.iter(|| scanned.open(code.now, &memory).is_ok()));
    group.finish();
}

/// Codes that only their partner can read: all that is done about them here.
fn online(c: &mut Criterion) {
    let partners = Partners::shipped().unwrap();
    let mut group = c.benchmark_group("online, recognise and open");
    for name in [
        "UnionPay CPM",
        "numeric token of China Merchants",
        "Yitongxing opaque token",
        "Shanghai 84-byte code",
    ] {
        let code = case("online", name);
        group.bench_function(name, |b| {
            b.iter(|| {
                partners.recognise(black_box(&code.payload)).unwrap().open(code.now, &NoMemory).is_ok()
            });
        });
    }
    group.finish();
}

/// One verification on each curve, keys decoded before.
fn signatures(c: &mut Criterion) {
    let message = [7; 150];
    let mut group = c.benchmark_group("one signature");
    // On the curve, and nobody's: arithmetic costs what it does, whatever comes of it.
    let sm2 = sm2::PublicKey::from_compressed(&point(SM2)).unwrap();
    group.bench_function("sm2", |b| b.iter(|| sm2.verifies(black_box(&message), &[0x11; 64])));
    let k256 = ecdsa::PublicKey::<Secp256k1>::from_compressed(&point::<33>(SECP256K1)).unwrap();
    let rs = Rs { r: &[0x11; 32], s: &[0x11; 32] };
    group.bench_function("secp256k1", |b| b.iter(|| k256.verifies(black_box(&message), rs)));
    let k192 = ecdsa::PublicKey::<Secp192k1>::from_compressed(&point::<25>(SECP192K1)).unwrap();
    let rs = Rs { r: &[0x11; 24], s: &[0x11; 24] };
    group.bench_function("secp192k1", |b| b.iter(|| k192.verifies(black_box(&message), rs)));
    group.finish();
}

const SM2: &str = "037b85b821bcf941c69d52bd3a52c01a735b870e653547db9bfa20f94c5a6b3560";
const SECP256K1: &str = "03ff0902b719e51222b07b177d38e2f9ce0b8201d54d8c397298e0fbab18ff0a3b";
const SECP192K1: &str = "026f5161f3bb4d77ccac3ac29e872e5cd1f3566a109842bb65";

fn point<const N: usize>(hex: &str) -> [u8; N] {
    hex::decode(hex).unwrap().try_into().unwrap()
}

fn formats(c: &mut Criterion) {
    format(c, "mot", "plain", |payload| MotCode::parse(payload).is_ok());
    format(c, "alipay", "plain", |payload| AlipayCode::parse(payload).is_ok());
    format(c, "alipay", "issuer signs with SM2", |payload| AlipayCode::parse(payload).is_ok());
}

criterion_group!(benches, formats, online, signatures);
criterion_main!(benches);
