//! `ridegate faults`, as an operator runs a drill.

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ridegate_sim::riders::Rider;

use crate::{
    house::{House, said},
    process::{ridegate, text},
    redis::Redis,
};

/// A busy machine is late, never early.
const PATIENCE: Duration = Duration::from_mins(1);

/// A drill that runs. Ended when it is dropped.
struct Drill {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    /// Where it listens.
    address: String,
}

impl Drill {
    fn start(to: &str, more: &[&str]) -> Self {
        Self::begin(to, more, Stdio::piped())
    }

    fn begin(to: &str, more: &[&str], input: Stdio) -> Self {
        let mut command = ridegate();
        command.args(["faults", "--to", to]).args(more).stdin(input);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        lines.read_line(&mut first).unwrap();
        let address = first.trim_end().strip_prefix("listening on ").expect("where it listens");
        let address = address.strip_suffix(&format!(", to {to}")).expect("and to whom").to_owned();
        Self { child, lines, address }
    }

    /// The next line it prints.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// The next change: how long after the start, in seconds, and what.
    fn change(&mut self) -> (f64, String) {
        let line = self.line();
        let (after, what) = line.trim_start().split_once("s  ").unwrap_or_else(|| panic!("{line:?}"));
        (after.parse().unwrap(), what.split(';').next().unwrap().to_owned())
    }

    fn type_in(&mut self, text: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{text}").unwrap();
    }

    /// Types a fault, and waits until it is done.
    fn turn_to(&mut self, fault: &str) {
        self.type_in(fault);
        assert_eq!(self.change().1, fault);
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// When it has ended: its last line, and what it said on standard error.
    #[track_caller]
    fn ended(mut self) -> (String, String) {
        let (mut rest, mut errors) = (String::new(), String::new());
        self.lines.read_to_string(&mut rest).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0), "{errors}");
        (rest.lines().last().unwrap_or_default().to_owned(), errors)
    }

    fn connected(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    /// Until a connection is let in, or is refused.
    #[track_caller]
    fn until_let_in(&self, wanted: bool) {
        let began = Instant::now();
        loop {
            let connected = TcpStream::connect(&self.address);
            let refused = connected.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
            if connected.is_ok() == wanted && refused != wanted {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "let in {wanted}: never came true");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Drill {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _known = self.child.wait();
    }
}

/// What Redis says to a question, as far as it says something.
fn ask(connection: &mut TcpStream) -> std::io::Result<String> {
    connection.write_all(b"ECHO pass\r\n")?;
    heard(connection)
}

fn heard(connection: &mut TcpStream) -> std::io::Result<String> {
    let mut answer = [0; 10];
    connection.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

const ECHO: &str = "$4\r\npass\r\n";

fn at(redis: &Redis) -> String {
    format!("127.0.0.1:{}", redis.port())
}

#[test]
fn a_drill_by_the_clock_does_each_thing_at_its_time_and_ends_with_what_has_passed() {
    let redis = Redis::start();
    let more = ["--fault", "latency=1ms", "--at", "300ms refuse", "--at", "600ms well", "--for", "900ms"];
    // Standard input is /dev/null: its end is nobody's wish.
    let mut drill = Drill::begin(&at(&redis), &more, Stdio::null());
    assert_eq!(drill.change(), (0.0, "latency=1ms".to_owned()));
    for (planned, fault) in [(0.3, "refuse"), (0.6, "well"), (0.9, "over")] {
        let (after, what) = drill.change();
        assert_eq!(what, fault);
        assert!(after >= planned, "{after} {what}");
    }
    assert_eq!(drill.ended().1, "");
}

#[test]
fn a_step_that_refuses_is_heard_by_who_connects_and_a_typed_line_ends_it() {
    let redis = Redis::start();
    let mut drill = Drill::start(&at(&redis), &["--at", "200ms refuse"]);
    assert_eq!(drill.change().1, "well");
    assert_eq!(drill.change().1, "refuse");
    drill.until_let_in(false);
    drill.turn_to("well");
    drill.until_let_in(true);
    assert_eq!(ask(&mut drill.connected()).unwrap(), ECHO);
    drill.type_in("quit");
    assert!(drill.ended().0.contains("over; in all "));
}

#[test]
fn a_typed_line_is_the_next_fault_and_a_bad_one_changes_nothing() {
    let redis = Redis::start();
    let mut drill = Drill::start(&at(&redis), &[]);
    assert_eq!(drill.change().1, "well");
    let mut connection = drill.connected();
    assert_eq!(ask(&mut connection).unwrap(), ECHO);
    drill.turn_to("latency=50ms");
    let began = Instant::now();
    assert_eq!(ask(&mut connection).unwrap(), ECHO);
    assert!(began.elapsed() >= Duration::from_millis(50));
    drill.turn_to("stall");
    let long = "x".repeat(1000) + "quit";
    for nonsense in ["", "slower", "stall refuse", "latency=20", "quit now", &long] {
        drill.type_in(nonsense);
    }
    connection.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let waits = ask(&mut connection).unwrap_err().kind();
    assert!(matches!(waits, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{waits}");
    drill.turn_to("well");
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(heard(&mut connection).unwrap(), ECHO, "it is carried when the stall is over");
    drill.turn_to("reset");
    assert!(ask(&mut connection).is_err());
    drill.type_in("quit");
    let (last, errors) = drill.ended();
    assert!(last.ends_with("over; in all 1 connections, 1 broken, 33 bytes up, 30 bytes down"), "{last}");
    assert_eq!(errors.matches("; or quit").count(), 6, "{errors}");
    for allowed in
        ["expected well, or words of: latency=20ms", "only one of stall", "needs a time with its unit"]
    {
        assert!(errors.contains(allowed), "{errors}");
    }
}

#[test]
fn it_goes_on_without_anybody_to_type_until_a_signal_ends_it() {
    let redis = Redis::start();
    for (signal, closed) in [("INT", false), ("TERM", true)] {
        let mut drill = Drill::start(&at(&redis), &[]);
        if closed {
            drill.child.stdin = None;
        }
        assert_eq!(drill.change().1, "well");
        assert_eq!(ask(&mut drill.connected()).unwrap(), ECHO);
        drill.signal(signal);
        assert!(drill.ended().0.contains("over; in all 1 connections, 0 broken"));
    }
}

#[test]
fn what_cannot_be_done_is_refused_by_name_with_what_is_allowed() {
    let to = ["--to", "127.0.0.1:9"];
    for (arguments, named, allowed) in [
        (&[][..], "--to", "required"),
        (&["--to", "redis://127.0.0.1:6379"], "--to", "expected HOST:PORT, such as"),
        (&["--to", "127.0.0.1"], "--to", "expected HOST:PORT, such as"),
        (
            &["--listen", "0.0.0.0:0"],
            "--listen",
            "expected a loopback address such as 127.0.0.1:0, or --beyond-this-machine",
        ),
        (&["--listen", "[::]:0"], "--listen", "expected a loopback address"),
        (&["--listen", "127.0.0.1"], "--listen", "expected HOST:PORT of this machine"),
        (&["--listen", "127.0.0.1:9"], "--to", "must be another address than --listen"),
        (&["--fault", "slow"], "--fault", "expected well, or words of: latency=20ms"),
        (&["--fault", "latency=20"], "--fault", "latency needs a time with its unit"),
        (&["--at", "refuse"], "--at", "expected a time after the start and a fault"),
        (&["--at", "10 refuse"], "--at", "expected a time with its unit, up to 24h"),
        (&["--at", "10s slow"], "--at", "expected well, or words of"),
        (&["--at", "10s stall", "--at", "10s well"], "--at", "each must be later than the one before it"),
        (&["--at", "30s well", "--for", "30s"], "--at", "each must be before the end that --for names"),
        (&["--for", "25h"], "--for", "expected a time with its unit, up to 24h"),
        (&["--for", "0s"], "--for", "expected a time with its unit"),
        (&["--seed", "x"], "--seed", "invalid digit"),
    ] {
        let to = if arguments.is_empty() || arguments[0] == "--to" { &[][..] } else { &to[..] };
        let done = ridegate().arg("faults").args(to).args(arguments).output().unwrap();
        let error = text(&done.stderr);
        assert_eq!(done.status.code(), Some(64), "{arguments:?}: {error}");
        assert!(error.contains(named) && error.contains(allowed), "{arguments:?}: {error}");
        assert_eq!(text(&done.stdout), "", "{arguments:?}");
    }
}

#[test]
fn an_address_that_others_reach_is_listened_on_when_that_is_said_and_a_taken_one_is_not() {
    let redis = Redis::start();
    let drill = Drill::start(&at(&redis), &["--listen", "0.0.0.0:0", "--beyond-this-machine"]);
    assert!(drill.address.starts_with("0.0.0.0:"));
    let taken = drill.address.replace("0.0.0.0", "127.0.0.1");
    let done = ridegate().args(["faults", "--to", &at(&redis), "--listen", &taken]).output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(text(&done.stderr).contains(&format!("cannot listen on {taken}")), "{}", text(&done.stderr));
}

#[tokio::test]
async fn a_gateway_goes_through_a_drill_on_its_redis() {
    let redis = Redis::start();
    let mut drill = Drill::start(&at(&redis), &[]);
    let (address, _) = (drill.address.clone(), drill.change());
    let house = House::with(&format!("[redis]\nnodes = [\"redis://{address}\"]\n")).await;
    house.settle(1, Rider::Healthy).await;
    let phone = house.phone(1);
    let well = house.tap_until(&phone, |answer| answer.degraded.is_none()).await;
    assert_eq!(said(&well), "ALLOW HEALTH_OK");
    for fault in ["refuse", "stall", "latency=2s"] {
        drill.turn_to(fault);
        let degraded = house.tap_until(&phone, |answer| answer.degraded.is_some()).await;
        assert_eq!(said(&degraded), "ALLOW HEALTH_OK", "{fault}");
        drill.turn_to("well");
        house.tap_until(&phone, |answer| answer.degraded.is_none()).await;
    }
    drill.signal("TERM");
    assert!(drill.ended().0.contains("over; in all"));
}
