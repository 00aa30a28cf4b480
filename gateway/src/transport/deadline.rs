//! The caller's deadline, from the `grpc-timeout` header.

use std::time::Duration;

use http::HeaderMap;

/// What the caller gives us, if it says: at most 8 digits and a unit.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let fits = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let value: u64 = fits.then(|| digits.parse().ok()).flatten()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &'static str, expect: Option<Duration>) {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        assert_eq!(timeout(&headers), expect, "{text}");
    }

    #[test]
    fn every_unit_is_read_and_nonsense_is_no_deadline() {
        check("2H", Some(Duration::from_hours(2)));
        check("3M", Some(Duration::from_mins(3)));
        check("200m", Some(Duration::from_millis(200)));
        check("99999999S", Some(Duration::from_secs(99_999_999)));
        check("5u", Some(Duration::from_micros(5)));
        check("7n", Some(Duration::from_nanos(7)));
        for nonsense in ["", "m", "200", "-1m", "+1m", "1.5S", "123456789m", "2h", "2 m"] {
            check(nonsense, None);
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }
}
