//! The file of secrets, and which of them are known.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rand::Rng;
use ridegate_adapters::{Medium, PartnerId};
use secrecy::{ExposeSecret, SecretBox};
use thiserror::Error;

use super::{KEY_LEN, Key, KeyId, Use};
use crate::domain::pseudonym::Pseudonym;

/// Every secret the gateway knows, oldest first: one, or while they are changed two.
///
/// The registry says under which of them it is written now, so that all replicas change at one moment. Names that live
/// no longer than a day or two are made under the oldest, so that none is lost while they change.
#[derive(Debug)]
pub struct Keyring {
    path: Option<PathBuf>,
    first: Arc<Key>,
    ring: ArcSwap<Vec<Arc<Key>>>,
}

/// A key file that cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "key file {path}: expected a line for every key: its number, a space, 64 hexadecimal digits (32 bytes); \
         numbers go up, and a single key may go without"
    )]
    Form {
        /// The file.
        path: PathBuf,
    },
}

impl Keyring {
    /// Reads the secrets from a file: a line for each, `<number> <64 hexadecimal digits>`, oldest first. A single one
    /// may go without its number: it is the first.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let ring = read(path)?;
        let first = ring.first().map(Arc::clone).ok_or_else(|| form(path))?;
        Ok(Self { path: Some(path.to_owned()), first, ring: ArcSwap::from_pointee(ring) })
    }

    /// Writes a new secret to a file that must not exist, readable by its owner only, and loads it.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        write(path, &format!("1 {}\n", new_secret()))?;
        Self::load(path)
    }

    /// Adds a new secret to a file of them; tells its number. The file is there before and after, whole.
    pub fn add(path: &Path) -> Result<KeyId, KeyError> {
        let newest = read(path)?.last().map(|key| key.id()).ok_or_else(|| form(path))?;
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        let text: SecretBox<str> = SecretBox::new(fs::read_to_string(path).map_err(failed)?.into_boxed_str());
        let mut lines: Vec<_> =
            text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let numbered = lines.first().map(|only| format!("1 {only}"));
        if let (Some(first), Some(numbered)) = (lines.first_mut(), &numbered)
            && !first.contains(' ')
        {
            *first = numbered;
        }
        let next = path.with_extension("new");
        write(&next, &format!("{}\n{} {}\n", lines.join("\n"), newest + 1, new_secret()))?;
        fs::rename(&next, path).map_err(failed)?;
        Ok(newest + 1)
    }

    /// One secret that is in no file.
    pub fn new(secret: &[u8; KEY_LEN]) -> Self {
        let first = Arc::new(Key::new(1, secret));
        Self { path: None, first: Arc::clone(&first), ring: ArcSwap::from_pointee(vec![first]) }
    }

    /// Looks at the file again. Keys that were known and are there no longer are known no longer, but for names that
    /// are made under the oldest.
    pub fn reload(&self) -> Result<(), KeyError> {
        if let Some(path) = &self.path {
            self.ring.store(Arc::new(read(path)?));
        }
        Ok(())
    }

    /// A name that lives no longer than this process, or a day or two.
    pub fn pseudonym(&self, purpose: Use, parts: &[&[u8]]) -> Pseudonym {
        self.first.pseudonym(purpose, parts)
    }

    /// Every key, oldest first.
    pub fn all(&self) -> Arc<Vec<Arc<Key>>> {
        self.ring.load_full()
    }

    /// One key.
    pub(crate) fn get(&self, id: KeyId) -> Option<Arc<Key>> {
        self.ring.load().iter().find(|key| key.id() == id).map(Arc::clone)
    }

    /// What a link may be called: a name under every key, newest first.
    pub fn link_names<'p>(
        &self,
        partner: impl Into<Option<&'p PartnerId>>,
        medium: &'p Medium,
    ) -> Vec<Pseudonym> {
        let partner = partner.into();
        self.ring.load().iter().rev().map(|key| key.link_key(partner, medium)).collect()
    }
}

fn form(path: &Path) -> KeyError {
    KeyError::Form { path: path.to_owned() }
}

fn new_secret() -> String {
    let mut secret = [0; KEY_LEN];
    rand::rng().fill_bytes(&mut secret);
    hex::encode(secret)
}

fn write(path: &Path, text: &str) -> Result<(), KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

fn read(path: &Path) -> Result<Vec<Arc<Key>>, KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    let text: SecretBox<str> = SecretBox::new(fs::read_to_string(path).map_err(failed)?.into_boxed_str());
    let lines: Vec<_> = text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut keys: Vec<Arc<Key>> = Vec::with_capacity(lines.len());
    for line in &lines {
        let (id, digits) = match line.split_once(' ') {
            None if lines.len() == 1 => (1, *line),
            None => return Err(form(path)),
            Some((id, digits)) => (id.parse().map_err(|_| form(path))?, digits.trim()),
        };
        let mut secret = SecretBox::new(Box::new([0; KEY_LEN]));
        hex::decode_to_slice(digits, secrecy::ExposeSecretMut::expose_secret_mut(&mut secret))
            .map_err(|_| form(path))?;
        if id < 1 || keys.last().is_some_and(|last| last.id() >= id) {
            return Err(form(path));
        }
        keys.push(Arc::new(Key::new(id, secret.expose_secret())));
    }
    if keys.is_empty() { Err(form(path)) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ridegate.key");
        let created = Keyring::create(&path).unwrap();
        assert_eq!(created.first.check_value(), Keyring::load(&path).unwrap().first.check_value());
        assert!(Keyring::create(&path).is_err());
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777,
            0o600
        );
    }

    #[test]
    fn a_key_file_that_holds_something_else_is_refused_without_repeating_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ridegate.key");
        fs::write(&path, "hunter2").unwrap();
        let error = Keyring::load(&path).unwrap_err().to_string();
        assert!(error.contains("64 hexadecimal digits") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_key_is_added_behind_the_others_and_the_old_ones_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ridegate.key");
        let bare = "ab".repeat(32);
        fs::write(&path, &bare).unwrap();
        let before = Keyring::load(&path).unwrap();
        assert_eq!(Keyring::add(&path).unwrap(), 2);
        assert_eq!(Keyring::add(&path).unwrap(), 3);
        let after = Keyring::load(&path).unwrap();
        assert_eq!(after.all().iter().map(|key| key.id()).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(after.first.check_value(), before.first.check_value());
        assert!(before.get(3).is_none());
        before.reload().unwrap();
        assert!(before.get(3).is_some());
        assert_ne!(after.get(2).unwrap().check_value(), after.get(3).unwrap().check_value());
        #[cfg(unix)]
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777,
            0o600
        );
    }

    #[test]
    fn numbers_go_up_and_only_a_single_key_may_go_without() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ridegate.key");
        let key = "ab".repeat(32);
        for text in [
            String::new(),
            format!("{key}\n{key}\n"),
            format!("2 {key}\n1 {key}\n"),
            format!("1 {key}\n1 {key}\n"),
            format!("0 {key}\n"),
            format!("one {key}\n"),
            format!("1 {key}ab\n"),
        ] {
            fs::write(&path, &text).unwrap();
            assert!(matches!(Keyring::load(&path), Err(KeyError::Form { .. })), "{text}");
        }
    }
}
