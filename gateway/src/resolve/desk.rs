//! What is shared by those who ask for facts, those who call the authority, and the watch: what is remembered, and
//! which look-ups are on their way. One lock orders answers, changes and the watch's state.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::watch;

use crate::{
    backends::{
        authority::AuthorityError,
        redis::shared::{CLOCKS_DIFFER, SharedFacts},
    },
    clock::Clock,
    domain::facts::{Facts, Subject},
    resolve::{
        changed::Changed,
        facts::{Entry, FactsCache, Freshness, Known, NO_EPOCH, Watch},
    },
};

/// The desk.
#[derive(Debug)]
pub struct Desk {
    clock: Clock,
    freshness: Freshness,
    cache: FactsCache,
    changed: Changed,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watch: Watch,
    /// Every change after this was heard of.
    since: Option<Timestamp>,
    /// What was asked for before this is not trusted, whoever asked.
    distrusted: Option<Timestamp>,
    pending: HashMap<Subject, Pending>,
}

/// A look-up on its way.
#[derive(Debug)]
struct Pending {
    /// Told the answer; closed without one if it came to nothing.
    answer: watch::Receiver<Option<Known>>,
    tell: Option<watch::Sender<Option<Known>>>,
    /// When it was asked, and in which epoch.
    asked_at: Timestamp,
    epoch: u64,
    /// A change that arrived meanwhile.
    pushed: Option<Entry>,
    /// The subject's link ended meanwhile: the answer serves, but is not remembered.
    over: bool,
}

impl Desk {
    /// An empty memory.
    pub fn new(clock: Clock, freshness: Freshness, capacity: usize) -> Self {
        let (cache, changed) = (FactsCache::new(capacity), Changed::new());
        Self { clock, freshness, cache, changed, state: Mutex::default() }
    }

    pub(super) fn recall(&self, subject: &Subject) -> Known {
        let Some(entry) = self.cache.get(subject) else { return Known::Nothing };
        let watch = self.state().watch;
        entry.worth(&watch, self.clock.now(), &self.freshness)
    }

    /// Takes over what another replica was told, as far as it may be believed: of what was asked for since this process
    /// hears of changes, and has not changed by then, every later change is heard of here. What was asked for before
    /// serves only if nobody else can be asked.
    pub(super) fn adopt(&self, shared: &SharedFacts) -> Known {
        let SharedFacts { subject, facts, asked_at } = shared;
        let (state, now) = (self.state(), self.clock.now());
        let ahead = asked_at.duration_since(now) > CLOCKS_DIFFER;
        let Ok(doubtful) = asked_at.checked_sub(CLOCKS_DIFFER) else { return Known::Nothing };
        let distrusted = state.distrusted.is_some_and(|before| doubtful < before);
        if ahead || distrusted || self.changed.since(subject, doubtful) {
            return Known::Nothing;
        }
        let heard = state.since.is_some_and(|since| doubtful >= since);
        let epoch = if heard { state.watch.epoch } else { NO_EPOCH };
        let mut entry = Entry::new(Some(facts.clone()), *asked_at, epoch);
        if heard {
            self.cache.merge(subject, entry.clone());
            // What is remembered may be newer.
            entry = self.cache.get(subject).map_or(entry, |known| Entry::clone(&known));
        }
        match entry.worth(&state.watch, now, &self.freshness) {
            // Also by a process that hears of no changes yet.
            Known::Facts { facts, as_of } if !heard => Known::Stale { facts, as_of },
            known => known,
        }
    }

    /// What the authority said of a subject, for others to take over.
    pub(super) fn shared(&self, subject: &Subject) -> Option<SharedFacts> {
        let entry = self.cache.get(subject)?;
        let facts = Facts::clone(entry.facts.as_ref()?);
        Some(SharedFacts { subject: subject.clone(), facts, asked_at: entry.fetched_at })
    }

    /// Joins the look-up of a subject; the first to ask must send it on its way.
    pub(super) fn join(&self, subject: &Subject) -> (watch::Receiver<Option<Known>>, bool) {
        let mut state = self.state();
        let epoch = state.watch.epoch;
        if let Some(pending) = state.pending.get(subject)
            && pending.answer.has_changed().is_ok()
        {
            return (pending.answer.clone(), false);
        }
        let (tell, answer) = watch::channel(None);
        let pending = Pending {
            answer: answer.clone(),
            tell: Some(tell),
            asked_at: self.clock.now(),
            epoch,
            pushed: None,
            over: false,
        };
        state.pending.insert(subject.clone(), pending);
        (answer, true)
    }

    pub(super) fn abandon(&self, subject: &Subject) {
        self.state().pending.remove(subject);
    }

    /// Takes up a look-up whose turn has come, unless everybody who asked has gone.
    pub(super) fn take_up(&self, subject: &Subject) -> Option<watch::Sender<Option<Known>>> {
        let mut state = self.state();
        let pending = state.pending.get_mut(subject)?;
        let tell = pending.tell.take()?;
        // The desk's own receiver is one; anybody else still waiting makes two.
        if tell.receiver_count() > 1 {
            return Some(tell);
        }
        state.pending.remove(subject);
        None
    }

    /// What the authority's answer comes to, and remembers it. A change that arrived meanwhile and is newer wins.
    pub(super) fn complete(
        &self,
        subject: &Subject,
        answer: Result<Option<Facts>, AuthorityError>,
    ) -> Option<Known> {
        let mut state = self.state();
        let pending = state.pending.remove(subject)?;
        let over = pending.over;
        let now = self.clock.now();
        let answered = answer.ok().map(|facts| Entry::new(facts, pending.asked_at, pending.epoch));
        // A change may come late: it is no newer for that than the question.
        let pushed = pending.pushed.map(|pushed| Entry { fetched_at: pending.asked_at, ..pushed });
        let entry = match (answered, pushed) {
            (Some(answered), Some(pushed)) if !answered.overtakes(&pushed) => pushed,
            (Some(answered), _) => answered,
            (None, pushed) => pushed?,
        };
        // What was known and is newer stays, and was asked for just now: nobody knows anything newer.
        let entry = match self.cache.get(subject) {
            Some(known) if !entry.supersedes(&known) => Entry { facts: known.facts.clone(), ..entry },
            Some(_) | None => entry,
        };
        // An answer asked for before changes were missed may have missed them too: it serves, but is not remembered.
        if entry.epoch == state.watch.epoch && !over {
            self.cache.merge(subject, entry.clone());
        }
        Some(entry.worth(&state.watch, now, &self.freshness))
    }

    /// A change arrived. Kept for subjects that are remembered or being asked for; the rest of the city is not ours
    /// to remember.
    pub fn change(&self, subject: &Subject, facts: Option<Facts>) {
        let mut state = self.state();
        self.changed.note(subject, self.clock.now());
        let entry = Entry::new(facts, self.clock.now(), state.watch.epoch);
        if let Some(pending) = state.pending.get_mut(subject)
            && pending.pushed.as_ref().is_none_or(|known| entry.supersedes(known))
        {
            pending.pushed = Some(entry.clone());
        }
        if self.cache.get(subject).is_some() {
            self.cache.merge(subject, entry);
        }
    }

    /// Nobody is linked to this subject any more, as far as is known here: its facts are kept no longer.
    pub fn forget(&self, subject: &Subject) {
        let mut state = self.state();
        if let Some(pending) = state.pending.get_mut(subject) {
            pending.over = true;
        }
        self.cache.remove(subject);
    }

    /// Nobody may be linked any more.
    pub fn forget_all(&self) {
        let mut state = self.state();
        state.pending.values_mut().for_each(|pending| pending.over = true);
        self.cache.clear();
    }

    /// Facts that were asked for before this are kept no longer. Tells how many.
    pub fn forget_before(&self, at: Timestamp) -> usize {
        self.cache.remove_before(at)
    }

    /// Every change up to now has arrived.
    pub fn vouch(&self) {
        let mut state = self.state();
        let now = self.clock.now();
        state.watch.running = true;
        state.watch.vouched = Some(now);
        state.since.get_or_insert(now);
    }

    /// Changes no longer arrive, but none was missed yet.
    pub fn pause(&self) {
        self.state().watch.running = false;
    }

    /// Changes were missed, or may have been: nothing before this is trusted, here or in what others have left.
    pub fn lose_track(&self) {
        let now = self.clock.now();
        self.state().distrusted = Some(now);
        self.begin();
    }

    /// Changes are heard of from now on. What is remembered was not vouched for by them.
    pub fn begin(&self) {
        let mut state = self.state();
        state.watch = Watch { epoch: state.watch.epoch + 1, vouched: None, running: false };
        state.since = None;
        for pending in state.pending.values_mut() {
            pending.pushed = None;
        }
        self.cache.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::domain::facts::HealthState;

    const STATES: [HealthState; 3] = [HealthState::Green, HealthState::Yellow, HealthState::Red];

    fn desk() -> Desk {
        let freshness = Freshness {
            unwatched: SignedDuration::from_secs(60),
            no_record: SignedDuration::from_secs(30),
            stale: SignedDuration::from_hours(12),
        };
        Desk::new(Clock::standing_at(Timestamp::from_second(1_000).unwrap()), freshness, 100)
    }

    fn rider() -> Subject {
        Subject::new("rider")
    }

    /// Facts that say in their state how old they are.
    fn facts(as_of: i64) -> Facts {
        let state = STATES[usize::try_from(as_of / 100).unwrap()];
        Facts { state, exempt: false, tests: vec![], as_of: Timestamp::from_second(as_of).unwrap() }
    }

    #[track_caller]
    fn check(known: Option<Known>, expect: Option<HealthState>) {
        let state = match known {
            Some(Known::Facts { facts, .. }) => Some(facts.state),
            _ => None,
        };
        assert_eq!(state, expect);
    }

    fn take_up(desk: &Desk) -> watch::Sender<Option<Known>> {
        let (asker, first) = desk.join(&rider());
        assert!(first);
        let turn = desk.take_up(&rider()).unwrap();
        drop(asker);
        turn
    }

    #[test]
    fn a_change_that_arrives_during_a_look_up_wins_over_an_older_answer() {
        let desk = desk();
        let _asked = take_up(&desk);
        desk.change(&rider(), Some(facts(200)));
        check(desk.complete(&rider(), Ok(Some(facts(100)))), Some(HealthState::Red));
        check(Some(desk.recall(&rider())), Some(HealthState::Red));
    }

    #[test]
    fn an_answer_older_than_what_is_remembered_is_not_believed() {
        let desk = desk();
        let _asked = take_up(&desk);
        check(desk.complete(&rider(), Ok(Some(facts(200)))), Some(HealthState::Red));
        desk.clock.advance(SignedDuration::from_secs(61));
        let _asked = take_up(&desk);
        check(desk.complete(&rider(), Ok(Some(facts(0)))), Some(HealthState::Red));
        check(Some(desk.recall(&rider())), Some(HealthState::Red));
    }

    #[test]
    fn an_answer_asked_for_before_changes_were_missed_serves_but_is_not_remembered() {
        let desk = desk();
        let _asked = take_up(&desk);
        desk.lose_track();
        check(desk.complete(&rider(), Ok(Some(facts(100)))), Some(HealthState::Yellow));
        check(Some(desk.recall(&rider())), None);
    }

    #[test]
    fn facts_that_arrive_after_the_link_ended_serve_and_are_not_remembered() {
        for forget in [(|desk: &Desk| desk.forget(&rider())) as fn(&Desk), Desk::forget_all] {
            let desk = desk();
            let _asked = take_up(&desk);
            forget(&desk);
            check(desk.complete(&rider(), Ok(Some(facts(100)))), Some(HealthState::Yellow));
            check(Some(desk.recall(&rider())), None);
        }
    }

    #[test]
    fn an_absence_is_overtaken_by_a_change() {
        let desk = desk();
        let _asked = take_up(&desk);
        desk.change(&rider(), Some(facts(100)));
        check(desk.complete(&rider(), Ok(None)), Some(HealthState::Yellow));
    }

    #[test]
    fn a_change_wins_over_an_answer_that_is_not_certainly_later() {
        // The change says that nothing is known any more.
        let desk = desk();
        let _asked = take_up(&desk);
        desk.change(&rider(), None);
        assert_eq!(desk.complete(&rider(), Ok(Some(facts(100)))), Some(Known::NoRecord));

        // Both are of the same second.
        let desk = self::desk();
        let _asked = take_up(&desk);
        desk.change(&rider(), Some(facts(200)));
        let answer = Facts { state: HealthState::Green, ..facts(200) };
        check(desk.complete(&rider(), Ok(Some(answer))), Some(HealthState::Red));

        // The authority's clock is ahead of ours.
        let desk = self::desk();
        let _asked = take_up(&desk);
        let dated = |state, as_of| Facts { state, as_of: Timestamp::from_second(as_of).unwrap(), ..facts(0) };
        desk.change(&rider(), Some(dated(HealthState::Red, 1_060)));
        desk.clock.advance(SignedDuration::from_millis(10));
        let older = dated(HealthState::Green, 1_059);
        check(desk.complete(&rider(), Ok(Some(older))), Some(HealthState::Red));
    }

    #[test]
    fn a_change_from_before_changes_were_missed_is_not_trusted() {
        let desk = desk();
        let _asked = take_up(&desk);
        desk.change(&rider(), Some(facts(100)));
        desk.lose_track();
        check(desk.complete(&rider(), Err(AuthorityError::Unavailable)), None);
    }

    #[test]
    fn changes_of_strangers_are_not_remembered() {
        let desk = desk();
        desk.change(&rider(), Some(facts(100)));
        assert_eq!(desk.recall(&rider()), Known::Nothing);
    }

    #[test]
    fn a_look_up_whose_task_died_does_not_keep_others_waiting() {
        let desk = desk();
        drop(take_up(&desk));
        let (_asker, first) = desk.join(&rider());
        assert!(first, "asked again");
    }

    #[test]
    fn a_look_up_nobody_waits_for_is_not_made() {
        let desk = desk();
        let (asker, _) = desk.join(&rider());
        drop(asker);
        assert!(desk.take_up(&rider()).is_none());
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// What another replica was told, at 1,000 seconds and so many.
    #[track_caller]
    fn check_adopted(desk: &Desk, asked_at: i64, expect: &str) {
        let asked_at = at(1_000 + asked_at);
        let known = desk.adopt(&SharedFacts { subject: rider(), facts: facts(0), asked_at });
        let got = match known {
            Known::Facts { .. } => "believed",
            Known::Stale { .. } => "if nobody can be asked",
            Known::NoRecord => "no record",
            Known::Nothing => "not at all",
        };
        assert_eq!(got, expect);
    }

    #[test]
    fn what_others_were_told_is_believed_if_every_change_since_was_heard_and_was_not_the_subjects() {
        let desk = desk();
        let pass = |seconds| desk.clock.advance(SignedDuration::from_secs(seconds));
        // A process that has only just begun hears of no changes.
        check_adopted(&desk, 0, "if nobody can be asked");
        pass(100);
        check_adopted(&desk, 0, "if nobody can be asked");
        desk.begin();
        desk.vouch();
        check_adopted(&desk, 101, "if nobody can be asked");
        pass(10);
        check_adopted(&desk, 101, "if nobody can be asked");
        check_adopted(&desk, 102, "believed");
        check_adopted(&desk, 113, "not at all");

        desk.change(&rider(), Some(facts(100)));
        desk.forget(&rider());
        pass(10);
        check_adopted(&desk, 112, "not at all");
        check_adopted(&desk, 113, "believed");

        desk.forget(&rider());
        desk.lose_track();
        check_adopted(&desk, 120, "not at all");
        pass(10);
        check_adopted(&desk, 122, "if nobody can be asked");
    }

    #[test]
    fn what_is_remembered_and_newer_stays_whatever_others_were_told() {
        let desk = desk();
        desk.begin();
        desk.vouch();
        desk.cache.merge(&rider(), Entry::new(Some(facts(200)), at(1_000), NO_EPOCH));
        desk.clock.advance(SignedDuration::from_secs(10));
        let older = SharedFacts { subject: rider(), facts: facts(100), asked_at: at(1_005) };
        check(Some(desk.adopt(&older)), Some(HealthState::Red));
    }
}
