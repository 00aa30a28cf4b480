//! Linking, as partners live it.

use ridegate_proto::partner::v1::{
    LinkResult, LinkRiderRequest, Medium, UnlinkRiderRequest, partner_service_client::PartnerServiceClient,
};
use ridegate_sim::{authority::Mood, riders::Rider, trust::Phone as AnyPhone};
use tonic::Code;
use tonic_types::StatusExt;

use crate::house::{House, alipay_medium, link_request, medium, said, subject, user_id};

#[tokio::test]
async fn a_link_is_in_force_at_once_and_so_is_its_withdrawal() {
    let house = House::open().await;
    let phone = house.phone(1);
    assert_eq!(said(&house.tap(house.fresh(&phone)).await), "INSPECT NOT_LINKED");
    house.settle(1, Rider::Healthy).await;
    assert_eq!(said(&house.tap(house.fresh(&phone)).await), "ALLOW HEALTH_OK");
    assert!(house.unlink("yikatong", 1).await.unwrap());
    assert_eq!(said(&house.tap(house.fresh(&phone)).await), "INSPECT NOT_LINKED");
    assert!(!house.unlink("yikatong", 1).await.unwrap(), "there was none any more");
}

#[tokio::test]
async fn a_link_says_when_where_and_on_what_consent() {
    use ridegate_proto::partner::v1::GetLinkRequest;
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let request = GetLinkRequest { medium: Some(medium(1)) };
    let mut client = PartnerServiceClient::new(house.channel.clone());
    let request = crate::house::identified("urn:ridegate:partner:yikatong", request);
    let link = client.get_link(request).await.unwrap().into_inner().link.unwrap();
    assert_eq!(link.consent, link_request(1).consent);
    assert_eq!(link.channel, link_request(1).channel);
    assert_eq!(link.linked_at.unwrap().seconds, 1_655_265_600);
}

#[tokio::test]
async fn a_repeat_answers_the_same_and_a_key_serves_one_request() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let again = house.link("yikatong", link_request(1)).await.unwrap();
    assert_eq!(again.result(), LinkResult::Linked);

    let other = LinkRiderRequest { media: vec![medium(2)], ..link_request(1) };
    let refused = house.link("yikatong", other).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "IDEMPOTENCY_KEY_REUSED");
    assert!(!house.is_linked("yikatong", 2).await.unwrap());
}

#[tokio::test]
async fn an_account_belongs_to_one_person_and_a_request_is_all_or_nothing() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    house.authority.authorise("code-of-another", &subject(99));
    let request = LinkRiderRequest {
        idempotency_key: "another".into(),
        authorization_code: "code-of-another".into(),
        media: vec![medium(2), medium(1)],
        ..link_request(2)
    };
    let answer = house.link("yikatong", request).await.unwrap();
    assert_eq!(answer.result(), LinkResult::LinkedToSomeoneElse);
    assert_eq!(answer.refused_media, [1]);
    assert!(!house.is_linked("yikatong", 2).await.unwrap(), "nothing was changed");
}

#[tokio::test]
async fn the_same_person_again_is_already_linked() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    house.authority.authorise("second-code", &subject(1));
    let again = LinkRiderRequest {
        idempotency_key: "second".into(),
        authorization_code: "second-code".into(),
        ..link_request(1)
    };
    assert_eq!(house.link("yikatong", again).await.unwrap().result(), LinkResult::AlreadyLinked);
}

#[tokio::test]
async fn authorization_codes_are_used_once_and_must_be_known() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    let stolen =
        LinkRiderRequest { idempotency_key: "thief".into(), media: vec![medium(2)], ..link_request(1) };
    assert_eq!(house.link("yikatong", stolen).await.unwrap().result(), LinkResult::AuthorizationUsed);
    let unknown = LinkRiderRequest { authorization_code: "guess".into(), ..link_request(3) };
    assert_eq!(house.link("yikatong", unknown).await.unwrap().result(), LinkResult::AuthorizationUnknown);
}

#[tokio::test]
async fn a_partner_touches_only_its_own() {
    let house = House::open().await;
    house.settle(1, Rider::Healthy).await;
    // The same issuer and account, seen by another partner with that issuer: not its link.
    assert!(!house.is_linked("beijing-bus", 1).await.unwrap());
    assert!(!house.unlink("beijing-bus", 1).await.unwrap());
    assert!(house.is_linked("yikatong", 1).await.unwrap());
    // Another issuer is none of its business.
    let foreign = Medium { issuer: "99994401".into(), ..medium(1) };
    let refused = house
        .link("yikatong", LinkRiderRequest { media: vec![foreign], ..link_request(5) })
        .await
        .unwrap_err();
    assert_eq!(refused.get_details_bad_request().unwrap().field_violations[0].field, "media[0].issuer");
    // A code shown through the other partner's app does not find the link either.
    let on_the_bus = house.phone_on(1, "99990002");
    let answer = house.tap(house.fresh(&on_the_bus)).await;
    assert_eq!((said(&answer).as_str(), answer.partner.as_str()), ("INSPECT NOT_LINKED", "beijing-bus"));
}

/// Shows the code of a second before now.
async fn shows(house: &House, phone: &AnyPhone, before: u32) -> (String, String) {
    let answer = house.tap(phone.code(house.now() - before).unwrap()).await;
    (said(&answer), answer.partner)
}

#[tokio::test]
async fn an_alipay_rider_links_a_mot_account_and_a_user_id_in_one_step() {
    let house = House::open().await;
    let (own, mot) = (house.phone_of("alipay", &user_id(1)), house.phone_on(1, "50023301"));
    let unlinked = ("INSPECT NOT_LINKED".to_owned(), "alipay".to_owned());
    assert_eq!(shows(&house, &own, 0).await, unlinked);
    house.authority.set(&subject(1), Rider::Healthy.facts(house.clock.now()).unwrap());
    house.authority.authorise("code-1", &subject(1));
    let both = LinkRiderRequest { media: vec![medium(1), alipay_medium(1)], ..link_request(1) };
    assert_eq!(house.link("alipay", both.clone()).await.unwrap().result(), LinkResult::Linked);
    assert_eq!(house.link("alipay", both).await.unwrap().result(), LinkResult::Linked, "a repeat");
    assert_eq!(shows(&house, &own, 1).await.0, "ALLOW HEALTH_OK");
    assert_eq!(said(&house.tap(house.fresh(&mot)).await), "ALLOW HEALTH_OK");
    // Another rider is not linked by that, nor is this one with another partner.
    let stranger = house.phone_of("alipay", &user_id(2));
    assert_eq!(shows(&house, &stranger, 0).await, unlinked);
    let elsewhere = house.phone_of("tianjin-metro", &user_id(1));
    assert_eq!(shows(&house, &elsewhere, 0).await.0, "INSPECT NOT_LINKED");
    // What was shown at one gate is a replay at the next, behind whatever signature.
    let again = own.code(house.now() - 1).unwrap();
    let next = "urn:ridegate:validator:bjsubway:gate-2";
    let answer = house.check(next, crate::house::request("again", again)).await.unwrap();
    assert_eq!(said(&answer), "INSPECT CODE_REPLAYED");

    let unlink = UnlinkRiderRequest { medium: Some(alipay_medium(1)) };
    let mut client = PartnerServiceClient::new(house.channel.clone());
    let unlink = crate::house::identified("urn:ridegate:partner:alipay", unlink);
    assert!(client.unlink_rider(unlink).await.unwrap().into_inner().unlinked);
    assert_eq!(shows(&house, &own, 2).await, unlinked);
    assert_eq!(said(&house.tap(house.fresh(&mot)).await), "ALLOW HEALTH_OK", "the other account stays");
}

#[tokio::test]
async fn a_tianjin_rider_rides_with_either_prefix_and_with_one_code_once() {
    let house = House::open().await;
    let request = LinkRiderRequest { media: vec![alipay_medium(7)], ..link_request(7) };
    house.authority.set(&subject(7), Rider::Healthy.facts(house.clock.now()).unwrap());
    house.authority.authorise("code-7", &subject(7));
    assert_eq!(house.link("tianjin-metro", request).await.unwrap().result(), LinkResult::Linked);
    let mut code = house.phone_of("tianjin-metro", &user_id(7)).code(house.now()).unwrap();
    assert_eq!(code[..2], [0x54, 0x01]);
    let answer = house.tap(code.clone()).await;
    assert_eq!((said(&answer).as_str(), answer.partner.as_str()), ("ALLOW HEALTH_OK", "tianjin-metro"));
    // Nothing covers the prefix: with the other one it is the same code, and it was used.
    code[1] = 0x02;
    let next = "urn:ridegate:validator:bjsubway:gate-2";
    let answer = house.check(next, crate::house::request("again", code)).await.unwrap();
    assert_eq!(said(&answer), "INSPECT CODE_REPLAYED");
}

#[tokio::test]
async fn an_authority_that_fails_leaves_nothing_linked_and_says_when_to_come_again() {
    let house = House::open().await;
    house.authority.authorise("code-1", &subject(1));
    house.authority.feel(Mood::Failing);
    let failed = house.link("yikatong", link_request(1)).await.unwrap_err();
    assert_eq!(failed.code(), Code::Unavailable);
    assert_eq!(failed.get_details_error_info().unwrap().reason, "AUTHORITY_UNAVAILABLE");
    assert!(failed.get_details_retry_info().unwrap().retry_delay.is_some());
    house.authority.feel(Mood::Well);
    assert_eq!(house.link("yikatong", link_request(1)).await.unwrap().result(), LinkResult::Linked);
}

#[tokio::test]
async fn the_database_holds_no_account_and_no_subject_in_clear() {
    let house = House::open().await;
    for account in 31_041_234_567_890..31_041_234_567_900 {
        house.settle(account, Rider::Healthy).await;
    }
    let mut files = 0;
    for entry in std::fs::read_dir(house.folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if !path.file_name().unwrap().to_str().unwrap().starts_with("ridegate.db") {
            continue;
        }
        files += 1;
        let bytes = std::fs::read(&path).unwrap();
        for secret in [b"3104123456789".as_slice(), b"subject-of-", b"code-3104", b"key-3104"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", path.display());
        }
        // The twin: what may be there is found by the same search.
        if path.extension().is_some_and(|extension| extension == "db-wal") {
            assert!(
                bytes.windows(5).any(|window| window == b"gates"),
                "the consent's purpose is there in clear"
            );
        }
    }
    assert!(files >= 2, "database and log");
}
