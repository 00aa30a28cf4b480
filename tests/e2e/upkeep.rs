//! What operators do to the registry, through the binary, while gateways serve.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use ridegate_sim::{authority::Authority, riders::Rider, trust::Trust};
use tokio::time::Instant;
use tonic::Code;
use tonic_types::StatusExt;

use crate::{
    batches::{rows, senior, start},
    house::{House, PARTNER, digits, said, subject, write_config},
    postgres::Postgres,
    process::{Process, text},
};

/// Runs a command on the registry of this configuration, with a line on its standard input.
fn upkeep(words: &[&str], config: &Path, input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ridegate"));
    command.args(words).arg("--config").arg(config);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who does not read it is not told.
    let _unread = child.stdin.take().unwrap().write_all(format!("{input}\n").as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn done(words: &[&str], config: &Path, input: &str) -> String {
    let output = upkeep(words, config, input);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_is_in_force_at_a_running_gateway_and_leaves_its_entry() {
    let house = House::open().await;
    let config = house.folder.path().join("ridegate.toml");
    for rider in 1..=3 {
        house.settle(rider, Rider::Healthy).await;
    }
    let phones = [house.phone(1), house.phone(2)];
    for phone in &phones {
        assert_eq!(said(&house.tap(house.fresh(phone)).await), "ALLOW HEALTH_OK");
    }
    let person = ["purge", "person", "--partner", PARTNER, "--kind", "mot", "--issuer", "99990001"];
    let asked = done(&person, &config, &digits(1));
    assert_eq!(asked, "one person: 1 links would be deleted; say --yes to delete them\n");
    assert_eq!(said(&house.tap(house.fresh(&phones[0])).await), "ALLOW HEALTH_OK");

    let with_yes: Vec<_> = person.iter().copied().chain(["--yes"]).collect();
    let deleted = done(&with_yes, &config, &digits(1));
    let over = Instant::now();
    assert!(
        deleted.starts_with("one person: links found 1, deleted 1, left 0; links of others 2"),
        "{deleted}"
    );
    loop {
        let asked = over.elapsed();
        let answer = house.tap(house.fresh(&phones[0])).await;
        if said(&answer) == "INSPECT NOT_LINKED" {
            break;
        }
        // Later than a second after it only a gateway that does not hear of the registry lets anybody in, and says so.
        assert_eq!(said(&answer), "ALLOW HEALTH_OK");
        assert!(asked <= Duration::from_secs(1) || answer.degraded.is_some(), "as it was after {asked:?}");
        assert!(asked < Duration::from_mins(1), "never in force");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(said(&house.tap(house.fresh(&phones[1])).await), "ALLOW HEALTH_OK");

    let everything = done(&["purge", "everything", "--yes"], &config, "");
    assert!(everything.starts_with("everything: links found 2, deleted 2, left 0;"), "{everything}");
    house.tap_until(&phones[1], |answer| said(answer) == "INSPECT NOT_LINKED").await;
    let record = done(&["record"], &config, "");
    let lines: Vec<_> = record.lines().collect();
    assert_eq!(lines.len(), 5, "as each begins, as each ends: {record}");
    assert!(
        lines[0].starts_with("1 ") && lines[0].ends_with(" purge: one person: begun, links found 1"),
        "{record}"
    );
    assert!(
        lines[1].starts_with("2 ") && lines[1].contains(" purge: one person: links found 1,"),
        "{record}"
    );
    assert!(lines[4].starts_with("4 entries, none changed; the last one's hash is "), "{record}");
    assert!(!format!("{asked}{deleted}{everything}{record}").contains(&digits(1)));
    // Another rider may link the same account now.
    house.settle(1, Rider::Healthy).await;
}

/// A batch that is gone does not go on: its rows are asked for from the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_was_purged_is_sent_anew() {
    let house = House::open().await;
    let config = house.folder.path().join("ridegate.toml");
    let row = |number: u64| {
        let code = format!("code-{number}");
        house.authority.authorise(&code, &subject(number));
        crate::batches::row(senior(number), &code)
    };
    let messages = vec![start("b"), rows(0, vec![row(1), row(2)])];
    assert_eq!(house.batch(PARTNER, messages).await.unwrap().progress.unwrap().rows_done, 2);
    done(&["purge", "partner", PARTNER, "--yes"], &config, "");
    let refused = house.batch(PARTNER, vec![start("b"), rows(2, vec![row(3)])]).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "ROWS_LEFT_OUT");
    let messages = vec![start("b"), rows(0, vec![row(4), row(5), row(3)])];
    let progress = house.batch(PARTNER, messages).await.unwrap().progress.unwrap();
    assert_eq!((progress.rows_done, progress.counts[0].rows), (3, 3));
}

#[tokio::test]
async fn what_cannot_be_purged_is_said_without_the_account() {
    let house = House::open().await;
    let config = house.folder.path().join("ridegate.toml");
    let elsewhere = house.folder.path().join("elsewhere.toml");
    let text_of = std::fs::read_to_string(&config).unwrap();
    let other = "[registry]\npath = \"no-such.db\"\nkey_file = \"no-such.key\"\n";
    std::fs::write(&elsewhere, text_of.replace("[registry]\n", other)).unwrap();
    let absent = upkeep(&["purge", "everything", "--yes"], &elsewhere, "");
    assert_eq!(absent.status.code(), Some(1), "nothing is proven of a registry that is not there");
    assert!(text(&absent.stderr).contains("no-such.db: is not there"), "{}", text(&absent.stderr));
    assert!(!house.folder.path().join("no-such.db").exists());
    for (words, says) in [
        (
            vec!["purge", "person", "--kind", "tram", "--partner", PARTNER],
            "kind: expected mot, alipay, online",
        ),
        (
            vec!["purge", "person", "--kind", "mot", "--partner", PARTNER],
            "kind: expected mot, alipay, online",
        ),
        (vec!["purge", "person", "--kind", "alipay"], "partner: must be given, but for a card"),
        (vec!["purge", "partner", "Ali Pay"], "partner: expected 1 to 32 lower-case letters"),
    ] {
        let output = upkeep(&words, &config, "canary-account");
        assert_eq!(output.status.code(), Some(64), "{words:?}");
        let said = text(&output.stderr);
        assert!(said.contains(says) && !said.contains("canary"), "{said}");
    }
    let output = upkeep(&["purge", "person", "--kind", "alipay", "--partner", PARTNER], &config, "");
    assert!(
        text(&output.stderr).contains("standard input: expected the account"),
        "{}",
        text(&output.stderr)
    );
    let nobody =
        done(&["purge", "person", "--kind", "alipay", "--partner", PARTNER, "--yes"], &config, "canary");
    assert!(nobody.starts_with("one person: links found 0, deleted 0,"), "{nobody}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleets_registry_is_made_migrated_and_written_anew_while_it_serves() {
    let server = Postgres::start();
    let database = server.create_database().rsplit('/').next().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    Trust::new(&mut rand::SeedableRng::seed_from_u64(1))
        .map(|trust: Trust| trust.write(folder.path()))
        .unwrap()
        .unwrap();
    let authority = Authority::start().unwrap();
    std::fs::write(folder.path().join("password"), server.password()).unwrap();
    let registry =
        format!("[registry]\nurl = \"{}\"\npassword_file = \"password\"\n", server.address(&database));
    let config = write_config(folder.path(), &authority, &registry, "");

    let serve = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ridegate"));
        command.args(["serve", "--insecure-dev", "--config"]).arg(&config).output().unwrap()
    };
    let no_key = serve();
    assert_eq!(no_key.status.code(), Some(64));
    assert!(text(&no_key.stderr).contains("make one with `ridegate key add`"), "{}", text(&no_key.stderr));
    let added = done(&["key", "add"], &config, "");
    assert!(added.starts_with("key 1 is in the key file"), "{added}");
    let not_migrated = serve();
    assert_eq!(not_migrated.status.code(), Some(1));
    assert!(text(&not_migrated.stderr).contains("run `ridegate migrate`"), "{}", text(&not_migrated.stderr));
    assert_eq!(done(&["migrate"], &config, ""), "the registry was empty: it has its schema now\n");
    let again = done(&["migrate"], &config, "");
    assert_eq!(again, "the registry was at version 2 of its schema, it is up to date now\n");

    let gateways = [Process::start(&config), Process::start(&config)];
    assert!(done(&["key", "add"], &config, "").starts_with("key 2 is in the key file"));
    let rekeyed = done(&["rekey"], &config, "");
    assert!(
        rekeyed
            .starts_with("0 links were written anew, everything is under key 2 now. Nothing is under key 1"),
        "{rekeyed}"
    );
    let record = done(&["record"], &config, "");
    assert!(record.contains(" key: written under key 2 from now on\n"), "{record}");
    for gateway in gateways {
        gateway.kill();
    }
    // The address holds no secret, and one that did would not be taken.
    let secret = registry.replace("@127", &format!(":{}@127", server.password()));
    let config = write_config(folder.path(), &authority, &secret, "");
    let refused = upkeep(&["record"], &config, "");
    assert_eq!(refused.status.code(), Some(64));
    let said = text(&refused.stderr);
    assert!(
        said.contains("registry.url: must not hold a password") && !said.contains(server.password()),
        "{said}"
    );
}
