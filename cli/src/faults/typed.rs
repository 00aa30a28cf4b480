//! Faults that somebody types, or another program writes.

use std::{
    io::{BufRead, IsTerminal, Read, stdin},
    thread,
};

use ridegate_faults::Fault;
use tokio::sync::mpsc;

/// A line holds no more; what is longer is no fault.
const LONGEST: usize = 1000;

/// What comes on standard input.
pub(super) struct Typed {
    lines: mpsc::Receiver<String>,
    /// Its end is somebody's Ctrl-D, not the end of a file.
    person: bool,
    over: bool,
}

impl Typed {
    pub(super) fn listen() -> Self {
        let (sender, lines) = mpsc::channel(16);
        // Not a task: nothing ends a read of a terminal, and the process shall not wait for it.
        thread::spawn(move || read(&sender));
        Self { lines, person: stdin().is_terminal(), over: false }
    }

    /// The next fault, or what is wrong with what was typed. `None`: whoever types wants it to end. Where nobody can type
    /// any more it waits for ever.
    pub(super) async fn next(&mut self) -> Option<Result<Fault, String>> {
        while !self.over {
            let line = self.lines.recv().await;
            match line.as_deref().map(str::trim) {
                Some("quit") => return None,
                Some(line) => return Some(line.parse().map_err(|why| format!("{why}; or quit"))),
                None if self.person => return None,
                None => self.over = true,
            }
        }
        std::future::pending().await
    }
}

fn read(sender: &mpsc::Sender<String>) {
    let mut input = stdin().lock();
    loop {
        let mut line = Vec::new();
        match input.by_ref().take(LONGEST as u64).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            // Nor is its rest.
            Ok(read) if read == LONGEST && line.last() != Some(&b'\n') => {
                line.clear();
                if input.skip_until(b'\n').is_err() {
                    return;
                }
            }
            Ok(_) => {}
        }
        if sender.blocking_send(String::from_utf8_lossy(&line).into_owned()).is_err() {
            return;
        }
    }
}
