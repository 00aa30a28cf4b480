//! What was decided, on its way to Redis. Nobody waits for it, so it goes together: what comes while Redis has not answered waits, and is
//! sent at once when it has.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use super::shared::Settled;
use crate::{backends::memory::ClaimName, cores};

/// Letters that may wait on each core. What comes on top is missed, and told again later.
const ROOM: usize = 4096;
/// Letters that are sent at once.
const MOST: usize = 64;

/// What waits, of each core by itself.
#[derive(Debug)]
pub(super) struct Outbox(Box<[Mutex<Waiting>]>);

#[derive(Debug, Default)]
struct Waiting {
    letters: Vec<Letter>,
    /// Somebody sends them.
    is_sent: bool,
}

/// One showing that was decided.
pub(super) struct Letter {
    pub(super) name: ClaimName,
    pub(super) settled: Settled,
    pub(super) now: Timestamp,
    /// Told when Redis has heard of it.
    pub(super) told: Box<dyn FnOnce() + Send + Sync>,
}

/// Sends what waits on one core. Dropped before nothing does (it panicked, or its core ended), it leaves that to whoever comes next.
pub(super) struct Sending<'o> {
    waiting: &'o Mutex<Waiting>,
    is_over: bool,
}

impl Outbox {
    pub(super) fn new(cores: usize) -> Self {
        Self(std::iter::repeat_with(Mutex::default).take(cores.max(1)).collect())
    }

    /// Leaves a letter on the core that this is called on. True: nobody sends those of this core yet.
    pub(super) fn put(&self, letter: Letter) -> bool {
        let Some(mut waiting) = self.here().map(lock) else { return false };
        if waiting.letters.len() < ROOM {
            waiting.letters.push(letter);
        }
        !mem::replace(&mut waiting.is_sent, true)
    }

    /// For whom [`put`](Self::put) has said that nobody does it.
    pub(super) fn send(&self) -> Option<Sending<'_>> {
        self.here().map(|waiting| Sending { waiting, is_over: false })
    }

    fn here(&self) -> Option<&Mutex<Waiting>> {
        self.0.get(cores::number()).or_else(|| self.0.first())
    }
}

impl Sending<'_> {
    /// What has come meanwhile; after nothing, whoever comes next is to send.
    pub(super) fn next(&mut self) -> Vec<Letter> {
        let mut waiting = lock(self.waiting);
        let many = waiting.letters.len().min(MOST);
        self.is_over = many == 0;
        waiting.is_sent = !self.is_over;
        waiting.letters.drain(..many).collect()
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            lock(self.waiting).is_sent = false;
        }
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Letter(…)")
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        claim::Showing,
        pseudonym::{Pseudonym, Tag},
    };

    fn letter() -> Letter {
        let name = ClaimName { slot: Tag([1; 16]), claim: Tag([2; 16]) };
        let [device, request] = [Pseudonym([3; 32]), Pseudonym([4; 32])];
        let showing = Showing { device, request, verdict_id: Uuid::nil(), at: Timestamp::UNIX_EPOCH };
        let settled = Settled { showing, first: Uuid::nil(), until: Timestamp::UNIX_EPOCH, outcome: None };
        Letter { name, settled, now: Timestamp::UNIX_EPOCH, told: Box::new(|| ()) }
    }

    #[test]
    fn one_sends_what_comes_meanwhile_and_when_it_is_done_or_gone_the_next_does() {
        let outbox = Outbox::new(1);
        assert!(outbox.put(letter()), "nobody sends yet");
        let mut sending = outbox.send().unwrap();
        assert_eq!(sending.next().len(), 1);
        assert!((0..100).all(|_| !outbox.put(letter())), "somebody does");
        assert_eq!([sending.next().len(), sending.next().len()], [MOST, 100 - MOST]);
        assert!(!outbox.put(letter()), "its last is still under way");
        assert_eq!([sending.next().len(), sending.next().len()], [1, 0]);
        assert!(outbox.put(letter()), "it is done");
        drop(sending);
        assert!(!outbox.put(letter()), "the next has begun");

        let mut sending = outbox.send().unwrap();
        assert_eq!(sending.next().len(), 2);
        drop(sending);
        assert!(outbox.put(letter()), "it has not come to its end");
    }

    #[test]
    fn what_there_is_no_room_for_is_missed() {
        let outbox = Outbox::new(1);
        for _ in 0..ROOM + 10 {
            outbox.put(letter());
        }
        let mut sending = outbox.send().unwrap();
        let sent: usize = std::iter::from_fn(|| Some(sending.next().len()).filter(|many| *many > 0)).sum();
        assert_eq!(sent, ROOM);
    }
}
