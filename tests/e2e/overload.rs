//! More than can be done: what comes on top is told so at once, and loses nothing.

use futures_util::future::join_all;
use ridegate_proto::validator::v1::{CheckResponse, Reason};
use ridegate_sim::riders::Rider;
use tonic_health::ServingStatus;

use crate::{
    house::{House, request, said},
    observed::{get, metric, status},
};

/// A gateway for which a millisecond is a long wait.
const HURRIED: &str = "[verdict]\nbudget = \"10s\"\nwait = \"1ms\"\n[registry]\ntimeout = \"5s\"\n";
const RIDERS: u64 = 8;
/// Codes of each rider, at once.
const CODES: usize = 60;
const OVERLOADED: &str = "INSPECT OVERLOADED";

fn gate(number: usize) -> String {
    format!("urn:ridegate:validator:bjsubway:gate-{number}")
}

async fn show(house: &House, round: usize, codes: &[Vec<u8>]) -> Vec<CheckResponse> {
    let taps = codes.iter().enumerate().map(async |(number, code)| {
        // Each time at another gate, which never saw it.
        let request = request(&format!("rush-{round}-{number}"), code.clone());
        house.check(&gate(1_000 * round + number), request).await.unwrap()
    });
    join_all(taps).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_told_so_and_its_code_is_unused() {
    let house = House::exactly(HURRIED, "lookup_timeout = \"5s\"").await;
    let mut codes = Vec::new();
    for rider in 1..=RIDERS {
        house.settle(rider, Rider::Healthy).await;
        let phone = house.phone(rider);
        codes.extend((0..CODES).map(|_| house.fresh(&phone)));
    }
    let (mut left, mut shed) = (codes.clone(), 0);
    for round in 0..1_000 {
        let answers = show(&house, round, &left).await;
        for answer in &answers {
            let reason = answer.reason();
            assert!(matches!(reason, Reason::HealthOk | Reason::Overloaded), "{}", said(answer));
        }
        let mut answers = answers.iter();
        left.retain(|_| said(answers.next().unwrap()) == OVERLOADED);
        shed += left.len();
        // Nobody who looks after it is sent away.
        assert_eq!(status(&house, "").await, Ok(ServingStatus::Serving));
        assert_eq!(get(&house, "/readyz").await.0, 200);
        if left.is_empty() {
            break;
        }
    }
    assert_eq!(left.len(), 0, "every code was let in once, in the end");
    assert!(shed > 0, "it was never too much");
    let partner = "ridegate_verdicts_total{partner=\"yikatong\",verdict=\"INSPECT\",reason=\"OVERLOADED\"}";
    assert_eq!(metric(&house, partner).await, i64::try_from(shed).unwrap());
    // Each that was let in is used up.
    let again = show(&house, 1_001, &codes[..4]).await;
    assert!(again.iter().all(|answer| answer.reason() == Reason::CodeReplayed));
}

/// Only signatures take a turn: what is refused without one is refused for what it is, however many wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_that_is_over_waits_for_no_core_and_is_never_too_much() {
    let config = format!("{HURRIED}[quota]\ncodes_per_second = 1000000\ncodes_burst = 1000000\n");
    let house = House::exactly(&config, "lookup_timeout = \"5s\"").await;
    let mut codes = Vec::new();
    for rider in 1..=RIDERS {
        house.settle(rider, Rider::Healthy).await;
        let phone = house.phone(rider);
        let over = phone.code(house.now() - 1_300).unwrap();
        // One of four.
        codes.extend((0..CODES).map(|turn| if turn % 4 == 0 { over.clone() } else { house.fresh(&phone) }));
    }
    let mut shed = 0;
    for round in 0..1_000 {
        for (number, answer) in show(&house, round, &codes).await.iter().enumerate() {
            let said = said(answer);
            if number % 4 == 0 {
                assert_eq!(said, "INSPECT CODE_EXPIRED");
            } else if said == OVERLOADED {
                shed += 1;
            }
        }
        // So many that with them some of the others would have been.
        if shed >= 100 {
            return;
        }
    }
    panic!("it was hardly ever too much: {shed}");
}
