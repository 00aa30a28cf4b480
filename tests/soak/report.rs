//! What a run was, in tables; and what must be true of it.

use std::{collections::BTreeMap, fmt::Write, sync::atomic::Ordering::Relaxed, time::Duration};

use ridegate_proto::validator::v1::DegradedCause;

use crate::{
    history::Span,
    load::{Load, Sample},
    oracle::{ALONE, HURRIED, OVERLOADED, THROTTLED},
    plan::{Class, Ending, How, Part, Plan},
    stand::lock,
};

/// So long after it came back an answer is still counted as inside an outage.
const AFTER: Duration = Duration::from_secs(1);
/// What was away is as before when nothing has been marked for want of it for so long.
const SETTLED: Duration = Duration::from_secs(5);

/// Of so many verdicts one may have had too little time while nothing was away.
const ONE_IN: u64 = 100;

pub fn of_plan(plan: &Plan) -> String {
    format!(
        "seed {}, {:.0} s, {} kills, {} taps, {} riders who link while it runs",
        plan.seed,
        f64::from(plan.lasts) / 1000.0,
        plan.outages.len(),
        taps(plan),
        plan.stories.len()
    )
}

/// How often something is shown at a gate.
fn taps(plan: &Plan) -> usize {
    let visits: usize = plan.visits.iter().map(|visit| 1 + visit.again.len()).sum();
    let stories: usize = plan.stories.iter().map(|story| story.before.len() + story.after.len()).sum();
    visits + stories
}

/// Kinds of parts, for tables.
const fn kind(part: Part) -> &'static str {
    match part {
        Part::Replica(_) => "replica",
        Part::Redis => "Redis",
        Part::Postgres => "PostgreSQL",
        Part::Authority => "authority",
    }
}

pub fn percentile(times: &mut [Duration], thousandths: usize) -> Duration {
    times.sort_unstable();
    let place = (times.len() * thousandths).div_ceil(1000).saturating_sub(1);
    times.get(place).copied().unwrap_or_default()
}

pub fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// How long after it came back the last answer was other than usual for want of it; of a replica, the first was given.
fn recovery(span: &Span, next: Duration, samples: &[Sample]) -> Option<Duration> {
    let until = span.until?;
    let after = samples.iter().filter(|sample| sample.answered > until && sample.answered < next);
    let cause = match span.part {
        Part::Replica(number) => {
            let first = after.filter(|sample| sample.replica == number && sample.asked > span.from);
            return first.map(|sample| sample.answered - until).min();
        }
        Part::Redis => DegradedCause::Redis,
        Part::Postgres => DegradedCause::Registry,
        Part::Authority => DegradedCause::Authority,
    };
    // What is marked long after everything was well again has another cause, and is counted apart.
    let mut last = until;
    for marked in after.filter(|sample| sample.degraded == Some(cause)) {
        if marked.answered - last > SETTLED {
            break;
        }
        last = marked.answered;
    }
    Some(last - until)
}

pub fn print(load: &Load) {
    let text = table(load);
    println!("{text}");
    if let Some(file) = std::env::var_os("RIDEGATE_SOAK_REPORT") {
        std::fs::write(file, text).unwrap();
    }
}

fn table(load: &Load) -> String {
    let history = load.history();
    let mut records = lock(&load.records);
    records.samples.sort_unstable_by_key(|sample| sample.answered);
    let mut text = String::new();
    let mut kinds = BTreeMap::<&str, (u32, u32, Vec<Duration>, Vec<Duration>)>::new();
    for (span, planned) in history.spans.iter().zip(by_part(&load.plan, &history.spans)) {
        let entry = kinds.entry(kind(span.part)).or_default();
        if planned == Some(How::Terminate) {
            entry.1 += 1;
        } else {
            entry.0 += 1;
        }
        let next = history.of(span.part).map(|other| other.from).filter(|from| *from > span.from).min();
        entry.2.extend(span.until.map(|until| until - span.from));
        entry.3.extend(recovery(span, next.unwrap_or(Duration::MAX), &records.samples));
    }
    writeln!(text, "\n| | SIGKILL | SIGTERM | away, longest | as before after it served again, longest |\n|---|---|---|---|---|").unwrap();
    for (kind, (killed, terminated, mut away, mut back)) in kinds {
        let (away, back) = (percentile(&mut away, 1000), percentile(&mut back, 1000));
        writeln!(text, "| {kind} | {killed} | {terminated} | {} | {} |", millis(away), millis(back)).unwrap();
    }
    let (mut inside, mut outside) = (vec![], vec![]);
    for sample in &records.samples {
        let within = history.anything(sample.asked, sample.answered, AFTER);
        if within { &mut inside } else { &mut outside }.push(sample.answered - sample.asked);
    }
    writeln!(text, "\n| verdicts | | p50 | p99 | p99.9 | longest |\n|---|---|---|---|---|---|").unwrap();
    for (name, mut times) in [("nothing away", outside), ("something away, or a second ago", inside)] {
        let [half, most, nearly, all] = [500, 990, 999, 1000].map(|of| millis(percentile(&mut times, of)));
        writeln!(text, "| {name} | {} | {half} | {most} | {nearly} | {all} |", times.len()).unwrap();
    }
    writeln!(text, "\n| shown | answered |\n|---|---|").unwrap();
    let mut said = BTreeMap::<String, Vec<String>>::new();
    for ((class, reason), count) in &records.said {
        said.entry(format!("{class:?}")).or_default().push(format!("{count} {reason}"));
    }
    for (class, answers) in said {
        writeln!(text, "| {class} | {} |", answers.join(", ")).unwrap();
    }
    writeln!(text, "\n| | |\n|---|---|").unwrap();
    let mut line = |what: &str, count: u64| writeln!(text, "| {what} | {count} |").unwrap();
    let ledger = &load.ledger;
    line("taps answered", load.answers.load(Relaxed));
    line("… at the second try or later", records.retries);
    line("calls that found a closed connection", load.closed.load(Relaxed));
    line("copies of used codes shown", records.copies);
    for (why, count) in &records.excused {
        line(why, *count);
    }
    line("links acknowledged", ledger.linked.load(Relaxed));
    line("withdrawals acknowledged", ledger.unlinked.load(Relaxed));
    line(
        "partners' calls repeated because nobody behind the gateway answered",
        ledger.repeated.load(Relaxed),
    );
    line("links looked at", ledger.looked_at.load(Relaxed));
    line("**acknowledged links lost, or ended ones there**", ledger.lost.load(Relaxed));
    line("**wrong verdicts, and calls never answered**", records.wrong_count);
    writeln!(text, "\nplan {}: {}", load.plan.digest(), of_plan(&load.plan)).unwrap();
    text
}

/// How each of these was ended: the outages of a part come in the plan's order.
fn by_part(plan: &Plan, spans: &[Span]) -> Vec<Option<How>> {
    let mut seen = BTreeMap::<Part, usize>::new();
    let how = |span: &Span| {
        let turn = seen.entry(span.part).or_default();
        *turn += 1;
        plan.outages.iter().filter(|one| one.part == span.part).nth(*turn - 1).map(|one| one.how)
    };
    spans.iter().map(how).collect()
}

/// `alone`: nobody else uses the machine, so that verdicts whose time was up are few.
pub fn assert_right(load: &Load, alone: bool) {
    let records = lock(&load.records);
    assert_eq!(records.wrong_count, 0, "seed {}:\n{}", load.plan.seed, records.wrong.join("\n"));
    assert_eq!(load.ledger.lost.load(Relaxed), 0);
    let slow =
        [HURRIED, ALONE, THROTTLED, OVERLOADED].map(|why| records.excused.get(why).copied().unwrap_or(0));
    let (slow, most) = (slow.iter().sum::<u64>(), load.answers.load(Relaxed) / ONE_IN);
    assert!(!alone || slow <= most, "{slow} of too little time while nothing was away: more than {most}");
}

/// What was planned was done, all of it: the same seed does the same. And a run in which nothing broke shows nothing.
pub fn assert_worth_it(load: &Load) {
    let (records, plan, ledger) = (lock(&load.records), &load.plan, &load.ledger);
    assert_eq!(load.answers.load(Relaxed), taps(plan) as u64, "every tap was answered");
    let leaving = plan.stories.iter().filter(|story| story.ending == Ending::Leaves).count();
    let linked = load.city.riders().filter(|(class, _)| class.is_linked()).count() + plan.stories.len();
    assert_eq!(ledger.linked.load(Relaxed), linked as u64, "every link was acknowledged");
    assert_eq!(ledger.unlinked.load(Relaxed), leaving as u64, "and every withdrawal");
    // At once, twice for who is new; and everybody at the end.
    assert_eq!(ledger.looked_at.load(Relaxed), (linked + 2 * plan.stories.len()) as u64);
    let history = load.history();
    assert_eq!(history.spans.len(), load.plan.outages.len(), "everything was killed");
    assert!(history.spans.iter().all(|span| span.until.is_some()), "everything came back");
    assert!(history.spans.is_empty() || load.closed.load(Relaxed) > 0, "kills that nobody noticed");
    for (class, reason) in [
        (Class::Healthy, "HEALTH_OK"),
        (Class::Exempt, "EXEMPT"),
        (Class::Overdue, "HEALTH"),
        (Class::Abnormal, "HEALTH"),
        (Class::Popup, "HEALTH"),
        (Class::NoRecord, "NO_RECORD"),
        (Class::NotLinked, "NOT_LINKED"),
        (Class::Forged, "CODE_UNTRUSTED"),
        (Class::Expired, "CODE_EXPIRED"),
        (Class::Out, "NOT_ENFORCED"),
        (Class::Asked, "HEALTH_OK"),
        (Class::Copied, "CODE_REPLAYED"),
    ] {
        let told = records.said.get(&(class, reason.to_owned()));
        assert!(told.is_some(), "{class:?} was never told {reason}");
    }
    let excused: u64 = records.excused.values().sum();
    assert!(excused * 2 < load.answers.load(Relaxed), "{excused} answers were excused");
}
