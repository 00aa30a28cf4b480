//! What a running city leaves in its folder, so that other commands find it: `city.json`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use ridegate_gateway::clock::Clock;
use serde::{Deserialize, Serialize};

const FILE: &str = "city.json";

/// Where a running city is found, and what its clock shows. Paths are relative to its folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// Its gateway, such as `https://127.0.0.1:7443`.
    pub endpoint: String,
    /// Makes its root, its issuers and its riders again.
    pub seed: u64,
    /// How far its clock is ahead of the system's, in whole seconds; see [`Site::offset`].
    pub clock_offset_seconds: i64,
    /// Whom the gateway's certificate must be from, PEM.
    pub ca: PathBuf,
    /// A validator's certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
}

impl Site {
    /// Reads `city.json` of this folder. An error names the file.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = fs::read_to_string(&path).with_context(|| {
            format!("{}: cannot be read; is this a running city's folder?", path.display())
        })?;
        serde_json::from_str(&text).with_context(|| format!("{}: not a city's", path.display()))
    }

    /// Writes `city.json` into this folder: whoever finds it there finds all of it.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let (path, unfinished) = (folder.join(FILE), folder.join(format!("{FILE}.new")));
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(&unfinished, text)
            .and_then(|()| fs::rename(&unfinished, &path))
            .with_context(|| format!("{}: cannot be written", path.display()))
    }

    /// How far a clock is ahead of the system's, in whole seconds. Rounded down: what is made at [`Site::now`] is not
    /// from the city's future.
    pub fn offset(clock: &Clock) -> i64 {
        let ahead = clock.now().duration_since(Clock::system().now());
        i64::try_from(ahead.as_millis().div_euclid(1000)).unwrap_or(i64::MAX)
    }

    /// What the city's clock shows now, up to a second less.
    pub fn now(&self) -> Timestamp {
        let offset = SignedDuration::from_secs(self.clock_offset_seconds);
        let system = Clock::system().now();
        let unreachable = if offset.is_negative() { Timestamp::MIN } else { Timestamp::MAX };
        system.saturating_add(offset).unwrap_or(unreachable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> Site {
        Site {
            endpoint: "https://127.0.0.1:7443".into(),
            seed: 2022,
            clock_offset_seconds: -5,
            ca: "pki/ca.pem".into(),
            certificate: "pki/validator.pem".into(),
            key: "pki/validator.key".into(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        site().write(folder.path()).unwrap();
        assert_eq!(Site::read(folder.path()).unwrap(), site());
    }

    #[test]
    fn an_error_names_the_file_and_what_is_wrong_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = || format!("{:#}", Site::read(folder.path()).unwrap_err());
        assert!(refusal().contains("city.json: cannot be read"), "{}", refusal());
        fs::write(folder.path().join(FILE), "{\"endpoint\": \"https://127.0.0.1:7443\"}").unwrap();
        assert!(refusal().contains("city.json: not a city's: missing field `seed`"), "{}", refusal());
        let nowhere = folder.path().join("nowhere");
        assert!(
            format!("{:#}", site().write(&nowhere).unwrap_err()).contains("city.json: cannot be written")
        );
    }

    #[test]
    fn the_citys_now_is_found_again_and_never_ahead() {
        let clock: Clock = "2022-06-15T12:00:00.9+08:00".parse().unwrap();
        let site = Site { clock_offset_seconds: Site::offset(&clock), ..site() };
        let (found, shown) = (site.now(), clock.now());
        let behind = shown.duration_since(found);
        assert!(found <= shown, "{found} {shown}");
        assert!(behind < SignedDuration::from_secs(60), "{behind}");
    }
}
