//! What a drill is told: when, what, and between whom.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    str::FromStr,
    time::Duration,
};

use jiff::SignedDuration;
use ridegate_faults::Fault;

const LONGEST: Duration = Duration::from_hours(24);

/// A fault, and how long after the start it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) after: Duration,
    pub(super) fault: Fault,
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (after, fault) = text.trim().split_once(char::is_whitespace).ok_or(
            "expected a time after the start and a fault, such as \"10s refuse\" or \"1m latency=20ms jitter=5ms\"",
        )?;
        let fault = fault.parse().map_err(|why| format!("{why}"))?;
        Ok(Self { after: time(after)?, fault })
    }
}

/// A time such as `500ms`, `30s`, `2m`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    SignedDuration::from_str(text)
        .ok()
        .and_then(|time| Duration::try_from(time).ok())
        .filter(|time| !time.is_zero() && *time <= LONGEST)
        .ok_or_else(|| "expected a time with its unit, up to 24h: 500ms, 30s, 2m".to_owned())
}

/// Host and port, as a name or an address.
pub(super) fn to(text: &str) -> Result<String, String> {
    let expected = || "expected HOST:PORT, such as 127.0.0.1:6379 or redis.example.cn:6379".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = host.chars().all(|char| char.is_ascii_alphanumeric() || "-._".contains(char));
    let is_host = bare.map_or(!host.is_empty() && named, |host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
    if is_host && is_port { Ok(text.to_owned()) } else { Err(expected()) }
}

/// Whether the steps come one after the other and all before the end.
pub(super) fn checked(steps: &[Step], lasting: Option<Duration>) -> Result<(), String> {
    if !steps.iter().is_sorted_by(|before, after| before.after < after.after) {
        return Err("--at: each must be later than the one before it".to_owned());
    }
    match (steps.last(), lasting) {
        (Some(last), Some(lasting)) if last.after >= lasting => {
            Err("--at: each must be before the end that --for names".to_owned())
        }
        _ => Ok(()),
    }
}

/// Where to listen: on this machine alone, unless more was asked for, and not where it would call itself.
pub(super) fn listening_address(listen: &str, to: &str, beyond: bool) -> Result<SocketAddr, String> {
    let unusable = || "--listen: expected HOST:PORT of this machine, such as 127.0.0.1:0".to_owned();
    let mut found = listen.to_socket_addrs().map_err(|_| unusable())?;
    let listen = found.next().ok_or_else(unusable)?;
    if !listen.ip().is_loopback() && !beyond {
        return Err(format!(
            "--listen: {listen} is reached by other machines, and so would be what is behind it; expected a loopback \
             address such as 127.0.0.1:0, or --beyond-this-machine as well"
        ));
    }
    // Who cannot be found now may be found later.
    let behind = to.to_socket_addrs().into_iter().flatten();
    let calls_itself = |to: SocketAddr| {
        let here = to.ip() == listen.ip() || (listen.ip().is_unspecified() && to.ip().is_loopback());
        here && to.port() == listen.port()
    };
    if behind.into_iter().any(calls_itself) {
        return Err("--to: must be another address than --listen".to_owned());
    }
    Ok(listen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_a_time_and_a_fault() {
        let step: Step = "1500ms latency=20ms  jitter=5ms".parse().unwrap();
        let fault = "latency=20ms jitter=5ms".parse().unwrap();
        assert_eq!(step, Step { after: Duration::from_millis(1500), fault });
    }

    #[test]
    fn who_is_behind_has_a_host_and_a_port() {
        for good in ["127.0.0.1:6379", "redis.example.cn:6379", "[::1]:5432", "localhost:1"] {
            assert_eq!(to(good).as_deref(), Ok(good));
        }
        for bad in
            ["", "6379", ":6379", "redis", "redis:0", "redis:65536", "redis://h:6379", "::1:5432", "a b:1"]
        {
            assert!(to(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_this_machine_unless_asked_for_more_and_never_itself() {
        assert!(listening_address("127.0.0.1:0", "127.0.0.1:6379", false).is_ok());
        assert!(listening_address("[::1]:0", "127.0.0.1:6379", false).is_ok());
        for beyond in ["0.0.0.0:0", "[::]:0", "192.0.2.1:6379"] {
            assert!(listening_address(beyond, "127.0.0.1:1", false).unwrap_err().contains("loopback"));
            assert!(listening_address(beyond, "127.0.0.1:1", true).is_ok());
        }
        for (listen, to) in [("127.0.0.1:9", "127.0.0.1:9"), ("0.0.0.0:9", "127.0.0.1:9")] {
            assert!(listening_address(listen, to, true).unwrap_err().starts_with("--to"));
        }
        assert!(listening_address("nowhere", "127.0.0.1:1", false).unwrap_err().starts_with("--listen"));
    }
}
