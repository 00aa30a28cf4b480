//! The rounds in which this replica leases from the fleet's budgets: in the background, so that no verdict waits for one.

use std::{fmt, sync::Arc, time::Duration};

use rand::RngExt;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::{
    budget::{Named, Standing},
    lease::{GAP, ROUND},
};
use crate::{
    backends::redis::{Ask, Away, Bank},
    metrics::QuotaMetrics,
};

/// At the start Redis may need so long to be there before anybody is told that it is not.
const GRACE: Duration = Duration::from_secs(1);

/// What all replicas on one Redis have together: every partner's budgets.
pub struct Fleet {
    bank: Bank,
    pub(super) standing: Arc<Standing>,
    metrics: QuotaMetrics,
}

impl Fleet {
    /// Not leased yet: [`keep`](Self::keep) is to run beside.
    pub fn new(bank: Bank, metrics: QuotaMetrics) -> Arc<Self> {
        Arc::new(Self { bank, standing: Standing::new(true), metrics })
    }

    /// Leases for these budgets, again and again. They may be others every time.
    pub async fn keep(self: Arc<Self>, budgets: impl Fn() -> Vec<Named> + Send + Sync) {
        let mut told = None;
        let began = Instant::now();
        loop {
            let at = Instant::now();
            let next = match self.round(&budgets()).await {
                Ok(next) => {
                    if told.replace(true) == Some(false) {
                        info!("partners' budgets are the whole fleet's again");
                    }
                    next
                }
                Err(away) => {
                    let is_known = told == Some(false) || (told.is_none() && began.elapsed() < GRACE);
                    if !is_known {
                        told = Some(false);
                        let replicas = self.standing.replicas();
                        let cause = away.name();
                        warn!(
                            cause,
                            "partners' budgets are counted by this replica alone, each one of {replicas} shares"
                        );
                    }
                    ROUND
                }
            };
            // A little by chance, so that it is not always the same replica that comes first.
            let next = next.mul_f64(rand::rng().random_range(0.8..1.0)).max(GAP);
            let _early = timeout(next, self.standing.low.notified()).await;
            sleep_until(at + GAP).await;
        }
    }

    /// One round; tells when there should be another.
    async fn round(&self, budgets: &[Named]) -> Result<Duration, Away> {
        let asked = Instant::now();
        let asks: Vec<(&str, Ask)> =
            budgets.iter().map(|named| (&*named.name, named.budget.ask(asked))).collect();
        let answer = self.bank.ask(&asks).await;
        let now = Instant::now();
        let Ok((replicas, answers)) = answer.as_ref().inspect_err(|_| self.leave(budgets, now)) else {
            return answer.map(|_| ROUND);
        };
        let settled = budgets.iter().zip(&asks).zip(answers);
        let next = settled.map(|((named, (_, said)), answer)| named.budget.settle(said, *answer, now)).min();
        self.standing.answered(*replicas);
        self.metrics.counted(*replicas, true);
        Ok(next.unwrap_or(ROUND))
    }

    /// Redis is away.
    fn leave(&self, budgets: &[Named], now: Instant) {
        self.standing.leave(budgets, now);
        self.metrics.counted(self.standing.replicas(), false);
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("bank", &self.bank)
            .field("standing", &self.standing)
            .finish_non_exhaustive()
    }
}
