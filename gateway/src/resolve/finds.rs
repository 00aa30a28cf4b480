//! Asking the registry whose accounts they are: one question for all that come while others are under way.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

use crate::{
    backends::registry::{Found, Registry, RegistryError},
    domain::pseudonym::Pseudonym,
};

/// Accounts that may wait for a question. More would only be answered too late.
const QUEUE: usize = 16_384;
/// Accounts that go into one question.
const MOST: usize = 64;
/// Questions under way at once. One that is slow does not keep up those behind it, and the fewer they are the more go together.
const AT_ONCE: usize = 2;

type Answer = Result<Option<Found>, RegistryError>;
type Answers = Result<Vec<Answer>, RegistryError>;

/// The way to the registry's links.
#[derive(Debug)]
pub(super) struct Finds(mpsc::Sender<Wanted>);

/// The names that an account may have, and who is told whose it is.
struct Wanted {
    names: Vec<Pseudonym>,
    tell: oneshot::Sender<Answer>,
}

impl Finds {
    /// Starts asking `registry`, which has so long to answer.
    pub(super) fn start(registry: Arc<Registry>, patience: Duration) -> Self {
        Self::with(patience, move |accounts| {
            let registry = Arc::clone(&registry);
            async move { registry.find_each(&accounts).await }
        })
    }

    fn with<A>(patience: Duration, ask: impl Fn(Vec<Vec<Pseudonym>>) -> A + Send + 'static) -> Self
    where
        A: Future<Output = Answers> + Send + 'static,
    {
        let (queue, wanted) = mpsc::channel(QUEUE);
        tokio::spawn(dispatch(wanted, patience, ask));
        Self(queue)
    }

    /// Whose account it is that may have these names; `None` if it is not linked.
    pub(super) async fn find(&self, names: &[Pseudonym]) -> Answer {
        let (tell, answer) = oneshot::channel();
        let wanted = Wanted { names: names.to_vec(), tell };
        self.0.try_send(wanted).map_err(|_| RegistryError::Skipped)?;
        // Who was to tell has not survived the answer.
        answer.await.unwrap_or(Err(RegistryError::Garbled))
    }
}

/// Sends accounts on their way: at once while a question more may be under way, else together as soon as one is over. A rush makes
/// questions longer, not more.
async fn dispatch<A>(
    mut queue: mpsc::Receiver<Wanted>,
    patience: Duration,
    ask: impl Fn(Vec<Vec<Pseudonym>>) -> A,
) where
    A: Future<Output = Answers> + Send + 'static,
{
    let free = Arc::new(Semaphore::new(AT_ONCE));
    while let Ok(turn) = Arc::clone(&free).acquire_owned().await {
        let mut wanted = Vec::new();
        if queue.recv_many(&mut wanted, MOST).await == 0 {
            return;
        }
        // Nobody waits for the others any more.
        let (accounts, tell): (Vec<_>, Vec<_>) =
            wanted.into_iter().filter(|one| !one.tell.is_closed()).map(|one| (one.names, one.tell)).unzip();
        if tell.is_empty() {
            continue;
        }
        let answers = timeout(patience, ask(accounts));
        tokio::spawn(async move {
            tell_each(tell, answers.await.unwrap_or(Err(RegistryError::TimedOut)));
            drop(turn);
        });
    }
}

/// Of a question that failed everybody is told that it did.
fn tell_each(tell: Vec<oneshot::Sender<Answer>>, answers: Answers) {
    let answers = answers.unwrap_or_else(|error| vec![Err(error); tell.len()]);
    for (tell, answer) in tell.into_iter().zip(answers) {
        let _gone = tell.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use tokio::{task::JoinHandle, time::sleep};

    use super::*;
    use crate::domain::facts::Subject;

    const PATIENCE: Duration = Duration::from_secs(1);

    fn names(number: u8) -> Vec<Pseudonym> {
        vec![Pseudonym([number; 32]), Pseudonym([number; 32])]
    }

    fn found(number: u8) -> Found {
        Found { name: Pseudonym([number; 32]), subject: Subject::new(format!("rider {number}")) }
    }

    /// What a registry says in which accounts of even numbers are linked.
    fn answers(accounts: &[Vec<Pseudonym>]) -> Vec<Answer> {
        let linked = |number: u8| number.is_multiple_of(2).then(|| found(number));
        accounts.iter().map(|names| Ok(linked(names[0].0[0]))).collect()
    }

    /// One that answers a question when it is told to, and how many accounts there are in each.
    fn slow() -> (Arc<Finds>, Arc<Semaphore>, mpsc::UnboundedReceiver<usize>) {
        let (seen, questions) = mpsc::unbounded_channel();
        let go = Arc::new(Semaphore::new(0));
        let leave = Arc::clone(&go);
        let finds = Finds::with(PATIENCE, move |accounts| {
            seen.send(accounts.len()).unwrap();
            let leave = Arc::clone(&leave);
            async move {
                leave.acquire().await.unwrap().forget();
                Ok(answers(&accounts))
            }
        });
        (Arc::new(finds), go, questions)
    }

    fn asks(finds: &Arc<Finds>, number: u8) -> JoinHandle<Answer> {
        let finds = Arc::clone(finds);
        tokio::spawn(async move { finds.find(&names(number)).await })
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_others_are_asked_for_goes_together_and_each_has_its_own_answer() {
        let (finds, go, mut questions) = slow();
        let mut asked = Vec::new();
        for number in 0..2 {
            asked.push(asks(&finds, number));
            assert_eq!(questions.recv().await, Some(1), "nobody waits for company");
        }
        asked.extend((2..200).map(|number| asks(&finds, number)));
        sleep(PATIENCE / 2).await;
        assert!(questions.try_recv().is_err(), "no more questions at once");
        for expected in [64, 64, 64, 6] {
            go.add_permits(1);
            assert_eq!(questions.recv().await, Some(expected));
        }
        go.add_permits(2);
        for (number, answer) in (0_u8..).zip(join_all(asked).await) {
            assert_eq!(answer.unwrap().unwrap(), number.is_multiple_of(2).then(|| found(number)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn for_whom_nobody_waits_any_more_nobody_asks() {
        let (finds, go, mut questions) = slow();
        for number in 0..2 {
            asks(&finds, number);
            assert_eq!(questions.recv().await, Some(1));
        }
        let (gone, other) = (asks(&finds, 2), asks(&finds, 4));
        sleep(PATIENCE / 2).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        go.add_permits(2);
        assert_eq!(questions.recv().await, Some(1), "the one who still waits");
        go.add_permits(1);
        assert_eq!(other.await.unwrap().unwrap(), Some(found(4)));
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_question_that_fails_everybody_hears_and_the_next_is_asked() {
        let finds = Finds::with(PATIENCE, |accounts| async move {
            match accounts[0][0].0[0] {
                0 => Err(RegistryError::NotChecked),
                1 => std::future::pending().await,
                2 => panic!("capacity overflow"),
                _ => Ok(answers(&accounts)),
            }
        });
        for number in [0, 1, 2, 0, 1, 2, 0, 1, 2] {
            let (one, other) = (names(number), names(number));
            let (one, other) = tokio::join!(finds.find(&one), finds.find(&other));
            for error in [one.unwrap_err(), other.unwrap_err()] {
                assert!(matches!(
                    (number, error),
                    (0, RegistryError::NotChecked)
                        | (1, RegistryError::TimedOut)
                        | (2, RegistryError::Garbled)
                ));
            }
        }
        assert_eq!(finds.find(&names(4)).await.unwrap(), Some(found(4)));
    }
}
