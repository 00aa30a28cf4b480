//! Colours on a terminal.

use std::io::IsTerminal;

use clap::{
    ColorChoice,
    builder::styling::{AnsiColor, Style},
};
use ridegate_proto::validator::v1::{CheckResponse, Color, Prompt, Verdict};

/// Whether there are colours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    /// As asked for; if it was left open, on a terminal unless `NO_COLOR` is set.
    pub(super) fn new(choice: ColorChoice) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => !unwanted && std::io::stdout().is_terminal(),
        })
    }

    /// Text in the colours of the reader's screen; the same text where there are none.
    pub(super) fn on_screen(self, answer: &CheckResponse, text: &str) -> String {
        if !self.0 {
            return text.to_owned();
        }
        let screen = screen(answer);
        format!("{screen} {text} {screen:#}")
    }
}

/// Whatever is not ALLOW is at least yellow.
fn screen(answer: &CheckResponse) -> Style {
    let (ink, ground) = match (answer.verdict(), answer.prompt.as_ref().map(Prompt::color)) {
        (Verdict::Allow, _) => (AnsiColor::Black, AnsiColor::Green),
        (_, Some(Color::Red)) => (AnsiColor::BrightWhite, AnsiColor::Red),
        _ => (AnsiColor::Black, AnsiColor::Yellow),
    };
    Style::new().bold().fg_color(Some(ink.into())).bg_color(Some(ground.into()))
}
