//! What keeps a cell right is taken out, and the judge has to notice, and for the right reason. What no configuration can
//! take out is taken out of the source by `scripts/guards`.

use std::time::Duration;

use super::{
    FACTS, SLICE, Settings,
    cells::Cell,
    judge,
    judge::{Complaint, Pace, When},
    run,
};

/// So long that whoever waits as long as it is broken is found out by it.
const LONG: Pace = Pace { broken: Duration::from_secs(3), ..SLICE };
const NO_BUDGET: &str = "[verdict]\nbudget = \"10s\"\nwait = \"10s\"\n";

async fn complaints(name: &str, settings: &Settings) -> Vec<Complaint> {
    let cell = Cell::of(name);
    let run = run(&cell, &LONG, settings).await;
    let complaints = judge::judge(&cell, &LONG, &run);
    let let_in = |complaint: &Complaint| matches!(complaint, Complaint::Never { told, .. } if told.starts_with("ALLOW"));
    assert!(!complaints.iter().any(let_in), "nobody is let in for that: {complaints:?}");
    complaints
}

fn is_slow(complaint: &Complaint) -> bool {
    matches!(complaint, Complaint::Slow { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_budget_and_cap_a_stalled_authority_is_waited_for() {
    let settings = Settings {
        authority: "lookup_timeout = \"10s\"\n".into(),
        more: format!("{NO_BUDGET}{FACTS}"),
        ..Settings::patient()
    };
    let found = complaints("authority_stalled", &settings).await;
    assert!(found.iter().any(is_slow), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_budget_and_cap_a_stalled_registry_is_waited_for() {
    let settings = Settings {
        registry: "timeout = \"10s\"\n".into(),
        more: format!("{NO_BUDGET}{FACTS}"),
        ..Settings::patient()
    };
    let found = complaints("registry_stalled", &settings).await;
    assert!(found.iter().any(is_slow), "{found:?}");
}

/// Whether a rider who was remembered, or should have been, is told that the look-up failed.
fn is_failed(complaint: &Complaint) -> bool {
    matches!(
        complaint,
        Complaint::Unexpected { when: When::Broken, mostly, .. } if mostly.contains("Warm: INSPECT LOOKUP_FAILED")
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_stale_links_remembered_riders_are_stopped() {
    let settings = Settings { registry: "stale_links_max = \"0s\"\n".into(), ..Settings::patient() };
    let found = complaints("registry_dies", &settings).await;
    assert!(found.iter().any(is_failed), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_stale_facts_remembered_riders_are_stopped() {
    let more = format!("[verdict]\nbudget = \"600ms\"\nwait = \"10s\"\n{FACTS}stale_max = \"0s\"\n");
    let settings = Settings { more, ..Settings::patient() };
    let found = complaints("authority_refused", &settings).await;
    assert!(found.iter().any(is_failed), "{found:?}");
}
