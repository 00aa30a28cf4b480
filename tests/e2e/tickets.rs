//! Single tickets, as windows and machines live them: one at a time for each person, until it was used.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use ridegate_proto::{
    ticketing::v1::{
        CheckSaleRequest, CheckSaleResponse, ReportSoldRequest, ReportUsedRequest,
        ticket_service_client::TicketServiceClient,
    },
    validator::v1::Verdict,
};
use ridegate_sim::{authority::Mood, riders::Rider};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio::task::JoinSet;
use tonic::{Code, Response, Status, transport::Channel};
use tonic_types::StatusExt;

use crate::{
    house::{House, connect, identified, rename, subject},
    observed::{counted, get, metric},
    process::Process,
};

pub const WINDOW: &str = "urn:ridegate:ticketing:bjsubway:window-1";
const MACHINE: &str = "urn:ridegate:ticketing:bjsubway:machine-2";

/// So wide that no test here is over it by chance.
const OFTEN: &str = "[tickets]\nper_device_per_minute = 100000\nper_device_burst = 100000\n";

const NOT_FOUND: &str = "未查询到健康码信息，请您尽快授权升级";
const ABNORMAL: &str = "健康码异常";
const OPEN: &str = "已有未使用的车票，请先使用";
const FAILED: &str = "暂时无法核验，请联系工作人员";

/// A buyer's ID number, with its check digit.
pub fn id_number(buyer: u32) -> String {
    let digits = format!("11010519{buyer:09}");
    // By the table of the standard; the gateway does it by ISO 7064.
    let weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
    let sum: u32 =
        digits.chars().zip(weights).map(|(digit, weight)| digit.to_digit(10).unwrap() * weight).sum();
    format!("{digits}{}", char::from(b"10X98765432"[sum as usize % 11]))
}

/// A buyer whom the authority knows.
pub fn buyer(house: &House, buyer: u32, rider: Rider) -> String {
    let subject = subject(buyer.into());
    house.authority.number(&id_number(buyer), &subject);
    if let Some(facts) = rider.facts(house.clock.now()) {
        house.authority.set(&subject, facts);
    }
    id_number(buyer)
}

fn client(house: &House, window: &str) -> TicketServiceClient<Channel> {
    TicketServiceClient::new(house.channel_of(window))
}

async fn check(house: &House, window: &str, number: &str) -> Result<CheckSaleResponse, Status> {
    let request = CheckSaleRequest { id_number: number.into(), location: "xizhimen".into() };
    client(house, window).check_sale(identified(window, request)).await.map(Response::into_inner)
}

/// What the window is told: `ALLOW`, or the screen's Chinese.
fn told(answer: &CheckSaleResponse) -> String {
    let prompt = answer.prompt.as_ref().unwrap();
    if answer.verdict() == Verdict::Allow {
        assert!(
            !answer.sale_id.is_empty()
                && prompt.zh.is_empty()
                && prompt.en.is_empty()
                && prompt.help.is_empty()
        );
        return "ALLOW".into();
    }
    assert_eq!(answer.verdict(), Verdict::Inspect);
    assert_eq!(answer.sale_id, "", "nothing is sold");
    assert!(prompt.en.is_ascii() && !prompt.en.is_empty());
    prompt.zh.clone()
}

async fn asked(house: &House, number: &str) -> String {
    told(&check(house, WINDOW, number).await.unwrap())
}

async fn sold(house: &House, sale_id: &str, ticket: &str) -> Result<(), Status> {
    let request = ReportSoldRequest { sale_id: sale_id.into(), ticket: ticket.into() };
    client(house, WINDOW).report_sold(identified(WINDOW, request)).await.map(drop)
}

async fn used(house: &House, ticket: &str) -> Result<bool, Status> {
    let request = ReportUsedRequest { ticket: ticket.into() };
    let answer = client(house, MACHINE).report_used(identified(MACHINE, request)).await;
    answer.map(|answer| answer.into_inner().was_open)
}

/// Sells a ticket to who may have one.
async fn sell(house: &House, number: &str, ticket: &str) -> String {
    let answer = check(house, WINDOW, number).await.unwrap();
    assert_eq!(told(&answer), "ALLOW");
    sold(house, &answer.sale_id, ticket).await.unwrap();
    answer.sale_id
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

#[track_caller]
fn names(status: &Status, field: &str) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
    assert_eq!(status.get_details_error_info().unwrap().reason, "INVALID_FIELD");
}

#[tokio::test]
async fn a_ticket_is_sold_once_until_it_was_used() {
    let house = House::with(OFTEN).await;
    let with_x = (1..100).find(|number| id_number(*number).ends_with('X')).unwrap();
    let number = buyer(&house, with_x, Rider::Healthy);
    let sale = sell(&house, &number, "T-1").await;
    assert_eq!(asked(&house, &number).await, OPEN);
    assert_eq!(told(&check(&house, MACHINE, &number).await.unwrap()), OPEN, "at another machine too");
    assert_eq!(asked(&house, &number.replace('X', "x")).await, OPEN, "a small x is the same person's");
    sold(&house, &sale, "T-1").await.expect("a repeat answers the same");

    let other = buyer(&house, with_x + 1, Rider::Healthy);
    sell(&house, &other, "T-2").await;
    assert!(used(&house, "T-1").await.unwrap());
    assert!(!used(&house, "T-1").await.unwrap(), "it is open no more");
    assert_eq!(asked(&house, &other).await, OPEN, "another person's ticket is another one");
    assert_eq!(asked(&house, &number).await, "ALLOW");
    let open = "ridegate_ticket_checks_total{verdict=\"INSPECT\",reason=\"TICKET_OPEN\"}";
    let allowed = "ridegate_ticket_checks_total{verdict=\"ALLOW\",reason=\"HEALTH_OK\"}";
    assert_eq!((metric(&house, open).await, metric(&house, allowed).await), (4, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_windows_that_ask_for_one_person_at_once_one_may_sell() {
    let house = House::with(OFTEN).await;
    for round in 1..=5 {
        let number = buyer(&house, round, Rider::Healthy);
        let mut asking = JoinSet::new();
        for turn in 0..40 {
            let window = if turn % 2 == 0 { WINDOW } else { MACHINE };
            let request = CheckSaleRequest { id_number: number.clone(), location: String::new() };
            let mut client = client(&house, window);
            asking.spawn(async move { client.check_sale(identified(window, request)).await });
        }
        let mut answers = BTreeMap::<_, u32>::new();
        while let Some(answer) = asking.join_next().await {
            *answers.entry(told(answer.unwrap().unwrap().get_ref())).or_default() += 1;
        }
        assert_eq!(answers, BTreeMap::from([("ALLOW".to_owned(), 1), (OPEN.to_owned(), 39)]));
    }
}

#[tokio::test]
async fn a_sale_nobody_makes_is_held_for_two_minutes_and_a_ticket_nobody_uses_for_a_day() {
    let house = House::with(OFTEN).await;
    let number = buyer(&house, 1, Rider::Healthy);
    let lost = check(&house, WINDOW, &number).await.unwrap().sale_id;
    house.clock.advance(seconds(120));
    assert_eq!(asked(&house, &number).await, OPEN);
    house.clock.advance(seconds(1));
    sell(&house, &number, "T-1").await;
    let late = sold(&house, &lost, "T-0").await.unwrap_err();
    assert_eq!(late.code(), Code::NotFound, "another sale has taken its place");
    assert_eq!(late.get_details_error_info().unwrap().reason, "NO_SUCH_SALE");

    house.clock.advance(SignedDuration::from_hours(24));
    // Tested yesterday, at noon: still in time.
    assert_eq!(asked(&house, &number).await, OPEN);
    house.clock.advance(seconds(1));
    assert!(!used(&house, "T-1").await.unwrap(), "it is over");
    sell(&house, &number, "T-2").await;
}

#[tokio::test]
async fn how_long_a_place_is_kept_is_configuration() {
    let house = House::with(&format!("{OFTEN}hold = \"10s\"\nunused_max = \"1m\"\n")).await;
    let number = buyer(&house, 1, Rider::Healthy);
    assert_eq!(asked(&house, &number).await, "ALLOW");
    house.clock.advance(seconds(11));
    sell(&house, &number, "T-1").await;
    house.clock.advance(seconds(60));
    assert_eq!(asked(&house, &number).await, OPEN);
    house.clock.advance(seconds(1));
    assert_eq!(asked(&house, &number).await, "ALLOW");
}

#[tokio::test]
async fn a_report_that_cannot_be_is_told_which_field_and_no_value() {
    let house = House::with(OFTEN).await;
    let (one, two) = (buyer(&house, 1, Rider::Healthy), buyer(&house, 2, Rider::Healthy));
    let sale = sell(&house, &one, "ticket-canary").await;
    let second = check(&house, WINDOW, &two).await.unwrap().sale_id;
    for (sale_id, ticket, field) in [
        ("", "T", "sale_id"),
        ("sale", "T", "sale_id"),
        ("01811a5e-1c00-7000-8000-000000000000", "T", "sale_id"),
        (&second, "", "ticket"),
        (&second, &"票".repeat(65), "ticket"),
        (&second, "ticket-canary", "ticket"),
        (&sale, "T", "ticket"),
    ] {
        let refused = sold(&house, sale_id, ticket).await.unwrap_err();
        names(&refused, field);
        assert!(!format!("{refused:?}").contains("canary"), "{refused:?}");
    }
    let unknown = sold(&house, "9f0c9d7e-3a5b-4c1d-8e2f-000000000000", "T").await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    for ticket in ["", &"票".repeat(65)] {
        names(&used(&house, ticket).await.unwrap_err(), "ticket");
    }
    assert!(!used(&house, "nobody's").await.unwrap());
    sold(&house, &second, &"票".repeat(64)).await.expect("what was refused has spoilt nothing");
    assert!(used(&house, "ticket-canary").await.unwrap());
}

#[tokio::test]
async fn who_may_not_ride_may_not_buy_and_nothing_is_held() {
    let house = House::with(&format!("{OFTEN}[fleets]\nhelp_default = \"96165\"\n")).await;
    for (number, rider, expect) in [
        (1, Rider::Overdue, ABNORMAL),
        (2, Rider::Abnormal, ABNORMAL),
        (3, Rider::Popup, ABNORMAL),
        (4, Rider::Untested, ABNORMAL),
        (5, Rider::NoRecord, NOT_FOUND),
        (6, Rider::Exempt, "ALLOW"),
    ] {
        let buyer = buyer(&house, number, rider);
        assert_eq!(asked(&house, &buyer).await, expect, "{rider}");
    }
    let unknown = check(&house, WINDOW, &id_number(7)).await.unwrap();
    assert_eq!(told(&unknown), NOT_FOUND, "a number that nobody has");
    assert_eq!(unknown.prompt.unwrap().help, "96165");
    assert_eq!(rows(&house).await, 1, "only of who may buy");
    assert_eq!(house.authority.identified(), 7);
}

/// Open tickets and sales in the database.
async fn rows(house: &House) -> i64 {
    let other = database(house).await;
    let rows = sqlx::query_scalar("SELECT count(*) FROM ticket").fetch_one(&other).await.unwrap();
    other.close().await;
    rows
}

async fn database(house: &House) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(house.folder.path().join("ridegate.db"));
    SqlitePool::connect_with(options).await.unwrap()
}

#[tokio::test]
async fn what_is_no_id_number_is_refused_and_not_repeated() {
    let house = House::with(OFTEN).await;
    let good = buyer(&house, 1, Rider::Healthy);
    let last = if good.ends_with('1') { '2' } else { '1' };
    let wrong = format!("{}{last}", &good[..17]);
    for bad in
        ["", &good[..17], &good[..15], &format!("{good}0"), &wrong, "11010519canary00X", "ABCDEFGHIJKLMNOPQR"]
    {
        let refused = check(&house, WINDOW, bad).await.unwrap_err();
        names(&refused, "id_number");
        let printed = format!("{refused:?}");
        assert!(
            printed.contains("must ") && !printed.contains("11010519") && !printed.contains("QR"),
            "{printed}"
        );
    }
    let request = CheckSaleRequest { id_number: good.clone(), location: "x".repeat(65) };
    let refused = client(&house, WINDOW).check_sale(identified(WINDOW, request)).await.unwrap_err();
    names(&refused, "location");
    assert!(!refused.message().contains("xxx"));
    assert_eq!(house.authority.identified(), 0, "nobody is asked about what cannot be");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_fails_is_inspect_and_nothing_is_held() {
    let house = House::with(OFTEN).await;
    let number = buyer(&house, 1, Rider::Healthy);
    // Confused, it still knows whose the number is, and says nothing that can be used of the person.
    for mood in [Mood::Failing, Mood::Confused] {
        house.authority.feel(mood);
        assert_eq!(asked(&house, &number).await, FAILED, "{mood:?}");
    }
    house.authority.feel(Mood::Well);
    assert_eq!(asked(&house, &number).await, "ALLOW");
    house.authority.stop();
    assert_eq!(asked(&house, &id_number(2)).await, FAILED);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_stalls_is_inspect_inside_the_budget() {
    let house = House::exactly(
        &format!("[verdict]\nbudget = \"300ms\"\nwait = \"10s\"\n{OFTEN}"),
        "lookup_timeout = \"5s\"",
    )
    .await;
    let number = buyer(&house, 1, Rider::Healthy);
    house.authority.feel(Mood::Stalled);
    assert_eq!(asked(&house, &number).await, FAILED);
    let failed = "ridegate_ticket_checks_total{verdict=\"INSPECT\",reason=\"LOOKUP_FAILED\"}";
    assert_eq!(metric(&house, failed).await, 1);
}

#[tokio::test]
async fn without_the_registry_a_sale_is_inspect_and_a_report_is_to_be_repeated() {
    let house = House::with(OFTEN).await;
    let (one, two) = (buyer(&house, 1, Rider::Healthy), buyer(&house, 2, Rider::Healthy));
    let sale = check(&house, WINDOW, &one).await.unwrap().sale_id;
    rename(&house, "ticket", "away").await;
    assert_eq!(asked(&house, &two).await, FAILED, "doubt is never ALLOW");
    assert_eq!(asked(&house, &one).await, FAILED, "nobody knows");
    for refused in [sold(&house, &sale, "T-1").await.unwrap_err(), used(&house, "T-1").await.unwrap_err()] {
        assert_eq!(refused.code(), Code::Unavailable);
        assert_eq!(refused.get_details_error_info().unwrap().reason, "REGISTRY_UNAVAILABLE");
        assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    }
    rename(&house, "away", "ticket").await;
    assert_eq!(asked(&house, &two).await, "ALLOW");
    sold(&house, &sale, "T-1").await.unwrap();
    assert_eq!(asked(&house, &one).await, OPEN);
}

/// The registry answers when nobody waits any more: what was told INSPECT is let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_that_comes_too_late_is_given_back() {
    let house = House::exactly(
        &format!("[verdict]\nbudget = \"1s\"\nwait = \"10s\"\n{OFTEN}"),
        "lookup_timeout = \"5s\"",
    )
    .await;
    let number = buyer(&house, 1, Rider::Healthy);
    let held = "ridegate_upstream_duration_seconds_count{upstream=\"registry\",call=\"hold\",outcome=\"ok\"}";
    let other = database(&house).await;
    // A busy machine may spend the budget before the registry is asked at all: then once more.
    for _ in 0..20 {
        let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
        assert_eq!(asked(&house, &number).await, FAILED);
        lock.rollback().await.unwrap();
        let mut turns = 0..100;
        while metric(&house, held).await == 0 && turns.next().is_some() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        if metric(&house, held).await > 0 {
            break;
        }
    }
    counted(&house, &held.replace("hold", "release")).await;
    assert_eq!(rows(&house).await, 0);
    other.close().await;
}

#[tokio::test]
async fn where_nothing_is_asked_nobody_is_asked_about() {
    let house = House::with(OFTEN).await;
    let number = buyer(&house, 1, Rider::Abnormal);
    house.clock.advance(SignedDuration::from_hours(24 * 180));
    let [one, two] =
        [check(&house, WINDOW, &number).await, check(&house, MACHINE, &number).await].map(|answer| {
            let answer = answer.unwrap();
            assert_eq!(told(&answer), "ALLOW", "in December 2022");
            answer.sale_id
        });
    assert_ne!(one, two);
    assert_eq!((house.authority.identified(), house.authority.asked()), (0, (0, 0)));
    for sale in [&one, &one, &two] {
        sold(&house, sale, "T-1").await.unwrap();
    }
    assert!(!used(&house, "T-1").await.unwrap(), "nothing was held");
    assert_eq!(rows(&house).await, 0);
    let counted = "ridegate_ticket_checks_total{verdict=\"ALLOW\",reason=\"NOT_ENFORCED\"}";
    assert_eq!(metric(&house, counted).await, 2);
    names(&check(&house, WINDOW, "1").await.unwrap_err(), "id_number");
}

#[tokio::test]
async fn a_device_that_guesses_is_told_to_wait_and_another_is_not() {
    let house = House::with("[tickets]\nper_device_per_minute = 1\nper_device_burst = 3\n").await;
    let mut ended = Vec::new();
    for guess in 0..4 {
        ended.push(check(&house, WINDOW, &format!("{guess}")).await.unwrap_err());
    }
    let refused = ended.pop().unwrap();
    for unusable in &ended {
        names(unusable, "id_number");
    }
    assert_eq!(refused.code(), Code::ResourceExhausted, "what is no number is a guess too");
    assert_eq!(refused.get_details_error_info().unwrap().reason, "OVER_QUOTA");
    assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
    let whose = refused.get_details_quota_failure().unwrap();
    assert_eq!(whose.violations[0].subject, "device:bjsubway:window-1");
    let trailer = |name| refused.metadata().get(name).unwrap().to_str().unwrap().to_owned();
    assert_eq!((trailer("ratelimit-limit"), trailer("ratelimit-remaining")), ("3".into(), "0".into()));
    assert!((1..=60).contains(&trailer("ratelimit-reset").parse::<u32>().unwrap()));
    names(&check(&house, MACHINE, "1").await.unwrap_err(), "id_number");
    assert!(!used(&house, "T-1").await.unwrap(), "reports are not questions");
}

#[tokio::test]
async fn an_open_ticket_survives_a_restart() {
    let house = House::with(OFTEN).await;
    let (one, two) = (buyer(&house, 1, Rider::Healthy), buyer(&house, 2, Rider::Healthy));
    sell(&house, &one, "T-1").await;
    let sale = check(&house, WINDOW, &two).await.unwrap().sale_id;
    let mut house = house.reopen().await;
    for number in [&one, &two] {
        assert_eq!(asked(&house, number).await, OPEN);
    }
    sold(&house, &sale, "T-2").await.unwrap();
    assert!(used(&house, "T-1").await.unwrap() && used(&house, "T-2").await.unwrap());
    house.close().await;
}

#[tokio::test]
async fn the_database_holds_no_id_number_no_subject_and_no_ticket_in_clear() {
    let house = House::with(OFTEN).await;
    let mut sales = Vec::new();
    for number in 1..=10 {
        let number = buyer(&house, number, Rider::Healthy);
        sales.push(sell(&house, &number, &format!("ticket-canary-{number}")).await);
    }
    assert_eq!(rows(&house).await, 10);
    let mut secrets: Vec<Vec<u8>> =
        [&b"11010519"[..], b"subject-of-", b"ticket-canary"].map(<[u8]>::to_vec).into();
    secrets.extend(sales.iter().map(|sale| hex::decode(sale.replace('-', "")).unwrap()));
    let mut files = 0;
    for entry in std::fs::read_dir(house.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("ridegate.db") {
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            for secret in &secrets {
                assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", path.display());
            }
        }
    }
    assert!(files >= 2, "database and log");
}

/// Everything that is put out, searched for what names a buyer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_names_a_buyer_is_ever_put_out() {
    let mut house = House::with(OFTEN).await;
    house.close().await;
    let process = Process::start_logging("trace", &house.folder.path().join("ridegate.toml"));
    house.channel = connect(&process.endpoint).await;
    house.move_to(&process).await;
    let number = buyer(&house, 1, Rider::Healthy);
    let sale = sell(&house, &number, "ticket-canary").await;
    assert_eq!(asked(&house, &number).await, OPEN);
    assert_eq!(asked(&house, &id_number(2)).await, NOT_FOUND);
    let mut errors = Vec::new();
    for bad in [&number[..17], &format!("{}{}", &number[..17], if number.ends_with('1') { '2' } else { '1' })]
    {
        errors.push(check(&house, WINDOW, bad).await.unwrap_err());
    }
    errors.push(sold(&house, &sale, "ticket-canary-2").await.unwrap_err());
    house.authority.stop();
    assert_eq!(asked(&house, &number).await, FAILED);
    rename(&house, "ticket", "away").await;
    errors.push(used(&house, "ticket-canary").await.unwrap_err());
    let errors = format!("{errors:?}");
    let pages = get(&house, "/metrics").await.1;
    let (status, log) = process.terminate();
    assert_eq!(status, Some(0));
    assert!(log.contains("a report of a ticket could not be carried out"), "the twin: it was logged");
    assert!(pages.contains("ridegate_ticket_checks_total{verdict=\"INSPECT\",reason=\"TICKET_OPEN\"} 1"));
    let mut canaries = vec!["11010519", "canary", "subject-of", sale.as_str()];
    let (hex, bare) = (hex::encode(&number), sale.replace('-', ""));
    canaries.extend([hex.as_str(), bare.as_str()]);
    for canary in canaries {
        for (what, out) in [("log", &log), ("pages", &pages), ("errors", &errors)] {
            assert!(!out.contains(canary), "{canary} in the {what}: {out}");
        }
    }
}
