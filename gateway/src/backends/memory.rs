//! Claims in this process.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::domain::{
    claim::{Claim, Ruling, Showing, judge},
    pseudonym::Pseudonym,
    verdict::Finding,
};

/// Enough that two taps rarely wait for each other.
const SHARDS: usize = 64;
/// A shard is not swept before it holds this many.
const SWEEP_FROM: usize = 256;

/// A table of claims. None is dropped before its code is over: a claim forgotten is a replay let in.
#[derive(Debug)]
pub struct ClaimTable {
    shards: Vec<Mutex<Shard>>,
}

#[derive(Debug)]
struct Shard {
    claims: HashMap<Pseudonym, Claim>,
    sweep_at: usize,
}

impl Default for ClaimTable {
    fn default() -> Self {
        let shard = || Mutex::new(Shard { claims: HashMap::new(), sweep_at: SWEEP_FROM });
        Self { shards: std::iter::repeat_with(shard).take(SHARDS).collect() }
    }
}

impl ClaimTable {
    /// Judges a showing against what is known of its code, and makes it the claim if it is fresh.
    pub fn take(
        &self,
        key: Pseudonym,
        next: Showing,
        until: Timestamp,
        double_read: SignedDuration,
    ) -> Ruling {
        let Some(mut shard) = self.shard(&key) else { return Ruling::Replayed };
        let now = next.at;
        shard.sweep(now);
        match shard.claims.entry(key) {
            Entry::Vacant(free) => {
                free.insert(Claim::new(next, until));
                Ruling::Fresh
            }
            Entry::Occupied(mut known) => {
                let over = known.get().is_over(now);
                let ruling = if over { Ruling::Fresh } else { judge(known.get(), &next, double_read) };
                if ruling == Ruling::Fresh {
                    known.insert(Claim::new(next, until));
                }
                ruling
            }
        }
    }

    /// Records the outcome of the claim that the verdict `of` made, if it is still there.
    pub fn record(&self, key: &Pseudonym, of: Uuid, finding: Finding) {
        if let Some(mut shard) = self.shard(key)
            && let Some(claim) = shard.claims.get_mut(key).filter(|claim| claim.is_of(of))
        {
            claim.record(finding);
        }
    }

    /// Gives back a claim that was never decided.
    pub fn release(&self, key: &Pseudonym, of: Uuid) {
        if let Some(mut shard) = self.shard(key)
            && shard.claims.get(key).is_some_and(|claim| claim.is_of(of) && claim.is_open())
        {
            shard.claims.remove(key);
        }
    }

    /// How many claims it holds.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).claims.len()).sum()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, key: &Pseudonym) -> Option<MutexGuard<'_, Shard>> {
        let [first, ..] = key.0;
        self.shards.get(usize::from(first) % SHARDS).map(lock)
    }
}

impl Shard {
    /// Drops what is over, each time the shard has doubled: a constant share of every insertion.
    fn sweep(&mut self, now: Timestamp) {
        if self.claims.len() >= self.sweep_at {
            self.claims.retain(|_, claim| !claim.is_over(now));
            self.sweep_at = SWEEP_FROM.max(self.claims.len() * 2);
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
