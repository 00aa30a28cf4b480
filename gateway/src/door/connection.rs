//! One connection, from the TCP socket to its end.

use std::{
    net::{IpAddr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rand::RngExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, join, split},
    net::TcpStream,
    sync::watch,
    time::{sleep, timeout},
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{
    Handler, Limits, Peer, Refusal,
    places::{Places, Seat},
    tls::{Tls, caller},
};
use crate::{admission::identity::Caller, metrics::DoorMetrics};

/// What every HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A connection asked to leave, on which nothing runs: so long it may take its leave in order.
const LEAVE_TAKING: Duration = Duration::from_secs(1);
/// Streams reset before we looked at them; more is an attack (CVE-2023-44487).
const RESETS_PENDING: usize = 20;
/// Streams that we had to reset; more is an attack (CVE-2025-8671).
const RESETS_OURS: usize = 64;

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
    pub(super) async fn receive(&self, socket: TcpStream, from: SocketAddr) {
        let seen_through = async {
            // Answers are small and somebody waits at a gate.
            let _best_effort = socket.set_nodelay(true);
            match &self.tls {
                Some(tls) => self.receive_with_tls(socket, tls, from.ip()).await,
                None => self.receive_in_plain(socket).await,
            }
        };
        if let Err(refusal) = seen_through.await {
            self.metrics.refused(refusal.name());
        }
    }

    async fn receive_with_tls(&self, socket: TcpStream, tls: &Tls, from: IpAddr) -> Result<(), Refusal> {
        let stream = tokio::select! {
            () = self.closing.cancelled() => return Err(Refusal::Closing),
            greeted = self.greet(socket, tls, from) => greeted?,
        };
        let (_, session) = stream.get_ref();
        let caller = caller(session.peer_certificates());
        self.seat(stream, caller).await
    }

    async fn greet(
        &self,
        socket: TcpStream,
        tls: &Tls,
        from: IpAddr,
    ) -> Result<TlsStream<TcpStream>, Refusal> {
        let _turn = self.places.handshake(from).await.ok_or(Refusal::Closing)?;
        let greeted = timeout(self.limits.handshake, async {
            let mut stream = tls.acceptor().accept(socket).await.map_err(|_| Refusal::Tls)?;
            read_preface(&mut stream).await.map(|()| stream)
        });
        greeted.await.map_err(|_| Refusal::TooSlow)?
    }

    async fn receive_in_plain(&self, mut socket: TcpStream) -> Result<(), Refusal> {
        tokio::select! {
            () = self.closing.cancelled() => return Err(Refusal::Closing),
            greeted = timeout(self.limits.handshake, read_preface(&mut socket)) => {
                greeted.map_err(|_| Refusal::TooSlow)??;
            }
        }
        self.seat(socket, Caller::Stated).await
    }

    async fn seat(&self, io: impl AsyncRead + AsyncWrite, caller: Caller) -> Result<(), Refusal> {
        let _seat: Seat = self.places.sit(&caller).ok_or(Refusal::CallerFull)?;
        let _counted = self.metrics.connected(caller.role());
        self.converse(io, caller).await;
        Ok(())
    }

    /// HTTP/2 until one side has had enough.
    async fn converse(&self, io: impl AsyncRead + AsyncWrite, caller: Caller) {
        let peer = Peer { caller, leaving: CancellationToken::new() };
        let leaving = peer.leaving.clone();
        let (business, running) = watch::channel(0_usize);
        let service = service_fn(|mut request: http::Request<_>| {
            let turn = self.handler.is_business(&request).then(|| Turn::new(&business));
            request.extensions_mut().insert(peer.clone());
            let handler = self.handler.clone();
            async move {
                let answer = handler.answer(request).await;
                // The answer's body keeps the turn until it has been sent.
                answer
                    .map(|answer| answer.map(|body| body.map_frame(move |frame| held(turn.as_ref(), frame))))
            }
        });
        // The preface was read; HTTP/2 wants to read it too.
        let (read, write) = split(io);
        let io = pin!(join((&PREFACE[..]).chain(read), write));
        let mut connection = pin!(self.http2().serve_connection(TokioIo::new(io), service));

        let cause = tokio::select! {
            _ended = connection.as_mut() => return,
            () = self.closing.cancelled() => "closing",
            () = sleep(by_chance(self.limits.age)) => "age",
            () = nothing_runs(running.clone(), self.limits.idle) => "idle",
        };
        leaving.cancel();
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            _ended = connection => self.metrics.left(cause),
            // Nothing runs, and the other side does not even answer that it may go.
            () = nothing_runs(running, LEAVE_TAKING) => self.metrics.left(cause),
            () = sleep(self.limits.drain) => self.metrics.left("cut"),
        }
    }

    fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.limits.streams)
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

/// Ends when nothing has run for so long.
async fn nothing_runs(mut running: watch::Receiver<usize>, span: Duration) {
    while running.wait_for(|count| *count == 0).await.is_ok() {
        tokio::select! {
            () = sleep(span) => return,
            _changed = running.changed() => {}
        }
    }
}

/// Counts one request as running.
struct Turn(watch::Sender<usize>);

impl Turn {
    fn new(running: &watch::Sender<usize>) -> Self {
        running.send_modify(|count| *count += 1);
        Self(running.clone())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

const fn held<T>(_turn: Option<&Turn>, frame: T) -> T {
    frame
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
        let (business, running) = watch::channel(0);
        let began = tokio::time::Instant::now();
        let idle = tokio::spawn(nothing_runs(running, Duration::from_secs(10)));
        sleep(Duration::from_secs(6)).await;
        drop(Turn::new(&business));
        sleep(Duration::from_secs(6)).await;
        let turn = Turn::new(&business);
        sleep(Duration::from_mins(1)).await;
        assert!(!idle.is_finished());
        drop(turn);
        idle.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 82);
    }
}
