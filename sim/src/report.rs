//! What the demo shows at its end.

use std::{collections::BTreeMap, fmt, time::Duration};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use hdrhistogram::Histogram;

/// An answer that was not the one expected. Names what, never who.
#[derive(Debug, Clone)]
pub struct Mismatch {
    /// The rider's story.
    pub story: String,
    /// What should have come.
    pub expected: String,
    /// What came.
    pub got: String,
}

/// Everything that was seen.
#[derive(Debug)]
pub struct Report {
    pub(crate) sent: u64,
    pub(crate) latency: Histogram<u64>,
    /// By reason, then partner.
    pub(crate) answers: BTreeMap<(bool, String), BTreeMap<String, u64>>,
    pub(crate) mismatches: Vec<Mismatch>,
    pub(crate) mismatched: u64,
    pub(crate) took: Duration,
    pub(crate) inspections: [u64; 3],
    pub(crate) reported: u64,
    /// What several replicas did as one.
    pub(crate) fleet: Vec<Finding>,
}

/// Something that was looked at after the day.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) what: String,
    pub(crate) expected: String,
    pub(crate) seen: String,
    pub(crate) right: bool,
}

const SHOWN: usize = 10;

impl Report {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            sent: 0,
            latency: Histogram::new_with_bounds(1, 60_000_000, 3)?,
            answers: BTreeMap::new(),
            mismatches: Vec::new(),
            mismatched: 0,
            took: Duration::ZERO,
            inspections: [0; 3],
            reported: 0,
            fleet: Vec::new(),
        })
    }

    pub(crate) fn answer(&mut self, allow: bool, reason: &str, partner: &str, latency: Duration) {
        self.latency.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
        let partners = self.answers.entry((!allow, reason.to_owned())).or_default();
        *partners.entry(partner.to_owned()).or_default() += 1;
    }

    pub(crate) fn mismatch(&mut self, mismatch: Mismatch) {
        self.mismatched += 1;
        if self.mismatches.len() < SHOWN {
            self.mismatches.push(mismatch);
        }
    }

    fn answered(&self) -> u64 {
        self.answers.values().flat_map(BTreeMap::values).sum()
    }

    /// Whether every tap was answered, every answer was the one expected, all counts agree, and the replicas did as one
    /// gateway would.
    pub fn is_clean(&self) -> bool {
        self.mismatched == 0
            && self.sent > 0
            && self.answered() == self.sent
            && self.latency.len() == self.sent
            && self.inspections.iter().sum::<u64>() == self.reported
            && self.fleet.iter().all(|finding| finding.right)
    }

    fn fleet_table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["the fleet", "expected", "seen", ""]);
        for Finding { what, expected, seen, right } in &self.fleet {
            let verdict = if *right { "as expected" } else { "NOT as expected" };
            table.add_row([what, expected, seen, verdict]);
        }
        table
    }

    fn table(&self) -> Table {
        let partners: std::collections::BTreeSet<&String> =
            self.answers.values().flat_map(BTreeMap::keys).collect();
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
        let name =
            |partner: &String| if partner.is_empty() { "(nobody's)".to_owned() } else { partner.clone() };
        let header = ["verdict".to_owned(), "reason".to_owned()].into_iter();
        table
            .set_header(header.chain(partners.iter().map(|partner| name(partner))).chain(["all".to_owned()]));
        let count = |number: u64| if number == 0 { String::new() } else { number.to_string() };
        let mut totals = vec![0; partners.len()];
        for ((inspect, reason), counts) in &self.answers {
            let verdict = if *inspect { "INSPECT" } else { "ALLOW" };
            let row: Vec<u64> =
                partners.iter().map(|partner| counts.get(*partner).copied().unwrap_or(0)).collect();
            totals.iter_mut().zip(&row).for_each(|(total, number)| *total += number);
            let all = row.iter().sum();
            let cells = row.into_iter().chain([all]).map(count);
            table.add_row([verdict.to_owned(), reason.clone()].into_iter().chain(cells));
        }
        let all = totals.iter().sum();
        table.add_row(
            ["all".to_owned(), String::new()].into_iter().chain(totals.into_iter().chain([all]).map(count)),
        );
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.table())?;
        let millis = |quantile| display_ms(self.latency.value_at_quantile(quantile));
        writeln!(
            f,
            "latency   p50 {}   p90 {}   p99 {}   p99.9 {}   max {}",
            millis(0.5),
            millis(0.9),
            millis(0.99),
            millis(0.999),
            display_ms(self.latency.max()),
        )?;
        let rate =
            f64::from(u32::try_from(self.sent).unwrap_or(u32::MAX)) / self.took.as_secs_f64().max(0.001);
        writeln!(f, "rate      {rate:.0} verdicts/s over {:.1} s", self.took.as_secs_f64())?;
        let [passed, refused, left] = self.inspections;
        writeln!(
            f,
            "staff     {} looks reported: {passed} passed, {refused} refused, {left} left",
            self.reported
        )?;
        let right = self.sent.saturating_sub(self.mismatched);
        writeln!(f, "counts    {} taps sent, {} answered, {right} as expected", self.sent, self.answered())?;
        for Mismatch { story, expected, got } in &self.mismatches {
            writeln!(f, "  {story}: expected {expected}, got {got}")?;
        }
        let more = self.mismatched.saturating_sub(self.mismatches.len() as u64);
        if more > 0 {
            writeln!(f, "  … and {more} more")?;
        }
        if !self.fleet.is_empty() {
            writeln!(f, "{}", self.fleet_table())?;
        }
        f.write_str(if self.is_clean() {
            "every verdict was the one expected"
        } else {
            "NOT every verdict was the one expected"
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of one minute fit")]
fn display_ms(micros: u64) -> String {
    format!("{:.2} ms", micros as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new().unwrap();
        report.sent = 2;
        report.answer(true, "HEALTH_OK", "alipay", Duration::from_millis(1));
        report.answer(false, "CODE_UNRECOGNIZED", "", Duration::from_millis(2));
        report
    }

    #[test]
    fn a_report_is_clean_only_if_all_is_as_expected_and_adds_up() {
        assert!(report().is_clean());

        let mut wrong = report();
        wrong.mismatch(Mismatch { story: "s".into(), expected: "ALLOW".into(), got: "INSPECT".into() });
        assert!(!wrong.is_clean());
        assert!(wrong.to_string().contains("s: expected ALLOW, got INSPECT"));

        let mut unanswered = report();
        unanswered.sent += 1;
        assert!(!unanswered.is_clean());

        let mut fleet = report();
        let finding = |right| Finding { what: "w".into(), expected: "e".into(), seen: "s".into(), right };
        fleet.fleet = vec![finding(true)];
        assert!(fleet.is_clean());
        fleet.fleet.push(finding(false));
        assert!(!fleet.is_clean());
        assert!(fleet.to_string().contains("NOT as expected"));

        let mut uncounted = report();
        uncounted.reported += 1;
        assert!(!uncounted.is_clean());
    }

    #[test]
    fn the_table_adds_up_by_partner_and_reason() {
        let shown = report().to_string();
        let last = shown.lines().find(|line| line.starts_with("│ all")).unwrap();
        let cells: Vec<_> = last.split(['│', '┆']).map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(cells, ["all", "1", "1", "2"]);
    }
}
