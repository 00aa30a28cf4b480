//! A partner's budget is the fleet's, not each replica's.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use ridegate_proto::validator::v1::check_request::Medium;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::Tap;
use crate::{
    cards::COMPANY,
    city::{City, VALIDITY_S},
    report::Finding,
    riders::Rider,
    scrape,
};

/// Codes a second, and at once.
const RATE: u32 = 200;
const BURST: u32 = 200;
/// So many times the budget is asked for, in all.
const OVER: u32 = 5;
const FOR: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(10);
const THROTTLED: &str = "INSPECT THROTTLED";

/// One partner gets a small budget, and shows five times as many codes at all replicas.
pub(super) async fn over_it(city: &Arc<City>) -> Result<Finding> {
    let (place, partner) = partner(city)?;
    let profile = city.folder().join("profiles").join(format!("{partner}.toml"));
    let before = fs::read_to_string(&profile)?;
    let small = format!("{before}[quota]\ncodes_per_second = {RATE}\ncodes_burst = {BURST}\n");
    onboard(city, &profile, &small).await?;
    // A code that ran out costs the partner as much as any other, and can be shown without end.
    let ran_out = u32::try_from(city.clock.unix_seconds().0)? - u32::from(VALIDITY_S) - 30;
    let code = city.pick(place, Rider::Healthy, 0)?.phone.code(ran_out)?;
    let seen = flood(city, &code).await;
    onboard(city, &profile, &before).await?;
    Ok(seen.finding(&partner, city.replicas.count()))
}

/// One whose codes the gateway reads by itself.
fn partner(city: &City) -> Result<(usize, String)> {
    let mut signed = city.signed().into_iter();
    let named = |place: usize| Some((place, city.partners.get(place)?.clone()));
    signed.find_map(|place| named(place).filter(|(_, name)| name != COMPANY)).context("no such partner")
}

/// Writes a profile, and waits until every replica has taken it.
async fn onboard(city: &City, profile: &PathBuf, text: &str) -> Result<()> {
    let before = reloads(city).await?;
    let unfinished = profile.with_extension("new");
    fs::write(&unfinished, text)?;
    fs::rename(&unfinished, profile)?;
    let began = Instant::now();
    loop {
        let now = reloads(city).await?;
        if now.iter().zip(&before).all(|(now, before)| now > before) {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "a partner's new budget was not taken");
        sleep(Duration::from_millis(50)).await;
    }
}

/// How often each replica has taken changed files of partners.
async fn reloads(city: &City) -> Result<Vec<f64>> {
    let mut taken = Vec::new();
    for operations in city.replicas.operations() {
        let metrics = scrape::metrics(operations).await?;
        taken.push(metrics.sum("ridegate_partner_reloads_total", &["outcome=\"taken\""]));
    }
    Ok(taken)
}

#[derive(Debug, Default, Clone, Copy)]
struct Flood {
    asked: u32,
    admitted: u32,
    failed: u32,
    took: Duration,
}

/// Shows this code at all replicas for a while.
async fn flood(city: &Arc<City>, code: &[u8]) -> Flood {
    let began = Instant::now();
    let replicas = city.replicas.count();
    let every = Duration::from_secs(1) * u32::try_from(replicas).unwrap_or(1) / (RATE * OVER);
    let mut readers = JoinSet::new();
    for replica in 0..replicas {
        let (city, code) = (Arc::clone(city), code.to_vec());
        readers.spawn(async move {
            let (mut seen, mut next, mut asked) = (Flood::default(), interval(every), JoinSet::new());
            next.set_missed_tick_behavior(MissedTickBehavior::Skip);
            while began.elapsed() < FOR {
                next.tick().await;
                let (city, request_id) = (Arc::clone(&city), format!("over-{replica}-{}", asked.len()));
                let medium = Medium::QrCode(code.clone().into());
                asked.spawn(
                    async move { Tap { replica, reader: replica, request_id, medium }.ask(&city).await },
                );
            }
            for answer in asked.join_all().await {
                seen.asked += 1;
                seen.admitted += u32::from(answer.is("INSPECT CODE_EXPIRED"));
                seen.failed += u32::from(!answer.is("INSPECT CODE_EXPIRED") && !answer.is(THROTTLED));
            }
            seen
        });
    }
    let mut all = readers.join_all().await.into_iter().fold(Flood::default(), |all, one| Flood {
        asked: all.asked + one.asked,
        admitted: all.admitted + one.admitted,
        failed: all.failed + one.failed,
        took: Duration::ZERO,
    });
    all.took = began.elapsed();
    all
}

impl Flood {
    /// What the budget gives in the time it took: at the most, and without the burst.
    fn budget(&self) -> (f64, f64) {
        let steady = f64::from(RATE) * self.took.as_secs_f64();
        (steady + f64::from(BURST), steady)
    }

    /// Never more than a twentieth over the fleet's budget. How much less a busy machine gives says little, but not half of it;
    /// and one too slow to ask for twice the budget cannot show that it is given.
    fn is_right(&self) -> bool {
        let (most, steady) = self.budget();
        let (admitted, asked) = (f64::from(self.admitted), f64::from(self.asked));
        self.failed == 0 && admitted <= most * 1.05 && (asked < 2.0 * most || admitted >= steady * 0.5)
    }

    fn finding(&self, partner: &str, replicas: usize) -> Finding {
        let (most, steady) = self.budget();
        let (seconds, throttled) = (self.took.as_secs_f64(), self.asked - self.admitted - self.failed);
        let failed = if self.failed == 0 { String::new() } else { format!(", {} failed", self.failed) };
        Finding {
            what: format!("{partner}, {RATE} codes a second, asks {} at {replicas} replicas", RATE * OVER),
            expected: format!("at most {:.0} admitted in {seconds:.1} s; {steady:.0} came in", most * 1.05),
            seen: format!("{} of {} admitted, {throttled} throttled{failed}", self.admitted, self.asked),
            right: self.is_right(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_held_against_the_whole_fleets_budget() {
        let seen = |asked, admitted| Flood { asked, admitted, failed: 0, took: Duration::from_secs(5) };
        assert!(seen(5000, 1100).is_right());
        assert!(!seen(5000, 4 * 1100).is_right(), "each replica has a budget of its own");
        assert!(!seen(5000, 300).is_right(), "a budget that is not given");
        assert!(seen(1500, 300).is_right(), "too slow a machine to tell");
        assert!(!Flood { failed: 1, ..seen(5000, 1100) }.is_right());
    }
}
