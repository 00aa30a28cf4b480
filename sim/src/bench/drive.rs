//! Taps: at a rate that does not wait for answers, or as fast as they are answered.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;
use ridegate_proto::validator::v1::{CheckRequest, Direction, Verdict, check_request::Medium};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
    time::timeout,
};
use tonic::Status;

use super::{
    deck::{Due, Tap},
    reader::Reader,
    tally::{Standing, Tally},
};
use crate::progress::Progress;

/// The longest that an answer may take; after it nobody is there.
const ANSWER: Duration = Duration::from_secs(10);

/// A deck of taps that is being shown.
struct Show {
    taps: Vec<Tap>,
    /// Of each tap that shows a code for the first time.
    codes: Vec<Code>,
    readers: Arc<[Reader]>,
    tally: Mutex<Tally>,
    /// The longest that a tap was late by the callers' own fault, in µs.
    late: AtomicU64,
    /// Makes request ids of their own.
    name: String,
    progress: Progress,
}

#[derive(Default)]
struct Code {
    /// It was shown again.
    again: AtomicBool,
    let_in: AtomicBool,
}

/// What came of it.
pub(super) struct Shown {
    pub(super) taps: usize,
    pub(super) tally: Tally,
    /// From the first tap to the last answer.
    pub(super) took: Duration,
    /// The longest that a tap was late by the callers' own fault.
    pub(super) late: Duration,
}

impl Show {
    fn new(taps: Vec<Tap>, readers: &Arc<[Reader]>, name: &str, progress: Progress) -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            codes: taps.iter().map(|_| Code::default()).collect(),
            taps,
            readers: Arc::clone(readers),
            tally: Mutex::new(Tally::new()?),
            late: AtomicU64::new(0),
            name: name.to_owned(),
            progress,
        }))
    }

    /// Shows the code of this place. What it took is counted from when it was due.
    async fn tap(&self, place: usize, due: Instant) {
        self.late.fetch_max(u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX), Relaxed);
        let Some(tap) = self.taps.get(place) else { return };
        let (first, is_again) = match tap.due {
            Due::Replay(of) => (of, true),
            Due::Verdict(_) | Due::Throttled => (place, false),
        };
        let Some(code) = self.codes.get(first) else { return };
        code.again.fetch_or(is_again, Relaxed);
        let readers = self.readers.len().max(1);
        let Some(reader) = self.readers.get(tap.caller % readers) else { return };
        let request = CheckRequest {
            request_id: format!("{}-{place}", self.name),
            medium: Some(Medium::QrCode(tap.code.clone().into())),
            direction: Direction::Boarding.into(),
            location: "bench".to_owned(),
            device_id: String::new(),
            scanned_at: None,
        };
        let answer = timeout(ANSWER, reader.check(request)).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
        let took = due.elapsed();
        let allow = answer.as_ref().is_ok_and(|answer| answer.verdict() == Verdict::Allow);
        let code =
            Standing { overtaken: code.again.load(Relaxed), let_in: code.let_in.fetch_or(allow, Relaxed) };
        self.lock().note(tap.class, &tap.due, code, &answer, took);
        self.progress.step();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn over(self: Arc<Self>, began: Instant) -> Result<Shown> {
        let took = began.elapsed();
        let this = Arc::into_inner(self).context("somebody still taps")?;
        this.progress.finish();
        let tally = this.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
        let late = Duration::from_micros(this.late.into_inner());
        Ok(Shown { taps: this.taps.len(), tally, took, late })
    }
}

/// As fast as they are answered, so many calls at once.
pub(super) async fn at_most(
    taps: Vec<Tap>,
    readers: &Arc<[Reader]>,
    at_once: usize,
    name: &str,
    progress: Progress,
) -> Result<Shown> {
    let show = Show::new(taps, readers, name, progress)?;
    let (next, began) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    let mut streams: JoinSet<()> = JoinSet::new();
    for _ in 0..at_once {
        let (show, next) = (Arc::clone(&show), Arc::clone(&next));
        streams.spawn(async move {
            loop {
                let place = next.fetch_add(1, Relaxed);
                if place >= show.taps.len() {
                    return;
                }
                show.tap(place, Instant::now()).await;
            }
        });
    }
    streams.join_all().await;
    show.over(began)
}

/// At this rate, whether or not they are answered: taps come by themselves, as riders do, so many a second on average.
pub(super) async fn at_rate(
    taps: Vec<Tap>,
    readers: &Arc<[Reader]>,
    rate: f64,
    name: &str,
    progress: Progress,
) -> Result<Shown> {
    let show = Show::new(taps, readers, name, progress)?;
    let (began, runtime) = (Instant::now(), Handle::current());
    let (left, mut all) = mpsc::channel::<()>(1);
    let pacing = {
        let show = Arc::clone(&show);
        // A thread of its own: the timers of the runtime have a grain of a millisecond.
        spawn_blocking(move || pace(&show, rate, began, &runtime, &left))
    };
    pacing.await?;
    // Nothing is ever sent: it ends when everybody has left.
    let _nothing = all.recv().await;
    show.over(began)
}

/// Begins every tap when it is due.
fn pace(show: &Arc<Show>, rate: f64, began: Instant, runtime: &Handle, left: &mpsc::Sender<()>) {
    let (mut rng, mut at) = (ChaCha20Rng::seed_from_u64(1), 0.0);
    for place in 0..show.taps.len() {
        // Nobody waits for the rest.
        if left.is_closed() {
            break;
        }
        // Independent of each other: the times between them are exponential.
        at -= (1.0 - rng.random::<f64>()).ln() / rate;
        let due = began + Duration::from_secs_f64(at);
        let wait = due.saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            thread::sleep(wait);
        }
        let (show, left) = (Arc::clone(show), left.clone());
        runtime.spawn(async move {
            show.tap(place, due).await;
            drop(show);
            drop(left);
        });
    }
}
