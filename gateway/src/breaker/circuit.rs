//! A breaker that many calls go through at once.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Breaker, Change, Leave, Outcome};

/// A breaker, how long a call may take, and who is told when it opens and closes.
pub struct Circuit {
    breaker: Mutex<Breaker>,
    timeout: Duration,
    told: Box<dyn Fn(Change) + Send + Sync>,
}

/// A call under way. Dropped before its end (the caller went away), it tells the breaker that nothing is known.
#[derive(Debug)]
pub struct Call<'c> {
    circuit: &'c Circuit,
    leave: Leave,
    began: Instant,
    ended: bool,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Somebody answered, whatever it was.
    Answered,
    /// Nobody was there.
    Absent,
    /// Nobody answered in the time that was left. Somebody who was given little of it is not absent for that.
    TimedOut,
}

impl Circuit {
    /// Closed. `told` hears of every change; it is called by whoever's call made it.
    pub fn new(timeout: Duration, told: impl Fn(Change) + Send + Sync + 'static) -> Self {
        Self { breaker: Mutex::default(), timeout, told: Box::new(told) }
    }

    /// A call that may be made now; `None` while it is not worth it.
    pub fn begin(&self) -> Option<Call<'_>> {
        let began = Instant::now();
        let leave = self.breaker().ask(began)?;
        Some(Call { circuit: self, leave, began, ended: false })
    }

    /// Whoever is asked was heard of in another way: the next call is tried now.
    pub fn sign_of_life(&self) {
        self.breaker().sign_of_life(Instant::now());
    }

    fn tell(&self, leave: Leave, outcome: Outcome) {
        // Told before anybody else can change it, so that the last that is told is how it is.
        let mut breaker = self.breaker();
        if let Some(change) = breaker.tell(leave, outcome, Instant::now()) {
            (self.told)(change);
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call<'_> {
    /// When it began.
    pub const fn began(&self) -> Instant {
        self.began
    }

    /// It is over.
    pub fn end(mut self, end: End) {
        self.ended = true;
        let hurried = self.began.elapsed() < self.circuit.timeout / 2;
        let outcome = match end {
            End::Answered => Outcome::Answered,
            End::TimedOut if hurried => Outcome::Hurried,
            End::Absent | End::TimedOut => Outcome::Absent,
        };
        self.circuit.tell(self.leave, outcome);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.circuit.tell(self.leave, Outcome::Unknown);
        }
    }
}

impl fmt::Debug for Circuit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Circuit").field("breaker", &self.breaker()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::sleep;

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(80);

    fn circuit() -> (Circuit, Arc<Mutex<Vec<Change>>>) {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&heard);
        (Circuit::new(TIMEOUT, move |change| told.lock().unwrap().push(change)), heard)
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_once_is_tried_and_closes_once() {
        let (circuit, heard) = circuit();
        for _ in 0..5 {
            circuit.begin().unwrap().end(End::Absent);
        }
        assert!(circuit.begin().is_none());
        sleep(Duration::from_millis(250)).await;
        let trial = circuit.begin().unwrap();
        assert!(circuit.begin().is_none(), "one only");
        trial.end(End::Answered);
        assert!(circuit.begin().is_some());
        assert_eq!(*heard.lock().unwrap(), [Change::Opened, Change::Closed]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_given_little_time_is_not_absent_for_that() {
        let (circuit, heard) = circuit();
        for _ in 0..49 {
            let call = circuit.begin().unwrap();
            sleep(TIMEOUT / 3).await;
            call.end(End::TimedOut);
        }
        assert_eq!(*heard.lock().unwrap(), []);
        circuit.begin().unwrap().end(End::Answered);
        for _ in 0..5 {
            let call = circuit.begin().unwrap();
            sleep(TIMEOUT / 2).await;
            call.end(End::TimedOut);
        }
        assert_eq!(*heard.lock().unwrap(), [Change::Opened]);
    }

    /// Whoever opened it is held up before it has said so, and somebody closes it meanwhile.
    #[test]
    fn changes_are_told_in_the_order_they_came_in() {
        let (opened, open) = std::sync::mpsc::channel();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&heard);
        let circuit = Circuit::new(TIMEOUT, move |change| {
            if change == Change::Opened {
                opened.send(()).unwrap();
                std::thread::sleep(TIMEOUT);
            }
            told.lock().unwrap().push(change);
        });
        let circuit = &circuit;
        std::thread::scope(|threads| {
            threads.spawn(move || {
                open.recv().unwrap();
                circuit.sign_of_life();
                circuit.begin().unwrap().end(End::Answered);
            });
            for _ in 0..5 {
                circuit.begin().unwrap().end(End::Absent);
            }
        });
        assert_eq!(*heard.lock().unwrap(), [Change::Opened, Change::Closed]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_is_dropped_is_left_to_the_next() {
        let (circuit, _) = circuit();
        for _ in 0..5 {
            circuit.begin().unwrap().end(End::Absent);
        }
        sleep(Duration::from_millis(250)).await;
        drop(circuit.begin().unwrap());
        assert!(circuit.begin().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sign_of_life_makes_the_next_call_a_trial_and_no_more() {
        let (circuit, heard) = circuit();
        circuit.sign_of_life();
        for _ in 0..5 {
            circuit.begin().unwrap().end(End::Absent);
        }
        circuit.sign_of_life();
        let trial = circuit.begin().unwrap();
        assert!(circuit.begin().is_none(), "one only");
        circuit.sign_of_life();
        assert!(circuit.begin().is_none(), "it is under way");
        trial.end(End::Absent);
        assert!(circuit.begin().is_none(), "it was one of something else");
        assert_eq!(*heard.lock().unwrap(), [Change::Opened]);
    }
}
