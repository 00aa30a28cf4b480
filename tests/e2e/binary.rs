//! The binary, as an operator runs it.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use rand::SeedableRng;
use ridegate_gateway::config::Config;
use ridegate_proto::partner::v1::{GetLinkRequest, LinkResult, partner_service_client::PartnerServiceClient};
use ridegate_sim::{authority::Authority, trust::Trust};

use crate::house::{House, connect, identified, link_request, medium, subject, write_config};
use crate::process::{Process, ridegate, text};

fn serve(config: &Path, more: &[&str]) -> Output {
    ridegate().args(["serve", "--config"]).arg(config).args(more).output().unwrap()
}

#[track_caller]
fn refused(content: &str, expect: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ridegate.toml");
    std::fs::write(&path, content).unwrap();
    let done = serve(&path, &["--insecure-dev"]);
    assert!(text(&done.stderr).contains(expect), "expected {expect:?} in {:?}", text(&done.stderr));
    assert_eq!(done.status.code(), Some(64));
    assert!(!folder.path().join("ridegate.db").exists(), "refused before anything was opened");
}

#[test]
fn a_configuration_that_is_not_understood_is_refused_with_file_line_key_and_what_is_allowed() {
    let head = "[authority]\nendpoint = \"http://127.0.0.1:1\"\n";
    refused("", "ridegate.toml:1: missing field `authority`");
    refused("[authority]\n", "ridegate.toml:1: authority: missing field `endpoint`");
    refused(
        "[authority]\nendpoint = \"127.0.0.1:1\"\n",
        "ridegate.toml:2: authority.endpoint: expected https://host:port or http://host:port",
    );
    refused(
        &format!("{head}\n[registry]\npth = \"x\"\n"),
        "ridegate.toml:5: registry.pth: unknown field `pth`, expected one of `path`, `url`, `password_file`, `connections`, `key_file`, `timeout`, `follow`, `stale_links_max`",
    );
    refused(
        &format!("{head}[registery]\n"),
        "ridegate.toml:3: registery: unknown field `registery`, expected one of",
    );
    refused(
        &format!("{head}[verdict]\nbudget = \"150\"\n"),
        "ridegate.toml:4: verdict.budget: expected a duration from 1ms to 10s, with its unit",
    );
    refused(
        &format!("{head}[verdict]\nbudget = \"11s\"\n"),
        "verdict.budget: expected a duration from 1ms to 10s",
    );
    refused(
        &format!("{head}[verdict]\nin_flight = 0\n"),
        "verdict.in_flight: expected a number from 1 to 1000000",
    );
    refused(
        &format!("{head}[quota]\ncodes_burst = 0\n"),
        "ridegate.toml:4: quota.codes_burst: expected a number from 1 to 1000000000",
    );
    for value in ["100000", "\"3kB\"", "\"2 TB\"", "\"-1MB\"", "\"much\""] {
        refused(
            &format!("{head}[memory]\nauthorizations = {value}\n"),
            "ridegate.toml:4: memory.authorizations: expected memory from 4.0 kB to 1.0 TB, with its unit, such as \"256MB\"",
        );
    }
    refused(&format!("{head}[limits]\nstreams = 1.5\n"), "limits.streams: expected a number from 1 to 10000");
    refused(&format!("{head}[limits]\nheader_bytes = 1\n"), "expected a number from 1024 to 1000000");
    refused(
        &format!("{head}[operations]\naddress = \"0.0.0.0:9464\"\n"),
        "ridegate.toml:4: operations.address: must be a loopback address with --insecure-dev",
    );
    refused(
        &format!("{head}[registry]\npath = \"nowhere/ridegate.db\"\n"),
        "nowhere/ridegate.db: its folder is not there",
    );
    refused(
        &format!("{head}[listen]\naddress = \"localhost\"\n"),
        "ridegate.toml:4: listen.address: expected an address and a port, such as 127.0.0.1:7443",
    );
    refused(
        &format!("{head}[listen]\naddress = \"0.0.0.0:7443\"\n"),
        "ridegate.toml:4: listen.address: must be a loopback address with --insecure-dev",
    );
    refused(&format!("{head}[listen\n"), "ridegate.toml:3: ");
    refused(
        &format!("{head}[partners]\nprofiles = \"p\"\n"),
        "ridegate.toml:4: partners.profiles: profiles and mot_trust go together: name both or neither",
    );
    refused(&format!("{head}[policy]\nfile = \"no.toml\"\n"), "ridegate.toml:4: policy.file: ");
    refused(
        &format!("{head}[partners]\nprofiles = \".\"\nmot_trust = \"ridegate.toml\"\n"),
        "ridegate.toml:1: unknown field `authority`, expected one of `test`, `root`, `revoked`",
    );
}

#[test]
fn without_insecure_dev_nothing_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ridegate.toml");
    std::fs::write(&path, "[authority]\nendpoint = \"http://127.0.0.1:1\"\n").unwrap();
    let done = serve(&path, &[]);
    assert_eq!(done.status.code(), Some(64));
    let unset = "ridegate.toml: partners.profiles: unset, so the test profiles that ship are used: for --insecure-dev only";
    assert!(text(&done.stderr).contains(unset), "{}", text(&done.stderr));

    Trust::new(&mut rand_chacha::ChaCha20Rng::seed_from_u64(1)).unwrap().write(folder.path()).unwrap();
    let own = "[authority]\nendpoint = \"http://127.0.0.1:1\"\n[partners]\nprofiles = \"profiles\"\nmot_trust = \"mot-trust.toml\"\n";
    std::fs::write(&path, own).unwrap();
    let test_keys =
        "ridegate.toml:4: partners.profiles: holds test keys (test = true): for --insecure-dev only";
    assert!(text(&serve(&path, &[]).stderr).contains(test_keys));
    let profiles =
        std::fs::read_dir(folder.path().join("profiles")).unwrap().map(|entry| entry.unwrap().path());
    for file in profiles.chain([folder.path().join("mot-trust.toml")]) {
        let real = std::fs::read_to_string(&file).unwrap().replace("test = true", "test = false");
        std::fs::write(&file, real).unwrap();
    }
    let done = serve(&path, &[]);
    assert_eq!(done.status.code(), Some(64));
    let none = "ridegate.toml: tls.certificate: must be given: without TLS the gateway serves on your own machine only";
    assert!(text(&done.stderr).contains(none), "{}", text(&done.stderr));

    let done = serve(&path, &["--clock", "2022-06-15T12:00:00+08:00"]);
    assert_eq!(done.status.code(), Some(64), "another period is for development only");
}

#[test]
fn the_example_is_complete_and_says_the_defaults() {
    let example = include_str!("../../ridegate.example.toml");
    let path = Path::new("ridegate.example.toml");
    let parsed = Config::from_toml(example, path).unwrap();
    let needed = example.lines().find(|line| line.starts_with("endpoint")).unwrap();
    let defaults = Config::from_toml(&format!("[authority]\n{needed}\n"), path).unwrap();
    assert_eq!(parsed, defaults);
    // What is commented out can be used as it stands.
    let is_key = |line: &str| {
        line.split(" = ").next().is_some_and(|key| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if rest == "[tls]" || (rest.contains(" = ") && is_key(rest)) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    let full: String = example.lines().map(line).collect();
    assert!(Config::from_toml(&full, path).unwrap().tls.is_some());
    // Every key a section knows is named when it meets one it does not.
    let sections: Vec<_> = full
        .lines()
        .filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'))
        .filter(|name| !name.contains('.'))
        .collect();
    assert_eq!(sections.len(), 18);
    for section in sections {
        let unknown = full.replacen(&format!("[{section}]\n"), &format!("[{section}]\nno_such_key = 1\n"), 1);
        let error = Config::from_toml(&unknown, path).unwrap_err().to_string();
        let known = error.split("expected").nth(1).unwrap();
        for key in known.split('`').skip(1).step_by(2) {
            let (as_key, as_section) = (format!("{key} ="), format!("[{section}.{key}]"));
            let said = |line: &str| line.starts_with(&as_key) || line == as_section;
            assert!(full.lines().any(said), "{section}.{key}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_link_survives_kill_nine() {
    let folder = tempfile::tempdir().unwrap();
    Trust::new(&mut rand_chacha::ChaCha20Rng::seed_from_u64(1)).unwrap().write(folder.path()).unwrap();
    let authority = Authority::start().unwrap();
    let config = write_config(folder.path(), &authority, "", "");
    for round in 1..=5 {
        let process = Process::start(&config);
        let mut client = PartnerServiceClient::new(connect(&process.endpoint).await);
        authority.authorise(&format!("code-{round}"), &subject(round));
        let linked =
            client.link_rider(identified("urn:ridegate:partner:yikatong", link_request(round))).await;
        process.kill();
        assert_eq!(linked.unwrap().into_inner().result(), LinkResult::Linked);
    }
    let process = Process::start(&config);
    let mut client = PartnerServiceClient::new(connect(&process.endpoint).await);
    for (account, linked) in [(1, true), (2, true), (3, true), (4, true), (5, true), (6, false)] {
        let request = GetLinkRequest { medium: Some(medium(account)) };
        let answer = client.get_link(identified("urn:ridegate:partner:yikatong", request)).await.unwrap();
        assert_eq!(answer.into_inner().link.is_some(), linked, "account {account}");
    }
    // A repeat after the crash is answered as the first was.
    let again =
        client.link_rider(identified("urn:ridegate:partner:yikatong", link_request(5))).await.unwrap();
    assert_eq!(again.into_inner().result(), LinkResult::Linked);
    process.kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_registry_is_made_once_however_many_gateways_start() {
    let house = House::open().await;
    let folder = house.folder.path();
    std::fs::copy(folder.join("ridegate.key"), folder.join("shared.key")).unwrap();
    let config = std::fs::read_to_string(folder.join("ridegate.toml")).unwrap();
    let registry = "[registry]\npath = \"shared.db\"\nkey_file = \"shared.key\"\n";
    std::fs::write(folder.join("shared.toml"), config.replace("[registry]\n", registry)).unwrap();
    let starting: Vec<_> = (0..4)
        .map(|_| {
            let config = folder.join("shared.toml");
            std::thread::spawn(move || Process::start(&config))
        })
        .collect();
    for process in starting {
        process.join().unwrap().kill();
    }
}

#[tokio::test]
async fn a_registry_is_not_opened_without_its_key() {
    let folder = tempfile::tempdir().unwrap();
    Trust::new(&mut rand_chacha::ChaCha20Rng::seed_from_u64(1)).unwrap().write(folder.path()).unwrap();
    let authority = Authority::start().unwrap();
    let config = write_config(folder.path(), &authority, "", "");
    Process::start(&config).kill();
    let key = folder.path().join("ridegate.key");
    let kept = std::fs::read_to_string(&key).unwrap();

    std::fs::remove_file(&key).unwrap();
    let missing = serve(&config, &["--insecure-dev"]);
    assert_eq!(missing.status.code(), Some(64));
    assert!(text(&missing.stderr).contains("ridegate.key: missing"), "{}", text(&missing.stderr));

    std::fs::write(&key, "00".repeat(32)).unwrap();
    let other = serve(&config, &["--insecure-dev"]);
    assert_eq!(other.status.code(), Some(1));
    assert!(text(&other.stderr).contains("written under another key"), "{}", text(&other.stderr));
    assert!(!text(&other.stderr).contains(kept.trim()));
}

#[test]
fn the_demo_shows_a_city_in_which_every_verdict_is_the_one_expected() {
    let done = ridegate().args(["demo", "--taps", "300", "--rate", "100", "--seed", "7"]).output().unwrap();
    let (shown, progress) = (text(&done.stdout), text(&done.stderr));
    assert!(shown.contains("300 taps sent, 300 answered, 300 as expected"), "{shown}");
    for reason in [
        "HEALTH_OK",
        "NOT_LINKED",
        "NO_RECORD",
        "CODE_EXPIRED",
        "CODE_UNTRUSTED",
        "CODE_REPLAYED",
        "TEST_OVERDUE",
    ] {
        assert!(shown.contains(reason), "{reason} in {shown}");
    }
    assert!(shown.contains("p99"));
    assert!(progress.contains("taps") && progress.contains("300/300"), "{progress}");
    assert_eq!(done.status.code(), Some(0));
}

/// The twin: a city whose gateway throttles must not be called clean.
#[test]
fn the_demo_fails_if_a_verdict_is_not_the_one_expected() {
    let throttling = "[quota]\ncodes_per_second = 1\ncodes_burst = 1\n";
    let done =
        ridegate().args(["demo", "--taps", "60", "--rate", "0", "--gateway", throttling]).output().unwrap();
    let shown = text(&done.stdout);
    assert!(shown.contains("got INSPECT THROTTLED"), "{shown}");
    assert!(shown.ends_with("NOT every verdict was the one expected\n"), "{shown}");
    assert_eq!(done.status.code(), Some(1));
}

#[test]
fn the_demo_keeps_out_of_a_folder_that_somebody_uses() {
    let folder = tempfile::tempdir().unwrap();
    let mine = folder.path().join("ridegate.toml");
    std::fs::write(&mine, "# mine").unwrap();
    let done = ridegate().args(["demo", "--taps", "1", "--folder"]).arg(folder.path()).output().unwrap();
    assert_eq!(done.status.code(), Some(64));
    assert!(text(&done.stderr).contains("is not empty"), "{}", text(&done.stderr));
    assert_eq!(std::fs::read_to_string(mine).unwrap(), "# mine");
}

#[test]
fn the_demo_can_be_stopped_while_it_rides() {
    let mut demo = ridegate()
        .args(["demo", "--taps", "100000", "--rate", "20"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(demo.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("A city on this machine"));
    let pid = demo.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let done = demo.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains("told to stop before the day was over"), "{}", text(&done.stderr));
}

/// Everything that replicas share is looked at, and every line is as expected.
#[test]
fn the_demo_shows_replicas_that_are_as_one_gateway() {
    let done = ridegate()
        .args(["demo", "--taps", "200", "--rate", "100", "--seed", "7", "--replicas", "2", "--redis"])
        .output()
        .unwrap();
    let shown = text(&done.stdout);
    assert!(shown.contains("200 taps sent, 200 answered, 200 as expected"), "{shown}");
    for looked_at in
        ["at 50 gates of 2 replicas", "retried at every other", "turn RED", "withdrawn", "killed"]
    {
        assert!(shown.contains(looked_at), "{looked_at} in {shown}");
    }
    assert_eq!(shown.matches("┆ as expected").count(), 9, "{shown}");
    assert_eq!(done.status.code(), Some(0), "{shown}");
}

#[test]
fn the_demo_says_what_replicas_without_redis_do_not_share() {
    let done = ridegate().args(["demo", "--taps", "60", "--rate", "60", "--replicas", "2"]).output().unwrap();
    let shown = text(&done.stdout);
    assert!(shown.contains("The replicas share the registry alone"), "{shown}");
    assert!(shown.contains("60 taps sent, 60 answered, 60 as expected"), "{shown}");
    assert_eq!(done.status.code(), Some(0));

    let done = ridegate().env("PATH", "/nowhere").args(["demo", "--taps", "1", "--redis"]).output().unwrap();
    assert!(text(&done.stderr).contains("--redis needs redis-server: install"), "{}", text(&done.stderr));
    assert_eq!(done.status.code(), Some(64));
}

#[test]
fn the_demo_takes_its_redis_with_it_when_it_is_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let city = folder.path().join("city");
    let mut demo = ridegate()
        .args(["demo", "--taps", "100000", "--rate", "20", "--redis", "--folder"])
        .arg(&city)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Only Redis works in this folder. (Its arguments it replaces by a title of its own.)
    let working_in = city.join("redis");
    let is_one = |entry: std::fs::DirEntry| {
        let folder = std::fs::read_link(entry.path().join("cwd"));
        folder.is_ok_and(|folder| folder == working_in)
    };
    let runs = || std::fs::read_dir("/proc").unwrap().map_while(Result::ok).any(is_one);
    while !runs() {
        assert!(demo.try_wait().unwrap().is_none(), "it ended before it had a Redis");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = demo.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(demo.wait().unwrap().code(), Some(1));
    assert!(!runs(), "Redis is left behind");
}

#[test]
fn a_log_level_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ridegate.toml");
    std::fs::write(&path, "[authority]\nendpoint = \"http://127.0.0.1:1\"\n").unwrap();
    for level in ["warning", "info,verbose", "foo=bar=baz"] {
        let done = ridegate()
            .env("RUST_LOG", level)
            .args(["serve", "--insecure-dev", "--config"])
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(done.status.code(), Some(64), "{level}");
        assert!(text(&done.stderr).contains("RUST_LOG: "), "{}", text(&done.stderr));
    }
}
