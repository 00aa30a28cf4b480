//! One connection, from the TCP socket to its end.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rand::RngExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, join, split},
    net::TcpStream,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{
    Handler, Limits, Peer, Refusal,
    places::{Arrival, Places, Source},
    tls::{Credentials, Tls},
};
use crate::{admission::identity::Caller, metrics::DoorMetrics};

/// What every HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// When the door closes, a connection on which nothing runs has so long to take its leave in order.
const LEAVE_TAKING: Duration = Duration::from_secs(1);
/// Streams reset before we looked at them; more is an attack (CVE-2023-44487).
const RESETS_PENDING: usize = 20;
/// Streams that we had to reset; more is an attack (CVE-2025-8671).
const RESETS_OURS: usize = 64;
/// A caller whom nobody knows may hold a connection for so long without asking anything, and ask so much at once.
const STRANGER_IDLE: Duration = Duration::from_mins(1);
const STRANGER_STREAMS: u32 = 8;

/// What all connections share.
pub(super) struct Reception<H> {
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) places: Places,
    pub(super) limits: Limits,
    pub(super) metrics: DoorMetrics,
    pub(super) handler: H,
    pub(super) closing: CancellationToken,
}

impl<H: Handler> Reception<H> {
    /// Sees a connection through.
    pub(super) async fn receive(&self, socket: TcpStream, from: Source, arrival: Arrival) {
        // Answers are small and somebody waits at a gate.
        let _best_effort = socket.set_nodelay(true);
        let seen_through = match &self.tls {
            Some(tls) => self.receive_with_tls(socket, tls, from, arrival).await,
            None => self.receive_in_plain(socket, from, arrival).await,
        };
        if let Err(refusal) = seen_through {
            self.metrics.refused(refusal.name());
            tracing::debug!(cause = refusal.name(), "a connection was not let in");
        }
    }

    async fn receive_with_tls(
        &self,
        socket: TcpStream,
        tls: &Arc<Tls>,
        from: Source,
        arrival: Arrival,
    ) -> Result<(), Refusal> {
        let config = tls.config();
        let greeted = self.in_time(async {
            let mut stream =
                self.places.gently(TlsAcceptor::from(Arc::clone(&config)).accept(socket)).await.map_err(
                    |error| {
                        tracing::debug!(cause = %error, "a TLS handshake failed");
                        Refusal::Tls
                    },
                )?;
            read_preface(&mut stream).await.map(|()| stream)
        });
        let stream = greeted.await?;
        drop(arrival);
        let (_, session) = stream.get_ref();
        let credentials = Credentials::of(session.peer_certificates());
        let caller = credentials.caller.clone();
        self.seat(stream, from, caller, tls.disown(credentials, config)).await
    }

    async fn receive_in_plain(
        &self,
        mut socket: TcpStream,
        from: Source,
        arrival: Arrival,
    ) -> Result<(), Refusal> {
        self.in_time(read_preface(&mut socket)).await?;
        drop(arrival);
        self.seat(socket, from, Caller::Stated, std::future::pending()).await
    }

    /// Whatever comes before it is known who is there.
    async fn in_time<T>(&self, greeting: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        tokio::select! {
            () = self.closing.cancelled() => Err(Refusal::Closing),
            greeted = timeout(self.limits.handshake, greeting) => greeted.map_err(|_| Refusal::TooSlow)?,
        }
    }

    async fn seat(
        &self,
        io: impl AsyncRead + AsyncWrite,
        from: Source,
        caller: Caller,
        disowned: impl Future<Output = ()>,
    ) -> Result<(), Refusal> {
        let _seat = self.places.sit(&caller, from)?;
        let _counted = self.metrics.connected(caller.role());
        self.converse(io, caller, disowned).await;
        Ok(())
    }

    /// HTTP/2 until one side has had enough.
    async fn converse(
        &self,
        io: impl AsyncRead + AsyncWrite,
        caller: Caller,
        disowned: impl Future<Output = ()>,
    ) {
        let is_stranger = matches!(caller, Caller::Nobody | Caller::Unknown);
        let idle = if is_stranger { self.limits.idle.min(STRANGER_IDLE) } else { self.limits.idle };
        let leaving = CancellationToken::new();
        let peer = Peer { caller, leaving: leaving.clone(), arrived: Instant::now() };
        let running = Arc::new(Running::new());
        let service = service_fn(|mut request: http::Request<_>| {
            let turn = self.handler.is_business(&request).then(|| Turn::new(&running));
            request.extensions_mut().insert(Peer { arrived: Instant::now(), ..peer.clone() });
            let handler = self.handler.clone();
            async move {
                let answer = handler.answer(request).await;
                // The answer's body keeps the turn until its last frame has gone to HTTP/2.
                answer.map(|answer| {
                    answer.map(|body| {
                        body.map_frame(move |frame| {
                            let _running = &turn;
                            frame
                        })
                    })
                })
            }
        });
        // The preface was read; HTTP/2 wants to read it too.
        let (read, write) = split(io);
        let io = pin!(join((&PREFACE[..]).chain(read), write));
        let mut connection = pin!(self.http2(is_stranger).serve_connection(TokioIo::new(io), service));

        let Limits { drain, call, .. } = self.limits;
        let (cause, time_to_leave, quiet) = tokio::select! {
            _ended = connection.as_mut() => return,
            // Nobody vouches for the caller any more: what runs is nobody's.
            () = disowned => return self.metrics.left("disowned"),
            () = self.closing.cancelled() => ("closing", drain, LEAVE_TAKING),
            () = sleep(by_chance(self.limits.age)) => ("age", call, call / 2),
            () = nothing_runs(&running, idle) => ("idle", call, call / 2),
        };
        leaving.cancel();
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ended = connection => self.metrics.left(cause),
            // Nothing runs, and the other side does not even answer that it may go.
            () = nothing_runs(&running, quiet) => self.metrics.left(cause),
            () = sleep(time_to_leave) => self.metrics.left("cut"),
            () = self.closed_for(drain) => self.metrics.left("cut"),
        }
    }

    /// Ends when the door has been closing for so long.
    async fn closed_for(&self, span: Duration) {
        self.closing.cancelled().await;
        sleep(span).await;
    }

    fn http2(&self, is_stranger: bool) -> http2::Builder<TokioExecutor> {
        let streams =
            if is_stranger { self.limits.streams.min(STRANGER_STREAMS) } else { self.limits.streams };
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            // Nothing in gRPC asks what time it is here, and it would be told with every answer.
            .auto_date_header(false)
            .max_concurrent_streams(streams)
            .max_header_list_size(self.limits.header_bytes)
            .max_pending_accept_reset_streams(RESETS_PENDING)
            .max_local_error_reset_streams(RESETS_OURS)
            .keep_alive_interval(self.limits.ping_every)
            .keep_alive_timeout(self.limits.ping_timeout);
        http2
    }
}

/// A tenth more or less.
fn by_chance(span: Duration) -> Duration {
    span.mul_f64(rand::rng().random_range(0.9..=1.1))
}

async fn read_preface(io: &mut (impl AsyncRead + Unpin)) -> Result<(), Refusal> {
    let mut said = [0; PREFACE.len()];
    io.read_exact(&mut said).await.map_err(|_| Refusal::NotHttp2)?;
    if said == *PREFACE { Ok(()) } else { Err(Refusal::NotHttp2) }
}

/// Ends when nothing has run for so long from now on. It looks now and then: to be told would cost every request.
async fn nothing_runs(running: &Running, span: Duration) {
    let from = Instant::now();
    loop {
        let idle_since = running.idle_since().map(|since| since.max(from));
        let ends = idle_since.unwrap_or_else(Instant::now) + span;
        if idle_since.is_some() && ends <= Instant::now() {
            return;
        }
        sleep_until(ends).await;
    }
}

/// What runs on a connection.
struct Running {
    began: Instant,
    count: AtomicUsize,
    /// When the last one ended, in microseconds from the beginning.
    ended: AtomicU64,
}

impl Running {
    fn new() -> Self {
        Self { began: Instant::now(), count: AtomicUsize::new(0), ended: AtomicU64::new(0) }
    }

    /// Since when nothing runs; `None` if something does.
    fn idle_since(&self) -> Option<Instant> {
        let is_idle = self.count.load(Acquire) == 0;
        is_idle.then(|| self.began + Duration::from_micros(self.ended.load(Relaxed)))
    }
}

/// Counts one request as running.
struct Turn(Arc<Running>);

impl Turn {
    fn new(running: &Arc<Running>) -> Self {
        running.count.fetch_add(1, Relaxed);
        Self(Arc::clone(running))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let ended = u64::try_from(self.0.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.0.ended.store(ended, Relaxed);
        self.0.count.fetch_sub(1, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_one_morning_do_not_all_leave_at_once() {
        let span = Duration::from_secs(1);
        let ages: Vec<_> = (0..200).map(|_| by_chance(span).as_millis()).collect();
        let (youngest, oldest) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
        assert!(*youngest >= 900 && *oldest <= 1100, "{youngest} to {oldest}");
        assert!(oldest - youngest > 100, "{youngest} to {oldest}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_puts_the_end_of_an_idle_connection_off() {
        let running = Arc::new(Running::new());
        sleep(Duration::from_mins(1)).await;
        let began = Instant::now();
        let idle = tokio::spawn({
            let running = Arc::clone(&running);
            async move { nothing_runs(&running, Duration::from_secs(10)).await }
        });
        sleep(Duration::from_secs(6)).await;
        drop(Turn::new(&running));
        sleep(Duration::from_secs(6)).await;
        let turn = Turn::new(&running);
        sleep(Duration::from_mins(1)).await;
        assert!(!idle.is_finished());
        drop(turn);
        idle.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 82);
    }
}
