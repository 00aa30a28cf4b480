//! Following the authority's changes.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use crate::{
    backends::authority::{Authority, Change, WatchError},
    health::Health,
    resolve::desk::Desk,
};

/// The authority says at least once a second that every change was sent; after this long without that it is not there.
const SILENCE: Duration = Duration::from_secs(3);
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Follows changes for as long as the process runs: from the last cursor where that is possible, else from now.
pub async fn follow(authority: Authority, desk: Arc<Desk>, health: Health) {
    let mut follower =
        Follower { authority, desk, health, cursor: String::new(), retry: RETRY_MIN, told: None };
    loop {
        match follower.follow_once().await {
            WatchError::CursorLost => follower.lose_track("the authority lost our place among its changes"),
            WatchError::Down(cause) => follower.pause(&cause),
        }
        sleep(follower.retry).await;
        follower.retry = RETRY_MAX.min(follower.retry * 2);
    }
}

struct Follower {
    authority: Authority,
    desk: Arc<Desk>,
    health: Health,
    /// Where to go on from; empty: from now.
    cursor: String,
    retry: Duration,
    /// Whether the log says last that changes are followed, or that they are not.
    told: Option<bool>,
}

impl Follower {
    async fn follow_once(&mut self) -> WatchError {
        let mut changes = match timeout(SILENCE, self.authority.watch(self.cursor.clone())).await {
            Ok(Ok(changes)) => changes,
            Ok(Err(error)) => return error,
            Err(_) => return silent(),
        };
        let mut from_now = self.cursor.is_empty();
        let mut vouched = Instant::now();
        // Changes alone, however many, are no sign that all were sent.
        while vouched.elapsed() < SILENCE {
            let next = match timeout_at(vouched + SILENCE, changes.next()).await {
                Ok(Ok(next)) => next,
                Ok(Err(error)) => return error,
                Err(_) => return silent(),
            };
            self.cursor = next.cursor;
            if std::mem::take(&mut from_now) {
                // Whatever was remembered until now may have changed before.
                self.desk.begin();
            }
            match next.change {
                Change::Facts(subject, facts) => self.desk.change(&subject, facts),
                // Somebody's facts changed to something we cannot read: nobody's are trusted until asked for again.
                Change::Unreadable => {
                    warn!("a change that breaks the authority's contract; nothing remembered is trusted");
                    self.desk.lose_track();
                }
                Change::None => {
                    self.vouch();
                    vouched = Instant::now();
                }
            }
        }
        silent()
    }

    fn vouch(&mut self) {
        self.desk.vouch();
        self.health.authority(true);
        self.authority.sign_of_life();
        self.retry = RETRY_MIN;
        if self.told.replace(true) != Some(true) {
            info!("following the authority's changes");
        }
    }

    fn pause(&mut self, cause: &str) {
        self.desk.pause();
        self.health.authority(false);
        if self.told.replace(false) != Some(false) {
            warn!(
                cause,
                "the authority's changes cannot be followed; facts are believed for facts.unwatched_max"
            );
        }
    }

    fn lose_track(&mut self, why: &'static str) {
        self.health.authority(false);
        warn!(why, "nothing remembered is trusted");
        self.cursor.clear();
        self.desk.lose_track();
    }
}

fn silent() -> WatchError {
    WatchError::Down("no sign of life in time".into())
}
