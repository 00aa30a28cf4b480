//! What is to be said of a cell that was run.

use std::{collections::BTreeMap, fmt, time::Duration};

use ridegate_sim::authority::Mood;

use super::{
    cells::{Break, Cell, How, Upstream},
    load::{Left, Seen},
    riders::Class,
    stand::Counts,
};

/// What was asked of it, and how strictly it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Taps a second.
    pub rate: u32,
    pub before: Duration,
    /// How long it is broken, beside the time that may pass until everybody knows.
    pub broken: Duration,
    /// Of so many taps in a hundred …
    pub percentile: u8,
    /// … none may take longer.
    pub longest: Duration,
    /// How many times as long as the row says it may take to be back.
    pub patience: u32,
    /// The share of answers that may be honest and yet not those expected at that moment: on a machine that does other work
    /// too something may be too slow by itself.
    pub elsewhere: f64,
}

/// Moments, since the load began.
#[derive(Debug, Clone, Copy)]
pub struct Moments {
    /// It was broken.
    pub broken: Duration,
    /// Everybody should know.
    pub known: Duration,
    /// It was mended.
    pub mended: Duration,
    /// The last answer that was not as it is when all is well, if that was after it was mended.
    pub back: Duration,
}

/// What came of it.
pub struct Run {
    pub left: Left,
    pub moments: Moments,
    /// As it was known to be broken, as it was mended, and in the end.
    pub counts: [Counts; 3],
    /// Before it was broken.
    pub counts_before: Counts,
    /// The metric came to 1 again.
    pub is_up: bool,
    pub log: String,
    pub lost_links: Vec<String>,
    /// `/readyz` while it was broken, and afterwards.
    pub ready: [(u16, String); 2],
}

/// Something is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Complaint {
    /// An answer that must never be, whatever is broken.
    Never {
        class: Class,
        told: String,
    },
    /// More answers than may be are not those that are right at that moment.
    Unexpected {
        when: When,
        of: usize,
        mostly: String,
        many: usize,
    },
    /// Too slow.
    Slow {
        took: Duration,
    },
    /// Not back in time.
    Late {
        took: Duration,
    },
    Link(String),
    Metric(String),
    Log(String),
    Ready(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum When {
    Before,
    /// It breaks, or is mended, and not everybody knows.
    Between,
    Broken,
    After,
}

impl Complaint {
    /// Nothing that a machine without time for it explains.
    pub fn is_whatever_the_machine_does(&self) -> bool {
        match self {
            Self::Never { told, .. } => !told.contains("THROTTLED"),
            Self::Link(_) => true,
            Self::Log(wrong) => wrong.contains("names somebody") || wrong.contains("panicked"),
            Self::Unexpected { .. }
            | Self::Slow { .. }
            | Self::Late { .. }
            | Self::Metric(_)
            | Self::Ready(_) => false,
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never { class, told } => write!(f, "{class:?} was told {told}, which must never be"),
            Self::Unexpected { when, of, mostly, many } => {
                write!(f, "{when:?}: {many} of {of} answers are not the expected ones, mostly {mostly}")
            }
            Self::Slow { took } => write!(f, "too slow: {} ms", took.as_millis()),
            Self::Late { took } => write!(f, "not back after {} ms", took.as_millis()),
            Self::Link(wrong) | Self::Metric(wrong) | Self::Log(wrong) | Self::Ready(wrong) => {
                f.write_str(wrong)
            }
        }
    }
}

/// A process that is later than this with what it does by the clock has too little of the machine to say anything.
const LATE: Duration = Duration::from_millis(15);
/// Between two calls that a breaker tries.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
/// What was said for a moment around it may be of either side.
const AROUND: Duration = Duration::from_millis(300);

pub fn judge(cell: &Cell, pace: &Pace, run: &Run) -> Vec<Complaint> {
    let mut complaints = answers(cell, pace, run);
    let slow = run.percentile(pace.percentile);
    if slow > pace.longest {
        complaints.push(Complaint::Slow { took: slow });
    }
    if run.recovery() > Duration::from_millis(cell.back) * pace.patience {
        complaints.push(Complaint::Late { took: run.recovery() });
    }
    complaints.extend(run.lost_links.iter().cloned().map(Complaint::Link));
    complaints.extend(metrics(cell, run).into_iter().map(Complaint::Metric));
    complaints.extend(logged(cell, pace, run).into_iter().map(Complaint::Log));
    complaints.extend(ready(cell, run).map(Complaint::Ready));
    complaints
}

impl Run {
    pub fn recovery(&self) -> Duration {
        self.moments.back.saturating_sub(self.moments.mended)
    }

    /// Taps that were due while it was broken.
    pub fn broken(&self) -> impl Iterator<Item = &Seen> {
        let Moments { broken, mended, .. } = self.moments;
        let taps = self.left.seen.iter().filter(|seen| seen.class != Class::Linking);
        taps.filter(move |seen| (broken..mended).contains(&seen.due))
    }

    /// None of so many in a hundred of them took longer.
    pub fn percentile(&self, percentile: u8) -> Duration {
        let mut took: Vec<_> = self.broken().map(|seen| seen.took).collect();
        took.sort_unstable();
        let at = (took.len() * usize::from(percentile)).div_ceil(100);
        took.get(at.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// Whether the machine had time for this: taps went out when they were due, and all was well before anything was broken.
    pub fn had_time(&self, pace: &Pace) -> bool {
        let before = self.left.seen.iter().filter(|seen| self.when(seen.due) == When::Before);
        let well =
            |seen: &Seen| seen.is_well() && (seen.class == Class::Linking || seen.took < pace.longest / 2);
        self.left.late < LATE && before.into_iter().all(well)
    }

    fn when(&self, due: Duration) -> When {
        let Moments { broken, known, mended, back } = self.moments;
        match due {
            due if due + AROUND < broken => When::Before,
            due if due >= known && due + AROUND < mended => When::Broken,
            due if due > back.max(mended + AROUND) => When::After,
            _ => When::Between,
        }
    }
}

fn answers(cell: &Cell, pace: &Pace, run: &Run) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut windows: BTreeMap<When, (usize, BTreeMap<String, usize>)> = BTreeMap::new();
    for seen in &run.left.seen {
        let told = match &seen.told {
            Ok(told) => format!("{} {:?}", told.said, told.cause),
            Err(code) => format!("an error: {code:?}"),
        };
        if !seen.class.is_honest(&seen.told) {
            let complaint = Complaint::Never { class: seen.class, told };
            if !complaints.contains(&complaint) {
                complaints.push(complaint);
            }
            continue;
        }
        let when = run.when(seen.due);
        let (of, unexpected) = windows.entry(when).or_default();
        *of += 1;
        if !cell.expects(when, seen) {
            *unexpected.entry(format!("{:?}: {told}", seen.class)).or_default() += 1;
        }
    }
    for (when, (of, unexpected)) in windows {
        let many: usize = unexpected.values().sum();
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let share = many as f64 / of as f64;
        if share > pace.elsewhere {
            let mostly = unexpected.into_iter().max_by_key(|(_, many)| *many).unwrap().0;
            complaints.push(Complaint::Unexpected { when, of, mostly, many });
        }
    }
    complaints
}

impl Cell {
    /// Whether an honest answer is one of those that are right at that moment.
    fn expects(&self, when: When, Seen { class, told, .. }: &Seen) -> bool {
        let cause = self.who.cause();
        let is_unnoticed = [self.fails, self.says, self.tells] == [How::Never; 3];
        let hangs = |class: Class| class.needs(self.who) || (self.from_start && class.rests_on(self.who));
        let Ok(told) = told else {
            // A partner's call.
            let may_be = !is_unnoticed && matches!(self.who, Upstream::Registry | Upstream::Authority);
            return may_be && matches!(when, When::Between | When::Broken);
        };
        let is_well = told.said == class.well() && told.cause.is_none();
        let says = told.said == class.well() && told.cause == Some(cause);
        let fails = told.is_failed_by(cause);
        // Asked with no time left. Who is known to be away is not asked.
        let is_asked = when != When::Broken || self.says != How::Always;
        let says = says || (fails && is_asked && self.who == Upstream::Redis);
        let sometimes = is_well
            || (says && class.rests_on(self.who))
            || (fails && hangs(*class))
            || (says && hangs(*class));
        match when {
            When::Between if is_unnoticed => is_well,
            When::Between => sometimes,
            When::Broken if class.needs(self.who) => match self.fails {
                How::Never => is_well,
                How::Sometimes => sometimes,
                How::Always => fails,
            },
            When::Broken if class.rests_on(self.who) => match self.says {
                How::Never => is_well,
                How::Sometimes => sometimes,
                How::Always => says,
            },
            When::Before | When::Broken | When::After => is_well,
        }
    }

    /// Whether there is a breaker that this opens, of its own: Redis has one in each connection.
    const fn has_breaker(&self) -> bool {
        match self.who {
            Upstream::Redis => false,
            Upstream::Resolver => true,
            // Until it was reached once it is not asked at all.
            Upstream::Registry => !self.from_start,
            // That it is asked too much is an answer.
            Upstream::Authority => !matches!(self.how, Break::Feels(Mood::Exhausted)),
        }
    }

    /// What counts questions of verdicts to it.
    pub const fn questions(&self) -> &'static [&'static str] {
        match self.who {
            Upstream::Redis => &["ridegate_upstream_duration_seconds_count{upstream=\"redis\",call=\"take\""],
            Upstream::Registry => &[
                "ridegate_upstream_duration_seconds_count{upstream=\"registry\",call=\"find\"",
                "ridegate_upstream_skipped_total{upstream=\"registry\"",
            ],
            Upstream::Authority => &[
                "ridegate_upstream_duration_seconds_count{upstream=\"authority\",call=\"Lookup\"",
                "ridegate_upstream_duration_seconds_count{upstream=\"authority\",call=\"BatchLookup\"",
                "ridegate_upstream_skipped_total{upstream=\"authority\"",
            ],
            Upstream::Resolver => &[
                "ridegate_resolver_duration_seconds_count{partner=\"yitongxing\"",
                "ridegate_resolver_skipped_total{partner=\"yitongxing\"",
            ],
        }
    }
}

/// How questions ended, and how often.
pub fn outcomes(cell: &Cell, from: &Counts, to: &Counts) -> BTreeMap<String, f64> {
    let mut outcomes = BTreeMap::new();
    for begins in cell.questions() {
        for (sample, up) in to.since(from, begins) {
            let label = |name: &str| sample.split_once(name)?.1.split('"').nth(1);
            let outcome = label("outcome=").or_else(|| label("cause=")).unwrap_or("breaker");
            *outcomes.entry(outcome.to_owned()).or_default() += up;
        }
    }
    outcomes
}

fn metrics(cell: &Cell, run: &Run) -> Vec<String> {
    let mut wrong = Vec::new();
    let [known, mended, _] = &run.counts;
    let gauge = cell.who.gauge();
    match (cell.tells, mended.of(gauge) > 0.0) {
        (How::Always, true) => wrong.push(format!("{gauge} is 1 while it is broken")),
        (How::Never, false) => wrong.push(format!("{gauge} is 0 while nothing is wrong")),
        _ => {}
    }
    if !run.is_up {
        wrong.push(format!("{gauge} never comes back to 1"));
    }
    let failed = |from: &Counts| {
        let outcomes = outcomes(cell, from, mended);
        outcomes.iter().filter(|(outcome, _)| *outcome != "ok").map(|(_, many)| many).sum::<f64>()
    };
    let is_asked = cell.who != Upstream::Redis || cell.says == How::Always;
    if cell.fails == How::Always && is_asked && failed(&run.counts_before) < 1.0 {
        wrong.push("no question has failed, by the metrics".to_owned());
    }
    // Who is known to be away costs a verdict nothing: it is not asked, and nothing is waited for.
    if cell.tells == How::Always && cell.says == How::Always && cell.who == Upstream::Redis {
        let outcomes = outcomes(cell, known, mended);
        let asked: f64 =
            outcomes.iter().filter(|(name, _)| *name != "unconnected").map(|(_, many)| many).sum();
        if asked > 0.0 {
            wrong.push(format!("Redis was asked {asked} times although it is away"));
        }
    }
    if cell.has_breaker() && cell.tells == How::Always && cell.fails == How::Always {
        let outcomes = outcomes(cell, known, mended);
        let skipped = outcomes.get("breaker").copied().unwrap_or_default();
        let asked = outcomes.values().sum::<f64>() - skipped;
        let broken = run.moments.mended.saturating_sub(run.moments.known);
        if skipped < 1.0 || asked > 1.0 + broken.as_secs_f64() / SHORTEST_PAUSE.as_secs_f64() {
            wrong.push(format!("it was asked although it is away: {outcomes:?}"));
        }
    }
    wrong
}

fn logged(cell: &Cell, pace: &Pace, run: &Run) -> Vec<String> {
    let mut wrong = Vec::new();
    let [goes, comes] = cell.who.lines(cell.form);
    let count = |words: &str| run.log.lines().filter(|line| line.contains(words)).count();
    let (gone, back) = (count(goes), count(comes));
    // The authority is followed from the start too.
    let back = back.saturating_sub(usize::from(cell.who == Upstream::Authority && !cell.from_start));
    let seconds = usize::try_from(run.moments.back.max(run.moments.mended).as_secs()).unwrap() + 1;
    let is_right = match cell.tells {
        How::Never => gone == 0 || pace.elsewhere > 0.0,
        How::Sometimes => {
            let degraded = run.broken().filter(|seen| !seen.is_well()).count();
            let is_told = gone > 0 || degraded < run.broken().count() / 2;
            is_told && gone <= 2 * seconds && (back == gone || matches!(cell.how, Break::MasterDies))
        }
        // A machine that does other work too may lose it twice.
        How::Always if pace.elsewhere > 0.0 => gone >= 1 && gone == back && gone <= 2 * seconds,
        How::Always => (gone, back) == (1, 1),
    };
    if !is_right {
        wrong.push(format!("the log says {gone} times that it is away, and {back} times that it is back"));
    }
    let lines = run.log.lines().filter(|line| {
        line.starts_with("20")
            && !line.contains("a partner's request could not")
            && !line.contains("testing the connection on-release")
    });
    let lines = lines.count();
    if lines > 40 + 10 * seconds {
        wrong.push(format!("the log has {lines} lines"));
    }
    // A driver may; nothing of ours.
    let ours = |line: &&str| line.contains("panicked") && !line.contains("/sqlx-postgres-");
    if run.log.lines().any(|line| ours(&line)) {
        wrong.push("something panicked".to_owned());
    }
    for whose in ["subject-of-", "code-", "key-", "000000000000000", "U0000", "tap-"] {
        if run.log.contains(whose) {
            wrong.push(format!("the log names somebody: {whose}"));
        }
    }
    wrong
}

/// Only an authority that was never there makes a gateway unready.
fn ready(cell: &Cell, run: &Run) -> Option<String> {
    let is_unready = cell.from_start && cell.who == Upstream::Authority;
    let expected = [if is_unready { 503 } else { 200 }, 200];
    let was = [run.ready[0].0, run.ready[1].0];
    (was != expected).then(|| format!("/readyz was {was:?}, not {expected:?}"))
}
