//! The lines to Redis, in each of its forms: they come back by themselves, follow failovers, and cost nobody time.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use jiff::SignedDuration;
use rand::SeedableRng;
use ridegate_gateway::{
    backends::redis::{Access, Away, Form, Place, Redis, Script},
    cores::Cores,
    health::Health,
    metrics::Metrics,
};
use ridegate_sim::{authority::Authority, pki::Pki, riders::Rider, trust::Trust};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::Instant,
};
use tonic_health::ServingStatus;

use crate::{
    house::{House, said, write_config},
    observed::{get, metric, page, status, until_status},
    process::Process,
    redis::{Cluster, MASTER, Redis as Server, Sentinel},
};

/// So long that a busy machine changes no answer.
const WIDE: Duration = Duration::from_secs(5);
/// For what takes Redis itself long: elections.
const PATIENCE: Duration = Duration::from_mins(1);

/// A gateway's lines without the gateway.
struct Lines {
    redis: Arc<Redis>,
    health: Health,
    keeper: JoinHandle<()>,
    put: Script,
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Lines {
    fn to(place: Place) -> Self {
        let health = Health::new(false);
        let redis = Redis::new(place, &Cores::here(), Metrics::new([]).upstream("redis"), health.clone());
        assert_eq!(health.state().redis, Some(false), "not before it was reached");
        let keeper = tokio::spawn(Arc::clone(&redis).keep());
        let put = Script::new("redis.call('SET', KEYS[1], ARGV[1]) return redis.call('GET', KEYS[1])");
        Self { redis, health, keeper, put }
    }

    /// When it can be used, all of it.
    async fn used(place: Place) -> Self {
        let lines = Self::to(place);
        lines.until(true).await;
        lines
    }

    async fn put_in(&self, key: &str, cap: Duration) -> Result<String, Away> {
        self.redis.run(&self.put, "put", &[key.as_bytes()], &[b"this"], cap).await
    }

    async fn put(&self, key: &str) -> Result<String, Away> {
        self.put_in(key, WIDE).await
    }

    async fn puts(&self, key: &str) {
        assert_eq!(self.put(key).await.as_deref(), Ok("this"), "{key}");
    }

    fn life(&self) -> u64 {
        *self.redis.lives().borrow()
    }

    async fn until(&self, up: bool) {
        until(|| self.health.state().redis == Some(up)).await;
    }

    /// Asks until nobody is asked any more; how often somebody was.
    async fn until_nobody_is_asked(&self, key: &str, cap: Duration, expect: Away) -> usize {
        for asked in 0..100 {
            match self.put_in(key, cap).await {
                Err(Away::Unconnected) => return asked,
                answer => assert_eq!(answer, Err(expect)),
            }
        }
        panic!("it is asked for ever");
    }
}

async fn until(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "never came true");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn place(form: Form, urls: &[String]) -> Place {
    let nodes = urls.iter().map(|url| Place::node(url).unwrap()).collect();
    let access = Access::default();
    Place {
        form,
        nodes,
        access: access.clone(),
        sentinel_access: access,
        timeout: Duration::from_secs(1),
        certificates: None,
    }
}

fn single(server: &Server) -> Place {
    place(Form::Single, &[server.url()])
}

fn access(user: &str, password: &str) -> Access {
    Access { user: Some(user.into()), password: Some(password.to_owned().into()) }
}

fn number(info: &str, name: &str) -> u64 {
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("{name}")).trim().parse().unwrap()
}

/// Waits until somebody has tried to come in so often, beside us, who ask.
async fn tried(server: &Server, often: u64) {
    let came = || number(&server.cli(&["INFO", "stats"]), "total_connections_received");
    let (before, mut ours) = (came(), 0);
    let began = Instant::now();
    while came() < before + ours + 1 + often {
        ours += 1;
        assert!(began.elapsed() < PATIENCE, "nobody tries");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What makes a server unfit, and fit again.
async fn away_while(lines: &Lines, server: &Server, spoil: &[&str], mend: &[&str]) {
    lines.puts("key").await;
    let life = lines.life();
    assert_eq!(server.cli(spoil), "OK", "{spoil:?}");
    lines.until_nobody_is_asked("key", WIDE, Away::Refused).await;
    lines.until(false).await;
    tried(server, 3).await;
    assert_eq!(lines.life(), life, "{spoil:?}: it was used, although it cannot be");
    assert_eq!(lines.put("key").await, Err(Away::Unconnected), "{spoil:?}");
    assert_eq!(server.cli(mend), "OK", "{mend:?}");
    lines.until(true).await;
    assert!(lines.life() > life, "{mend:?}");
    lines.puts("key").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_servers_the_first_is_used_that_takes_writes() {
    let (mut gone, master) = (Server::start(), Server::start());
    let replica = Server::with(&[&format!("replicaof 127.0.0.1 {}", master.port())]);
    gone.kill();
    let lines = Lines::used(place(Form::Single, &[gone.url(), replica.url(), master.url()])).await;
    lines.puts("key").await;
    assert_eq!(master.cli(&["GET", "key"]), "this");
    assert_eq!(lines.life(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_is_used_again_and_that_is_told() {
    let mut server = Server::start();
    let lines = Lines::used(single(&server)).await;
    lines.puts("key").await;
    server.kill();
    assert!(lines.until_nobody_is_asked("key", WIDE, Away::Refused).await <= 5);
    lines.until(false).await;
    assert!(!lines.redis.is_there());
    assert_eq!(lines.life(), 1);
    server.restart();
    lines.until(true).await;
    assert_eq!(lines.life(), 2);
    // It has never seen the script.
    lines.puts("key").await;
    // Also when nobody has noticed that it was away.
    server.restart();
    until(|| lines.life() == 3).await;
    lines.puts("key").await;
    assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
    lines.puts("key").await;
    assert_eq!(lines.life(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_costs_a_few_their_cap_and_then_nobody_anything() {
    let server = Server::start();
    let lines = Lines::used(single(&server)).await;
    lines.puts("key").await;
    server.pause();
    let cap = Duration::from_millis(100);
    let began = Instant::now();
    let asked = lines.until_nobody_is_asked("key", cap, Away::TimedOut).await;
    assert!(asked <= 5, "{asked}");
    assert!(began.elapsed() < PATIENCE);
    lines.until(false).await;
    let (life, began) = (lines.life(), Instant::now());
    for _ in 0..10_000 {
        assert_eq!(lines.put_in("key", PATIENCE).await, Err(Away::Unconnected));
    }
    assert!(began.elapsed() < PATIENCE, "nobody waits");
    assert_eq!(lines.life(), life);
    server.resume();
    lines.until(true).await;
    assert!(lines.life() > life);
    lines.puts("key").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_had_no_time_says_nothing_about_the_server() {
    let server = Server::start();
    let lines = Lines::used(single(&server)).await;
    server.pause();
    let began = Instant::now();
    for _ in 0..6 {
        let answer = lines.put_in("key", Duration::from_millis(1)).await;
        // On a machine that stood still the keeper may have found out by itself meanwhile.
        let found = answer == Err(Away::Unconnected) && began.elapsed() > Duration::from_secs(1);
        assert!(found || answer == Err(Away::TimedOut), "{answer:?}");
    }
    server.resume();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_cannot_be_used_is_away_until_it_can() {
    let (server, other) = (Server::start(), Server::start());
    let lines = Lines::used(single(&server)).await;
    away_while(&lines, &server, &["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"])
        .await;
    let follow = ["REPLICAOF", "127.0.0.1", &other.port().to_string()];
    away_while(&lines, &server, &follow, &["REPLICAOF", "NO", "ONE"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_does_not_let_us_is_away_until_it_does() {
    let server = Server::with(&["user default off", "user gate on >first ~* +@all"]);
    let mut place = single(&server);
    place.access = access("gate", "first");
    let lines = Lines::used(place.clone()).await;
    let (may_not, may) =
        (["ACL", "SETUSER", "gate", "-evalsha", "-eval"], ["ACL", "SETUSER", "gate", "+@all"]);
    away_while(&lines, &server, &may_not, &may).await;

    // Another password: those who are in are put out.
    let life = lines.life();
    assert_eq!(server.cli(&["ACL", "SETUSER", "gate", "resetpass", ">second"]), "OK");
    assert_eq!(server.cli(&["CLIENT", "KILL", "USER", "gate"]), "1");
    lines.until(false).await;
    tried(&server, 3).await;
    assert_eq!(lines.life(), life);
    assert_eq!(server.cli(&["ACL", "SETUSER", "gate", ">first"]), "OK");
    lines.until(true).await;
    lines.puts("key").await;

    // Nobody in particular, where somebody must be.
    let nobody = Lines::to(single(&server));
    tried(&server, 3).await;
    assert!(!nobody.redis.is_there());
}

/// Carries what is said between a client and this server. When it is told to, there is an answer more before the next one.
async fn interposed(server: &Server) -> (String, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let at = format!("127.0.0.1:{}", server.port());
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&at).await.unwrap();
            let (mut asked, mut to_client) = client.into_split();
            let (mut answered, mut to_server) = server.into_split();
            tokio::spawn(async move { copy(&mut asked, &mut to_server).await });
            let told = Arc::clone(&told);
            tokio::spawn(async move {
                let mut answer = vec![0; 65_536];
                while let Ok(many @ 1..) = answered.read(&mut answer).await {
                    let more: &[u8] = if told.swap(false, Relaxed) { b"+OK\r\n" } else { b"" };
                    to_client.write_all(&[more, &answer[..many]].concat()).await.unwrap();
                }
            });
        }
    });
    (url, tell)
}

/// From then on every answer is the one to the question before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_answers_are_to_other_questions_is_not_used_any_more() {
    let server = Server::start();
    let (url, say) = interposed(&server).await;
    let lines = Lines::used(place(Form::Single, &[url])).await;
    lines.puts("key").await;
    let life = lines.life();
    say.store(true, Relaxed);
    until(|| lines.life() > life).await;
    lines.until(true).await;
    lines.puts("key").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_question_is_not_the_servers_fault() {
    let server = Server::start();
    let lines = Lines::used(single(&server)).await;
    server.cli(&["HSET", "hash", "field", "value"]);
    let wrong = [Script::new("return redis.call('INCR', KEYS[1])"), Script::new("return nothing()")];
    for script in &wrong {
        for _ in 0..20 {
            let answer = lines.redis.run::<i64>(script, "wrong", &[b"hash"], &[], WIDE).await;
            assert_eq!(answer, Err(Away::Refused));
        }
    }
    lines.puts("key").await;
    assert_eq!(lines.life(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_is_followed() {
    let mut watched = Sentinel::start();
    // Sentinels that are away are passed over.
    let mut gone = Server::start();
    gone.kill();
    let mut urls = vec![gone.url()];
    urls.extend(watched.urls());
    let lines = Lines::used(place(Form::Sentinel(MASTER.into()), &urls)).await;
    lines.puts("key").await;
    let master = watched.master();
    assert_eq!(watched.servers[master].cli(&["GET", "key"]), "this");
    assert_eq!(watched.servers[master].cli(&["SET", "key", "before"]), "OK");
    let life = lines.life();

    let elected = watched.fail_over();
    until(|| lines.life() > life).await;
    lines.until(true).await;
    lines.puts("key").await;
    assert_eq!(watched.servers[elected].cli(&["GET", "key"]), "this");

    // A master of another name is none.
    let other = Lines::to(place(Form::Sentinel("nobody".into()), &watched.urls()));
    tried(&watched.sentinels[0], 3).await;
    assert!(!other.redis.is_there());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_master_is_whom_most_sentinels_name_also_while_the_old_one_answers() {
    let (watched, other) = (Sentinel::start(), Server::start());
    let lines = Lines::used(place(Form::Sentinel(MASTER.into()), &watched.urls())).await;
    lines.puts("key").await;
    let life = lines.life();
    let port = other.port().to_string();
    // The first one is cut off, and does not know.
    for sentinel in &watched.sentinels[1..] {
        assert_eq!(sentinel.cli(&["SENTINEL", "REMOVE", MASTER]), "OK");
        assert_eq!(sentinel.cli(&["SENTINEL", "MONITOR", MASTER, "127.0.0.1", &port, "2"]), "OK");
    }
    until(|| lines.life() > life).await;
    lines.until(true).await;
    lines.puts("key").await;
    assert_eq!(other.cli(&["GET", "key"]), "this");
    assert!(watched.servers[0].cli(&["ROLE"]).starts_with("master"), "nobody has told it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_are_followed_within_the_question() {
    let cluster = Cluster::start();
    let lines = Lines::used(place(Form::Cluster, &cluster.urls()[..1])).await;
    let keys = cluster.keys("key");
    for (server, key) in cluster.servers.iter().zip(&keys) {
        lines.puts(key).await;
        assert_eq!(server.cli(&["GET", key]), "this");
    }
    let life = lines.life();
    // To and fro, so that no look at the map is ahead of the question for ever.
    let slot = cluster.slot(&keys[0]);
    for to in [1, 2, 0, 1, 2, 0, 1] {
        cluster.move_slot(slot, to);
        lines.puts(&keys[0]).await;
        assert_eq!(cluster.servers[to].cli(&["GET", &keys[0]]), "this");
    }
    // Half moved: what is not there any more is with the other one.
    let slot = cluster.slot(&keys[2]);
    assert_eq!(cluster.begin_to_move_slot(slot, 0), 2);
    lines.puts(&keys[2]).await;
    let new = format!("{{{}}}new", keys[2]);
    lines.puts(&new).await;
    for server in &cluster.servers {
        assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
    }
    lines.puts(&new).await;
    let there = cluster.servers[0].cli(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "9"]);
    assert_eq!(there, new);
    assert_eq!(lines.life(), life, "nobody was away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_away_costs_its_own_slots_only() {
    let mut cluster = Cluster::start();
    let lines = Lines::used(place(Form::Cluster, &cluster.urls())).await;
    let keys = cluster.keys("key");
    for key in &keys {
        lines.puts(key).await;
    }
    let life = lines.life();
    assert_eq!(life, 3);

    cluster.servers[0].kill();
    let others = || async {
        for key in &keys[1..] {
            lines.puts(key).await;
        }
    };
    others().await;
    assert!(lines.until_nobody_is_asked(&keys[0], WIDE, Away::Refused).await <= 5);
    lines.until(false).await;
    others().await;
    assert!(lines.redis.is_there());
    cluster.servers[0].restart();
    lines.until(true).await;
    assert!(lines.life() > life);
    for key in &keys {
        lines.puts(key).await;
    }

    // One that hangs, while it is asked and looked for again and again.
    cluster.servers[2].pause();
    let cap = Duration::from_millis(100);
    let mut waited = 0;
    loop {
        match lines.put_in(&keys[2], cap).await {
            Err(Away::TimedOut) => waited += 1,
            answer => break assert_eq!(answer, Err(Away::Unconnected)),
        }
        for key in &keys[..2] {
            lines.puts(key).await;
        }
    }
    assert!(waited <= 5, "{waited}");
    lines.until(false).await;
    for _ in 0..1000 {
        for key in &keys[..2] {
            lines.puts(key).await;
        }
    }
    cluster.servers[2].resume();
    lines.until(true).await;
    lines.puts(&keys[2]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_asked_for_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let pki = |name| Pki::create(&folder.path().join(name), SignedDuration::from_hours(24)).unwrap();
    let (ours, theirs) = (pki("ours"), pki("theirs"));
    let server = ours.server(&["127.0.0.1".into()]).unwrap();
    let client = ours.stranger("client", &["urn:ridegate:operator:gateway"]).unwrap();
    let read = |path: &Path| fs::read(path).unwrap();
    let ca = |pki: &Pki| Some(read(&pki.ca()));
    let shown = Some((read(&client.certificate), read(&client.key)));
    let shown_again = shown.clone();

    let strict = Server::with_tls(&ours, [&server, &client], &[]);
    let to = |server: &Server, ca, client| {
        let certificates = Some(Place::certificates(ca, client).unwrap());
        Place { certificates, ..single(server) }
    };
    let lines = Lines::used(to(&strict, ca(&ours), shown.clone())).await;
    lines.puts("key").await;
    for place in [to(&strict, ca(&ours), None), to(&strict, ca(&theirs), shown), single(&strict)] {
        let turned_away = || strict.log().matches("Error accepting a client connection").count();
        let before = turned_away();
        let refused = Lines::to(place);
        until(|| turned_away() >= before + 3).await;
        assert!(!refused.redis.is_there());
        assert_eq!(refused.life(), 0);
    }
    lines.puts("key").await;
    let mild = Server::with_tls(&ours, [&server, &client], &["tls-auth-clients no"]);
    Lines::used(to(&mild, ca(&ours), None)).await.puts("key").await;

    // Whom others name is asked in the same way.
    let cluster = Cluster::with_tls(&ours, [&server, &client]);
    let keys = cluster.keys("key");
    let certificates = Some(Place::certificates(ca(&ours), shown_again).unwrap());
    let of_cluster = Place { certificates, ..place(Form::Cluster, &cluster.urls()[..1]) };
    let lines = Lines::used(of_cluster).await;
    for key in &keys {
        lines.puts(key).await;
    }
}

/// The rules that `docs/operations.md` gives: for Redis, and for Sentinels.
fn rules() -> [String; 2] {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/operations.md");
    let page = fs::read_to_string(page).unwrap();
    let rules: Vec<_> = page.lines().filter(|line| line.starts_with("user ridegate on ")).collect();
    assert_eq!(rules.len(), 2);
    [rules[0].to_owned(), rules[1].to_owned()].map(|rule| rule.replace(">PASSWORD", ">secret"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_page_for_operators_allows_the_user_is_enough_and_no_more() {
    let [rule, of_sentinels] = rules();
    let nobody = "user default off";
    let entered = |mut place: Place| {
        place.access = access("ridegate", "secret");
        place
    };
    let server = Server::with(&[nobody, &rule]);
    let lines = Lines::used(entered(single(&server))).await;
    lines.puts("rg1:key").await;
    for (lines_of, key) in [
        ("return redis.call('GET', KEYS[1])", "other:key"),
        ("return redis.call('FLUSHALL')", "rg1:key"),
        ("return redis.call('KEYS', '*')", "rg1:key"),
        ("return redis.call('CONFIG', 'GET', '*')", "rg1:key"),
    ] {
        let script = Script::new(lines_of);
        let answer = lines.redis.run::<Option<String>>(&script, "more", &[key.as_bytes()], &[], WIDE).await;
        assert_eq!(answer, Err(Away::Refused), "{lines_of}");
    }

    let cluster = Cluster::with(&[&rule]);
    let lines = Lines::used(entered(place(Form::Cluster, &cluster.urls()))).await;
    let keys = cluster.keys("rg1:");
    let slot = cluster.slot(&keys[0]);
    cluster.begin_to_move_slot(slot, 1);
    for key in &keys {
        lines.puts(key).await;
    }

    let watched = Sentinel::start();
    let words: Vec<_> = rule.split(' ').skip(1).collect();
    for server in &watched.servers {
        server.cli(&[&["ACL", "SETUSER"], &words[..]].concat());
    }
    let words: Vec<_> = of_sentinels.split(' ').skip(1).collect();
    for sentinel in &watched.sentinels {
        assert_eq!(sentinel.cli(&[&["ACL", "SETUSER"], &words[..]].concat()), "OK");
    }
    let mut place = entered(place(Form::Sentinel(MASTER.into()), &watched.urls()));
    place.sentinel_access = access("ridegate", "secret");
    Lines::used(place).await.puts("rg1:key").await;
}

const UP: &str = "ridegate_dependency_up{dependency=\"redis\"}";

async fn until_up(house: &House, up: i64) {
    let began = Instant::now();
    while metric(house, UP).await != up {
        assert!(began.elapsed() < PATIENCE, "never came true");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_serves_without_its_redis_and_finds_it_when_it_comes() {
    let mut server = Server::start();
    server.kill();
    let house = House::with(&format!("[redis]\nnodes = [\"{}\"]\n", server.url())).await;
    let (_, page) = get(&house, "/metrics").await;
    assert!(page.contains(&format!("{UP} 0\n")), "from the first moment");
    house.settle(1, Rider::Healthy).await;
    let phone = house.phone(1);
    assert_eq!(said(&house.tap(house.fresh(&phone)).await), "ALLOW HEALTH_OK");
    let (code, ready) = get(&house, "/readyz").await;
    assert!(code == 200 && ready.ends_with("redis: down\n"), "ready all the same: {ready}");
    assert_eq!(status(&house, "dependency/redis").await, Ok(ServingStatus::NotServing));
    server.restart();
    until_up(&house, 1).await;
    until_status(&house, "dependency/redis", ServingStatus::Serving).await;
    assert_eq!(said(&house.tap(house.fresh(&phone)).await), "ALLOW HEALTH_OK");
    server.kill();
    until_up(&house, 0).await;
    assert_eq!(get(&house, "/readyz").await.0, 200, "readiness does not hang on it");
    assert_eq!(said(&house.tap(house.fresh(&phone)).await), "ALLOW HEALTH_OK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_once_that_it_is_away_and_why_and_once_that_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::with(&["user default off", "user gate on >first-secret ~* +@all"]);
    fs::write(folder.path().join("password"), "first-secret\n").unwrap();
    let redis =
        format!("[redis]\nnodes = [\"{}\"]\nuser = \"gate\"\npassword_file = \"password\"\n", server.url());
    write_trust(folder.path());
    let authority = Authority::start().unwrap();
    let process = Process::start(&write_config(folder.path(), &authority, &redis, ""));
    let answers = |up: i64| {
        let at = process.operations.clone();
        async move {
            let began = Instant::now();
            while !page(&at, "/metrics").await.1.contains(&format!("{UP} {up}\n")) {
                assert!(began.elapsed() < PATIENCE, "never came true");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    };
    answers(1).await;
    server.pause();
    answers(0).await;
    server.resume();
    answers(1).await;
    assert_eq!(server.cli(&["ACL", "SETUSER", "gate", "resetpass", ">second-secret"]), "OK");
    let cores = std::thread::available_parallelism().unwrap();
    assert_eq!(server.cli(&["CLIENT", "KILL", "USER", "gate"]), cores.to_string(), "a connection for each");
    answers(0).await;
    tried(&server, 3).await;
    let (_, log) = process.terminate();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("Redis")).collect();
    let [lost, back, shut] = &lines[..] else { panic!("{lines:#?}") };
    assert!(lost.contains("WARN") && lost.contains("Redis is away"), "{lost}");
    assert!(lost.contains("it does not answer in time"), "{lost}");
    assert!(back.contains("INFO") && back.contains("Redis is used again"), "{back}");
    assert!(shut.contains("Redis is away") && shut.contains("it does not take user and password"), "{shut}");
    assert!(!log.contains("secret") && !log.contains("gate "), "{log}");
}

pub fn write_trust(folder: &Path) {
    Trust::new(&mut rand_chacha::ChaCha20Rng::seed_from_u64(1)).unwrap().write(folder).unwrap();
}
