//! `ridegate bench`, as somebody runs it who wants to know what a gateway can do.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Output, Stdio},
};

use serde_json::Value;

use crate::process::{ridegate, text};

/// A process that is ended when it is dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ended_before = self.0.kill();
        let _known = self.0.wait();
    }
}

/// Times so wide that a busy machine changes no answer.
const WIDE: &str = "[verdict]\nbudget = \"10s\"\nwait = \"10s\"\n[registry]\ntimeout = \"5s\"\n";

fn bench(arguments: &[&str]) -> Output {
    ridegate().arg("bench").args(arguments).output().unwrap()
}

/// How often a class was answered so; `said` is what the answer begins with.
fn count(report: &Value, shown: &str, said: &str) -> u64 {
    let answers =
        report["steps"].as_array().unwrap().iter().flat_map(|step| step["answers"].as_array().unwrap());
    let those =
        answers.filter(|one| one["shown"] == shown && one["said"].as_str().unwrap().starts_with(said));
    those.map(|one| one["count"].as_u64().unwrap()).sum()
}

#[test]
fn every_verdict_of_every_class_is_checked_measured_and_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let (json, plot) = (folder.path().join("bench.json"), folder.path().join("bench.svg"));
    let mut arguments = vec!["--rate", "100,150", "--seconds", "2", "--riders", "150", "--connections", "3"];
    arguments.extend(["--partners", "yikatong=3,alipay,yitongxing", "--fresh", "15%", "--new-phones", "10%"]);
    arguments.extend(["--replays", "10%", "--forged", "5%", "--expired", "5%", "--seed", "7"]);
    arguments.extend(["--config", WIDE, "--json", json.to_str().unwrap(), "--plot", plot.to_str().unwrap()]);
    let done = bench(&arguments);
    let shown = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{shown}{}", text(&done.stderr));
    assert!(shown.contains("every verdict was the one that was due"), "{shown}");

    let report: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    let steps = report["steps"].as_array().unwrap();
    assert_eq!(steps.iter().map(|step| step["taps"].as_u64().unwrap()).collect::<Vec<_>>(), [200, 300]);
    let classes = ["known", "phone", "fresh", "replay", "forged", "expired"];
    let sums = classes.map(|class| count(&report, class, ""));
    assert_eq!(sums.iter().sum::<u64>(), 500, "{sums:?}");
    assert!(sums.iter().all(|sum| *sum >= 8), "each has its share: {sums:?}");
    for (class, said) in [
        ("known", "ALLOW HEALTH_OK"),
        ("known", "INSPECT TEST_OVERDUE"),
        ("phone", "ALLOW HEALTH_OK"),
        ("fresh", "ALLOW HEALTH_OK"),
        ("replay", "INSPECT CODE_REPLAYED"),
        ("forged", "INSPECT CODE_UNTRUSTED"),
        ("expired", "INSPECT CODE_EXPIRED"),
    ] {
        assert!(count(&report, class, said) > 0, "{class} {said}: {shown}");
    }
    for step in steps {
        let number = |name: &str| step[name].as_f64().unwrap();
        assert!(
            number("cpu_us_per_verdict") > 0.0 && number("r_us") > 0.0 && number("memory_bytes") > 1e6,
            "{step}"
        );
    }
    let svg = fs::read_to_string(plot).unwrap();
    assert!(svg.starts_with("<svg") && svg.matches("<circle").count() == 6, "two rates in three lines");
}

#[test]
fn taps_of_stations_go_over_streams_and_every_kind_of_refusal_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("bench.json");
    let mut arguments = vec!["--stream", "--max", "--at-once", "4", "--seconds", "1", "--riders", "100"];
    arguments.extend(["--throttled", "30%", "--unrecognized", "20%", "--replays", "0", "--config", WIDE]);
    arguments.extend(["--json", json.to_str().unwrap()]);
    let done = bench(&arguments);
    let shown = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{shown}{}", text(&done.stderr));
    assert!(shown.contains("8 connections, with a stream each"), "{shown}");
    let report: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    for (class, said) in [
        ("known", "ALLOW HEALTH_OK"),
        ("fresh", "ALLOW HEALTH_OK"),
        ("expired", "INSPECT CODE_EXPIRED"),
        ("throttled", "INSPECT THROTTLED"),
        ("unrecognized", "INSPECT CODE_UNRECOGNIZED"),
    ] {
        assert!(count(&report, class, said) > 0, "{class} {said}: {shown}");
    }
    assert_eq!(report["stream"], true);
    assert_eq!(report["steps"][0]["undecided"], 0, "what is throttled was due");
}

/// Starts the gateway that it was told to start, after changing the policy that all expectations hang on.
fn start_with_another_policy(config: &Path) -> Ended {
    let policy = config.with_file_name("policy.toml");
    let lenient = fs::read_to_string(&policy).unwrap().replace("max_day = 3", "max_day = 10");
    assert!(lenient.contains("max_day = 10"));
    fs::write(policy, lenient).unwrap();
    let mut command = ridegate();
    command.args(["serve", "--insecure-dev", "--config"]).arg(config);
    Ended(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

#[test]
fn a_gateway_that_somebody_else_started_is_measured_and_a_wrong_verdict_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let stand = folder.path().join("stand");
    let mut command = ridegate();
    command.args(["bench", "--running", "--rate", "50", "--seconds", "1", "--riders", "100"]);
    command.args(["--config", WIDE, "--folder"]);
    let bench = command.arg(&stand).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut bench = Ended(bench);
    let mut said = BufReader::new(bench.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let start =
        said.find(|line| line.contains("ridegate serve --insecure-dev --config ")).expect("how to start it");
    let config = start.rsplit_once(' ').unwrap().1.to_owned();
    assert_eq!(Path::new(&config), stand.join("ridegate.toml"));
    let _gateway = start_with_another_policy(Path::new(&config));

    // Read on, so that it never waits for us.
    std::thread::spawn(move || said.for_each(drop));
    let mut shown = String::new();
    bench.0.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    assert_eq!(bench.0.wait().unwrap().code(), Some(1), "{shown}");
    assert!(shown.contains("WRONG  known: expected INSPECT TEST_OVERDUE, got ALLOW HEALTH_OK"), "{shown}");
    assert!(shown.contains("verdicts were WRONG"), "{shown}");
}

#[test]
fn another_build_is_measured_where_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let [program, ran] = ["gateway", "ran"].map(|name| folder.path().join(name));
    let this = ridegate();
    let lines = format!(
        "#!/bin/sh\n: >'{}'\nexec '{}' \"$@\"\n",
        ran.display(),
        this.get_program().to_str().unwrap()
    );
    fs::write(&program, lines).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut arguments = vec!["--rate", "50", "--seconds", "1", "--riders", "50", "--config", WIDE];
    arguments.extend(["--gateway", program.to_str().unwrap()]);
    let done = bench(&arguments);
    assert_eq!(done.status.code(), Some(0), "{}", text(&done.stderr));
    assert!(ran.exists(), "it was this program that was measured");
}

#[track_caller]
fn refused(arguments: &[&str], code: i32, why: &str) {
    let done = bench(arguments);
    let said = text(&done.stderr);
    assert!(said.contains(why), "expected {why:?} in {said:?}");
    assert_eq!(done.status.code(), Some(code), "{said}");
    assert_eq!(text(&done.stdout), "");
}

#[test]
fn what_cannot_be_measured_is_refused_and_says_why() {
    let full = tempfile::tempdir().unwrap();
    fs::write(full.path().join("mine"), "").unwrap();
    refused(&["--folder", full.path().to_str().unwrap()], 64, "is not empty");
    refused(&["--fresh", "120%"], 64, "expected a share between 0% and 100%, such as 5% or 0.05");
    refused(&["--rate", "0"], 64, "0 is not in 1..=1000000");
    refused(&["--connections", "1"], 64, "--replays: a code is shown again at another gate");
    refused(&["--max", "--plot", "x.svg"], 64, "--plot: draws the latency of rates");
    refused(&["--running"], 64, "--folder");
    refused(&["--partners", "metropolis"], 64, "partners: expected some of");
    refused(&["--partners", "alipay=0"], 64, "a weight of 1 or more");
    let everybody = "alipay,beijing-bus,chongqing-metro,cmb,guangzhou-metro,hohhot-metro,shanghai-metro,tianjin-metro,unionpay,yikatong,yitongxing";
    refused(&["--throttled", "5%", "--partners", everybody], 64, "leave one out of the partners");
    refused(&["--fresh", "80%", "--forged", "30%"], 64, "more than all");
    refused(&["--running", "--gateway", "/bin/true"], 64, "cannot be used with");
    refused(&["--gateway", "/no/such/gateway"], 1, "/no/such/gateway: cannot be started");
    refused(&["--gateway", "/bin/true"], 1, "the gateway ended before it served");
    refused(&["--config", "[redis"], 1, "the gateway ended before it served");
}
