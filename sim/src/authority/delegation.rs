//! Doing it for somebody else: six digits to the phone on record.

use std::collections::HashMap;

use rand::RngExt;
use ridegate_proto::authority::v1::StartDelegationResponse;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const TRIES: u32 = 5;

#[derive(Default)]
pub(super) struct Delegations {
    codes: HashMap<String, Authorised>,
    begun: HashMap<String, Delegation>,
    texts: HashMap<String, Vec<String>>,
}

/// What the agent said in the consent step.
struct Authorised {
    agent: String,
    person: String,
    phone: bool,
    /// Under which key it was begun, and as what.
    used_by: Option<(String, String)>,
}

struct Delegation {
    person: String,
    digits: String,
    tries: u32,
    confirmed: bool,
}

impl Delegations {
    pub(super) fn authorise(&mut self, code: &str, agent: &str, person: &str, phone: bool) {
        let authorised =
            Authorised { agent: agent.to_owned(), person: person.to_owned(), phone, used_by: None };
        self.codes.insert(code.to_owned(), authorised);
    }

    pub(super) fn texted(&self, person: &str) -> Vec<String> {
        self.texts.get(person).cloned().unwrap_or_default()
    }

    pub(super) fn start(&mut self, code: &str, key: String) -> Result<StartDelegationResponse, Status> {
        let authorised = self.codes.get_mut(code).ok_or_else(|| Status::not_found("code"))?;
        if !authorised.phone {
            let details = ErrorDetails::with_error_info("NO_PHONE", "authority", HashMap::new());
            return Err(Status::with_error_details(Code::FailedPrecondition, "no phone", details));
        }
        let agent = authorised.agent.clone();
        if let Some((used_by, delegation)) = &authorised.used_by {
            return if *used_by == key {
                Ok(StartDelegationResponse { delegation: delegation.clone(), agent })
            } else {
                Err(Status::failed_precondition("used"))
            };
        }
        let delegation = format!("{:032x}", rand::rng().random::<u128>());
        authorised.used_by = Some((key, delegation.clone()));
        let begun = Delegation {
            person: authorised.person.clone(),
            digits: String::new(),
            tries: 0,
            confirmed: false,
        };
        self.begun.insert(delegation.clone(), begun);
        self.resend(&delegation)?;
        Ok(StartDelegationResponse { delegation, agent })
    }

    pub(super) fn resend(&mut self, delegation: &str) -> Result<(), Status> {
        let begun = self.begun.get_mut(delegation).filter(|begun| !begun.confirmed);
        let begun = begun.ok_or_else(|| Status::not_found("delegation"))?;
        begun.digits = format!("{:06}", rand::rng().random_range(0..1_000_000));
        begun.tries = 0;
        self.texts.entry(begun.person.clone()).or_default().push(begun.digits.clone());
        Ok(())
    }

    /// The person, or nobody if these are not the digits.
    pub(super) fn confirm(&mut self, delegation: &str, digits: &str) -> Result<String, Status> {
        let begun = self.begun.get_mut(delegation).ok_or_else(|| Status::not_found("delegation"))?;
        begun.tries += 1;
        let good = begun.digits == digits && (begun.confirmed || begun.tries <= TRIES);
        begun.confirmed |= good;
        Ok(if good { begun.person.clone() } else { String::new() })
    }
}
