//! What became of a batch: a table, and a file of the cards that are not linked.

use std::{
    fmt::Write as _,
    fs::OpenOptions,
    io::{self, BufWriter, Write},
    path::Path,
    time::Duration,
};

use ridegate_proto::partner::v1::{BatchProgress, BatchRowResult, RefusedRow};

use super::{
    cards::{Card, Cards},
    fault::{self, Fault},
};

/// Rows that were not linked, and lines that were not sent.
pub(super) fn refused(progress: &BatchProgress, cards: &Cards) -> u64 {
    let refused = progress.counts.iter().filter(|count| !fault::is_linked(count.result()));
    refused.map(|count| count.rows).sum::<u64>() + cards.unusable
}

/// One result a line, with how many came to it. `sent` rows were carried out in this time.
pub(super) fn table(progress: &BatchProgress, cards: &Cards, sent: u64, took: Duration) -> String {
    let mut lines: Vec<(String, u64)> =
        [BatchRowResult::Linked, BatchRowResult::AlreadyLinked].map(|result| (words(result), 0)).into();
    for count in &progress.counts {
        let name = words(count.result());
        match lines.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rows)) => *rows += count.rows,
            None => lines.push((name, count.rows)),
        }
    }
    lines.push(("refused in the file".into(), cards.unusable));
    let wide = lines.iter().map(|(_, rows)| rows.to_string().len()).max().unwrap_or(0);
    let mut table = format!("{}: {} cards\n", cards.path().display(), cards.rows + cards.unusable);
    for (name, rows) in lines {
        // Writing to a string does not fail.
        let _written = writeln!(table, "  {name:<24} {rows:>wide$}");
    }
    let seconds = took.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = sent as f64 / seconds.max(0.001);
    let _written = write!(table, "{sent} rows in {seconds:.1} s, {rate:.0} rows/s");
    table
}

fn words(result: BatchRowResult) -> String {
    fault::name(result).to_lowercase().replace('_', " ")
}

/// The file of cards that are not linked: which line, and what helps. Nothing of the cards themselves: who has the file
/// finds them by their lines.
pub(super) struct Refused(BufWriter<std::fs::File>);

impl Refused {
    /// A new file; one that is there is overwritten only if `force`.
    pub(super) fn create(path: &Path, force: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.write(true).truncate(true);
        if force {
            options.create(true)
        } else {
            options.create_new(true)
        };
        let mut file = BufWriter::new(options.open(path)?);
        writeln!(file, "line,kind,result,what_to_do")?;
        Ok(Self(file))
    }

    /// A line that was not sent.
    pub(super) fn unusable(&mut self, line: u64, fault: Fault) -> io::Result<()> {
        // Its kind may be anything.
        writeln!(self.0, "{line},,{},{}", fault.name(), fault.remedy())
    }

    /// A row that the gateway refused.
    pub(super) fn row(&mut self, line: u64, card: &Card, row: RefusedRow) -> io::Result<()> {
        let (kind, result) = (card.kind(), row.result());
        writeln!(self.0, "{line},{kind},{},{}", fault::name(result), fault::remedy(result))
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}
