//! Progress for who waits: a bar where somebody looks, a line now and then where nobody does.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// How far it has come.
#[derive(Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
    label: &'static str,
    lines: bool,
}

/// Starts at nothing of `total`.
pub(crate) fn progress(total: usize, label: &'static str) -> Progress {
    let bar = ProgressBar::new(total as u64);
    let style = ProgressStyle::with_template("{prefix} {bar:40} {pos}/{len} {per_sec} {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(label);
    Progress { bar, label, lines: !std::io::stderr().is_terminal() }
}

impl Progress {
    pub(crate) fn step(&self) {
        self.bar.inc(1);
        let total = self.bar.length().unwrap_or(0);
        let done = self.bar.position();
        if self.lines && (done == total || done.is_multiple_of((total / 5).max(1))) {
            self.bar.suspend(|| say(&format!("{} {done}/{total}", self.label)));
        }
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Says something on standard error.
#[expect(clippy::print_stderr, reason = "progress is for the person who waits")]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}
