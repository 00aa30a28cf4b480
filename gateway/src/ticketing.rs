//! What ticket windows and machines do: ask whether a single ticket may be sold, report that it was, and that it was
//! used (D13).

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;
use tokio::{
    sync::{Semaphore, oneshot},
    time::timeout,
};

use crate::{
    admission::sale::{IdNumber, SaleRequest, TicketNumber},
    backends::{
        authority::{Authority, AuthorityError},
        registry::{PATIENCE, Registry, RegistryError, ask},
    },
    budget::Budget,
    clock::Clock,
    domain::{
        decide::{Evidence, decide},
        facts::Subject,
        policy::Policy,
        pseudonym::Pseudonym,
        ticket::{SaleId, SaleReported, SaleVerdict},
        verdict::{Inspect, Verdict},
    },
    keyring::{Keyring, Use},
    metrics::{TicketMetrics, UpstreamMetrics},
    resolve::{facts::Known, lookups::Lookups},
};

/// Carries out what ticket windows and machines ask.
#[derive(Debug)]
pub struct Ticketing {
    /// What is taken for now.
    pub clock: Clock,
    /// The policy of the day.
    pub policy: Arc<Policy>,
    /// Who knows whose an ID number is.
    pub authority: Authority,
    /// Numbers that it is asked about at once.
    pub asking: Semaphore,
    /// Facts.
    pub lookups: Arc<Lookups>,
    /// Where open tickets are kept.
    pub registry: Arc<Registry>,
    /// Names people, sales and tickets.
    pub keys: Arc<Keyring>,
    /// How long what may take or last.
    pub terms: Terms,
    /// Times what the registry is asked.
    pub asked: UpstreamMetrics,
    /// Counts what was decided.
    pub checks: TicketMetrics,
}

/// How long what may take or last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Longest wait for each answer of the authority.
    pub authority_cap: Duration,
    /// How long a sale is held that nobody has reported.
    pub hold: SignedDuration,
    /// How long a ticket is open that nobody has reported as used.
    pub unused: SignedDuration,
}

/// The answer to one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    verdict: SaleVerdict,
    sale: Option<SaleId>,
}

/// A report that could not be carried out.
#[derive(Debug, Error)]
pub enum TicketingError {
    /// The registry. Nothing is acknowledged, so it may be repeated.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// There is no such sale.
    #[error("no sale is held under this id")]
    NoSuchSale,
    /// The ticket is another sale's, or the sale has another ticket.
    #[error("the ticket is another sale's")]
    OtherTicket,
}

impl Checked {
    /// What was decided.
    pub const fn verdict(&self) -> SaleVerdict {
        self.verdict
    }

    /// The sale, with ALLOW.
    pub const fn sale(&self) -> Option<SaleId> {
        self.sale
    }

    const fn inspect(verdict: SaleVerdict) -> Self {
        Self { verdict, sale: None }
    }
}

impl Ticketing {
    /// Whether this person may be sold a ticket. Always answers: what fails behind the gateway is INSPECT (D29). The
    /// number is forgotten with the request.
    pub async fn check(&self, request: SaleRequest, budget: Budget) -> Checked {
        let checked = self.decide(request, budget).await;
        self.checks.checked(checked.verdict);
        checked
    }

    async fn decide(&self, SaleRequest { number, passage }: SaleRequest, budget: Budget) -> Checked {
        let now = self.clock.now();
        if self.policy.enforced(now, &passage).is_none() {
            // Nobody is asked about (D25), so there is no person whose ticket this would be.
            let verdict = SaleVerdict::Asked(decide(&self.policy, now, &passage, Evidence::NotAsked).verdict);
            return Checked { verdict, sale: Some(SaleId::not_held(rand::random())) };
        }

        let subject = match self.identify(&number, budget).await {
            Ok(Some(subject)) => subject,
            Ok(None) => return Checked::inspect(SaleVerdict::inspect(Inspect::NoRecord)),
            Err(_) => return Checked::inspect(SaleVerdict::inspect(Inspect::LookupFailed)),
        };
        drop(number);

        let known = self.lookups.find(&subject, budget.capped(self.terms.authority_cap)).await;
        let verdict = decide(&self.policy, now, &passage, evidence(&known)).verdict;
        let Verdict::Allow(_) = verdict else { return Checked::inspect(SaleVerdict::Asked(verdict)) };

        match self.hold(&subject, budget).await {
            Ok(Some(sale)) => Checked { verdict: SaleVerdict::Asked(verdict), sale: Some(sale) },
            Ok(None) => Checked::inspect(SaleVerdict::TicketOpen),
            Err(_) => Checked::inspect(SaleVerdict::inspect(Inspect::LookupFailed)),
        }
    }

    /// The ticket was sold. Repeated, it answers the same.
    pub async fn sold(&self, sale: SaleId, ticket: &TicketNumber) -> Result<(), TicketingError> {
        if !sale.is_held() {
            return Ok(());
        }
        let now = self.clock.now();
        let (sale, ticket, until) = (self.sale(sale), self.ticket(ticket), after(now, self.terms.unused));
        let sold = ask(&self.asked, "sold", PATIENCE, self.registry.sold(&sale, &ticket, now, until)).await?;
        match sold {
            SaleReported::Recorded => Ok(()),
            SaleReported::NoSuchSale => Err(TicketingError::NoSuchSale),
            SaleReported::OtherTicket => Err(TicketingError::OtherTicket),
        }
    }

    /// The ticket was used or refunded; tells whether it was open.
    pub async fn used(&self, ticket: &TicketNumber) -> Result<bool, TicketingError> {
        let ticket = self.ticket(ticket);
        Ok(ask(&self.asked, "used", PATIENCE, self.registry.used(&ticket, self.clock.now())).await?)
    }

    async fn identify(&self, number: &IdNumber, budget: Budget) -> Result<Option<Subject>, AuthorityError> {
        let turn = timeout(budget.capped(self.terms.authority_cap), self.asking.acquire()).await;
        let _turn = turn.map_err(|_| AuthorityError::TimedOut)?.map_err(|_| AuthorityError::Unavailable)?;
        self.authority.identify(number, budget.capped(self.terms.authority_cap)).await
    }

    /// Holds a new sale; `None` if the person has an open ticket. It may take what is left of the budget: nothing comes
    /// after it. In a task of its own, because a statement under way cannot be called back: if it succeeds when nobody
    /// waits for it any more, the sale is let go, and nothing is held of what was answered with INSPECT.
    async fn hold(&self, subject: &Subject, budget: Budget) -> Result<Option<SaleId>, RegistryError> {
        let now = self.clock.now();
        let (id, until) = (SaleId::held(rand::random()), after(now, self.terms.hold));
        let (person, sale) =
            (self.keys.pseudonym(Use::Person, &[subject.expose().as_bytes()]), self.sale(id));
        let (registry, asked) = (Arc::clone(&self.registry), self.asked.clone());
        let (tell, mut told) = oneshot::channel();
        tokio::spawn(async move {
            let held = ask(&asked, "hold", PATIENCE, registry.hold(&person, &sale, now, until)).await;
            // Who was not answered in time may hold it all the same.
            let is_unknown = matches!(held, Err(RegistryError::TimedOut));
            let is_unheard = matches!(tell.send(held), Err(Ok(true)));
            if is_unknown || is_unheard {
                // If this fails too the hold ends by itself.
                let _ends = ask(&asked, "release", PATIENCE, registry.release(&sale)).await;
            }
        });
        let held = if let Ok(told) = timeout(budget.capped(Duration::MAX), &mut told).await {
            told.ok()
        } else {
            // What was told in this very moment counts; from now on nothing can be.
            told.close();
            told.try_recv().ok()
        };
        Ok(held.unwrap_or(Err(RegistryError::TimedOut))?.then_some(id))
    }

    fn sale(&self, sale: SaleId) -> Pseudonym {
        self.keys.pseudonym(Use::Ticket, &[b"sale", sale.as_bytes()])
    }

    fn ticket(&self, ticket: &TicketNumber) -> Pseudonym {
        self.keys.pseudonym(Use::Ticket, &[b"number", ticket.as_bytes()])
    }
}

/// Facts that are stale serve as they do at a gate.
fn evidence(known: &Known) -> Evidence<'_> {
    match known {
        Known::Facts { facts, .. } | Known::Stale { facts, .. } => Evidence::Facts(facts),
        Known::NoRecord => Evidence::NoRecord,
        Known::Nothing => Evidence::Failed,
    }
}

fn after(now: Timestamp, span: SignedDuration) -> Timestamp {
    now.saturating_add(span).unwrap_or(Timestamp::MAX)
}
