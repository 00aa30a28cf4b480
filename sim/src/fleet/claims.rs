//! A code is used once, whichever replicas its gates ask.

use std::sync::Arc;

use anyhow::Result;
use ridegate_proto::validator::v1::check_request::Medium;
use tokio::task::JoinSet;

use super::{Answer, LET_IN, REPLAYED, Tap, counted, rider};
use crate::{city::City, report::Finding, riders::Rider};

const CODES: usize = 5;
const AT_ONCE: usize = 50;
const RETRIED: usize = 10;

/// Codes, each at fifty gates at once.
pub(super) async fn fifty_gates(city: &Arc<City>) -> Result<Finding> {
    let expected = format!("1 {LET_IN}, {} {REPLAYED}", AT_ONCE - 1);
    let mut seen = Vec::new();
    for turn in 0..CODES {
        let code = rider(city, Rider::Healthy, turn)?.newest_code(&city.clock).await?;
        let mut gates = JoinSet::new();
        for reader in 0..AT_ONCE {
            let tap = Tap {
                replica: reader,
                reader,
                request_id: format!("at-once-{turn}-{reader}"),
                medium: Medium::QrCode(code.clone().into()),
            };
            let city = Arc::clone(city);
            gates.spawn(async move { tap.ask(&city).await });
        }
        let answers = gates.join_all().await;
        seen.push(counted(answers.iter().map(|answer| answer.said.as_str())));
    }
    Ok(Finding {
        what: format!("{CODES} codes, each at {AT_ONCE} gates of {} replicas at once", city.replicas.count()),
        right: seen.iter().all(|seen| *seen == expected),
        expected: format!("each {expected}"),
        seen: each(seen),
    })
}

/// A tap that is answered, and repeated at every other replica as if the answer had been lost.
pub(super) async fn retries(city: &Arc<City>) -> Result<Finding> {
    let (mut right, mut wrong) = (0, Vec::new());
    let kinds = [Rider::Healthy, Rider::Overdue];
    for (turn, kind) in (0..RETRIED).flat_map(|turn| kinds.map(|kind| (turn, kind))) {
        let code = rider(city, kind, CODES + turn)?.newest_code(&city.clock).await?;
        let mut first: Option<Answer> = None;
        for on in 0..city.replicas.count() {
            let tap = Tap {
                replica: turn + on,
                reader: turn,
                request_id: format!("again-{kind}-{turn}"),
                medium: Medium::QrCode(code.clone().into()),
            };
            let answer = tap.ask(city).await;
            let Some(first) = &first else {
                first = Some(answer);
                continue;
            };
            if answer.said == first.said && answer.retry_of == first.verdict_id {
                right += 1;
            } else {
                let repeats = if answer.retry_of.is_empty() { "no repeat" } else { "a repeat" };
                wrong.push(format!("{} after {}, {repeats}", answer.said, first.said));
            }
        }
    }
    let retries = 2 * RETRIED * (city.replicas.count() - 1);
    Ok(Finding {
        what: format!("{} taps, each retried at every other replica", 2 * RETRIED),
        expected: format!("{retries} times the same verdict, named as a repeat of the first"),
        seen: if wrong.is_empty() {
            format!("{right} times")
        } else {
            format!("{right} times; {}", counted(wrong.iter().map(String::as_str)))
        },
        right: right == retries,
    })
}

/// What was the same each time is said once.
fn each(mut seen: Vec<String>) -> String {
    let count = seen.len();
    seen.sort();
    seen.dedup();
    match seen.as_slice() {
        [same] => format!("each {same}"),
        _ => format!("of {count}: {}", seen.join("; ")),
    }
}
