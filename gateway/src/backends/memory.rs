//! Claims in this process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use indexmap::{IndexMap, map::Entry};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::domain::{
    claim::{Claim, Ruling, Showing, judge},
    pseudonym::Tag,
    verdict::Finding,
};

/// A claim's name, and the slot that the fleet keeps it in: its account's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClaimName {
    /// The account.
    pub slot: Tag,
    /// The claim.
    pub claim: Tag,
}

/// Enough that two taps rarely wait for each other.
const SHARDS: usize = 64;
/// A shard is not swept before it holds this many.
const SWEEP_FROM: usize = 256;

/// A table of claims. None is dropped before its code is over: a claim forgotten is a replay let in.
#[derive(Debug)]
pub struct ClaimTable {
    shards: Vec<Mutex<Shard>>,
}

/// Claims lie one after the other, so that a shard takes as much memory as it holds claims: of a table of buckets it would
/// be a power of two, and a shard here and there that holds a few more than the others would take twice as much.
#[derive(Debug)]
struct Shard {
    claims: IndexMap<ClaimName, Claim>,
    sweep_at: usize,
}

impl Default for ClaimTable {
    fn default() -> Self {
        let shard = || Mutex::new(Shard { claims: IndexMap::new(), sweep_at: SWEEP_FROM });
        Self { shards: std::iter::repeat_with(shard).take(SHARDS).collect() }
    }
}

impl ClaimTable {
    /// Judges a showing against what is known of its code, and makes it the claim if it is fresh.
    pub fn take(
        &self,
        key: ClaimName,
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
                let request = next.request;
                let ruling = if over { Ruling::Fresh } else { judge(known.get(), &next, double_read) };
                match ruling {
                    Ruling::Fresh => drop(known.insert(Claim::new(next, until))),
                    Ruling::Repeat { .. } => known.get_mut().repeat(request),
                    Ruling::Replayed => {}
                }
                known.get_mut().keep_until(until);
                ruling
            }
        }
    }

    /// The fleet takes this showing for the first. What is used up here, or being decided, stays as it is.
    pub fn begin_anew(&self, key: ClaimName, first: Showing, until: Timestamp) {
        if let Some(mut shard) = self.shard(&key) {
            match shard.claims.entry(key) {
                Entry::Vacant(free) => {
                    free.insert(Claim::new(first, until));
                }
                Entry::Occupied(mut known) if known.get().is_free() => {
                    known.insert(Claim::new(first, until));
                }
                Entry::Occupied(_) => {}
            }
        }
    }

    /// Records the outcome of the claim that the verdict `of` made, if it is still there.
    pub fn record(&self, key: &ClaimName, of: Uuid, finding: Finding) {
        self.change(key, of, |claim| claim.record(finding));
    }

    /// A showing of the claim that the verdict `of` made will not be decided. When none is, the claim is given back.
    pub fn release(&self, key: &ClaimName, of: Uuid) {
        if let Some(mut shard) = self.shard(key)
            && let Some(claim) = shard.claims.get_mut(key).filter(|claim| claim.is_of(of))
            && claim.leave()
        {
            shard.claims.swap_remove(key);
        }
    }

    /// The fleet has heard of this outcome of the claim that the verdict `of` made.
    pub fn told(&self, key: &ClaimName, of: Uuid, outcome: Finding) {
        self.change(key, of, |claim| claim.told(Some(outcome)));
    }

    /// The fleet knows of a verdict before that which made the claim here.
    pub fn know_as(&self, key: &ClaimName, of: Uuid, first: Uuid) {
        self.change(key, of, |claim| claim.know_as(first));
    }

    /// The fleet may have lost everything that it was told.
    pub fn forget_told(&self) {
        for shard in &self.shards {
            lock(shard).claims.values_mut().for_each(|claim| claim.told(None));
        }
    }

    /// Claims that were decided and the fleet does not know, of codes that are not over and were shown before then. A shard
    /// at a time.
    pub fn untold(
        &self,
        shown_before: Timestamp,
        now: Timestamp,
    ) -> impl Iterator<Item = Vec<(ClaimName, Claim)>> {
        self.shards.iter().map(move |shard| {
            let is_wanted = |claim: &Claim| !claim.is_over(now) && claim.is_untold(shown_before);
            let shard = lock(shard);
            let wanted = shard.claims.iter().filter(|(_, claim)| is_wanted(claim));
            wanted.map(|(name, claim)| (*name, claim.clone())).collect()
        })
    }

    fn change(&self, key: &ClaimName, of: Uuid, change: impl FnOnce(&mut Claim)) {
        if let Some(mut shard) = self.shard(key)
            && let Some(claim) = shard.claims.get_mut(key).filter(|claim| claim.is_of(of))
        {
            change(claim);
        }
    }

    /// How many are held, over or not.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).claims.len()).sum()
    }

    fn shard(&self, key: &ClaimName) -> Option<MutexGuard<'_, Shard>> {
        let Tag([first, ..]) = key.claim;
        self.shards.get(usize::from(first) % SHARDS).map(lock)
    }
}

impl Shard {
    /// Drops what is over each time that half as many have come as were left the last time: a constant share of every
    /// insertion. After a rush the room for it is given back.
    fn sweep(&mut self, now: Timestamp) {
        if self.claims.len() >= self.sweep_at {
            self.claims.retain(|_, claim| !claim.is_over(now));
            let live = self.claims.len();
            self.sweep_at = SWEEP_FROM.max(live + live / 2);
            if self.claims.capacity() > 4 * self.sweep_at {
                self.claims.shrink_to(self.sweep_at);
            }
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pseudonym::Pseudonym;
    use crate::domain::verdict::{Inspect, Verdict};

    const DOUBLE_READ: SignedDuration = SignedDuration::from_secs(3);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn key(number: u32) -> ClaimName {
        let mut name = [0; 16];
        // All in one shard.
        name[1..5].copy_from_slice(&number.to_be_bytes());
        ClaimName { slot: Tag([0; 16]), claim: Tag(name) }
    }

    fn showing(device: u8, second: i64) -> Showing {
        let tag = Pseudonym([device; 32]);
        Showing { device: tag, request: tag, verdict_id: Uuid::from_u128(device.into()), at: at(second) }
    }

    #[test]
    fn a_claim_holds_until_its_code_is_over_and_no_longer() {
        let table = ClaimTable::default();
        let take = |device, second| table.take(key(1), showing(device, second), at(100), DOUBLE_READ);
        assert_eq!(take(1, 10), Ruling::Fresh);
        assert_eq!(take(2, 100), Ruling::Replayed);
        assert_eq!(take(2, 101), Ruling::Fresh);
    }

    /// A partner that tells of a code each time that it lives longer does not let it in twice.
    #[test]
    fn a_claim_holds_as_long_as_any_showing_says() {
        let table = ClaimTable::default();
        let take =
            |device, second, until| table.take(key(1), showing(device, second), at(until), DOUBLE_READ);
        assert_eq!(take(1, 10, 100), Ruling::Fresh);
        assert_eq!(take(2, 90, 180), Ruling::Replayed);
        assert_eq!(take(2, 170, 260), Ruling::Replayed);
        assert_eq!(take(2, 261, 300), Ruling::Fresh);
    }

    /// Nor does it ever have room for twice as many as it holds at most.
    #[test]
    fn a_table_that_lives_for_days_stays_as_large_as_what_it_holds() {
        let table = ClaimTable::default();
        let (mut most, mut room) = (0, 0);
        // A tap a second in one shard, of codes that live for seven minutes.
        for second in 0..86_400 {
            table.take(key(second), showing(1, second.into()), at(i64::from(second) + 420), DOUBLE_READ);
            let shard = lock(&table.shards[0]);
            (most, room) = (most.max(shard.claims.len()), room.max(shard.claims.capacity()));
        }
        assert!(most >= 420, "what is not over is there");
        assert!(room < 2 * most, "room for {room}, of whom there are {most} at most");
    }

    #[test]
    fn what_a_rush_took_is_given_back() {
        let table = ClaimTable::default();
        for number in 0..30_000 {
            table.take(key(number), showing(1, 10), at(100), DOUBLE_READ);
        }
        let room = || lock(&table.shards[0]).claims.capacity();
        assert!(room() >= 30_000);
        for number in 30_000..90_000 {
            table.take(key(number), showing(1, number.into()), at(i64::from(number) + 60), DOUBLE_READ);
        }
        assert!(room() < 1_000, "room for {} of 60", room());
    }

    #[test]
    fn what_is_over_is_swept_and_nothing_else() {
        let table = ClaimTable::default();
        for number in 0..10_000 {
            table.take(key(number), showing(1, 10), at(100), DOUBLE_READ);
        }
        assert_eq!(table.held(), 10_000, "none is dropped early");
        for number in 10_000..40_000 {
            table.take(key(number), showing(1, 101), at(200), DOUBLE_READ);
        }
        assert_eq!(table.held(), 30_000, "those of the first ten thousand codes are over");
    }

    #[test]
    fn an_outcome_is_recorded_for_the_claim_it_belongs_to_only() {
        let table = ClaimTable::default();
        let finding =
            Finding { verdict: Verdict::Inspect(Inspect::NotLinked), evidence_as_of: None, degraded: None };
        table.take(key(1), showing(1, 10), at(100), DOUBLE_READ);
        table.record(&key(1), showing(9, 10).verdict_id, finding);
        assert_eq!(
            table.take(key(1), showing(2, 10), at(100), DOUBLE_READ),
            Ruling::Replayed,
            "still being decided"
        );
        table.record(&key(1), showing(1, 10).verdict_id, finding);
        assert_eq!(table.take(key(1), showing(2, 10), at(100), DOUBLE_READ), Ruling::Fresh);
    }

    #[test]
    fn a_caller_that_goes_away_takes_no_repeat_with_it() {
        let table = ClaimTable::default();
        let first = showing(1, 10);
        table.take(key(1), first.clone(), at(100), DOUBLE_READ);
        assert!(matches!(
            table.take(key(1), showing(1, 11), at(100), DOUBLE_READ),
            Ruling::Repeat { outcome: None, .. }
        ));
        table.release(&key(1), first.verdict_id);
        assert_eq!(
            table.take(key(1), showing(2, 12), at(100), DOUBLE_READ),
            Ruling::Replayed,
            "the repeat decides"
        );
        table.release(&key(1), first.verdict_id);
        assert_eq!(table.take(key(1), showing(2, 12), at(100), DOUBLE_READ), Ruling::Fresh, "nobody did");
    }
}
