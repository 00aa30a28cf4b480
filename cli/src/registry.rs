//! What operators do to the registry: `ridegate migrate`, `key`, `rekey`, `purge`, `record`. Gateways may run meanwhile.

use std::{
    io::{BufRead, IsTerminal},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use ridegate_adapters::{Account, Medium, PartnerId};
use ridegate_gateway::{
    app::Upkeep,
    backends::registry::{Registry, Scope},
    clock::Clock,
    config::ConfigFile,
    keyring::Keyring,
};

use crate::{Stop, tell};

/// How long a replica may take to hear that the key has changed.
const REPLICAS_HEAR: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The gateway's configuration; `ridegate.example.toml` explains every key.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// As for `serve`.
    #[arg(long)]
    insecure_dev: bool,
}

#[derive(clap::Subcommand)]
pub(crate) enum Key {
    /// Add a key to the key file, or make the file. Nothing is written under it before `rekey`.
    Add(Arguments),
}

#[derive(clap::Args)]
pub(crate) struct Purge {
    #[command(subcommand)]
    whose: Whose,
}

#[derive(clap::Subcommand)]
enum Whose {
    /// Of the person who has one account. The account itself is read from standard input, so that no list of commands
    /// and no history holds it.
    Person {
        #[command(flatten)]
        common: Common,
        /// The partner; of a card, none.
        #[arg(long)]
        partner: Option<String>,
        /// mot, alipay, online, or a card's kind, such as senior-card.
        #[arg(long)]
        kind: String,
        /// Its issuer, where the kind has one.
        #[arg(long, default_value = "")]
        issuer: String,
    },
    /// Of everybody, through one partner.
    Partner {
        #[command(flatten)]
        common: Common,
        /// The partner.
        partner: String,
    },
    /// Of everybody.
    Everything {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(clap::Args)]
struct Common {
    #[command(flatten)]
    registry: Arguments,
    /// Delete. Without it, only say how much there is.
    #[arg(long)]
    yes: bool,
}

#[tokio::main]
pub(crate) async fn migrate(arguments: &Arguments) -> ExitCode {
    ended(
        async {
            let before = upkeep(arguments)?.migrate().await.context("not migrated")?;
            Ok(match before {
                0 => "the registry was empty: it has its schema now".to_owned(),
                before => format!("the registry was at version {before} of its schema, it is up to date now"),
            })
        }
        .await,
    )
}

pub(crate) fn key(command: &Key) -> ExitCode {
    let Key::Add(arguments) = command;
    ended(upkeep(arguments).and_then(|upkeep| {
        let id = upkeep.add_key().context("no key was added")?;
        Ok(format!(
            "key {id} is in the key file. Give the file to every replica, wait until all have it, then run ridegate rekey"
        ))
    }))
}

#[tokio::main]
pub(crate) async fn rekey(arguments: &Arguments) -> ExitCode {
    ended(write_anew(arguments).await)
}

async fn write_anew(arguments: &Arguments) -> Result<String, Stop> {
    let (registry, _) = open(arguments).await?;
    let now = Clock::system().now();
    let key = registry.begin_rekey(now).await.context("the key was not changed")?;
    // Who has not heard of the new key yet would not find what is written under it.
    tokio::time::sleep(REPLICAS_HEAR).await;
    let bar = bar("links written anew");
    let rekeyed = registry
        .rekey(key, now, |links| bar.set_position(links))
        .await
        .context("broken off: run it again")?;
    bar.finish_and_clear();
    let mut said = format!("{} links were written anew, everything is under key {key} now", rekeyed.links);
    if rekeyed.unreadable > 0 {
        said = format!(
            "{} links were written anew under key {key}; {} that an early version wrote cannot be, and stay under theirs",
            rekeyed.links, rekeyed.unreadable
        );
    }
    if !rekeyed.retired.is_empty() {
        let retired: Vec<_> = rekeyed.retired.iter().map(ToString::to_string).collect();
        said = format!(
            "{said}. Nothing is under key {} any more: take its line from the key file",
            retired.join(", ")
        );
    }
    Ok(said)
}

#[tokio::main]
pub(crate) async fn purge(purge: &Purge) -> ExitCode {
    ended(delete(purge).await)
}

async fn delete(Purge { whose }: &Purge) -> Result<String, Stop> {
    let (Whose::Person { common, .. } | Whose::Partner { common, .. } | Whose::Everything { common }) = whose;
    let upkeep = upkeep(&common.registry)?;
    let (registry, keys) = upkeep.open().await.map_err(anyhow::Error::from)?;
    let scope = scope(whose, &keys)?;
    let found = registry.would_purge(&scope).await.context("the registry was not read")?;
    if !common.yes {
        return Ok(format!("{scope}: {found} links would be deleted; say --yes to delete them"));
    }
    let bar = bar("links deleted");
    bar.set_length(found);
    let purged = registry.purge(&scope, Clock::system().now(), |deleted| bar.set_position(deleted)).await;
    bar.finish_and_clear();
    let purged = purged.context("broken off: run it again")?;
    if purged.left > 0 {
        return Err(Stop::Failed(anyhow::anyhow!(
            "{scope}: {purged}. Links came while it was deleted: run it again"
        )));
    }
    let shared = match upkeep.sweep(&keys).await {
        None => String::new(),
        Some(Ok(swept)) => format!(" What replicas share in Redis was deleted: {swept} entries."),
        Some(Err(away)) => {
            let why = "what replicas share in Redis was not deleted; it is not believed, and gone by itself in an hour";
            return Err(Stop::Failed(anyhow::anyhow!("{scope}: {purged}, but {why}: {away}. Run it again")));
        }
    };
    Ok(format!("{scope}: {purged}.{shared} The record has an entry of it"))
}

fn scope(whose: &Whose, keys: &Keyring) -> Result<Scope, Stop> {
    let id = |partner: &str| {
        let rule = "partner: expected 1 to 32 lower-case letters, digits and hyphens";
        PartnerId::new(partner).ok_or_else(|| Stop::usage(rule))
    };
    match whose {
        Whose::Everything { .. } => Ok(Scope::Everything),
        Whose::Partner { partner, .. } => Ok(Scope::Partner(id(partner)?)),
        Whose::Person { partner, kind, issuer, .. } => {
            let partner = partner.as_deref().map(id).transpose()?;
            let medium = Medium::of_kind(kind, issuer, account()?);
            let medium = medium.ok_or_else(|| {
                Stop::usage(
                    "kind: expected mot, alipay, online or a card's kind, with --issuer as the kind has it",
                )
            })?;
            if partner.is_none() && !matches!(medium, Medium::Card { .. }) {
                return Err(Stop::usage("partner: must be given, but for a card"));
            }
            Ok(Scope::Person(keys.link_names(partner.as_ref(), &medium)))
        }
    }
}

fn account() -> Result<Account, Stop> {
    let input = std::io::stdin();
    if input.is_terminal() {
        #[expect(clippy::print_stderr, reason = "this is where the program speaks to who started it")]
        {
            eprintln!("the account, and Enter:");
        }
    }
    let mut line = String::new();
    input.lock().read_line(&mut line).context("standard input cannot be read")?;
    let account = line.trim();
    if account.is_empty() {
        return Err(Stop::usage("standard input: expected the account, on a line"));
    }
    Ok(Account::new(account))
}

#[tokio::main]
pub(crate) async fn record(arguments: &Arguments) -> ExitCode {
    ended(
        async {
            let (registry, _) = open(arguments).await?;
            let entries = registry.record().await.context("the record cannot be shown")?;
            let line = |entry: &ridegate_gateway::backends::registry::Entry| {
                format!("{} {} {}: {}", entry.seq, entry.at, entry.act, entry.detail)
            };
            let mut lines: Vec<_> = entries.iter().map(line).collect();
            lines.push(match entries.last() {
                None => "the record is empty".to_owned(),
                Some(last) => format!(
                    "{} entries, none changed; the last one's hash is {}",
                    entries.len(),
                    hex::encode(&last.hash)
                ),
            });
            Ok(lines.join("\n"))
        }
        .await,
    )
}

fn upkeep(arguments: &Arguments) -> Result<Upkeep, Stop> {
    let file = ConfigFile::load(&arguments.config).map_err(|error| Stop::usage(error.to_string()))?;
    Upkeep::of(&file, arguments.insecure_dev).map_err(|error| Stop::usage(error.to_string()))
}

async fn open(arguments: &Arguments) -> Result<(Registry, Arc<Keyring>), Stop> {
    let opened = upkeep(arguments)?.open().await;
    Ok(opened.map_err(anyhow::Error::from)?)
}

fn bar(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {pos} {msg} [{elapsed_precise}]");
    let bar = ProgressBar::no_length().with_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    style.map_or(bar.clone(), |style| bar.with_style(style))
}

fn ended(done: Result<String, Stop>) -> ExitCode {
    match done {
        Ok(said) => {
            tell(&said);
            ExitCode::SUCCESS
        }
        Err(stop) => stop.exit(),
    }
}
