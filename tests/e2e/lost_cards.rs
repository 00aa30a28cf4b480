//! What a card company reports of its cards (D9): lost, issued again, handed back.

use ridegate_proto::partner::v1::{
    Channel, LinkResult, Medium, MediumKind, ReissueResult, ReportLostRequest, ReportReissuedRequest,
    ReportReturnedRequest,
};

use crate::{
    batches::senior,
    errands::{BUS, COMPANY, MANY_TAPS, field, medium_of, nfc, t_union, yikatong},
    house::{House, link_request, medium},
};

const LET_THROUGH: &str = "ALLOW HEALTH_OK";
const UNLINKED: &str = "INSPECT NOT_LINKED";

impl House {
    async fn lose(&self, card: &Medium) -> bool {
        let request = ReportLostRequest { medium: Some(card.clone()) };
        self.report_lost(COMPANY, request).await.unwrap().unlinked
    }

    async fn hand_back(&self, card: &Medium) -> bool {
        let request = ReportReturnedRequest { medium: Some(card.clone()) };
        self.report_returned(COMPANY, request).await.unwrap().unlinked
    }

    async fn reissue(&self, lost: &Medium, card: &Medium) -> ReissueResult {
        let request = ReportReissuedRequest { lost: Some(lost.clone()), reissued: Some(card.clone()) };
        self.report_reissued(COMPANY, request).await.unwrap().result()
    }

    async fn concession(&self, rider: u64, card: &Medium) {
        let code = format!("{rider}-{}-{:08x}", card.account, rand::random::<u32>());
        self.agree(rider, &code);
        let batch = format!("b{:016x}", rand::random::<u64>());
        let rows = vec![crate::batches::row(card.clone(), &code)];
        let messages = vec![crate::batches::start(&batch), crate::batches::rows(0, rows)];
        let progress = self.batch(COMPANY, messages).await.unwrap().progress.unwrap();
        assert_eq!((progress.rows_done, progress.counts[0].result), (1, 1), "linked");
    }
}

#[tokio::test]
async fn a_lost_card_is_of_no_use_at_once_and_the_one_in_its_place_is_linked() {
    let house = House::with(MANY_TAPS).await;
    let (old, new, third) = (senior(1), senior(2), senior(3));
    house.concession(1, &old).await;
    assert_eq!(house.card(&old).await, LET_THROUGH);
    assert_eq!(house.reissue(&old, &new).await, ReissueResult::HolderUnknown, "it was not lost");
    assert!(house.lose(&old).await);
    assert_eq!(house.card(&old).await, UNLINKED, "at once");
    assert!(house.link_of(COMPANY, &old).await.is_none());
    assert!(!house.lose(&old).await && !house.lose(&senior(9)).await);

    assert_eq!(house.reissue(&old, &new).await, ReissueResult::Linked);
    assert_eq!((house.card(&new).await, house.card(&old).await), (LET_THROUGH.into(), UNLINKED.into()));
    let link = house.link_of(COMPANY, &new).await.unwrap();
    assert_eq!((link.channel(), link.consent), (Channel::CardCompany, link_request(1).consent));
    assert_eq!(house.reissue(&old, &new).await, ReissueResult::Linked, "the same report again");
    assert_eq!(house.reissue(&senior(9), &third).await, ReissueResult::HolderUnknown, "never linked");
    house.concession(2, &third).await;
    assert_eq!(house.reissue(&old, &third).await, ReissueResult::LinkedToSomeoneElse);
    assert_eq!(house.card(&third).await, LET_THROUGH, "theirs as before");
    // Who withdraws while the card is lost is not linked by the next one.
    assert!(!house.unlink_medium(COMPANY, &old).await, "it was linked no more");
    assert_eq!(
        house.reissue(&old, &senior(8)).await,
        ReissueResult::HolderUnknown,
        "its holder is forgotten"
    );

    // The one in its place may be lost as well; one that was lost and found comes in a batch again.
    assert!(house.lose(&new).await);
    assert_eq!(house.reissue(&new, &senior(4)).await, ReissueResult::Linked);
    house.concession(1, &new).await;
    assert_eq!(house.card(&new).await, LET_THROUGH);
    assert_eq!(
        house.reissue(&new, &senior(5)).await,
        ReissueResult::HolderUnknown,
        "it is not lost any more"
    );
}

/// Ordinary cards are cash, and what is no card cannot be lost.
#[tokio::test]
async fn only_concession_cards_are_reported_lost() {
    let house = House::open().await;
    assert_eq!(house.ask(COMPANY, 1, &[yikatong(1), nfc(1), t_union(1), medium(1)]).await.0, 1);
    let short = Medium { account: "1".into(), ..yikatong(1) };
    let foreign = Medium { issuer: "1".into(), ..medium(1) };
    let nothing = medium_of(MediumKind::Unspecified, "", "");
    for card in [yikatong(1), nfc(1), t_union(1), medium(1), short, foreign, nothing] {
        let lost = ReportLostRequest { medium: Some(card.clone()) };
        let refused = house.report_lost(COMPANY, lost).await.unwrap_err();
        assert_eq!(field(&refused).0, "medium.kind", "{:?}", card.kind());
        for (lost, reissued, at_fault) in
            [(card.clone(), senior(1), "lost.kind"), (senior(1), card, "reissued.kind")]
        {
            let report = ReportReissuedRequest { lost: Some(lost), reissued: Some(reissued) };
            assert_eq!(field(&house.report_reissued(COMPANY, report).await.unwrap_err()).0, at_fault);
        }
    }
    assert!(house.link_of(COMPANY, &yikatong(1)).await.is_some(), "nothing was changed");
    for (card, at_fault) in [
        (None, "medium"),
        (Some(Medium { issuer: "01001002".into(), ..senior(1) }), "medium.issuer"),
        (Some(Medium { account: "1".into(), ..senior(1) }), "medium.account"),
    ] {
        let refused = house.report_lost(COMPANY, ReportLostRequest { medium: card }).await.unwrap_err();
        assert_eq!(field(&refused).0, at_fault);
    }
}

#[tokio::test]
async fn a_card_handed_back_is_free_for_the_next_whoever_linked_it() {
    let house = House::with(MANY_TAPS).await;
    let linked = i32::from(LinkResult::Linked);
    for (partner, rider, card) in [(BUS, 1, yikatong(1)), (COMPANY, 1, nfc(1))] {
        assert_eq!(house.ask(partner, rider, std::slice::from_ref(&card)).await.0, linked);
        assert_eq!(
            house.ask(BUS, 2, std::slice::from_ref(&card)).await.0,
            i32::from(LinkResult::LinkedToSomeoneElse)
        );
        assert_eq!(house.card(&card).await, LET_THROUGH);
        assert!(house.hand_back(&card).await);
        assert_eq!(house.card(&card).await, UNLINKED, "at once");
        assert!(!house.hand_back(&card).await);
        assert_eq!(house.ask(BUS, 2, std::slice::from_ref(&card)).await.0, linked);
    }
    assert_eq!(house.ask(COMPANY, 1, &[yikatong(3), nfc(3)]).await.0, linked, "its place is free");
    house.concession(3, &senior(1)).await;
    assert!(house.hand_back(&senior(1)).await);
    house.concession(4, &senior(1)).await;
    assert_eq!(house.card(&senior(1)).await, LET_THROUGH);
    // What others issue is not handed back here.
    for other in [t_union(1), medium(1)] {
        let report = ReportReturnedRequest { medium: Some(other) };
        assert_eq!(field(&house.report_returned(COMPANY, report).await.unwrap_err()).0, "medium.kind");
    }
}
