//! What a registry does, whichever database it is in: one suite, run by SQLite and by PostgreSQL. Several openings of one
//! registry are to it what several processes are.

mod batches;
mod keeping;
mod links;
mod store;

use jiff::Timestamp;
use ridegate_adapters::{Account, CardKind, Medium, PartnerId};
use ridegate_gateway::{
    backends::registry::{Batch, Registry},
    domain::{
        facts::Subject,
        link::{Consent, LinkOrder, LinkOutcome},
    },
    keyring::{Keyring, Use},
};

const NOON: i64 = 1_655_265_600;

fn now() -> Timestamp {
    later(0)
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOON + seconds).unwrap()
}

fn partner(id: &str) -> PartnerId {
    PartnerId::new(id).unwrap()
}

fn rider(number: u64) -> Subject {
    Subject::new(format!("subject-of-{number}"))
}

fn card(kind: CardKind, number: u64) -> Medium {
    Medium::Card { kind, issuer: "01001000".parse().unwrap(), number: Account::new(format!("{number:016}")) }
}

fn physical(number: u64) -> Medium {
    card(CardKind::YikatongCard, number)
}

fn code(number: u64) -> Medium {
    Medium::MotCode { issuer: "99990001".parse().unwrap(), account: Account::new(format!("{number:020}")) }
}

fn consent() -> Consent {
    Consent { wording_version: "1".into(), granted_at: now(), purpose: "gates".into() }
}

/// A request of its own, under this key.
fn order(key: &str, media: &[Medium]) -> LinkOrder {
    let keys = Keyring::new(&[9; 32]);
    let name = |text: &str| keys.pseudonym(Use::Idempotency, &[text.as_bytes()]);
    LinkOrder {
        partner: partner("yikatong"),
        media: media.to_vec(),
        consent: consent(),
        channel: 1,
        agent: None,
        idempotency: name(key),
        fingerprint: name(&format!("{key} {}", media.len())),
    }
}

/// Links under a key that nobody else uses.
async fn link(registry: &Registry, media: &[Medium], rider: &Subject) -> LinkOutcome {
    let key = uuid::Uuid::new_v7(uuid::Timestamp::now(uuid::NoContext)).to_string();
    registry.link(&order(&key, media), rider, now()).await.unwrap()
}

async fn unlink(registry: &Registry, keys: &Keyring, medium: &Medium) -> usize {
    let yikatong = partner("yikatong");
    let names = keys.link_names(&yikatong, medium);
    registry.unlink(&names, Some(&yikatong), now()).await.unwrap().len()
}

async fn whose(registry: &Registry, keys: &Keyring, medium: &Medium) -> Option<Subject> {
    let names = keys.link_names(&partner("yikatong"), medium);
    registry.find(&names).await.unwrap().map(|found| found.subject)
}

fn senior(number: u64) -> Medium {
    card(CardKind::SeniorCard, number)
}

/// The card company's.
fn batch(keys: &Keyring) -> Batch {
    let key = keys.pseudonym(Use::Batch, &[b"batch"]);
    Batch { key, partner: partner("yikatong"), consent: consent(), channel: 4 }
}

/// Every behaviour, in both databases.
macro_rules! behaviours {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() {
                super::$name(super::Store::file()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $name() {
                super::$name(super::Store::server()).await;
            })*
        }
    };
}
use behaviours;
