//! How the registry is asked, by everybody.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use super::RegistryError;
use crate::metrics::UpstreamMetrics;

/// The longest that a partner's call waits, which may have a shorter deadline of its own. One without is told that the
/// registry is missing, and not that its own time is over.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Asks within this time, whatever the database's driver does of it, and counts how it ended.
///
/// What comes over a connection without TLS may be anything, also something that a driver does not survive: that is an
/// answer which cannot be read, and the end of nothing else.
pub async fn ask<T>(
    asked: &UpstreamMetrics,
    question: &'static str,
    patience: Duration,
    work: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    let began = Instant::now();
    let answer = timeout(patience, AssertUnwindSafe(work).catch_unwind()).await;
    let answer = answer
        .map_or(Err(RegistryError::TimedOut), |survived| survived.unwrap_or(Err(RegistryError::Garbled)));
    asked.asked(question, answer.as_ref().err().map_or("ok", RegistryError::name), began);
    answer
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;
    use crate::metrics::Metrics;

    #[tokio::test(start_paused = true)]
    async fn whatever_becomes_of_a_question_it_has_an_end_and_is_counted() {
        let metrics = Metrics::default();
        let asked = metrics.upstream("registry");
        let broken = async { if true { panic!("capacity overflow") } else { Ok(()) } };
        let broken = ask(&asked, "broken", PATIENCE, broken).await;
        assert!(matches!(broken, Err(RegistryError::Garbled)));
        let began = Instant::now();
        let silent = ask(&asked, "silent", PATIENCE, pending::<Result<(), _>>()).await;
        assert!(matches!(silent, Err(RegistryError::TimedOut)));
        assert_eq!(began.elapsed(), PATIENCE);
        assert_eq!(ask(&asked, "well", PATIENCE, async { Ok(1) }).await.unwrap(), 1);
        let page = metrics.encode();
        for (question, outcome) in [("broken", "wrong_answer"), ("silent", "timed_out"), ("well", "ok")] {
            let line = page.lines().find(|line| line.contains(question) && line.contains("_count")).unwrap();
            assert!(line.contains(outcome) && line.ends_with(" 1"), "{line}");
        }
    }
}
