#![no_main]

libfuzzer_sys::fuzz_target!(|payload: &[u8]| ridegate_fuzz::code("opaque", payload));
