//! What a MOT code costs: telling whose it is, parsing it, refusing it, verifying it the first and the next time.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;

use common::{Everything, mot_case};
use criterion::{Criterion, criterion_group, criterion_main};
use ridegate_adapters::{NoMemory, Partners, mot::MotCode};

fn mot(c: &mut Criterion) {
    let partners = Partners::shipped().unwrap();
    let code = mot_case("plain");
    let expired = mot_case("code expired");
    let memory = Everything::default();
    let scanned = partners.recognise(&code.payload).unwrap();
    scanned.open(code.now, &memory).unwrap();

    let mut group = c.benchmark_group("mot");
    group.bench_function("recognise", |b| {
        b.iter(|| partners.recognise(black_box(&code.payload)).unwrap().partner());
    });
    group.bench_function("parse", |b| b.iter(|| MotCode::parse(black_box(&code.payload)).is_ok()));
    group.bench_function("refuse expired", |b| {
        b.iter(|| {
            partners.recognise(black_box(&expired.payload)).unwrap().open(expired.now, &NoMemory).is_err()
        });
    });
    group.bench_function("verify first", |b| b.iter(|| scanned.open(code.now, &NoMemory).is_ok()));
    group.bench_function("verify next", |b| b.iter(|| scanned.open(code.now, &memory).is_ok()));
    group.finish();
}

criterion_group!(benches, mot);
criterion_main!(benches);
