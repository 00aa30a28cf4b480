//! Who is linked to what.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use ridegate_adapters::{CardKind, Medium};
use ridegate_gateway::{
    backends::registry::{Changed, Found, Registry, RegistryError},
    domain::{
        link::{LinkOrder, LinkOutcome},
        pseudonym::Pseudonym,
    },
    keyring::Keyring,
};
use tokio::task::JoinSet;

use super::{
    behaviours, card, code, consent, link, now, order, partner, physical, rider, store::Store, unlink, whose,
};

behaviours! {
    a_link_is_found_and_ends
    many_are_found_by_one_question_each_its_own
    a_person_has_one_card_of_a_kind
    of_many_who_race_for_the_last_place_one_wins
    any_interleaving_keeps_the_limit_and_every_acknowledged_link
    a_card_is_the_same_whichever_partner_links_it
    an_agent_does_five_cards
    a_repeat_is_answered_the_same_and_carried_out_once
    what_ended_is_told_in_order
}

async fn a_link_is_found_and_ends(store: Store) {
    let (registry, keys) = (store.open().await, store.keys());
    assert_eq!(whose(&registry, &keys, &code(1)).await, None);
    assert_eq!(link(&registry, &[code(1), code(2)], &rider(1)).await, LinkOutcome::Linked);
    assert_eq!(link(&registry, &[code(1), code(2)], &rider(1)).await, LinkOutcome::AlreadyLinked);
    assert_eq!(whose(&registry, &keys, &code(2)).await, Some(rider(1)));
    let names = keys.link_names(&partner("yikatong"), &code(1));
    let told = registry.get(&names, "yikatong").await.unwrap().unwrap();
    assert_eq!((told.channel, told.linked_at, told.consent), (1, now(), consent()));

    // All or nothing: the second is somebody else's, so the first is not linked either.
    let other = link(&registry, &[code(3), code(2)], &rider(2)).await;
    assert_eq!(other, LinkOutcome::LinkedToSomeoneElse(vec![1]));
    assert_eq!(whose(&registry, &keys, &code(3)).await, None);

    assert_eq!(unlink(&registry, &keys, &code(1)).await, 1);
    assert_eq!(unlink(&registry, &keys, &code(1)).await, 0);
    assert_eq!(whose(&registry, &keys, &code(1)).await, None);
    assert_eq!(link(&registry, &[code(1)], &rider(2)).await, LinkOutcome::Linked, "it is free again");
    registry.close().await;
    let again = store.open().await;
    assert_eq!(whose(&again, &keys, &code(1)).await, Some(rider(2)));
}

async fn many_are_found_by_one_question_each_its_own(store: Store) {
    let (registry, keys) = (store.open().await, store.keys());
    let names = |number| keys.link_names(&partner("yikatong"), &code(number));
    for number in 1..=20 {
        assert_eq!(link(&registry, &[code(number)], &rider(number)).await, LinkOutcome::Linked);
    }
    let spoilt = hex::encode(names(7).pop().unwrap().0);
    let (open, close) = if store.server.is_some() { ("'\\x", "'") } else { ("x'", "'") };
    store
        .behind(&format!("UPDATE link SET subject = {open}00{close} WHERE key = {open}{spoilt}{close}"))
        .await
        .unwrap();

    // Two of the same, one of a link that nobody made, one of a name that the rider had before.
    let mut asked: Vec<_> = [3, 20, 99, 3, 7, 1].into_iter().map(names).collect();
    asked.last_mut().unwrap().insert(0, Pseudonym([9; 32]));
    let answers = registry.find_each(&asked).await.unwrap();
    let subjects = |answer: &Result<Option<Found>, RegistryError>| {
        answer
            .as_ref()
            .map_err(RegistryError::name)
            .map(|found| found.as_ref().map(|found| found.subject.clone()))
    };
    assert_eq!(
        answers.iter().map(subjects).collect::<Vec<_>>(),
        [
            Ok(Some(rider(3))),
            Ok(Some(rider(20))),
            Ok(None),
            Ok(Some(rider(3))),
            Err("wrong_answer"),
            Ok(Some(rider(1)))
        ]
    );
    assert_eq!(registry.find_each(&[]).await.unwrap().len(), 0);
}

async fn a_person_has_one_card_of_a_kind(store: Store) {
    let (registry, keys) = (store.open().await, store.keys());
    let nfc = |number| card(CardKind::YikatongNfc, number);
    assert_eq!(link(&registry, &[physical(1), nfc(1), code(1)], &rider(1)).await, LinkOutcome::Linked);
    let full = link(&registry, &[code(2), physical(2), nfc(2)], &rider(1)).await;
    assert_eq!(
        full,
        LinkOutcome::LimitReached(vec![(1, CardKind::YikatongCard), (2, CardKind::YikatongNfc)])
    );
    assert_eq!(whose(&registry, &keys, &code(2)).await, None, "all or nothing");
    let twins = link(&registry, &[physical(3), physical(4)], &rider(2)).await;
    assert_eq!(twins, LinkOutcome::LimitReached(vec![(1, CardKind::YikatongCard)]));

    // What is not counted.
    let many = [code(3), code(4), card(CardKind::TUnionCard, 1), card(CardKind::TUnionCard, 2)];
    assert_eq!(link(&registry, &many, &rider(1)).await, LinkOutcome::Linked);
    // Unlinked, another may be linked; and the same again.
    assert_eq!(unlink(&registry, &keys, &physical(1)).await, 1);
    assert_eq!(link(&registry, &[physical(2)], &rider(1)).await, LinkOutcome::Linked);
    assert_eq!(unlink(&registry, &keys, &physical(2)).await, 1);
    assert_eq!(link(&registry, &[physical(1)], &rider(1)).await, LinkOutcome::Linked);
}

async fn of_many_who_race_for_the_last_place_one_wins(store: Store) {
    let keys = store.keys();
    let mut registries = Vec::new();
    for _ in 0..4 {
        registries.push(Arc::new(store.open().await));
    }
    for round in 0..10_u64 {
        let mut racers = JoinSet::new();
        for racer in 0..12_u64 {
            let registry = Arc::clone(&registries[usize::try_from(racer).unwrap() % 4]);
            let card = physical(round * 100 + racer);
            racers.spawn(async move { link(&registry, &[card], &rider(round)).await });
        }
        let outcomes = racers.join_all().await;
        let won = outcomes.iter().filter(|outcome| **outcome == LinkOutcome::Linked).count();
        let full = LinkOutcome::LimitReached(vec![(0, CardKind::YikatongCard)]);
        assert_eq!((won, outcomes.iter().filter(|outcome| **outcome == full).count()), (1, 11));
        let mut linked = 0;
        for racer in 0..12 {
            linked +=
                usize::from(whose(&registries[0], &keys, &physical(round * 100 + racer)).await.is_some());
        }
        assert_eq!(linked, 1);

        // And for one card, of many riders.
        let mut racers = JoinSet::new();
        for racer in 0..8_u64 {
            let registry = Arc::clone(&registries[usize::try_from(racer).unwrap() % 4]);
            let card = card(CardKind::TUnionCard, round);
            racers.spawn(async move { link(&registry, &[card], &rider(round * 100 + racer)).await });
        }
        let outcomes = racers.join_all().await;
        let taken = LinkOutcome::LinkedToSomeoneElse(vec![0]);
        let many = |wanted: &LinkOutcome| outcomes.iter().filter(|outcome| *outcome == wanted).count();
        assert_eq!((many(&LinkOutcome::Linked), many(&taken)), (1, 7));
    }
}

const PROCESSES: usize = 3;

/// What one of several processes does: link or unlink a card of its own, for one of a few riders that all share.
#[derive(Debug, Clone, Copy)]
enum Act {
    Link { card: u64, rider: u64 },
    Unlink { card: u64 },
}

fn acts() -> impl Strategy<Value = Vec<Vec<Act>>> {
    let act = prop_oneof![
        3 => (0..3_u64, 0..2_u64).prop_map(|(card, rider)| Act::Link { card, rider }),
        2 => (0..3_u64).prop_map(|card| Act::Unlink { card }),
    ];
    prop::collection::vec(prop::collection::vec(act, 1..10), PROCESSES)
}

async fn any_interleaving_keeps_the_limit_and_every_acknowledged_link(store: Store) {
    let mut registries = Vec::new();
    for _ in 0..PROCESSES {
        registries.push(Arc::new(store.open().await));
    }
    let mut runner = TestRunner::deterministic();
    let mut linked = 0;
    for round in 0..24_u64 {
        let plan = acts().new_tree(&mut runner).unwrap().current();
        linked += interleave(&registries, &store.keys(), round, plan).await;
    }
    assert!(linked > 24, "links were made and are there at the end: {linked}");
}

/// Cards are each worked on by one process, so what was acknowledged last is what must be there; riders are shared.
async fn interleave(
    registries: &[Arc<Registry>],
    keys: &Arc<Keyring>,
    round: u64,
    plan: Vec<Vec<Act>>,
) -> usize {
    let rider = move |number: u64| rider(round * 10 + number);
    let mut processes = JoinSet::new();
    for (process, acts) in plan.clone().into_iter().enumerate() {
        let (registry, keys) = (Arc::clone(&registries[process]), Arc::clone(keys));
        processes.spawn(async move {
            let mut holds = HashMap::new();
            for act in acts {
                let physical = |card: u64| physical(round * 1000 + process as u64 * 100 + card);
                match act {
                    Act::Link { card, rider: number } => {
                        if link(&registry, &[physical(card)], &rider(number)).await == LinkOutcome::Linked {
                            holds.insert(card, number);
                        }
                    }
                    Act::Unlink { card } => {
                        let ended = unlink(&registry, &keys, &physical(card)).await;
                        assert_eq!(ended, usize::from(holds.remove(&card).is_some()), "as acknowledged");
                    }
                }
            }
            (process as u64, holds)
        });
    }
    let registry = &registries[0];
    let mut places = HashSet::new();
    for (process, holds) in processes.join_all().await {
        for card in 0..3 {
            let found = whose(registry, keys, &physical(round * 1000 + process * 100 + card)).await;
            assert_eq!(found, holds.get(&card).map(|number| rider(*number)), "{plan:?}");
            if let Some(number) = holds.get(&card) {
                assert!(places.insert(*number), "two cards of one rider: {plan:?}");
            }
        }
    }
    places.len()
}

async fn a_card_is_the_same_whichever_partner_links_it(store: Store) {
    let (registry, keys) = (store.open().await, store.keys());
    let through = |id: &str, media: &[Medium]| LinkOrder { partner: partner(id), ..order(id, media) };
    assert_eq!(link(&registry, &[physical(1)], &rider(1)).await, LinkOutcome::Linked);
    let other = registry.link(&through("yitongxing", &[physical(1)]), &rider(2), now()).await.unwrap();
    assert_eq!(other, LinkOutcome::LinkedToSomeoneElse(vec![0]));
    let same = registry.link(&through("beijing-bus", &[physical(1)]), &rider(1), now()).await.unwrap();
    assert_eq!(same, LinkOutcome::AlreadyLinked);
    let full = registry.link(&through("alipay", &[physical(2)]), &rider(1), now()).await.unwrap();
    assert_eq!(full, LinkOutcome::LimitReached(vec![(0, CardKind::YikatongCard)]));

    // Another partner sees and touches nothing of it.
    let names = keys.link_names(&partner("yitongxing"), &physical(1));
    assert!(registry.get(&names, "yitongxing").await.unwrap().is_none());
    assert!(registry.get(&names, "yikatong").await.unwrap().is_some());
    let ended = registry.unlink(&names, Some(&partner("yitongxing")), now()).await.unwrap();
    assert_eq!(ended, []);
    // The card company ends it whoever made it.
    assert_eq!(registry.unlink(&names, None, now()).await.unwrap().len(), 1);

    // Codes are each partner's own.
    assert_eq!(link(&registry, &[code(1)], &rider(1)).await, LinkOutcome::Linked);
    let theirs = LinkOrder { partner: partner("alipay"), ..order("theirs", &[code(1)]) };
    assert_eq!(registry.link(&theirs, &rider(2), now()).await.unwrap(), LinkOutcome::Linked);
}

async fn an_agent_does_five_cards(store: Store) {
    let (registry, keys) = (store.open().await, store.keys());
    let for_others = |number: u64| LinkOrder {
        agent: Some(rider(99)),
        ..order(&format!("agent-{number}"), &[card(CardKind::TUnionCard, number)])
    };
    let mut racers = JoinSet::new();
    let registry = Arc::new(registry);
    for number in 1..=9 {
        let (registry, order) = (Arc::clone(&registry), for_others(number));
        racers.spawn(async move { registry.link(&order, &rider(number), now()).await.unwrap() });
    }
    let outcomes = racers.join_all().await;
    let many = |wanted: LinkOutcome| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    assert_eq!((many(LinkOutcome::Linked), many(LinkOutcome::AgentLimitReached)), (5, 4));
    assert_eq!(registry.agent_places_left(&rider(99)).await.unwrap(), 0);
    // Their own card is not one for others.
    let own = LinkOrder { agent: Some(rider(99)), ..order("own", &[card(CardKind::TUnionCard, 50)]) };
    assert_eq!(registry.link(&own, &rider(99), now()).await.unwrap(), LinkOutcome::Linked);
    // One of those that they did ends: they may do another.
    for number in 1..=9 {
        if unlink(&registry, &keys, &card(CardKind::TUnionCard, number)).await == 1 {
            break;
        }
    }
    assert_eq!(registry.agent_places_left(&rider(99)).await.unwrap(), 1);
    assert_eq!(registry.link(&for_others(60), &rider(60), now()).await.unwrap(), LinkOutcome::Linked);
}

async fn a_repeat_is_answered_the_same_and_carried_out_once(store: Store) {
    let (registry, keys) = (Arc::new(store.open().await), store.keys());
    let mut same = JoinSet::new();
    for _ in 0..8 {
        let registry = Arc::clone(&registry);
        same.spawn(async move { registry.link(&order("key", &[code(1)]), &rider(1), now()).await.unwrap() });
    }
    assert_eq!(same.join_all().await, vec![LinkOutcome::Linked; 8]);
    registry.close().await;
    let registry = store.open().await;
    assert_eq!(registry.answered(&order("key", &[code(1)])).await.unwrap(), Some(LinkOutcome::Linked));
    // The link ended meanwhile: the repeat of the old request does not bring it back.
    assert_eq!(unlink(&registry, &keys, &code(1)).await, 1);
    let again = registry.link(&order("key", &[code(1)]), &rider(1), now()).await.unwrap();
    assert_eq!((again, whose(&registry, &keys, &code(1)).await), (LinkOutcome::Linked, None));
    let other = order("key", &[code(1), code(2)]);
    assert_eq!(registry.link(&other, &rider(1), now()).await.unwrap(), LinkOutcome::KeyReused);
    // What came to nothing is found out anew.
    assert_eq!(link(&registry, &[code(5)], &rider(5)).await, LinkOutcome::Linked);
    let taken = order("taken", &[code(5)]);
    let refused = registry.link(&taken, &rider(6), now()).await.unwrap();
    assert_eq!(refused, LinkOutcome::LinkedToSomeoneElse(vec![0]));
    assert_eq!(unlink(&registry, &keys, &code(5)).await, 1);
    assert_eq!(registry.link(&taken, &rider(6), now()).await.unwrap(), LinkOutcome::Linked);
}

async fn what_ended_is_told_in_order(store: Store) {
    let (registry, keys) = (Arc::new(store.open().await), store.keys());
    let name = |number: u64| keys.link_names(&partner("yikatong"), &code(number))[0];
    assert_eq!(registry.head().await.unwrap().seq, 0);
    for number in 0..60 {
        link(&registry, &[code(number)], &rider(number)).await;
    }
    assert_eq!(
        registry.head().await.unwrap().seq,
        0,
        "what begins needs not be told: nobody remembers its absence"
    );
    // Many end links at once while one follows: nothing is passed over.
    let mut enders = JoinSet::new();
    for ender in 0..6 {
        let (registry, keys) = (store.open().await, Arc::clone(&keys));
        enders.spawn(async move {
            for number in (ender * 10)..(ender * 10 + 10) {
                assert_eq!(unlink(&registry, &keys, &code(number)).await, 1);
            }
        });
    }
    let (mut heard, mut seen) = (HashSet::new(), 0);
    while heard.len() < 60 {
        if seen < registry.head().await.unwrap().seq {
            let Changed::Links { names, upto } = registry.changes(seen).await.unwrap() else { panic!("all") };
            assert_eq!(i64::try_from(names.len()).unwrap(), upto - seen);
            seen = upto;
            heard.extend(names);
        }
    }
    enders.join_all().await;
    assert_eq!(heard, (0..60).map(name).collect());

    // Changes that are gone before they were heard of.
    store.behind("DELETE FROM change WHERE seq <= 30").await.unwrap();
    assert_eq!(registry.changes(10).await.unwrap(), Changed::Everything);
    assert!(matches!(registry.changes(30).await.unwrap(), Changed::Links { upto: 60, .. }));
    store.behind("DELETE FROM change").await.unwrap();
    assert_eq!(registry.changes(59).await.unwrap(), Changed::Everything);
}
