//! What the configuration may say of Redis.

use std::{fs, path::Path};

use jiff::SignedDuration;
use ridegate_gateway::{app::Settings, config::ConfigFile};
use ridegate_sim::pki::Pki;

use crate::{house::NOON, redis_lines::write_trust};

/// The settings of a configuration with this `[redis]`, in a folder with these files.
fn settings(folder: &Path, redis: &str, insecure_dev: bool) -> Result<Settings, String> {
    let config = format!("[authority]\nendpoint = \"http://127.0.0.1:1\"\n[redis]\n{redis}\n");
    let path = folder.join("ridegate.toml");
    fs::write(&path, config).unwrap();
    let file = ConfigFile::load(&path).map_err(|error| error.to_string())?;
    Settings::new(file, NOON.parse().unwrap(), insecure_dev).map_err(|error| error.to_string())
}

#[test]
fn nonsense_about_redis_is_refused_and_no_password_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let pki = Pki::create(&folder.path().join("pki"), SignedDuration::from_hours(24)).unwrap();
    for name in ["one", "two"] {
        pki.stranger(name, &["urn:ridegate:operator:gateway"]).unwrap();
    }
    fs::write(folder.path().join("empty"), "\n").unwrap();
    fs::write(folder.path().join("password"), "hush\n").unwrap();
    let refused = |redis: &str, key: &str, why: &str| {
        let error = settings(folder.path(), redis, true).unwrap_err();
        assert!(error.contains(&format!("redis.{key}: ")) && error.contains(why), "{redis}: {error}");
        assert!(!error.contains("hush"), "{error}");
    };
    let node = "nodes = [\"redis://127.0.0.1:1\"]\n";
    let secure = "nodes = [\"rediss://127.0.0.1:1\"]\n";
    for url in ["redis://:hush@h:1", "redis://u:hush@h:1", "rediss://u:hush@h:1"] {
        refused(&format!("nodes = [\"{url}\"]"), "nodes", "name a password_file");
    }
    refused("nodes = [\"redis://u@h:1\"]", "nodes", "name it as user");
    for url in
        ["h:1", "http://h:1", "redis+unix:///hush", "redis://h", "redis://h:1/2", "redis://h:1?a=hush", ""]
    {
        refused(&format!("nodes = [\"{url}\"]"), "nodes", "must be redis://host:port");
    }
    refused("nodes = [\"redis://h:1\", \"rediss://h:2\"]", "nodes", "all");
    refused(&format!("{node}cluster = true\nsentinel = \"m\""), "sentinel", "cluster");
    refused(&format!("{node}sentinel = \"\""), "sentinel", "name");
    refused(&format!("{node}user = \"u\""), "user", "password file");
    refused(&format!("{node}password_file = \"none\""), "password_file", "cannot be read");
    refused(&format!("{node}password_file = \"empty\""), "password_file", "must hold a password");
    refused(
        &format!("{node}sentinel_password_file = \"password\""),
        "sentinel_password_file",
        "needs sentinel",
    );
    refused(&format!("{node}sentinel_user = \"u\""), "sentinel_user", "needs sentinel");
    refused(&format!("{node}sentinel = \"m\"\nsentinel_user = \"u\""), "sentinel_user", "password file");
    refused(&format!("{node}ca = \"pki/ca.pem\""), "ca", "rediss://");
    refused(
        &format!("{node}certificate = \"pki/one.pem\"\nkey = \"pki/one.key\""),
        "certificate",
        "rediss://",
    );
    refused(&format!("{secure}ca = \"none\""), "ca", "cannot be read");
    refused(&format!("{secure}ca = \"password\""), "ca", "");
    refused(&format!("{secure}certificate = \"pki/one.pem\""), "certificate", "needs its key");
    refused(&format!("{secure}key = \"pki/one.key\""), "key", "needs its certificate");
    refused(&format!("{secure}certificate = \"pki/one.pem\"\nkey = \"pki/two.key\""), "key", "go together");
    let keys = [
        "sentinel = \"m\"",
        "cluster = true",
        "user = \"u\"",
        "password_file = \"password\"",
        "sentinel_user = \"u\"",
        "sentinel_password_file = \"password\"",
        "ca = \"pki/ca.pem\"",
        "certificate = \"pki/one.pem\"",
        "key = \"pki/one.key\"",
        "timeout = \"30ms\"",
    ];
    for key in keys {
        refused(key, key.split(' ').next().unwrap(), "needs nodes");
    }

    let taken = |redis: &str| settings(folder.path(), redis, true).unwrap();
    taken("");
    taken("nodes = [\"redis://elsewhere:1\"]");
    taken(&format!("{node}user = \"u\"\npassword_file = \"password\"\ntimeout = \"30ms\""));
    let with_certificates = taken(&format!(
        "{secure}ca = \"pki/ca.pem\"\ncertificate = \"pki/one.pem\"\nkey = \"pki/one.key\"\nsentinel = \"m\""
    ));
    let ends: Vec<_> = with_certificates.ends().into_iter().map(|(name, _)| name).collect();
    assert_eq!(ends, ["redis_ca", "redis_client"]);
    assert!(!format!("{with_certificates:?}").contains("hush"));
}

#[test]
fn what_passes_to_redis_crosses_no_network_in_the_clear() {
    let house = tempfile::tempdir().unwrap();
    let folder = house.path();
    let pki = Pki::create(&folder.join("pki"), SignedDuration::from_hours(24)).unwrap();
    pki.server(&["localhost".into()]).unwrap();
    write_trust(folder);
    let profiles: Vec<_> = fs::read_dir(folder.join("profiles")).unwrap().flatten().collect();
    for profile in profiles {
        let text = fs::read_to_string(profile.path()).unwrap().replace("test = true", "test = false");
        fs::write(profile.path(), text).unwrap();
    }
    let trust = folder.join("mot-trust.toml");
    fs::write(&trust, fs::read_to_string(&trust).unwrap().replace("test = true", "test = false")).unwrap();
    let rest = "[tls]\ncertificate = \"pki/server.pem\"\nkey = \"pki/server.key\"\nclient_ca = \"pki/ca.pem\"\n\
                [partners]\nprofiles = \"profiles\"\nmot_trust = \"mot-trust.toml\"";
    let with = |nodes: &str| settings(folder, &format!("nodes = [{nodes}]\n{rest}"), false);
    for far in [
        "\"redis://redis.example:6379\"",
        "\"redis://10.0.0.1:6379\"",
        "\"redis://127.0.0.1:1\", \"redis://h:1\"",
    ] {
        let error = with(far).unwrap_err();
        assert!(error.contains("redis.nodes: must be rediss://"), "{error}");
    }
    for fine in ["\"redis://localhost:1\"", "\"redis://[::1]:1\"", "\"rediss://redis.example:6379\""] {
        with(fine).unwrap();
    }
}
