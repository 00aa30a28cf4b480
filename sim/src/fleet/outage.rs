//! Redis is killed under taps, and comes again empty.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use ridegate_proto::validator::v1::{DegradedCause, check_request::Medium};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, interval, sleep},
};

use super::{Answer, LET_IN, REPLAYED, Tap, counted, millis, percentile, rider};
use crate::{city::City, report::Finding, riders::Rider};

/// Codes that were used before.
const USED: usize = 24;
/// Riders who are not used for the load: their codes are spent one by one.
const ASIDE: usize = 100;
const LOAD_EVERY: Duration = Duration::from_millis(10);
const AWAY_FOR: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(15);
/// Other gates than those where a code was used; in each round others.
const ELSEWHERE: usize = 100;

/// A code, and the replica that let it in.
struct Used {
    code: Vec<u8>,
    replica: usize,
}

/// Whether Redis runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Before,
    Away,
    Back,
    Over,
}

/// Kills it under taps, looks, starts it, and looks again.
pub(super) async fn without_redis(city: &Arc<City>) -> Result<Vec<Finding>> {
    let redis = city.redis.as_ref().context("no Redis")?;
    let (moment, _) = watch::channel(Moment::Before);
    let load = tokio::spawn(load(Arc::clone(city), moment.subscribe()));
    let used = use_codes(city).await?;
    let (first, second) = used.split_at(USED / 2);

    redis.kill();
    moment.send_replace(Moment::Away);
    let began = Instant::now();
    let refused = shown(city, first, 0, 0).await;
    let again = let_in_again(city, first).await;
    sleep(AWAY_FOR.saturating_sub(began.elapsed())).await;

    moment.send_replace(Moment::Back);
    redis.start_again().await?;
    let undegraded = undegraded(city).await?;
    let refused_later = shown(city, second, 0, 0).await;
    let again_later = let_in_again(city, second).await;
    moment.send_replace(Moment::Over);
    let away = load.await??;

    Ok(vec![
        answered(&away),
        Finding {
            what: "Redis starts again, empty".to_owned(),
            expected: "degraded no more at any replica".to_owned(),
            seen: undegraded.map_or_else(
                || "still degraded".to_owned(),
                |after| format!("no more after {}", millis(after)),
            ),
            right: undegraded.is_some(),
        },
        still_refused(&refused, &refused_later),
        bound(city, &again, &again_later),
    ])
}

/// Codes that are let in, each at the replica whose turn it is.
async fn use_codes(city: &Arc<City>) -> Result<Vec<Used>> {
    let mut used = Vec::new();
    for turn in 0..USED {
        let code = rider(city, Rider::Healthy, turn)?.newest_code(&city.clock).await?;
        let replica = turn % city.replicas.count();
        let medium = Medium::QrCode(code.clone().into());
        let answer =
            Tap { replica, reader: turn, request_id: format!("used-{turn}"), medium }.ask(city).await;
        anyhow::ensure!(answer.is(LET_IN), "a healthy rider was answered {}", answer.said);
        used.push(Used { code, replica });
    }
    Ok(used)
}

/// Each code at another gate, `on` replicas from where it was used.
async fn shown(city: &City, used: &[Used], on: usize, round: usize) -> Vec<Answer> {
    let mut answers = Vec::new();
    for (turn, Used { code, replica }) in used.iter().enumerate() {
        let tap = Tap {
            replica: replica + on,
            reader: ELSEWHERE * (1 + round) + turn,
            request_id: format!("elsewhere-{on}-{round}-{turn}"),
            medium: Medium::QrCode(code.clone().into()),
        };
        answers.push(tap.ask(city).await);
    }
    answers
}

/// Each code twice at the replicas that did not let it in: the answers of the first round, and of the second.
async fn let_in_again(city: &City, used: &[Used]) -> [Vec<Answer>; 2] {
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    for on in 1..city.replicas.count() {
        once.extend(shown(city, used, on, 1).await);
        twice.extend(shown(city, used, on, 2).await);
    }
    [once, twice]
}

/// How long until a fresh code at every replica is answered without a mark; `None`: until nobody waited any more.
async fn undegraded(city: &City) -> Result<Option<Duration>> {
    let began = Instant::now();
    let mut turn = USED;
    for replica in 0..city.replicas.count() {
        loop {
            let code = rider(city, Rider::Healthy, turn % ASIDE)?.code(&city.clock).await?;
            let (request_id, medium) = (format!("back-{turn}"), Medium::QrCode(code.into()));
            let answer = Tap { replica, reader: turn, request_id, medium }.ask(city).await;
            turn += 1;
            if answer.is(LET_IN) && answer.degraded.is_none() {
                break;
            }
            if began.elapsed() > PATIENCE {
                return Ok(None);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(Some(began.elapsed()))
}

/// Fresh codes at all replicas in turn, all the time; gives the answers to those that were asked while Redis was away.
async fn load(city: Arc<City>, moment: watch::Receiver<Moment>) -> Result<Vec<Answer>> {
    let (mut every, mut tasks) = (interval(LOAD_EVERY), JoinSet::new());
    for turn in 0.. {
        every.tick().await;
        if *moment.borrow() == Moment::Over {
            break;
        }
        let code = rider(&city, Rider::Healthy, ASIDE + turn)?.code(&city.clock).await?;
        let (city, moment) = (Arc::clone(&city), moment.clone());
        let (request_id, medium) = (format!("load-{turn}"), Medium::QrCode(code.into()));
        let tap = Tap { replica: turn, reader: turn % ELSEWHERE, request_id, medium };
        tasks.spawn(async move {
            let asked = *moment.borrow();
            let answer = tap.ask(&city).await;
            (asked == Moment::Away && *moment.borrow() == Moment::Away).then_some(answer)
        });
    }
    Ok(tasks.join_all().await.into_iter().flatten().collect())
}

fn answered(away: &[Answer]) -> Finding {
    let mut times: Vec<_> = away.iter().map(|answer| answer.latency).collect();
    let right = |answer: &Answer| answer.is(LET_IN) && answer.degraded == Some(DegradedCause::Redis);
    let marked = away.iter().filter(|answer| right(answer)).count();
    let said = away.iter().map(|answer| match answer.degraded {
        Some(_) => format!("{} degraded", answer.said),
        None => answer.said.clone(),
    });
    let said: Vec<_> = said.collect();
    Finding {
        what: format!("Redis is killed under taps: {} fresh codes", away.len()),
        expected: format!("every one {LET_IN}, marked degraded REDIS"),
        seen: format!(
            "{}; p99 {}",
            counted(said.iter().map(String::as_str)),
            millis(percentile(&mut times, 99))
        ),
        right: marked == away.len() && marked > 0,
    }
}

fn still_refused(away: &[Answer], back: &[Answer]) -> Finding {
    let said = |answers: &[Answer]| counted(answers.iter().map(|answer| answer.said.as_str()));
    Finding {
        what: format!("{USED} codes used before, at the replica that let them in"),
        expected: format!("refused while Redis is away, and when it is back: {REPLAYED}"),
        seen: format!("away {}; back {}", said(away), said(back)),
        right: away.iter().chain(back).all(|answer| answer.is(REPLAYED)),
    }
}

/// What an outage costs, as it is: a code may be let in once more at each replica that had not seen it.
fn bound(city: &City, away: &[Vec<Answer>; 2], back: &[Vec<Answer>; 2]) -> Finding {
    let count = |answers: &[Answer]| answers.iter().filter(|answer| answer.is(LET_IN)).count();
    let ([away, away_twice], [back, back_twice]) =
        (away.each_ref().map(|one| count(one)), back.each_ref().map(|one| count(one)));
    let each = USED / 2 * (city.replicas.count() - 1);
    Finding {
        what: format!("the same codes, at the {} other replicas", city.replicas.count() - 1),
        expected: "let in once more at each at the most, never twice".to_owned(),
        seen: format!(
            "{away} of {each} while away, {back} of {each} after; {} twice",
            away_twice + back_twice
        ),
        right: away_twice + back_twice == 0,
    }
}
