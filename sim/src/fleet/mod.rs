//! Several replicas that share a Redis, looked at as one gateway: what was expected, and what was seen.

mod budget;
mod changes;
mod claims;
mod outage;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::Result;
use ridegate_proto::validator::v1::{
    CheckRequest, CheckResponse, DegradedCause, Direction, check_request::Medium,
    validator_service_client::ValidatorServiceClient,
};
use tokio::time::Instant;
use tonic::Status;

use crate::{
    city::{City, Commuter},
    gates::{GATES, Gate},
    progress::progress,
    report::Finding,
    riders::Rider,
};

/// Does things to all replicas at once, and to what they share. Takes some twenty seconds.
pub(crate) async fn observe(city: &Arc<City>) -> Result<Vec<Finding>> {
    let progress = progress(5, "the fleet   ");
    let mut findings = vec![claims::fifty_gates(city).await?];
    progress.step();
    findings.push(claims::retries(city).await?);
    progress.step();
    findings.extend([changes::turned_red(city).await?, changes::withdrawn(city).await?]);
    progress.step();
    findings.push(budget::over_it(city).await?);
    progress.step();
    findings.extend(outage::without_redis(city).await?);
    progress.step();
    progress.finish();
    Ok(findings)
}

/// One reader that reads one code or card, and the replica that it asks.
struct Tap {
    replica: usize,
    /// A number for each reader.
    reader: usize,
    request_id: String,
    medium: Medium,
}

/// What of an answer is looked at.
#[derive(Debug, Clone)]
struct Answer {
    /// Verdict and reason, as `ALLOW HEALTH_OK`, or the status that came instead.
    said: String,
    verdict_id: String,
    retry_of: String,
    degraded: Option<DegradedCause>,
    latency: Duration,
}

impl Tap {
    /// At a station computer of the metro's that speaks for many gates.
    async fn ask(self, city: &City) -> Answer {
        // Every fourth is a bus door.
        let gate = Gate::new(self.reader / 3 * 4 % GATES + self.reader % 3);
        let request = CheckRequest {
            request_id: self.request_id,
            medium: Some(self.medium),
            direction: Direction::Entry.into(),
            location: "xizhimen".into(),
            device_id: format!("gate-{}", self.reader),
            scanned_at: None,
        };
        let began = Instant::now();
        let answer = match city.replicas.channel(&gate.identity, self.replica) {
            Ok(channel) => ValidatorServiceClient::new(channel).check(request).await,
            Err(_) => Err(Status::internal("no such gate")),
        };
        Answer::of(answer.map(tonic::Response::into_inner), began.elapsed())
    }
}

impl Answer {
    fn of(answer: Result<CheckResponse, Status>, latency: Duration) -> Self {
        let strip = |name: &str| name.split_once('_').map_or(name, |(_, rest)| rest).to_owned();
        match answer {
            Ok(answer) => Self {
                said: format!(
                    "{} {}",
                    strip(answer.verdict().as_str_name()),
                    strip(answer.reason().as_str_name())
                ),
                degraded: answer.degraded.as_ref().map(ridegate_proto::validator::v1::Degraded::cause),
                verdict_id: answer.verdict_id,
                retry_of: answer.retry_of,
                latency,
            },
            Err(status) => Self {
                said: format!("status {:?}", status.code()),
                verdict_id: String::new(),
                retry_of: String::new(),
                degraded: None,
                latency,
            },
        }
    }

    fn is(&self, said: &str) -> bool {
        self.said == said
    }
}

const LET_IN: &str = "ALLOW HEALTH_OK";
const REPLAYED: &str = "INSPECT CODE_REPLAYED";

/// The rider whose turn it is, with a partner whose codes the gateway reads by itself.
fn rider(city: &City, kind: Rider, turn: usize) -> Result<&Commuter> {
    let signed = city.signed();
    let partner = signed.get(turn % signed.len().max(1)).copied().unwrap_or(0);
    city.pick(partner, kind, turn / signed.len().max(1))
}

/// How often each was said, as `1 ALLOW HEALTH_OK, 49 INSPECT CODE_REPLAYED`.
fn counted<'a>(said: impl IntoIterator<Item = &'a str>) -> String {
    let mut counts = BTreeMap::<&str, u64>::new();
    said.into_iter().for_each(|one| *counts.entry(one).or_default() += 1);
    let counts: Vec<_> = counts.into_iter().map(|(said, count)| format!("{count} {said}")).collect();
    if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") }
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// The time that so many of a hundred did not exceed.
fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(place).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_and_times_ordered() {
        assert_eq!(counted(["b", "a", "b"]), "1 a, 2 b");
        assert_eq!(counted([]), "nothing");
        let mut times: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut times, 99), Duration::from_millis(198));
        assert_eq!(percentile(&mut times, 100), Duration::from_millis(200));
        assert_eq!(percentile(&mut [], 50), Duration::ZERO);
    }
}
