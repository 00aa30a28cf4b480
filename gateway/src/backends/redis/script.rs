//! Scripts that Redis runs as one step.

use redis::Cmd;

/// A script, and the name under which Redis remembers it.
pub struct Script {
    lines: &'static str,
    name: Box<str>,
}

impl Script {
    /// One of these lines.
    pub fn new(lines: &'static str) -> Self {
        Self { lines, name: redis::Script::new(lines).get_hash().into() }
    }

    /// By its name: fails with `NOSCRIPT` where Redis has not seen it, or not since it was started.
    pub(super) fn by_name(&self, keys: &[&[u8]], arguments: &[&[u8]]) -> Cmd {
        with(redis::cmd("EVALSHA"), &self.name, keys, arguments)
    }

    /// In full; Redis remembers it from then on.
    pub(super) fn in_full(&self, keys: &[&[u8]], arguments: &[&[u8]]) -> Cmd {
        with(redis::cmd("EVAL"), self.lines, keys, arguments)
    }
}

fn with(mut command: Cmd, script: &str, keys: &[&[u8]], arguments: &[&[u8]]) -> Cmd {
    command.arg(script).arg(keys.len()).arg(keys).arg(arguments);
    command
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}
