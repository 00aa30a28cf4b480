//! Codes that only their partner can read: the partner is asked, inside the budget, and what it fails at costs nobody
//! else anything.

use std::time::Duration;

use jiff::SignedDuration;
use ridegate_proto::{
    partner::v1::{LinkResult, LinkRiderRequest, Medium, MediumKind},
    validator::v1::{CheckResponse, Degraded, DegradedCause, Direction},
};
use ridegate_sim::{authority::Mood, riders::Rider, trust::Phone};
use tokio::time::timeout;

use crate::{
    house::{GATE, House, link_request, request, said, subject, wait_until},
    observed::{counted, get, metric},
};

const OTHER_GATE: &str = "urn:ridegate:validator:bjsubway:gate-2";
/// Every partner that is asked, and one more rider than the last.
pub const ASKED: [&str; 4] = ["unionpay", "cmb", "yitongxing", "shanghai-metro"];
/// So wide that a busy machine changes no answer.
pub const WIDE: &str = "[verdict]\nbudget = \"10s\"\nwait = \"10s\"\n[registry]\ntimeout = \"5s\"\n";

pub fn account(number: u64) -> String {
    format!("U{number:09}")
}

fn medium(number: u64) -> Medium {
    Medium { kind: MediumKind::OnlineCode.into(), issuer: String::new(), account: account(number) }
}

/// Links a rider's account with a partner, and makes the authority know them.
pub async fn settle(house: &House, partner: &str, number: u64, rider: Rider) {
    if let Some(facts) = rider.facts(house.clock.now()) {
        house.authority.set(&subject(number), facts);
    }
    house.authority.authorise(&format!("code-{number}"), &subject(number));
    let request = LinkRiderRequest { media: vec![medium(number)], ..link_request(number) };
    assert_eq!(house.link(partner, request).await.unwrap().result(), LinkResult::Linked);
}

/// A phone whose codes live for twenty minutes.
fn phone(house: &House, partner: &str, number: u64) -> Phone {
    house.phone_of(partner, &account(number))
}

/// Codes of such a phone, each of a second of its own.
pub fn fresh_codes(house: &House, partner: &str, number: u64) -> impl Iterator<Item = Vec<u8>> {
    let (phone, now) = (phone(house, partner, number), house.now());
    (0..1_000).map(move |second| phone.code(now - second).unwrap())
}

fn degraded(answer: &CheckResponse) -> Option<DegradedCause> {
    answer.degraded.as_ref().map(Degraded::cause)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_read_by_its_partner_and_its_rider_is_found_by_the_account_it_names() {
    let house = House::with_resolvers(WIDE).await;
    let now = house.now();
    for (number, partner) in (1..).zip(ASKED) {
        settle(&house, partner, number, Rider::Healthy).await;
        let (phone, stranger) = (phone(&house, partner, number), phone(&house, partner, number + 100));
        // Cards are shown as EMV codes in even seconds and as tokens in odd ones.
        for second in [now, now - 1] {
            let answer = house.tap(phone.code(second).unwrap()).await;
            assert_eq!((said(&answer).as_str(), answer.partner.as_str()), ("ALLOW HEALTH_OK", partner));
            assert_eq!(degraded(&answer), None);
        }
        assert_eq!(said(&house.tap(stranger.code(now).unwrap()).await), "INSPECT NOT_LINKED");
        let forged = phone.forged(now - 2, &mut rand::SeedableRng::seed_from_u64(1)).unwrap();
        assert_eq!(said(&house.tap(forged).await), "INSPECT CODE_UNTRUSTED");
        let expired = house.tap(phone.code(now - 1201).unwrap()).await;
        assert_eq!((said(&expired).as_str(), degraded(&expired)), ("INSPECT CODE_EXPIRED", None));
        // On the way out only the code is looked at, and by its partner too.
        let out = |id, code| {
            let way_out = request(id, code);
            ridegate_proto::validator::v1::CheckRequest { direction: Direction::Exit.into(), ..way_out }
        };
        let leaves = house.check(GATE, out("out", stranger.code(now).unwrap())).await.unwrap();
        assert_eq!(said(&leaves), "ALLOW NOT_ENFORCED");
        let forged = house
            .check(
                GATE,
                out("out, forged", phone.forged(now - 4, &mut rand::SeedableRng::seed_from_u64(1)).unwrap()),
            )
            .await;
        assert_eq!(said(&forged.unwrap()), "INSPECT CODE_UNTRUSTED");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_used_once_by_the_partners_name_for_it() {
    let house = House::with_resolvers(WIDE).await;
    settle(&house, "unionpay", 1, Rider::Healthy).await;
    let code = phone(&house, "unionpay", 1).code(house.now()).unwrap();
    let first = house.check(GATE, request("a", code.clone())).await.unwrap();
    assert_eq!(said(&first), "ALLOW HEALTH_OK");
    let again = house.check(GATE, request("a", code.clone())).await.unwrap();
    assert_eq!((said(&again).as_str(), &again.retry_of), ("ALLOW HEALTH_OK", &first.verdict_id));
    let elsewhere = house.check(OTHER_GATE, request("b", code.clone())).await.unwrap();
    assert_eq!(said(&elsewhere), "INSPECT CODE_REPLAYED");

    // The same code in other bytes: the counter of a card is not what the partner names it by.
    let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, &code).unwrap();
    let at = bytes.windows(3).position(|window| window == [0x9f, 0x36, 2]).unwrap() + 3;
    let mut other = bytes;
    other[at] ^= 1;
    let other = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, other).into_bytes();
    assert_ne!(other, code);
    let elsewhere = house.check(OTHER_GATE, request("c", other)).await.unwrap();
    assert_eq!(said(&elsewhere), "INSPECT CODE_REPLAYED");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_is_asked_once_about_a_code_and_an_answer_lives_as_long_as_it() {
    let house = House::with_resolvers(WIDE).await;
    settle(&house, "yitongxing", 1, Rider::Overdue).await;
    let (code, resolver) =
        (phone(&house, "yitongxing", 1).code(house.now()).unwrap(), &house.resolvers["yitongxing"]);
    for gate in 0..5 {
        let gate = format!("urn:ridegate:validator:bjsubway:gate-{gate}");
        assert_eq!(said(&house.check(&gate, request("r", code.clone())).await.unwrap()), "INSPECT HEALTH");
    }
    assert_eq!(resolver.asked(), 1, "INSPECT uses nothing up, and nobody is asked twice");
    resolver.stop();
    assert_eq!(said(&house.tap(code.clone()).await), "INSPECT HEALTH", "what was read stays read");
    house.clock.advance(SignedDuration::from_secs(1201));
    assert_eq!(said(&house.tap(code).await), "INSPECT CODE_EXPIRED");

    let cached = counted(&house, "ridegate_cache_lookups_total{cache=\"readings\",outcome=\"hit\"}").await;
    assert_eq!(cached, 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_gates_at_once_ask_once() {
    let house = House::with_resolvers(WIDE).await;
    settle(&house, "shanghai-metro", 1, Rider::Healthy).await;
    let resolver = &house.resolvers["shanghai-metro"];
    let code = phone(&house, "shanghai-metro", 1).code(house.now()).unwrap();
    resolver.feel(Mood::Stalled);
    let gates = (0..20).map(|gate| {
        let (identity, request) =
            (format!("urn:ridegate:validator:bjsubway:gate-{gate}"), request("r", code.clone()));
        let house = &house;
        async move { said(&house.check(&identity, request).await.unwrap()) }
    });
    let told = futures_util::future::join_all(gates);
    let release = async {
        wait_until(|| resolver.asked() > 0).await;
        resolver.feel(Mood::Well);
    };
    let (told, ()) = tokio::join!(told, release);
    assert_eq!(resolver.asked(), 1);
    assert_eq!(told.iter().filter(|said| *said == "ALLOW HEALTH_OK").count(), 1);
    assert_eq!(told.iter().filter(|said| *said == "INSPECT CODE_REPLAYED").count(), 19);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_partner_fails_at_is_a_failed_look_up_and_it_is_back_by_itself() {
    let house =
        House::with_resolvers("[verdict]\nbudget = \"2s\"\nwait = \"10s\"\n[registry]\ntimeout = \"5s\"\n")
            .await;
    settle(&house, "yitongxing", 1, Rider::Healthy).await;
    let (phone, resolver) = (phone(&house, "yitongxing", 1), &house.resolvers["yitongxing"]);
    let mut second = house.now();
    let mut fresh = || {
        second -= 1;
        phone.code(second).unwrap()
    };
    for mood in [Mood::Stalled, Mood::Failing, Mood::Confused] {
        resolver.feel(mood);
        let code = fresh();
        let answer = house.tap(code.clone()).await;
        assert_eq!(said(&answer), "INSPECT LOOKUP_FAILED", "{mood:?}");
        assert_eq!(degraded(&answer), Some(DegradedCause::Resolver), "{mood:?}");
        assert_eq!(answer.partner, "yitongxing");
        resolver.feel(Mood::Well);
        // An error is remembered nowhere, and no claim was taken. On a busy machine some answers may still be late.
        let mut told = String::new();
        for _ in 0..500 {
            told = said(&house.check(OTHER_GATE, request(&format!("{mood:?}"), code.clone())).await.unwrap());
            if told != "INSPECT LOOKUP_FAILED" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(told, "ALLOW HEALTH_OK", "{mood:?}");
    }
    for (outcome, least) in [("timed_out", 1), ("failed", 1), ("wrong_answer", 1), ("ok", 3)] {
        let line = format!(
            "ridegate_resolver_duration_seconds_count{{partner=\"yitongxing\",outcome=\"{outcome}\"}}"
        );
        assert!(metric(&house, &line).await >= least, "{outcome}");
    }
    resolver.stop();
    assert_eq!(said(&house.tap(fresh()).await), "INSPECT LOOKUP_FAILED");
}

/// Nobody waits for who does not answer, whether refused or silent, and whoever is back is asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_few_failures_nobody_waits_and_the_partner_is_noticed_when_it_is_back() {
    let house = House::with_resolvers(
        "[verdict]\nbudget = \"300ms\"\nwait = \"10s\"\n[registry]\ntimeout = \"5s\"\n",
    )
    .await;
    let up = |partner: &str| format!("ridegate_resolver_up{{partner=\"{partner}\"}}");
    let skipped =
        |partner: &str| format!("ridegate_resolver_skipped_total{{partner=\"{partner}\",cause=\"breaker\"}}");
    let now = house.now();
    for (number, partner) in [(1, "cmb"), (2, "yitongxing")] {
        settle(&house, partner, number, Rider::Healthy).await;
        let (phone, resolver) = (phone(&house, partner, number), &house.resolvers[partner]);
        assert_eq!(metric(&house, &up(partner)).await, 1);
        resolver.feel(Mood::Stalled);
        // The profile says 10 s; more than a verdict's budget is nobody waited for, nor given.
        for turn in 0..100 {
            let answer = house.tap(phone.code(now - turn).unwrap()).await;
            assert_eq!(said(&answer), "INSPECT LOOKUP_FAILED");
        }
        let asked = resolver.asked();
        assert!(asked < 20, "of a hundred codes a few were asked about: {asked}");
        assert!(metric(&house, &skipped(partner)).await >= 80);
        assert_eq!(metric(&house, &up(partner)).await, 0);

        resolver.feel(Mood::Well);
        let mut told = String::new();
        for again in 0..500 {
            told = said(&house.tap(phone.code(now - 100 - again).unwrap()).await);
            if told == "ALLOW HEALTH_OK" {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(told, "ALLOW HEALTH_OK", "tried after two seconds at the most");
        assert_eq!(metric(&house, &up(partner)).await, 1);
    }
    // Nobody listens: the same.
    house.resolvers["cmb"].stop();
    let phone = phone(&house, "cmb", 1);
    for turn in 700..800 {
        assert_eq!(said(&house.tap(phone.code(now - turn).unwrap()).await), "INSPECT LOOKUP_FAILED");
    }
    assert_eq!(metric(&house, &up("cmb")).await, 0);
    assert!(get(&house, "/metrics").await.1.contains("# HELP ridegate_resolver_up"));
}

/// One partner hangs; the other ten, all of them, notice nothing: not one answer differs and not one waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partner_that_hangs_costs_the_others_nothing() {
    // There is room for few verdicts at once, and the one that hangs is given no end of time.
    let config =
        "[verdict]\nbudget = \"10s\"\nwait = \"10s\"\nin_flight = 60\n[registry]\ntimeout = \"5s\"\n";
    let house = House::with_resolvers(config).await;
    for (number, partner) in (1..).zip(ASKED) {
        settle(&house, partner, number, Rider::Healthy).await;
    }
    house.settle(50, Rider::Healthy).await;
    let hanging = &house.resolvers["yitongxing"];
    hanging.feel(Mood::Stalled);
    let now = house.now();
    let stuck_phone = phone(&house, "yitongxing", 3);
    let stuck = (0..40).map(|turn| {
        let (house, code) = (&house, stuck_phone.code(now - turn).unwrap());
        async move {
            let id = format!("stuck-{turn}");
            let gate = format!("urn:ridegate:validator:bjsubway:stuck-{turn}");
            said(&house.check(&gate, request(&id, code)).await.unwrap())
        }
    });
    let stuck = futures_util::future::join_all(stuck);
    let others = async {
        wait_until(|| hanging.asked() >= 16).await;
        let mot = house.phone(50);
        for turn in 1..=5 {
            for (number, partner) in (1..).zip(ASKED).filter(|(_, partner)| *partner != "yitongxing") {
                let code = phone(&house, partner, number).code(now - turn).unwrap();
                assert_eq!(said(&house.tap(code).await), "ALLOW HEALTH_OK", "{partner}");
            }
            assert_eq!(said(&house.tap(house.fresh(&mot)).await), "ALLOW HEALTH_OK");
        }
        // Every other partner, with a rider whom nobody has linked.
        let mut heard = 0;
        for (partner, shows) in house.trust().partners().filter(|(partner, _)| *partner != "yitongxing") {
            let stranger = house.phone_of(partner, &shows.account(900));
            let answer = house.tap(stranger.code(now).unwrap()).await;
            assert_eq!((said(&answer).as_str(), answer.partner.as_str()), ("INSPECT NOT_LINKED", partner));
            heard += 1;
        }
        assert_eq!(heard, 10);
        assert_eq!(hanging.asked(), 16, "no more calls at once than were agreed");
        hanging.feel(Mood::Well);
    };
    let (stuck, ()) = timeout(Duration::from_mins(1), async { tokio::join!(stuck, others) }).await.unwrap();
    // What came on top of the agreed calls was answered at once; the others when the partner was back.
    let of = |wanted: &str| stuck.iter().filter(|said| *said == wanted).count();
    assert_eq!((of("INSPECT LOOKUP_FAILED"), of("ALLOW HEALTH_OK")), (24, 16));
    let busy = "ridegate_resolver_skipped_total{partner=\"yitongxing\",cause=\"busy\"}";
    assert_eq!(counted(&house, busy).await, 24);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_shows_such_codes_can_link_them() {
    let house = House::open().await;
    let request = LinkRiderRequest { media: vec![medium(1)], ..link_request(1) };
    let refused = house.link("yikatong", request).await.unwrap_err();
    assert_eq!(refused.message(), "media[0].kind: must be one that this partner shows");
    let wrong = |issuer: &str, account: &str| {
        let medium = Medium { issuer: issuer.into(), account: account.into(), ..medium(1) };
        LinkRiderRequest { media: vec![medium], ..link_request(1) }
    };
    for (request, message) in [
        (wrong("", ""), "media[0].account: must have 1 to 128 characters"),
        (wrong("", &"x".repeat(129)), "media[0].account: must have 1 to 128 characters"),
        (wrong(&"x".repeat(65), "x"), "media[0].issuer: must have at most 64 characters"),
    ] {
        assert_eq!(house.link("yitongxing", request).await.unwrap_err().message(), message);
    }
}
