//! What is to be told to Redis and nobody waits for. It goes together: what comes while Redis has not answered waits, and is sent at
//! once when it has.

use std::{
    fmt, iter, mem,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::cores;

/// Letters that may wait on each core. What comes on top is missed.
const ROOM: usize = 4096;
/// Letters that are sent at once: as many as one core writes while a Redis that is far away answers (10 ms), and few enough that who
/// waits for an answer behind them does not wait long.
const MOST: usize = 512;

/// What waits, of each core by itself.
pub(super) struct Outbox<L>(Box<[Mutex<Waiting<L>>]>);

struct Waiting<L> {
    letters: Vec<L>,
    /// Somebody sends them.
    is_sent: bool,
}

/// Sends what waits on one core. Dropped before nothing does (it panicked, or its core ended), it leaves that to whoever comes next.
pub(super) struct Sending<'o, L> {
    waiting: &'o Mutex<Waiting<L>>,
    is_over: bool,
}

impl<L> Outbox<L> {
    pub(super) fn new(cores: usize) -> Self {
        let empty = || Mutex::new(Waiting { letters: Vec::new(), is_sent: false });
        Self(iter::repeat_with(empty).take(cores.max(1)).collect())
    }

    /// Leaves a letter on the core that this is called on. True: nobody sends those of this core yet.
    pub(super) fn put(&self, letter: L) -> bool {
        let Some(mut waiting) = self.here().map(lock) else { return false };
        if waiting.letters.len() < ROOM {
            waiting.letters.push(letter);
        }
        !mem::replace(&mut waiting.is_sent, true)
    }

    /// For whom [`put`](Self::put) has said that nobody does it.
    pub(super) fn send(&self) -> Option<Sending<'_, L>> {
        self.here().map(|waiting| Sending { waiting, is_over: false })
    }

    fn here(&self) -> Option<&Mutex<Waiting<L>>> {
        self.0.get(cores::number()).or_else(|| self.0.first())
    }
}

impl<L> Sending<'_, L> {
    /// What has come meanwhile; after nothing, whoever comes next is to send.
    pub(super) fn next(&mut self) -> Vec<L> {
        let mut waiting = lock(self.waiting);
        let many = waiting.letters.len().min(MOST);
        self.is_over = many == 0;
        waiting.is_sent = !self.is_over;
        waiting.letters.drain(..many).collect()
    }
}

impl<L> Drop for Sending<'_, L> {
    fn drop(&mut self) {
        if !self.is_over {
            lock(self.waiting).is_sent = false;
        }
    }
}

fn lock<L>(waiting: &Mutex<Waiting<L>>) -> MutexGuard<'_, Waiting<L>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many letters wait on each core, and nothing of what is in them.
impl<L> fmt::Debug for Outbox<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|waiting| lock(waiting).letters.len())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sends_what_comes_meanwhile_and_when_it_is_done_or_gone_the_next_does() {
        let outbox = Outbox::new(1);
        assert!(outbox.put(0), "nobody sends yet");
        let mut sending = outbox.send().unwrap();
        assert_eq!(sending.next(), [0]);
        assert!((1..=MOST + 2).all(|letter| !outbox.put(letter)), "somebody does");
        assert_eq!(sending.next(), (1..=MOST).collect::<Vec<_>>());
        assert_eq!(sending.next(), [MOST + 1, MOST + 2]);
        assert!(!outbox.put(1), "its last are still under way");
        assert_eq!((sending.next(), sending.next()), (vec![1], vec![]));
        assert!(outbox.put(2), "it is done");
        drop(sending);
        assert!(!outbox.put(3), "the next has begun");

        let mut sending = outbox.send().unwrap();
        assert_eq!(sending.next(), [2, 3]);
        drop(sending);
        assert!(outbox.put(4), "it has not come to its end");
    }

    #[test]
    fn what_there_is_no_room_for_is_missed() {
        let outbox = Outbox::new(1);
        for letter in 0..ROOM + 10 {
            outbox.put(letter);
        }
        let mut sending = outbox.send().unwrap();
        let sent: Vec<_> =
            iter::from_fn(|| Some(sending.next()).filter(|some| !some.is_empty())).flatten().collect();
        assert_eq!(sent, (0..ROOM).collect::<Vec<_>>());
    }
}
