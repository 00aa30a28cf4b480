//! Cards at the gate (D2, D3, D8, D12), and who would guess their numbers (D14).

use ridegate_proto::{
    partner::v1::{Client, LinkRiderRequest, Medium, MediumKind, Os},
    validator::v1::{
        CardKind, CardTap, CheckRequest, CheckResponse, Direction, check_request,
        validator_service_client::ValidatorServiceClient,
    },
};
use ridegate_sim::riders::Rider;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    house::{GATE, House, identified, link_request, request, said, subject},
    observed::{get, metric},
    process::Process,
};

const ELSEWHERE: &str = "urn:ridegate:validator:bjsubway:gate-2";
const ALARMS: &str = "ridegate_many_cards_alarms_total";

/// Every kind that gets a verdict: at the gate, as it is linked, under which issuer, and a number.
const ACCEPTED: [(CardKind, MediumKind, &str, &str); 6] = [
    (CardKind::YikatongCard, MediumKind::YikatongCard, "01001000", "1000751112345678"),
    (CardKind::YikatongNfc, MediumKind::YikatongNfc, "01001000", "1000751112345678"),
    (CardKind::TUnionCard, MediumKind::TUnionCard, "87654321", "3104112345678901571"),
    (CardKind::SeniorCard, MediumKind::SeniorCard, "01001001", "2000000000000042"),
    (CardKind::CivilAffairsCard, MediumKind::CivilAffairsCard, "01001002", "3000000000000042"),
    (CardKind::DisabilityServiceCard, MediumKind::DisabilityServiceCard, "01001003", "4000000000000042"),
];

fn card(kind: CardKind, issuer: &str, number: &str) -> CardTap {
    CardTap { kind: kind.into(), number: number.into(), issuer: issuer.into() }
}

/// A Yikatong card of this number.
fn yikatong(number: u32) -> CardTap {
    card(CardKind::YikatongCard, "01001000", &format!("{number:016}"))
}

fn tap(id: &str, card: CardTap) -> CheckRequest {
    CheckRequest { medium: Some(check_request::Medium::Card(card)), ..request(id, vec![]) }
}

async fn tapped(house: &House, id: &str, card: CardTap) -> CheckResponse {
    house.check(GATE, tap(id, card)).await.unwrap()
}

/// Links a card of this rider's, whom the authority knows.
pub async fn link(house: &House, partner: &str, card: (MediumKind, &str, &str), rider: u64, kind: Rider) {
    if let Some(facts) = kind.facts(house.clock.now()) {
        house.authority.set(&subject(rider), facts);
    }
    let (medium, issuer, account) = card;
    let media = vec![Medium { kind: medium.into(), issuer: issuer.into(), account: account.into() }];
    let key = format!("{partner}-{rider}-{medium:?}");
    house.authority.authorise(&key, &subject(rider));
    let company_links =
        [MediumKind::SeniorCard, MediumKind::CivilAffairsCard, MediumKind::DisabilityServiceCard];
    if company_links.contains(&medium) {
        return house.link_concession(media[0].clone(), &key).await;
    }
    let request = LinkRiderRequest {
        idempotency_key: key.clone(),
        media,
        authorization_code: key,
        client: Some(Client { os: Os::Ios.into(), app_version: "6.0".into() }),
        ..link_request(rider)
    };
    assert_eq!(house.link(partner, request).await.unwrap().result, 1, "linked");
}

#[tokio::test]
async fn a_card_of_every_kind_is_inspected_until_it_is_linked() {
    let house = House::with("[cards]\nper_device_burst = 1000\n").await;
    for (rider, (kind, medium, issuer, number)) in (1..).zip(ACCEPTED) {
        let company = if kind == CardKind::TUnionCard { "" } else { "yikatong" };
        for turn in ["a", "b"] {
            let answer = tapped(&house, &format!("{turn}{rider}"), card(kind, issuer, number)).await;
            assert_eq!(said(&answer), "INSPECT NOT_LINKED", "{kind:?}, every time");
            assert_eq!(answer.partner, company, "{kind:?}");
            assert!(answer.prompt.unwrap().zh.starts_with("未查询到健康码信息"));
        }
        link(&house, "yikatong", (medium, issuer, number), rider, Rider::Healthy).await;
        let answer = tapped(&house, &format!("c{rider}"), card(kind, issuer, number)).await;
        assert_eq!(said(&answer), "ALLOW HEALTH_OK", "{kind:?}");
        assert!(answer.evidence_age.is_some() && answer.partner == company, "{kind:?}");
        // Another kind, issuer or number is another card.
        let (other_kind, ..) = ACCEPTED[usize::try_from(rider).unwrap() % ACCEPTED.len()];
        for other in [
            card(other_kind, issuer, number),
            card(kind, "11111111", number),
            card(kind, issuer, &format!("{number}0")),
        ] {
            assert_eq!(said(&tapped(&house, "x", other).await), "INSPECT NOT_LINKED", "{kind:?}");
        }
    }
    assert_eq!(metric(&house, ALARMS).await, 0);
}

#[tokio::test]
async fn a_card_is_the_same_card_whichever_partner_linked_it() {
    let house = House::open().await;
    link(
        &house,
        "beijing-bus",
        (MediumKind::YikatongCard, "01001000", "1000751112345678"),
        1,
        Rider::Overdue,
    )
    .await;
    let answer = tapped(&house, "r", card(CardKind::YikatongCard, "01001000", "1000751112345678")).await;
    assert_eq!((said(&answer).as_str(), answer.partner.as_str()), ("INSPECT HEALTH", "yikatong"));
    assert_eq!(answer.prompt.unwrap().zh, "健康码异常");
}

/// A card takes no claim: a card is tapped again and again, everywhere.
#[tokio::test]
async fn a_repeated_tap_is_decided_again() {
    let house = House::open().await;
    link(&house, "yikatong", (MediumKind::YikatongCard, "01001000", "1000751112345678"), 1, Rider::Healthy)
        .await;
    let card = card(CardKind::YikatongCard, "01001000", "1000751112345678");
    let mut verdicts = Vec::new();
    for gate in [GATE, GATE, ELSEWHERE] {
        let answer = house.check(gate, tap("the same", card.clone())).await.unwrap();
        assert_eq!((said(&answer).as_str(), answer.retry_of.as_str()), ("ALLOW HEALTH_OK", ""));
        verdicts.push(answer.verdict_id);
    }
    verdicts.dedup();
    assert_eq!(verdicts.len(), 3);
    // And is decided by what is known then.
    house.authority.set(&subject(1), Rider::Abnormal.facts(house.clock.now()).unwrap());
    let mut answer = String::new();
    for _ in 0..1000 {
        answer = said(&house.check(ELSEWHERE, tap("the same", card.clone())).await.unwrap());
        if answer != "ALLOW HEALTH_OK" && answer != "INSPECT THROTTLED" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(answer, "INSPECT HEALTH");
    for outcome in ["fresh", "repeat", "replayed"] {
        assert_eq!(metric(&house, &format!("ridegate_claims_total{{outcome=\"{outcome}\"}}")).await, 0);
    }
}

#[tokio::test]
async fn on_the_way_out_nobody_is_asked() {
    let house = House::open().await;
    for (id, direction) in [("a", Direction::Exit), ("b", Direction::Alighting)] {
        let out = CheckRequest { direction: direction.into(), ..tap(id, yikatong(1)) };
        let answer = house.check(GATE, out).await.unwrap();
        assert_eq!((said(&answer).as_str(), answer.partner.as_str()), ("ALLOW NOT_ENFORCED", "yikatong"));
        assert_eq!(answer.evidence_age, None);
    }
    assert_eq!(house.authority.asked(), (0, 0));
}

#[tokio::test]
async fn when_the_registry_does_not_answer_a_card_is_not_called_unlinked() {
    let house = House::open().await;
    house.take_registry_away().await;
    assert_eq!(said(&tapped(&house, "r", yikatong(1)).await), "INSPECT LOOKUP_FAILED");
}

#[tokio::test]
async fn what_is_not_accepted_is_refused_each_with_another_way_in() {
    let house = House::with("[fleets]\nhelp_default = \"96165\"\n").await;
    let mut prompts = Vec::new();
    for (kind, another_way) in [
        (CardKind::UnionpayBankCard, "乘车码"),
        (CardKind::DigitalRmbWearable, "乘车码"),
        (CardKind::AlipayPrepaidTicket, "支付宝乘车码"),
        (CardKind::AirRailTicket, "交通卡"),
    ] {
        // With and without what the reader could read of it, in and out, as often as it likes.
        for turn in 0..25 {
            let card =
                if turn % 2 == 0 { card(kind, "", "") } else { card(kind, "01001000", "6217001234567890") };
            let direction = if turn % 4 < 2 { Direction::Boarding } else { Direction::Exit };
            let tap = CheckRequest { direction: direction.into(), ..tap(&turn.to_string(), card) };
            let answer = house.check(GATE, tap).await.unwrap();
            assert_eq!(said(&answer), "INSPECT MEDIUM_UNSUPPORTED", "{kind:?}");
            assert_eq!((answer.partner.as_str(), answer.retry_of.as_str()), ("", ""));
            let prompt = answer.prompt.unwrap();
            assert!(prompt.zh.contains(another_way) && prompt.help == "96165", "{prompt:?}");
            prompts.push((prompt.zh, prompt.en));
        }
    }
    prompts.dedup();
    assert_eq!(prompts.len(), 4, "{prompts:?}");
}

#[tokio::test]
async fn a_card_with_an_unusable_field_is_told_which_and_never_its_number() {
    let house = House::open().await;
    let good = yikatong(1);
    for (bad, field) in [
        (CardTap { kind: 0, ..good.clone() }, "card.kind"),
        (CardTap { kind: 7, ..good.clone() }, "card.kind"),
        (CardTap { kind: 24, ..good.clone() }, "card.kind"),
        (CardTap { kind: -1, ..good.clone() }, "card.kind"),
        (CardTap { number: String::new(), ..good.clone() }, "card.number"),
        (CardTap { number: "777".repeat(11), ..good.clone() }, "card.number"),
        (CardTap { number: "777x".into(), ..good.clone() }, "card.number"),
        (CardTap { number: " 777".into(), ..good.clone() }, "card.number"),
        (CardTap { number: "７７７".into(), ..good.clone() }, "card.number"),
        (CardTap { issuer: String::new(), ..good.clone() }, "card.issuer"),
        (CardTap { issuer: "7777777".into(), ..good.clone() }, "card.issuer"),
        (CardTap { issuer: "77777777a".into(), ..good.clone() }, "card.issuer"),
        (CardTap { issuer: "7777777a".into(), ..good.clone() }, "card.issuer"),
        (CardTap::default(), "card.kind"),
    ] {
        let status = house.check(GATE, tap("r", bad)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, field);
        assert!(!format!("{status:?}").contains("777"), "{status:?}");
    }
    let longest = CardTap { number: "1".repeat(32), ..good };
    assert_eq!(said(&tapped(&house, "r", longest).await), "INSPECT NOT_LINKED");
}

/// Taps cards of ever new numbers until one is throttled. Tells how many were not.
async fn until_throttled(house: &House, device: &str, gate: &str) -> (u32, CheckResponse) {
    for number in 0..500 {
        let tap = CheckRequest { device_id: gate.into(), ..tap(&format!("r{number}"), yikatong(number)) };
        let answer = house.check(device, tap).await.unwrap();
        if said(&answer) == "INSPECT THROTTLED" {
            return (number, answer);
        }
        assert_eq!(said(&answer), "INSPECT NOT_LINKED");
    }
    panic!("five hundred taps at once of a reader that may tap three");
}

#[tokio::test]
async fn a_reader_that_taps_too_many_cards_is_throttled_and_no_other() {
    let house = House::with("[cards]\nper_device_per_second = 1\nper_device_burst = 3\n").await;
    house.settle(1, Rider::Healthy).await;
    let (number, answer) = until_throttled(&house, GATE, "").await;
    assert!(number >= 3, "{number}");
    assert_eq!(answer.partner, "", "no partner is to blame");
    for (device, gate) in [(GATE, "another gate"), (ELSEWHERE, "")] {
        let other = CheckRequest { device_id: gate.into(), ..tap("r", yikatong(1)) };
        assert_eq!(said(&house.check(device, other).await.unwrap()), "INSPECT NOT_LINKED", "{device} {gate}");
    }
    let code = house.fresh(&house.phone(1));
    assert_eq!(said(&house.tap(code).await), "ALLOW HEALTH_OK", "nor are codes, at the same reader");
}

#[tokio::test]
async fn cards_count_against_their_companys_budget_of_codes() {
    let house = House::with(
        "[quota]\ncodes_per_second = 1\ncodes_burst = 2\n[cards]\nper_device_per_second = 1000\nper_device_burst = 1000\n",
    )
    .await;
    let (number, answer) = until_throttled(&house, GATE, "").await;
    assert!(number >= 2, "{number}");
    assert_eq!(answer.partner, "yikatong");
    let (kind, _, issuer, number) = ACCEPTED[2];
    let t_union = tapped(&house, "r", card(kind, issuer, number)).await;
    assert_eq!(said(&t_union), "INSPECT NOT_LINKED", "a card of nobody's is");
    let refused = "ridegate_quota_checks_total{partner=\"yikatong\",budget=\"codes\",outcome=\"refused\"}";
    assert!(metric(&house, refused).await >= 1);
    let throttled = "ridegate_verdicts_total{partner=\"yikatong\",verdict=\"INSPECT\",reason=\"THROTTLED\"}";
    assert!(metric(&house, throttled).await >= 1);
}

/// Nothing of a card is in the log, whatever happens to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_taps_many_different_cards_is_told_of_and_the_cards_are_not() {
    let mut house = House::with("[cards]\nmany_cards = 10\n").await;
    house.close().await;
    let process = Process::start_logging("trace", &house.folder.path().join("ridegate.toml"));
    house.channel = crate::house::connect(&process.endpoint).await;
    house.move_to(&process).await;
    let guess = |number: u32| yikatong(777_000_000 + number);
    for _ in 0..3 {
        for number in 0..9 {
            tapped(&house, "r", guess(number)).await;
        }
    }
    house.check(ELSEWHERE, tap("r", guess(9))).await.unwrap();
    assert_eq!(metric(&house, ALARMS).await, 0, "nine different ones, and one elsewhere");
    for number in 9..40 {
        tapped(&house, "r", guess(number)).await;
    }
    assert_eq!(metric(&house, ALARMS).await, 1, "once a window");
    let wrong = CardTap { issuer: "777".into(), ..guess(1) };
    let status = house.check(GATE, tap("r", wrong)).await.unwrap_err();
    let pages = get(&house, "/metrics").await.1;
    drop(house);
    let (ended, log) = process.terminate();
    assert_eq!(ended, Some(0));
    let told: Vec<_> = log.lines().filter(|line| line.contains("many different cards")).collect();
    assert!(
        matches!(told.as_slice(), [one] if one.contains("operator=bjsubway") && one.contains("device=gate-1")),
        "{told:?}"
    );
    for (what, out) in [("log", &log), ("pages", &pages), ("error", &format!("{status:?}"))] {
        assert!(!out.contains("7770000"), "{what}: {out}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cards_and_codes_come_in_one_stream() {
    let house = House::open().await;
    house.settle(7, Rider::Healthy).await;
    link(&house, "yikatong", (MediumKind::TUnionCard, "87654321", ACCEPTED[2].3), 1, Rider::Exempt).await;
    let (kind, _, issuer, number) = ACCEPTED[2];
    let taps = vec![
        tap("linked", card(kind, issuer, number)),
        tap("unlinked", yikatong(1)),
        tap("refused", card(CardKind::AirRailTicket, "", "")),
        request("code", house.fresh(&house.phone(7))),
        tap("bad", CardTap { issuer: String::new(), ..yikatong(1) }),
    ];
    let mut client = ValidatorServiceClient::new(house.channel.clone());
    let mut answers =
        client.check_stream(identified(GATE, tokio_stream::iter(taps))).await.unwrap().into_inner();
    let mut told = Vec::new();
    let ended = loop {
        match answers.message().await {
            Ok(Some(answer)) => told.push((answer.request_id.clone(), said(&answer))),
            Ok(None) => panic!("ended without saying why"),
            Err(status) => break status,
        }
    };
    told.sort();
    let told: Vec<_> = told.iter().map(|(id, said)| (id.as_str(), said.as_str())).collect();
    assert_eq!(
        told,
        [
            ("code", "ALLOW HEALTH_OK"),
            ("linked", "ALLOW EXEMPT"),
            ("refused", "INSPECT MEDIUM_UNSUPPORTED"),
            ("unlinked", "INSPECT NOT_LINKED"),
        ]
    );
    assert_eq!(ended.get_details_bad_request().unwrap().field_violations[0].field, "card.issuer");
}
