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

use super::{KEY_LEN, Key, KeyId, Unsealable, Use};
use crate::domain::pseudonym::Pseudonym;

/// Every secret the gateway knows: one that never changes, and oldest first those that links are under: one, or while they
/// are changed two.
///
/// The registry says under which of them it is written now, so that all replicas change at one moment. Names that live
/// for days only (idempotency keys, batches, tickets) and those of this process are made under the steady one, so that no
/// change of keys comes between a request and its repeat.
#[derive(Debug)]
pub struct Keyring {
    path: Option<PathBuf>,
    steady: Arc<Key>,
    ring: ArcSwap<Vec<Arc<Key>>>,
}

/// The steady key's number.
pub(crate) const STEADY: KeyId = 0;

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
         numbers go up, 0 is the steady key, and a single key may go without a number"
    )]
    Form {
        /// The file.
        path: PathBuf,
    },
}

impl Keyring {
    /// Reads the secrets from a file: a line for each, `<number> <64 hexadecimal digits>`, oldest first. Number 0 is the
    /// steady key; where there is none, the oldest is. A single one may go without its number: it is the first.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let mut ring = read(path)?;
        let steady = ring.first().map(Arc::clone).ok_or_else(|| form(path))?;
        ring.retain(|key| key.id() != STEADY);
        if ring.is_empty() {
            return Err(form(path));
        }
        Ok(Self { path: Some(path.to_owned()), steady, ring: ArcSwap::from_pointee(ring) })
    }

    /// Writes new secrets to a file that must not exist, readable by its owner only, and loads them.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        let mut options = fs::OpenOptions::new();
        write(path, options.create_new(true), &format!("{STEADY} {}\n1 {}\n", new_secret(), new_secret()))?;
        Self::load(path)
    }

    /// Adds a new secret to a file of them; tells its number. The file is there before and after, whole, and its owner's.
    pub fn add(path: &Path) -> Result<KeyId, KeyError> {
        let newest = read(path)?.last().map(|key| key.id()).ok_or_else(|| form(path))?;
        let failed = |source| KeyError::Io { path: path.to_owned(), source };
        let text: SecretBox<str> = SecretBox::new(fs::read_to_string(path).map_err(failed)?.into_boxed_str());
        let mut lines: Vec<String> = text
            .expose_secret()
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        if let Some(first) = lines.first_mut().filter(|first| !first.contains(' ')) {
            first.insert_str(0, "1 ");
        }
        // What was named under the oldest key until now is named so for ever.
        if let Some((id, secret)) = lines.first().and_then(|first| first.split_once(' '))
            && id.parse() != Ok(STEADY)
        {
            let steady = format!("{STEADY} {}", secret.trim());
            lines.insert(0, steady);
        }
        lines.push(format!("{} {}", newest + 1, new_secret()));
        let next = path.with_extension("new");
        // One that was begun and not finished is begun anew.
        write(&next, fs::OpenOptions::new().create(true).truncate(true), &format!("{}\n", lines.join("\n")))?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, chown};
            let owner = fs::metadata(path).map_err(failed)?;
            chown(&next, Some(owner.uid()), Some(owner.gid())).map_err(failed)?;
        }
        fs::rename(&next, path).and_then(|()| sync_folder(path)).map_err(failed)?;
        Ok(newest + 1)
    }

    /// One secret that is in no file.
    pub fn new(secret: &[u8; KEY_LEN]) -> Self {
        let first = Arc::new(Key::new(1, secret));
        Self { path: None, steady: Arc::clone(&first), ring: ArcSwap::from_pointee(vec![first]) }
    }

    /// The key of this number, if it has come to the file since that was read. It is not known before it is
    /// [admitted](Self::admit).
    pub(crate) fn look_again(&self, id: KeyId) -> Result<Option<Arc<Key>>, KeyError> {
        let Some(path) = &self.path else { return Ok(None) };
        Ok(read(path)?.into_iter().find(|key| key.id() == id && id != STEADY))
    }

    /// Knows a key from now on. What is known is never forgotten while this process runs.
    pub(crate) fn admit(&self, key: &Arc<Key>) {
        self.ring.rcu(|ring| {
            let mut ring: Vec<_> =
                ring.iter().filter(|known| known.id() != key.id()).map(Arc::clone).collect();
            ring.push(Arc::clone(key));
            ring.sort_by_key(|key| key.id());
            ring
        });
    }

    /// A name that lives no longer than this process, or some days.
    pub fn pseudonym(&self, purpose: Use, parts: &[&[u8]]) -> Pseudonym {
        self.steady.pseudonym(purpose, parts)
    }

    /// Encrypts under the newest key, whose number comes first. Only [`open`](Self::open) with the same `place` gives it
    /// back.
    pub(crate) fn seal(&self, plain: &[u8], place: &Pseudonym) -> Result<Vec<u8>, Unsealable> {
        let ring = self.ring.load();
        let newest = ring.last().ok_or(Unsealable)?;
        Ok([newest.id().to_be_bytes().as_slice(), &newest.seal(plain, place)?].concat())
    }

    /// Decrypts what any replica has sealed for this place under a key that is known here.
    pub(crate) fn open(&self, sealed: &[u8], place: &Pseudonym) -> Result<Vec<u8>, Unsealable> {
        let (id, sealed) = sealed.split_first_chunk().ok_or(Unsealable)?;
        self.get(KeyId::from_be_bytes(*id)).ok_or(Unsealable)?.open(sealed, place)
    }

    /// Tells whether a store was written with this steady key.
    pub(crate) fn steady_check(&self) -> &Pseudonym {
        self.steady.check_value()
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

fn write(path: &Path, options: &mut fs::OpenOptions, text: &str) -> Result<(), KeyError> {
    let failed = |source| KeyError::Io { path: path.to_owned(), source };
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    let mut file = options.open(path).map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| sync_folder(path)).map_err(failed)
}

/// Makes a file's name as durable as what is in it: without it every link would be unreadable.
fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    if cfg!(unix) { fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all() } else { Ok(()) }
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
        if id < STEADY || keys.last().is_some_and(|last| last.id() >= id) {
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
        assert_eq!(created.steady_check(), Keyring::load(&path).unwrap().steady_check());
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
    fn a_key_is_added_behind_the_others_and_names_of_some_days_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ridegate.key");
        let bare = "ab".repeat(32);
        fs::write(&path, &bare).unwrap();
        fs::write(path.with_extension("new"), "begun and not finished").unwrap();
        let before = Keyring::load(&path).unwrap();
        assert_eq!(Keyring::add(&path).unwrap(), 2);
        assert_eq!(Keyring::add(&path).unwrap(), 3);
        let after = Keyring::load(&path).unwrap();
        let ids = |keys: &Keyring| keys.all().iter().map(|key| key.id()).collect::<Vec<_>>();
        assert_eq!(ids(&after), [1, 2, 3]);
        assert_eq!(after.steady_check(), before.steady_check());
        assert_ne!(after.get(2).unwrap().check_value(), after.get(3).unwrap().check_value());

        // Without the old one, what was named for some days is named the same.
        let text = fs::read_to_string(&path).unwrap();
        let without: Vec<_> = text.lines().filter(|line| !line.starts_with("1 ")).collect();
        fs::write(&path, without.join("\n")).unwrap();
        let later = Keyring::load(&path).unwrap();
        assert_eq!((ids(&later), later.steady_check()), (vec![2, 3], before.steady_check()));

        // A process that runs knows what it knew, and what is admitted.
        let found = before.look_again(3).unwrap().unwrap();
        assert!(before.get(3).is_none());
        before.admit(&found);
        assert_eq!(ids(&before), [1, 3]);
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
            format!("-1 {key}\n"),
            format!("one {key}\n"),
            format!("1 {key}ab\n"),
        ] {
            fs::write(&path, &text).unwrap();
            assert!(matches!(Keyring::load(&path), Err(KeyError::Form { .. })), "{text}");
        }
    }
}
