//! The digits of a delegation (D7): six, for five minutes and five tries, sent again three times at the most.

use jiff::SignedDuration;
use ridegate_proto::partner::v1::{
    ConfirmDelegatedLinkRequest, ConfirmationResult, DelegationResult, LinkResult, ResendDelegatedCodeRequest,
};
use ridegate_sim::authority::Mood;
use tonic::Code;

use crate::{
    delegations::on_behalf,
    errands::{BUS, COMPANY, field, reason, yikatong},
    house::{House, subject},
};

const WRONG: ConfirmationResult = ConfirmationResult::WrongCode;
const EXPIRED: ConfirmationResult = ConfirmationResult::CodeExpired;
const UNKNOWN: ConfirmationResult = ConfirmationResult::Unknown;

/// Other digits than these.
pub fn wrong(right: &str, by: u32) -> String {
    let right: u32 = right.parse().unwrap();
    format!("{:06}", (right + by) % 1_000_000)
}

async fn house() -> (House, String) {
    let house = House::open().await;
    house.entrust("grant", "agent", 1);
    let id = house.begun("grant", &[yikatong(1)]).await;
    (house, id)
}

#[tokio::test]
async fn after_five_wrong_tries_the_right_digits_are_wrong_too() {
    let (house, id) = house().await;
    let right = house.texted(1);
    for left in (0..5).rev() {
        assert_eq!(house.digits(&id, &wrong(&right, left + 1)).await, (WRONG, left));
    }
    let asked = house.authority.delegations();
    for digits in [&right, &wrong(&right, 9), &right] {
        assert_eq!(house.digits(&id, digits).await, (EXPIRED, 0));
    }
    assert_eq!(house.authority.delegations(), asked, "the authority is not asked");
    assert!(house.link_of(COMPANY, &yikatong(1)).await.is_none());
    // New digits have five tries of their own.
    house.clock.advance(SignedDuration::from_mins(1));
    assert_eq!(house.resend(COMPANY, &id).await, DelegationResult::Started);
    assert_eq!(house.digits(&id, &wrong(&house.texted(1), 1)).await, (WRONG, 4));
    assert_eq!(house.confirmed(&id, 1).await, LinkResult::Linked);
}

#[tokio::test]
async fn digits_are_good_for_five_minutes() {
    let (house, id) = house().await;
    house.clock.advance(SignedDuration::from_millis(300_001));
    let asked = house.authority.delegations();
    assert_eq!(house.digits(&id, &house.texted(1)).await, (EXPIRED, 0));
    assert_eq!(house.authority.delegations(), asked, "the authority is not asked");
    assert_eq!(house.resend(COMPANY, &id).await, DelegationResult::Started);
    house.clock.advance(SignedDuration::from_mins(5));
    assert_eq!(house.confirmed(&id, 1).await, LinkResult::Linked, "to the last moment");
}

#[tokio::test]
async fn digits_are_sent_again_three_times_a_minute_apart_and_the_old_ones_are_good_no_more() {
    let (house, id) = house().await;
    let minute = SignedDuration::from_mins(1);
    for again in 1..=3 {
        let old = house.texted(1);
        house.clock.advance(minute - SignedDuration::from_millis(1));
        assert_eq!(house.resend(COMPANY, &id).await, DelegationResult::TooSoon);
        assert_eq!(house.authority.texted(&subject(1)).len(), again);
        house.clock.advance(SignedDuration::from_millis(1));
        let request = ResendDelegatedCodeRequest { delegation_id: id.clone() };
        let sent = house.resend_delegated_code(COMPANY, request).await.unwrap();
        assert_eq!(sent.result(), DelegationResult::Started);
        assert_eq!(sent.code_expires_at.unwrap().seconds, house.clock.now().as_second() + 300);
        assert_eq!(house.authority.texted(&subject(1)).len(), again + 1);
        if house.texted(1) != old {
            assert_eq!(house.digits(&id, &old).await, (WRONG, 4));
        }
    }
    house.clock.advance(minute);
    assert_eq!(house.resend(COMPANY, &id).await, DelegationResult::TooOften);
    assert_eq!(house.authority.texted(&subject(1)).len(), 4);
    assert_eq!(house.confirmed(&id, 1).await, LinkResult::Linked, "the last ones are good");
}

#[tokio::test]
async fn a_delegation_is_of_the_partner_that_began_it() {
    let (house, id) = house().await;
    let right = house.texted(1);
    house.clock.advance(SignedDuration::from_mins(2));
    for _ in 0..6 {
        let request = ConfirmDelegatedLinkRequest { delegation_id: id.clone(), code: right.clone() };
        assert_eq!(house.confirm_delegated_link(BUS, request).await.unwrap().result(), UNKNOWN);
        assert_eq!(house.resend(BUS, &id).await, DelegationResult::Unknown);
    }
    for nothing in ["", "0", &"f".repeat(64)] {
        assert_eq!(house.digits(nothing, &right).await, (UNKNOWN, 0));
        assert_eq!(house.resend(COMPANY, nothing).await, DelegationResult::Unknown);
    }
    for bad in ["", "12345", "1234567", "12345a", "１２３４５６", " 12345"] {
        let refused = house.try_digits(&id, bad).await.unwrap_err();
        assert_eq!(field(&refused), ("code".to_owned(), "must be six digits".to_owned()));
    }
    assert_eq!(house.digits(&id, &wrong(&right, 1)).await, (WRONG, 4), "none of that was a try");
    assert_eq!(house.confirmed(&id, 1).await, LinkResult::Linked);
}

#[tokio::test]
async fn an_authority_that_fails_uses_up_no_try_and_no_send() {
    let house = House::open().await;
    house.entrust("grant", "agent", 1);
    house.authority.feel(Mood::Failing);
    let failed =
        house.start_delegated_link(COMPANY, on_behalf("grant", vec![yikatong(1)])).await.unwrap_err();
    assert_eq!((failed.code(), reason(&failed).as_str()), (Code::Unavailable, "AUTHORITY_UNAVAILABLE"));
    house.authority.feel(Mood::Well);
    let id = house.begun("grant", &[yikatong(1)]).await;
    let right = house.texted(1);
    assert_eq!(house.digits(&id, &wrong(&right, 1)).await, (WRONG, 4));

    house.clock.advance(SignedDuration::from_mins(2));
    house.authority.feel(Mood::Failing);
    for _ in 0..6 {
        let failed = house.try_digits(&id, &right).await.unwrap_err();
        assert_eq!((failed.code(), reason(&failed).as_str()), (Code::Unavailable, "AUTHORITY_UNAVAILABLE"));
        let request = ResendDelegatedCodeRequest { delegation_id: id.clone() };
        let failed = house.resend_delegated_code(COMPANY, request).await.unwrap_err();
        assert_eq!((failed.code(), reason(&failed).as_str()), (Code::Unavailable, "AUTHORITY_UNAVAILABLE"));
    }
    house.authority.feel(Mood::Well);
    // No new digits were sent, so the old ones have what they had left: of tries, and of time.
    assert_eq!(house.digits(&id, &wrong(&right, 2)).await, (WRONG, 3));
    house.clock.advance(SignedDuration::from_millis(180_001));
    assert_eq!(house.digits(&id, &right).await, (EXPIRED, 0));
    assert_eq!(house.resend(COMPANY, &id).await, DelegationResult::Started, "and they can be sent again");
    assert_eq!(house.authority.texted(&subject(1)).len(), 2);
    assert_eq!(house.confirmed(&id, 1).await, LinkResult::Linked);
}
