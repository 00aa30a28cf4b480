//! The invariants of ARCHITECTURE.md that a test can see.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The code of a file, without comments and without its tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Files below `folder` whose code names one of `words`, from the root.
fn naming(folder: &str, words: &[&str]) -> Vec<String> {
    let root = root();
    let files = rust_files(&root.join(folder));
    assert!(!files.is_empty(), "{folder}");
    let mut found: Vec<_> = files
        .into_iter()
        .filter(|path| words.iter().any(|word| code(path).contains(word)))
        .map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned())
        .collect();
    found.sort();
    found
}

fn manifest(name: &str) -> String {
    std::fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap()
}

#[test]
fn adapters_do_no_io_and_know_no_clock() {
    let manifest = manifest("adapters");
    let dependencies = manifest.split("[dev-dependencies]").next().unwrap();
    let dependencies = dependencies.split("[dependencies]").nth(1).unwrap();
    for banned in ["tokio", "tonic", "redis", "sqlx"] {
        assert!(!dependencies.contains(banned), "{banned}");
    }
    // Arithmetic, and nothing else of ours.
    let ours: Vec<_> = dependencies.lines().filter(|line| line.starts_with("ridegate-")).collect();
    assert_eq!(ours, ["ridegate-sm2.workspace = true"]);
    let io = ["std::fs", "std::net", "std::io", "std::time", "Timestamp::now", "std::env", "std::thread"];
    assert_eq!(naming("adapters/src", &io), Vec::<String>::new());
}

#[test]
fn the_domain_knows_nothing_but_adapters_and_itself() {
    let foreign = [
        "tokio",
        "tonic",
        "sqlx",
        "prost",
        "ridegate_proto",
        "governor",
        "quick_cache",
        "crate::admission",
        "crate::app",
        "crate::backends",
        "crate::budget",
        "crate::claim",
        "crate::clock",
        "crate::config",
        "crate::door",
        "crate::health",
        "crate::metrics",
        "crate::operations",
        "crate::stages",
        "hyper",
        "axum",
        "rustls",
        "crate::keyring",
        "crate::linking",
        "crate::resolve",
        "crate::road",
        "crate::roster",
        "crate::ticketing",
        "crate::reading",
        "crate::transport",
        "std::fs",
        "std::net",
        "std::time",
    ];
    assert_eq!(naming("gateway/src/domain", &foreign), Vec::<String>::new());
}

#[test]
fn only_the_edges_name_the_wire() {
    let wire = ["tonic::", "ridegate_proto", "prost_types", "tonic_types"];
    let inside = naming("gateway/src", &wire);
    let edges = [
        "gateway/src/transport/",
        "gateway/src/backends/authority/",
        "gateway/src/backends/code_resolver.rs",
        "gateway/src/backends/retry.rs",
        "gateway/src/app/upstream.rs",
        "gateway/src/config/values.rs",
    ];
    let stray: Vec<_> =
        inside.iter().filter(|file| !edges.iter().any(|edge| file.starts_with(edge))).collect();
    assert_eq!(stray, Vec::<&String>::new());
    assert!(inside.len() > edges.len(), "the search finds what is there");
}

#[test]
fn only_its_backend_names_the_database() {
    let naming = naming("gateway/src", &["sqlx::"]);
    let stray: Vec<_> =
        naming.iter().filter(|file| !file.starts_with("gateway/src/backends/registry/")).collect();
    assert_eq!(stray, Vec::<&String>::new());
    assert!(naming.len() > 5, "the search finds what is there");
}

#[test]
fn only_its_backend_names_redis_itself() {
    let naming =
        naming("gateway/src", &["redis::cmd", "redis::Value", "RedisError", "ConnectionInfo", "use redis::"]);
    let stray: Vec<_> =
        naming.iter().filter(|file| !file.starts_with("gateway/src/backends/redis/")).collect();
    assert_eq!(stray, Vec::<&String>::new());
    assert!(naming.len() > 5, "the search finds what is there");
}

#[test]
fn allow_is_made_in_one_place() {
    // `Allowed` has a private field, so the compiler keeps every other module from making one; this counts here.
    assert_eq!(naming("gateway/src", &["Allowed("]), ["gateway/src/domain/decide.rs"]);
    let made = code(&root().join("gateway/src/domain/decide.rs")).matches("Verdict::Allow(Allowed(").count();
    assert_eq!(made, 1);
}

#[test]
fn only_the_clock_reads_the_time() {
    assert_eq!(
        naming("gateway/src", &["Timestamp::now", "SystemTime", "Zoned::now"]),
        ["gateway/src/clock.rs"]
    );
}

#[test]
fn nothing_that_mints_codes_is_needed_by_the_gateway() {
    for name in ["gateway", "adapters", "proto"] {
        assert!(!manifest(name).contains("ridegate-sim"), "{name}");
    }
    assert!(manifest("cli").contains("ridegate-sim = { workspace = true, optional = true }"));
}

#[test]
fn what_verifies_signatures_is_in_two_small_places() {
    assert_eq!(naming("adapters/src", &["ridegate_sm2"]), ["adapters/src/sm2.rs"]);
    assert_eq!(naming("adapters/src", &["use sm2::", "sm2::dsa"]), Vec::<String>::new());
    let ecdsa = ["use ::ecdsa", "::ecdsa::Ecdsa", "k256::", "elliptic_curve::", "primeorder::", "sha1::"];
    assert_eq!(
        naming("adapters/src", &ecdsa),
        ["adapters/src/ecdsa/mod.rs", "adapters/src/ecdsa/secp192k1.rs", "adapters/src/ecdsa/tests.rs"]
    );
    assert_eq!(
        naming("gateway/src", &["use sm2", "ridegate_sm2", "use ecdsa", "k256", "sha1::"]),
        Vec::<String>::new()
    );
}

#[test]
fn every_error_reason_is_in_the_page_for_callers() {
    let page = std::fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let code = code(&root().join("gateway/src/transport/status.rs"));
    let is_reason = |word: &str| word.len() > 5 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let codes = code.split("const fn name").nth(1).unwrap().split("\n}").next().unwrap();
    let reasons = code.split('"').skip(1).step_by(2).filter(|word| is_reason(word));
    let reasons: Vec<_> = reasons
        .filter(|word| !codes.contains(&format!("\"{word}\"")) || *word == "DEADLINE_EXCEEDED")
        .collect();
    assert!(reasons.len() >= 12, "{reasons:?}");
    for reason in reasons {
        assert!(page.contains(&format!("| `{reason}` |")), "{reason}");
    }
}
