//! The day counter (D17–D19): calendar days, not hours.

use jiff::{Timestamp, civil::Date};

use super::{
    facts::{Facts, Report, Test},
    policy::{Base, Policy, Window},
};

/// Days from the base day of the result that counts until today; `None` without a result.
///
/// While the facts stay the same, and none is dated ahead, it never falls: windows and rules begin at midnight, and
/// a carried-over day shows the limit once, between the limit and the day after next.
pub fn day(policy: &Policy, window: Window, now: Timestamp, facts: &Facts) -> Option<i32> {
    let latest = facts.latest_report(now)?;
    // Of several negatives reported in the same instant the earliest base counts: doubt is INSPECT.
    let base = facts
        .reports_until(now)
        .filter(|report| report.reported_at == latest.reported_at)
        .map(|report| base_day(policy, report))
        .min()?;
    let today = policy.date(now);
    let day = days_between(base, today);
    let carried =
        day == window.max_day() + 1 && policy.carries_over(today) && sampled_yesterday(policy, facts, today);
    Some(if carried { window.max_day() } else { day })
}

/// D18: the day from which a result counts.
fn base_day(policy: &Policy, report: &Report) -> Date {
    let reported = policy.civil(report.reported_at);
    let reported_on = reported.date();
    match policy.counting(reported_on) {
        Base::Report => reported_on,
        Base::Sampling { night_ends } => {
            // A sample cannot be taken after its result: such a time is as good as unknown.
            let sampled_on =
                report.sampled_at.filter(|at| *at <= report.reported_at).map(|at| policy.date(at));
            sampled_on.unwrap_or_else(|| {
                let at_night = reported.time() < night_ends;
                if at_night { reported_on.yesterday().unwrap_or(reported_on) } else { reported_on }
            })
        }
    }
}

/// D19: a sample of yesterday whose result is still out.
fn sampled_yesterday(policy: &Policy, facts: &Facts, today: Date) -> bool {
    facts.tests.iter().any(|test| match test {
        Test::Pending { sampled_at: Some(at) } => days_between(policy.date(*at), today) == 1,
        Test::Pending { sampled_at: None } | Test::Reported(_) => false,
    })
}

fn days_between(from: Date, to: Date) -> i32 {
    from.duration_until(to).as_hours().div_euclid(24).try_into().unwrap_or(i32::MAX)
}
