//! The gateway's words in the wire's.

use jiff::{SignedDuration, Timestamp};
use ridegate_adapters::Words;
use ridegate_proto::validator::v1 as wire;
use tonic::metadata::{Ascii, MetadataValue};

use crate::{
    admission::{
        FieldError,
        identity::Validator,
        tap::{Device, Tap},
    },
    domain::{
        passage::{Direction, Passage},
        prompt::{Color, Prompt, Tone},
        ticket::SaleVerdict,
        verdict::{AllowReason, Degraded, Inspect, Verdict},
    },
    stages::{Stage, Stages},
};

pub(super) fn tap(request: wire::CheckRequest, validator: Validator) -> Result<Tap, FieldError> {
    let direction = match request.direction() {
        wire::Direction::Entry => Direction::Entry,
        wire::Direction::Exit => Direction::Exit,
        wire::Direction::Boarding => Direction::Boarding,
        wire::Direction::Alighting => Direction::Alighting,
        wire::Direction::Unspecified => {
            return Err(FieldError::new("direction", "must be ENTRY, EXIT, BOARDING or ALIGHTING"));
        }
    };
    let Some(wire::check_request::Medium::QrCode(payload)) = request.medium else {
        return Err(FieldError::new("medium", "must be set: what did the rider show?"));
    };
    let passage = Passage { direction, location: request.location };
    Tap::new(request.request_id, payload, passage, Device { validator, gate: request.device_id })
}

pub(super) const fn verdict(verdict: Verdict) -> wire::Verdict {
    match verdict {
        Verdict::Allow(_) => wire::Verdict::Allow,
        Verdict::Inspect(_) => wire::Verdict::Inspect,
    }
}

/// The reason as a fleet may know it: coarse, unless it gets reasons in full (D27).
pub(super) const fn reason(verdict: Verdict, full: bool) -> wire::Reason {
    match verdict {
        Verdict::Allow(allowed) => match allowed.reason() {
            AllowReason::HealthOk => wire::Reason::HealthOk,
            AllowReason::Exempt => wire::Reason::Exempt,
            AllowReason::NotEnforced => wire::Reason::NotEnforced,
        },
        Verdict::Inspect(inspect) if inspect.is_health_detail() && !full => wire::Reason::Health,
        Verdict::Inspect(inspect) => match inspect {
            Inspect::NotLinked => wire::Reason::NotLinked,
            Inspect::NoRecord => wire::Reason::NoRecord,
            Inspect::HealthAbnormal => wire::Reason::HealthAbnormal,
            Inspect::HealthPopup => wire::Reason::HealthPopup,
            Inspect::TestMissing => wire::Reason::TestMissing,
            Inspect::TestOverdue => wire::Reason::TestOverdue,
            Inspect::CodeUnrecognized => wire::Reason::CodeUnrecognized,
            Inspect::CodeMalformed => wire::Reason::CodeMalformed,
            Inspect::CodeUntrusted => wire::Reason::CodeUntrusted,
            Inspect::CodeExpired => wire::Reason::CodeExpired,
            Inspect::CodeReplayed => wire::Reason::CodeReplayed,
            Inspect::MediumUnsupported => wire::Reason::MediumUnsupported,
            Inspect::LookupFailed => wire::Reason::LookupFailed,
            Inspect::Throttled => wire::Reason::Throttled,
            Inspect::Overloaded => wire::Reason::Overloaded,
        },
    }
}

/// What the reader shows, in these words if there are any.
pub(super) fn prompt(verdict: Verdict, own: Option<&Words>, help: &str) -> wire::Prompt {
    let help = if matches!(verdict, Verdict::Inspect(_)) { help } else { "" };
    let prompt = show(Prompt::of(verdict), help);
    match own {
        Some(own) => wire::Prompt { zh: own.zh.clone(), en: own.en.clone(), ..prompt },
        None => prompt,
    }
}

/// What a window or machine shows about a sale.
pub(super) fn sale_prompt(verdict: SaleVerdict, help: &str) -> wire::Prompt {
    match verdict {
        SaleVerdict::Asked(verdict) => prompt(verdict, None, help),
        SaleVerdict::TicketOpen => show(Prompt::TICKET_OPEN, help),
    }
}

pub(super) const fn sale_verdict(sale: SaleVerdict) -> wire::Verdict {
    match sale {
        SaleVerdict::Asked(decided) => verdict(decided),
        SaleVerdict::TicketOpen => wire::Verdict::Inspect,
    }
}

fn show(Prompt { zh, en, tone, color }: Prompt, help: &str) -> wire::Prompt {
    let tone = match tone {
        Tone::Ordinary => wire::Tone::Ordinary,
        Tone::Attention => wire::Tone::Attention,
        Tone::Retry => wire::Tone::Retry,
    };
    let color = match color {
        Color::Ordinary => wire::Color::Ordinary,
        Color::Yellow => wire::Color::Yellow,
        Color::Red => wire::Color::Red,
    };
    wire::Prompt { zh: zh.into(), en: en.into(), tone: tone.into(), color: color.into(), help: help.into() }
}

pub(super) fn degraded(degraded: Degraded) -> wire::Degraded {
    let cause = match degraded {
        Degraded::Authority => wire::DegradedCause::Authority,
        Degraded::Registry => wire::DegradedCause::Registry,
        Degraded::Resolver => wire::DegradedCause::Resolver,
    };
    wire::Degraded { cause: cause.into() }
}

/// The stages in the form of W3C Server Timing, in milliseconds: digits, letters and punctuation only.
pub(super) fn timing(stages: &Stages) -> MetadataValue<Ascii> {
    let millis = |took: std::time::Duration| took.as_secs_f64() * 1e3;
    let stage = |(stage, took): (Stage, _)| format!("{};dur={:.3}", stage.name(), millis(took));
    let all = stages.took().map(stage).chain([format!("total;dur={:.3}", millis(stages.total()))]);
    let text = all.collect::<Vec<_>>().join(", ");
    text.parse().unwrap_or_else(|_| MetadataValue::from_static(""))
}

pub(super) const fn duration(duration: SignedDuration) -> prost_types::Duration {
    prost_types::Duration { seconds: duration.as_secs(), nanos: duration.subsec_nanos() }
}

/// A time as protobuf defines it: nanoseconds count forward, also before 1970.
pub(super) fn time(stated: prost_types::Timestamp) -> Option<Timestamp> {
    let forward = (0..1_000_000_000).contains(&stated.nanos);
    forward.then(|| Timestamp::new(stated.seconds, stated.nanos).ok()).flatten()
}

pub(super) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
}
