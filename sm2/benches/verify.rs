//! What a verification costs. To be read as ratios of one run, to that of R: one ECDSA P-256 verification by aws-lc-rs.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
    },
};
use criterion::{Criterion, criterion_group, criterion_main};
use ridegate_sm2::PublicKey;
use sm2::{
    dsa::{
        Signature, SigningKey,
        signature::{Signer, Verifier},
    },
    elliptic_curve::sec1::ToSec1Point,
};

const MESSAGE: [u8; 300] = [0x5a; 300];

fn unit(c: &mut Criterion) {
    let random = SystemRandom::new();
    let signing = &ECDSA_P256_SHA256_FIXED_SIGNING;
    let pair = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(signing, pair.as_ref()).unwrap();
    let signature = pair.sign(&random, &MESSAGE).unwrap();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref());
    let key = key.parse().unwrap();
    c.bench_function("R", |b| b.iter(|| key.verify_sig(black_box(&MESSAGE), signature.as_ref()).unwrap()));
}

fn verify(c: &mut Criterion) {
    let signing = SigningKey::from_slice("1234567812345678", &[0x2d; 32]).unwrap();
    let compressed: [u8; 33] =
        signing.verifying_key().as_affine().to_sec1_point(true).as_bytes().try_into().unwrap();
    let signature: Signature = signing.sign(&MESSAGE);
    let bytes = signature.to_bytes().into();

    let new = PublicKey::from_compressed(&compressed).unwrap();
    let (seen, fixed) = (new.seen(), new.fixed());
    c.bench_function("key never seen", |b| b.iter(|| assert!(new.verifies(black_box(&MESSAGE), &bytes))));
    c.bench_function("key seen before", |b| b.iter(|| assert!(seen.verifies(black_box(&MESSAGE), &bytes))));
    c.bench_function("fixed key", |b| b.iter(|| assert!(fixed.verifies(black_box(&MESSAGE), &bytes))));
    c.bench_function("decompress", |b| {
        b.iter(|| PublicKey::from_compressed(black_box(&compressed)).unwrap());
    });
    c.bench_function("make the table of a key seen", |b| b.iter(|| black_box(&new).seen()));
    c.bench_function("make the table of a fixed key", |b| b.iter(|| black_box(&new).fixed()));

    let theirs = signing.verifying_key();
    c.bench_function("sm2 0.14", |b| b.iter(|| theirs.verify(black_box(&MESSAGE), &signature).unwrap()));
}

criterion_group!(all, unit, verify);
criterion_main!(all);
