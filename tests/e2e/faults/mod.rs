//! Everything behind the gateway breaks, in every way, under a constant load of taps of which it is known what is right:
//! cell by cell of the table in `docs/faults.md`, which this writes.
//!
//! `make test` runs a slice of the cells, short, and judged so that a busy machine changes nothing; `make faults` all of
//! them, one at a time, with the times that ship. The proof that the judge would notice is in `guards`.

mod breaking;
mod cells;
mod guards;
mod judge;
mod load;
mod riders;
mod stand;
mod table;

use std::time::Duration;

use tokio::time::sleep;

use self::{
    cells::{CELLS, Cell},
    judge::{Complaint, Moments, Pace, Run, judge},
    load::Load,
    stand::{Settings, Stand},
};

/// Of a run in `make test`.
const SLICE: Pace = Pace {
    rate: 40,
    before: Duration::from_secs(1),
    broken: Duration::from_secs(1),
    percentile: 90,
    longest: Duration::from_millis(600),
    patience: 4,
    elsewhere: 0.1,
};
/// Of a run in `make faults`: the verdict's budget is kept.
const FULL: Pace = Pace {
    rate: 100,
    before: Duration::from_secs(2),
    broken: Duration::from_secs(3),
    percentile: 99,
    longest: Duration::from_millis(150),
    patience: 1,
    elsewhere: 0.0,
};
/// So long all has to be well until it is over.
const QUIET: Duration = Duration::from_secs(1);
/// Runs of a cell at the most, where the machine was too busy for one.
const RUNS: u32 = 4;
/// Facts are believed for so long while the authority is not heard of: a minute is too long to wait for.
const FACTS: &str = "[facts]\nunwatched_max = \"1s\"\n";

impl Settings {
    /// As they ship.
    fn shipped() -> Self {
        Self { more: FACTS.into(), ..Self::default() }
    }

    /// Four times as much time for everything, for machines that do other work too.
    fn patient() -> Self {
        Self {
            authority: "lookup_timeout = \"320ms\"\n".into(),
            redis: "timeout = \"100ms\"\n".into(),
            registry: "timeout = \"200ms\"\n".into(),
            resolver: "timeout = \"320ms\"\n".into(),
            more: format!("[verdict]\nbudget = \"600ms\"\nwait = \"10s\"\n{FACTS}"),
        }
    }
}

/// Runs a cell.
async fn run(cell: &Cell, pace: &Pace, settings: &Settings) -> Run {
    let grace = Duration::from_millis(cell.grace);
    let back = Duration::from_millis(cell.back) * pace.patience;
    let whole = pace.before + grace + pace.broken + back + QUIET * 4;
    // Nobody is cold twice: three of twenty-five taps.
    let cold = u64::from(pace.rate) * whole.as_secs().min(20) * 3 / 25;
    let mut stand = Stand::build(cell, cold, settings).await;
    stand.serve();
    let riders = stand.furnish().await;
    if cell.from_start {
        stand.stop();
        stand.break_it(cell);
        stand.serve();
    }
    let counts_before = stand.metrics().await;
    let load = Load::start(stand.channels::<4>().into(), riders, pace.rate, 7);
    if !cell.from_start {
        sleep(pace.before).await;
        stand.break_it(cell);
    }
    let broken = if cell.from_start { Duration::ZERO } else { load.now() };
    keep_broken(&stand, cell, grace).await;
    let known = load.now();
    let counts_known = stand.metrics().await;
    keep_broken(&stand, cell, pace.broken).await;
    let counts_mended = stand.metrics().await;
    let ready = stand.page("/readyz").await;
    stand.mend_it(cell);
    let mended = load.now();
    // Until all has been well for a while, or too long.
    while load.now() < mended + back + QUIET * 2 {
        if load.now() > load.last_unwell().max(mended) + QUIET {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    let is_up = stand.comes_to(cell.who.gauge(), 1.0, back).await;
    let left = load.stop().await;
    let back = left.seen.iter().filter(|seen| !seen.is_well()).map(|seen| seen.due).max().unwrap_or_default();
    let lost_links = stand.lost_links(&left.links).await;
    let ready = [ready, stand.page("/readyz").await];
    let counts = [counts_known, counts_mended, stand.metrics().await];
    let moments = Moments { broken, known, mended, back };
    let log = stand.stop();
    Run { left, moments, counts, counts_before, is_up, log, lost_links, ready }
}

async fn keep_broken(stand: &Stand, cell: &Cell, long: Duration) {
    let until = tokio::time::Instant::now() + long;
    while tokio::time::Instant::now() < until {
        sleep((until - tokio::time::Instant::now()).min(Duration::from_millis(200))).await;
        stand.break_it_again(cell);
    }
}

/// What is wrong, with what was told around it.
fn must_be_right(cell: &Cell, run: &Run, complaints: &[Complaint]) {
    let list: Vec<_> = complaints.iter().map(ToString::to_string).collect();
    assert!(
        complaints.is_empty(),
        "{}:\n- {}\n{}\nlog:\n{}",
        cell.name,
        list.join("\n- "),
        table::row(cell, run, complaints),
        run.log
    );
}

/// On a machine that never has time for it only what must never be is judged.
async fn sliced(name: &str) {
    let cell = Cell::of(name);
    assert!(cell.slice, "not of the slice");
    for turn in 1.. {
        let run = run(&cell, &SLICE, &Settings::patient()).await;
        let mut complaints = judge(&cell, &SLICE, &run);
        let had_time = run.had_time(&SLICE);
        if !complaints.is_empty() && !had_time && turn < 3 {
            println!("the machine had no time for this ({} ms late); again", run.left.late.as_millis());
            continue;
        }
        complaints.retain(|complaint| had_time || complaint.is_whatever_the_machine_does());
        return must_be_right(&cell, &run, &complaints);
    }
}

/// A run on a machine that had no time for it says nothing: then there is another.
async fn in_full(name: &str) {
    let cell = Cell::of(name);
    for turn in 1.. {
        let run = run(&cell, &FULL, &Settings::shipped()).await;
        let complaints = judge(&cell, &FULL, &run);
        let row = table::row(&cell, &run, &complaints);
        println!("{row}");
        if !complaints.is_empty() && !run.had_time(&FULL) && turn < RUNS {
            println!("the machine had no time for this ({} ms late); again", run.left.late.as_millis());
            continue;
        }
        table::write(&cell, &row);
        return must_be_right(&cell, &run, &complaints);
    }
}

/// A test a cell, so that each is named, timed and repeated by itself.
macro_rules! tests {
    ($module:ident, $names:ident, $run:ident: $($cell:ident)*) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $cell() {
                super::$run(stringify!($cell)).await;
            })*
        }
        const $names: &[&str] = &[$(stringify!($cell)),*];
    };
}

tests! { slice, SLICED, sliced:
    redis_refused redis_stalled redis_reset
    registry_stalled registry_dies
    authority_refused authority_wrong
    resolver_refused resolver_stalled
}

// Not of `make test`: .config/nextest.toml leaves them out.
tests! { full, IN_FULL, in_full:
    redis_refused redis_stalled redis_slow_inside redis_slow redis_reset redis_reset_in_answers redis_half_closed
    redis_dripping redis_corrupt redis_full redis_read_only redis_auth_lost redis_forbidden redis_wrong_type
    redis_script_lost redis_slots_move redis_node_dies redis_cluster_failover redis_sentinel_failover redis_absent
    registry_refused registry_stalled registry_slow_inside registry_slow registry_reset registry_half_closed
    registry_corrupt registry_dies registry_backends_die registry_full registry_read_only registry_absent
    authority_refused authority_stalled authority_slow_inside authority_slow authority_reset authority_half_closed
    authority_dripping authority_corrupt authority_wrong authority_unavailable authority_exhausted authority_hiccups
    authority_absent
    resolver_refused resolver_stalled resolver_slow resolver_reset resolver_wrong resolver_corrupt
    resolver_unavailable resolver_absent
}

#[test]
fn every_cell_is_a_test() {
    let all: Vec<_> = CELLS.iter().map(|cell| cell.name).collect();
    assert_eq!(IN_FULL, all);
    let slice: Vec<_> = CELLS.iter().filter(|cell| cell.slice).map(|cell| cell.name).collect();
    assert_eq!(SLICED, slice);
}
