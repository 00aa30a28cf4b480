//! `ridegate vectors check`: conformance files, for partners' engineers and for us.

mod alipay;
mod codes;
mod mot;
mod online;
mod policy;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{EXIT_USAGE, fail, tell};

/// A file that was read and understood, ready to run.
trait Suite {
    /// Runs every case.
    fn run(&self) -> Vec<Outcome>;
}

/// What one case came to.
struct Outcome {
    case: String,
    /// `None` if it is as expected.
    mismatch: Option<Mismatch>,
}

/// What was expected and what came, with accounts masked.
struct Mismatch {
    expected: String,
    got: String,
}

/// Every file is read before any case is run: a file that cannot be run is no result.
pub(crate) fn run(files: &[PathBuf]) -> ExitCode {
    let mut suites = Vec::with_capacity(files.len());
    for file in files {
        match load(file) {
            Ok(suite) => suites.push((file, suite)),
            Err(why) => return fail(EXIT_USAGE, &format!("{}: {why}", file.display())),
        }
    }
    if check(&suites) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check(suites: &[(&PathBuf, Box<dyn Suite>)]) -> bool {
    let (mut passed, mut failed) = (0, 0);
    for (file, suite) in suites {
        for Outcome { case, mismatch } in suite.run() {
            let Some(Mismatch { expected, got }) = mismatch else {
                passed += 1;
                continue;
            };
            failed += 1;
            tell(&format!("{}: {case}\n  expected {expected}\n  got      {got}", file.display()));
        }
    }
    tell(&format!("{passed} passed, {failed} failed"));
    failed == 0
}

fn load(file: &Path) -> Result<Box<dyn Suite>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    let head: Value = serde_json::from_str(&text).map_err(|error| format!("not JSON: {error}"))?;
    let named = |key: &str| head.get(key).and_then(Value::as_str);
    match (named("format"), named("policy")) {
        (Some("mot"), None) => mot::load(parse(file, &text)?),
        (Some("alipay"), None) => alipay::load(parse(file, &text)?),
        (Some("online"), None) => online::load(parse(file, &text)?),
        (None, Some("beijing-2022")) => policy::load(parse(file, &text)?),
        (Some(name), None) => Err(format!(
            "format {name:?} is not known to this version; known: \"mot\", \"alipay\", \"online\""
        )),
        (None, Some(name)) => {
            Err(format!("policy {name:?} is not known to this version; known: \"beijing-2022\""))
        }
        (None, None) | (Some(_), Some(_)) => Err("expected either a format or a policy at the top".into()),
    }
}

/// Reads a file's form. A key that is not known is named, so that a misspelt one is not silently passed over.
#[expect(clippy::print_stderr, reason = "a warning for who runs the command")]
fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_ignored::deserialize(&mut deserializer, |path| {
        let key = path.to_string().replace(".?", "");
        eprintln!("ridegate: {}: {key}: not known to this version, passed over", file.display());
    })
    .map_err(|error| error.to_string())
}

fn outcome(case: &str, expected: &Value, got: &Value) -> Outcome {
    let mismatch = (expected != got).then(|| Mismatch { expected: masked(expected), got: masked(got) });
    Outcome { case: case.to_owned(), mismatch }
}

/// As JSON, with all but the end of an account hidden.
fn masked(value: &Value) -> String {
    let mut value = value.clone();
    if let Some(account) = value.pointer_mut("/code/account")
        && let Some(text) = account.as_str()
    {
        *account = ridegate_adapters::masked(text).into();
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_mismatch_shows_no_whole_account() {
        let code = |account| json!({ "code": { "account": account } });
        let outcome = outcome("c", &code("31041234567890123456"), &code("31041234567890129999"));
        let Mismatch { expected, got } = outcome.mismatch.unwrap();
        assert_eq!(
            (expected.as_str(), got.as_str()),
            (r#"{"code":{"account":"…3456"}}"#, r#"{"code":{"account":"…9999"}}"#)
        );
    }
}
