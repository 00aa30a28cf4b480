//! `ridegate vectors check`, as a partner's engineer runs it.

use crate::process::{ridegate, text};

fn vector(name: &str) -> String {
    format!("{}/../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn conformance_files_are_run_and_counted() {
    let done = ridegate()
        .args(["vectors", "check"])
        .args(["mot.json", "alipay.json", "online.json", "policy.json"].map(vector))
        .output()
        .unwrap();
    assert_eq!(text(&done.stdout), "133 passed, 0 failed\n");
    assert_eq!(text(&done.stderr), "");
    assert_eq!(done.status.code(), Some(0));
}

#[test]
fn a_case_that_is_not_as_it_expects_is_shown_and_fails_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let changed = folder.path().join("mot.json");
    let file = std::fs::read_to_string(vector("mot.json")).unwrap();
    std::fs::write(&changed, file.replacen("UNTRUSTED_ISSUER", "BAD_SIGNATURE", 1)).unwrap();
    let done =
        ridegate().args(["vectors", "check"]).arg(&changed).arg(vector("policy.json")).output().unwrap();
    let shown = text(&done.stdout);
    assert!(shown.contains("mot.json: unknown root\n"), "{shown}");
    assert!(
        shown.contains("expected {\"error\":\"BAD_SIGNATURE\"}\n  got      {\"error\":\"UNTRUSTED_ISSUER\"}"),
        "{shown}"
    );
    assert!(shown.ends_with("84 passed, 1 failed\n"), "{shown}");
    assert_eq!(done.status.code(), Some(1));
}

#[test]
fn a_policy_case_may_say_which_way() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.json");
    let case = r#"{"policy": "beijing-2022", "cases": [{"name": "out", "now": "2022-06-20T12:00:00+08:00", "linked": false,
        "facts": null, "direction": "EXIT", "expect": {"verdict": "ALLOW", "reason": "NOT_ENFORCED"}}]}"#;
    std::fs::write(&out, case).unwrap();
    let done = ridegate().args(["vectors", "check"]).arg(&out).output().unwrap();
    assert_eq!(text(&done.stdout), "1 passed, 0 failed\n");
    std::fs::write(&out, case.replace("EXIT", "BOARDING")).unwrap();
    let done = ridegate().args(["vectors", "check"]).arg(&out).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
}

#[test]
fn a_key_that_is_not_known_is_named_and_not_silently_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("odd.json");
    let file = std::fs::read_to_string(vector("policy.json")).unwrap();
    std::fs::write(&odd, file.replacen("\"exempt\"", "\"exmpt\"", 1)).unwrap();
    let done = ridegate().args(["vectors", "check"]).arg(&odd).output().unwrap();
    assert!(
        text(&done.stderr).contains("cases.0.facts.exmpt: not known to this version"),
        "{}",
        text(&done.stderr)
    );
}

#[test]
fn files_that_cannot_be_run_are_refused_by_name_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    for (file, why) in [
        (write("later.json", "{\"format\": \"later\"}"), "format \"later\" is not known"),
        (write("other.json", "{\"policy\": \"beijing-2023\"}"), "policy \"beijing-2023\" is not known"),
        (write("none.json", "{}"), "expected either a format or a policy"),
        (write("text.json", "hello"), "not JSON"),
        (write("half.json", "{\"format\": \"mot\", \"cases\": []}"), "missing field `trust`"),
        ("no-such-file.json".into(), "cannot be read"),
    ] {
        let done = ridegate().args(["vectors", "check", &vector("mot.json"), &file]).output().unwrap();
        assert!(text(&done.stderr).contains(why), "{}", text(&done.stderr));
        assert!(text(&done.stderr).contains(&file));
        assert_eq!((done.status.code(), text(&done.stdout).as_str()), (Some(64), ""));
    }
}
