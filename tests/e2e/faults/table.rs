//! What is written in `docs/faults.md`: a row a cell, each written as the cell is run.

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::{
    cells::{CELLS, Cell},
    judge::{Complaint, Run, outcomes},
    load::Seen,
};

const BEGIN: &str = "<!-- cells -->\n";
const END: &str = "<!-- /cells -->\n";
const HEAD: &str = "| what | how | what riders were told meanwhile | degraded | p50 / p99 | back after | questions to it, by the metrics | up, meanwhile | log | judged |\n\
                    |---|---|---|---|---|---|---|---|---|---|\n";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/faults.md")
}

/// The row of a cell that was run.
pub fn row(cell: &Cell, run: &Run, complaints: &[Complaint]) -> String {
    let [_, mended, _] = &run.counts;
    let asked = outcomes(cell, &run.counts_before, mended);
    let asked: Vec<_> = asked.iter().map(|(outcome, many)| format!("{outcome} {many}")).collect();
    let count = |words: &str| run.log.lines().filter(|line| line.contains(words)).count();
    let said: Vec<_> = cell.who.lines(cell.form).iter().map(|words| count(words).to_string()).collect();
    let judged: Vec<_> = complaints.iter().map(ToString::to_string).collect();
    let recovery = run.recovery();
    let cells = [
        told(run),
        degraded(run),
        format!("{} / {} ms", run.percentile(50).as_millis(), run.percentile(99).as_millis()),
        if recovery.is_zero() { "at once".into() } else { format!("{:.1} s", recovery.as_secs_f64()) },
        if asked.is_empty() { "none".into() } else { asked.join(", ") },
        mended.of(cell.who.gauge()).to_string(),
        said.join(" / "),
        if judged.is_empty() { "right".into() } else { format!("**wrong**: {}", judged.join("; ")) },
    ];
    format!("{}{} |\n", key(cell), cells.join(" | "))
}

/// How its row begins.
fn key(cell: &Cell) -> String {
    format!("| {} | {} | ", cell.who.name(), cell.what)
}

fn told(run: &Run) -> String {
    let mut told = BTreeMap::<_, usize>::new();
    for Seen { told: answer, .. } in run.broken() {
        let said = match answer {
            Ok(answer) => {
                answer.said.replace("INSPECT ", "").replace("ALLOW HEALTH_OK", "ALLOW").replace("ALLOW ", "")
            }
            Err(code) => format!("{code:?}"),
        };
        *told.entry(said).or_default() += 1;
    }
    let told: Vec<_> = told.iter().map(|(said, many)| format!("{said} {many}")).collect();
    told.join(", ")
}

fn degraded(run: &Run) -> String {
    let mut causes = BTreeMap::<_, usize>::new();
    for answer in run.broken().filter_map(|seen| seen.told.as_ref().ok()) {
        if let Some(cause) = answer.cause {
            *causes.entry(cause.as_str_name().trim_start_matches("DEGRADED_CAUSE_")).or_default() += 1;
        }
    }
    let causes: Vec<_> = causes.iter().map(|(cause, many)| format!("{cause} {many}")).collect();
    if causes.is_empty() { "none".into() } else { causes.join(", ") }
}

/// Puts the row of this cell in its place; the others stay as they were.
pub fn write(cell: &Cell, row: &str) {
    let page = fs::read_to_string(path()).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (rows, after) = rest.split_once(END).unwrap();
    let mut table = HEAD.to_owned();
    for each in CELLS {
        let known = rows.lines().find(|line| line.starts_with(&key(each)));
        if each.name == cell.name {
            table += row;
        } else if let Some(known) = known {
            table += known;
            table.push('\n');
        }
    }
    fs::write(path(), format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
}

/// The table that the docs show is of all cells, in their order, and nothing in it is wrong.
#[test]
fn the_page_is_of_the_cells_and_says_right() {
    let page = fs::read_to_string(path()).unwrap();
    let (_, rest) = page.split_once(BEGIN).unwrap();
    let (rows, _) = rest.split_once(END).unwrap();
    let rows: Vec<_> = rows.lines().skip(2).collect();
    for (cell, row) in CELLS.iter().zip(&rows) {
        assert!(row.starts_with(&key(cell)), "not the row of {}, which make faults writes: {row}", cell.name);
        assert!(row.ends_with("| right |"), "{row}");
    }
    assert_eq!(rows.len(), CELLS.len(), "make faults writes a row for every cell");
}
