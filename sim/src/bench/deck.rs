//! The codes that will be shown, made and signed before anybody taps, each with what it must be answered with.

use std::{sync::Arc, thread, time::Instant};

use anyhow::{Context, Result, bail, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use ridegate_adapters::MAX_VALIDITY_S;
use tokio::sync::mpsc;

use super::{
    crowd::{self, Crowd, Known, Person},
    mix::{Class, Mix},
};
use crate::{
    plan::{Expected, enters},
    progress::{Progress, progress},
    riders::Rider,
    trust::{Phone, Trust},
};

/// So many taps are at least between a code and its replay: most are answered by then.
const APART: usize = 128;
/// How often a code is looked for that could be shown again.
const TRIES: usize = 16;
/// How long ago a code ran out that is shown too late.
const OVER_S: u32 = 120;
/// Signatures between two steps of the bar.
const PORTION: usize = 500;

/// One code that is shown.
pub(super) struct Tap {
    pub(super) class: Class,
    pub(super) code: Vec<u8>,
    /// Whose turn it is to show it: a caller's number, counted without end.
    pub(super) caller: usize,
    pub(super) due: Due,
}

/// What a tap must be answered with.
pub(super) enum Due {
    /// This.
    Verdict(Expected),
    /// That it was used before, if that tap was let in; what the rider is told otherwise.
    Replay(usize),
    /// That its partner shows too many; of one that it may show, that it ran out.
    Throttled,
}

/// A tap whose code is not signed yet.
struct Draft {
    class: Class,
    what: What,
    due: Due,
    caller: usize,
}

enum What {
    /// A code of this second.
    Code(Phone, u32),
    /// A code of this second, signed by another phone.
    Forged(Phone, u32),
    /// The first code of a new phone.
    First { partner: String, account: String, second: u32 },
    /// The code of that tap.
    Again(usize),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// So many taps, and since when the first of their codes has been valid.
pub(super) async fn make(count: usize, mix: &Mix, crowd: &mut Crowd) -> Result<(Vec<Tap>, Instant)> {
    let classes: Vec<_> = (0..count).map(|_| mix.class(crowd.rng.random())).collect();
    let fresh = classes.iter().filter(|class| **class == Class::Fresh).count();
    let mut fresh = crowd.fresh(fresh).await?.into_iter();
    let since = Instant::now();
    let mut drafts = Vec::with_capacity(count);
    let throttled = crowd.throttled()?;
    // Whoever has shown a code is last in the queue.
    let mut turn = crowd.rng.random_range(0..crowd.known.len());
    for (place, class) in classes.into_iter().enumerate() {
        let draft = match class {
            Class::Fresh => match fresh.next() {
                Some(person) => first(class, person, mix, place, crowd::now()?.saturating_sub(1))?,
                // Their partner has no room for more.
                None => by_known(Class::Known, place, &mut turn, mix, crowd)?,
            },
            Class::Replay => match replayed(&drafts, &mut crowd.rng) {
                Some(of) => again(of, &drafts)?,
                // Nothing was let in yet.
                None => by_known(Class::Known, place, &mut turn, mix, crowd)?,
            },
            Class::Throttled => {
                let what =
                    What::Code(throttled.clone().context("nobody is throttled")?, ran_out(crowd::now()?));
                Draft { class, what, due: Due::Throttled, caller: place }
            }
            Class::Unrecognized => unrecognized(place, &mut crowd.rng),
            _ => by_known(class, place, &mut turn, mix, crowd)?,
        };
        drafts.push(draft);
    }
    let trust = Arc::clone(&crowd.trust);
    let seed = crowd.rng.random();
    let (wanted, until) = mpsc::channel(1);
    let taps = tokio::task::spawn_blocking(move || sign(drafts, &trust, seed, &wanted)).await?;
    drop(until);
    Ok((taps?, since))
}

/// A new phone's first code, of this second.
fn first(class: Class, person: Person, mix: &Mix, place: usize, second: u32) -> Result<Draft> {
    let Person { partner, rider, account } = person;
    let partner = mix.partners.get(partner).context("no such partner")?.partner.clone();
    let what = What::First { partner, account, second };
    Ok(Draft { class, what, due: Due::Verdict(enters(rider)), caller: place })
}

/// A tap of the known rider whose turn it is.
fn by_known(class: Class, place: usize, turn: &mut usize, mix: &Mix, crowd: &mut Crowd) -> Result<Draft> {
    let now = crowd::now()?;
    let count = crowd.known.len();
    for _ in 0..count {
        *turn = (*turn + 1) % count;
        let Some(known) = crowd.known.get_mut(*turn) else { continue };
        if class == Class::Phone {
            // A code's second is its account's, whichever phone shows it.
            let Some(second) = known.second(now) else { continue };
            return first(class, known.person.clone(), mix, place, second);
        }
        if let Some((what, expected)) = shown(class, known, now) {
            return Ok(Draft { class, what, due: Due::Verdict(expected), caller: place });
        }
    }
    bail!(
        "riders: each of {count} has shown a code of every second of ten minutes; ask for more riders, or for fewer taps"
    )
}

/// When a code was made that has run out.
fn ran_out(now: u32) -> u32 {
    now - u32::from(MAX_VALIDITY_S) - OVER_S
}

/// What somebody shows whose app is none of ours.
fn unrecognized(place: usize, rng: &mut ChaCha20Rng) -> Draft {
    let link = format!("https://ticket.example/{:032x}", rng.random::<u128>());
    let expected = Expected { allow: false, reason: "CODE_UNRECOGNIZED", ..enters(Rider::Unlinked) };
    let (what, due) = (What::Bytes(link.into()), Due::Verdict(expected));
    Draft { class: Class::Unrecognized, what, due, caller: place }
}

fn shown(class: Class, known: &mut Known, now: u32) -> Option<(What, Expected)> {
    let phone = known.phone.clone();
    let untrusted = |reason| Expected { allow: false, reason, ..enters(Rider::Unlinked) };
    Some(match class {
        Class::Expired => (What::Code(phone, ran_out(now)), untrusted("CODE_EXPIRED")),
        Class::Forged => (What::Forged(phone, known.second(now)?), untrusted("CODE_UNTRUSTED")),
        _ => (What::Code(phone, known.second(now)?), enters(known.person.rider)),
    })
}

/// A tap long enough ago whose code will be let in.
fn replayed(drafts: &[Draft], rng: &mut ChaCha20Rng) -> Option<usize> {
    let before = drafts.len().checked_sub(APART).filter(|before| *before > 0)?;
    (0..TRIES).map(|_| rng.random_range(0..before)).find(|place| {
        drafts.get(*place).is_some_and(|draft| match &draft.due {
            Due::Verdict(expected) => expected.allow,
            Due::Replay(_) | Due::Throttled => false,
        })
    })
}

fn again(of: usize, drafts: &[Draft]) -> Result<Draft> {
    let caller = drafts.get(of).context("no such tap")?.caller + 1;
    Ok(Draft { class: Class::Replay, what: What::Again(of), due: Due::Replay(of), caller })
}

/// On all cores, as long as the codes are wanted.
fn sign(drafts: Vec<Draft>, trust: &Trust, seed: u64, wanted: &mpsc::Sender<()>) -> Result<Vec<Tap>> {
    let each = drafts.len().div_ceil(super::cores()?).max(1);
    let progress = progress(drafts.len().div_ceil(PORTION), "codes are signed, by 500 ");
    let mut codes = thread::scope(|scope| {
        let threads: Vec<_> = drafts
            .chunks(each)
            .zip(0..)
            .map(|(drafts, chunk)| {
                let rng = ChaCha20Rng::seed_from_u64(seed.wrapping_add(chunk));
                let progress = progress.clone();
                scope.spawn(move || signed(drafts, trust, rng, &progress, wanted))
            })
            .collect();
        let mut codes = Vec::with_capacity(drafts.len());
        for thread in threads {
            codes.extend(thread.join().ok().context("signing ended early")??);
        }
        anyhow::Ok(codes)
    })?;
    progress.finish();
    for (place, draft) in drafts.iter().enumerate() {
        if let What::Again(of) = draft.what {
            let code = codes.get(of).context("no such tap")?.clone();
            ensure!(!code.is_empty(), "a code is shown before it is made");
            *codes.get_mut(place).context("no such tap")? = code;
        }
    }
    let tap = |(Draft { class, due, caller, .. }, code)| Tap { class, code, caller, due };
    Ok(drafts.into_iter().zip(codes).map(tap).collect())
}

fn signed(
    drafts: &[Draft],
    trust: &Trust,
    mut rng: ChaCha20Rng,
    progress: &Progress,
    wanted: &mpsc::Sender<()>,
) -> Result<Vec<Vec<u8>>> {
    let mut codes = Vec::with_capacity(drafts.len());
    for (place, draft) in drafts.iter().enumerate() {
        codes.push(match &draft.what {
            What::Code(phone, second) => phone.code(*second)?,
            What::Forged(phone, second) => phone.forged(*second, &mut rng)?,
            What::First { partner, account, second } => {
                crowd::authorise(trust, partner, account, &mut rng)?.code(*second)?
            }
            What::Again(_) => Vec::new(),
            What::Bytes(bytes) => bytes.clone(),
        });
        if place.is_multiple_of(PORTION) {
            ensure!(!wanted.is_closed(), "nobody waits for the codes any more");
            progress.step();
        }
    }
    Ok(codes)
}
