//! What a registry does, whichever database it is in: one suite, run by SQLite and by PostgreSQL. Several openings of one
//! registry are to it what several processes are.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
};

use jiff::Timestamp;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use ridegate_adapters::{Account, CardKind, Medium, PartnerId};
use ridegate_gateway::{
    backends::registry::{
        Batch, BatchRow, Changed, Forgotten, Found, Kept, Location, OpenError, Purged, RecordError, Registry,
        RegistryError, Scope,
    },
    domain::{
        batch::{RefusedRow, RowResult},
        facts::Subject,
        link::{Consent, LinkOrder, LinkOutcome, Reissued},
        pseudonym::Pseudonym,
    },
    keyring::{Keyring, Use},
};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::postgres::Postgres;

/// A registry somewhere, and the file of its keys.
struct Store {
    folder: TempDir,
    server: Option<(Postgres, String)>,
}

impl Store {
    fn file() -> Self {
        Self::new(None)
    }

    fn server() -> Self {
        let server = Postgres::start();
        let url = server.create_database();
        let database = url.rsplit('/').next().unwrap().to_owned();
        Self::new(Some((server, database)))
    }

    fn new(server: Option<(Postgres, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Keyring::create(&folder.path().join("ridegate.key")).unwrap();
        Self { folder, server }
    }

    fn key_file(&self) -> std::path::PathBuf {
        self.folder.path().join("ridegate.key")
    }

    fn keys(&self) -> Arc<Keyring> {
        Arc::new(Keyring::load(&self.key_file()).unwrap())
    }

    fn location(&self) -> Location {
        match &self.server {
            None => Location::File(self.folder.path().join("ridegate.db")),
            Some((server, database)) => {
                Location::server(&server.address(database), Some(server.password()), 8, true).unwrap()
            }
        }
    }

    async fn open(&self) -> Registry {
        self.open_with(self.keys()).await
    }

    async fn open_with(&self, keys: Arc<Keyring>) -> Registry {
        if self.server.is_some() {
            Registry::migrate(&self.location(), Arc::clone(&keys)).await.unwrap();
        }
        Registry::open(&self.location(), keys).await.unwrap()
    }

    /// Changes the database behind the gateway's back, in words that both understand.
    async fn behind(&self, statement: &str) -> Result<(), String> {
        match &self.server {
            None => {
                let path = self.folder.path().join("ridegate.db");
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
                let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
                let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&pool).await;
                pool.close().await;
                done.map(drop).map_err(|error| error.to_string())
            }
            Some((server, database)) => {
                let pool = sqlx::PgPool::connect(&server.url(database)).await.unwrap();
                let done = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&pool).await;
                pool.close().await;
                done.map(drop).map_err(|error| error.to_string())
            }
        }
    }

    /// Everything that a thief of the database would have.
    fn stolen(&self) -> Vec<u8> {
        match &self.server {
            None => {
                let files = std::fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
                let database =
                    |path: &Path| path.file_name().unwrap().to_str().unwrap().contains("ridegate.db");
                files.filter(|path| database(path)).flat_map(|path| std::fs::read(path).unwrap()).collect()
            }
            Some((server, database)) => server.dump(database).into_bytes(),
        }
    }
}

/// Every behaviour, in both databases.
macro_rules! behaviours {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() {
                super::$name(super::Store::file()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() {
                super::$name(super::Store::server()).await;
            })*
        }
    };
}

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
    a_batch_goes_on_where_it_broke
    of_two_who_carry_out_the_same_batch_each_row_is_done_once
    a_lost_card_ends_and_the_next_one_is_linked_to_its_holder
    a_purge_deletes_what_it_says_and_the_record_tells
    the_record_cannot_be_changed
    keys_change_while_links_come_and_go
    what_is_old_is_forgotten
    a_thief_learns_no_account
    a_database_of_a_later_version_or_another_key_is_refused
}

const NOON: i64 = 1_655_265_600;

fn now() -> Timestamp {
    later(0)
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOON + seconds).unwrap()
}

fn partner(id: &str) -> PartnerId {
    PartnerId::new(id).unwrap()
}

fn rider(number: u64) -> Subject {
    Subject::new(format!("subject-of-{number}"))
}

fn card(kind: CardKind, number: u64) -> Medium {
    Medium::Card { kind, issuer: "01001000".parse().unwrap(), number: Account::new(format!("{number:016}")) }
}

fn physical(number: u64) -> Medium {
    card(CardKind::YikatongCard, number)
}

fn code(number: u64) -> Medium {
    Medium::MotCode { issuer: "99990001".parse().unwrap(), account: Account::new(format!("{number:020}")) }
}

fn consent() -> Consent {
    Consent { wording_version: "1".into(), granted_at: now(), purpose: "gates".into() }
}

/// A request of its own, under this key.
fn order(key: &str, media: &[Medium]) -> LinkOrder {
    let keys = Keyring::new(&[9; 32]);
    let name = |text: &str| keys.pseudonym(Use::Idempotency, &[text.as_bytes()]);
    LinkOrder {
        partner: partner("yikatong"),
        media: media.to_vec(),
        consent: consent(),
        channel: 1,
        agent: None,
        idempotency: name(key),
        fingerprint: name(&format!("{key} {}", media.len())),
    }
}

/// Links under a key that nobody else uses.
async fn link(registry: &Registry, media: &[Medium], rider: &Subject) -> LinkOutcome {
    let key = uuid::Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext)).to_string();
    registry.link(&order(&key, media), rider, now()).await.unwrap()
}

async fn unlink(registry: &Registry, keys: &Keyring, medium: &Medium) -> usize {
    let yikatong = partner("yikatong");
    let names = keys.link_names(&yikatong, medium);
    registry.unlink(&names, Some(&yikatong), now()).await.unwrap().len()
}

async fn whose(registry: &Registry, keys: &Keyring, medium: &Medium) -> Option<Subject> {
    let names = keys.link_names(&partner("yikatong"), medium);
    registry.find(&names).await.unwrap().map(|found| found.subject)
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

fn senior(number: u64) -> Medium {
    card(CardKind::SeniorCard, number)
}

fn batch(keys: &Keyring) -> Batch {
    let key = keys.pseudonym(Use::Batch, &[b"batch"]);
    Batch { key, partner: partner("yikatong"), consent: consent(), channel: 4 }
}

async fn a_batch_goes_on_where_it_broke(store: Store) {
    let (registry, keys) = (store.open().await, store.keys());
    let batch = batch(&keys);
    assert!(registry.progress(&batch.key).await.unwrap().is_none());
    link(&registry, &[senior(2)], &rider(2)).await;
    link(&registry, &[senior(3)], &rider(30)).await;
    let rows = [
        BatchRow::Card(senior(1), rider(1)),
        BatchRow::Card(senior(2), rider(2)),
        BatchRow::Card(senior(3), rider(3)),
        BatchRow::Refused(RowResult::NumberRefused),
        BatchRow::Card(senior(1), rider(1)),
        BatchRow::Card(senior(1), rider(5)),
    ];
    assert_eq!(registry.carry_out(&batch, 0, &rows, now()).await.unwrap(), 6);
    // The same again, and a message that leaves rows out, do nothing.
    assert_eq!(registry.carry_out(&batch, 0, &rows, now()).await.unwrap(), 6);
    assert_eq!(registry.carry_out(&batch, 9, &rows, now()).await.unwrap(), 6);
    let progress = registry.progress(&batch.key).await.unwrap().unwrap();
    assert_eq!(progress.done, 6);
    let expect = [
        (RowResult::Linked, 1),
        (RowResult::AlreadyLinked, 2),
        (RowResult::LinkedToSomeoneElse, 2),
        (RowResult::NumberRefused, 1),
    ];
    assert_eq!(progress.counts, expect);
    let refused = |row, result| RefusedRow { row, result };
    let expect = [
        refused(2, RowResult::LinkedToSomeoneElse),
        refused(3, RowResult::NumberRefused),
        refused(5, RowResult::LinkedToSomeoneElse),
    ];
    assert_eq!(registry.refused_rows(&batch.key, 0).await.unwrap(), expect);
    assert_eq!(registry.refused_rows(&batch.key, 4).await.unwrap(), expect[2..]);
    assert_eq!(whose(&registry, &keys, &senior(1)).await, Some(rider(1)));
    let names = keys.link_names(None, &senior(1));
    let told = registry.get(&names, "yikatong").await.unwrap().unwrap();
    assert_eq!((told.channel, told.consent), (4, consent()));
    // A holder of several has all of them linked.
    let more: Vec<_> = (10..14).map(|number| BatchRow::Card(senior(number), rider(1))).collect();
    assert_eq!(registry.carry_out(&batch, 6, &more, now()).await.unwrap(), 10);
    assert_eq!(whose(&registry, &keys, &senior(13)).await, Some(rider(1)));
}

async fn of_two_who_carry_out_the_same_batch_each_row_is_done_once(store: Store) {
    let keys = store.keys();
    let mut both = JoinSet::new();
    for _ in 0..3 {
        let (registry, batch) = (store.open().await, batch(&keys));
        both.spawn(async move {
            let mut done = 0;
            while done < 200 {
                let rows: Vec<_> =
                    (done..done + 10).map(|row| BatchRow::Card(senior(row), rider(row))).collect();
                done = registry.carry_out(&batch, done, &rows, now()).await.unwrap();
            }
        });
    }
    both.join_all().await;
    let registry = store.open().await;
    let progress = registry.progress(&batch(&keys).key).await.unwrap().unwrap();
    assert_eq!((progress.done, progress.counts), (200, vec![(RowResult::Linked, 200)]));
}

async fn a_lost_card_ends_and_the_next_one_is_linked_to_its_holder(store: Store) {
    let (registry, keys) = (store.open().await, store.keys());
    let yikatong = partner("yikatong");
    let names = keys.link_names(&yikatong, &senior(1));
    assert_eq!(registry.lose(&names, now()).await.unwrap(), [], "was not linked");
    let unknown = registry.reissue(&yikatong, &senior(1), &senior(2), now()).await.unwrap();
    assert_eq!(unknown, Reissued::HolderUnknown);
    link(&registry, &[senior(1)], &rider(1)).await;
    let unknown = registry.reissue(&yikatong, &senior(1), &senior(2), now()).await.unwrap();
    assert_eq!(unknown, Reissued::HolderUnknown, "it is not lost");
    assert_eq!(registry.lose(&names, now()).await.unwrap(), names);
    assert_eq!(registry.lose(&names, now()).await.unwrap(), []);
    assert!(
        matches!(registry.changes(0).await.unwrap(), Changed::Links { names: told, .. } if told == names)
    );
    assert_eq!(whose(&registry, &keys, &senior(1)).await, None);
    assert!(registry.get(&names, "yikatong").await.unwrap().is_none());

    link(&registry, &[senior(7)], &rider(7)).await;
    let reissue = async |card| registry.reissue(&yikatong, &senior(1), &senior(card), now()).await.unwrap();
    assert_eq!(reissue(7).await, Reissued::LinkedToSomeoneElse);
    assert_eq!(reissue(2).await, Reissued::Linked);
    assert_eq!(reissue(2).await, Reissued::Linked, "reported again");
    assert_eq!(whose(&registry, &keys, &senior(2)).await, Some(rider(1)));
    // The lost one is found and linked anew, to somebody else even: its old holder is forgotten.
    assert_eq!(link(&registry, &[senior(1)], &rider(3)).await, LinkOutcome::Linked);
    assert_eq!(reissue(5).await, Reissued::HolderUnknown);
}

async fn a_purge_deletes_what_it_says_and_the_record_tells(store: Store) {
    let (registry, keys) = (store.open().await, store.keys());
    for number in 0..20 {
        link(&registry, &[code(number)], &rider(number / 2)).await;
    }
    let theirs = LinkOrder { partner: partner("alipay"), ..order("alipay", &[code(100), code(101)]) };
    registry.link(&theirs, &rider(0), now()).await.unwrap();
    let agents = LinkOrder { agent: Some(rider(0)), ..order("agent", &[code(50)]) };
    registry.link(&agents, &rider(50), now()).await.unwrap();
    link(&registry, &[senior(1)], &rider(0)).await;
    registry.lose(&keys.link_names(None, &senior(1)), now()).await.unwrap();

    // One person, by one of their accounts: everything of theirs through everybody, the lost card too.
    let person = Scope::Person(keys.link_names(&partner("yikatong"), &code(0)));
    assert_eq!(registry.would_purge(&person).await.unwrap(), 5);
    let purged = registry.purge(&person, now(), |_| ()).await.unwrap();
    assert_eq!(purged, Purged { found: 5, deleted: 5, left: 0, others: 19, swept: true });
    assert_eq!(registry.agent_places_left(&rider(0)).await.unwrap(), 5, "nobody knows whose agent they were");
    assert_eq!(whose(&registry, &keys, &code(50)).await, Some(rider(50)));
    assert!(matches!(registry.changes(1).await.unwrap(), Changed::Links { names, .. } if names.len() == 5));
    let nobody = registry.purge(&person, now(), |_| ()).await.unwrap();
    assert_eq!((nobody.found, nobody.deleted), (0, 0));

    let theirs = LinkOrder { partner: partner("alipay"), ..order("more", &[code(102)]) };
    registry.link(&theirs, &rider(8), now()).await.unwrap();
    let purged = registry.purge(&Scope::Partner(partner("alipay")), now(), |_| ()).await.unwrap();
    assert_eq!((purged.deleted, purged.others), (1, 19));

    let purged = registry.purge(&Scope::Everything, now(), |_| ()).await.unwrap();
    assert_eq!(purged, Purged { found: 19, deleted: 19, left: 0, others: 0, swept: true });
    let head = registry.head().await.unwrap().seq;
    assert_eq!(registry.changes(head - 1).await.unwrap(), Changed::Everything);
    assert_eq!(registry.answered(&order("agent", &[code(50)])).await.unwrap(), None);

    let record = registry.record().await.unwrap();
    let acts: Vec<_> = record.iter().map(|entry| (entry.seq, entry.act.as_str())).collect();
    assert_eq!(acts, (1..=8).map(|seq| (seq, "purge")).collect::<Vec<_>>(), "as it begins, and as it ends");
    assert_eq!(record[0].detail, "one person: begun, links found 5");
    assert_eq!(record[1].detail, "one person: links found 5, deleted 5, left 0; links of others 19");
    assert!(record[5].detail.starts_with("partner alipay: links found 1,"), "{}", record[5].detail);
    assert!(record[7].detail.starts_with("everything: links found 19,"), "{}", record[7].detail);
}

async fn the_record_cannot_be_changed(store: Store) {
    let registry = store.open().await;
    for act in ["one", "two", "three"] {
        registry.note_act(act, "was done", now()).await.unwrap();
    }
    for change in ["UPDATE record SET detail = 'nothing was done'", "DELETE FROM record WHERE seq = 2"] {
        assert!(store.behind(change).await.unwrap_err().contains("record"), "{change}");
    }
    assert_eq!(registry.record().await.unwrap().len(), 3);
    // Whoever owns the database can take the guards away, but not without a trace.
    let guards: &[&str] = if store.server.is_some() {
        &["ALTER TABLE record DISABLE TRIGGER USER"]
    } else {
        &["DROP TRIGGER record_stays_unchanged", "DROP TRIGGER record_stays_whole"]
    };
    for guard in guards {
        store.behind(guard).await.unwrap();
    }
    store.behind("UPDATE record SET detail = 'nothing was done' WHERE seq = 2").await.unwrap();
    assert!(matches!(registry.record().await, Err(RecordError::Broken(2))));
    store.behind("UPDATE record SET detail = 'was done' WHERE seq = 2").await.unwrap();
    assert_eq!(registry.record().await.unwrap().len(), 3);
    store.behind("DELETE FROM record WHERE seq = 2").await.unwrap();
    assert!(matches!(registry.record().await, Err(RecordError::Broken(2))));
}

async fn keys_change_while_links_come_and_go(store: Store) {
    let before = store.keys();
    let old = store.open_with(Arc::clone(&before)).await;
    for number in 0..300 {
        link(&old, &[code(number)], &rider(number)).await;
    }
    link(&old, &[physical(1)], &rider(1)).await;
    link(&old, &[senior(1)], &rider(1)).await;
    old.lose(&before.link_names(None, &senior(1)), now()).await.unwrap();
    let agents = LinkOrder { agent: Some(rider(99)), ..order("agent", &[code(900)]) };
    old.link(&agents, &rider(50), now()).await.unwrap();

    let key = before.pseudonym(Use::Delegation, &[b"one"]);
    old.begin_delegation(&key, &partner("yikatong"), b"wanted", now()).await.unwrap();

    // Replicas that have a key file of their own: one without the new key, one with another under its number.
    let lagging = store.folder.path().join("lagging.key");
    std::fs::copy(store.key_file(), &lagging).unwrap();
    let wrong = store.folder.path().join("wrong.key");
    std::fs::copy(store.key_file(), &wrong).unwrap();
    Keyring::add(&wrong).unwrap();
    let mut astray = Vec::new();
    for file in [&lagging, &wrong] {
        let keys = Arc::new(Keyring::load(file).unwrap());
        astray.push((store.open_with(Arc::clone(&keys)).await, keys));
    }

    assert_eq!(Keyring::add(&store.key_file()).unwrap(), 2);
    let keys = store.keys();
    let new = Arc::new(store.open_with(Arc::clone(&keys)).await);
    assert_eq!(new.begin_rekey(now()).await.unwrap(), 2);
    // A replica that read its key file before finds the new key there by itself, and writes under it.
    assert_eq!(link(&old, &[code(1000)], &rider(1000)).await, LinkOutcome::Linked);
    assert_eq!(before.all().len(), 2);

    // While everything is written anew, others link and unlink.
    let busy = {
        let (registry, keys) = (Arc::clone(&new), Arc::clone(&keys));
        tokio::spawn(async move {
            for number in 0..60 {
                assert_eq!(unlink(&registry, &keys, &code(number)).await, 1, "{number}");
                assert_eq!(
                    link(&registry, &[code(2000 + number)], &rider(number)).await,
                    LinkOutcome::Linked
                );
                let taken = link(&registry, &[code(200 + number)], &rider(1)).await;
                assert_eq!(taken, LinkOutcome::LinkedToSomeoneElse(vec![0]));
                let full = link(&registry, &[physical(2)], &rider(1)).await;
                assert_eq!(full, LinkOutcome::LimitReached(vec![(0, CardKind::YikatongCard)]));
            }
        })
    };
    let rekeyed = new.rekey(2, now(), |_| ()).await.unwrap();
    busy.await.unwrap();
    assert!(rekeyed.links >= 240 && rekeyed.unreadable == 0, "{rekeyed:?}");
    assert_eq!(rekeyed.retired, [1]);
    // They do not say that a rider is not linked whose name they cannot make, nor write under a key of their own.
    for (registry, keys) in &astray {
        assert!(matches!(registry.learn_key(2).await, Err(RegistryError::KeyMissing(2))));
        let names = keys.link_names(&partner("yikatong"), &code(100));
        assert!(matches!(registry.find(&names).await, Err(RegistryError::KeyMissing(2))));
        let order = order("astray", &[code(5000)]);
        let refused = registry.link(&order, &rider(1), now()).await;
        assert!(matches!(refused, Err(RegistryError::KeyMissing(2))));
    }
    // The right file, and they are as the others.
    std::fs::copy(store.key_file(), &lagging).unwrap();
    astray[0].0.learn_key(2).await.unwrap();
    assert_eq!(whose(&astray[0].0, &astray[0].1, &code(100)).await, Some(rider(100)));

    // Without the old key everything is as it was.
    let text = std::fs::read_to_string(store.key_file()).unwrap();
    let without: Vec<_> = text.lines().filter(|line| !line.starts_with("1 ")).collect();
    std::fs::write(store.key_file(), without.join("\n")).unwrap();
    let (registry, keys) = (store.open().await, store.keys());
    assert_eq!(keys.all().len(), 1);
    for number in 0..300 {
        let expect = (number >= 60).then(|| rider(number));
        assert_eq!(whose(&registry, &keys, &code(number)).await, expect, "{number}");
    }
    assert_eq!(whose(&registry, &keys, &code(1000)).await, Some(rider(1000)));
    assert_eq!(registry.agent_places_left(&rider(99)).await.unwrap(), 4);
    // And what is named for some days only.
    let idempotency = keys.pseudonym(Use::Idempotency, &[b"steady"]);
    assert_eq!(idempotency, before.pseudonym(Use::Idempotency, &[b"steady"]));
    let key = keys.pseudonym(Use::Delegation, &[b"one"]);
    let pending = registry.delegation(&key, &partner("yikatong")).await.unwrap().unwrap();
    assert_eq!(pending.wanted, b"wanted");
    let full = link(&registry, &[physical(3)], &rider(1)).await;
    assert_eq!(full, LinkOutcome::LimitReached(vec![(0, CardKind::YikatongCard)]));
    let reissued = registry.reissue(&partner("yikatong"), &senior(1), &senior(2), now()).await.unwrap();
    assert_eq!((reissued, whose(&registry, &keys, &senior(2)).await), (Reissued::Linked, Some(rider(1))));
}

async fn what_is_old_is_forgotten(store: Store) {
    let (registry, keys) = (store.open().await, store.keys());
    let hours = |hours: u64| std::time::Duration::from_secs(hours * 3600);
    let kept = Kept {
        answers: hours(48),
        lost_cards: hours(90 * 24),
        delegations: hours(24),
        batches: hours(30 * 24),
        changes: hours(1),
    };
    registry.link(&order("key", &[senior(1)]), &rider(1), now()).await.unwrap();
    registry.lose(&keys.link_names(None, &senior(1)), now()).await.unwrap();
    let key = keys.pseudonym(Use::Delegation, &[b"one"]);
    registry.begin_delegation(&key, &partner("yikatong"), b"wanted", now()).await.unwrap();
    let batch = batch(&keys);
    let rows = [BatchRow::Card(senior(2), rider(2)), BatchRow::Refused(RowResult::NumberRefused)];
    registry.carry_out(&batch, 0, &rows, now()).await.unwrap();

    let after = async |hours: i64| {
        let forgotten = registry.forget_old(&kept, later(hours * 3600 + 1)).await;
        let many = |Forgotten { what, many }: Forgotten| (what, many.unwrap());
        forgotten.into_iter().map(many).filter(|(_, many)| *many > 0).collect::<Vec<_>>()
    };
    assert_eq!(after(0).await, []);
    assert_eq!(after(1).await, [("changes", 1)]);
    assert_eq!(after(24).await, [("delegations", 1)]);
    assert_eq!(after(48).await, [("answers", 1)]);
    assert_eq!(after(30 * 24).await, [("batches", 1)]);
    assert!(registry.refused_rows(&batch.key, 0).await.unwrap().is_empty());
    assert_eq!(after(90 * 24).await, [("lost cards", 1)]);
    // A link does not get old.
    assert_eq!(after(20 * 365 * 24).await, []);
    assert_eq!(whose(&registry, &keys, &senior(2)).await, Some(rider(2)));
    assert!(registry.delegation(&key, &partner("yikatong")).await.unwrap().is_none());
}

async fn a_thief_learns_no_account(store: Store) {
    let (registry, keys) = (store.open().await, store.keys());
    for number in 7_104_123_400..7_104_123_420 {
        let media = [code(number), physical(number), senior(number)];
        let order = LinkOrder {
            agent: Some(rider(7_104_999_000 + number % 4)),
            ..order(&number.to_string(), &media)
        };
        registry.link(&order, &rider(number), now()).await.unwrap();
    }
    registry.lose(&keys.link_names(None, &senior(7_104_123_401)), now()).await.unwrap();
    unlink(&registry, &keys, &code(7_104_123_402)).await;
    let key = keys.pseudonym(Use::Delegation, &[b"one"]);
    registry.begin_delegation(&key, &partner("yikatong"), b"7104123403", now()).await.unwrap();
    registry.note_act("purge", "one person", now()).await.unwrap();
    let stolen = store.stolen();
    let holds = |what: &[u8]| stolen.windows(what.len()).any(|window| window == what);
    let packed: Vec<_> =
        (0x71_04_12_34_00_u64 >> 8).to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    for secret in [b"71041234".as_slice(), b"subject-of", b"7104999", &packed] {
        assert!(!holds(secret), "{}", String::from_utf8_lossy(secret));
        // A dump of PostgreSQL shows bytes as digits.
        assert!(!holds(hex::encode(secret).as_bytes()), "{}", String::from_utf8_lossy(secret));
    }
    let check = keys.all()[0].check_value().0;
    assert!(holds(&check) || holds(hex::encode(check).as_bytes()), "the twin, of bytes");
    // The twin: what may be there is found by the same search.
    assert!(holds(b"yikatong-card") && holds(b"gates") && holds(b"one person"));
    // And the secret is in its file alone.
    let text = std::fs::read_to_string(store.key_file()).unwrap();
    let secret = text.trim().rsplit(' ').next().unwrap();
    assert!(secret.len() == 64 && !holds(secret.as_bytes()));
    assert!(!holds(&hex::decode(secret).unwrap()));
}

async fn a_database_of_a_later_version_or_another_key_is_refused(store: Store) {
    store.open().await.close().await;
    let other = Arc::new(Keyring::new(&[3; 32]));
    let refused = Registry::open(&store.location(), other).await.unwrap_err();
    assert!(matches!(refused, OpenError::OtherKey), "{refused}");
    let text = std::fs::read_to_string(store.key_file()).unwrap();
    std::fs::write(store.key_file(), text.replacen("\n1 ", "\n2 ", 1)).unwrap();
    let refused = Registry::open(&store.location(), store.keys()).await.unwrap_err();
    assert!(matches!(refused, OpenError::KeyMissing(1)), "{refused}");
    std::fs::write(store.key_file(), text).unwrap();
    let later = if store.server.is_some() { "true" } else { "1" };
    let step = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'later', {later}, '', 0)"
    );
    store.behind(&step).await.unwrap();
    let refused = Registry::open(&store.location(), store.keys()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 99, .. }), "{refused}");
    let refused = Registry::migrate(&store.location(), store.keys()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 99, .. }), "{refused}");
}

/// A server that nobody has migrated is not used, and says what to do; one that is not there is found when it comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_migrated_by_who_says_so_and_found_when_it_comes() {
    let mut store = Store::server();
    let refused = Registry::open(&store.location(), store.keys()).await.unwrap_err();
    assert_eq!(refused.to_string(), "its schema is not of this version: run `ridegate migrate`");
    assert_eq!(Registry::migrate(&store.location(), store.keys()).await.unwrap(), 0);
    assert_eq!(Registry::migrate(&store.location(), store.keys()).await.unwrap(), 2);

    store.server.as_mut().unwrap().0.kill();
    let registry = Registry::open(&store.location(), store.keys()).await.unwrap();
    let names: Vec<Pseudonym> = store.keys().link_names(None, &senior(1));
    assert!(registry.find(&names).await.is_err());
    assert!(registry.check().await.is_err());
    store.server.as_mut().unwrap().0.restart();
    registry.check().await.unwrap();
    assert_eq!(registry.find(&names).await.unwrap(), None);
}

/// What the first databases held is served as before, and stays under its key when keys change.
#[tokio::test]
async fn a_database_of_the_first_version_is_brought_up_to_date() {
    let store = Store::file();
    let (keys, yikatong) = (store.keys(), partner("yikatong"));
    let key = keys.all()[0].clone();
    let name = key.link_key(&yikatong, &code(1));
    let hex = |bytes: &[u8]| hex::encode(bytes);
    let sealed = key.seal(b"subject-of-1", &name).unwrap();
    let person = key.pseudonym(Use::Person, &[b"subject-of-1"]);
    let first = include_str!("../../gateway/src/backends/registry/sql/sqlite-1.sql");
    let filled = format!(
        "{first}; INSERT INTO secret VALUES (x'{}'); INSERT INTO link VALUES (x'{}', x'{}', x'{}', {}, 1, '1', {}, 'gates'); \
         PRAGMA user_version = 1",
        hex(&key.check_value().0),
        hex(&name.0),
        hex(&person.0),
        hex(&sealed),
        NOON * 1000,
        NOON * 1000,
    );
    drop(std::fs::File::create(store.folder.path().join("ridegate.db")).unwrap());
    store.behind(&filled).await.unwrap();

    let registry = store.open().await;
    assert_eq!(whose(&registry, &keys, &code(1)).await, Some(rider(1)));
    assert_eq!(link(&registry, &[code(1)], &rider(2)).await, LinkOutcome::LinkedToSomeoneElse(vec![0]));
    assert_eq!(Keyring::add(&store.key_file()).unwrap(), 2);
    let registry = store.open().await;
    registry.begin_rekey(now()).await.unwrap();
    let rekeyed = registry.rekey(2, now(), |_| ()).await.unwrap();
    assert_eq!((rekeyed.links, rekeyed.unreadable, rekeyed.retired), (0, 1, vec![]));
    assert_eq!(whose(&registry, &store.keys(), &code(1)).await, Some(rider(1)));
    assert_eq!(unlink(&registry, &store.keys(), &code(1)).await, 1);
}
