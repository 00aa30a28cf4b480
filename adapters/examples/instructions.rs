//! Does one thing so many times, for whoever counts its instructions: `instructions NAME TIMES`; without arguments it says which
//! names there are. `scripts/instructions` runs it under callgrind.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;

use common::{Everything, case};
use ridegate_adapters::{NoMemory, Partners, alipay::AlipayCode, mot::MotCode, sm2::PublicKey};

/// On the curve, and nobody's: arithmetic costs what it does, whatever comes of it.
const KEY: &str = "037b85b821bcf941c69d52bd3a52c01a735b870e653547db9bfa20f94c5a6b3560";
const MESSAGE: [u8; 300] = [7; 300];

/// Something that is done again and again.
type Work = Box<dyn Fn()>;

/// Does it, and looks at what comes of it.
fn work<T>(does: impl Fn() -> T + 'static) -> Work {
    Box::new(move || {
        black_box(does());
    })
}

fn works() -> Vec<(&'static str, Work)> {
    let compressed: [u8; 33] = hex::decode(KEY).unwrap().try_into().unwrap();
    let new = PublicKey::from_compressed(&compressed).unwrap();
    let (seen, fixed) = (new.clone().seen(), new.clone().fixed());
    let verify = |key: PublicKey| work(move || key.verifies(black_box(&MESSAGE), &[0x11; 64]));
    let mut works: Vec<(&'static str, Work)> = vec![
        ("sm2: a key never seen", verify(new)),
        ("sm2: a key seen before", verify(seen)),
        ("sm2: a fixed key", verify(fixed)),
        ("sm2: a key decompressed", work(move || PublicKey::from_compressed(black_box(&compressed)))),
    ];
    let (mot_payload, alipay_payload) = (case("mot", "plain").payload, case("alipay", "plain").payload);
    works.push(("mot: parse", work(move || MotCode::parse(black_box(&mot_payload)).is_ok())));
    works.push(("alipay: parse", work(move || AlipayCode::parse(black_box(&alipay_payload)).is_ok())));
    for (first, next, late, format) in [
        ("mot: open, first tap", "mot: open, next tap", "mot: refuse what ran out", "mot"),
        ("alipay: open, first tap", "alipay: open, next tap", "alipay: refuse what ran out", "alipay"),
    ] {
        let open = |code: common::Case, memory: Option<Everything>| {
            let partners = Partners::shipped().unwrap();
            work(move || {
                let scanned = partners.recognise(black_box(&code.payload)).unwrap();
                match &memory {
                    Some(memory) => scanned.open(code.now, memory).is_ok(),
                    None => scanned.open(code.now, &NoMemory).is_ok(),
                }
            })
        };
        works.push((first, open(case(format, "plain"), None)));
        works.push((next, open(case(format, "plain"), Some(Everything::default()))));
        works.push((late, open(case(format, "code expired"), None)));
    }
    works
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let works = works();
    let [name, times] = arguments.as_slice() else {
        for (name, _) in &works {
            println!("{name}");
        }
        return;
    };
    let (_, work) = works.iter().find(|(known, _)| known == name).unwrap();
    for _ in 0..times.parse::<u64>().unwrap() {
        work();
    }
}
