//! One way of one connection: what is read here is written there, late, slowly, spoilt, or not.

use std::{
    num::NonZeroU64,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{ReadHalf, WriteHalf},
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
    try_join,
};

use crate::{Fault, Stop, Way};

/// Read at once.
const PIECE: usize = 16 * 1024;
/// Pieces that are on their way; the next wait where they come from.
const ON_THE_WAY: usize = 1024;
/// What drips does so this often, or as seldom as a byte comes.
const DROPS_A_SECOND: u64 = 100;

/// The connection is to be reset: by a fault, or because an end of it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut;

/// This way was closed, and nothing more passes.
struct Closed;

/// What was read at once.
struct Piece {
    read: Instant,
    late: Duration,
    bytes: Vec<u8>,
}

/// One way.
pub(crate) struct Pump<'c> {
    way: Way,
    told: watch::Receiver<Fault>,
    chance: ChaCha8Rng,
    passed: &'c AtomicU64,
    /// How many bytes have passed since which end was given to them.
    since: (Option<Stop>, u64),
}

impl<'c> Pump<'c> {
    pub(crate) fn new(way: Way, told: watch::Receiver<Fault>, seed: u64, passed: &'c AtomicU64) -> Self {
        Self { way, told, chance: ChaCha8Rng::seed_from_u64(seed), passed, since: (None, 0) }
    }

    /// Until there is nothing more to carry, which the other end is told.
    pub(crate) async fn carry(self, from: ReadHalf<'_>, to: WriteHalf<'_>) -> Result<(), Cut> {
        let (pieces, read) = mpsc::channel(ON_THE_WAY);
        let (way, told) = (self.way, self.told.clone());
        let jitter = ChaCha8Rng::from_rng(&mut self.chance.clone());
        try_join!(read_all(from, pieces, way, told, jitter), self.write_all(to, read)).map(drop)
    }

    async fn write_all(mut self, mut to: WriteHalf<'_>, mut read: mpsc::Receiver<Piece>) -> Result<(), Cut> {
        while let Some(piece) = self.next(&mut read).await {
            match self.write(&mut to, piece).await? {
                Ok(()) => {}
                Err(Closed) => break,
            }
        }
        // An end is carried like everything else: when a stall is over.
        let _passes_or_is_closed = self.passable().await;
        to.shutdown().await.map_err(|_| Cut)?;
        // What comes all the same is for nobody.
        while read.recv().await.is_some() {}
        Ok(())
    }

    /// `None`: there is none, or this way is closed.
    async fn next(&mut self, read: &mut mpsc::Receiver<Piece>) -> Option<Piece> {
        let mut told = self.told.clone();
        let way = self.way;
        let closed = |fault: &Fault| fault.of(way).stop == Some(Stop::HalfClose);
        tokio::select! {
            Ok(_) = told.wait_for(closed) => None,
            piece = read.recv() => piece,
        }
    }

    async fn write(&mut self, to: &mut WriteHalf<'_>, mut piece: Piece) -> Result<Result<(), Closed>, Cut> {
        if self.until_due(&piece).await.is_err() {
            return Ok(Err(Closed));
        }
        self.spoil(&mut piece.bytes);
        let mut rest = piece.bytes.as_slice();
        while !rest.is_empty() {
            let Ok(fault) = self.passable().await else { return Ok(Err(Closed)) };
            let (most, pause) = fault.drip.map_or((rest.len(), Duration::ZERO), drop_of);
            let left = self.left(fault.stop);
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(most).min(rest.len());
            let (now, later) = rest.split_at_checked(most).unwrap_or((rest, &[]));
            to.write_all(now).await.map_err(|_| Cut)?;
            let written = u64::try_from(now.len()).unwrap_or(u64::MAX);
            self.passed.fetch_add(written, Relaxed);
            self.since.1 = self.since.1.saturating_add(written);
            if written >= left {
                return Err(Cut);
            }
            rest = later;
            if !pause.is_zero() {
                sleep(pause).await;
            }
        }
        Ok(Ok(()))
    }

    /// Waits until a piece may arrive. Of a fault that is over nothing is late any more.
    async fn until_due(&mut self, piece: &Piece) -> Result<(), Closed> {
        loop {
            let fault = self.passable().await?;
            let is_late = !(fault.latency.is_zero() && fault.jitter.is_zero());
            let due = if is_late { piece.read + piece.late } else { piece.read };
            tokio::select! {
                () = sleep_until(due) => return Ok(()),
                Ok(()) = self.told.changed() => {}
            }
        }
    }

    /// Waits while nothing passes.
    async fn passable(&mut self) -> Result<Fault, Closed> {
        loop {
            let fault = self.told.borrow_and_update().of(self.way);
            match fault.stop {
                Some(Stop::HalfClose) => return Err(Closed),
                Some(Stop::Stall) => {
                    if self.told.changed().await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                Some(Stop::Reset { .. } | Stop::Refuse) | None => return Ok(fault),
            }
        }
    }

    /// How many bytes may pass until the connection is reset. Only answers are counted.
    fn left(&mut self, stop: Option<Stop>) -> u64 {
        if self.since.0 != stop {
            self.since = (stop, 0);
        }
        match stop {
            Some(Stop::Reset { after }) if self.way == Way::Down => after.saturating_sub(self.since.1),
            _ => u64::MAX,
        }
    }

    fn spoil(&mut self, bytes: &mut [u8]) {
        let Some(one_in) = self.told.borrow().of(self.way).corrupt else { return };
        for byte in bytes {
            if self.chance.random_range(0..one_in.get()) == 0 {
                *byte ^= self.chance.random_range(1..=u8::MAX);
            }
        }
    }
}

async fn read_all(
    mut from: ReadHalf<'_>,
    pieces: mpsc::Sender<Piece>,
    way: Way,
    told: watch::Receiver<Fault>,
    mut chance: ChaCha8Rng,
) -> Result<(), Cut> {
    loop {
        let mut bytes = Vec::with_capacity(PIECE);
        if from.read_buf(&mut bytes).await.map_err(|_| Cut)? == 0 {
            return Ok(());
        }
        let Fault { latency, jitter, .. } = told.borrow().of(way);
        let late = latency + jitter.mul_f64(chance.random_range(0.0..=1.0));
        if pieces.send(Piece { read: Instant::now(), late, bytes }).await.is_err() {
            return Ok(());
        }
    }
}

/// How many bytes, and how long until the next.
fn drop_of(rate: NonZeroU64) -> (usize, Duration) {
    let rate = rate.get();
    let bytes = (rate / DROPS_A_SECOND).max(1);
    let pause = Duration::from_nanos(1_000_000_000 / DROPS_A_SECOND.min(rate).max(1));
    (usize::try_from(bytes).unwrap_or(usize::MAX), pause)
}
