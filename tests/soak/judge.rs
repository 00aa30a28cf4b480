//! Whether memory and latency were flat: of rows, each of an interval.

use std::time::Duration;

/// What was seen in an interval.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Its end, since the start, and how long it was.
    pub at: Duration,
    pub lasted: Duration,
    pub verdicts: u64,
    pub failed: u64,
    pub degraded: u64,
    pub closed: u64,
    pub p50: Duration,
    pub p99: Duration,
    pub p999: Duration,
    /// Bytes of each replica; 0 while it is away.
    pub memory: Vec<u64>,
    /// Processor time of each replica so far.
    pub processor: Vec<Duration>,
    pub redis: u64,
    pub connections: u64,
    /// What was killed.
    pub killed: Vec<String>,
}

/// A replica may seem to grow by so much a day, of a line through the second half.
const A_DAY: f64 = 200e6;
/// And between a quarter of the run and its end by such a part of what it was.
const GROWS: f64 = 0.15;
/// What p99 of the last quarter may be of that of the second.
const SLOWER: f64 = 1.5;
/// Below this no machine tells times apart.
const LEAST: Duration = Duration::from_millis(2);

/// A line by least squares: how much a second.
fn slope(points: &[(f64, f64)]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let many = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / many;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let (mut up, mut down) = (0.0, 0.0);
    for point in points {
        up += (point.0 - x) * (point.1 - y);
        down += (point.0 - x).powi(2);
    }
    if down == 0.0 { 0.0 } else { up / down }
}

fn median<T: Ord + Copy + Default>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// How a replica that was never killed grew: bytes a day, and from a quarter of the run to its end.
#[derive(Debug, Clone, Copy)]
struct Growth {
    a_day: f64,
    from: f64,
    to: f64,
}

#[expect(clippy::cast_precision_loss, reason = "bytes of a process")]
fn growth(rows: &[Row], replica: usize) -> Growth {
    let memory = |row: &Row| row.memory[replica];
    let half = rows[rows.len() / 2..].iter().map(|row| (row.at.as_secs_f64(), memory(row) as f64));
    let quarter = rows.len() / 4;
    let few = (rows.len() / 20).max(1);
    let about = |rows: &[Row]| median(rows.iter().map(memory).collect()) as f64;
    Growth {
        a_day: slope(&half.collect::<Vec<_>>()) * 86_400.0,
        from: about(&rows[quarter..quarter + few]),
        to: about(&rows[rows.len() - few..]),
    }
}

/// p99 of a quarter: of its intervals the median, so that an outage of a moment is not the quarter.
fn latency(rows: &[Row], quarter: usize) -> Duration {
    let each = rows.len() / 4;
    median(rows[quarter * each..(quarter + 1) * each].iter().map(|row| row.p99).collect())
}

/// What is wrong with these rows, if anything. `killed` replicas began anew and are not judged.
pub fn judge(rows: &[Row], killed: &[usize]) -> Vec<String> {
    let mut wrong = vec![];
    for replica in (0..rows[0].memory.len()).filter(|replica| !killed.contains(replica)) {
        if rows.iter().any(|row| row.memory[replica] == 0) {
            wrong.push(format!("replica {replica} was away, and nobody had ended it"));
        }
        let Growth { a_day, from, to } = growth(rows, replica);
        if a_day > A_DAY {
            wrong.push(format!("replica {replica} grows by {:.0} MB a day", a_day / 1e6));
        }
        if to > from * (1.0 + GROWS) {
            wrong.push(format!("replica {replica} grew from {:.0} to {:.0} MB", from / 1e6, to / 1e6));
        }
    }
    let (second, last) = (latency(rows, 1), latency(rows, 3));
    if last > second.max(LEAST).mul_f64(SLOWER) {
        wrong.push(format!("p99 went from {second:?} to {last:?}"));
    }
    wrong
}

/// Prints how flat it was; what is wrong, if anything.
pub fn print(rows: &[Row]) -> Option<String> {
    if rows.len() < 8 {
        return Some("too short to be judged".to_owned());
    }
    let killed: Vec<usize> = (0..rows[0].memory.len())
        .filter(|replica| rows.iter().any(|row| row.killed.contains(&format!("replica {replica}"))))
        .collect();
    println!("| replica | at a quarter | at the end | a day, of the second half |\n|---|---|---|---|");
    for replica in 0..rows[0].memory.len() {
        let Growth { a_day, from, to } = growth(rows, replica);
        let note = if killed.contains(&replica) { " (killed now and then, not judged)" } else { "" };
        println!("| {replica}{note} | {:.1} MB | {:.1} MB | {:+.1} MB |", from / 1e6, to / 1e6, a_day / 1e6);
    }
    println!("\np99 of the quarters: {:?}\n", [0, 1, 2, 3].map(|quarter| latency(rows, quarter)));
    let wrong = judge(rows, &killed);
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An hour of rows: the memory of one replica and p99 at each minute.
    fn rows(memory: impl Fn(u64) -> u64, p99: impl Fn(u64) -> u64) -> Vec<Row> {
        let row = |number: u64| Row {
            at: Duration::from_secs(number * 10),
            memory: vec![memory(number / 6)],
            p99: Duration::from_millis(p99(number / 6)),
            ..Row::default()
        };
        (0..360).map(row).collect()
    }

    #[test]
    fn what_is_flat_is_right_and_what_grows_is_not() {
        let noise = |minute: u64| 100_000_000 + minute * 7 % 5 * 400_000;
        assert_eq!(judge(&rows(noise, |_| 5), &[]), [""; 0]);
        // Full after some minutes.
        assert_eq!(judge(&rows(|minute| 60_000_000 + minute.min(12) * 4_000_000, |_| 5), &[]), [""; 0]);
        let leak = rows(|minute| noise(minute) + minute * 200_000, |_| 5);
        assert_eq!(judge(&leak, &[]).len(), 1, "12 MB an hour: {:?}", judge(&leak, &[]));
        assert_eq!(judge(&leak, &[0]), [""; 0], "was started anew");
        let early = rows(|minute| 100_000_000 + minute.min(29) * 1_000_000, |_| 5);
        assert_eq!(judge(&early, &[]).len(), 0, "14 percent");
        let more = rows(|minute| 100_000_000 + minute.min(29) * 2_000_000, |_| 5);
        assert_eq!(judge(&more, &[]).len(), 1, "{:?}", judge(&more, &[]));
    }

    #[test]
    fn whoever_was_away_and_was_not_killed_is_wrong() {
        let gone = rows(|minute| if minute == 50 { 0 } else { 100_000_000 }, |_| 5);
        assert_eq!(judge(&gone, &[]), ["replica 0 was away, and nobody had ended it"]);
        assert_eq!(judge(&gone, &[0]), [""; 0]);
    }

    #[test]
    fn what_gets_slower_is_wrong_and_a_moment_is_not() {
        assert_eq!(judge(&rows(|_| 1, |minute| if minute == 50 { 900 } else { 5 }), &[]), [""; 0]);
        assert_eq!(judge(&rows(|_| 1, |minute| if minute > 44 { 8 } else { 5 }), &[]).len(), 1);
        assert_eq!(
            judge(&rows(|_| 1, |minute| if minute > 44 { 2 } else { 1 }), &[]),
            [""; 0],
            "too little to tell"
        );
    }
}
