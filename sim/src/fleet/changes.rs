//! What changes is in force at every replica.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use ridegate_proto::{
    authority::v1::HealthState,
    partner::v1::{UnlinkRiderRequest, partner_service_client::PartnerServiceClient},
    validator::v1::check_request::Medium,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{LET_IN, Tap, millis, percentile};
use crate::{
    cards::{COMPANY, Card, OF_EACH},
    city::City,
    report::Finding,
    riders::{Rider, wire},
};

/// After so long it is not slow, but missing.
const PATIENCE: Duration = Duration::from_secs(10);
const PROMISED: &str = "everywhere; promised within 1 s";

/// Cards whose holders turn RED at the authority. A card takes no claim, so it can be tapped without end.
pub(super) async fn turned_red(city: &Arc<City>) -> Result<Finding> {
    let mut times = Vec::new();
    for turn in 0..OF_EACH {
        remembered_everywhere(city, Card::Yikatong, turn).await?;
        let mut facts = Rider::Healthy.facts(city.clock.now()).unwrap_or_default();
        facts.state = HealthState::Red.into();
        facts.as_of = Some(wire(city.clock.now()));
        let changed = Instant::now();
        city.authority.set(&Card::Yikatong.holder(turn), facts);
        times.push(in_force(city, Card::Yikatong, turn, "INSPECT HEALTH", changed).await);
    }
    Ok(finding(format!("{OF_EACH} riders turn RED at the authority: INSPECT"), times))
}

/// Cards whose links are withdrawn at one replica.
pub(super) async fn withdrawn(city: &Arc<City>) -> Result<Finding> {
    let mut times = Vec::new();
    for turn in 0..OF_EACH {
        remembered_everywhere(city, Card::Nfc, turn).await?;
        let channel = city.replicas.channel(&format!("urn:ridegate:partner:{COMPANY}"), turn)?;
        let request = UnlinkRiderRequest { medium: Some(Card::Nfc.medium(turn)) };
        PartnerServiceClient::new(channel).unlink_rider(request).await?;
        times.push(in_force(city, Card::Nfc, turn, "INSPECT NOT_LINKED", Instant::now()).await);
    }
    Ok(finding(format!("{OF_EACH} links are withdrawn at one replica: NOT_LINKED"), times))
}

/// How long each took until the last replica knew; `None`: until nobody waited any more.
fn finding(what: String, times: Vec<Option<Duration>>) -> Finding {
    let never = times.iter().filter(|time| time.is_none()).count();
    let mut known: Vec<_> = times.into_iter().flatten().collect();
    let slowest = format!(
        "everywhere after {} in the middle, {} at the slowest",
        millis(percentile(&mut known, 50)),
        millis(percentile(&mut known, 100))
    );
    Finding {
        what,
        expected: PROMISED.to_owned(),
        seen: if never == 0 {
            slowest
        } else {
            format!("{never} not in force after {} s", PATIENCE.as_secs())
        },
        right: never == 0,
    }
}

async fn remembered_everywhere(city: &City, card: Card, turn: usize) -> Result<()> {
    for replica in 0..city.replicas.count() {
        let answer = tap(replica, card, turn).ask(city).await;
        ensure!(answer.is(LET_IN), "a healthy rider was answered {}", answer.said);
    }
    Ok(())
}

/// From the change until the last replica has given the answer that is wanted.
async fn in_force(
    city: &Arc<City>,
    card: Card,
    turn: usize,
    wanted: &'static str,
    changed: Instant,
) -> Option<Duration> {
    let mut waiting = JoinSet::new();
    for replica in 0..city.replicas.count() {
        let city = Arc::clone(city);
        waiting.spawn(async move {
            while changed.elapsed() < PATIENCE {
                if tap(replica, card, turn).ask(&city).await.is(wanted) {
                    return Some(changed.elapsed());
                }
                sleep(Duration::from_millis(2)).await;
            }
            None
        });
    }
    let times: Option<Vec<_>> = waiting.join_all().await.into_iter().collect();
    times?.into_iter().max()
}

fn tap(replica: usize, card: Card, turn: usize) -> Tap {
    let medium = Medium::Card(card.tap(turn));
    Tap { replica, reader: replica, request_id: format!("card-{turn}"), medium }
}
