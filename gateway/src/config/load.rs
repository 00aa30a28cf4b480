//! From a file to a configuration, or to an error that says where.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use ridegate_adapters::{MotTrust, Partners, Profile, ShippedError};

use super::Config;
use crate::domain::policy::Policy;

/// What is wrong with a configuration, and where.
#[derive(Debug)]
pub struct ConfigError {
    file: PathBuf,
    line: Option<usize>,
    problem: Problem,
}

/// What is wrong.
#[derive(Debug)]
pub enum Problem {
    /// The file cannot be read.
    Unreadable(std::io::Error),
    /// A key, and why its value cannot be used. The key is empty where the file is no TOML.
    Key {
        /// Which.
        key: String,
        /// Why, and what is allowed.
        why: String,
    },
    /// The files together.
    Whole(String),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match &self.problem {
            Problem::Unreadable(error) => write!(f, ": cannot be read: {error}"),
            Problem::Key { key, why } if key.is_empty() => write!(f, ": {why}"),
            Problem::Key { key, why } => write!(f, ": {key}: {why}"),
            Problem::Whole(why) => write!(f, ": {why}"),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads a configuration file. Paths in it are relative to its folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let mut config = Self::from_toml(&read(path)?, path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let Self { registry, partners, policy, .. } = &mut config;
        let optional = [&mut partners.profiles, &mut partners.mot_trust, &mut policy.file];
        let given = optional.into_iter().flatten().chain([&mut registry.path, &mut registry.key_file]);
        given.for_each(|path| *path = folder.join(&*path));
        Ok(config)
    }

    /// Reads a configuration from text; `path` is what errors call it.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let at = |error: &toml::de::Error, key: String| ConfigError {
            file: path.to_owned(),
            line: error.span().map(|span| line(text, span.start)),
            problem: Problem::Key { key, why: error.message().replace('\n', " ") },
        };
        let deserializer = toml::Deserializer::parse(text).map_err(|error| at(&error, String::new()))?;
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let path = error.path().to_string();
            at(error.inner(), if path == "." { String::new() } else { path })
        })
    }

    /// The partners it names, or those that ship.
    pub fn load_partners(&self) -> Result<Partners, ConfigError> {
        let shipped = |error: ShippedError| whole(Path::new("shipped profiles"), &error.to_string());
        let (Some(folder), Some(trust)) = (&self.partners.profiles, &self.partners.mot_trust) else {
            if self.partners.profiles.is_some() || self.partners.mot_trust.is_some() {
                let why = "partners: profiles and mot_trust go together: name both or neither";
                return Err(whole(Path::new("configuration"), why));
            }
            return Partners::shipped().map_err(shipped);
        };
        let trust_file =
            MotTrust::from_toml(&read(trust)?).map_err(|error| whole(trust, &error.to_string()))?;
        let profiles = profile_files(folder)?.iter().map(|file| profile(file)).collect::<Result<_, _>>()?;
        Partners::new(profiles, trust_file).map_err(|error| whole(folder, &error.to_string()))
    }

    /// The policy it names, or the one that ships.
    pub fn load_policy(&self) -> Result<Policy, ConfigError> {
        match &self.policy.file {
            Some(file) => Policy::from_toml(&read(file)?).map_err(|error| whole(file, &error.to_string())),
            None => {
                Policy::beijing_2022().map_err(|error| whole(Path::new("shipped policy"), &error.to_string()))
            }
        }
    }
}

fn profile(file: &Path) -> Result<Profile, ConfigError> {
    Profile::from_toml(&read(file)?).map_err(|error| whole(file, &error.to_string()))
}

/// The `.toml` files of a folder, by name, so that every start reads them in the same order.
fn profile_files(folder: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let unreadable =
        |error| ConfigError { file: folder.to_owned(), line: None, problem: Problem::Unreadable(error) };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() { Err(whole(folder, "no partner profile (*.toml) in it")) } else { Ok(files) }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|error| ConfigError {
        file: path.to_owned(),
        line: None,
        problem: Problem::Unreadable(error),
    })
}

fn whole(file: &Path, why: &str) -> ConfigError {
    ConfigError { file: file.to_owned(), line: None, problem: Problem::Whole(why.trim_end().to_owned()) }
}

fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
