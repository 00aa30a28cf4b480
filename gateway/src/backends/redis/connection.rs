//! One connection to a server, what may be asked over it, and how often in a row it was of no use.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use redis::{
    Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};

use super::Script;

/// What is asked of it.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) script: &'a Script,
    pub(super) keys: &'a [&'a [u8]],
    pub(super) arguments: &'a [&'a [u8]],
}

/// One connection, over which many ask at once.
pub(super) struct Connection {
    line: MultiplexedConnection,
    /// In a row, by their weight.
    failures: AtomicU32,
}

impl Connection {
    pub(super) const fn new(line: MultiplexedConnection) -> Self {
        Self { line, failures: AtomicU32::new(0) }
    }

    /// An answer came in time.
    pub(super) fn is_useful(&self) {
        self.failures.store(0, Relaxed);
    }

    /// None did, which weighs so much; tells what those in a row weigh.
    pub(super) fn is_useless(&self, weight: u32) -> u32 {
        self.failures.fetch_add(weight, Relaxed).saturating_add(weight)
    }

    /// By the script's name; in full where that is not known: a server that was started anew, a replica that is master now,
    /// another node of the cluster, `SCRIPT FLUSH`.
    pub(super) async fn run(&self, question: Question<'_>, asking: bool) -> RedisResult<Value> {
        let Question { script, keys, arguments } = question;
        match self.send(script.by_name(keys, arguments), asking).await {
            Err(error) if is_unknown(&error) => self.send(script.in_full(keys, arguments), asking).await,
            answer => answer,
        }
    }

    /// Several, sent at once, each by its script's name and once more in full where that is not known.
    pub(super) async fn run_each(&self, questions: &[Question<'_>]) -> RedisResult<Vec<RedisResult<Value>>> {
        let mut all = Pipeline::with_capacity(questions.len());
        for Question { script, keys, arguments } in questions {
            all.add_command(script.by_name(keys, arguments));
        }
        let answers = self.line.clone().req_packed_commands(&all, 0, questions.len()).await?;
        let mut each = Vec::with_capacity(questions.len());
        for (Question { script, keys, arguments }, answer) in questions.iter().zip(answers) {
            each.push(match answer.extract_error() {
                Err(error) if is_unknown(&error) => self.send(script.in_full(keys, arguments), false).await,
                answer => answer,
            });
        }
        Ok(each)
    }

    /// Sends one command; after `ASKING`, which holds for the command behind it only, if need be.
    pub(super) async fn send(&self, command: Cmd, asking: bool) -> RedisResult<Value> {
        let mut line = self.line.clone();
        if !asking {
            return line.req_packed_command(&command).await?.extract_error();
        }
        let mut both = redis::pipe();
        both.cmd("ASKING").ignore().add_command(command);
        let answers = line.req_packed_commands(&both, 1, 1).await?;
        answers.into_iter().next_back().unwrap_or(Value::Nil).extract_error()
    }

    /// Sends several commands. An answer that says no makes all of it a failure.
    pub(super) async fn send_all(&self, commands: &Pipeline) -> RedisResult<()> {
        let mut line = self.line.clone();
        let answers = line.req_packed_commands(commands, 0, commands.len()).await?;
        answers.into_iter().try_for_each(|answer| answer.extract_error().map(drop))
    }
}

/// The server does not know the script by this name.
fn is_unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}
