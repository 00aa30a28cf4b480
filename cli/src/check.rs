//! `ridegate check-config`.

use std::{path::PathBuf, process::ExitCode, str::FromStr};

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use ridegate_gateway::{
    app::Settings,
    clock::Clock,
    config::{Config, ConfigFile},
};

use crate::{EXIT_USAGE, fail, tell};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Configuration; `ridegate.example.toml` explains every key.
    #[arg(long, value_name = "FILE", required_unless_present = "print_schema")]
    config: Option<PathBuf>,
    /// As for `serve`.
    #[arg(long)]
    insecure_dev: bool,
    /// Fail if a certificate ends within this time, such as 14d or 36h.
    #[arg(long, value_name = "TIME", value_parser = span)]
    fail_if_expiring: Option<SignedDuration>,
    /// Print the JSON schema of the configuration instead, for editors.
    #[arg(long, conflicts_with = "config")]
    print_schema: bool,
}

fn span(text: &str) -> Result<SignedDuration, &'static str> {
    let span = Span::from_str(text).ok();
    let time = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    time.filter(SignedDuration::is_positive).ok_or("expected a time such as 14d or 36h")
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let Some(path) = &arguments.config else { return print_schema() };
    let clock = Clock::system();
    let settings =
        ConfigFile::load(path).and_then(|file| Settings::new(file, clock.clone(), arguments.insecure_dev));
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return fail(EXIT_USAGE, &error),
    };
    if let Err(error) = settings.check() {
        return fail(EXIT_USAGE, &error);
    }
    show(path, &settings);
    let left = |end: Timestamp| end.duration_since(clock.now());
    let too_soon = settings.ends().into_iter().filter(|(certificate, end)| {
        // A revocation list lives for days, and one that is overdue still counts.
        *certificate != "client_crl" && arguments.fail_if_expiring.is_some_and(|within| left(*end) < within)
    });
    let mut too_soon: Vec<_> = too_soon.collect();
    too_soon.sort_by_key(|(_, end)| *end);
    if too_soon.is_empty() {
        return ExitCode::SUCCESS;
    }
    let named: Vec<_> =
        too_soon.iter().map(|(certificate, end)| format!("{certificate} ends at {end}")).collect();
    fail(1, &format!("certificates: {}", named.join(", ")))
}

fn show(path: &std::path::Path, settings: &Settings) {
    tell(&format!("{}: can be used", path.display()));
    let enforced = if settings.enforces_now() { "enforced now" } else { "nothing is enforced now" };
    tell(&format!("  listen.address   {}", settings.address()));
    tell(&format!("  partners         {}", settings.partners()));
    tell(&format!("  policy           {}, {enforced}", settings.policy_version()));
    for (certificate, end) in settings.ends() {
        let left = end.duration_since(Clock::system().now());
        let when =
            if left.is_negative() { "over".into() } else { format!("in {} days", left.as_hours() / 24) };
        tell(&format!("  {certificate:<16} ends at {end}, {when}"));
    }
    if !settings.has_tls() {
        tell(&"  tls              none: for --insecure-dev only");
    }
}

fn print_schema() -> ExitCode {
    match serde_json::to_string_pretty(&Config::schema()) {
        Ok(schema) => {
            tell(&schema);
            ExitCode::SUCCESS
        }
        Err(error) => fail(1, &error),
    }
}
