//! From a file to a configuration, or to an error that says where.

use std::{
    error::Error,
    fmt, fs,
    path::{Path, PathBuf},
};

use toml::de::DeTable;

use super::{Config, PartnerFiles};
use crate::domain::policy::Policy;

/// A configuration and the file it came from, so that whatever is found wrong with it later can still say where.
#[derive(Debug)]
pub struct ConfigFile {
    /// What it says.
    pub config: Config,
    path: PathBuf,
    text: String,
}

/// What is wrong with a configuration, and where.
#[derive(Debug)]
pub struct ConfigError {
    file: PathBuf,
    line: Option<usize>,
    /// Empty where no one key is at fault.
    key: String,
    why: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.why)
    }
}

impl Error for ConfigError {}

impl ConfigError {
    /// Something is wrong with a file, or with one key of it.
    pub fn about(file: &Path, key: &str, why: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, key: key.to_owned(), why: why.into() }
    }
}

impl Config {
    /// Reads a configuration from text; `path` is what errors call it.
    pub fn from_toml(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let deserializer =
            toml::Deserializer::parse(text).map_err(|error| in_toml(path, text, String::new(), &error))?;
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let key = error.path().to_string();
            in_toml(path, text, if key == "." { String::new() } else { key }, error.inner())
        })
    }
}

impl ConfigFile {
    /// Reads a configuration file. Paths in it are relative to its folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let mut config = Config::from_toml(&text, path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let Config { registry, redis, partners, policy, tls, authority, .. } = &mut config;
        let authority = [&mut authority.ca, &mut authority.certificate, &mut authority.key];
        let optional = [&mut partners.profiles, &mut partners.mot_trust, &mut policy.file];
        let optional = optional.into_iter().chain(authority);
        let tls = tls.iter_mut().flat_map(|tls| {
            let needed = [&mut tls.certificate, &mut tls.key, &mut tls.client_ca];
            needed.into_iter().chain(&mut tls.client_crl)
        });
        let given =
            optional.into_iter().flatten().chain([&mut registry.path, &mut registry.key_file]).chain(tls);
        let given = given.chain(&mut registry.password_file);
        let of_redis = [&mut redis.password_file, &mut redis.sentinel_password_file, &mut redis.ca];
        let of_redis = of_redis.into_iter().chain([&mut redis.certificate, &mut redis.key]);
        let given = given.chain(of_redis.flatten());
        given.for_each(|path| *path = folder.join(&*path));
        Ok(Self { config, path: path.to_owned(), text })
    }

    /// Refuses the value of a key, at its line if it is in the file.
    pub fn refuse(&self, section: &str, key: &str, why: &str) -> ConfigError {
        let at = DeTable::parse(&self.text).ok().and_then(|table| {
            let section = table.get_ref().get(section)?.get_ref().as_table()?;
            let (key, _) = section.iter().find(|(name, _)| name.get_ref().as_ref() == key)?;
            Some(line(&self.text, key.span().start))
        });
        ConfigError {
            file: self.path.clone(),
            line: at,
            key: format!("{section}.{key}"),
            why: why.to_owned(),
        }
    }

    /// The files that partners are read from; `None` if those that ship are used.
    pub fn partner_files(&self) -> Result<Option<PartnerFiles>, ConfigError> {
        let together = "profiles and mot_trust go together: name both or neither";
        match (&self.config.partners.profiles, &self.config.partners.mot_trust) {
            (None, None) => Ok(None),
            (Some(_), None) => Err(self.refuse("partners", "profiles", together)),
            (None, Some(_)) => Err(self.refuse("partners", "mot_trust", together)),
            (Some(folder), Some(trust)) => Ok(Some(PartnerFiles::new(folder.clone(), trust.clone()))),
        }
    }

    /// The policy it names, or the one that ships.
    pub fn load_policy(&self) -> Result<Policy, ConfigError> {
        match &self.config.policy.file {
            Some(file) => parse(file, Policy::from_toml, |why| self.refuse("policy", "file", why)),
            None => Policy::beijing_2022().map_err(|error| in_file(Path::new("shipped policy"), "", &error)),
        }
    }
}

/// Reads a file that a key names; one that cannot be read is that key's fault.
fn parse<T, E: Error + 'static>(
    file: &Path,
    from_toml: fn(&str) -> Result<T, E>,
    refuse: impl FnOnce(&str) -> ConfigError,
) -> Result<T, ConfigError> {
    let text = fs::read_to_string(file)
        .map_err(|error| refuse(&format!("{}: cannot be read: {error}", file.display())))?;
    from_toml(&text).map_err(|error| in_file(file, &text, &error))
}

fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|error| ConfigError::about(path, "", format!("cannot be read: {error}")))
}

/// An error about a file; with its line if it is one of TOML's.
pub fn in_file(file: &Path, text: &str, error: &(dyn Error + 'static)) -> ConfigError {
    match error.source().and_then(|source| source.downcast_ref()) {
        Some(toml) => in_toml(file, text, String::new(), toml),
        None => ConfigError::about(file, "", error.to_string()),
    }
}

fn in_toml(file: &Path, text: &str, key: String, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map(|span| line(text, span.start));
    ConfigError { file: file.to_owned(), line: at, key, why: error.message().replace('\n', " ") }
}

fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
