//! A health authority: knows subjects, exchanges authorization codes, tells of changes, and can be made to fail.

use std::{
    collections::HashMap,
    fs,
    net::SocketAddr,
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
    net::TcpListener,
    runtime::Runtime,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

use crate::pki::Files;

const SIGN_OF_LIFE: Duration = Duration::from_millis(500);

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Answers.
    Well,
    /// Takes every question and never answers.
    Stalled,
    /// Answers every question with an error.
    Failing,
    /// Answers with facts that say nothing.
    Confused,
}

/// A running authority. Clones are the same one.
#[derive(Clone)]
pub struct Authority(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    secure: bool,
    state: Mutex<State>,
    mood: watch::Sender<Mood>,
    /// How many changes there were; watchers wake on it.
    changes: watch::Sender<usize>,
    /// Its own, so that stopping it drops every connection with it.
    runtime: Mutex<Option<Runtime>>,
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
        let identity = Identity::from_pem(fs::read(&server.certificate)?, fs::read(&server.key)?);
        let client_ca = Certificate::from_pem(fs::read(client_ca)?);
        Self::serve(Some(ServerTlsConfig::new().identity(identity).client_ca_root(client_ca)))
    }

    fn serve(tls: Option<ServerTlsConfig>) -> Result<Self> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let inner = Inner {
            address: listener.local_addr()?,
            secure: tls.is_some(),
            state: Mutex::default(),
            mood: watch::Sender::new(Mood::Well),
            changes: watch::Sender::new(0),
            runtime: Mutex::default(),
            lookups: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            exchanges: AtomicU64::new(0),
            refused_watches: AtomicU64::new(0),
        };
        let authority = Self(Arc::new(inner));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let server = Server::builder();
        let mut server = tls.into_iter().try_fold(server, Server::tls_config)?;
        let server = server.add_service(HealthAuthorityServer::new(authority.clone()));
        runtime.spawn(async move {
            let incoming = TcpIncoming::from(TcpListener::from_std(listener)?).with_nodelay(Some(true));
            server.serve_with_incoming(incoming).await.map_err(std::io::Error::other)
        });
        *authority.runtime() = Some(runtime);
        Ok(authority)
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        format!("{}://{}", if self.0.secure { "https" } else { "http" }, self.0.address)
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
        self.0.mood.send_replace(mood);
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
        if let Some(runtime) = self.runtime().take() {
            runtime.shutdown_background();
        }
    }

    fn runtime(&self) -> MutexGuard<'_, Option<Runtime>> {
        self.0.runtime.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits or fails as its mood is; `true` if it is confused.
    async fn temper(&self) -> Result<bool, Status> {
        let mut mood = self.0.mood.subscribe();
        match mood.wait_for(|mood| *mood != Mood::Stalled).await.as_deref() {
            Ok(Mood::Failing) | Err(_) => Err(Status::internal("failing")),
            Ok(Mood::Confused) => Ok(true),
            Ok(Mood::Well | Mood::Stalled) => Ok(false),
        }
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
            if self.temper().await.is_err() {
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
        self.temper().await?;
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
        if self.temper().await? {
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
        let confused = self.temper().await?;
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
        self.temper().await?;
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
