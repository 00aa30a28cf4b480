//! What a partner has read at one gateway is not asked again at another: it is in Redis, sealed, for as long as the code
//! lives. Whatever is wrong there, the partner is asked.

use std::{collections::BTreeSet, net::SocketAddr};

use jiff::SignedDuration;
use ridegate_gateway::{
    app::{Running, Settings},
    config::ConfigFile,
};
use ridegate_proto::validator::v1::{
    CheckRequest, Direction, validator_service_client::ValidatorServiceClient,
};
use ridegate_sim::{resolver::Resolver, riders::Rider};
use tonic::transport::Channel;

use crate::{
    house::{GATE, House, connect, identified, request, said, subject},
    observed::page,
    redis::Redis,
    resolvers::{ASKED, WIDE, account, fresh_codes, settle},
};

/// What a rider of these tests is told: it uses no code up, whoever may remember that.
const TOLD: &str = "INSPECT HEALTH";

/// Another gateway on a house's configuration.
struct Replica {
    gateway: Running,
    channel: Channel,
}

impl Replica {
    /// One that is connected to Redis.
    async fn of(house: &House) -> Self {
        let file = ConfigFile::load(&house.folder.path().join("ridegate.toml")).unwrap();
        let gateway = Settings::new(file, house.clock.clone(), true).unwrap().start().await.unwrap();
        let channel = connect(&format!("http://{}", gateway.address())).await;
        reaches_redis(gateway.operations().unwrap()).await;
        Self { gateway, channel }
    }

    async fn tap(&self, code: Vec<u8>) -> String {
        tap_at(&self.channel, code, Direction::Entry).await
    }
}

async fn tap_at(at: &Channel, code: Vec<u8>, direction: Direction) -> String {
    let request = CheckRequest { direction: direction.into(), ..request("shared", code) };
    said(
        &ValidatorServiceClient::new(at.clone()).check(identified(GATE, request)).await.unwrap().into_inner(),
    )
}

async fn reaches_redis(operations: SocketAddr) {
    for _ in 0..1_000 {
        let (_, text) = page(&operations.to_string(), "/metrics").await;
        if text.contains("ridegate_dependency_up{dependency=\"redis\"} 1") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("Redis is never reached");
}

/// A house on this Redis, with a rider of every partner that is asked.
async fn house_on(redis: &Redis) -> House {
    // As patient as everything else.
    let house =
        House::with_resolvers(&format!("{WIDE}[redis]\nnodes = [\"{}\"]\ntimeout = \"1s\"\n", redis.url()))
            .await;
    reaches_redis(house.operations()).await;
    for (number, partner) in (1..).zip(ASKED) {
        settle(&house, partner, number, Rider::Overdue).await;
    }
    house
}

/// The keys of readings.
fn kept(redis: &Redis) -> BTreeSet<String> {
    let keys = redis.cli(&["--scan", "--pattern", "rg1:*:r:*"]);
    keys.lines().filter(|key| !key.is_empty()).map(ToOwned::to_owned).collect()
}

/// Taps a code here and waits until what was read of it is in Redis; under which key.
async fn read_here(house: &House, redis: &Redis, code: &[u8]) -> String {
    let before = kept(redis);
    assert_eq!(said(&house.tap(code.to_vec()).await), TOLD);
    for _ in 0..1_000 {
        if let Some(new) = kept(redis).difference(&before).next() {
            return new.clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let (_, text) = page(&house.operations().to_string(), "/metrics").await;
    let asked: Vec<_> =
        text.lines().filter(|line| line.contains("upstream=\"redis\"") && line.contains("_count")).collect();
    panic!("never there: {asked:?}; {}", redis.cli(&["--scan"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_at_one_gateway_is_not_asked_again_at_another() {
    let redis = Redis::start();
    let house = house_on(&redis).await;
    let other = Replica::of(&house).await;
    for (number, partner) in (1..).zip(ASKED) {
        let (code, resolver) =
            (fresh_codes(&house, partner, number).next().unwrap(), &house.resolvers[partner]);
        let key = read_here(&house, &redis, &code).await;
        assert_eq!(other.tap(code.clone()).await, TOLD, "{partner}");
        assert_eq!(resolver.asked(), 1, "{partner}");
        // For the code's life and no longer: to the end of its last second.
        let lives: u64 = redis.cli(&["pttl", &key]).parse().unwrap();
        assert!((1..=1_201_000).contains(&lives), "{lives}");
        // What it says on the way in is not what it says on the way out.
        assert_eq!(tap_at(&other.channel, code.clone(), Direction::Exit).await, "ALLOW NOT_ENFORCED");
        assert_eq!(resolver.asked(), 2, "{partner}");
        // Nobody needs the partner any more, not even who has never asked it.
        resolver.stop();
        let third = Replica::of(&house).await;
        assert_eq!(third.tap(code).await, TOLD, "{partner}");
        third.gateway.stop().await;
    }
    other.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_counts_no_more() {
    let redis = Redis::start();
    let house = house_on(&redis).await;
    let code = fresh_codes(&house, "yitongxing", 3).next().unwrap();
    read_here(&house, &redis, &code).await;
    // Redis has a clock of its own, which has not moved.
    house.clock.advance(SignedDuration::from_secs(1201));
    assert_eq!(kept(&redis).len(), 1);
    let other = Replica::of(&house).await;
    assert_eq!(other.tap(code).await, "INSPECT CODE_EXPIRED");
    assert_eq!(house.resolvers["yitongxing"].asked(), 2, "the partner says so itself");
    other.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_resolver_has_read_counts_no_more() {
    let redis = Redis::start();
    let house = house_on(&redis).await;
    let (code, before) = (fresh_codes(&house, "cmb", 2).next().unwrap(), &house.resolvers["cmb"]);
    read_here(&house, &redis, &code).await;
    let (_, book) = house.trust().books().find(|(partner, _)| *partner == "cmb").unwrap();
    let moved = Resolver::start(book.clone(), house.clock.clone()).unwrap();
    let mut changed = 0;
    for file in std::fs::read_dir(house.folder.path().join("profiles")).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if text.contains(&before.endpoint()) {
            std::fs::write(&path, text.replace(&before.endpoint(), &moved.endpoint())).unwrap();
            changed += 1;
        }
    }
    assert_eq!(changed, 1);
    let other = Replica::of(&house).await;
    assert_eq!(other.tap(code).await, TOLD);
    assert_eq!((before.asked(), moved.asked()), (1, 1));
    other.gateway.stop().await;
}

/// Everything that Redis holds, keys and values, as one text.
fn everything(redis: &Redis) -> String {
    let mut all = String::new();
    for key in redis.cli(&["--scan"]).lines().filter(|key| !key.is_empty()) {
        let value = match redis.cli(&["type", key]).as_str() {
            "string" => redis.cli(&["--no-raw", "get", key]),
            "hash" => redis.cli(&["--no-raw", "hgetall", key]),
            "set" => redis.cli(&["--no-raw", "smembers", key]),
            "zset" => redis.cli(&["--no-raw", "zrange", key, "0", "-1", "withscores"]),
            "list" => redis.cli(&["--no-raw", "lrange", key, "0", "-1"]),
            other => panic!("{other}"),
        };
        all.extend([key, "\n", value.as_str(), "\n"]);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_in_redis_names_a_rider() {
    let redis = Redis::start();
    let house = house_on(&redis).await;
    let mut secrets = Vec::new();
    for (number, partner) in (1..).zip(ASKED) {
        let now = house.now();
        let code = fresh_codes(&house, partner, number).next().unwrap();
        read_here(&house, &redis, &code).await;
        // Account, the partner's name for the code, subject, and the code itself where it is text.
        secrets.extend([account(number), format!("{number}-{now}"), subject(number)].map(String::into_bytes));
        secrets.push(code);
    }
    let all = everything(&redis);
    assert_eq!(kept(&redis).len(), ASKED.len());
    for secret in &secrets {
        // As redis-cli prints it, and in hexadecimal.
        let shown: String = secret
            .iter()
            .map(|byte| match byte {
                b'"' | b'\\' => format!("\\{}", char::from(*byte)),
                b' '..=b'~' => char::from(*byte).to_string(),
                _ => format!("\\x{byte:02x}"),
            })
            .collect();
        assert!(!all.contains(&shown), "{shown}");
        assert!(!all.to_lowercase().contains(&hex::encode(secret)), "{shown}");
    }
    redis.cli(&["set", "twin", &account(1)]);
    assert!(everything(&redis).contains(&account(1)), "the search finds what is there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_tampered_with_is_as_if_it_were_not_there() {
    let redis = Redis::start();
    let house = house_on(&redis).await;
    let (mut codes, resolver) = (fresh_codes(&house, "yitongxing", 3), &house.resolvers["yitongxing"]);
    let other = Replica::of(&house).await;
    let elsewhere = read_here(&house, &redis, &codes.next().unwrap()).await;
    let script = |lines: &'static str| {
        let redis = &redis;
        move |key: &str, other: &str| drop(redis.cli(&["eval", lines, "2", key, other]))
    };
    let flip = "local v = redis.call('GET', KEYS[1]); local at = #v - 20; \
                redis.call('SETRANGE', KEYS[1], at, string.char((v:byte(at + 1) + 1) % 256))";
    let cases: [(&str, &'static str); 7] = [
        ("a bit", flip),
        ("cut short", "redis.call('SET', KEYS[1], redis.call('GETRANGE', KEYS[1], 0, 40))"),
        ("nothing of it", "redis.call('SET', KEYS[1], '')"),
        ("another code's", "redis.call('SET', KEYS[1], redis.call('GET', KEYS[2]))"),
        ("another key's number", "redis.call('SETRANGE', KEYS[1], 7, 'x')"),
        ("words", "redis.call('SET', KEYS[1], string.rep('ridegate', 30))"),
        ("another type", "redis.call('DEL', KEYS[1]); redis.call('LPUSH', KEYS[1], 'x')"),
    ];
    for (what, lines) in cases {
        let code = codes.next().unwrap();
        let key = read_here(&house, &redis, &code).await;
        script(lines)(&key, &elsewhere);
        let asked = resolver.asked();
        assert_eq!(other.tap(code).await, TOLD, "{what}");
        assert_eq!(resolver.asked(), asked + 1, "{what}: the partner is asked");
    }
    other.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_redis_the_partner_is_asked_as_ever() {
    let mut redis = Redis::start();
    let house = house_on(&redis).await;
    let (mut codes, resolver) = (fresh_codes(&house, "unionpay", 1), &house.resolvers["unionpay"]);
    redis.pause();
    assert_eq!(said(&house.tap(codes.next().unwrap()).await), TOLD, "Redis is silent");
    redis.kill();
    for asked in 2..12 {
        let code = codes.next().unwrap();
        for _ in 0..2 {
            assert_eq!(said(&house.tap(code.clone()).await), TOLD, "Redis is away");
            assert_eq!(resolver.asked(), asked, "what this process knows it knows");
        }
    }
    redis.restart();
    reaches_redis(house.operations()).await;
    let code = codes.next().unwrap();
    read_here(&house, &redis, &code).await;
}
