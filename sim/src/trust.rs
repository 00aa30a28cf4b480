//! The city's own root and issuers, written down as a gateway loads them.

use std::{collections::HashMap, fs, path::Path};

use anyhow::{Context, Result};
use rand_chacha::ChaCha20Rng;
use ridegate_adapters::{MotIssuing, Profile};

use crate::issuing::{Issuer, Key, Root};

/// The partners that ship, certified by a root of the city's own: their own test keys are not ours to sign with.
pub struct Trust {
    profiles: Vec<Profile>,
    root: Root,
    issuers: HashMap<String, Issuer>,
}

impl Trust {
    /// Certifies every issuer of the shipped profiles.
    pub fn new(rng: &mut ChaCha20Rng) -> Result<Self> {
        let root = Root::new(Key::generate(rng)?, 7);
        let profiles = Profile::shipped()?;
        let mut issuers = HashMap::new();
        for issuing in profiles.iter().flat_map(|profile| &profile.mot) {
            let number = issuing.issuer.to_string();
            let issuer = root.certify(Key::generate(rng)?, &number, [0, 0, 1])?;
            issuers.entry(number).or_insert(issuer);
        }
        Ok(Self { profiles, root, issuers })
    }

    /// Each partner's name and the first (platform, issuer) it shows codes under.
    pub fn partners(&self) -> impl Iterator<Item = (&str, &MotIssuing)> {
        self.profiles.iter().filter_map(|profile| Some((profile.id.as_str(), profile.mot.first()?)))
    }

    /// The issuer of this number.
    pub fn issuer(&self, number: &str) -> Result<&Issuer> {
        self.issuers.get(number).context("an issuer the city does not have")
    }

    /// Writes `mot-trust.toml` and a profile a partner into `profiles/`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let trust = format!("test = true\n[[root]]\nrecord = \"{}\"\n", self.root.record()?);
        fs::write(folder.join("mot-trust.toml"), trust)?;
        let profiles = folder.join("profiles");
        fs::create_dir(&profiles)?;
        for (id, issuing) in self.partners() {
            let profile = format!(
                "id = \"{id}\"\nname = {{ zh = \"{id}\", en = \"{id}\" }}\ncity = \"demo\"\nkind = \"metro\"\ntest = true\n\
                 [[mot]]\nplatform = \"{}\"\nissuer = \"{}\"\naccount_types = [1]\n",
                issuing.platform, issuing.issuer,
            );
            fs::write(profiles.join(format!("{id}.toml")), profile)?;
        }
        Ok(())
    }
}
