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

    /// Several, sent at once, each by its script's name; and once more at once, in full, those whose name was not known.
    pub(super) async fn run_each(&self, questions: &[Question<'_>]) -> RedisResult<Vec<RedisResult<Value>>> {
        let by_name = questions.iter().map(|one| one.script.by_name(one.keys, one.arguments));
        let mut answers = self.send_each(by_name).await?;
        let unknown = answers.iter_mut().zip(questions);
        let unknown = unknown.filter(|(answer, _)| answer.as_ref().is_err_and(is_unknown));
        let (unknown, questions): (Vec<_>, Vec<&Question<'_>>) = unknown.unzip();
        if !unknown.is_empty() {
            let in_full = questions.iter().map(|one| one.script.in_full(one.keys, one.arguments));
            let again = self.send_each(in_full).await?;
            unknown.into_iter().zip(again).for_each(|(answer, again)| *answer = again);
        }
        Ok(answers)
    }

    async fn send_each(&self, commands: impl Iterator<Item = Cmd>) -> RedisResult<Vec<RedisResult<Value>>> {
        let mut all = redis::pipe();
        for command in commands {
            all.add_command(command);
        }
        let answers = self.line.clone().req_packed_commands(&all, 0, all.len()).await?;
        Ok(answers.into_iter().map(Value::extract_error).collect())
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
