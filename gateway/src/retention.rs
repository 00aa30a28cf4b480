//! Keeps nothing longer than it is needed (D32).

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use tokio::time::sleep;

use crate::{
    backends::registry::{Forgotten, Kept, Registry},
    clock::Clock,
    resolve::desk::Desk,
};

/// The job.
#[derive(Debug)]
pub struct Retention {
    /// Where it is kept.
    pub registry: Arc<Registry>,
    /// Where facts are.
    pub desk: Arc<Desk>,
    /// What is taken for now.
    pub clock: Clock,
    /// For how long.
    pub kept: Kept,
    /// How long facts are.
    pub facts: SignedDuration,
    /// How often it is done. Of several replicas each does it: what is gone is gone.
    pub every: Duration,
}

impl Retention {
    /// Does it for ever.
    pub async fn keep(self) {
        loop {
            let now = self.clock.now();
            let facts = self.desk.forget_before(now.saturating_sub(self.facts).unwrap_or(now));
            if facts > 0 {
                tracing::info!(forgotten = facts, what = "facts", "kept long enough");
            }
            for Forgotten { what, many } in self.registry.forget_old(&self.kept, now).await {
                match many {
                    Ok(0) => {}
                    Ok(many) => tracing::info!(forgotten = many, what, "kept long enough"),
                    Err(error) => tracing::warn!(cause = %error, what, "what is old could not be forgotten"),
                }
            }
            sleep(self.every).await;
        }
    }
}
