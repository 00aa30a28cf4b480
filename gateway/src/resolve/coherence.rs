//! Follows the registry's change log, so that what ended at another replica, or by an operator's hand, is in force here
//! within a second.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};

use crate::{
    backends::registry::{Changed, Head, OpenError, Registry, RegistryError},
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
    /// How often the log is looked at.
    pub every: Duration,
    /// Times it.
    pub asked: UpstreamMetrics,
    /// Told whether the registry answers.
    pub health: Health,
}

impl Coherence {
    /// Follows for ever.
    pub async fn follow(self) {
        let mut seen = None;
        let mut answers = true;
        loop {
            let began = Instant::now();
            let step = timeout(PATIENCE, self.step(&mut seen)).await.unwrap_or(Err(RegistryError::TimedOut));
            self.asked.asked("changes", step.as_ref().err().map_or("ok", RegistryError::name), began);
            match step {
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

    /// Hears of every change up to now.
    async fn step(&self, seen: &mut Option<i64>) -> Result<(), RegistryError> {
        self.check().await?;
        let Head { seq: head, key } = self.registry.head().await?;
        self.registry.knows_key(key)?;
        while *seen != Some(head) {
            *seen = Some(match *seen {
                // A log that was longer before is another's: a backup was restored.
                Some(before) if before < head => self.hear(before, head).await?,
                Some(_) | None => self.forget_all(head),
            });
        }
        Ok(())
    }

    /// A registry that was not there at the start is found to be ours, or is not used.
    async fn check(&self) -> Result<(), RegistryError> {
        self.registry.check().await.map_err(|error| match error {
            OpenError::Database(error) => RegistryError::Unavailable(error),
            error => RegistryError::NotUsable(error),
        })
    }

    async fn hear(&self, before: i64, head: i64) -> Result<i64, RegistryError> {
        match self.registry.changes(before).await? {
            Changed::Everything => Ok(self.forget_all(head)),
            Changed::Links { names, upto } => {
                for subject in names.iter().filter_map(|name| self.links.forget(name)) {
                    self.desk.forget(&subject);
                }
                // There may be more than when the head was asked for.
                Ok(upto.min(head))
            }
        }
    }

    fn forget_all(&self, head: i64) -> i64 {
        self.links.forget_all();
        self.desk.forget_all();
        head
    }
}
