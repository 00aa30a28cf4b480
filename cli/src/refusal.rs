//! A status instead of an answer, as a person reads it.

use tonic::Status;
use tonic_types::StatusExt;

/// Code and message, then the details that say more.
pub(crate) fn shown(status: &Status) -> String {
    let details = status.get_error_details();
    let mut lines = vec![format!("no answer: {:?}: {}", status.code(), plain(status.message()))];
    if let Some(cause) = innermost(std::error::Error::source(status)) {
        lines.push(format!("  because {}", plain(&cause)));
    }
    if let Some(info) = details.error_info() {
        lines.push(format!("  reason {}", plain(&info.reason)));
    }
    for violation in details.bad_request().iter().flat_map(|bad| &bad.field_violations) {
        lines.push(format!("  field {}: {}", plain(&violation.field), plain(&violation.description)));
    }
    lines.join("\n")
}

/// Without anything a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// What lies at the bottom of an error: the network's own words, or that a certificate was refused.
fn innermost(mut cause: Option<&(dyn std::error::Error + 'static)>) -> Option<String> {
    while let Some(deeper) = cause.and_then(std::error::Error::source) {
        cause = Some(deeper);
    }
    cause.map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn details_are_shown_where_there_are_any() {
        let mut details = ErrorDetails::with_error_info("INVALID_FIELD", "ridegate", []);
        details.add_bad_request_violation("location", "must have at most 64 characters");
        let status = Status::with_error_details(Code::InvalidArgument, "location: must …", details);
        assert_eq!(
            shown(&status),
            "no answer: InvalidArgument: location: must …\n  reason INVALID_FIELD\n  field location: must have at most 64 characters"
        );
        assert_eq!(shown(&Status::unavailable("gone\x07")), "no answer: Unavailable: gone ");
    }
}
