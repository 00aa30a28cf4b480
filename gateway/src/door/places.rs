//! Places for connections, so that nobody takes another's: while they arrive, by where they come from; when it is known
//! who they are, by that.

use std::{
    collections::HashMap,
    future::poll_fn,
    hash::Hash,
    mem,
    net::{IpAddr, Ipv6Addr},
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Limits, Refusal};
use crate::admission::{
    identity::{Caller, Identity},
    turns::step_back,
};

#[derive(Debug)]
pub(super) struct Places {
    handshakes: Arc<Semaphore>,
    hands: Semaphore,
    arriving: Shares<Source>,
    all: Arc<Semaphore>,
    callers: Shares<Identity>,
    anonymous: Arc<Semaphore>,
    strangers: Shares<Source>,
}

/// Where a connection comes from: an IPv4 address, or the 64-bit network that any one IPv6 host has to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Source(IpAddr);

/// The place of a connection that arrives, until it is known who it is.
pub(super) struct Arrival {
    // Given back in this order: who has the turn next may come from the same address, and finds the share there.
    _share: Share<Source>,
    _turn: OwnedSemaphorePermit,
}

/// The place of a connection that is let in.
pub(super) struct Seat {
    _permit: OwnedSemaphorePermit,
    _share: SeatShare,
}

/// Its place beside others of the same caller. Without TLS nobody is told from anybody.
enum SeatShare {
    OfCaller { _share: Share<Identity> },
    OfSource { _share: Share<Source> },
    Untold,
}

impl Places {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            hands: Semaphore::new((limits.cores / 2).max(1)),
            arriving: Shares::new(limits.handshakes_per_address),
            all: Arc::new(Semaphore::new(limits.connections)),
            callers: Shares::new(limits.per_caller),
            anonymous: Arc::new(Semaphore::new(limits.anonymous)),
            strangers: Shares::new(limits.anonymous_per_address),
        }
    }

    /// Waits until one more may arrive. Until then it is the system that keeps it waiting.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.handshakes).acquire_owned().await.ok()
    }

    /// Greets as others are greeted, and never on more than half of the cores at once: a handshake costs as much as five
    /// verdicts, and after a restart everybody comes at the same time. Those who are in already shall not wait for that: each
    /// step of a handshake lets everything go first that is waiting for a core.
    pub(super) async fn gently<G: Future>(&self, greeting: G) -> G::Output {
        let mut greeting = pin!(greeting);
        loop {
            let hand = self.hands.acquire().await;
            step_back().await;
            let step = poll_fn(|context| Poll::Ready(greeting.as_mut().poll(context))).await;
            // Also where it is the caller who is waited for.
            drop(hand);
            match step {
                Poll::Ready(greeted) => return greeted,
                Poll::Pending => woken().await,
            }
        }
    }

    /// A place to arrive at; `None` if as many as may are arriving from there already.
    pub(super) fn arrive(&self, turn: OwnedSemaphorePermit, from: Source) -> Option<Arrival> {
        Some(Arrival { _turn: turn, _share: self.arriving.take(from)? })
    }

    /// A place for this caller, or whose places are all taken.
    pub(super) fn sit(&self, caller: &Caller, from: Source) -> Result<Seat, Refusal> {
        let take =
            |semaphore: &Arc<Semaphore>| Arc::clone(semaphore).try_acquire_owned().map_err(|_| Refusal::Full);
        let full = Refusal::CallerFull;
        let (permit, share) = match caller {
            Caller::Known(identity) => {
                let share = self.callers.take(identity.clone()).ok_or(full)?;
                (take(&self.all)?, SeatShare::OfCaller { _share: share })
            }
            Caller::Nobody | Caller::Unknown => {
                let share = self.strangers.take(from).ok_or(full)?;
                (take(&self.anonymous)?, SeatShare::OfSource { _share: share })
            }
            Caller::Stated => (take(&self.all)?, SeatShare::Untold),
        };
        Ok(Seat { _permit: permit, _share: share })
    }
}

/// Sleeps until it is woken for whatever was polled before.
async fn woken() {
    let mut slept = false;
    poll_fn(|_| if mem::replace(&mut slept, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

/// So many for each key. A key is remembered only while somebody has or waits for one of its shares.
#[derive(Debug)]
struct Shares<K> {
    each: usize,
    keys: Arc<Mutex<HashMap<K, Arc<Semaphore>>>>,
}

/// A share.
struct Share<K: Eq + Hash> {
    key: K,
    keys: Arc<Mutex<HashMap<K, Arc<Semaphore>>>>,
    permit: Option<OwnedSemaphorePermit>,
}

impl<K: Eq + Hash + Clone> Shares<K> {
    fn new(each: usize) -> Self {
        Self { each, keys: Arc::default() }
    }

    fn take(&self, key: K) -> Option<Share<K>> {
        let semaphore = || Arc::new(Semaphore::new(self.each));
        let semaphore = Arc::clone(lock(&self.keys).entry(key.clone()).or_insert_with(semaphore));
        let permit = semaphore.try_acquire_owned().ok()?;
        Some(Share { key, keys: Arc::clone(&self.keys), permit: Some(permit) })
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

    #[test]
    fn each_key_has_its_own_shares_and_is_forgotten_with_the_last() {
        let shares = Shares::new(2);
        let (first, second) = (shares.take("a"), shares.take("a"));
        assert!(first.is_some() && second.is_some());
        assert!(shares.take("a").is_none(), "all taken");
        assert!(shares.take("b").is_some(), "another's are not");
        drop(first);
        assert!(shares.take("a").is_some(), "given back");
        drop(second);
        assert!(lock(&shares.keys).is_empty());
    }

    /// So many of everything, and one hand.
    fn places(each: usize) -> Places {
        Places {
            handshakes: Arc::new(Semaphore::new(each)),
            hands: Semaphore::new(1),
            arriving: Shares::new(each),
            all: Arc::new(Semaphore::new(each)),
            callers: Shares::new(each),
            anonymous: Arc::new(Semaphore::new(each)),
            strangers: Shares::new(each),
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_has_the_next_turn_finds_the_share_of_who_had_it_before() {
        let (places, from) = (Arc::new(places(1)), Source("203.0.113.1".parse().unwrap()));
        for number in 0..10_000 {
            let turn = places.turn().await.unwrap();
            let arrival = places.arrive(turn, from);
            assert!(arrival.is_some(), "{number}");
            tokio::spawn(async move { drop(arrival) });
        }
    }

    /// Also the other way round: who goes on at once, having a hand, is not let go first.
    #[tokio::test]
    async fn whoever_is_in_goes_first_between_any_two_steps_of_greeting() {
        const STEPS: usize = 3;
        let places = Arc::new(places(100));
        let (seen, mut coming) = (Arc::new(Mutex::new(String::new())), tokio::task::JoinSet::new());
        for _ in 0..20 {
            let (places, seen) = (Arc::clone(&places), Arc::clone(&seen));
            coming.spawn(async move {
                let mut steps = 0;
                let greeting = poll_fn(|context| {
                    seen.lock().unwrap().push('g');
                    steps += 1;
                    context.waker().wake_by_ref();
                    if steps == STEPS { Poll::Ready(()) } else { Poll::Pending }
                });
                places.gently(greeting).await;
            });
        }
        let inside = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                loop {
                    seen.lock().unwrap().push('.');
                    step_back().await;
                }
            }
        });
        while coming.join_next().await.is_some() {}
        inside.abort();
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.matches('g').count(), 20 * STEPS);
        assert!(!seen.contains("gg"), "{seen}");
    }

    #[test]
    fn one_host_is_one_source_however_many_addresses_it_has() {
        let source = |address: &str| Source::from(address.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), source("2001:db8:1:2:ffff::1"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
    }
}
