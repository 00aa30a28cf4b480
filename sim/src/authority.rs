//! A health authority: knows subjects, exchanges authorization codes, tells of changes, and can be made to fail.

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
    BatchLookupRequest, BatchLookupResponse, ExchangeAuthorizationRequest, ExchangeAuthorizationResponse,
    Facts, LookupRequest, LookupResponse, SubjectFacts, WatchChangesRequest, WatchChangesResponse,
    health_authority_server::{HealthAuthority, HealthAuthorityServer},
};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, transport::ServerTlsConfig};

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
    exchanges: AtomicU64,
    refused_watches: AtomicU64,
}

#[derive(Default)]
struct State {
    people: HashMap<String, Facts>,
    codes: HashMap<String, Code>,
    log: Vec<SubjectFacts>,
    /// Changes before this one are forgotten: their cursors are too old.
    forgotten: usize,
    refuses_watches: bool,
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
            exchanges: AtomicU64::new(0),
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

    /// Changes how it behaves from now on.
    pub fn feel(&self, mood: Mood) {
        self.0.hosted.feel(mood);
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

    /// Stops listening and drops every connection.
    pub fn stop(&self) {
        self.0.hosted.stop();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
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

#[tonic::async_trait]
impl HealthAuthority for Authority {
    async fn exchange_authorization(
        &self,
        request: Request<ExchangeAuthorizationRequest>,
    ) -> Result<Response<ExchangeAuthorizationResponse>, Status> {
        self.0.exchanges.fetch_add(1, Relaxed);
        self.0.hosted.temper().await?;
        let request = request.into_inner();
        let mut state = self.state();
        let code =
            state.codes.get_mut(&request.authorization_code).ok_or_else(|| Status::not_found("code"))?;
        let used_by = code.used_by.get_or_insert_with(|| request.idempotency_key.clone());
        if *used_by != request.idempotency_key {
            return Err(Status::failed_precondition("used"));
        }
        Ok(Response::new(ExchangeAuthorizationResponse { subject: code.subject.clone() }))
    }

    async fn lookup(&self, request: Request<LookupRequest>) -> Result<Response<LookupResponse>, Status> {
        self.0.lookups.fetch_add(1, Relaxed);
        if self.0.hosted.temper().await? {
            return Ok(Response::new(LookupResponse { facts: Some(Facts::default()) }));
        }
        let facts = self.state().people.get(&request.into_inner().subject).cloned();
        let facts = facts.ok_or_else(|| Status::not_found("subject"))?;
        Ok(Response::new(LookupResponse { facts: Some(facts) }))
    }

    async fn batch_lookup(
        &self,
        request: Request<BatchLookupRequest>,
    ) -> Result<Response<BatchLookupResponse>, Status> {
        self.0.batches.fetch_add(1, Relaxed);
        let confused = self.0.hosted.temper().await?;
        let state = self.state();
        let known = |subject: String| {
            let facts = if confused { Some(Facts::default()) } else { state.people.get(&subject).cloned() };
            SubjectFacts { subject, facts }
        };
        let results = request.into_inner().subjects.into_iter().map(known).collect();
        Ok(Response::new(BatchLookupResponse { results }))
    }

    type WatchChangesStream = ReceiverStream<Result<WatchChangesResponse, Status>>;

    async fn watch_changes(
        &self,
        request: Request<WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        self.0.hosted.temper().await?;
        let cursor = request.into_inner().cursor;
        let now = self.state().log.len();
        let from = if cursor.is_empty() {
            now
        } else {
            cursor.parse().map_err(|_| Status::out_of_range("cursor"))?
        };
        if let Err(refused) = self.next_change(from) {
            self.0.refused_watches.fetch_add(1, Relaxed);
            return Err(refused);
        }
        let (watcher, told) = mpsc::channel(16);
        tokio::spawn(self.clone().tell(from, watcher));
        Ok(Response::new(ReceiverStream::new(told)))
    }
}
