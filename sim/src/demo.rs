//! A day in the city: riders live their stories, and every answer is compared with the one it must be.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{city::City, fleet, plan, progress::progress, report::Report, visit::Visit};

const IN_FLIGHT: usize = 16;

/// How the day goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Taps in all.
    pub taps: usize,
    /// Taps a second; `None`: as fast as it goes.
    pub rate: Option<u32>,
    /// Makes the same stories again.
    pub seed: u64,
}

/// Lets the riders of `options` ride through a city. Where it has several replicas that share a Redis, they are looked at
/// afterwards as one.
pub async fn ride(city: &Arc<City>, options: &Options) -> Result<Report> {
    let mut rng = ChaCha20Rng::seed_from_u64(options.seed.wrapping_add(1));
    let stories = plan::stories(options.taps, &mut rng);
    let progress = progress(options.taps, "taps        ");
    let report = Arc::new(Mutex::new(Report::new()?));
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let (began, mut tasks) = (Instant::now(), JoinSet::new());
    let mut sent = 0_u32;
    for (turn, story) in stories.into_iter().enumerate() {
        if let Some(rate) = options.rate {
            sleep_until(began + Duration::from_secs(1) * sent / rate.max(1)).await;
        }
        sent += u32::try_from(story.taps())?;
        let permit = Arc::clone(&room).acquire_owned().await?;
        let visit = Visit { city: Arc::clone(city), turn, story, noise: rng.random() };
        let (report, progress) = (Arc::clone(&report), progress.clone());
        tasks.spawn(async move {
            let ridden = visit.ride(&report, &progress).await;
            drop(permit);
            ridden
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    progress.finish();
    let report = Arc::try_unwrap(report).ok().context("a rider is still on the way")?;
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.took = began.elapsed();
    report.inspections = city.replicas.inspections();
    if city.replicas.count() > 1 && city.redis.is_some() {
        report.fleet = fleet::observe(city).await?;
    }
    Ok(report)
}
