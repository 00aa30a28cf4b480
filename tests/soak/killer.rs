//! Carries the outages of a plan out.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use crate::{
    load::Load,
    plan::{Outage, Part},
};

/// So many parts may be away at once, also where one takes long to come back.
const AWAY: usize = 2;

/// Kills and starts again, each at its time or as soon as what is away allows it. Returns when everything is back.
pub async fn kill(load: Arc<Load>, outages: Vec<Outage>) {
    let turns = Arc::new(Semaphore::new(AWAY));
    let mut running: JoinSet<Part> = JoinSet::new();
    let mut away: Vec<Part> = vec![];
    let total = outages.len();
    for (number, outage) in outages.into_iter().enumerate() {
        load.wait_until(Duration::from_millis(outage.at.into())).await;
        while away.contains(&outage.part) {
            let back = running.join_next().await.unwrap().unwrap();
            away.retain(|part| *part != back);
        }
        if load.is_over() {
            break;
        }
        let turn = Arc::clone(&turns).acquire_owned().await.unwrap();
        away.push(outage.part);
        let load = Arc::clone(&load);
        running.spawn(async move {
            if total > 10 {
                eprintln!(
                    "{:>6.1} s  {:>3} of {total}: {:?} {:?}",
                    load.now().as_secs_f64(),
                    number + 1,
                    outage.part,
                    outage.how
                );
            }
            let span = load.note_end(outage.part);
            let ending = Arc::clone(&load);
            blocking(move || ending.stand.end(outage.part, outage.how)).await;
            sleep(Duration::from_millis(outage.lasts.into())).await;
            let starting = Arc::clone(&load);
            blocking(move || starting.stand.start_again(outage.part)).await;
            load.note_start(span);
            drop(turn);
            outage.part
        });
    }
    while let Some(back) = running.join_next().await {
        back.unwrap();
    }
}

async fn blocking(work: impl FnOnce() + Send + 'static) {
    tokio::task::spawn_blocking(work).await.unwrap();
}
