//! Riders link their cards, through whichever partner they like (D2, D6, D8, D11).

use std::fmt::Write as _;

use ridegate_proto::partner::v1::{
    GetLinkRequest, LinkResult, LinkRiderRequest, MediumKind, StartDelegatedLinkRequest,
};

use crate::{
    batches::senior,
    errands::{
        BUS, COMPANY, MANY_TAPS, field, medium_of, nfc, of_media, t_union, tap_of, with_check_digit, yikatong,
    },
    house::{GATE, House, connect, link_request, medium, said},
    process::Process,
};

const LINKED: i32 = LinkResult::Linked as i32;
const ALREADY: i32 = LinkResult::AlreadyLinked as i32;
const SOMEONE_ELSE: i32 = LinkResult::LinkedToSomeoneElse as i32;
const LIMIT: i32 = LinkResult::LimitReached as i32;
const CARD: i32 = MediumKind::YikatongCard as i32;
const NFC: i32 = MediumKind::YikatongNfc as i32;

const LET_THROUGH: &str = "ALLOW HEALTH_OK";
const UNLINKED: &str = "INSPECT NOT_LINKED";

#[tokio::test]
async fn a_rider_has_one_card_and_one_phone_whichever_partner_linked_them() {
    let house = House::with(MANY_TAPS).await;
    for (partner, card) in [(COMPANY, yikatong(1)), (BUS, nfc(1)), (BUS, t_union(1))] {
        assert_eq!(house.card(&card).await, UNLINKED);
        assert_eq!(house.ask(partner, 1, std::slice::from_ref(&card)).await, (LINKED, vec![], vec![]));
        assert_eq!(house.card(&card).await, LET_THROUGH, "at once");
    }
    // One too many of each kind, told by position, and each kind once.
    let more = [t_union(2), yikatong(2), nfc(2), yikatong(3)];
    assert_eq!(house.ask(BUS, 1, &more).await, (LIMIT, vec![1, 2, 3], vec![CARD, NFC]));
    for card in &more {
        assert_eq!(house.card(card).await, UNLINKED, "nothing was changed");
    }
    assert_eq!(house.ask(COMPANY, 1, &[nfc(2)]).await, (LIMIT, vec![0], vec![NFC]));
    // Those from out of town are not counted.
    assert_eq!(house.ask(COMPANY, 1, &[t_union(2), t_union(3)]).await.0, LINKED);

    // Unlink, link another, and the first again.
    assert!(house.unlink_medium(COMPANY, &yikatong(1)).await);
    assert_eq!(house.card(&yikatong(1)).await, UNLINKED, "at once");
    assert!(!house.unlink_medium(COMPANY, &yikatong(1)).await);
    assert_eq!(house.ask(BUS, 1, &[yikatong(2)]).await.0, LINKED);
    assert_eq!(house.card(&yikatong(2)).await, LET_THROUGH);
    assert_eq!(house.ask(COMPANY, 1, &[yikatong(1)]).await, (LIMIT, vec![0], vec![CARD]));
    assert!(house.unlink_medium(BUS, &yikatong(2)).await);
    assert_eq!(house.ask(COMPANY, 1, &[yikatong(1)]).await.0, LINKED);
    assert_eq!(
        (house.card(&yikatong(1)).await, house.card(&yikatong(2)).await),
        (LET_THROUGH.into(), UNLINKED.into())
    );
}

#[tokio::test]
async fn a_card_that_another_partner_linked_is_not_told_of_and_not_touched() {
    let house = House::with(MANY_TAPS).await;
    let card = yikatong(1);
    assert_eq!(house.ask(COMPANY, 1, std::slice::from_ref(&card)).await.0, LINKED);
    assert!(house.link_of(BUS, &card).await.is_none());
    assert!(!house.unlink_medium(BUS, &card).await);
    assert_eq!(house.card(&card).await, LET_THROUGH, "it stays");
    assert_eq!(house.link_of(COMPANY, &card).await.unwrap().consent, link_request(1).consent);
    // Its rider is told that it is linked, another that it is not theirs; neither makes it the other partner's.
    assert_eq!(house.ask(BUS, 1, std::slice::from_ref(&card)).await, (ALREADY, vec![], vec![]));
    assert_eq!(house.ask(BUS, 2, &[t_union(2), card.clone()]).await, (SOMEONE_ELSE, vec![1], vec![]));
    assert!(house.link_of(BUS, &card).await.is_none());
    assert!(!house.unlink_medium(BUS, &card).await);
    assert!(house.unlink_medium(COMPANY, &card).await);
    assert_eq!(house.ask(BUS, 2, std::slice::from_ref(&card)).await.0, LINKED);
    assert_eq!(house.card(&card).await, LET_THROUGH);
}

#[tokio::test]
async fn cards_and_codes_are_linked_together_or_not_at_all() {
    let house = House::with(MANY_TAPS).await;
    assert_eq!(house.ask(COMPANY, 1, &[medium(1), yikatong(1), t_union(1)]).await.0, LINKED);
    let phone = house.phone(1);
    assert_eq!(said(&house.tap(house.fresh(&phone)).await), LET_THROUGH);
    assert_eq!(
        (house.card(&yikatong(1)).await, house.card(&t_union(1)).await),
        (LET_THROUGH.into(), LET_THROUGH.into())
    );

    let others = house.phone(2);
    assert_eq!(house.ask(COMPANY, 2, &[medium(2), yikatong(1)]).await, (SOMEONE_ELSE, vec![1], vec![]));
    assert_eq!(
        house.ask(COMPANY, 2, &[medium(2), yikatong(5), yikatong(6)]).await,
        (LIMIT, vec![2], vec![CARD])
    );
    assert_eq!(said(&house.tap(house.fresh(&others)).await), UNLINKED);
    assert_eq!(house.card(&yikatong(5)).await, UNLINKED);
    // A code of the partner's own, and a kind of card that it does not link.
    let request = of_media("x", vec![yikatong(1)]);
    assert_eq!(field(&house.link("alipay", request).await.unwrap_err()).0, "media[0].kind");
    let twice = of_media("x", vec![t_union(1), t_union(1)]);
    assert_eq!(field(&house.link(COMPANY, twice).await.unwrap_err()).0, "media[1]");
}

#[tokio::test]
async fn concession_cards_are_the_card_companys_to_link() {
    let house = House::open().await;
    for (kind, issuer) in [
        (MediumKind::SeniorCard, "01001001"),
        (MediumKind::CivilAffairsCard, "01001002"),
        (MediumKind::DisabilityServiceCard, "01001003"),
    ] {
        let media = vec![t_union(1), medium_of(kind, issuer, "2000000000000042")];
        let request = of_media("x", media);
        for partner in [COMPANY, BUS] {
            let refused = house.link(partner, request.clone()).await.unwrap_err();
            assert_eq!(field(&refused).0, "media[1].kind", "{kind:?} {partner}");
            let LinkRiderRequest { idempotency_key, media, authorization_code, consent, channel, client } =
                request.clone();
            let delegated = StartDelegatedLinkRequest {
                idempotency_key,
                media,
                authorization_code,
                consent,
                channel,
                client,
            };
            let refused = house.start_delegated_link(partner, delegated).await.unwrap_err();
            assert_eq!(field(&refused).0, "media[1].kind", "{kind:?} {partner}");
        }
    }
    assert_eq!(house.authority.exchanges(), 0);
    assert!(house.link_of(COMPANY, &senior(42)).await.is_none());
}

/// D11: what is wrong with a number that was typed in is said, and never which number.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_typed_wrong_is_refused_with_what_is_wrong_and_never_told() {
    let mut house = House::with(MANY_TAPS).await;
    house.close().await;
    let process = Process::start_logging("trace", &house.folder.path().join("ridegate.toml"));
    house.channel = connect(&process.endpoint).await;
    house.move_to(&process).await;

    let right = t_union(77_345_678).account;
    let mut exchanged: Vec<_> = right.bytes().collect();
    exchanged.swap(13, 14);
    let exchanged = String::from_utf8(exchanged).unwrap();
    let check_digit = "must end with its check digit: a digit is wrong, or two have changed places";
    let beginning = "must begin with the digits that numbers of these cards begin with";
    let cases = [
        (yikatong(0), "100075117734567".to_owned(), "must have 16 digits"),
        (yikatong(0), "10007511773456789".to_owned(), "must have 16 digits"),
        (nfc(0), "10007511773456".to_owned(), "must have 16 digits"),
        (yikatong(0), "1000 7511 7734 5678".to_owned(), "must be digits only"),
        (yikatong(0), "100075117734567X".to_owned(), "must be digits only"),
        (yikatong(0), "１０００７５１１７７３４５６７８".to_owned(), "must be digits only"),
        (yikatong(0), String::new(), "must be digits only"),
        (t_union(0), right[..18].to_owned(), "must have 19 digits"),
        (t_union(0), with_check_digit("321044037507734567"), beginning),
        (t_union(0), exchanged, check_digit),
        (t_union(0), format!("{}{}", &right[..18], u8::from(right.ends_with('0'))), check_digit),
    ];
    let mut out = String::new();
    for (card, account, rule) in &cases {
        let wrong = ridegate_proto::partner::v1::Medium { account: account.clone(), ..card.clone() };
        for (partner, first) in [(COMPANY, "media[0].account"), (BUS, "media[0].account")] {
            let refused = house.link(partner, of_media("x", vec![wrong.clone()])).await.unwrap_err();
            assert_eq!(field(&refused), (first.to_owned(), (*rule).to_owned()), "{account}");
            write!(out, "{refused:?} {}", String::from_utf8_lossy(refused.details())).unwrap();
        }
        let asked = house.get_link(COMPANY, GetLinkRequest { medium: Some(wrong) }).await.unwrap_err();
        assert_eq!(field(&asked), ("medium.account".to_owned(), (*rule).to_owned()));
        write!(out, "{asked:?} {}", String::from_utf8_lossy(asked.details())).unwrap();
    }
    // The twin: the same number typed right is not refused, and its card is tapped.
    house.agree(1, "code-1");
    let typed_right = medium_of(MediumKind::TUnionCard, "04403750", right);
    assert_eq!(
        house.link(COMPANY, of_media("code-1", vec![typed_right.clone()])).await.unwrap().result,
        LINKED
    );
    assert_eq!(said(&house.check(GATE, tap_of(&typed_right)).await.unwrap()), LET_THROUGH);
    drop(house);
    let (ended, log) = process.terminate();
    assert_eq!(ended, Some(0));
    assert!(log.contains("serving"), "the twin: something was logged");
    for (what, text) in [("status", &out), ("log", &log)] {
        for part in ["77345", "7734 5", "734567", "７７３４５"] {
            assert!(!text.contains(part), "{part} in the {what}: {text}");
        }
    }
}
