//! What the health authority says of a subject (D15, D16).

use std::{fmt, sync::Arc};

use jiff::Timestamp;

/// The authority's opaque name for a person. It identifies a rider, so it prints as `Subject(…)`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Subject(Arc<str>);

impl Subject {
    /// Wraps what the authority said.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// The name itself, for the authority only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject(…)")
    }
}

/// Facts about one subject, as of one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Health Kit state.
    pub state: HealthState,
    /// A small child whom the authority marks exempt (D22).
    pub exempt: bool,
    /// Tests, in no particular order.
    pub tests: Vec<Test>,
    /// When this was true. Older facts never replace newer ones.
    pub as_of: Timestamp,
}

/// Health Kit states (D15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// 未见异常.
    Green,
    /// 居家观察.
    Yellow,
    /// 集中观察.
    Red,
    /// 弹窗: cannot be confirmed.
    Popup {
        /// Which kind.
        number: PopupNumber,
        /// When, if known. What is not known to be older than a test is not cleared by it.
        raised_at: Option<Timestamp>,
    },
}

/// Popup 1 to 5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PopupNumber(u8);

impl PopupNumber {
    /// The number.
    pub(crate) fn get(self) -> u32 {
        self.0.into()
    }

    /// The number, if it is 1 to 5.
    pub fn new(number: u32) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| (1..=5).contains(number)).map(Self)
    }
}

/// One nucleic-acid test (D16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// The result is out.
    Reported(Report),
    /// It is not.
    Pending {
        /// When the sample was taken, if the hospital said so.
        sampled_at: Option<Timestamp>,
    },
}

/// A test whose result is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The result.
    pub result: TestResult,
    /// When the sample was taken; some hospitals never say.
    pub sampled_at: Option<Timestamp>,
    /// When the result was reported.
    pub reported_at: Timestamp,
}

/// Results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TestResult {
    /// 阴性.
    Negative,
    /// 阳性.
    Positive,
}

impl Facts {
    /// Reports that are not dated ahead of `now`.
    pub(crate) fn reports_until(&self, now: Timestamp) -> impl Iterator<Item = &Report> {
        self.tests.iter().filter_map(move |test| match test {
            Test::Reported(report) if report.reported_at <= now => Some(report),
            Test::Reported(_) | Test::Pending { .. } => None,
        })
    }

    /// The result that counts at `now`: the latest reported; at the same instant a positive one.
    pub(crate) fn latest_report(&self, now: Timestamp) -> Option<&Report> {
        self.reports_until(now).max_by_key(|report| (report.reported_at, report.result))
    }
}
