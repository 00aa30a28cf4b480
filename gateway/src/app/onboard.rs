//! From files to partners: at the start, and whenever the files change.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ridegate_adapters::{PartnerId, Partners, Profile};
use sha2::{Digest, Sha256};
use tokio::time::sleep;

use super::upstream::Stated;
use crate::{
    backends::code_resolver::ResolverSettings,
    config::{ConfigError, ConfigFile, Endpoint, PartnerFiles, PartnerTexts},
    door::tls::Ends,
    metrics::Metrics,
    roster::{InForce, Roster},
};

pub(super) const TEST_KEYS: &str = "holds test keys (test = true): for --insecure-dev only";

/// Partners, and how those are asked whose codes only they can read.
#[derive(Debug, Default)]
pub(super) struct Onboarded {
    pub(super) partners: Partners,
    pub(super) resolvers: HashMap<PartnerId, ResolverSettings>,
    /// When the certificates for that end.
    pub(super) ends: Ends,
}

/// Looks at the files again and again.
#[derive(Debug, Clone)]
pub(super) struct Follower {
    files: PartnerFiles,
    insecure_dev: bool,
    /// What was seen last; `None` if it could not be read.
    seen: Option<Seen>,
}

/// The files at one moment. What is loaded is read after this was taken, so that a change in between is seen as one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    texts: PartnerTexts,
    /// Files that profiles name, and what they say.
    named: Vec<(PathBuf, Option<Vec<u8>>)>,
}

impl Seen {
    /// What profiles name is looked for again only where they say something else than `before`.
    fn at_this_moment(texts: PartnerTexts, before: Option<&Self>) -> Self {
        let same = before.filter(|before| before.texts == texts);
        let paths = same.map_or_else(
            || texts.named(),
            |before| before.named.iter().map(|(path, _)| path.clone()).collect(),
        );
        let read = |path: PathBuf| {
            let content = fs::read(&path).ok();
            (path, content)
        };
        Self { texts, named: paths.into_iter().map(read).collect() }
    }
}

impl Onboarded {
    /// The partners that a configuration names, and who follows their files; of those that ship there are none.
    pub(super) fn by(file: &ConfigFile, insecure_dev: bool) -> Result<(Self, Option<Follower>), ConfigError> {
        let Some(files) = file.partner_files()? else {
            let shipped = Partners::shipped()
                .map_err(|error| ConfigError::about(Path::new("shipped profiles"), "", error.to_string()))?;
            let nowhere = shipped.iter().map(|_| Path::new("")).collect::<Vec<_>>();
            return Ok((Self::new(shipped, nowhere, insecure_dev)?, None));
        };
        let texts = files.read().map_err(|(key, why)| file.refuse("partners", key, &why))?;
        let seen = Seen::at_this_moment(texts, None);
        let onboarded = Self::from_texts(&seen.texts, insecure_dev)?;
        Ok((onboarded, Some(Follower { files, insecure_dev, seen: Some(seen) })))
    }

    fn from_texts(texts: &PartnerTexts, insecure_dev: bool) -> Result<Self, ConfigError> {
        Self::new(texts.partners()?, texts.files(), insecure_dev)
    }

    /// Partners, each from one of these files.
    fn new<'f>(
        partners: Partners,
        files: impl IntoIterator<Item = &'f Path>,
        insecure_dev: bool,
    ) -> Result<Self, ConfigError> {
        let (mut resolvers, mut ends) = (HashMap::new(), Ends::new());
        for (profile, file) in partners.iter().zip(files) {
            let Some(asked) = Asked::of(profile, file, insecure_dev)? else { continue };
            resolvers.insert(profile.id.clone(), asked.settings);
            ends.extend(asked.ends);
        }
        Ok(Self { partners, resolvers, ends })
    }
}

/// How a partner is asked whose codes only it can read; `None` if it has none. The profile is from this file.
pub fn resolver(
    profile: &Profile,
    file: &Path,
    insecure_dev: bool,
) -> Result<Option<ResolverSettings>, ConfigError> {
    Ok(Asked::of(profile, file, insecure_dev)?.map(|asked| asked.settings))
}

/// Somebody who is asked, and when the certificates for that end.
struct Asked {
    settings: ResolverSettings,
    ends: Ends,
}

impl Asked {
    fn of(profile: &Profile, file: &Path, insecure_dev: bool) -> Result<Option<Self>, ConfigError> {
        let Some(resolver) = &profile.resolver else { return Ok(None) };
        let refuse = |(key, why): (&str, String)| ConfigError::about(file, &format!("resolver.{key}"), why);
        let endpoint: Endpoint =
            resolver.endpoint.parse().map_err(|why: &str| refuse(("endpoint", why.into())))?;
        let [ca, certificate, key] = resolver.files().map(|path| path.map(|path| file.with_file_name(path)));
        let stated = Stated {
            endpoint: &endpoint,
            ca: ca.as_deref(),
            certificate: certificate.as_deref(),
            key: key.as_deref(),
        };
        let upstream = stated.upstream(insecure_dev).map_err(refuse)?;
        let end =
            |(what, end): (&str, Option<_>)| Some((format!("resolver_{what}/{}", profile.id).into(), end?));
        let ends = [("ca", upstream.ca_end), ("client", upstream.client_end)].into_iter().filter_map(end);
        let fingerprint = Sha256::new_with_prefix(upstream.fingerprint)
            .chain_update(profile.id.as_str())
            .chain_update(resolver.timeout.as_millis().to_be_bytes())
            .chain_update(resolver.concurrent_calls.get().to_be_bytes());
        let whom = Sha256::new_with_prefix(upstream.whom).chain_update(profile.id.as_str());
        let settings = ResolverSettings {
            endpoint: upstream.endpoint,
            timeout: resolver.timeout.unsigned_abs(),
            calls: resolver.concurrent_calls.get().into(),
            fingerprint: fingerprint.finalize().into(),
            whom: whom.finalize().into(),
        };
        Ok(Some(Self { settings, ends: ends.collect() }))
    }
}

impl Follower {
    /// Takes every change that can be used. If one cannot, what was good last stays.
    pub(super) async fn follow(mut self, every: Duration, roster: InForce, metrics: Arc<Metrics>) {
        loop {
            sleep(every).await;
            let looked = tokio::task::spawn_blocking(move || {
                let outcome = self.look();
                (self, outcome)
            });
            let Ok((follower, outcome)) = looked.await else {
                tracing::error!("partners are no longer followed: looking at their files broke off");
                return;
            };
            self = follower;
            match outcome {
                None => {}
                Some(Ok(onboarded)) => {
                    let partners = onboarded.partners.iter().count();
                    metrics.partners(onboarded.partners.iter().map(|profile| &profile.id));
                    take(&roster, onboarded, &metrics);
                    metrics.roster().reloaded(true);
                    tracing::info!(partners, "partners were reloaded");
                }
                Some(Err(error)) => {
                    metrics.roster().reloaded(false);
                    tracing::error!(cause = %error, "partners cannot be used as their files are now; the last good ones stay");
                }
            }
        }
    }

    /// What came of the files as they are now, if they have changed.
    fn look(&mut self) -> Option<Result<Onboarded, ConfigError>> {
        let texts = match self.files.read() {
            Ok(texts) => texts,
            // Perhaps just being replaced. Said once.
            Err((_, why)) => {
                let error = ConfigError::about(self.files.folder(), "", why);
                return self.seen.take().map(|_| Err(error));
            }
        };
        let seen = Seen::at_this_moment(texts, self.seen.as_ref());
        if self.seen.as_ref() == Some(&seen) {
            return None;
        }
        let outcome = self.load(&seen.texts);
        self.seen = Some(seen);
        Some(outcome)
    }

    fn load(&self, texts: &PartnerTexts) -> Result<Onboarded, ConfigError> {
        let onboarded = Onboarded::from_texts(texts, self.insecure_dev)?;
        if !self.insecure_dev && onboarded.partners.has_test_keys() {
            return Err(ConfigError::about(self.files.folder(), "", TEST_KEYS));
        }
        Ok(onboarded)
    }
}

fn take(roster: &InForce, onboarded: Onboarded, metrics: &Metrics) {
    let before = roster.load_full();
    let next: Roster = before.renewed(onboarded.partners, onboarded.resolvers);
    // Of who is gone, or is asked no more, nothing is shown: an alert on it would never end.
    let asked =
        |roster: &Roster, id: &PartnerId| roster.partners.get(id).is_some_and(|one| one.resolver.is_some());
    for profile in before.partners.iter().filter(|profile| !asked(&next, &profile.id)) {
        metrics.resolver_gone(&profile.id);
    }
    metrics.tls().ends_of_resolvers(&onboarded.ends);
    roster.store(Arc::new(next));
}
