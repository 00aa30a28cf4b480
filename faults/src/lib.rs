//! A TCP proxy that breaks what passes through it, on purpose and when told: for tests, and for operators who want to see
//! their own alarms go off.
//!
//! It stands between a gateway and one of those that lie behind it, and knows nothing of what is said. What it does to the
//! connections is a [`Fault`]; [`Proxy::set`] changes it at any time, for connections that stand as for those to come.
//!
//! ```no_run
//! # async fn drill() -> std::io::Result<()> {
//! use ridegate_faults::Proxy;
//!
//! let redis = Proxy::start("127.0.0.1:16379", "127.0.0.1:6379", 7).await?;
//! redis.set("latency=20ms jitter=5ms".parse().expect("a fault"));
//! redis.set("refuse".parse().expect("a fault"));
//! redis.set("well".parse().expect("a fault"));
//! # Ok(())
//! # }
//! ```

mod carry;
mod fault;
mod pump;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, lookup_host},
    sync::watch,
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

pub use fault::{Fault, FaultError, Stop, Way};

/// Connections that the system keeps waiting.
const BACKLOG: u32 = 1024;
/// After a failed `accept` (no file descriptors left, say) the next is tried so much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    counts: Arc<Counts>,
    _serving: AbortOnDropHandle<()>,
}

/// What has passed, since the proxy began.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    broken: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
}

/// What has passed, since the proxy began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passed {
    /// Connections that were let in.
    pub connections: u64,
    /// Connections that were reset here.
    pub broken: u64,
    /// Bytes that have gone to the server.
    pub up: u64,
    /// Bytes that have come from it.
    pub down: u64,
}

impl Proxy {
    /// Listens at `listen` (port 0: any that is free) and carries every connection to `to`, which is looked up anew each
    /// time. The same `seed` spoils the same bytes and waits the same jitter in the same places.
    pub async fn start(listen: &str, to: &str, seed: u64) -> io::Result<Self> {
        let listen = lookup_host(listen).await?.next();
        let listen = listen.ok_or_else(|| io::Error::other("the address to listen at is not known"))?;
        let listener = bind(listen)?.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        let (fault, told) = watch::channel(Fault::default());
        let counts = Arc::default();
        let serving = Serving { address, to: to.into(), seed, fault: told, counts: Arc::clone(&counts) };
        let serving = AbortOnDropHandle::new(tokio::spawn(serving.run(listener)));
        Ok(Self { address, fault, counts, _serving: serving })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is done to connections from now on, those that stand included. Listening itself stops and begins a moment
    /// later.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// What is done to connections now.
    pub fn fault(&self) -> Fault {
        self.fault.borrow().clone()
    }

    /// What has passed.
    pub fn passed(&self) -> Passed {
        let Counts { connections, broken, up, down } = &*self.counts;
        Passed {
            connections: connections.load(Relaxed),
            broken: broken.load(Relaxed),
            up: up.load(Relaxed),
            down: down.load(Relaxed),
        }
    }
}

/// Reuses the address, so that what was bound before is no hindrance.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

struct Serving {
    address: SocketAddr,
    to: Box<str>,
    seed: u64,
    fault: watch::Receiver<Fault>,
    counts: Arc<Counts>,
}

impl Serving {
    async fn run(mut self, mut listener: TcpListener) {
        // Dropped with this task: so are the connections.
        let mut carried = tokio::task::JoinSet::new();
        loop {
            let refused = self.fault.borrow_and_update().stop == Some(Stop::Refuse);
            if refused {
                listener = self.refuse(listener).await;
                continue;
            }
            tokio::select! {
                _changed = self.fault.changed() => {}
                Some(_over) = carried.join_next() => {}
                arrived = listener.accept() => match arrived {
                    Ok((client, _)) => {
                        let number = self.counts.connections.fetch_add(1, Relaxed);
                        carried.spawn(self.carry(client, number));
                    }
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                }
            }
        }
    }

    fn carry(&self, client: TcpStream, number: u64) -> impl Future<Output = ()> + use<> {
        let (to, seed) = (self.to.clone(), self.seed.wrapping_add(number.wrapping_mul(2)));
        carry::carry(client, to, seed, self.fault.clone(), Arc::clone(&self.counts))
    }

    /// Nobody listens until the fault is another. The port stays ours all the time but for a moment: a socket that is bound
    /// and does not listen refuses, and nobody else can have it.
    async fn refuse(&mut self, listener: TcpListener) -> TcpListener {
        drop(listener);
        let held = self.again(|| bind(self.address)).await;
        let lifted = |fault: &Fault| fault.stop != Some(Stop::Refuse);
        let mut fault = self.fault.clone();
        if fault.wait_for(lifted).await.is_err() {
            // Nobody can tell us any more.
            std::future::pending::<()>().await;
        }
        match held.listen(BACKLOG) {
            Ok(listener) => listener,
            Err(_) => self.again(|| bind(self.address)?.listen(BACKLOG)).await,
        }
    }

    async fn again<T>(&self, attempt: impl Fn() -> io::Result<T>) -> T {
        loop {
            if let Ok(done) = attempt() {
                return done;
            }
            sleep(ACCEPT_PAUSE).await;
        }
    }
}
