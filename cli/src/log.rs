//! The log, on standard error. What may stand in it is a list: our own events, with fields that are on it. Of what
//! libraries say only warnings and errors are written, without fields: what they put into their words is not ours to
//! judge, and below that they speak of what passes through them.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io::IsTerminal,
};

use ridegate_gateway::{
    clock::Clock,
    config::{Log, LogFormat},
};
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    level_filters::{LevelFilter, STATIC_MAX_LEVEL},
};
use tracing_subscriber::{
    EnvFilter,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// What an event may say beside its message.
const FIELDS: [&str; 21] = [
    "address",
    "cause",
    "clock",
    "connections",
    "descriptors",
    "device",
    "enforced",
    "forgotten",
    "left",
    "operations",
    "operator",
    "partner",
    "partners",
    "passed",
    "policy",
    "refused",
    "role",
    "tls",
    "verdicts",
    "what",
    "why",
];

/// Starts the log. `RUST_LOG` says how much; else the configuration. Refuses a `RUST_LOG` that cannot be read.
pub(crate) fn start(log: &Log) -> Result<(), String> {
    let asked = std::env::var("RUST_LOG").ok().filter(|asked| !asked.is_empty());
    let asked = asked.as_deref().unwrap_or(log.level.name());
    if !asked.split(',').map(str::trim).all(is_directive) {
        return Err(
            "RUST_LOG: expected off, error, warn, info, debug or trace, or target=level, with commas between"
                .into(),
        );
    }
    let asked = built_in(asked, STATIC_MAX_LEVEL);
    let filter = EnvFilter::try_new(asked).map_err(|error| format!("RUST_LOG: {error}"))?;
    let ansi = std::io::stderr().is_terminal() && log.format == LogFormat::Text;
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr);
    subscriber.event_format(Lines(log.format)).init();
    Ok(())
}

/// What must not be missed, however little is logged.
pub(crate) fn say_loudly(what: &'static str) {
    if tracing::enabled!(tracing::Level::WARN) {
        tracing::warn!("{what}");
    } else {
        crate::fail(0, &what);
    }
}

/// What is asked for, as far as it is there. A release build has nothing below debug in it, and the filter would tell of that in
/// lines of its own.
fn built_in(asked: &str, most: LevelFilter) -> Cow<'_, str> {
    if most >= LevelFilter::TRACE {
        return asked.into();
    }
    let there = asked.split(',').map(|directive| match directive.rsplit_once('=') {
        Some((target, level)) if level.trim() == "trace" => format!("{target}=debug"),
        None if directive.trim() == "trace" => "debug".to_owned(),
        _ => directive.to_owned(),
    });
    there.collect::<Vec<_>>().join(",").into()
}

/// A word that is neither a level nor a directive would be taken for a target, and everything else be silent.
fn is_directive(asked: &str) -> bool {
    asked.contains('=') || matches!(asked, "off" | "error" | "warn" | "info" | "debug" | "trace")
}

/// Writes one event as one line.
struct Lines(LogFormat);

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (at, level) = (Clock::system().now(), event.metadata().level());
        let target = event.metadata().target();
        let is_ours = target.starts_with("ridegate");
        if !is_ours && *level > tracing::Level::WARN {
            return Ok(());
        }
        let mut said = Said::default();
        event.record(&mut said);
        if !is_ours {
            said.fields.clear();
        }
        match self.0 {
            LogFormat::Json => {
                let mut line = Map::new();
                line.insert("timestamp".into(), at.to_string().into());
                line.insert("level".into(), level.as_str().into());
                line.insert("target".into(), target.into());
                line.insert("message".into(), said.message.into());
                line.extend(said.fields);
                writeln!(writer, "{}", Value::Object(line))
            }
            LogFormat::Text => {
                write!(
                    writer,
                    "{at:.6} {} {}",
                    Colored(*level, writer.has_ansi_escapes()),
                    OneLine(&said.message)
                )?;
                for (name, value) in &said.fields {
                    match value {
                        Value::String(text) => write!(writer, " {name}={}", OneLine(text))?,
                        other => write!(writer, " {name}={other}")?,
                    }
                }
                writeln!(writer)
            }
        }
    }
}

/// What of an event is on the list.
#[derive(Default)]
struct Said {
    message: String,
    fields: Map<String, Value>,
}

impl Said {
    fn keep(&mut self, field: &Field, value: impl Into<Value>) {
        if FIELDS.contains(&field.name()) {
            self.fields.insert(field.name().to_owned(), value.into());
        }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _to_a_string = write!(self.message, "{value:?}");
        } else {
            self.keep(field, format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.keep(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keep(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keep(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keep(field, value);
    }
}

/// Text without anything that would end the line or move about on a terminal.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if c.is_control() { write!(f, "{}", c.escape_default()) } else { f.write_char(c) }
        })
    }
}

struct Colored(tracing::Level, bool);

impl fmt::Display for Colored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(level, ansi) = *self;
        let color = match level {
            tracing::Level::ERROR => 31,
            tracing::Level::WARN => 33,
            tracing::Level::INFO => 32,
            _ => 34,
        };
        if ansi { write!(f, "\x1b[{color}m{level:>5}\x1b[0m") } else { write!(f, "{level:>5}") }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, say: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .event_format(Lines(format))
            .finish();
        tracing::subscriber::with_default(subscriber, say);
        let said = sink.0.lock().unwrap().clone();
        String::from_utf8(said).unwrap()
    }

    #[test]
    fn what_is_not_built_in_is_not_asked_for() {
        let asked = "trace, ridegate=trace,trace_of=warn,warn";
        assert_eq!(built_in(asked, LevelFilter::DEBUG), "debug, ridegate=debug,trace_of=warn,warn");
        assert_eq!(built_in("warn,ridegate=trace", LevelFilter::TRACE), "warn,ridegate=trace");
    }

    #[test]
    fn a_field_that_is_not_on_the_list_is_left_out() {
        let say =
            || tracing::warn!(account = "canary", cause = %"disk full", left = 3_u64, "not carried out");
        let text = logged(LogFormat::Text, say);
        assert!(text.ends_with("  WARN not carried out cause=disk full left=3\n"), "{text}");
        let json: Value = serde_json::from_str(&logged(LogFormat::Json, say)).unwrap();
        assert_eq!(json["message"], "not carried out");
        assert_eq!((&json["cause"], &json["left"]), (&Value::from("disk full"), &Value::from(3)));
        assert_eq!(json["level"], "WARN");
        assert!(json.get("account").is_none());
        assert!(!text.contains("canary") && !json.to_string().contains("canary"));
    }

    #[test]
    fn of_libraries_only_warnings_are_written_and_no_fields() {
        for format in [LogFormat::Text, LogFormat::Json] {
            assert_eq!(logged(format, || tracing::info!(target: "h2::codec", "a frame with canary")), "");
            let warned = logged(format, || tracing::warn!(target: "sqlx", cause = "canary", "slow"));
            assert!(warned.contains("slow") && !warned.contains("canary"), "{warned}");
        }
    }

    #[test]
    fn a_line_is_a_line() {
        let text = logged(LogFormat::Text, || tracing::warn!(cause = "one\n2026 ERROR two\x1b[2J", "said"));
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(r"one\n2026 ERROR two\u{1b}[2J"), "{text}");
    }
}
