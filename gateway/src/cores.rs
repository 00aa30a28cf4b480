//! The cores that answer: a thread each, with a runtime of its own. What a connection asks is worked on where it lives: nothing
//! is taken over by another core, nobody has to be woken there, and answers that are ready together leave together.

use std::{
    cell::Cell,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};
use tokio_util::sync::CancellationToken;

/// After so many tasks a core looks for what has come. Whoever has a signature to check holds it for as long as that takes, so it
/// looks more often than usual whether something has come that is cheap.
const LOOK_EVERY: u32 = 8;
/// What is woken from beside (Redis has answered, say) waits apart from what a core wakes by itself, and is looked for before every
/// such task: it has come the longest way already. By itself a core would look only before every thirty-first, which may be
/// thirty signatures later.
const LOOK_BESIDE_EVERY: u32 = 1;
/// What still runs on a core when it is told to stop is cut off after so long.
const STOPS_WITHIN: Duration = Duration::from_secs(1);

thread_local! {
    /// Of the core whose thread this is.
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// The number of the core that this is called on: its place in [`Cores::runtimes`]. Beside the cores that of the first.
pub(crate) fn number() -> usize {
    NUMBER.get()
}

/// Where connections live.
#[derive(Debug)]
pub struct Cores {
    all: Vec<Core>,
    /// Threads that answer.
    count: usize,
    /// Cancelled when one of them has ended.
    ended: CancellationToken,
}

#[derive(Debug)]
struct Core {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    thread: Option<Thread>,
}

/// Ends when it is dropped.
#[derive(Debug)]
struct Thread {
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

/// A connection's place on a core, until it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) runtime: Handle,
    connections: Arc<AtomicUsize>,
}

impl Cores {
    /// So many threads. Not from within a runtime: what could not be started could not be dropped there either.
    pub fn start(count: usize) -> io::Result<Self> {
        let ended = CancellationToken::new();
        let all = (0..count.max(1)).map(|number| Core::start(number, &ended));
        let all = all.collect::<io::Result<Vec<_>>>()?;
        Ok(Self { count: all.len(), all, ended })
    }

    /// The runtime that this is called in: for tests, and for several gateways in one process.
    pub fn here() -> Self {
        let runtime = Handle::current();
        let count = runtime.metrics().num_workers();
        let core = Core { runtime, connections: Arc::default(), thread: None };
        Self { all: vec![core], count, ended: CancellationToken::new() }
    }

    /// Threads that answer.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Where what a core has for itself is to live, in the order of their numbers.
    pub(crate) fn runtimes(&self) -> Vec<Handle> {
        self.all.iter().map(|core| core.runtime.clone()).collect()
    }

    /// Ends when a thread has, which none does by itself: whoever lived there is gone, and whoever came would be sent there, where
    /// there are fewest.
    pub async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// A place on the core that has the fewest connections.
    pub(crate) fn seat(&self) -> Option<Seat> {
        let core = self.all.iter().min_by_key(|core| core.connections.load(Relaxed))?;
        core.connections.fetch_add(1, Relaxed);
        Some(Seat { runtime: core.runtime.clone(), connections: Arc::clone(&core.connections) })
    }
}

impl Core {
    fn start(number: usize, ended: &CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .event_interval(LOOK_EVERY)
            .global_queue_interval(LOOK_BESIDE_EVERY)
            .build()?;
        let (handle, ended) = (runtime.handle().clone(), ended.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let running = thread::Builder::new().name(format!("core-{number}")).spawn(move || {
            // Also if the runtime panics: a task that does is no more than that task's end.
            let _ended = ended.drop_guard();
            NUMBER.set(number);
            let _told = runtime.block_on(stopped);
            // Here, where nothing is asynchronous any more, and before anybody is told that it has ended.
            runtime.shutdown_timeout(STOPS_WITHIN);
        })?;
        let thread = Thread { stop: Some(stop), running: Some(running) };
        Ok(Self { runtime: handle, connections: Arc::default(), thread: Some(thread) })
    }
}

impl Drop for Cores {
    fn drop(&mut self) {
        // All are told before any is waited for.
        for thread in self.all.iter_mut().filter_map(|core| core.thread.as_mut()) {
            drop(thread.stop.take());
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(running) = self.running.take() {
            let _panicked = running.join();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_go_where_there_are_fewest_and_run_on_that_core() {
        let cores = Cores::start(2).unwrap();
        assert_eq!(cores.count(), 2);
        let name = |seat: &Seat| {
            let (told, name) = std::sync::mpsc::channel();
            seat.runtime.spawn(async move { told.send(thread::current().name().map(ToOwned::to_owned)) });
            name.recv().unwrap().unwrap()
        };
        let (first, second) = (cores.seat().unwrap(), cores.seat().unwrap());
        assert_eq!([name(&first), name(&second)], ["core-0", "core-1"]);
        for (runtime, expected) in cores.runtimes().into_iter().zip([0, 1]) {
            let (told, number) = std::sync::mpsc::channel();
            runtime.spawn(async move { told.send(super::number()) });
            assert_eq!(number.recv().unwrap(), expected);
        }
        drop(second);
        assert_eq!(name(&cores.seat().unwrap()), "core-1", "there are none");
    }

    #[test]
    fn what_still_runs_on_a_core_goes_with_it_and_that_it_went_is_told() {
        let cores = Cores::start(2).unwrap();
        let (ended, seat) = (cores.ended.clone(), cores.seat().unwrap());
        let (held, gone) = std::sync::mpsc::channel::<()>();
        seat.runtime.spawn(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        assert!(!ended.is_cancelled());
        // As the gateway is dropped: inside of a runtime.
        let beside = tokio::runtime::Runtime::new().unwrap();
        beside.block_on(async move { drop(cores) });
        assert!(ended.is_cancelled());
        assert!(gone.try_recv().is_err_and(|why| why == std::sync::mpsc::TryRecvError::Disconnected));
        let late = beside.block_on(async move { seat.runtime.spawn(async {}).await });
        assert!(late.is_err_and(|why| why.is_cancelled()), "who comes later is let go, and nobody waits");
    }

    #[tokio::test]
    async fn here_is_the_runtime_of_who_asks() {
        let cores = Cores::here();
        assert_eq!(cores.count(), 1);
        assert_eq!(cores.seat().unwrap().runtime.id(), Handle::current().id());
    }
}
