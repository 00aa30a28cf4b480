//! What is inside the base 64 of a card code, which a fuzzer would not get past by itself.
#![no_main]

use base64::{Engine, prelude::BASE64_STANDARD};

libfuzzer_sys::fuzz_target!(|objects: &[u8]| {
    let bytes = [b"\x85\x05CPV01\x61", objects].concat();
    ridegate_fuzz::code("emv-cpm", BASE64_STANDARD.encode(bytes).as_bytes());
});
