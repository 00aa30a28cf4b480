//! A health authority: knows subjects, exchanges authorization codes, texts digits to people on record, identifies buyers
//! of tickets, tells of changes, and can be made to fail.

mod delegation;
mod service;

use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Result;
use ridegate_proto::authority::v1::{
    ExchangeAuthorizationRequest, Facts, SubjectFacts, WatchChangesResponse,
    health_authority_server::HealthAuthorityServer,
};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tonic::{Status, transport::ServerTlsConfig};

use self::delegation::Delegations;
pub use crate::hosted::Mood;
use crate::{
    hosted::{self, Hosted},
    pki::Files,
};

const SIGN_OF_LIFE: Duration = Duration::from_millis(500);

/// A running authority. Clones are the same one.
#[derive(Clone)]
pub struct Authority(Arc<Inner>);

struct Inner {
    hosted: Hosted,
    state: Mutex<State>,
    /// How many changes there were; watchers wake on it.
    changes: watch::Sender<usize>,
    lookups: AtomicU64,
    batches: AtomicU64,
    /// How long a look-up takes, in microseconds.
    takes: AtomicU64,
    exchanges: AtomicU64,
    delegations: AtomicU64,
    identified: AtomicU64,
    refused_watches: AtomicU64,
}

#[derive(Default)]
struct State {
    people: HashMap<String, Facts>,
    codes: HashMap<String, Code>,
    delegations: Delegations,
    /// Subjects by ID number.
    numbers: HashMap<String, String>,
    log: Vec<SubjectFacts>,
    /// Changes before this one are forgotten: their cursors are too old.
    forgotten: usize,
    refuses_watches: bool,
    /// A batch with this subject is refused whole.
    chokes_on: Option<String>,
}

struct Code {
    subject: String,
    used_by: Option<String>,
}

impl Authority {
    /// Starts on a free loopback port.
    pub fn start() -> Result<Self> {
        Self::serve(None)
    }

    /// Starts on a free loopback port, with this certificate, for clients that `client_ca` has certified.
    pub fn start_with_tls(server: &Files, client_ca: &Path) -> Result<Self> {
        Self::serve(Some(hosted::tls(server, client_ca)?))
    }

    fn serve(tls: Option<ServerTlsConfig>) -> Result<Self> {
        let inner = Inner {
            hosted: Hosted::listen(tls)?,
            state: Mutex::default(),
            changes: watch::Sender::new(0),
            lookups: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            takes: AtomicU64::new(0),
            exchanges: AtomicU64::new(0),
            delegations: AtomicU64::new(0),
            identified: AtomicU64::new(0),
            refused_watches: AtomicU64::new(0),
        };
        let authority = Self(Arc::new(inner));
        authority.0.hosted.serve(HealthAuthorityServer::new(authority.clone()))?;
        Ok(authority)
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        self.0.hosted.endpoint()
    }

    /// Makes a subject known, or known otherwise. Watchers are told.
    pub fn set(&self, subject: &str, facts: Facts) {
        let mut state = self.state();
        state.people.insert(subject.to_owned(), facts.clone());
        state.log.push(SubjectFacts { subject: subject.to_owned(), facts: Some(facts) });
        self.0.changes.send_replace(state.log.len());
    }

    /// Makes an authorization code for a subject.
    pub fn authorise(&self, code: &str, subject: &str) {
        self.state().codes.insert(code.to_owned(), Code { subject: subject.to_owned(), used_by: None });
    }

    /// Makes an authorization code with which an agent may link media of another person's. `phone`: whether that one's
    /// is on record.
    pub fn authorise_for(&self, code: &str, agent: &str, person: &str, phone: bool) {
        self.state().delegations.authorise(code, agent, person, phone);
    }

    /// What was texted to a person, oldest first.
    pub fn texted(&self, person: &str) -> Vec<String> {
        self.state().delegations.texted(person)
    }

    /// Makes a subject known by an ID number.
    pub fn number(&self, id_number: &str, subject: &str) {
        self.state().numbers.insert(id_number.to_owned(), subject.to_owned());
    }

    /// ID numbers that it was asked about.
    pub fn identified(&self) -> u64 {
        self.0.identified.load(Relaxed)
    }

    /// Changes how it behaves from now on.
    pub fn feel(&self, mood: Mood) {
        self.0.hosted.feel(mood);
    }

    /// How long each look-up takes from now on, alone or in a batch.
    pub fn take(&self, long: Duration) {
        self.0.takes.store(long.as_micros().try_into().unwrap_or(u64::MAX), Relaxed);
    }

    /// Refuses from now on every look-up with this subject, and every batch with it whole.
    pub fn choke_on(&self, subject: &str) {
        self.state().chokes_on = Some(subject.to_owned());
    }

    /// Ends every watch and forgets where each was.
    pub fn forget_cursors(&self) {
        let mut state = self.state();
        state.log.push(SubjectFacts::default());
        state.forgotten = state.log.len();
        self.0.changes.send_replace(state.log.len());
    }

    /// Ends every watch and takes no new one.
    pub fn refuse_watches(&self) {
        self.state().refuses_watches = true;
        self.0.changes.send_modify(|_| {});
    }

    /// How many watches it has refused.
    pub fn refused_watches(&self) -> u64 {
        self.0.refused_watches.load(Relaxed)
    }

    /// Questions asked so far, one by one and in batches.
    pub fn asked(&self) -> (u64, u64) {
        (self.0.lookups.load(Relaxed), self.0.batches.load(Relaxed))
    }

    /// Authorization codes that it was asked to exchange.
    pub fn exchanges(&self) -> u64 {
        self.0.exchanges.load(Relaxed)
    }

    /// Questions about delegations: to begin one, to send digits again, to confirm one.
    pub fn delegations(&self) -> u64 {
        self.0.delegations.load(Relaxed)
    }

    /// Stops listening and drops every connection.
    pub fn stop(&self) {
        self.0.hosted.stop();
    }

    /// Serves again at the same address after it was stopped. It knows what it knew, and where every watch was.
    pub fn start_again(&self) -> Result<()> {
        self.0.hosted.listen_again()?;
        self.0.hosted.serve(HealthAuthorityServer::new(self.clone()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn exchange(&self, request: &ExchangeAuthorizationRequest) -> Result<String, Status> {
        let mut state = self.state();
        let code =
            state.codes.get_mut(&request.authorization_code).ok_or_else(|| Status::not_found("code"))?;
        let used_by = code.used_by.get_or_insert_with(|| request.idempotency_key.clone());
        if *used_by != request.idempotency_key {
            return Err(Status::failed_precondition("used"));
        }
        Ok(code.subject.clone())
    }

    /// Looks these up, as its mood is and as long as it takes; `true` if it is confused.
    async fn look_up(&self, subjects: &[String]) -> Result<bool, Status> {
        let confused = self.0.hosted.temper().await?;
        let takes = self.0.takes.load(Relaxed);
        if takes > 0 {
            sleep(Duration::from_micros(takes)).await;
        }
        let chokes = self.state().chokes_on.as_ref().is_some_and(|subject| subjects.contains(subject));
        if chokes { Err(Status::invalid_argument("a subject")) } else { Ok(confused) }
    }

    /// What a watcher at `from` is told next: a change, or `None` if it was told every one.
    fn next_change(&self, from: usize) -> Result<Option<SubjectFacts>, Status> {
        let state = self.state();
        if state.refuses_watches {
            return Err(Status::unavailable("no watches"));
        }
        if from < state.forgotten {
            return Err(Status::out_of_range("cursor"));
        }
        Ok(state.log.get(from).cloned())
    }

    /// Tells a watcher every change up to now, that it was told, and so on from there.
    async fn tell(self, mut from: usize, watcher: mpsc::Sender<Result<WatchChangesResponse, Status>>) {
        let mut changes = self.0.changes.subscribe();
        loop {
            if self.0.hosted.temper().await.is_err() {
                return;
            }
            let now = self.state().log.len();
            let mut told = Ok(None);
            while from <= now {
                told = self.next_change(from);
                let Ok(Some(change)) = &told else { break };
                from += 1;
                let told = WatchChangesResponse { change: Some(change.clone()), cursor: from.to_string() };
                if watcher.send(Ok(told)).await.is_err() {
                    return;
                }
            }
            let all_told = told.map(|_| WatchChangesResponse { change: None, cursor: from.to_string() });
            let over = all_told.is_err();
            if watcher.send(all_told).await.is_err() || over {
                return;
            }
            let _something_or_nothing_new = timeout(SIGN_OF_LIFE, changes.changed()).await;
        }
    }
}
