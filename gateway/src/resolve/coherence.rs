//! Follows the registry's change log, so that what ended at another replica, or by an operator's hand, is in force here
//! within a second.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    backends::{
        redis::shared::Shared,
        registry::{Changed, Head, OpenError, Registry, RegistryError, ask},
    },
    health::Health,
    metrics::UpstreamMetrics,
    resolve::{desk::Desk, links::Links},
};

/// Longest wait for the log.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who follows, and who is told.
#[derive(Debug)]
pub struct Coherence {
    /// Whose log.
    pub registry: Arc<Registry>,
    /// Remembers links.
    pub links: Arc<Links>,
    /// Remembers facts: what nobody is linked to any more is not kept.
    pub desk: Arc<Desk>,
    /// What the fleet shares.
    pub fleet: Option<Arc<Shared>>,
    /// How often the log is looked at.
    pub every: Duration,
    /// Times it.
    pub asked: UpstreamMetrics,
    /// Told whether the registry answers.
    pub health: Health,
}

impl Coherence {
    /// Hears of what there is, so that what is remembered from the start is true. Where the registry does not answer now,
    /// it is followed from when it does.
    pub async fn begin(&self) -> Option<i64> {
        let (began, mut seen) = (Instant::now(), None);
        if self.step_in_time(&mut seen).await.is_ok() {
            self.links.vouch(began);
        }
        seen
    }

    /// Follows for ever, from where it [began](Self::begin).
    pub async fn follow(self, mut seen: Option<i64>) {
        let mut answers = true;
        loop {
            let began = Instant::now();
            match self.step_in_time(&mut seen).await {
                Ok(()) => self.links.vouch(began),
                Err(error) if answers => {
                    tracing::warn!(cause = %error, "the registry's changes cannot be followed");
                }
                Err(_) => {}
            }
            let now_answers = self.links.is_vouched_since(began);
            if now_answers && !answers {
                tracing::info!("the registry's changes are followed again");
            }
            answers = now_answers;
            self.health.registry(answers);
            sleep(self.every).await;
        }
    }

    async fn step_in_time(&self, seen: &mut Option<i64>) -> Result<(), RegistryError> {
        ask(&self.asked, "changes", PATIENCE, self.step(seen)).await
    }

    /// Hears of every change up to now.
    async fn step(&self, seen: &mut Option<i64>) -> Result<(), RegistryError> {
        self.check().await?;
        let Head { seq: head, key } = self.registry.head().await?;
        while *seen != Some(head) {
            *seen = Some(match *seen {
                // A log that was longer before is another's: a backup was restored.
                Some(before) if before < head => self.hear(before, head).await?,
                // From as far back as the log goes, so that what others have left in Redis counts from the start.
                None => self.start(self.registry.tail().await?),
                Some(_) => self.another_log(head),
            });
        }
        // What ended was heard of, whatever is missing here.
        self.registry.learn_key(key).await
    }

    /// A registry that was not there at the start is found to be ours, or is not used.
    async fn check(&self) -> Result<(), RegistryError> {
        self.registry.check().await.map_err(|error| match error {
            OpenError::Database(error) => error.into(),
            error => RegistryError::NotUsable(Arc::new(error)),
        })
    }

    async fn hear(&self, before: i64, head: i64) -> Result<i64, RegistryError> {
        match self.registry.changes(before).await? {
            Changed::Everything => Ok(self.forget_all(head)),
            Changed::Links { names, upto } => {
                for subject in names.iter().filter_map(|name| self.links.forget(name, Some(upto))) {
                    self.desk.forget(&subject);
                }
                self.links.hear(upto);
                // There may be more than when the head was asked for.
                Ok(upto.min(head))
            }
        }
    }

    fn forget_all(&self, head: i64) -> i64 {
        let from = self.start(head);
        self.links.forget_all();
        self.desk.forget_all();
        from
    }

    /// What others left in Redis was true of a registry that is no more.
    fn another_log(&self, head: i64) -> i64 {
        if let Some(fleet) = self.fleet.clone() {
            tokio::spawn(async move {
                while fleet.sweep().await.is_err() {
                    sleep(PATIENCE).await;
                }
            });
        }
        self.forget_all(head)
    }

    fn start(&self, from: i64) -> i64 {
        self.links.begin(from);
        from
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use ridegate_adapters::{Account, Medium, PartnerId};

    use super::*;
    use crate::{
        backends::registry::Location,
        clock::Clock,
        domain::{
            facts::Subject,
            link::{Consent, LinkOrder, LinkOutcome},
            pseudonym::Pseudonym,
        },
        keyring::Keyring,
        metrics::Metrics,
        resolve::facts::Freshness,
    };

    fn order(partner: PartnerId, medium: Medium) -> LinkOrder {
        let consent = Consent {
            wording_version: "1".into(),
            granted_at: jiff::Timestamp::UNIX_EPOCH,
            purpose: "gates".into(),
        };
        let (idempotency, fingerprint) = (Pseudonym([1; 32]), Pseudonym([2; 32]));
        LinkOrder { partner, media: vec![medium], consent, channel: 1, agent: None, idempotency, fingerprint }
    }

    /// Also the other way round: who does not follow goes on believing in a link that ended elsewhere.
    #[tokio::test]
    async fn a_link_that_ended_elsewhere_is_believed_until_the_log_was_followed() {
        let folder = tempfile::tempdir().unwrap();
        let keys = Arc::new(Keyring::new(&[7; 32]));
        let file = Location::File(folder.path().join("ridegate.db"));
        let here = Arc::new(Registry::open(&file, Arc::clone(&keys)).await.unwrap());
        let elsewhere = Registry::open(&file, Arc::clone(&keys)).await.unwrap();
        let metrics = Metrics::default();
        let links = Arc::new(Links::start(
            Arc::clone(&here),
            10,
            [Duration::from_secs(5), Duration::from_mins(5)],
            &metrics,
        ));
        let long = SignedDuration::from_hours(1);
        let freshness = Freshness { unwatched: long, no_record: long, stale: long };
        let coherence = Coherence {
            registry: here,
            links: Arc::clone(&links),
            desk: Arc::new(Desk::new(Clock::system(), freshness, 10)),
            fleet: None,
            every: Duration::from_millis(100),
            asked: metrics.upstream("registry"),
            health: Health::new(false),
        };
        let partner = PartnerId::new("yikatong").unwrap();
        let medium = Medium::MotCode { issuer: "99990001".parse().unwrap(), account: Account::new("1") };
        let (names, rider) = (keys.link_names(&partner, &medium), Subject::new("rider"));
        let now = Clock::system().now();
        let linked = elsewhere.link(&order(partner, medium), &rider, now).await.unwrap();
        assert_eq!(linked, LinkOutcome::Linked);

        let mut seen = None;
        // A machine that stands still for a second makes it stale, and no less known.
        let recall = || links.recall(&names).map(|linked| linked.subject);
        let known = Some(rider);
        coherence.step(&mut seen).await.unwrap();
        links.vouch(Instant::now());
        assert!(links.find(&names, Duration::from_secs(5)).await.unwrap().is_some());
        assert_eq!(recall(), known);
        assert_eq!(elsewhere.unlink(&names, None, now).await.unwrap().len(), 1);
        assert_eq!(recall(), known, "remembered");
        coherence.step(&mut seen).await.unwrap();
        links.vouch(Instant::now());
        assert_eq!(recall(), None);
        assert_eq!(links.find(&names, Duration::from_secs(5)).await.unwrap(), None);
    }
}
