//! Links for somebody else (D7): begun, limited, repeated, and across failures and restarts.

use ridegate_proto::partner::v1::{
    Channel, ConfirmDelegatedLinkRequest, ConfirmDelegatedLinkResponse, ConfirmationResult, DelegationResult,
    LinkResult, Medium, ResendDelegatedCodeRequest, StartDelegatedLinkRequest, StartDelegatedLinkResponse,
};
use ridegate_sim::{authority::Mood, riders::Rider};
use tonic::{Code, Status};

use crate::{
    errands::{BUS, COMPANY, MANY_TAPS, field, new_app, of_media, reason, t_union, yikatong},
    house::{House, connect, subject, wait_until},
    process::Process,
};

/// A request under this key, with the authorization code of the same name.
pub fn on_behalf(key: &str, media: Vec<Medium>) -> StartDelegatedLinkRequest {
    StartDelegatedLinkRequest {
        idempotency_key: key.into(),
        media,
        authorization_code: key.into(),
        consent: of_media("", vec![]).consent,
        channel: Channel::App.into(),
        client: Some(new_app()),
    }
}

impl House {
    /// An agent names a healthy person in the authority's consent step; this is the code for it.
    pub fn entrust(&self, code: &str, agent: &str, person: u64) {
        self.authority.set(&subject(person), Rider::Healthy.facts(self.clock.now()).unwrap());
        self.authority.authorise_for(code, agent, &subject(person), true);
    }

    pub async fn begin(&self, key: &str, media: &[Medium]) -> StartDelegatedLinkResponse {
        self.start_delegated_link(COMPANY, on_behalf(key, media.to_vec())).await.unwrap()
    }

    /// The id of what was begun.
    pub async fn begun(&self, key: &str, media: &[Medium]) -> String {
        let answer = self.begin(key, media).await;
        assert_eq!(answer.result(), DelegationResult::Started);
        answer.delegation_id
    }

    pub async fn try_digits(&self, id: &str, code: &str) -> Result<ConfirmDelegatedLinkResponse, Status> {
        let request = ConfirmDelegatedLinkRequest { delegation_id: id.into(), code: code.into() };
        self.confirm_delegated_link(COMPANY, request).await
    }

    /// What digits come to, and how many tries are left.
    pub async fn digits(&self, id: &str, code: &str) -> (ConfirmationResult, u32) {
        let answer = self.try_digits(id, code).await.unwrap();
        (answer.result(), answer.tries_left)
    }

    /// What becomes of the link, with the right digits.
    pub async fn confirmed(&self, id: &str, person: u64) -> LinkResult {
        let answer = self.try_digits(id, &self.texted(person)).await.unwrap();
        assert_eq!(answer.result(), ConfirmationResult::Confirmed);
        answer.link.unwrap().result()
    }

    /// The digits that a person was texted last.
    pub fn texted(&self, person: u64) -> String {
        self.authority.texted(&subject(person)).last().unwrap().clone()
    }

    pub async fn resend(&self, partner: &str, id: &str) -> DelegationResult {
        let request = ResendDelegatedCodeRequest { delegation_id: id.into() };
        self.resend_delegated_code(partner, request).await.unwrap().result()
    }
}

#[tokio::test]
async fn somebody_elses_card_is_linked_with_the_digits_that_they_were_sent() {
    let house = House::with(MANY_TAPS).await;
    house.entrust("grant", "agent", 1);
    let (card, other) = (yikatong(1), t_union(1));
    let started = house.begin("grant", &[card.clone(), other.clone()]).await;
    assert_eq!(started.result(), DelegationResult::Started);
    assert_eq!(started.code_expires_at.unwrap().seconds, house.clock.now().as_second() + 300);
    assert_eq!(house.authority.texted(&subject(1)).len(), 1);
    assert_eq!(house.card(&card).await, "INSPECT NOT_LINKED", "not before it is confirmed");
    let id = started.delegation_id;
    assert!(id.len() >= 32 && house.link_of(COMPANY, &card).await.is_none());

    assert_eq!(house.confirmed(&id, 1).await, LinkResult::Linked);
    assert_eq!(house.card(&card).await, "ALLOW HEALTH_OK");
    assert_eq!(house.card(&other).await, "ALLOW HEALTH_OK");
    assert_eq!(house.link_of(COMPANY, &card).await.unwrap().consent, of_media("", vec![]).consent);
    // Again it answers the same, also when the digits are too old; nothing more is sent.
    assert_eq!(house.confirmed(&id, 1).await, LinkResult::Linked);
    house.clock.advance(jiff::SignedDuration::from_mins(6));
    assert_eq!(house.confirmed(&id, 1).await, LinkResult::Linked);
    assert_eq!(house.resend(COMPANY, &id).await, DelegationResult::Unknown, "it is over");
    assert_eq!(house.authority.texted(&subject(1)).len(), 1);
    // What holds for links holds here: the person has a card now.
    house.entrust("second", "agent", 1);
    let id = house.begun("second", &[yikatong(2)]).await;
    assert_eq!(house.confirmed(&id, 1).await, LinkResult::LimitReached);
    assert_eq!(house.card(&yikatong(2)).await, "INSPECT NOT_LINKED");
    assert!(house.unlink_medium(COMPANY, &card).await);
    assert_eq!(house.confirmed(&id, 1).await, LinkResult::Linked, "then there is a place");
}

#[tokio::test]
async fn an_agent_does_five_cards_and_no_sixth() {
    let house = House::open().await;
    let too_many: Vec<_> = (0..6).map(t_union).collect();
    let refused = house.start_delegated_link(COMPANY, on_behalf("six", too_many)).await.unwrap_err();
    assert_eq!(field(&refused), ("media".to_owned(), "must be 1 to 5".to_owned()));
    let none = house.start_delegated_link(COMPANY, on_behalf("none", vec![])).await.unwrap_err();
    assert_eq!(field(&none), ("media".to_owned(), "must be 1 to 5".to_owned()));

    house.entrust("three", "agent", 1);
    let id = house.begun("three", &[t_union(1), t_union(2), t_union(3)]).await;
    assert_eq!(house.confirmed(&id, 1).await, LinkResult::Linked);
    house.entrust("one", "agent", 2);
    let id = house.begun("one", &[yikatong(2)]).await;
    assert_eq!(house.confirmed(&id, 2).await, LinkResult::Linked);
    // Two are too many, one is not; of two that are begun for the last place one is confirmed.
    house.entrust("two", "agent", 3);
    assert_eq!(
        house.begin("two", &[t_union(31), t_union(32)]).await.result(),
        DelegationResult::AgentLimitReached
    );
    house.entrust("fifth", "agent", 4);
    house.entrust("sixth", "agent", 5);
    let fifth = house.begun("fifth", &[yikatong(4)]).await;
    let sixth = house.begun("sixth", &[yikatong(5)]).await;
    assert_eq!(house.confirmed(&fifth, 4).await, LinkResult::Linked);
    assert_eq!(house.confirmed(&sixth, 5).await, LinkResult::AgentLimitReached);
    assert!(house.link_of(COMPANY, &yikatong(5)).await.is_none(), "nothing was changed");
    house.entrust("seventh", "agent", 6);
    let seventh = house.begin("seventh", &[yikatong(6)]).await;
    assert_eq!((seventh.result(), seventh.delegation_id.as_str()), (DelegationResult::AgentLimitReached, ""));
    // Another agent may; and this one again when one of the five is unlinked.
    house.entrust("another", "other-agent", 6);
    let id = house.begun("another", &[yikatong(6)]).await;
    assert_eq!(house.confirmed(&id, 6).await, LinkResult::Linked);
    assert!(house.unlink_medium(COMPANY, &t_union(2)).await);
    assert_eq!(house.confirmed(&sixth, 5).await, LinkResult::Linked);
}

#[tokio::test]
async fn a_delegation_is_begun_with_a_code_for_it_and_a_phone_on_record() {
    let house = House::open().await;
    house.authority.authorise_for("no phone", "agent", &subject(1), false);
    assert_eq!(house.begin("no phone", &[yikatong(1)]).await.result(), DelegationResult::NoPhone);
    house.agree(1, "a rider's own");
    for unknown in ["nobody's", "a rider's own"] {
        let answer = house.begin(unknown, &[yikatong(1)]).await;
        assert_eq!(answer.result(), DelegationResult::AuthorizationUnknown, "{unknown}");
        assert_eq!((answer.delegation_id.as_str(), answer.code_expires_at), ("", None));
    }
    house.entrust("grant", "agent", 1);
    house.begun("grant", &[yikatong(1)]).await;
    let stolen =
        StartDelegatedLinkRequest { idempotency_key: "x".into(), ..on_behalf("grant", vec![yikatong(2)]) };
    let answer = house.start_delegated_link(COMPANY, stolen).await.unwrap();
    assert_eq!(answer.result(), DelegationResult::AuthorizationUsed);
    assert_eq!(house.authority.texted(&subject(1)).len(), 1);
}

#[tokio::test]
async fn a_repeat_sends_nothing_again_and_a_key_serves_one_request() {
    let house = House::open().await;
    house.entrust("grant", "agent", 1);
    let first = house.begin("grant", &[yikatong(1)]).await;
    house.clock.advance(jiff::SignedDuration::from_secs(100));
    assert_eq!(house.begin("grant", &[yikatong(1)]).await, first, "and not longer good either");
    assert_eq!(house.authority.texted(&subject(1)).len(), 1);
    let other = on_behalf("grant", vec![yikatong(2)]);
    let refused = house.start_delegated_link(COMPANY, other.clone()).await.unwrap_err();
    assert_eq!(
        (refused.code(), reason(&refused).as_str()),
        (Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED")
    );
    assert_eq!(house.confirmed(&first.delegation_id, 1).await, LinkResult::Linked);
    assert_eq!(house.begin("grant", &[yikatong(1)]).await, first, "also when it is over");
    assert!(house.start_delegated_link(COMPANY, other).await.is_err());
    // A partner's key is its own.
    house.entrust("grant", "agent", 2);
    let theirs = house.start_delegated_link(BUS, on_behalf("grant", vec![yikatong(3)])).await.unwrap();
    assert_eq!(theirs.result(), DelegationResult::Started);
    assert_ne!(theirs.delegation_id, first.delegation_id);
}

/// Two requests under one key at the same moment: whichever is second is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_serves_one_request_also_at_the_same_moment() {
    let house = House::open().await;
    house.entrust("grant", "agent", 1);
    house.authority.feel(Mood::Stalled);
    let authority = house.authority.clone();
    let let_go = async {
        wait_until(|| authority.delegations() == 2).await;
        authority.feel(Mood::Well);
    };
    let ask = |card| house.start_delegated_link(COMPANY, on_behalf("grant", vec![yikatong(card)]));
    let (one, two, ()) = tokio::join!(ask(1), ask(2), let_go);
    let (started, refused) = if one.is_ok() { (one, two) } else { (two, one) };
    assert_eq!(reason(&refused.unwrap_err()), "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(house.confirmed(&started.unwrap().delegation_id, 1).await, LinkResult::Linked);
}

#[tokio::test]
async fn what_was_begun_is_confirmed_after_a_restart() {
    let house = House::with(MANY_TAPS).await;
    house.entrust("grant", "agent", 1);
    let id = house.begun("grant", &[yikatong(1)]).await;
    let wrong = crate::digits::wrong(&house.texted(1), 1);
    assert_eq!(house.digits(&id, &wrong).await, (ConfirmationResult::WrongCode, 4));
    let house = house.reopen().await;
    assert_eq!(house.digits(&id, &wrong).await, (ConfirmationResult::WrongCode, 3), "tries are counted on");
    assert_eq!(house.confirmed(&id, 1).await, LinkResult::Linked);
    let house = house.reopen().await;
    assert_eq!(house.confirmed(&id, 1).await, LinkResult::Linked);
    assert_eq!(house.card(&yikatong(1)).await, "ALLOW HEALTH_OK");
}

/// Neither the log nor the database says who did what for whom, nor the digits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_delegation_is_put_out() {
    let mut house = House::with(MANY_TAPS).await;
    house.close().await;
    let process = Process::start_logging("trace", &house.folder.path().join("ridegate.toml"));
    house.channel = connect(&process.endpoint).await;
    house.move_to(&process).await;
    let canaries = ["canary-grant", "canary-agent", "77345678"];
    house.entrust("canary-grant", "canary-agent", 1);
    let card = yikatong(77_345_678);
    let id = house.begun("canary-grant", std::slice::from_ref(&card)).await;
    let (right, wrong) = (house.texted(1), crate::digits::wrong(&house.texted(1), 7));
    house.digits(&id, &wrong).await;
    house.authority.feel(Mood::Failing);
    let failed = format!("{:?}", house.try_digits(&id, &right).await.unwrap_err());
    house.authority.feel(Mood::Well);
    let files = |folder: &std::path::Path| {
        let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let database = files.filter(|path| path.to_str().unwrap().contains("ridegate.db"));
        database.flat_map(|path| std::fs::read(path).unwrap()).collect::<Vec<_>>()
    };
    let (before, confirmed) = (files(house.folder.path()), house.confirmed(&id, 1).await);
    let after = files(house.folder.path());
    assert_eq!(confirmed, LinkResult::Linked);
    drop(house);
    let (ended, log) = process.terminate();
    assert_eq!(ended, Some(0));
    // Six digits may be a time's: what is before the first space.
    let log: String = log.lines().filter_map(|line| Some(line.trim().split_once(' ')?.1)).collect();
    let person = subject(1);
    for secret in canaries.into_iter().chain([person.as_str(), right.as_str(), wrong.as_str()]) {
        assert!(!log.contains(secret) && !failed.contains(secret), "{secret} in {log}");
        for database in [&before, &after] {
            assert!(!database.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
        }
    }
    assert!(
        before.windows(8).any(|window| window == COMPANY.as_bytes()),
        "the twin: the partner is there in clear"
    );
}
