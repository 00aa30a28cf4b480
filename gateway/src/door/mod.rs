//! Connections: who may come in, for how long, and how they are asked to leave. Knows TLS and HTTP/2, and nothing of
//! what is said over them.

mod connection;
mod places;
pub mod tls;

use std::{convert::Infallible, error::Error, sync::Arc, time::Duration};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    connection::Reception,
    places::{Places, Source},
    tls::Tls,
};
use crate::{admission::identity::Caller, cores::Cores, metrics::DoorMetrics};

/// After a failed `accept` (no file descriptors left, say) the next is tried so much later.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What one caller, and all together, may take.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one certificate's identity.
    pub per_caller: usize,
    /// Connections whose certificate names nobody, or without one; beside those above.
    pub anonymous: usize,
    /// Such connections from one address.
    pub anonymous_per_address: usize,
    /// Connections that have not said yet who they are; beside all those above.
    pub handshakes: usize,
    /// Such connections from one address.
    pub handshakes_per_address: usize,
    /// The longest that a connection may take to say who it is: TLS and the HTTP/2 preface.
    pub handshake: Duration,
    /// Cores of this machine that answer.
    pub cores: usize,
    /// Streams at once on one connection.
    pub streams: u32,
    /// A request's headers, in bytes as HTTP/2 counts them.
    pub header_bytes: u32,
    /// A connection on which nothing is asked for so long is closed.
    pub idle: Duration,
    /// A connection this old is closed; a tenth more or less by chance, so that not all come back at once.
    pub age: Duration,
    /// After so long without a sign of life a ping is sent.
    pub ping_every: Duration,
    /// A ping not answered for so long ends the connection.
    pub ping_timeout: Duration,
    /// The longest that a call may take until its answer begins. A connection that is too old has so long to leave.
    pub call: Duration,
    /// When the door closes, what runs may go on for so long.
    pub drain: Duration,
}

/// Why a connection was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// All places are taken.
    Full,
    /// The caller's own places are taken.
    CallerFull,
    /// As many as may are arriving from the same address.
    AddressFull,
    /// No TLS 1.3, or a certificate that is not of ours.
    Tls,
    /// TLS and preface took too long.
    TooSlow,
    /// Something else than HTTP/2.
    NotHttp2,
    /// The door is closing.
    Closing,
    /// The system does not hand its socket over to a core.
    Lost,
}

impl Refusal {
    const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::CallerFull => "caller_full",
            Self::AddressFull => "address_full",
            Self::Tls => "tls",
            Self::TooSlow => "too_slow",
            Self::NotHttp2 => "not_http2",
            Self::Closing => "closing",
            Self::Lost => "lost",
        }
    }
}

/// What every request carries of how it came.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Who calls.
    pub caller: Caller,
    /// Cancelled when the connection is asked to leave: whatever goes on without end should come to one.
    pub leaving: CancellationToken,
    /// When the request had come, before anybody had begun with it.
    pub arrived: Instant,
}

/// Answers requests.
pub trait Handler: Clone + Send + Sync + 'static {
    /// What answers are made of.
    type Body: http_body::Body<Data = hyper::body::Bytes, Error: Into<Box<dyn Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    /// Answers one request.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Self::Body>, Infallible>> + Send;

    /// Whether a request is somebody's business, so that its connection is not idle while it runs. Watching health is
    /// not.
    fn is_business(&self, request: &Request<Incoming>) -> bool;
}

/// An open door.
#[derive(Debug)]
pub struct Door {
    closing: CancellationToken,
    inside: TaskTracker,
    drain: Duration,
}

impl Door {
    /// Lets connections in from now on, each to a core of its own. Without `tls` nobody is asked who they are.
    pub fn open<H: Handler>(
        listener: TcpListener,
        tls: Option<Arc<Tls>>,
        limits: Limits,
        metrics: DoorMetrics,
        handler: H,
        cores: Arc<Cores>,
    ) -> Self {
        let (closing, inside) = (CancellationToken::new(), TaskTracker::new());
        let drain = limits.drain;
        let reception = Arc::new(Reception {
            tls,
            places: Places::new(&limits),
            limits,
            metrics,
            handler,
            closing: closing.clone(),
        });
        inside.spawn(let_in(listener, reception, inside.clone(), cores));
        Self { closing, inside, drain }
    }

    /// Lets nobody in any more, asks everybody to leave, and waits until they have. What still runs after the drain
    /// time is cut off.
    pub async fn close(self) {
        self.closing.cancel();
        self.inside.close();
        // Every connection keeps to the drain time by itself; the second is for a machine that is busy.
        let _late = tokio::time::timeout(self.drain + Duration::from_secs(1), self.inside.wait()).await;
    }
}

async fn let_in<H: Handler>(
    listener: TcpListener,
    reception: Arc<Reception<H>>,
    inside: TaskTracker,
    cores: Arc<Cores>,
) {
    let mut failing = false;
    loop {
        let arrived = tokio::select! {
            () = reception.closing.cancelled() => return,
            arrived = next(&listener, &reception.places) => arrived,
        };
        match arrived {
            Ok((socket, from, turn)) => {
                failing = false;
                match reception.places.arrive(turn, from) {
                    Some(arrival) => {
                        let reception = Arc::clone(&reception);
                        // It leaves the events of this runtime for those of its core's.
                        let (Some(seat), Ok(socket)) = (cores.seat(), socket.into_std()) else {
                            reception.metrics.refused(Refusal::Lost.name());
                            continue;
                        };
                        let runtime = seat.runtime.clone();
                        let seen_through = async move {
                            match TcpStream::from_std(socket) {
                                Ok(socket) => reception.receive(socket, from, arrival).await,
                                Err(_) => reception.metrics.refused(Refusal::Lost.name()),
                            }
                            drop(seat);
                        };
                        inside.spawn_on(seen_through, &runtime);
                    }
                    None => reception.metrics.refused(Refusal::AddressFull.name()),
                }
            }
            Err(error) => {
                // Said once, however long it goes on.
                if !std::mem::replace(&mut failing, true) {
                    tracing::error!(cause = %error, "connections cannot be accepted");
                }
                tokio::select! {
                    () = reception.closing.cancelled() => return,
                    () = sleep(ACCEPT_PAUSE) => {}
                }
            }
        }
    }
}

/// The next connection, when there is a place to arrive at.
async fn next(
    listener: &TcpListener,
    places: &Places,
) -> std::io::Result<(TcpStream, Source, OwnedSemaphorePermit)> {
    let turn = places.turn().await.ok_or_else(|| std::io::Error::other("closing"))?;
    let (socket, from) = listener.accept().await?;
    Ok((socket, from.ip().into(), turn))
}
