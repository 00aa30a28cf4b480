//! Errors become statuses here, with `google.rpc` details and never a value.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    admission::{FieldError, identity::Validator, quota::OverQuota},
    backends::{authority::AuthorityError, registry::RegistryError},
    linking::LinkingError,
    ticketing::TicketingError,
};

const DOMAIN: &str = "ridegate";
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(1);

fn details(reason: &str) -> ErrorDetails {
    ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new())
}

/// A field that cannot be used.
pub(super) fn field(error: &FieldError) -> Status {
    let mut details = details("INVALID_FIELD");
    details.add_bad_request_violation(&error.field, error.rule);
    Status::with_error_details(Code::InvalidArgument, error.to_string(), details)
}

/// What tonic says of a message that is too large or cannot be decoded, as an error of its field. `None` if the status
/// says something else.
pub(super) fn undecodable(status: &Status) -> Option<Status> {
    if status.code() == Code::OutOfRange && status.message().contains("decoded message length too large") {
        return Some(field(&FieldError::new(
            "message",
            "is too large: at most 64 KiB for a partner, 16 KiB for everybody else",
        )));
    }
    // Such as "failed to decode Protobuf message: CheckRequest.request_id: …: data is not UTF-8 encoded".
    let said = status.message().strip_prefix("failed to decode Protobuf message: ")?;
    if said.ends_with("not UTF-8 encoded") {
        let path: Vec<_> = said.split(": ").filter_map(|part| Some(part.split_once('.')?.1)).collect();
        return Some(field(&FieldError::new(path.join("."), "must be UTF-8 text")));
    }
    Some(field(&FieldError::new("message", "must be the protobuf message of this call")))
}

/// The caller's time is over, or the longest that a call may take, and there is no answer to give.
pub(super) fn deadline_exceeded() -> Status {
    Status::with_error_details(Code::DeadlineExceeded, "not answered in time", details("DEADLINE_EXCEEDED"))
}

/// The connection is asked to leave: what was not answered may be asked again at once, on another.
pub(super) fn leaving() -> Status {
    let mut details = details("LEAVING");
    details.set_retry_info(Some(Duration::ZERO));
    Status::with_error_details(
        Code::Unavailable,
        "this connection is closing: connect again and repeat what was not answered",
        details,
    )
}

/// A code as logs, metrics and other languages' clients write it.
pub(super) const fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

pub(super) fn no_identity() -> Status {
    Status::with_error_details(Code::Unauthenticated, "no identity", details("NO_IDENTITY"))
}

pub(super) fn unknown_identity() -> Status {
    let message = crate::admission::identity::UnknownIdentity.to_string();
    Status::with_error_details(Code::PermissionDenied, message, details("UNKNOWN_IDENTITY"))
}

pub(super) fn wrong_role(who: &str) -> Status {
    let message = format!("only {who} may call this service");
    Status::with_error_details(Code::PermissionDenied, message, details("WRONG_ROLE"))
}

pub(super) fn unknown_partner() -> Status {
    Status::with_error_details(Code::PermissionDenied, "no such partner", details("UNKNOWN_PARTNER"))
}

/// Over quota: when to come again, in `RetryInfo` and in the trailers that HTTP clients know.
pub(super) fn over_quota(partner: &str, over: OverQuota) -> Status {
    exhausted("over the partner's quota", format!("partner:{partner}"), "calls of this partner", over)
}

/// The same for a ticket window or machine.
pub(super) fn device_over_quota(Validator { operator, device }: &Validator, over: OverQuota) -> Status {
    exhausted(
        "this device asks too often",
        format!("device:{operator}:{device}"),
        "checks of this device",
        over,
    )
}

fn exhausted(message: &str, whose: String, what: &str, over: OverQuota) -> Status {
    let mut details = details("OVER_QUOTA");
    details.set_retry_info(Some(over.retry_after));
    details.add_quota_failure_violation(whose, what);
    let mut trailers = MetadataMap::new();
    let seconds = over.retry_after.as_secs() + u64::from(over.retry_after.subsec_nanos() > 0);
    trailers.insert("ratelimit-limit", over.limit.into());
    trailers.insert("ratelimit-remaining", 0.into());
    trailers.insert("ratelimit-reset", seconds.into());
    Status::with_error_details_and_metadata(Code::ResourceExhausted, message, details, trailers)
}

/// A partner's request that could not be carried out: nothing was acknowledged, so it may be repeated.
pub(super) fn linking(error: &LinkingError) -> Status {
    tracing::warn!(cause = %error, "a partner's request could not be carried out");
    let reason = match error {
        LinkingError::Registry(RegistryError::Unreadable(_)) => return damaged(),
        LinkingError::Registry(_) | LinkingError::Interrupted => "REGISTRY_UNAVAILABLE",
        LinkingError::Authority(AuthorityError::Busy) => "AUTHORITY_BUSY",
        LinkingError::Authority(_) => "AUTHORITY_UNAVAILABLE",
    };
    let mut details = details(reason);
    details.set_retry_info(Some(RETRY_UNAVAILABLE));
    Status::with_error_details(
        Code::Unavailable,
        "not carried out, try again with the same idempotency key",
        details,
    )
}

/// Whoever issues no cards reports nothing of any.
pub(super) fn not_a_card_company() -> Status {
    let message = "only a card company may call this: the partner's profile issues no cards";
    Status::with_error_details(Code::PermissionDenied, message, details("NOT_A_CARD_COMPANY"))
}

/// A batch nobody has begun, or that is kept no longer.
pub(super) fn no_such_batch() -> Status {
    Status::with_error_details(Code::NotFound, "no such batch of this partner", details("NO_SUCH_BATCH"))
}

/// Rows do not follow those that were carried out.
pub(super) fn rows_left_out() -> Status {
    let message = "rows.first_row: rows before it were not carried out, GetBatch says how many were";
    Status::with_error_details(Code::FailedPrecondition, message, details("ROWS_LEFT_OUT"))
}

/// A report of a ticket window or machine that could not be carried out.
pub(super) fn ticketing(error: &TicketingError) -> Status {
    let registry = match error {
        TicketingError::NoSuchSale => {
            return Status::with_error_details(Code::NotFound, error.to_string(), details("NO_SUCH_SALE"));
        }
        TicketingError::OtherTicket => {
            return field(&FieldError::new("ticket", "must be this sale's, and no other sale's"));
        }
        TicketingError::Registry(registry) => registry,
    };
    tracing::warn!(cause = %registry, "a report of a ticket could not be carried out");
    if matches!(registry, RegistryError::Unreadable(_)) {
        return damaged();
    }
    let mut details = details("REGISTRY_UNAVAILABLE");
    details.set_retry_info(Some(RETRY_UNAVAILABLE));
    Status::with_error_details(Code::Unavailable, "not carried out, try again", details)
}

fn damaged() -> Status {
    Status::with_error_details(Code::Internal, "the registry is damaged", details("REGISTRY_UNREADABLE"))
}

pub(super) fn key_reused() -> Status {
    let mut details = details("IDEMPOTENCY_KEY_REUSED");
    details.add_bad_request_violation("idempotency_key", "was used for another request");
    Status::with_error_details(
        Code::InvalidArgument,
        "idempotency_key: was used for another request",
        details,
    )
}
