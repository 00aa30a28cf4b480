//! Somebody else's server: in a runtime of its own, so that stopping it drops every connection with it, and in a mood
//! that a test may change.

use std::{
    convert::Infallible,
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use tokio::{runtime::Runtime, sync::watch};
use tonic::{
    Status,
    body::Body,
    codegen::{Service, http::Request, http::Response},
    server::NamedService,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

use crate::pki::Files;

/// How often an address is tried that is being let go of.
const TRIES: u32 = 1000;
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Answers.
    Well,
    /// Takes every question and never answers.
    Stalled,
    /// Answers every question with an error.
    Failing,
    /// Answers every question at once with `UNAVAILABLE`.
    Unavailable,
    /// Answers every question at once with `RESOURCE_EXHAUSTED`.
    Exhausted,
    /// Answers the next question with `UNAVAILABLE`, and is well.
    Hiccup,
    /// Answers against its contract.
    Confused,
}

/// A server on a free loopback port.
pub(crate) struct Hosted {
    address: SocketAddr,
    tls: Option<ServerTlsConfig>,
    mood: watch::Sender<Mood>,
    listener: Mutex<Option<TcpListener>>,
    runtime: Mutex<Option<Runtime>>,
}

/// With this certificate, for clients that `client_ca` has certified.
pub(crate) fn tls(server: &Files, client_ca: &Path) -> Result<ServerTlsConfig> {
    let identity = Identity::from_pem(fs::read(&server.certificate)?, fs::read(&server.key)?);
    let client_ca = Certificate::from_pem(fs::read(client_ca)?);
    Ok(ServerTlsConfig::new().identity(identity).client_ca_root(client_ca))
}

impl Hosted {
    /// Has an address, and serves nobody yet.
    pub(crate) fn listen(tls: Option<ServerTlsConfig>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            address: listener.local_addr()?,
            tls,
            mood: watch::Sender::new(Mood::Well),
            listener: Mutex::new(Some(listener)),
            runtime: Mutex::default(),
        })
    }

    /// Serves until it is stopped.
    pub(crate) fn serve<S>(&self, service: S) -> Result<()>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let Some(listener) = lock(&self.listener).take() else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut server = self.tls.clone().into_iter().try_fold(Server::builder(), Server::tls_config)?;
        let server = server.add_service(service);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            server.serve_with_incoming(incoming).await.map_err(std::io::Error::other)
        });
        *lock(&self.runtime) = Some(runtime);
        Ok(())
    }

    /// Where it listens.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}://{}", if self.tls.is_some() { "https" } else { "http" }, self.address)
    }

    /// Stops listening and drops every connection.
    pub(crate) fn stop(&self) {
        if let Some(runtime) = lock(&self.runtime).take() {
            runtime.shutdown_background();
        }
    }

    /// Takes its address again after it was stopped: `serve` serves there once more.
    pub(crate) fn listen_again(&self) -> Result<()> {
        // What was stopped may be letting go of it at this moment.
        let mut tries = 0;
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(_) if tries < TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
            std::thread::sleep(BETWEEN_TRIES);
        };
        listener.set_nonblocking(true)?;
        *lock(&self.listener) = Some(listener);
        Ok(())
    }

    /// Changes how it behaves from now on.
    pub(crate) fn feel(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    /// Waits or fails as its mood is; `true` if it is confused.
    pub(crate) async fn temper(&self) -> Result<bool, Status> {
        let mut changes = self.mood.subscribe();
        let mood = changes.wait_for(|mood| *mood != Mood::Stalled).await.map(|mood| *mood);
        match mood {
            Ok(Mood::Failing) | Err(_) => Err(Status::internal("failing")),
            Ok(Mood::Unavailable) => Err(Status::unavailable("unavailable")),
            Ok(Mood::Exhausted) => Err(Status::resource_exhausted("exhausted")),
            Ok(Mood::Hiccup) => {
                self.feel(Mood::Well);
                Err(Status::unavailable("hiccup"))
            }
            Ok(Mood::Confused) => Ok(true),
            Ok(Mood::Well | Mood::Stalled) => Ok(false),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
