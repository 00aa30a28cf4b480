//! What the configuration says of Redis. What passes there is nobody else's business, so it crosses no network in the clear.

use std::{fs, path::Path};

use jiff::Timestamp;
use secrecy::SecretString;

use super::upstream;
use crate::{
    backends::redis::{Access, Form, Place},
    config::{self, ConfigError, ConfigFile},
    door::tls::{self, Ends},
};

/// A Redis, and when the certificates end that it is asked with.
#[derive(Debug)]
pub(super) struct Stated {
    pub(super) place: Place,
    pub(super) ends: Ends,
}

/// The key at fault, and why: never its value, which may hold a password.
type Refusal = (&'static str, String);

/// What the fleet shares, if it shares anything.
pub(super) fn redis(file: &ConfigFile, insecure_dev: bool) -> Result<Option<Stated>, ConfigError> {
    let stated = state(&file.config.redis, insecure_dev);
    stated.map_err(|(key, why)| file.refuse("redis", key, &why))
}

fn state(redis: &config::Redis, insecure_dev: bool) -> Result<Option<Stated>, Refusal> {
    if redis.nodes.is_empty() {
        return needs_nodes(redis).map(|()| None);
    }
    let nodes: Result<Vec<_>, _> = redis.nodes.iter().map(|url| Place::node(url)).collect();
    let nodes = nodes.map_err(|why| ("nodes", why.to_owned()))?;
    let secure = nodes.iter().filter(|node| Place::is_secure(node)).count();
    let refuse = |key, why: &str| Err((key, why.to_owned()));
    if secure != 0 && secure != nodes.len() {
        return refuse("nodes", "must all be redis://, or all rediss://");
    }
    let is_secure = secure != 0;
    if !is_secure && !insecure_dev && !nodes.iter().all(Place::is_local) {
        return refuse("nodes", "must be rediss:// where they are not on this machine");
    }
    let form = match &redis.sentinel {
        Some(_) if redis.cluster => return refuse("sentinel", "does not go together with cluster"),
        Some(master) if master.is_empty() => return refuse("sentinel", "must be the name of a master"),
        Some(master) => Form::Sentinel(master.as_str().into()),
        None if redis.cluster => Form::Cluster,
        None => Form::Single,
    };
    let of_sentinel = [
        ("sentinel_user", redis.sentinel_user.is_some()),
        ("sentinel_password_file", redis.sentinel_password_file.is_some()),
    ];
    if let Some((key, _)) = of_sentinel.into_iter().find(|(_, given)| *given && redis.sentinel.is_none()) {
        return refuse(key, "needs sentinel, the name of the master that the Sentinels watch over");
    }
    let access = access(("user", redis.user.as_ref()), ("password_file", redis.password_file.as_deref()))?;
    let sentinel_access = self::access(
        ("sentinel_user", redis.sentinel_user.as_ref()),
        ("sentinel_password_file", redis.sentinel_password_file.as_deref()),
    )?;
    let mut place =
        Place { form, nodes, access, sentinel_access, timeout: redis.timeout.get(), certificates: None };
    let ends = certify(redis, is_secure, &mut place)?;
    Ok(Some(Stated { place, ends }))
}

/// Where there is no Redis nothing may be said of one: it was meant to be there.
fn needs_nodes(redis: &config::Redis) -> Result<(), Refusal> {
    let given = [
        ("sentinel", redis.sentinel.is_some()),
        ("cluster", redis.cluster),
        ("user", redis.user.is_some()),
        ("password_file", redis.password_file.is_some()),
        ("sentinel_user", redis.sentinel_user.is_some()),
        ("sentinel_password_file", redis.sentinel_password_file.is_some()),
        ("ca", redis.ca.is_some()),
        ("certificate", redis.certificate.is_some()),
        ("key", redis.key.is_some()),
        ("timeout", redis.timeout != config::Redis::default().timeout),
    ];
    let given = given.into_iter().find(|(_, given)| *given);
    given.map_or(Ok(()), |(key, _)| Err((key, "needs nodes".into())))
}

fn access(
    (user_key, user): (&'static str, Option<&String>),
    (key, file): (&'static str, Option<&Path>),
) -> Result<Access, Refusal> {
    let Some(file) = file else {
        // Redis has no way to be told a user without a password: it would be the default one.
        return match user {
            Some(_) => Err((user_key, "needs a password file".into())),
            None => Ok(Access::default()),
        };
    };
    let password = fs::read_to_string(file).map_err(|error| (key, format!("cannot be read: {error}")))?;
    let password = password.trim();
    if password.is_empty() {
        return Err((key, "must hold a password".into()));
    }
    Ok(Access { user: user.cloned(), password: Some(SecretString::from(password)) })
}

fn certify(redis: &config::Redis, is_secure: bool, place: &mut Place) -> Result<Ends, Refusal> {
    let given = [
        ("ca", redis.ca.is_some()),
        ("certificate", redis.certificate.is_some()),
        ("key", redis.key.is_some()),
    ];
    let given = given.into_iter().find(|(_, given)| *given);
    let Some((first, _)) = given else { return Ok(Ends::default()) };
    if !is_secure {
        return Err((first, "needs nodes that are rediss://".into()));
    }
    let mut ends = Ends::default();
    let ca = redis.ca.as_deref().map(|path| read("ca", path)).transpose()?;
    if let (Some(path), Some(pem)) = (&redis.ca, &ca) {
        ends.push(("redis_ca".into(), end_of("ca", path, pem)?));
    }
    let client = match (&redis.certificate, &redis.key) {
        (Some(certificate), Some(key)) => {
            let pem = read("certificate", certificate)?;
            ends.push(("redis_client".into(), end_of("certificate", certificate, &pem)?));
            let key = read("key", key)?;
            upstream::go_together(&pem, &key).map_err(|why| ("key", why))?;
            Some((pem, key))
        }
        (None, None) => None,
        (Some(_), None) => return Err(("certificate", "needs its key".into())),
        (None, Some(_)) => return Err(("key", "needs its certificate".into())),
    };
    place.certificates = Some(Place::certificates(ca, client).map_err(|why| (first, why.to_owned()))?);
    Ok(ends)
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, Refusal> {
    fs::read(path).map_err(|error| (key, format!("cannot be read: {error}")))
}

fn end_of(key: &'static str, path: &Path, pem: &[u8]) -> Result<Timestamp, Refusal> {
    tls::end_of(path, pem).map_err(|error| (key, error.to_string()))
}
