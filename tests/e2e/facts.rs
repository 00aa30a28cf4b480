//! What the authority says: fresh, pushed, stale, wrong, absent or never.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use jiff::SignedDuration;
use ridegate_proto::validator::v1::{
    CheckRequest, CheckResponse, Degraded, DegradedCause, Direction,
    validator_service_client::ValidatorServiceClient,
};
use ridegate_sim::{authority::Mood, issuing::Phone, riders::Rider};

use crate::house::{GATE, House, identified, request, said, subject, wait_until};

fn degraded(answer: &CheckResponse) -> Option<DegradedCause> {
    answer.degraded.as_ref().map(Degraded::cause)
}

/// Waits until the gateway follows the authority's changes: then facts fetched once are never asked for again.
async fn follow(house: &House, account: u64) {
    house.clock.advance(SignedDuration::from_secs(1));
    let phone = house.phone(account);
    let answer =
        house.tap_until(&phone, |answer| answer.evidence_age == Some(prost_types::Duration::default())).await;
    assert_eq!(degraded(&answer), None);
}

/// Settles a healthy rider who rides once, so that the facts are known and followed.
async fn ride_and_follow(house: &House) -> Phone {
    house.settle(1, Rider::Healthy).await;
    let phone = house.phone(1);
    house.tap_until(&phone, |answer| said(answer) == "ALLOW HEALTH_OK").await;
    follow(house, 1).await;
    phone
}

/// Ends the watch, and waits until the gateway has noticed and asked for another.
async fn end_watch(house: &House) {
    house.authority.refuse_watches();
    wait_until(|| house.authority.refused_watches() > 0).await;
}

#[tokio::test]
async fn three_kinds_of_not_knowing_are_never_mixed_up() {
    let house = House::with("[fleets]\nhelp_default = \"96165\"\n").await;
    house.settle(1, Rider::NoRecord).await;
    house.settle(2, Rider::Healthy).await;

    let unlinked = house.tap(house.fresh(&house.phone(3))).await;
    let no_record = house.tap(house.fresh(&house.phone(1))).await;
    house.authority.feel(Mood::Failing);
    let failed = house.tap(house.fresh(&house.phone(2))).await;

    assert_eq!(said(&unlinked), "INSPECT NOT_LINKED");
    assert_eq!(said(&no_record), "INSPECT NO_RECORD");
    assert_eq!(said(&failed), "INSPECT LOOKUP_FAILED");
    assert_eq!([&unlinked, &no_record, &failed].map(degraded), [None, None, Some(DegradedCause::Authority)]);
    let zh = |answer: &CheckResponse| answer.prompt.clone().unwrap().zh;
    assert_eq!(zh(&unlinked), "未查询到健康码信息，请您尽快授权升级");
    assert_eq!(zh(&no_record), zh(&unlinked));
    assert_ne!(zh(&failed), zh(&unlinked));
    assert_eq!(failed.prompt.unwrap().help, "96165");
}

#[tokio::test]
async fn a_change_is_in_force_without_anybody_asking_again() {
    let house = House::open().await;
    let phone = ride_and_follow(&house).await;
    let asked = house.authority.asked();

    house.authority.set(&subject(1), Rider::Abnormal.facts(house.clock.now()).unwrap());
    house.tap_until(&phone, |answer| said(answer) == "INSPECT HEALTH").await;
    assert_eq!(house.authority.asked(), asked, "the change came by itself");
}

#[tokio::test]
async fn a_change_that_is_older_than_what_is_known_is_passed_over() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    house.settle(2, Rider::Healthy).await;
    let (phone, witness) = (house.phone(1), house.phone(2));
    house.tap_until(&phone, |answer| said(answer) == "ALLOW HEALTH_OK").await;
    house.tap_until(&witness, |answer| said(answer) == "ALLOW HEALTH_OK").await;
    follow(&house, 1).await;

    let yesterday = house.clock.now() - SignedDuration::from_hours(24);
    house.authority.set(&subject(1), Rider::Abnormal.facts(yesterday).unwrap());
    // Changes come in order: once this one is in force, the one before it was looked at.
    house.authority.set(&subject(2), Rider::Abnormal.facts(house.clock.now()).unwrap());
    house.tap_until(&witness, |answer| said(answer) == "INSPECT HEALTH").await;
    assert_eq!(said(&house.tap(house.fresh(&phone)).await), "ALLOW HEALTH_OK");
}

#[tokio::test]
async fn an_authority_that_never_answers_costs_the_budget_and_no_more() {
    let house = House::exactly(
        "[verdict]\nbudget = \"1s\"\nwait = \"10s\"\n[registry]\ntimeout = \"900ms\"\n",
        "lookup_timeout = \"10s\"",
    )
    .await;
    house.settle(1, Rider::Healthy).await;
    // The link is known from here on: only the authority is asked below.
    house.authority.feel(Mood::Failing);
    house.tap_until(&house.phone(1), |answer| degraded(answer) == Some(DegradedCause::Authority)).await;
    house.authority.feel(Mood::Stalled);
    let asked_at = Instant::now();
    let answer = house.tap(house.fresh(&house.phone(1))).await;
    assert!(asked_at.elapsed() < Duration::from_secs(5), "it would be ten seconds without the budget");
    assert_eq!(said(&answer), "INSPECT LOOKUP_FAILED");
    assert_eq!(degraded(&answer), Some(DegradedCause::Authority));
}

#[tokio::test]
async fn the_callers_deadline_is_the_budget_if_it_is_shorter() {
    let config = "[verdict]\nbudget = \"10s\"\nwait = \"10s\"\nreply_margin = \"8s\"\n[limits]\ncall = \"60s\"\n[registry]\ntimeout = \"5s\"\n";
    let house = House::exactly(config, "lookup_timeout = \"9s\"").await;
    house.settle(1, Rider::Healthy).await;
    house.authority.feel(Mood::Stalled);
    let mut call = identified(GATE, request("r", house.fresh(&house.phone(1))));
    call.set_timeout(Duration::from_secs(9));
    let mut client = ValidatorServiceClient::new(house.channel.clone());
    let answer = client.check(call).await.expect("an answer, not a deadline").into_inner();
    assert_eq!(said(&answer), "INSPECT LOOKUP_FAILED");
}

#[tokio::test]
async fn facts_serve_stale_while_the_authority_is_away_stamped_with_their_age_and_then_no_more() {
    let house = House::open().await;
    let phone = ride_and_follow(&house).await;

    end_watch(&house).await;
    house.authority.stop();
    house.clock.advance(SignedDuration::from_secs(61));
    let stale = house.tap_until(&phone, |answer| answer.degraded.is_some()).await;
    assert_eq!(said(&stale), "ALLOW HEALTH_OK");
    assert_eq!(degraded(&stale), Some(DegradedCause::Authority));
    assert!((61..=63).contains(&stale.evidence_age.unwrap().seconds), "{stale:?}");

    house.clock.advance(SignedDuration::from_hours(12));
    let too_old = house.tap(house.fresh(&phone)).await;
    assert_eq!((said(&too_old).as_str(), too_old.evidence_age), ("INSPECT LOOKUP_FAILED", None));
}

#[tokio::test]
async fn without_a_watch_facts_are_asked_for_again_after_a_minute() {
    let house = House::open().await;
    let phone = ride_and_follow(&house).await;
    let asked = house.authority.asked();

    end_watch(&house).await;
    house.clock.advance(SignedDuration::from_secs(60));
    assert_eq!(said(&house.tap(house.fresh(&phone)).await), "ALLOW HEALTH_OK");
    assert_eq!(house.authority.asked(), asked, "a minute is not over");
    house.clock.advance(SignedDuration::from_secs(2));
    let answer = house.tap_until(&phone, |_| house.authority.asked() != asked).await;
    assert_eq!((said(&answer).as_str(), degraded(&answer)), ("ALLOW HEALTH_OK", None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_changes_of_others_flow_without_a_pause_what_is_known_is_vouched_for() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let phone = house.phone(1);
    house.tap_until(&phone, |answer| said(answer) == "ALLOW HEALTH_OK").await;
    let (authority, now) = (house.authority.clone(), house.clock.now());
    let flow = tokio::spawn(async move {
        for stranger in 0.. {
            authority.set(&format!("stranger-{stranger}"), Rider::Healthy.facts(now).unwrap());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    follow(&house, 1).await;
    house.clock.advance(SignedDuration::from_mins(10));
    let asked = house.authority.asked();
    let answer =
        house.tap_until(&phone, |answer| answer.evidence_age.is_some_and(|age| age.seconds < 2)).await;
    assert_eq!((said(&answer).as_str(), house.authority.asked()), ("ALLOW HEALTH_OK", asked));
    flow.abort();
}

#[tokio::test]
async fn a_wrong_answer_is_no_answer() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    house.authority.feel(Mood::Confused);
    assert_eq!(said(&house.tap(house.fresh(&house.phone(1))).await), "INSPECT LOOKUP_FAILED");
}

#[tokio::test]
async fn a_lost_cursor_leaves_nothing_trusted() {
    let house = House::open().await;
    let phone = ride_and_follow(&house).await;
    let asked = house.authority.asked();
    assert_eq!(said(&house.tap(house.fresh(&phone)).await), "ALLOW HEALTH_OK");
    assert_eq!(house.authority.asked(), asked, "it is known");

    house.authority.forget_cursors();
    let answer = house.tap_until(&phone, |_| house.authority.asked() != asked).await;
    assert_eq!(said(&answer), "ALLOW HEALTH_OK", "asked for again");
}

#[tokio::test]
async fn where_nothing_is_enforced_nobody_is_asked() {
    let house = House::open().await;
    house.settle(1, Rider::Abnormal).await;
    let out =
        CheckRequest { direction: Direction::Exit.into(), ..request("out", house.fresh(&house.phone(1))) };
    let answer = house.check(GATE, out).await.unwrap();
    assert_eq!((said(&answer).as_str(), answer.evidence_age), ("ALLOW NOT_ENFORCED", None));
    assert_eq!(house.authority.asked(), (0, 0));
    assert_eq!(said(&house.tap(house.fresh(&house.phone(1))).await), "INSPECT HEALTH");
    assert_eq!(house.authority.asked(), (1, 0), "the counter counts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taps_of_one_rider_at_once_share_a_look_up_and_many_riders_share_a_call() {
    let house = House::exactly(
        "[verdict]\nbudget = \"10s\"\nwait = \"10s\"\n[registry]\ntimeout = \"5s\"\n",
        "lookup_timeout = \"8s\"\nconcurrent_calls = 1",
    )
    .await;
    for account in 1..=20 {
        house.settle(account, Rider::Healthy).await;
    }
    // One call is under way and hangs; everybody else waits for the next.
    house.authority.feel(Mood::Stalled);
    let taps = (1..=20)
        .flat_map(|account| [account, account])
        .map(|account| house.tap(house.fresh(&house.phone(account))));
    let wake = async {
        // What waits inside the gateway cannot be seen from here; two of forty are enough for what is asserted.
        tokio::time::sleep(Duration::from_millis(500)).await;
        house.authority.feel(Mood::Well);
    };
    let (answers, ()) = tokio::join!(join_all(taps), wake);
    assert!(
        answers.iter().all(|answer| said(answer) == "ALLOW HEALTH_OK"),
        "{:?}",
        answers.iter().map(said).collect::<Vec<_>>()
    );
    let (one_by_one, batches) = house.authority.asked();
    assert!(batches >= 1, "those who waited went together");
    assert!(one_by_one + batches < 20, "{one_by_one} look-ups and {batches} batches for 20 riders");
}

#[tokio::test]
async fn health_reasons_are_coarse_unless_the_fleet_is_configured_otherwise() {
    let house = House::with("[fleets]\nfull_reasons = [\"bjbus\"]\n").await;
    for (account, rider, full) in [
        (1, Rider::Overdue, "INSPECT TEST_OVERDUE"),
        (2, Rider::Abnormal, "INSPECT HEALTH_ABNORMAL"),
        (3, Rider::Popup, "INSPECT HEALTH_POPUP"),
        (4, Rider::Untested, "INSPECT TEST_MISSING"),
    ] {
        house.settle(account, rider).await;
        let phone = house.phone(account);
        let coarse = house.tap(house.fresh(&phone)).await;
        assert_eq!(said(&coarse), "INSPECT HEALTH");
        let bus = "urn:ridegate:validator:bjbus:reader-1";
        let told = house.check(bus, request("r", house.fresh(&phone))).await.unwrap();
        assert_eq!(said(&told), full);
        assert_eq!(told.prompt, coarse.prompt, "the screen says no more");
        assert_eq!(told.prompt.unwrap().zh, "健康码异常");
    }
}

#[tokio::test]
async fn a_verdict_says_what_it_rests_on() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let answer = house.tap(house.fresh(&house.phone(1))).await;
    assert_eq!(answer.policy_version, "beijing-2022/1");
    assert_eq!(answer.partner, "yikatong");
    assert!(answer.evidence_age.is_some() && answer.degraded.is_none());
    assert!(
        answer.verdict_id.len() == 36 && answer.verdict_id.as_bytes()[14] == b'7',
        "{}",
        answer.verdict_id
    );
    assert_eq!(answer.prompt.unwrap().zh, "");
}
