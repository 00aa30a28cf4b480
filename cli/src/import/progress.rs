//! How far the gateway is, for who waits: a bar where somebody looks, a line now and then where nobody does.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Rows carried out, of all.
pub(super) struct Progress {
    bar: ProgressBar,
    /// Nobody looks.
    lines: bool,
}

impl Progress {
    pub(super) fn of(rows: u64) -> Self {
        let lines = !std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            Some(rows),
            if lines { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() },
        );
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} rows {per_sec} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, lines }
    }

    pub(super) fn done(&self) -> u64 {
        self.bar.position()
    }

    /// So many rows are carried out. Answers may overtake each other; a batch does not go back.
    pub(super) fn at(&self, rows: u64) {
        let (before, all) = (self.done(), self.bar.length().unwrap_or(0));
        if rows <= before {
            return;
        }
        self.bar.set_position(rows);
        // Every fifth of the whole, and the last.
        let fifths = |rows: u64| rows.saturating_mul(5).checked_div(all).unwrap_or(0);
        if self.lines && fifths(rows) > fifths(before) {
            self.say(&format!("{rows}/{all} rows"));
        }
    }

    /// Sending begins, or begins again, after so many rows that were carried out before.
    pub(super) fn go_on(&self, rows: u64) {
        let all = self.bar.length().unwrap_or(0);
        if rows > 0 {
            let then = if rows < all { ": going on from there" } else { "" };
            self.say(&format!("{rows} of {all} rows are carried out{then}"));
        }
        self.bar.set_position(rows);
        self.bar.reset_eta();
    }

    /// Says something beside the bar.
    #[expect(clippy::print_stderr, reason = "progress is for the person who waits")]
    pub(super) fn say(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{line}"));
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
