//! Does one thing so many times, for whoever counts its instructions: `instructions NAME TIMES`; without arguments it says which
//! names there are. `scripts/instructions` runs it under callgrind.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;

use common::{Everything, case};
use ridegate_adapters::{IssuerMemory, NoMemory, Partners, alipay::AlipayCode, mot::MotCode, sm2::PublicKey};

/// On the curve, and nobody's: arithmetic costs what it does, whatever comes of it.
const KEY: &str = "037b85b821bcf941c69d52bd3a52c01a735b870e653547db9bfa20f94c5a6b3560";
const MESSAGE: [u8; 300] = [7; 300];
const SIGNATURE: [u8; 64] = [0x11; 64];

/// Something that is done again and again.
struct Work {
    name: String,
    once: Box<dyn Fn()>,
}

fn work(name: impl Into<String>, once: impl Fn() + 'static) -> Work {
    Work { name: name.into(), once: Box::new(once) }
}

fn verify(name: &str, key: PublicKey) -> Work {
    work(name, move || {
        black_box(key.verifies(black_box(&MESSAGE), &SIGNATURE));
    })
}

/// All that is done about a code here.
fn open(name: String, format: &str, code: &str, memory: impl IssuerMemory + 'static) -> Work {
    let (partners, code) = (Partners::shipped().unwrap(), case(format, code));
    work(name, move || {
        let scanned = partners.recognise(black_box(&code.payload)).unwrap();
        black_box(scanned.open(code.now, &memory).is_ok());
    })
}

fn signatures() -> Vec<Work> {
    let compressed: [u8; 33] = hex::decode(KEY).unwrap().try_into().unwrap();
    let new = PublicKey::from_compressed(&compressed).unwrap();
    vec![
        verify("sm2: a key seen before", new.clone().seen()),
        verify("sm2: a fixed key", new.clone().fixed()),
        verify("sm2: a key never seen", new),
        work("sm2: a key decompressed", move || {
            black_box(PublicKey::from_compressed(black_box(&compressed)).is_some());
        }),
    ]
}

fn codes(format: &str, parse: fn(&[u8]) -> bool) -> Vec<Work> {
    let payload = case(format, "plain").payload;
    vec![
        work(format!("{format}: parse"), move || {
            black_box(parse(black_box(&payload)));
        }),
        open(format!("{format}: open, first tap"), format, "plain", NoMemory),
        open(format!("{format}: open, next tap"), format, "plain", Everything::default()),
        open(format!("{format}: refuse what ran out"), format, "code expired", NoMemory),
    ]
}

fn main() {
    let mut works = signatures();
    works.extend(codes("mot", |payload| MotCode::parse(payload).is_ok()));
    works.extend(codes("alipay", |payload| AlipayCode::parse(payload).is_ok()));
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [name, times] = arguments.as_slice() else {
        for work in works {
            println!("{}", work.name);
        }
        return;
    };
    let work = works.iter().find(|work| work.name == *name).unwrap();
    for _ in 0..times.parse::<u32>().unwrap() {
        (work.once)();
    }
}
