//! What a drill shows: where it listens, every change, what has passed.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ridegate_faults::{Fault, Passed, Proxy};
use tokio::time::Instant;

use crate::tell;

/// The proxy, and who looks at it. Lines are standard output's; what has passed is shown below them where somebody looks.
pub(super) struct Shown {
    proxy: Proxy,
    began: Instant,
    below: ProgressBar,
}

impl Shown {
    /// The first line says where it listens, for programs as well.
    pub(super) fn begin(proxy: Proxy, to: &str) -> Self {
        let target =
            if stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let below = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{msg}");
        below.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let shown = Self { proxy, began: Instant::now(), below };
        tell(&format_args!("listening on {}, to {to}", shown.proxy.address()));
        shown.line(&shown.proxy.fault());
        shown
    }

    /// From now on this is done.
    pub(super) fn set(&self, fault: Fault) {
        let line = format!("{fault}; so far {}", passed(self.proxy.passed()));
        self.proxy.set(fault);
        self.line(&line);
    }

    /// Nothing has changed, and why.
    #[expect(clippy::print_stderr, reason = "an answer to who has typed")]
    pub(super) fn answer(&self, why: &str) {
        self.below.suspend(|| eprintln!("ridegate: {why}"));
    }

    /// What has passed, where somebody looks.
    pub(super) fn look(&self) {
        let text = format!("{}  {}", since(self.began.elapsed()), passed(self.proxy.passed()));
        self.below.set_message(text);
        self.below.tick();
    }

    pub(super) fn end(&self) {
        self.below.finish_and_clear();
        self.line(&format_args!("over; in all {}", passed(self.proxy.passed())));
    }

    fn line(&self, what: &dyn std::fmt::Display) {
        let line = format!("{}  {what}", since(self.began.elapsed()));
        self.below.suspend(|| tell(&line));
    }
}

fn since(time: Duration) -> String {
    format!("{:7.1}s", time.as_secs_f64())
}

fn passed(Passed { connections, broken, up, down }: Passed) -> String {
    format!("{connections} connections, {broken} broken, {up} bytes up, {down} bytes down")
}
