//! The gateway's words in the wire's.

use jiff::{SignedDuration, Timestamp};
use ridegate_adapters::{Account, Bcd8, CardKind, RefusedMedium, Words};
use ridegate_proto::validator::v1 as wire;
use tonic::metadata::{Ascii, MetadataValue};

use crate::{
    admission::{
        FieldError,
        identity::Validator,
        tap::{Card, Device, Shown, Tap},
    },
    domain::{
        passage::{Direction, Passage},
        prompt::{Color, Prompt, Tone},
        ticket::SaleVerdict,
        verdict::{AllowReason, Degraded, Inspect, Verdict},
    },
    stages::{Stage, Stages},
};

/// The longest card number.
const MAX_CARD_DIGITS: usize = 32;

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
    let shown = match request.medium {
        Some(wire::check_request::Medium::QrCode(payload)) => Shown::Code(payload),
        Some(wire::check_request::Medium::Card(tapped)) => card(tapped)?,
        None => return Err(FieldError::new("medium", "must be set: what did the rider show?")),
    };
    let passage = Passage { direction, location: request.location };
    Tap::new(request.request_id, shown, passage, Device { validator, gate: request.device_id })
}

fn card(tapped: wire::CardTap) -> Result<Shown, FieldError> {
    let kind = match card_kind(tapped.kind()) {
        None => return Err(FieldError::new("card.kind", "must be a kind of card")),
        Some(Err(refused)) => return Ok(Shown::Refused(refused)),
        Some(Ok(kind)) => kind,
    };
    let is_number = (1..=MAX_CARD_DIGITS).contains(&tapped.number.len())
        && tapped.number.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(FieldError::new("card.number", "must be 1 to 32 digits"));
    }
    let issuer: Bcd8 =
        tapped.issuer.parse().map_err(|_| FieldError::new("card.issuer", "must be 8 digits"))?;
    Ok(Shown::Card(Card { kind, issuer, number: Account::new(tapped.number) }))
}

/// A kind of card, or of what is not accepted.
const fn card_kind(kind: wire::CardKind) -> Option<Result<CardKind, RefusedMedium>> {
    Some(match kind {
        wire::CardKind::Unspecified => return None,
        wire::CardKind::YikatongCard => Ok(CardKind::YikatongCard),
        wire::CardKind::YikatongNfc => Ok(CardKind::YikatongNfc),
        wire::CardKind::TUnionCard => Ok(CardKind::TUnionCard),
        wire::CardKind::SeniorCard => Ok(CardKind::SeniorCard),
        wire::CardKind::CivilAffairsCard => Ok(CardKind::CivilAffairsCard),
        wire::CardKind::DisabilityServiceCard => Ok(CardKind::DisabilityServiceCard),
        wire::CardKind::UnionpayBankCard => Err(RefusedMedium::UnionpayBankCard),
        wire::CardKind::DigitalRmbWearable => Err(RefusedMedium::DigitalRmbWearable),
        wire::CardKind::AlipayPrepaidTicket => Err(RefusedMedium::AlipayPrepaidTicket),
        wire::CardKind::AirRailTicket => Err(RefusedMedium::AirRailTicket),
    })
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
pub(super) fn prompt(prompt: Prompt, own: Option<&Words>, help: &str) -> wire::Prompt {
    let Prompt { zh, en, tone, color } = prompt;
    let (zh, en) = own.map_or((zh, en), |own| (&own.zh, &own.en));
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

/// What a window or machine shows about a sale.
pub(super) fn sale_prompt(verdict: SaleVerdict, help: &str) -> wire::Prompt {
    match verdict {
        SaleVerdict::Asked(allowed @ Verdict::Allow(_)) => prompt(Prompt::of(allowed), None, ""),
        SaleVerdict::Asked(inspect) => prompt(Prompt::of(inspect), None, help),
        SaleVerdict::TicketOpen => prompt(Prompt::TICKET_OPEN, None, help),
    }
}

pub(super) const fn sale_verdict(sale: SaleVerdict) -> wire::Verdict {
    match sale {
        SaleVerdict::Asked(decided) => verdict(decided),
        SaleVerdict::TicketOpen => wire::Verdict::Inspect,
    }
}

pub(super) fn degraded(degraded: Degraded) -> wire::Degraded {
    let cause = match degraded {
        Degraded::Authority => wire::DegradedCause::Authority,
        Degraded::Registry => wire::DegradedCause::Registry,
        Degraded::Resolver => wire::DegradedCause::Resolver,
        Degraded::Redis => wire::DegradedCause::Redis,
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
