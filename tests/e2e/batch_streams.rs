//! Batches of concession cards as a card company sends them (D9), whatever breaks.

use std::collections::HashMap;

use ridegate_proto::partner::v1::{
    BatchLinkRequest, BatchLinkResponse, BatchProgress, BatchRow, BatchRowResult as Is, BatchStart,
    GetBatchRequest, batch_link_request::Part, partner_service_client::PartnerServiceClient,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Response, Status};

use crate::{
    batches::{row, rows, senior, start},
    errands::{COMPANY, MANY_TAPS, field, reason, yikatong},
    house::{House, as_partner, medium, partner_identity},
};

/// Row of a healthy rider's own card.
pub fn good(house: &House, number: u64) -> BatchRow {
    let code = format!("code-{number}");
    house.agree(number, &code);
    row(senior(number), &code)
}

pub fn goods(house: &House, numbers: std::ops::Range<u64>) -> Vec<BatchRow> {
    numbers.map(|number| good(house, number)).collect()
}

pub fn counts(progress: &BatchProgress) -> HashMap<Is, u64> {
    progress.counts.iter().map(|count| (count.result(), count.rows)).collect()
}

/// Which of these cards are linked.
pub async fn linked(house: &House, numbers: std::ops::Range<u64>) -> Vec<u64> {
    let mut linked = Vec::new();
    for number in numbers {
        if house.link_of(COMPANY, &senior(number)).await.is_some() {
            linked.push(number);
        }
    }
    linked
}

/// A stream that is sent message by message.
pub struct Sending {
    messages: mpsc::Sender<BatchLinkRequest>,
    pub answer: JoinHandle<Result<BatchLinkResponse, Status>>,
}

impl Sending {
    pub fn begin(house: &House) -> Self {
        let (messages, stream) = mpsc::channel(1);
        let mut client = PartnerServiceClient::new(house.channel_of(&partner_identity(COMPANY)));
        let request = as_partner(COMPANY, ReceiverStream::new(stream));
        let answer = tokio::spawn(async move { client.batch_link(request).await.map(Response::into_inner) });
        Self { messages, answer }
    }

    pub async fn send(&self, message: BatchLinkRequest) {
        self.messages.send(message).await.unwrap();
    }
}

pub async fn until_done(house: &House, batch: &str, rows: u64) {
    for _ in 0..2000 {
        if house.progress(COMPANY, batch).await.is_some_and(|progress| progress.rows_done >= rows) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("{batch} never has {rows} rows");
}

#[tokio::test]
async fn every_row_has_its_own_result_and_what_was_refused_is_told_in_pages() {
    let house = House::with(MANY_TAPS).await;
    house.agree(1, "again");
    house.agree(2, "another's");
    let mixed = vec![
        good(&house, 1),
        row(senior(1), "again"),
        row(senior(1), "another's"),
        row(senior(2), "nobody's"),
        row(senior(3), "code-1"),
        row(yikatong(1), "x"),
        row(ridegate_proto::partner::v1::Medium { issuer: "1".into(), ..medium(1) }, "x"),
        row(ridegate_proto::partner::v1::Medium { issuer: "01001002".into(), ..senior(4) }, "x"),
        row(ridegate_proto::partner::v1::Medium { account: "20000000000000x4".into(), ..senior(4) }, "x"),
        row(senior(4), ""),
        row(senior(4), &"x".repeat(257)),
        BatchRow { medium: None, authorization_code: "x".into() },
        good(&house, 5),
    ];
    let expect = [
        Is::Linked,
        Is::AlreadyLinked,
        Is::LinkedToSomeoneElse,
        Is::AuthorizationUnknown,
        Is::AuthorizationUsed,
        Is::KindRefused,
        Is::KindRefused,
        Is::IssuerRefused,
        Is::NumberRefused,
        Is::AuthorizationRefused,
        Is::AuthorizationRefused,
        Is::KindRefused,
        Is::Linked,
    ];
    let many = mixed.len() as u64;
    let mut messages = vec![start("june"), rows(0, mixed)];
    // And so many more that are refused that one page does not hold them.
    for message in 0..3 {
        messages.push(rows(many + 500 * message, (0..500).map(|_| row(yikatong(1), "x")).collect()));
    }
    let done = house.batch(COMPANY, messages).await.unwrap().progress.unwrap();
    assert_eq!(done.rows_done, many + 1500);
    let mut by_result = HashMap::new();
    for result in expect {
        *by_result.entry(result).or_insert(0) += 1;
    }
    *by_result.get_mut(&Is::KindRefused).unwrap() += 1500;
    assert_eq!(counts(&done), by_result);

    let page = async |from_row| {
        let asked = GetBatchRequest { batch_id: "june".into(), from_row };
        house.get_batch(COMPANY, asked).await.unwrap()
    };
    let (mut from, mut refused, mut pages) = (0, Vec::new(), Vec::new());
    loop {
        let answer = page(from).await;
        assert_eq!(answer.progress.as_ref().map(counts), Some(counts(&done)), "the same on every page");
        let Some(last) = answer.refused.last() else { break };
        from = last.row + 1;
        pages.push(answer.refused.len());
        refused.extend(answer.refused.iter().map(|row| (row.row, row.result())));
    }
    assert_eq!(pages, [1000, 510]);
    let bad = (0..).zip(expect).filter(|(_, result)| !matches!(result, Is::Linked | Is::AlreadyLinked));
    let expected: Vec<_> = bad.chain((many..many + 1500).map(|row| (row, Is::KindRefused))).collect();
    assert_eq!(refused, expected);
    assert_eq!(linked(&house, 0..10).await, [1, 5]);
    assert_eq!(house.card(&senior(1)).await, "ALLOW HEALTH_OK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_of_a_broken_stream_is_what_was_done() {
    let house = House::open().await;
    let all = goods(&house, 0..240);
    // Cut off at ever other moments; what follows is sent from where GetBatch says.
    let mut done = 0;
    for cut in 0..6 {
        let sending = Sending::begin(&house);
        sending.send(start("june")).await;
        let (from, to) = (usize::try_from(done).unwrap(), (usize::try_from(done).unwrap() + 40).min(240));
        for (first, chunk) in (done..).step_by(10).zip(all[from..to].chunks(10)) {
            sending.send(rows(first, chunk.to_vec())).await;
        }
        if cut % 2 == 0 {
            until_done(&house, "june", done + 20).await;
        }
        sending.answer.abort();
        drop(sending);
        // What had begun is finished meanwhile, or is not.
        let before = loop {
            let before = house.progress(COMPANY, "june").await.map_or(0, |progress| progress.rows_done);
            let reached = linked(&house, 0..240).await;
            let after = house.progress(COMPANY, "june").await.map_or(0, |progress| progress.rows_done);
            if before == after {
                assert_eq!(reached, (0..before).collect::<Vec<_>>(), "exactly those");
                break before;
            }
        };
        assert!(before >= done && before % 10 == 0, "a message is carried out whole");
        done = before;
    }
    // From the start again: what was carried out is passed over.
    let mut messages = vec![start("june")];
    messages
        .extend((0..).step_by(100).zip(all.chunks(100)).map(|(first, chunk)| rows(first, chunk.to_vec())));
    let progress = house.batch(COMPANY, messages.clone()).await.unwrap().progress.unwrap();
    assert_eq!(counts(&progress), HashMap::from([(Is::Linked, 240)]));
    assert_eq!(house.batch(COMPANY, messages).await.unwrap().progress.unwrap(), progress);
    assert_eq!(linked(&house, 0..241).await.len(), 240);
}

#[tokio::test]
async fn a_message_that_cannot_be_used_is_refused_and_nothing_of_it_is_done() {
    let house = House::open().await;
    let first = goods(&house, 0..5);
    let more = || rows(5, vec![good(&house, 5)]);
    let empty = BatchLinkRequest { part: None };
    let no_consent = BatchStart { batch_id: "x".into(), consent: None };
    let unnamed = BatchStart { batch_id: String::new(), ..of(start("x")) };
    let long = BatchStart { batch_id: "x".repeat(65), ..of(start("x")) };
    let begin = |start| vec![BatchLinkRequest { part: Some(Part::Start(start)) }, rows(0, first.clone())];
    for (messages, at_fault) in [
        (vec![], "start"),
        (vec![rows(0, first.clone())], "start"),
        (vec![empty.clone()], "part"),
        (begin(no_consent), "start.consent"),
        (begin(unnamed), "start.batch_id"),
        (begin(long), "start.batch_id"),
    ] {
        let refused = house.batch(COMPANY, messages).await.unwrap_err();
        assert_eq!(field(&refused).0, at_fault);
    }
    assert!(house.progress(COMPANY, "x").await.is_none());
    assert_eq!(linked(&house, 0..6).await, Vec::<u64>::new());

    for (number, (bad, at_fault)) in [
        (start("y"), "start"),
        (empty, "part"),
        (rows(5, vec![]), "rows.rows"),
        (rows(5, (0..501).map(|_| good(&house, 5)).collect()), "rows.rows"),
        (rows(u64::MAX, vec![good(&house, 5)]), "rows.first_row"),
    ]
    .into_iter()
    .enumerate()
    {
        let messages = vec![start("y"), rows(0, first.clone()), bad, more()];
        let refused = house.batch(COMPANY, messages).await.unwrap_err();
        assert_eq!(field(&refused).0, at_fault, "{number}");
        assert_eq!(house.progress(COMPANY, "y").await.unwrap().rows_done, 5, "what came before stays");
        assert_eq!(linked(&house, 0..6).await, [0, 1, 2, 3, 4]);
    }
    let gap = vec![start("y"), rows(6, vec![good(&house, 5)])];
    let refused = house.batch(COMPANY, gap).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "ROWS_LEFT_OUT"));
    assert_eq!(linked(&house, 0..6).await, [0, 1, 2, 3, 4]);
    // Rows that overlap those that were carried out are carried out from there on.
    let overlap = vec![start("y"), rows(3, goods(&house, 3..8))];
    assert_eq!(house.batch(COMPANY, overlap).await.unwrap().progress.unwrap().rows_done, 8);
}

fn of(message: BatchLinkRequest) -> BatchStart {
    match message.part {
        Some(Part::Start(start)) => start,
        _ => panic!("a start"),
    }
}
