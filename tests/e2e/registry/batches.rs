//! Many cards at once, and those that are lost.

use ridegate_gateway::{
    backends::registry::{BatchRow, Changed},
    domain::{
        batch::{RefusedRow, RowResult},
        link::{LinkOutcome, Reissued},
    },
};
use tokio::task::JoinSet;

use super::{batch, behaviours, consent, link, now, partner, rider, senior, store::Store, whose};

behaviours! {
    a_batch_goes_on_where_it_broke
    of_two_who_carry_out_the_same_batch_each_row_is_done_once
    a_lost_card_ends_and_the_next_one_is_linked_to_its_holder
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
