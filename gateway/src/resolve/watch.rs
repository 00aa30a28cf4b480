//! Following the authority's changes.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use crate::{
    backends::authority::{Authority, Change, WatchError},
    resolve::desk::Desk,
};

/// The authority says at least once a second that every change was sent; after this long without that it is not there.
const SILENCE: Duration = Duration::from_secs(3);
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Follows changes for as long as the process runs: from the last cursor where that is possible, else from now.
pub async fn follow(authority: Authority, desk: Arc<Desk>) {
    let mut cursor = String::new();
    let mut retry = RETRY_MIN;
    loop {
        let ended = follow_once(&authority, &desk, &mut cursor, &mut retry).await;
        desk.pause();
        match ended {
            WatchError::CursorLost => {
                warn!("the authority lost our place among its changes; nothing remembered is trusted");
                cursor.clear();
                desk.lose_track();
            }
            // Said once, until there was a watch again.
            WatchError::Down if retry == RETRY_MIN => {
                warn!(
                    "the authority's changes cannot be followed; facts are believed for facts.unwatched_max"
                );
            }
            WatchError::Down => {}
        }
        sleep(retry).await;
        retry = RETRY_MAX.min(retry * 2);
    }
}

async fn follow_once(
    authority: &Authority,
    desk: &Desk,
    cursor: &mut String,
    retry: &mut Duration,
) -> WatchError {
    let mut changes = match timeout(SILENCE, authority.watch(cursor.clone())).await {
        Ok(Ok(changes)) => changes,
        Ok(Err(error)) => return error,
        Err(_) => return WatchError::Down,
    };
    let mut from_now = cursor.is_empty();
    let mut quiet = true;
    let mut vouched = Instant::now();
    loop {
        // Changes alone are no sign that all were sent.
        let next = match timeout_at(vouched + SILENCE, changes.next()).await {
            Ok(Ok(next)) => next,
            Ok(Err(error)) => return error,
            Err(_) => return WatchError::Down,
        };
        *cursor = next.cursor;
        if std::mem::take(&mut from_now) {
            // Whatever was remembered until now may have changed before.
            desk.lose_track();
        }
        match next.change {
            Change::Facts(subject, facts) => desk.change(&subject, facts),
            // Somebody's facts changed to something we cannot read: nobody's are trusted until asked for again.
            Change::Unreadable => {
                warn!("a change that breaks the authority's contract; nothing remembered is trusted");
                desk.lose_track();
            }
            Change::None => {
                desk.vouch();
                vouched = Instant::now();
                *retry = RETRY_MIN;
                if std::mem::take(&mut quiet) {
                    info!("following the authority's changes");
                }
            }
        }
    }
}
