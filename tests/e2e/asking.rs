//! What the gateway costs those whom it asks: few calls however many ask, no look-up twice, no storm of second tries.

use std::{sync::Arc, time::Duration};

use futures_util::{future::join_all, poll};
use jiff::SignedDuration;
use ridegate_gateway::{
    admission::sale::IdNumber,
    backends::{
        authority::{Authority as Client, AuthorityError},
        retry::Retries,
    },
    domain::facts::Subject,
    metrics::Metrics,
    resolve::{
        desk::Desk,
        facts::{Freshness, Known},
        lookups::Lookups,
    },
};
use ridegate_proto::{partner::v1::LinkResult, validator::v1::CheckResponse};
use ridegate_sim::{
    authority::{Authority, Mood},
    riders::Rider,
};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tonic::{Code, transport::Endpoint};
use tonic_types::StatusExt;

use crate::{
    errands::reason,
    house::{House, NOON, PARTNER, link_request, said, subject, wait_until},
    observed::metric,
    resolvers::{WIDE, fresh_codes, settle},
};

const CAP: Duration = Duration::from_secs(10);

/// Look-ups without a gateway around them, so that what they cost is seen and nothing else.
struct Asking {
    authority: Authority,
    client: Client,
    lookups: Arc<Lookups>,
    metrics: Arc<Metrics>,
}

impl Asking {
    fn start(calls: usize) -> Self {
        let (authority, metrics) = (Authority::start().unwrap(), Arc::new(Metrics::default()));
        let endpoint = Endpoint::from_shared(authority.endpoint()).unwrap();
        let retries = Retries::new(metrics.retries("authority"));
        let seen = (metrics.upstream("authority"), metrics.breaker("authority"));
        let client = Client::new(endpoint, [CAP; 2], calls, retries, seen);
        let freshness = Freshness {
            unwatched: SignedDuration::from_secs(60),
            no_record: SignedDuration::from_secs(30),
            stale: SignedDuration::from_hours(12),
        };
        let desk = Arc::new(Desk::new(NOON.parse().unwrap(), freshness, 100_000));
        let lookups = Arc::new(Lookups::start(client.clone(), desk, calls, CAP, metrics.cache("facts")));
        Self { authority, client, lookups, metrics }
    }

    /// Riders whom the authority knows and the gateway does not.
    fn cold(&self, riders: std::ops::Range<u32>) -> Vec<Subject> {
        let facts = Rider::Healthy.facts("2022-06-15T04:00:00Z".parse().unwrap()).unwrap();
        riders
            .map(|rider| {
                let subject = format!("subject-{rider}");
                self.authority.set(&subject, facts.clone());
                Subject::new(subject)
            })
            .collect()
    }

    fn calls(&self) -> u64 {
        let (alone, batches) = self.authority.asked();
        alone + batches
    }

    /// Second tries: made, and not made for want of a budget.
    fn retries(&self) -> [u64; 2] {
        let page = self.metrics.encode();
        ["tried", "over_budget"].map(|outcome| {
            let sample =
                format!("ridegate_upstream_retries_total{{upstream=\"authority\",outcome=\"{outcome}\"}} ");
            page.lines().find_map(|line| line.strip_prefix(&sample)).unwrap().parse().unwrap()
        })
    }
}

fn is_known(known: &Known) -> bool {
    matches!(known, Known::Facts { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_rush_costs_few_calls() {
    let asking = Asking::start(32);
    asking.authority.take(Duration::from_millis(5));
    let riders = asking.cold(0..1_000);
    let known = join_all(riders.iter().map(|rider| asking.lookups.find(rider, CAP))).await;
    assert!(known.iter().all(is_known));
    let asked = asking.authority.asked();
    println!("1,000 cold at once: {} calls, alone and in batches {asked:?}", asking.calls());
    assert!(asking.calls() <= 20, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_steady_stream_of_cold_riders_costs_less_than_a_call_each() {
    let asking = Asking::start(32);
    asking.authority.take(Duration::from_millis(5));
    let riders = asking.cold(0..4_000);
    let mut tick = interval(Duration::from_millis(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut asked = Vec::new();
    for pair in riders.chunks(2) {
        tick.tick().await;
        for rider in pair {
            let rider = rider.clone();
            let lookups = Arc::clone(&asking.lookups);
            asked.push(tokio::spawn(async move {
                let began = Instant::now();
                (lookups.find(&rider, CAP).await, began.elapsed())
            }));
        }
    }
    let mut took = Vec::new();
    for answer in asked {
        let (known, wait) = answer.await.unwrap();
        assert!(is_known(&known));
        took.push(wait);
    }
    took.sort();
    println!(
        "2,000 cold a second: {} calls for 4,000, alone and in batches {:?}; waited {:?} in the middle, one in a hundred {:?}",
        asking.calls(),
        asking.authority.asked(),
        took[took.len() / 2],
        took[took.len() * 99 / 100],
    );
    assert!(asking.calls() < 3_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_after_the_other_each_goes_alone() {
    let asking = Asking::start(32);
    for rider in asking.cold(0..20) {
        assert!(is_known(&asking.lookups.find(&rider, CAP).await));
    }
    let (alone, batches) = asking.authority.asked();
    assert_eq!((alone, batches), (20, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_calls_at_once_than_were_agreed_and_no_batch_is_too_large() {
    let asking = Asking::start(3);
    asking.authority.feel(Mood::Stalled);
    let riders = asking.cold(0..2_000);
    let mut known = Box::pin(join_all(riders.iter().map(|rider| asking.lookups.find(rider, CAP))));
    assert!(poll!(&mut known).is_pending());
    wait_until(|| asking.calls() == 3).await;
    asking.authority.feel(Mood::Well);
    assert!(known.await.iter().all(is_known));
    assert!((8..=12).contains(&asking.calls()), "256 a call at the most: {:?}", asking.authority.asked());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_who_ask_about_one_rider_share_a_look_up_also_if_the_first_goes_away() {
    let asking = Asking::start(32);
    let rider = asking.cold(0..1).remove(0);
    asking.authority.feel(Mood::Stalled);
    let first = tokio::spawn({
        let (lookups, rider) = (Arc::clone(&asking.lookups), rider.clone());
        async move { lookups.find(&rider, CAP).await }
    });
    wait_until(|| asking.calls() == 1).await;
    let mut others = Box::pin(join_all((0..199).map(|_| asking.lookups.find(&rider, CAP))));
    assert!(poll!(&mut others).is_pending(), "they wait with the first");
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    asking.authority.feel(Mood::Well);
    assert!(others.await.iter().all(is_known));
    assert_eq!(asking.authority.asked(), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_taps_of_one_rider_cost_the_authority_one_look_up() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let phone = house.phone(1);
    house.authority.take(Duration::from_millis(100));
    let told = join_all((0..200).map(|_| house.tap(house.fresh(&phone)))).await;
    assert!(told.iter().all(|answer| said(answer) == "ALLOW HEALTH_OK"));
    assert_eq!(house.authority.asked(), (1, 0));
}

/// One call hangs, so that all of these wait and go together when it ends.
async fn together(asking: &Asking, riders: &[Subject]) -> Vec<Known> {
    asking.authority.feel(Mood::Stalled);
    let calls = asking.calls();
    let mut first = Box::pin(asking.lookups.find(&riders[0], CAP));
    assert!(poll!(&mut first).is_pending());
    wait_until(|| asking.calls() > calls).await;
    let mut others = Box::pin(join_all(riders[1..].iter().map(|rider| asking.lookups.find(rider, CAP))));
    assert!(poll!(&mut others).is_pending());
    asking.authority.feel(Mood::Well);
    let (first, mut known) = tokio::join!(first, others);
    known.insert(0, first);
    known
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subject_that_the_authority_stumbles_over_spoils_nobody_elses_answer() {
    let asking = Asking::start(1);
    let riders = asking.cold(0..257);
    asking.authority.choke_on("subject-100");
    let known = together(&asking, &riders).await;
    for (rider, known) in known.iter().enumerate() {
        assert_eq!(is_known(known), rider != 100, "{rider}");
    }
    // The first, the batch, and two for each time that it is halved.
    assert_eq!(asking.authority.asked(), (1 + 2, 1 + 2 * 7));
    assert_eq!(asking.retries(), [16, 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_refuses_everything_is_not_asked_much_more_for_it() {
    let asking = Asking::start(32);
    let riders = asking.cold(0..5_000);
    asking.authority.feel(Mood::Failing);
    for rush in riders.chunks(250) {
        let known = join_all(rush.iter().map(|rider| asking.lookups.find(rider, CAP))).await;
        assert!(known.iter().all(|known| *known == Known::Nothing));
    }
    let ([tried, over_budget], calls) = (asking.retries(), asking.calls());
    println!("20 rushes of 250, all refused: {calls} calls, {tried} of them second tries");
    assert!(over_budget > 0 && tried <= 20 + calls / 10 + 20, "{tried} of {calls}");
}

#[derive(Clone, Copy)]
enum Question {
    Lookup,
    Batch,
    Identify,
}

/// 1,000 questions a second, of which each could be asked again.
async fn storm(asking: &Asking, calls: u32, what: impl Fn(u32) -> Question) {
    let (mut tick, mut asked) = (interval(Duration::from_millis(1)), Vec::new());
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for (call, rider) in (0..calls).zip(asking.cold(0..calls)) {
        tick.tick().await;
        let (client, question) = (asking.client.clone(), what(call));
        asked.push(tokio::spawn(async move {
            let failed = match question {
                Question::Lookup => client.lookup(&rider, CAP).await.map(drop),
                Question::Batch => client.batch_lookup(&[rider.clone(), rider], CAP).await.map(drop),
                Question::Identify => {
                    client.identify(&IdNumber::new("11010519491231002X".into()).unwrap(), CAP).await.map(drop)
                }
            };
            assert_eq!(failed, Err(AuthorityError::Unavailable));
        }));
    }
    for answer in asked {
        answer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_is_away_is_given_a_tenth_of_all_calls_again_and_no_more() {
    let asking = Asking::start(32);
    asking.authority.feel(Mood::Unavailable);
    storm(&asking, 2_000, |_| Question::Identify).await;
    let (reached, [tried, over_budget]) = (asking.calls() + asking.authority.identified(), asking.retries());
    println!("2,000 questions in two seconds to nobody: {reached} calls, {tried} of them second tries");
    assert_eq!(reached, 2_000 + tried);
    assert_eq!(tried + over_budget, 2_000, "each could have been asked again");
    // A busy machine may take longer, and then another window's reserve.
    assert!((100..=200 + 2 * 20 + 10).contains(&tried), "{tried}");
}

/// Look-ups, of which there are as many as cold riders at gates, are not even begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_is_away_is_spared_nearly_all_look_ups() {
    let asking = Asking::start(32);
    asking.authority.feel(Mood::Unavailable);
    storm(&asking, 2_000, |call| if call % 2 == 0 { Question::Lookup } else { Question::Batch }).await;
    let (reached, [tried, _]) = (asking.calls(), asking.retries());
    let page = asking.metrics.encode();
    let skipped = "ridegate_upstream_skipped_total{upstream=\"authority\"} ";
    let skipped = page.lines().find_map(|line| line.strip_prefix(skipped)).unwrap();
    println!("2,000 look-ups in two seconds of nobody: {reached} calls, {skipped} not made");
    assert_eq!(reached - tried + skipped.parse::<u64>().unwrap(), 2_000);
    // Those that were under way before anybody knew were asked: on a busy machine many.
    assert!(reached < 1_000, "{reached}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_asked_again_who_was_silent_or_answered() {
    let asking = Asking::start(32);
    let riders = asking.cold(0..4);
    let cap = Duration::from_millis(300);
    asking.authority.feel(Mood::Stalled);
    assert_eq!(asking.client.lookup(&riders[0], cap).await, Err(AuthorityError::TimedOut));
    for mood in [Mood::Failing, Mood::Confused] {
        asking.authority.feel(mood);
        asking.client.lookup(&riders[0], CAP).await.unwrap_err();
    }
    asking.authority.feel(Mood::Well);
    assert_eq!(asking.client.lookup(&Subject::new("nobody"), CAP).await, Ok(None));
    assert_eq!((asking.calls(), asking.retries()), (4, [0, 0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_in_passing_is_asked_once_more_and_nobody_notices() {
    let house = House::with_resolvers(WIDE).await;
    settle(&house, "yitongxing", 1, Rider::Healthy).await;
    let (mut codes, resolver) = (fresh_codes(&house, "yitongxing", 1), &house.resolvers["yitongxing"]);
    resolver.feel(Mood::Hiccup);
    house.authority.feel(Mood::Hiccup);
    let answer = house.tap(codes.next().unwrap()).await;
    assert_eq!((said(&answer).as_str(), answer.degraded.is_some()), ("ALLOW HEALTH_OK", false));
    assert_eq!((resolver.asked(), house.authority.asked()), (2, (2, 0)));
    for upstream in ["authority", "resolver/yitongxing"] {
        for (outcome, count) in [("tried", 1), ("over_budget", 0)] {
            let sample = format!("upstream_retries_total{{upstream=\"{upstream}\",outcome=\"{outcome}\"}}");
            assert_eq!(metric(&house, &format!("ridegate_{sample}")).await, count, "{sample}");
        }
    }
    // It was one question.
    let asked = "ridegate_resolver_duration_seconds_count{partner=\"yitongxing\",outcome=\"ok\"}";
    assert_eq!(metric(&house, asked).await, 1);
}

/// Five questions that nobody answers are enough to ask no more; with a second try each it takes five all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_with_a_second_try_is_one_failure_of_its_partner() {
    let house = House::with_resolvers(WIDE).await;
    settle(&house, "cmb", 1, Rider::Healthy).await;
    let (mut codes, resolver) = (fresh_codes(&house, "cmb", 1), &house.resolvers["cmb"]);
    resolver.feel(Mood::Unavailable);
    for question in 1..=5 {
        assert_eq!(metric(&house, "ridegate_resolver_up{partner=\"cmb\"}").await, 1, "{question}");
        let answer: CheckResponse = house.tap(codes.next().unwrap()).await;
        assert_eq!(said(&answer), "INSPECT LOOKUP_FAILED");
        assert_eq!(resolver.asked(), 2 * question);
    }
    assert_eq!(metric(&house, "ridegate_resolver_up{partner=\"cmb\"}").await, 0);
    // Others have budgets of their own.
    let others = "ridegate_upstream_retries_total{upstream=\"resolver/unionpay\",outcome=\"tried\"}";
    assert_eq!(metric(&house, others).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchanges_are_bounded_too_and_who_finds_no_room_is_told_to_come_again() {
    let config = "lookup_timeout = \"5s\"\nexchange_timeout = \"4s\"\nconcurrent_calls = 2";
    let house = House::exactly(WIDE, config).await;
    for account in 1..=6 {
        house.authority.authorise(&format!("code-{account}"), &subject(account));
    }
    house.authority.feel(Mood::Stalled);
    let link = |account| house.link(PARTNER, link_request(account));
    let two = async { tokio::join!(link(1), link(2)) };
    let others = async {
        wait_until(|| house.authority.exchanges() == 2).await;
        let told = tokio::join!(link(3), link(4), link(5));
        assert_eq!(house.authority.exchanges(), 2, "no more at once than were agreed");
        house.authority.feel(Mood::Well);
        <[_; 3]>::from(told)
    };
    let (two, others) = tokio::join!(two, others);
    for busy in others.map(Result::unwrap_err) {
        assert_eq!((busy.code(), reason(&busy).as_str()), (Code::Unavailable, "AUTHORITY_BUSY"));
        assert!(busy.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()));
    }
    for linked in <[_; 2]>::from(two) {
        assert_eq!(linked.unwrap().result(), LinkResult::Linked);
    }
    // The same request again.
    assert_eq!(link(3).await.unwrap().result(), LinkResult::Linked);
}
