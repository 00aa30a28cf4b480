//! What a verdict needs of what the fleet shares: the claim on its code, and the account's link and facts, in one slot and
//! one round trip.
//!
//! Keys are names under the steady key, values are sealed under the newest. In the clear are only a claim's state and
//! times, which the rule needs, and of when facts are, so that older ones never replace newer ones.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use redis::{FromRedisValue, Value};
use tokio::{sync::Semaphore, time::Instant};
use uuid::Uuid;

use super::{Away, Redis, Script, connection::Question, outbox::Outbox, records};
use crate::{
    backends::memory::ClaimName,
    domain::{
        claim::Showing,
        facts::{Facts, Subject},
        pseudonym::{Pseudonym, Tag},
        verdict::{Finding, Verdict},
    },
    keyring::{Keyring, Use},
};

/// Replicas' clocks differ by so much at the most. A claim is kept that much longer.
pub const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(2);
/// What was found out of an account is of use to others for so long.
const KEPT: Duration = Duration::from_hours(1);
/// Longest wait for what nobody waits for.
const BESIDE: Duration = Duration::from_secs(1);
/// What may be written at once. What comes on top is not: it is missed, not wrong.
const WRITES: usize = 4096;

/// The fleet's memory.
#[derive(Debug)]
pub struct Shared {
    redis: Arc<Redis>,
    keys: Arc<Keyring>,
    prefix: String,
    cap: Duration,
    room: Arc<Semaphore>,
    outbox: Outbox<Letter>,
    take: Script,
    settle: Script,
    recall: Script,
    put: Script,
    forget: Script,
}

/// What the fleet says of a showing.
#[derive(Debug)]
pub struct Took {
    /// What the claim means for it.
    pub ruling: Ruling,
    /// What is known of the account, if that was asked for.
    pub account: Account,
}

/// What a claim means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ruling {
    /// The first time, or as good as.
    Fresh,
    /// The same tap again.
    Repeat {
        /// The first verdict's id.
        first: Uuid,
        /// Its outcome; `None`: not decided yet.
        outcome: Option<Finding>,
    },
    /// Somebody else, somewhere else, or too late.
    Replayed,
}

/// An account's link and facts, sealed.
#[derive(Debug, Clone, Default)]
pub struct Account {
    link: Option<Vec<u8>>,
    facts: Option<Vec<u8>>,
}

/// Whose account it was when the registry was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedLink {
    /// The link's name.
    pub name: Pseudonym,
    /// The person.
    pub subject: Subject,
    /// How far the log of links that ended had been heard before the registry was asked.
    pub heard: i64,
}

/// What the authority said.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedFacts {
    /// Of whom.
    pub subject: Subject,
    /// What.
    pub facts: Facts,
    /// When it was asked.
    pub asked_at: Timestamp,
}

// It tells of somebody's health.
impl std::fmt::Debug for SharedFacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedFacts(…)")
    }
}

/// A showing that was decided, or never will be.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The showing.
    pub showing: Showing,
    /// The first verdict on this claim.
    pub first: Uuid,
    /// Until when the code could be shown.
    pub until: Timestamp,
    /// `None`: the caller went away.
    pub outcome: Option<Finding>,
}

impl Shared {
    /// In this Redis, which is waited for so long at the most.
    pub fn new(redis: Arc<Redis>, keys: Arc<Keyring>, cap: Duration) -> Self {
        Self {
            prefix: prefix(&keys),
            outbox: Outbox::new(redis.cores()),
            redis,
            keys,
            cap,
            room: Arc::new(Semaphore::new(WRITES)),
            take: Script::new(include_str!("take.lua")),
            settle: Script::new(include_str!("settle.lua")),
            recall: Script::new("return redis.call('HMGET', KEYS[1], 'l', 'f')"),
            put: Script::new(include_str!("put.lua")),
            forget: Script::new("return redis.call('DEL', KEYS[1])"),
        }
    }

    /// How long it is waited for.
    pub const fn cap(&self) -> Duration {
        self.cap
    }

    /// The Redis itself.
    pub const fn redis(&self) -> &Arc<Redis> {
        &self.redis
    }

    /// An account's name here.
    pub fn account(&self, parts: &[&[u8]]) -> Tag {
        self.keys.pseudonym(Use::Account, parts).tag()
    }

    /// Judges a showing, and takes its claim if it is fresh. One round trip.
    pub async fn take(
        &self,
        name: &ClaimName,
        (showing, until): (&Showing, Timestamp),
        double_read: SignedDuration,
        with_account: bool,
        left: Duration,
    ) -> Result<Took, Away> {
        let claim = self.claim_key(name);
        let account = if with_account { self.account_key(&name.slot) } else { String::new() };
        let [now, kept] =
            [milliseconds(showing.at), kept(until, showing.at)].map(|number| number.to_string());
        let arguments: [&[u8]; 7] = [
            &showing.device.tag().0,
            &showing.request.tag().0,
            showing.verdict_id.as_bytes(),
            now.as_bytes(),
            kept.as_bytes(),
            &double_read.as_millis().to_string().into_bytes(),
            if with_account { b"1" } else { b"0" },
        ];
        let began = Instant::now();
        let cap = || self.cap.min(left).saturating_sub(began.elapsed());
        // Not the account's where that is not asked for: of a slot that is being moved it may be there still, and the claim not.
        let both: [&[u8]; 2] = [claim.as_bytes(), account.as_bytes()];
        let keys = if with_account { &both[..] } else { &both[..1] };
        let answer: Result<Answer, _> = self.redis.run(&self.take, "take", keys, &arguments, cap()).await;
        let answer = match answer {
            // Of a slot that is being moved one key may be there still and the other not: the claim matters.
            Err(Away::Refused) if with_account => {
                let [device, request, verdict, now, kept, double_read, _] = arguments;
                let arguments = [device, request, verdict, now, kept, double_read, b"0"];
                self.redis.run(&self.take, "take", &[claim.as_bytes()], &arguments, cap()).await
            }
            answer => answer,
        };
        let Answer(ruling, first, outcome, link, facts) = answer?;
        let ruling = match ruling.as_slice() {
            b"fresh" => Ruling::Fresh,
            b"replayed" => Ruling::Replayed,
            b"repeat" => {
                let first = Uuid::from_slice(&first).map_err(|_| Away::Refused)?;
                let read = self.open(&outcome, &place(name)).and_then(|plain| records::finding(&plain));
                match read {
                    None if outcome.is_empty() => Ruling::Repeat { first, outcome: None },
                    // It was decided, and how cannot be read here: nobody may decide it once more.
                    None => Ruling::Replayed,
                    outcome => Ruling::Repeat { first, outcome },
                }
            }
            _ => return Err(Away::Refused),
        };
        Ok(Took { ruling, account: Account { link, facts } })
    }

    /// A showing was decided. Not waited for; whether Redis has heard of it is told to `told`.
    pub fn settle(
        self: &Arc<Self>,
        name: ClaimName,
        settled: Settled,
        now: Timestamp,
        told: impl FnOnce() + Send + Sync + 'static,
    ) {
        let letter = Letter { name, settled, now, told: Box::new(told) };
        if self.redis.is_there() && self.outbox.put(letter) {
            let shared = Arc::clone(self);
            tokio::spawn(async move { shared.send_out().await });
        }
    }

    /// Sends what was decided on this core until nothing waits.
    async fn send_out(&self) {
        let Some(mut sending) = self.outbox.send() else { return };
        loop {
            let letters = sending.next();
            if letters.is_empty() {
                return;
            }
            let settled = letters.iter().map(|letter| (&letter.name, &letter.settled, letter.now));
            let heard = self.tell_each(settled).await;
            for (Letter { told, .. }, heard) in letters.into_iter().zip(heard) {
                if heard.is_ok() {
                    told();
                }
            }
        }
    }

    /// Tells of showings that were decided, all at once; in their order, whether Redis has heard of it.
    pub async fn tell_each<'s>(
        &self,
        settled: impl Iterator<Item = (&'s ClaimName, &'s Settled, Timestamp)>,
    ) -> Vec<Result<(), Away>> {
        let each: Vec<_> = settled.map(|(name, settled, now)| self.report(name, settled, now)).collect();
        let reports: Vec<_> =
            each.iter().flatten().map(|report| (report.key(), report.arguments())).collect();
        let questions: Vec<_> = reports
            .iter()
            .map(|(keys, arguments)| Question { script: &self.settle, keys, arguments })
            .collect();
        let heard: Vec<Result<i64, _>> = self.redis.run_each("settle", &questions, BESIDE).await;
        let mut heard = heard.into_iter().map(|heard| heard.map(drop));
        each.iter()
            .map(|report| report.as_ref().and_then(|_| heard.next()).unwrap_or(Err(Away::Refused)))
            .collect()
    }

    /// What Redis is told of a showing; `None`: its outcome cannot be sealed.
    fn report(&self, name: &ClaimName, settled: &Settled, now: Timestamp) -> Option<Report> {
        let Settled { showing, first, until, outcome } = settled;
        let state: &'static [u8] = match outcome.map(|finding| finding.verdict) {
            None => b"d",
            Some(Verdict::Inspect(_)) => b"f",
            Some(Verdict::Allow(_)) => b"u",
        };
        let sealed = outcome.map(|finding| self.keys.seal(&records::of_finding(finding), &place(name)));
        Some(Report {
            key: self.claim_key(name),
            device: showing.device.tag(),
            request: showing.request.tag(),
            verdict: showing.verdict_id,
            shown: milliseconds(showing.at).to_string(),
            kept: kept(*until, now).to_string(),
            state,
            first: *first,
            sealed: sealed.transpose().ok()?.unwrap_or_default(),
        })
    }

    /// What is known of an account. One round trip.
    pub async fn recall(&self, account: &Tag, left: Duration) -> Option<Account> {
        let key = self.account_key(account);
        let answer = self.redis.run(&self.recall, "recall", &[key.as_bytes()], &[], self.cap.min(left)).await;
        answer.ok().map(|(link, facts)| Account { link, facts })
    }

    /// The link that an account had.
    pub fn link_of(&self, account: &Tag, found: &Account) -> Option<SharedLink> {
        let plain = self.open(found.link.as_deref()?, &part(account, b"link"))?;
        records::link(&plain)
    }

    /// The facts that were known of whoever an account was linked to.
    pub fn facts_of(&self, account: &Tag, found: &Account) -> Option<SharedFacts> {
        let plain = self.open(found.facts.as_deref()?, &part(account, b"facts"))?;
        records::facts(&plain)
    }

    /// What was found out of an account. Not waited for.
    pub fn put(self: &Arc<Self>, account: Tag, link: Option<SharedLink>, facts: Option<SharedFacts>) {
        let shared = Arc::clone(self);
        self.beside(async move {
            let _missed = shared.write(&account, link.as_ref(), facts.as_ref()).await;
        });
    }

    /// Writes what was found out of an account, unless newer facts are there.
    pub async fn write(
        &self,
        account: &Tag,
        link: Option<&SharedLink>,
        facts: Option<&SharedFacts>,
    ) -> Result<(), Away> {
        let seal = |plain: Option<Vec<u8>>, what: &[u8]| {
            let sealed = plain.map(|plain| self.keys.seal(&plain, &part(account, what)));
            sealed.transpose().map_err(|_| Away::Refused).map(Option::unwrap_or_default)
        };
        let sealed_link = seal(link.map(records::of_link), b"link")?;
        let sealed_facts = seal(facts.map(records::of_facts), b"facts")?;
        let whose = facts.map_or(Tag([0; 16]), |facts| {
            self.keys.pseudonym(Use::Account, &[b"whose", facts.subject.expose().as_bytes()]).tag()
        });
        let as_of = facts.map_or(0, |facts| milliseconds(facts.facts.as_of)).to_string();
        let kept = KEPT.as_millis().to_string();
        let arguments: [&[u8]; 5] =
            [kept.as_bytes(), &sealed_link, &sealed_facts, &whose.0, as_of.as_bytes()];
        let key = self.account_key(account);
        self.redis.run::<i64>(&self.put, "put", &[key.as_bytes()], &arguments, BESIDE).await.map(drop)
    }

    /// An account's link has ended: what is known of it is of no use any more. Not waited for.
    pub fn forget(self: &Arc<Self>, account: Tag) {
        let shared = Arc::clone(self);
        self.beside(async move {
            let key = shared.account_key(&account);
            let _missed =
                shared.redis.run::<i64>(&shared.forget, "forget", &[key.as_bytes()], &[], BESIDE).await;
        });
    }

    /// Deletes what is known of every account, and what partners have said of codes; tells how many of both. Claims stay:
    /// a code that was used is used.
    pub async fn sweep(&self) -> Result<u64, Away> {
        let accounts = self.redis.sweep(&format!("{}:*:a", self.prefix)).await?;
        Ok(accounts + self.redis.sweep(&format!("{}:r:*", self.prefix)).await?)
    }

    /// Does what nobody waits for, if there is room for it and somebody to tell.
    fn beside(&self, work: impl Future<Output = ()> + Send + 'static) {
        if self.redis.is_there()
            && let Ok(turn) = Arc::clone(&self.room).try_acquire_owned()
        {
            tokio::spawn(async move {
                work.await;
                drop(turn);
            });
        }
    }

    fn open(&self, sealed: &[u8], place: &Pseudonym) -> Option<Vec<u8>> {
        self.keys.open(sealed, place).ok()
    }

    pub(super) fn claim_key(&self, name: &ClaimName) -> String {
        format!("{}:{{{}}}:c:{}", self.prefix, hex::encode(name.slot.0), hex::encode(name.claim.0))
    }

    fn account_key(&self, account: &Tag) -> String {
        format!("{}:{{{}}}:a", self.prefix, hex::encode(account.0))
    }
}

/// What every key begins with: gateways of another secret do not meet here, nor those of another form of values.
pub fn prefix(keys: &Keyring) -> String {
    let [a, b, c, d, ..] = keys.steady_check().0;
    format!("rg1:{}", hex::encode([a, b, c, d]))
}

/// What a claim is sealed to.
fn place(name: &ClaimName) -> Pseudonym {
    joined(&name.slot, &name.claim)
}

/// What a part of an account is sealed to.
fn part(account: &Tag, what: &[u8]) -> Pseudonym {
    let mut half = Tag([0; 16]);
    half.0.iter_mut().zip(what).for_each(|(to, from)| *to = *from);
    joined(account, &half)
}

fn joined(first: &Tag, second: &Tag) -> Pseudonym {
    let mut name = [0; 32];
    let (front, back) = name.split_at_mut(16);
    front.copy_from_slice(&first.0);
    back.copy_from_slice(&second.0);
    Pseudonym(name)
}

fn milliseconds(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// How long a claim is kept, in milliseconds; not at all where nothing is left.
fn kept(until: Timestamp, now: Timestamp) -> i64 {
    let left = until.duration_since(now).saturating_add(CLOCKS_DIFFER);
    i64::try_from(left.as_millis()).unwrap_or(i64::MAX).max(0)
}

/// One showing that was decided, on its way to Redis.
struct Letter {
    name: ClaimName,
    settled: Settled,
    now: Timestamp,
    /// Told when Redis has heard of it. Otherwise it is told again later.
    told: Box<dyn FnOnce() + Send + Sync>,
}

/// What `settle.lua` takes.
struct Report {
    key: String,
    device: Tag,
    request: Tag,
    verdict: Uuid,
    shown: String,
    kept: String,
    state: &'static [u8],
    first: Uuid,
    sealed: Vec<u8>,
}

impl Report {
    const fn key(&self) -> [&[u8]; 1] {
        [self.key.as_bytes()]
    }

    const fn arguments(&self) -> [&[u8]; 8] {
        [
            &self.device.0,
            &self.request.0,
            self.verdict.as_bytes(),
            self.shown.as_bytes(),
            self.kept.as_bytes(),
            self.state,
            self.first.as_bytes(),
            self.sealed.as_slice(),
        ]
    }
}

/// Ruling, first verdict, sealed outcome, sealed link, sealed facts.
struct Answer(Vec<u8>, Vec<u8>, Vec<u8>, Option<Vec<u8>>, Option<Vec<u8>>);

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, redis::ParsingError> {
        let (ruling, first, outcome, link, facts) = FromRedisValue::from_redis_value(value)?;
        Ok(Self(ruling, first, outcome, link, facts))
    }
}
