//! Clients that take more than their share, or nothing but time. Each is held to its limit, and another client gets
//! its verdicts all the while.

use std::time::Duration;

use ridegate_sim::pki::Files;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    frames::{
        Client, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, USUAL,
        connect, connect_from, frame, headers, secure, tls_client,
    },
    house::{GATE, House, request, said},
    observed::{counted, metric},
};

/// Longer than any test runs: what ends before it, ended for another reason.
const NEVER: &str = "60s";
const LONG: Duration = Duration::from_secs(30);
const CALM_DOWN: u32 = 0xb;

/// The gate that is not hostile gets its verdict.
async fn others_are_unharmed(house: &House) {
    let answer = timeout(LONG, house.check(GATE, request("r", vec![]))).await.expect("unharmed").unwrap();
    assert_eq!(said(&answer), "INSPECT CODE_UNRECOGNIZED");
}

fn certificate(house: &House, name: &str) -> Files {
    let identity = format!("urn:ridegate:validator:rogue:{name}");
    house.pki.as_ref().unwrap().stranger(name, &[&identity]).unwrap()
}

async fn greeted(house: &House, files: &Files) -> Client {
    let stream = secure(&tls_client(house, files, USUAL), connect(house).await).await.unwrap();
    Client::greet(Box::new(stream)).await
}

/// Whether a connection was let in: settings arrive, or nothing does.
async fn is_let_in(client: &mut Client) -> bool {
    timeout(LONG, client.next()).await.expect("told").is_some_and(|first| first.kind == SETTINGS)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_finishes_the_handshake_is_let_go() {
    let house = House::guarded("[limits]\nhandshake = \"200ms\"\n").await;
    let mut silent = connect(&house).await;
    let mut half = connect(&house).await;
    half.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
    let files = certificate(&house, "no-preface");
    let mut wordless = secure(&tls_client(&house, &files, USUAL), connect(&house).await).await.unwrap();
    wordless.write_all(&PREFACE[..10]).await.unwrap();
    others_are_unharmed(&house).await;
    let mut nothing = vec![];
    for socket in [&mut silent, &mut half] {
        assert_eq!(timeout(LONG, socket.read_to_end(&mut nothing)).await.expect("let go").unwrap_or(0), 0);
    }
    let _ended = timeout(LONG, wordless.read_to_end(&mut nothing)).await.expect("let go");
    assert!(nothing.is_empty());
    assert_eq!(metric(&house, "ridegate_connections_refused_total{cause=\"too_slow\"}").await, 3);
}

#[tokio::test]
async fn without_tls_the_preface_is_bounded_too() {
    let house = House::with("[limits]\nhandshake = \"100ms\"\n").await;
    let mut silent = connect(&house).await;
    let mut nothing = vec![];
    timeout(LONG, silent.read_to_end(&mut nothing)).await.expect("let go").unwrap();
    let mut other = connect(&house).await;
    other.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let _ended = timeout(LONG, other.read_to_end(&mut nothing)).await.expect("let go");
    assert!(nothing.is_empty(), "and is told nothing");
    others_are_unharmed(&house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_of_one_address_leave_room_for_others() {
    let limits = format!("[limits]\nhandshake = \"{NEVER}\"\nhandshakes = 3\nhandshakes_per_address = 2\n");
    let house = House::guarded(&limits).await;
    let mut hostile = vec![];
    for _ in 0..8 {
        hostile.push(connect_from(&house, "127.0.0.2").await);
    }
    let files = certificate(&house, "well-behaved");
    let mut client =
        timeout(LONG, greeted(&house, &files)).await.expect("another address is not kept waiting");
    assert!(is_let_in(&mut client).await);
    others_are_unharmed(&house).await;
    // Their own next one waits its turn.
    let waiting = connect_from(&house, "127.0.0.2").await;
    let connector = tls_client(&house, &files, USUAL);
    let mut waiting = Box::pin(secure(&connector, waiting));
    assert!(timeout(Duration::from_millis(300), &mut waiting).await.is_err(), "it waits");
    drop(hostile);
    assert!(timeout(LONG, waiting).await.expect("its turn").is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded_in_all() {
    let house = House::guarded("[limits]\nconnections = 3\n").await;
    others_are_unharmed(&house).await;
    let files = certificate(&house, "many");
    let (mut first, mut second) = (greeted(&house, &files).await, greeted(&house, &files).await);
    assert!(is_let_in(&mut first).await && is_let_in(&mut second).await);
    let mut full = connect(&house).await;
    assert_eq!(timeout(LONG, full.read(&mut [0])).await.expect("told at once").unwrap_or(0), 0);
    others_are_unharmed(&house).await;
    drop(first);
    // As soon as one has left, the next comes in.
    for _ in 0..1000 {
        let socket = connect(&house).await;
        if let Ok(stream) = secure(&tls_client(&house, &files, USUAL), socket).await {
            assert!(is_let_in(&mut Client::greet(Box::new(stream)).await).await);
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the place was never given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_caller_has_its_own_places_and_so_have_those_without_a_certificate() {
    let house = House::guarded("[limits]\nper_caller = 2\nanonymous = 1\n").await;
    let files = certificate(&house, "one");
    let (mut first, mut second) = (greeted(&house, &files).await, greeted(&house, &files).await);
    assert!(is_let_in(&mut first).await && is_let_in(&mut second).await);
    assert!(!is_let_in(&mut greeted(&house, &files).await).await, "a third is not");
    let other = certificate(&house, "other");
    assert!(is_let_in(&mut greeted(&house, &other).await).await, "another caller is");

    let unknown = house.pki.as_ref().unwrap().stranger("unknown", &["https://example.cn"]).unwrap();
    let mut anonymous = greeted(&house, &unknown).await;
    assert!(is_let_in(&mut anonymous).await);
    assert!(!is_let_in(&mut greeted(&house, &unknown).await).await);
    others_are_unharmed(&house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_one_connection_are_bounded() {
    let house = House::guarded(&format!("[limits]\nstreams = 3\ncall = \"{NEVER}\"\n")).await;
    let mut client = greeted(&house, &certificate(&house, "streams")).await;
    let settings = client.until(SETTINGS).await.unwrap().payload;
    let told = settings.chunks(6).find(|pair| pair[..2] == [0, 3]).unwrap();
    assert_eq!(told[2..], [0, 0, 0, 3], "SETTINGS_MAX_CONCURRENT_STREAMS");
    for turn in 0..4 {
        client.send(&frame(HEADERS, END_HEADERS, 1 + 2 * turn, &headers(&[]))).await;
    }
    let refused = timeout(LONG, client.until(RST_STREAM)).await.expect("refused").unwrap();
    assert_eq!((refused.stream, refused.code()), (7, 7), "the fourth, with REFUSED_STREAM");
    others_are_unharmed(&house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rapid_resets_end_the_connection() {
    let house = House::guarded("").await;
    let mut client = greeted(&house, &certificate(&house, "reset")).await;
    let mut flood = vec![];
    for turn in 0..60 {
        flood.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * turn, &headers(&[])));
        flood.extend(frame(RST_STREAM, 0, 1 + 2 * turn, &8_u32.to_be_bytes()));
    }
    client.send(&flood).await;
    let goodbye = timeout(LONG, client.until(GOAWAY)).await.expect("ended").expect("told why");
    assert_eq!(goodbye.code(), CALM_DOWN);
    others_are_unharmed(&house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_and_messages_are_bounded() {
    let house = House::guarded("[limits]\nheader_bytes = 2048\n").await;
    let mut client = greeted(&house, &certificate(&house, "large")).await;
    let large = "x".repeat(3000);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &headers(&[("x-large", &large)]))).await;
    let answer = timeout(LONG, client.until(HEADERS)).await.expect("answered").unwrap();
    // `:status` 431 (Request Header Fields Too Large) in Huffman's letters.
    assert_eq!(answer.payload, [0x48, 0x83, 0x69, 0x90, 0xff]);

    // A message that says it is larger than may be is refused before it is there.
    let ten_megabytes = [&[0_u8][..], &10_000_000_u32.to_be_bytes()].concat();
    client.send(&frame(HEADERS, END_HEADERS, 3, &headers(&[]))).await;
    client.send(&frame(DATA, 0, 3, &ten_megabytes)).await;
    let answer = timeout(LONG, client.until(HEADERS)).await.expect("answered").unwrap();
    assert_eq!(answer.stream, 3);
    assert_eq!(counted(&house, &ended_with("INVALID_ARGUMENT")).await, 1);
    others_are_unharmed(&house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_drips_is_not_waited_for() {
    let house = House::guarded("[limits]\ncall = \"200ms\"\n").await;
    let mut client = greeted(&house, &certificate(&house, "drip")).await;
    client.send(&frame(HEADERS, END_HEADERS, 1, &headers(&[]))).await;
    // Five bytes of head say that a hundred follow; three do.
    client.send(&frame(DATA, 0, 1, &[0, 0, 0, 0, 100, 1, 2, 3])).await;
    others_are_unharmed(&house).await;
    let answer = timeout(LONG, client.until(HEADERS)).await.expect("answered").unwrap();
    assert_eq!((answer.stream, answer.flags & END_STREAM), (1, END_STREAM));
    assert_eq!(counted(&house, &ended_with("DEADLINE_EXCEEDED")).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_on_which_nothing_is_asked_is_closed() {
    let house = House::guarded("[limits]\nidle = \"200ms\"\n").await;
    let mut client = greeted(&house, &certificate(&house, "idle")).await;
    let goodbye = timeout(LONG, client.until(GOAWAY)).await.expect("asked to leave").unwrap();
    assert_eq!(goodbye.code(), 0, "no error");
    let last = async { while client.until(GOAWAY).await.is_some() {} };
    timeout(LONG, last).await.expect("closed");
    others_are_unharmed(&house).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_answer_a_ping_is_not_there() {
    let house = House::guarded("[limits]\nping_every = \"100ms\"\nping_timeout = \"100ms\"\n").await;
    let mut client = greeted(&house, &certificate(&house, "dead")).await;
    let seen = timeout(LONG, client.read_to_end()).await.expect("closed");
    assert!(seen.iter().any(|frame| frame.kind == PING), "it was asked");
    others_are_unharmed(&house).await;
}

/// This client gives a call up that was about to be sent when it was asked to leave, and leaves it to its caller to
/// repeat it. Whatever reached the gateway was answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_grow_old_and_no_call_is_lost() {
    let house = House::guarded("[limits]\nage = \"50ms\"\n").await;
    let mut answered = 0;
    while metric(&house, "ridegate_connections_left_total{cause=\"age\"}").await < 10 {
        match house.check(GATE, request("r", vec![])).await {
            Ok(answer) => assert_eq!(said(&answer), "INSPECT CODE_UNRECOGNIZED"),
            // Given up by the client, or lost on the way? The gateway's own count tells.
            Err(_given_up) => continue,
        }
        answered += 1;
    }
    let verdicts =
        "ridegate_verdicts_total{partner=\"none\",verdict=\"INSPECT\",reason=\"CODE_UNRECOGNIZED\"}";
    assert_eq!(metric(&house, verdicts).await, answered);
    assert!(answered > 0);
    assert_eq!(metric(&house, "ridegate_connections_left_total{cause=\"cut\"}").await, 0);
}

fn ended_with(code: &str) -> String {
    let call = "service=\"ridegate.validator.v1.ValidatorService\",method=\"Check\"";
    format!("ridegate_grpc_handled_total{{{call},code=\"{code}\"}}")
}
