//! How long each stage took, as the gateway says (W3C Server-Timing), and how long the answer took from here.

use std::{fmt, time::Duration};

use tonic::metadata::MetadataMap;

use crate::refusal::plain;

const ROUND_TRIP: &str = "round trip";

/// Milliseconds.
pub(super) struct Timing {
    stages: Vec<(String, f64)>,
    round_trip: f64,
}

impl Timing {
    /// What the metadata of an answer says, if it says anything.
    pub(super) fn new(metadata: &MetadataMap, round_trip: Duration) -> Self {
        let headers = metadata.get_all("server-timing").iter().filter_map(|header| header.to_str().ok());
        let stages = headers.flat_map(|header| header.split(',')).filter_map(stage).collect();
        Self { stages, round_trip: round_trip.as_secs_f64() * 1000.0 }
    }
}

/// One of `recognise;dur=0.051`. `None` if it has no duration.
fn stage(metric: &str) -> Option<(String, f64)> {
    let mut parts = metric.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let duration = parts.find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        key.trim().eq_ignore_ascii_case("dur").then(|| value.trim().trim_matches('"').parse::<f64>().ok())?
    })?;
    Some((plain(name), duration))
}

impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width =
            self.stages.iter().map(|(name, _)| name.len()).chain([ROUND_TRIP.len()]).max().unwrap_or(0);
        let all = self.stages.iter().map(|(name, took)| (name.as_str(), *took));
        for (name, took) in all.chain([(ROUND_TRIP, self.round_trip)]) {
            writeln!(f, "  {name:<width$} {took:>9.3} ms")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(headers: &[&str]) -> String {
        let mut metadata = MetadataMap::new();
        for header in headers {
            metadata.append("server-timing", header.parse().unwrap());
        }
        Timing::new(&metadata, Duration::from_micros(1234)).to_string()
    }

    #[test]
    fn stages_are_shown_in_their_order_and_the_round_trip_last() {
        let header = "recognise;dur=0.051, open;dur=0.398;desc=\"three signatures\", total;DUR=\"12.6\"";
        let expected = "  recognise      0.051 ms\n  open           0.398 ms\n  total         12.600 ms\n  round trip     1.234 ms\n";
        assert_eq!(shown(&[header]), expected);
        assert_eq!(shown(&["recognise;dur=0.051", "open;dur=0.398, total;dur=12.6"]), expected);
    }

    #[test]
    fn what_is_no_duration_is_passed_over() {
        for header in ["", ",", ";dur=1", "miss", "cache;desc=x", "open;dur=", "open;dur=x"] {
            assert_eq!(shown(&[header]), "  round trip     1.234 ms\n", "{header:?}");
        }
        assert_eq!(shown(&[]), "  round trip     1.234 ms\n");
    }
}
