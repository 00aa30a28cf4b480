//! Places for connections: in all, for one caller, for those who show no certificate, and for handshakes, of which
//! one address must not take all.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::Limits;
use crate::admission::identity::{Caller, Identity};

#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    handshakes: Semaphore,
    waiting: Shares<IpAddr>,
    callers: Shares<Identity>,
    anonymous: Arc<Semaphore>,
}

/// A connection's place beside others of the same caller. Without TLS nobody is told from anybody.
pub(super) enum Seat {
    OfCaller { _share: Share<Identity> },
    OfNobody { _permit: OwnedSemaphorePermit },
    Untold,
}

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            all: Arc::new(Semaphore::new(limits.connections)),
            handshakes: Semaphore::new(limits.handshakes),
            waiting: Shares::new(limits.handshakes_per_address),
            callers: Shares::new(limits.per_caller),
            anonymous: Arc::new(Semaphore::new(limits.anonymous)),
        }
    }

    pub(super) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.all).try_acquire_owned().ok()
    }

    /// Waits for a handshake's turn: behind others from the same address, then behind everybody.
    pub(super) async fn handshake(&self, from: IpAddr) -> Option<Turn<'_>> {
        let share = self.waiting.wait(from).await?;
        Some(Turn { _permit: self.handshakes.acquire().await.ok()?, _share: share })
    }

    /// A place for this caller; `None` if it has all of its own.
    pub(super) fn sit(&self, caller: &Caller) -> Option<Seat> {
        match caller {
            Caller::Known(identity) => {
                self.callers.take(identity.clone()).map(|share| Seat::OfCaller { _share: share })
            }
            Caller::Nobody | Caller::Unknown => {
                let permit = Arc::clone(&self.anonymous).try_acquire_owned().ok()?;
                Some(Seat::OfNobody { _permit: permit })
            }
            Caller::Stated => Some(Seat::Untold),
        }
    }
}

/// A handshake's turn.
pub(super) struct Turn<'a> {
    _share: Share<IpAddr>,
    _permit: SemaphorePermit<'a>,
}

/// So many for each key. A key is remembered only while somebody has or waits for one of its shares.
#[derive(Debug)]
struct Shares<K> {
    each: usize,
    keys: Arc<Mutex<HashMap<K, Arc<Semaphore>>>>,
}

/// A share, or the wish for one.
pub(super) struct Share<K: Eq + Hash> {
    key: K,
    keys: Arc<Mutex<HashMap<K, Arc<Semaphore>>>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    fn new(each: usize) -> Self {
        Self { each, keys: Arc::default() }
    }

    fn take(&self, key: K) -> Option<Share<K>> {
        let (mut share, semaphore) = self.wish(key);
        share.permit = Some(semaphore.try_acquire_owned().ok()?);
        Some(share)
    }

    async fn wait(&self, key: K) -> Option<Share<K>> {
        let (mut share, semaphore) = self.wish(key);
        share.permit = Some(semaphore.acquire_owned().await.ok()?);
        Some(share)
    }

    fn wish(&self, key: K) -> (Share<K>, Arc<Semaphore>) {
        let semaphore = || Arc::new(Semaphore::new(self.each));
        let semaphore = Arc::clone(lock(&self.keys).entry(key.clone()).or_insert_with(semaphore));
        (Share { key, keys: Arc::clone(&self.keys), permit: None }, semaphore)
    }
}

impl<K: Eq + Hash> Drop for Share<K> {
    fn drop(&mut self) {
        let mut keys = lock(&self.keys);
        self.permit = None;
        if keys.get(&self.key).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            keys.remove(&self.key);
        }
    }
}

fn lock<K>(keys: &Mutex<HashMap<K, Arc<Semaphore>>>) -> MutexGuard<'_, HashMap<K, Arc<Semaphore>>> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_key_has_its_own_shares_and_is_forgotten_with_the_last() {
        let shares = Shares::new(2);
        let (first, second) = (shares.take("a"), shares.take("a"));
        assert!(first.is_some() && second.is_some());
        assert!(shares.take("a").is_none(), "all taken");
        assert!(shares.take("b").is_some(), "another's are not");
        drop(first);
        assert!(shares.wait("a").await.is_some(), "given back");
        drop(second);
        assert!(lock(&shares.keys).is_empty());
    }

    #[tokio::test]
    async fn who_waits_in_vain_leaves_nothing_behind() {
        let shares = Shares::new(1);
        let held = shares.take("a");
        {
            let mut waiting = std::pin::pin!(shares.wait("a"));
            assert!(futures_poll(waiting.as_mut()).await, "it has to wait");
        }
        drop(held);
        assert!(lock(&shares.keys).is_empty());
    }

    async fn futures_poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending()))
            .await
    }
}
