//! Files of `"policy": "beijing-2022"`: facts at an instant, decided on the way in unless a case says otherwise.

use jiff::Timestamp;
use ridegate_gateway::domain::{
    decide::{Evidence, decide},
    facts::{Facts, HealthState, PopupNumber, Report, Test, TestResult},
    passage::{Direction, Passage},
    policy::Policy,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Outcome, Suite, outcome};

#[derive(Deserialize)]
pub(super) struct File {
    #[serde(rename = "policy")]
    _policy: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    now: Timestamp,
    linked: bool,
    #[serde(default)]
    direction: CaseDirection,
    #[serde(default)]
    location: String,
    facts: Option<CaseFacts>,
    expect: Value,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum CaseDirection {
    #[default]
    Entry,
    Exit,
    Boarding,
    Alighting,
}

#[derive(Deserialize)]
struct CaseFacts {
    state: String,
    #[serde(default)]
    exempt: bool,
    #[serde(default)]
    tests: Vec<CaseTest>,
    popup: Option<u32>,
    popup_raised_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct CaseTest {
    result: String,
    sampled_at: Option<Timestamp>,
    reported_at: Option<Timestamp>,
}

struct Decisions {
    policy: Policy,
    cases: Vec<(Case, Option<Facts>)>,
}

pub(super) fn load(file: File) -> Result<Box<dyn Suite>, String> {
    let policy = Policy::beijing_2022().map_err(|error| error.to_string())?;
    let mut cases = Vec::with_capacity(file.cases.len());
    for mut case in file.cases {
        let stated = case.facts.take();
        let facts = stated.map(|stated| facts(&stated, case.now)).transpose();
        let facts = facts.map_err(|why| format!("case {:?}: facts.{why}", case.name))?;
        cases.push((case, facts));
    }
    Ok(Box::new(Decisions { policy, cases }))
}

impl Case {
    fn passage(&self) -> Passage {
        let direction = match self.direction {
            CaseDirection::Entry => Direction::Entry,
            CaseDirection::Exit => Direction::Exit,
            CaseDirection::Boarding => Direction::Boarding,
            CaseDirection::Alighting => Direction::Alighting,
        };
        Passage { direction, location: self.location.clone() }
    }
}

fn facts(stated: &CaseFacts, as_of: Timestamp) -> Result<Facts, String> {
    let state = match (stated.state.as_str(), stated.popup.and_then(PopupNumber::new)) {
        ("GREEN", _) => HealthState::Green,
        ("YELLOW", _) => HealthState::Yellow,
        ("RED", _) => HealthState::Red,
        ("POPUP", Some(number)) => HealthState::Popup { number, raised_at: stated.popup_raised_at },
        ("POPUP", None) => return Err("popup: expected 1 to 5".into()),
        _ => return Err("state: expected GREEN, YELLOW, RED or POPUP".into()),
    };
    let tests = stated.tests.iter().map(test).collect::<Result<_, _>>()?;
    Ok(Facts { state, exempt: stated.exempt, tests, as_of })
}

fn test(stated: &CaseTest) -> Result<Test, String> {
    let result = match stated.result.as_str() {
        "NEGATIVE" => TestResult::Negative,
        "POSITIVE" => TestResult::Positive,
        "PENDING" => return Ok(Test::Pending { sampled_at: stated.sampled_at }),
        _ => return Err("tests.result: expected NEGATIVE, POSITIVE or PENDING".into()),
    };
    let reported_at = stated.reported_at.ok_or("tests.reported_at: expected with a result")?;
    Ok(Test::Reported(Report { result, sampled_at: stated.sampled_at, reported_at }))
}

impl Suite for Decisions {
    fn run(&self) -> Vec<Outcome> {
        let case = |(case, facts): &(Case, Option<Facts>)| {
            let evidence = match facts {
                _ if !case.linked => Evidence::NotLinked,
                None => Evidence::NoRecord,
                Some(facts) => Evidence::Facts(facts),
            };
            let decision = decide(&self.policy, case.now, &case.passage(), evidence);
            let mut got = Map::new();
            got.insert("verdict".into(), decision.verdict.name().into());
            got.insert("reason".into(), decision.verdict.reason().into());
            if let Some(day) = decision.day {
                got.insert("day".into(), day.into());
            }
            outcome(&case.name, &case.expect, &got.into())
        };
        self.cases.iter().map(case).collect()
    }
}
