//! How links are kept: under which keys, for how long, and what a thief or an operator finds.

use std::sync::Arc;

use ridegate_adapters::CardKind;
use ridegate_gateway::{
    backends::registry::{
        BatchRow, Changed, Forgotten, Kept, OpenError, Purged, RecordError, Registry, RegistryError, Scope,
    },
    domain::{
        batch::RowResult,
        link::{LinkOrder, LinkOutcome, Reissued},
        pseudonym::Pseudonym,
    },
    keyring::{Keyring, Use},
};

use super::{
    NOON, batch, behaviours, code, later, link, now, order, partner, physical, rider, senior, store::Store,
    unlink, whose,
};

behaviours! {
    a_purge_deletes_what_it_says_and_the_record_tells
    the_record_cannot_be_changed
    keys_change_while_links_come_and_go
    what_is_old_is_forgotten
    a_thief_learns_no_account
    a_database_of_a_later_version_or_another_key_is_refused
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
    let first = include_str!("../../../gateway/src/backends/registry/sql/sqlite-1.sql");
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
