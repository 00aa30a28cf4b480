//! Second tries of whom the gateway asks: what failed quickly, of something that another moment mends, is asked once
//! more. They are a share of all calls at the most: whoever is in trouble is not asked twice as much for it.

use std::{error::Error, sync::Arc, time::Duration};

use tokio::time::Instant;
use tonic::{Code, Status, TimeoutExpired};
use tower::retry::budget::{Budget, TpsBudget};

use crate::metrics::RetryMetrics;

/// For so long a call counts.
const WINDOW: Duration = Duration::from_secs(10);
/// One call in so many may be a second try…
const SHARE: f32 = 0.1;
/// …and so many a second on top, so that somebody who is asked little gets one too: 20 in a window.
const RESERVE: u32 = 2;

/// The second tries that one upstream may be given. Clones draw on the same.
#[derive(Debug, Clone)]
pub struct Retries {
    budget: Arc<TpsBudget>,
    metrics: RetryMetrics,
}

impl Retries {
    /// A budget of its own.
    pub fn new(metrics: RetryMetrics) -> Self {
        Self { budget: Arc::new(TpsBudget::new(WINDOW, RESERVE, SHARE)), metrics }
    }

    /// Asks, and once more where that may help and there is time: what failed in less than half of `cap` leaves at
    /// least as much for another try. `ask` is told how much there is. At once and not after a pause: whoever waits has
    /// some tens of milliseconds, and it is the budget that keeps a crowd away.
    pub(super) async fn insist<T, F>(&self, cap: Duration, ask: impl Fn(Duration) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>>,
    {
        self.budget.deposit();
        let began = Instant::now();
        let first = ask(cap).await;
        let took = began.elapsed();
        match &first {
            Err(status) if is_passing(status) && took < cap / 2 && self.take() => {
                ask(cap.saturating_sub(took)).await
            }
            Ok(_) | Err(_) => first,
        }
    }

    /// Takes one more call out of the budget, if there is one left.
    pub fn take(&self) -> bool {
        let left = self.budget.withdraw();
        self.metrics.asked(left);
        left
    }
}

/// Whether another moment may mend it: nobody was there, or the connection broke off. What the transport reports has a
/// cause, what a server says has none. Never an answer, a refusal or a wait that was too long.
pub(super) fn is_passing(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        Code::Unknown | Code::Internal => status.source().is_some(),
        // It broke off before it was answered. Our own clock is called the same.
        Code::Cancelled => status.source().is_some_and(|cause| !is_of_our_clock(cause)),
        _ => false,
    }
}

fn is_of_our_clock(cause: &(dyn Error + 'static)) -> bool {
    cause.is::<TimeoutExpired>() || cause.source().is_some_and(is_of_our_clock)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;

    const CAP: Duration = Duration::from_millis(80);

    /// How often it was asked if every try ends so, after so long.
    async fn tries(retries: &Retries, code: Code, takes: Duration) -> u32 {
        let asked = AtomicU32::new(0);
        let answer: Result<(), _> = retries
            .insist(CAP, |_| async {
                asked.fetch_add(1, Relaxed);
                tokio::time::sleep(takes).await;
                Err(Status::new(code, ""))
            })
            .await;
        assert_eq!(answer.unwrap_err().code(), code);
        asked.into_inner()
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_fails_quickly_and_in_passing_is_asked_again() {
        let retries = Retries::new(RetryMetrics::default());
        assert_eq!(tries(&retries, Code::Unavailable, Duration::ZERO).await, 2);
        assert_eq!(tries(&retries, Code::Unavailable, CAP / 2).await, 1, "there is too little time left");
        for code in [
            Code::DeadlineExceeded,
            Code::Cancelled,
            Code::NotFound,
            Code::InvalidArgument,
            Code::ResourceExhausted,
            Code::Internal,
            Code::Unknown,
        ] {
            assert_eq!(tries(&retries, code, Duration::ZERO).await, 1, "{code:?}");
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("something around it")]
    struct Within(#[source] TimeoutExpired);

    #[test]
    fn a_connection_that_broke_off_is_passing() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(is_passing(&Status::from_error(Box::new(reset))));
        let cancelled = |cause: Arc<dyn Error + Send + Sync>| {
            let mut status = Status::cancelled("");
            status.set_source(cause);
            is_passing(&status)
        };
        let closed = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(cancelled(Arc::new(closed())), "before it was sent");
        assert!(!cancelled(Arc::new(TimeoutExpired(()))), "it took too long");
        assert!(!cancelled(Arc::new(Within(TimeoutExpired(())))));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_told_how_much_time_is_left() {
        let (retries, first) = (Retries::new(RetryMetrics::default()), AtomicU32::new(0));
        let left = retries
            .insist(CAP, |left| {
                let is_first = first.fetch_add(1, Relaxed) == 0;
                async move {
                    tokio::time::sleep(CAP / 4).await;
                    if is_first { Err(Status::unavailable("")) } else { Ok(left) }
                }
            })
            .await;
        assert_eq!(left.unwrap(), CAP / 4 * 3);
    }

    /// 1,000 calls a second to nobody: a tenth of them again, and the reserve; afterwards as much as before.
    #[tokio::test(start_paused = true)]
    async fn second_tries_are_a_tenth_of_all_calls_and_a_few() {
        let retries = Retries::new(RetryMetrics::default());
        let mut again = 0;
        for _ in 0..60_000 {
            tokio::time::advance(Duration::from_millis(1)).await;
            again += tries(&retries, Code::Unavailable, Duration::ZERO).await - 1;
        }
        assert!((5_500..=6_000 + 6 * 20 + 120).contains(&again), "{again}");
        // Somebody who is asked once in a while is asked again.
        let seldom = Retries::new(RetryMetrics::default());
        for _ in 0..20 {
            assert_eq!(tries(&seldom, Code::Unavailable, Duration::ZERO).await, 2);
        }
    }
}
