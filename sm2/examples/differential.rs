//! Compares all forms of a key with the `sm2` crate, on right and wrong signatures, structured and random:
//! `cargo run --release -p ridegate-sm2 --example differential -- --cases 1000000 --seed 1`. Panics where they differ.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout
)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::Trials;

/// How many cases meet the same key, whose large table costs more than they do.
const CASES_A_KEY: u64 = 64;

fn argument(name: &str) -> Option<u64> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().map(|number| number.parse().expect("a number"))
}

fn main() {
    let cases = argument("--cases").unwrap_or(10_000);
    let seed = argument("--seed").unwrap_or_else(rand::random);
    println!("seed {seed}, {cases} cases");
    let mut trials = Trials::new(seed);
    let (mut done, mut right) = (0, 0u64);
    while done < cases {
        let keys = trials.keys();
        let now = CASES_A_KEY.min(cases - done);
        right += (0..now).map(|_| u64::from(keys.verdict(&trials.case(&keys)))).sum::<u64>();
        let (large, case) = trials.large_x();
        assert!(large.verdict(&case), "{case:02x?}");
        if (done + now) / 10_000 > done / 10_000 {
            println!("{} of {cases} agree, {right} of them right", done + now);
        }
        done += now;
    }
    println!("{done} of {cases} agree, {right} of them right");
}
