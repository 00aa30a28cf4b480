//! Which versions of an app may link Yikatong cards (D10).

use ridegate_proto::partner::v1::{
    Channel, Client, DelegationResult, LinkResult, LinkRiderRequest, Os, StartDelegatedLinkRequest,
};

use crate::{
    errands::{BUS, COMPANY, field, nfc, of_media, t_union, yikatong},
    house::{House, medium, subject},
};

fn app(os: Os, version: &str) -> Client {
    Client { os: os.into(), app_version: version.into() }
}

#[tokio::test]
async fn an_app_too_old_is_told_the_version_it_needs_and_nothing_is_exchanged() {
    let house = House::open().await;
    let mut rider = 0;
    for (os, needed, older, enough) in [
        (
            Os::Android,
            "5.4.2.0",
            ["5.4.1.9", "5.4.1", "5.4", "4.99.99.99"],
            ["5.4.2.0", "5.4.2", "5.4.2.1", "5.10"],
        ),
        (
            Os::Harmonyos,
            "5.4.2.0",
            ["5.4.1.99999", "5.3.9.9", "5", "0"],
            ["5.4.2.0", "5.04.02.0", "5.4.3", "5.10"],
        ),
        (
            Os::Ios,
            "5.3.2.1",
            ["5.3.2.0", "5.3.2", "5.3.1.9", "5.2.10.10"],
            ["5.3.2.1", "5.3.2.10", "5.3.10", "6"],
        ),
    ] {
        for (old, new) in older.into_iter().zip(enough) {
            rider += 1;
            let (partner, card) = if rider % 2 == 0 { (BUS, yikatong(rider)) } else { (COMPANY, nfc(rider)) };
            let code = format!("code-{rider}");
            house.agree(rider, &code);
            let with = |version| LinkRiderRequest {
                client: Some(app(os, version)),
                ..of_media(&code, vec![t_union(rider), card.clone()])
            };
            let before = house.authority.exchanges();
            let refused = house.link(partner, with(old)).await.unwrap();
            assert_eq!(refused.result(), LinkResult::AppTooOld, "{os:?} {old}");
            assert_eq!(refused.version_needed, needed);
            assert_eq!((refused.refused_media.len(), house.authority.exchanges()), (0, before));
            assert!(house.link_of(partner, &t_union(rider)).await.is_none(), "nothing was changed");
            // With a newer app the rider goes on with the same consent, under the same key.
            let linked = house.link(partner, with(new)).await.unwrap();
            assert_eq!(
                (linked.result(), linked.version_needed.as_str()),
                (LinkResult::Linked, ""),
                "{os:?} {new}"
            );
            assert!(house.link_of(partner, &card).await.is_some());
        }
    }
}

#[tokio::test]
async fn an_app_that_does_not_say_its_version_is_refused() {
    let house = House::open().await;
    let newer = "5.4.2.0.0";
    for (client, expect) in [
        (None, "client"),
        (Some(app(Os::Unspecified, "6.0")), "client.os"),
        (Some(Client { os: 99, app_version: "6.0".into() }), "client.os"),
        (Some(app(Os::Android, "")), "client.app_version"),
        (Some(app(Os::Android, newer)), "client.app_version"),
        (Some(app(Os::Harmonyos, "5.4.x")), "client.app_version"),
        (Some(app(Os::Harmonyos, "v5.4.2")), "client.app_version"),
        (Some(app(Os::Ios, "5..4")), "client.app_version"),
        (Some(app(Os::Ios, "5.4.")), "client.app_version"),
        (Some(app(Os::Ios, "-5.4")), "client.app_version"),
        (Some(app(Os::Ios, "99999999999")), "client.app_version"),
    ] {
        let request = LinkRiderRequest { client: client.clone(), ..of_media("x", vec![yikatong(1)]) };
        let refused = house.link(COMPANY, request).await.unwrap_err();
        assert_eq!(field(&refused).0, expect, "{client:?}");
    }
    assert_eq!(house.authority.exchanges(), 0);
}

#[tokio::test]
async fn where_there_is_no_app_and_for_other_media_no_version_is_needed() {
    let house = House::open().await;
    for (rider, channel, media) in [
        (1, Channel::MiniProgram, vec![yikatong(1)]),
        (2, Channel::Website, vec![nfc(2)]),
        (3, Channel::App, vec![t_union(3)]),
        (4, Channel::App, vec![medium(4)]),
    ] {
        let code = format!("code-{rider}");
        house.agree(rider, &code);
        for client in [None, Some(app(Os::Android, "1"))] {
            let request =
                LinkRiderRequest { channel: channel.into(), client, ..of_media(&code, media.clone()) };
            let answer = house.link(COMPANY, request).await.unwrap();
            assert_eq!(answer.result(), LinkResult::Linked, "{channel:?} {media:?}");
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_to_anybody_from_an_app_too_old() {
    let house = House::open().await;
    house.authority.authorise_for("grant", "agent", &subject(1), true);
    let with = |version| StartDelegatedLinkRequest {
        idempotency_key: "key".into(),
        media: vec![yikatong(1)],
        authorization_code: "grant".into(),
        consent: of_media("", vec![]).consent,
        channel: Channel::App.into(),
        client: Some(app(Os::Harmonyos, version)),
    };
    let refused = house.start_delegated_link(COMPANY, with("5.4.1.9")).await.unwrap();
    assert_eq!((refused.result(), refused.version_needed.as_str()), (DelegationResult::AppTooOld, "5.4.2.0"));
    assert_eq!((refused.delegation_id.as_str(), refused.code_expires_at), ("", None));
    assert_eq!(house.authority.texted(&subject(1)), Vec::<String>::new());
    let started = house.start_delegated_link(COMPANY, with("5.4.2")).await.unwrap();
    assert_eq!(started.result(), DelegationResult::Started);
    assert_eq!(house.authority.texted(&subject(1)).len(), 1);
}
