//! What reading a code takes of the heap. One test, in a program of its own: the counters are the whole process's.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use common::{NOW, case, every_case};
use dhat::{HeapStats, Profiler};
use ridegate_adapters::{NoMemory, Partners, alipay::AlipayCode, mot::MotCode};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// Blocks and bytes that `work` asks for.
fn taken<T>(work: impl FnOnce() -> T) -> (u64, u64) {
    let before = HeapStats::get();
    let done = work();
    let after = HeapStats::get();
    drop(done);
    (after.total_blocks - before.total_blocks, after.total_bytes - before.total_bytes)
}

#[test]
fn parsing_takes_nothing_and_no_payload_takes_more_than_a_few_times_its_own_size() {
    let _profiler = Profiler::builder().testing().build();
    let partners = Partners::shipped().unwrap();
    assert_eq!(taken(|| vec![0_u8; 100]), (1, 100), "the twin: what is taken is counted");

    for (format, name) in [
        ("mot", "plain"),
        ("mot", "custom domain of 32"),
        ("alipay", "with card data"),
        ("alipay", "Tianjin own code"),
    ] {
        let code = case(format, name);
        assert_eq!(taken(|| partners.recognise(&code.payload).unwrap().format()), (0, 0), "{name}");
        let prefix = if name.starts_with("Tianjin") { 2 } else { 0 };
        let parse = || match format {
            "mot" => MotCode::parse(&code.payload).is_ok(),
            _ => AlipayCode::parse(&code.payload[prefix..]).is_ok(),
        };
        assert!(parse());
        assert_eq!(taken(parse), (0, 0), "{name}");
    }
    for (format, name) in [("mot", "code expired"), ("alipay", "code expired"), ("alipay", "cut short")] {
        let code = case(format, name);
        let refused = || partners.recognise(&code.payload).unwrap().open(code.now, &NoMemory).is_err();
        assert!(refused());
        assert_eq!(taken(refused), (0, 0), "{name}: refused");
    }

    // Whatever is shown, at most so many times its size and a few fixed things, such as numbers on the way of a signature.
    let hostile = [
        b"hQVDUFYwMW".repeat(400),
        b"YTX1:".repeat(800),
        b"62".repeat(2000),
        vec![0x81; 4096],
        vec![2; 4096],
    ];
    let every = every_case().into_iter().map(|case| case.payload);
    for payload in every.chain(hostile) {
        let (_, bytes) = taken(|| partners.recognise(&payload).map(|scanned| scanned.open(NOW, &NoMemory)));
        let most = 4 * payload.len() as u64 + 4096;
        assert!(bytes <= most, "{bytes} bytes for {} of payload", payload.len());
    }
}
