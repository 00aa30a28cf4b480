//! The proxy, between a server that echoes and a client: every fault as both ends see it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{io::ErrorKind, time::Duration};

use ridegate_faults::{Fault, Proxy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

const SOON: Duration = Duration::from_secs(10);
const NOT_SO_SOON: Duration = Duration::from_millis(150);

/// Says back what it hears.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = socket.split();
                let _until_the_end = tokio::io::copy(&mut read, &mut write).await;
                let _told = write.shutdown().await;
            });
        }
    });
    address
}

async fn proxy() -> Proxy {
    Proxy::start("127.0.0.1:0", &echo().await, 7).await.unwrap()
}

fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

async fn client(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

/// What comes back, when all of it has.
async fn said(client: &mut TcpStream, text: &[u8]) -> Vec<u8> {
    client.write_all(text).await.unwrap();
    heard(client, text.len()).await.unwrap()
}

async fn heard(client: &mut TcpStream, len: usize) -> std::io::Result<Vec<u8>> {
    let mut back = vec![0; len];
    timeout(SOON, client.read_exact(&mut back)).await.expect("an answer or an end")?;
    Ok(back)
}

async fn hears_nothing(client: &mut TcpStream) {
    let mut one = [0];
    assert!(timeout(NOT_SO_SOON, client.read(&mut one)).await.is_err());
}

#[tokio::test]
async fn well_it_carries_everything_both_ways_and_the_end_too() {
    let proxy = proxy().await;
    let mut client = client(&proxy).await;
    let text: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let (mut read, mut write) = client.split();
    let sent = async {
        write.write_all(&text).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let mut back = Vec::new();
    let ((), read) = tokio::join!(sent, timeout(SOON, read.read_to_end(&mut back)));
    assert_eq!(read.unwrap().unwrap(), text.len());
    assert_eq!(back, text);
    let passed = proxy.passed();
    assert_eq!((passed.connections, passed.broken), (1, 0));
    assert_eq!((passed.up, passed.down), (1_000_000, 1_000_000));
}

#[tokio::test]
async fn what_is_late_is_so_by_that_much_and_nothing_waits_for_what_is_before_it() {
    let proxy = proxy().await;
    let mut client = client(&proxy).await;
    said(&mut client, b"connected").await;
    proxy.set(fault("latency=200ms jitter=50ms"));
    let began = Instant::now();
    for turn in 0..100_u8 {
        client.write_all(&[turn; 100]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let back = heard(&mut client, 10_000).await.unwrap();
    let took = began.elapsed();
    assert!(back.is_sorted(), "in order");
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(took < Duration::from_secs(10), "one after the other would be twenty seconds: {took:?}");
}

#[tokio::test]
async fn stalled_nothing_comes_and_everything_afterwards() {
    let proxy = proxy().await;
    let (mut standing, mut leaving) = (client(&proxy).await, client(&proxy).await);
    said(&mut standing, b"connected").await;
    said(&mut leaving, b"connected").await;
    proxy.set(fault("stall"));
    leaving.shutdown().await.unwrap();
    hears_nothing(&mut leaving).await;
    let mut new = client(&proxy).await;
    for client in [&mut standing, &mut new] {
        client.write_all(b"hello").await.unwrap();
        hears_nothing(client).await;
    }
    proxy.set(fault("well"));
    assert_eq!(heard(&mut standing, 5).await.unwrap(), b"hello");
    assert_eq!(heard(&mut new, 5).await.unwrap(), b"hello");
    let ended = timeout(SOON, leaving.read(&mut [0])).await.unwrap();
    assert_eq!(ended.unwrap(), 0, "its end went there, and the other's came back");
}

#[tokio::test]
async fn refused_nobody_is_let_in_who_stood_is_reset_and_the_port_is_the_same_afterwards() {
    let proxy = proxy().await;
    let mut standing = client(&proxy).await;
    said(&mut standing, b"connected").await;
    for _ in 0..3 {
        proxy.set(fault("refuse"));
        let ended = heard(&mut standing, 1).await.unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::ConnectionReset);
        let refused = async {
            while let Ok(_let_in) = TcpStream::connect(proxy.address()).await {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, refused).await.unwrap();
        let error = TcpStream::connect(proxy.address()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

        proxy.set(fault("well"));
        let let_in = async {
            loop {
                if let Ok(client) = TcpStream::connect(proxy.address()).await {
                    return client;
                }
                tokio::task::yield_now().await;
            }
        };
        standing = timeout(SOON, let_in).await.unwrap();
        assert_eq!(said(&mut standing, b"again").await, b"again");
    }
    assert_eq!(proxy.passed().broken, 3);
}

#[tokio::test]
async fn reset_at_once_or_in_the_midst_of_an_answer() {
    let proxy = proxy().await;
    let mut standing = client(&proxy).await;
    said(&mut standing, b"connected").await;
    proxy.set(fault("reset=4"));
    standing.write_all(b"0123456789").await.unwrap();
    assert_eq!(heard(&mut standing, 4).await.unwrap(), b"0123", "so much has come");
    assert_eq!(heard(&mut standing, 1).await.unwrap_err().kind(), ErrorKind::ConnectionReset);

    let mut idle = client(&proxy).await;
    said(&mut idle, b"012").await;
    proxy.set(fault("reset"));
    assert_eq!(heard(&mut idle, 1).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut new = client(&proxy).await;
    assert_eq!(heard(&mut new, 1).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn half_closed_the_answers_end_and_questions_go_on() {
    let proxy = proxy().await;
    let mut client = client(&proxy).await;
    said(&mut client, b"connected").await;
    proxy.set(fault("half-close"));
    let mut rest = Vec::new();
    assert_eq!(timeout(SOON, client.read_to_end(&mut rest)).await.unwrap().unwrap(), 0, "an end, no reset");
    let before = proxy.passed().up;
    client.write_all(b"more").await.unwrap();
    let gone_up = async {
        while proxy.passed().up < before + 4 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, gone_up).await.unwrap();
}

#[tokio::test]
async fn it_drips_no_faster_than_told_and_all_of_it_comes() {
    let proxy = proxy().await;
    let mut client = client(&proxy).await;
    said(&mut client, b"connected").await;
    proxy.set(fault("drip=100"));
    let began = Instant::now();
    let text: Vec<u8> = (0..40).collect();
    assert_eq!(said(&mut client, &text).await, text);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(350), "{took:?}");
}

#[tokio::test]
async fn one_byte_in_so_many_is_another_and_the_same_seed_spoils_the_same() {
    let text = vec![b'x'; 100_000];
    let mut spoilt = Vec::new();
    for _ in 0..2 {
        let proxy = proxy().await;
        proxy.set(fault("corrupt=100"));
        let mut client = client(&proxy).await;
        client.write_all(&text).await.unwrap();
        spoilt.push(heard(&mut client, text.len()).await.unwrap());
    }
    let others = spoilt[0].iter().filter(|byte| **byte != b'x').count();
    assert!((800..1200).contains(&others), "{others}");
    assert_eq!(spoilt[0], spoilt[1]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_connection_that_is_reset() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let proxy = Proxy::start("127.0.0.1:0", &gone, 7).await.unwrap();
    let mut client = client(&proxy).await;
    assert_eq!(heard(&mut client, 1).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_proxy_that_is_dropped_takes_its_connections_with_it() {
    let proxy = proxy().await;
    let mut client = client(&proxy).await;
    said(&mut client, b"connected").await;
    let address = proxy.address();
    drop(proxy);
    assert!(heard(&mut client, 1).await.is_err());
    let gone = async { while TcpStream::connect(address).await.is_ok() {} };
    timeout(SOON, gone).await.unwrap();
}
