//! The files that partners are read from: a profile each, and whom MOT codes are trusted from.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ridegate_adapters::{MotTrust, Partners, Profile};

use super::{ConfigError, load::in_file};

/// Where they are.
#[derive(Debug, Clone)]
pub struct PartnerFiles {
    folder: PathBuf,
    mot_trust: PathBuf,
}

/// What they say at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartnerTexts {
    /// By name, so that every reading has them in the same order.
    profiles: Vec<(PathBuf, String)>,
    mot_trust: (PathBuf, String),
}

impl PartnerFiles {
    /// A folder of profiles (`*.toml`), and the file with the MOT roots.
    pub const fn new(folder: PathBuf, mot_trust: PathBuf) -> Self {
        Self { folder, mot_trust }
    }

    /// Where the profiles are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads them. An error names the key of `[partners]` that led to what cannot be read.
    pub fn read(&self) -> Result<PartnerTexts, (&'static str, String)> {
        let unreadable =
            |path: &Path, error: io::Error| format!("{}: cannot be read: {error}", path.display());
        let mot_trust = fs::read_to_string(&self.mot_trust)
            .map_err(|error| ("mot_trust", unreadable(&self.mot_trust, error)))?;
        let paths =
            profile_files(&self.folder).map_err(|error| ("profiles", format!("cannot be read: {error}")))?;
        if paths.is_empty() {
            return Err(("profiles", "the folder holds no partner profile (*.toml)".into()));
        }
        let read = |path: PathBuf| match fs::read_to_string(&path) {
            Ok(text) => Ok((path, text)),
            Err(error) => Err(("profiles", unreadable(&path, error))),
        };
        let profiles = paths.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(PartnerTexts { profiles, mot_trust: (self.mot_trust.clone(), mot_trust) })
    }
}

/// The profiles of a folder (`*.toml`), by name.
pub fn profile_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let paths = entries.into_iter().map(|entry| entry.path());
    let is_profile = |path: &PathBuf| path.extension().is_some_and(|end| end == "toml") && !is_hidden(path);
    let mut paths: Vec<_> = paths.filter(is_profile).collect();
    paths.sort();
    Ok(paths)
}

/// What editors leave beside a file that is open.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

impl PartnerTexts {
    /// The profiles' files, in the order of the partners.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.profiles.iter().map(|(file, _)| file.as_path())
    }

    /// The files that profiles name, of those that can be read.
    pub fn named(&self) -> Vec<PathBuf> {
        let resolvers = self.profiles.iter().filter_map(|(file, text)| {
            let resolver = Profile::from_toml(text).ok()?.resolver?;
            Some(resolver.files().map(|path| path.map(|path| file.with_file_name(path))))
        });
        resolvers.flatten().flatten().collect()
    }

    /// The partners, if every file can be used and no two conflict.
    pub fn partners(&self) -> Result<Partners, ConfigError> {
        let (file, text) = &self.mot_trust;
        let mot = MotTrust::from_toml(text).map_err(|error| in_file(file, text, &error))?;
        let read = |(file, text): &(PathBuf, String)| {
            Profile::from_toml(text).map_err(|error| in_file(file, text, &error))
        };
        let profiles = self.profiles.iter().map(read).collect::<Result<_, _>>()?;
        let folder = self.profiles.first().and_then(|(file, _)| file.parent()).unwrap_or(Path::new(""));
        Partners::new(profiles, mot).map_err(|error| in_file(folder, "", &error))
    }
}
