//! A partner's resolver: reads the codes that only the partner can read, and can be made to fail.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use anyhow::Result;
use prost_types::Timestamp;
use ridegate_gateway::clock::Clock;
use ridegate_proto::resolver::v1::{
    Refusal, ResolveRequest, ResolveResponse, ResolvedCode,
    code_resolver_server::{CodeResolver, CodeResolverServer},
    resolve_response::Answer,
};
use tonic::{Request, Response, Status, transport::ServerTlsConfig};

use crate::{
    hosted::{self, Hosted, Mood},
    online::{Book, Said},
    pki::Files,
};

/// A running resolver. Clones are the same one.
#[derive(Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    hosted: Hosted,
    book: Book,
    clock: Clock,
    asked: AtomicU64,
}

impl Resolver {
    /// Starts on a free loopback port.
    pub fn start(book: Book, clock: Clock) -> Result<Self> {
        Self::serve(book, clock, None)
    }

    /// Starts on a free loopback port, with this certificate, for clients that `client_ca` has certified.
    pub fn start_with_tls(book: Book, clock: Clock, server: &Files, client_ca: &Path) -> Result<Self> {
        Self::serve(book, clock, Some(hosted::tls(server, client_ca)?))
    }

    fn serve(book: Book, clock: Clock, tls: Option<ServerTlsConfig>) -> Result<Self> {
        let inner = Inner { hosted: Hosted::listen(tls)?, book, clock, asked: AtomicU64::new(0) };
        let resolver = Self(Arc::new(inner));
        resolver.0.hosted.serve(CodeResolverServer::new(resolver.clone()))?;
        Ok(resolver)
    }

    /// Where it listens.
    pub fn endpoint(&self) -> String {
        self.0.hosted.endpoint()
    }

    /// Changes how it behaves from now on.
    pub fn feel(&self, mood: Mood) {
        self.0.hosted.feel(mood);
    }

    /// Codes it was asked about so far.
    pub fn asked(&self) -> u64 {
        self.0.asked.load(Relaxed)
    }

    /// Stops listening and drops every connection.
    pub fn stop(&self) {
        self.0.hosted.stop();
    }

    fn answer(&self, code: &[u8]) -> Result<Answer, Status> {
        let now = u32::try_from(self.0.clock.unix_seconds().0).map_err(|_| Status::internal("clock"))?;
        let Some(said) = self.0.book.read(code, now) else { return Ok(refused(Refusal::NotFound)) };
        let Said { rider, generated_at, validity } = said;
        let expires_at = generated_at + u32::from(validity);
        if now > expires_at {
            return Ok(refused(Refusal::Expired));
        }
        Ok(Answer::Code(ResolvedCode {
            issuer: String::new(),
            account: said.account(),
            code_id: format!("{rider}-{generated_at}"),
            generated_at: Some(Timestamp { seconds: generated_at.into(), nanos: 0 }),
            expires_at: Some(Timestamp { seconds: expires_at.into(), nanos: 0 }),
        }))
    }
}

fn refused(refusal: Refusal) -> Answer {
    Answer::Refusal(refusal.into())
}

#[tonic::async_trait]
impl CodeResolver for Resolver {
    async fn resolve(&self, request: Request<ResolveRequest>) -> Result<Response<ResolveResponse>, Status> {
        self.0.asked.fetch_add(1, Relaxed);
        let confused = self.0.hosted.temper().await?;
        let answer = if confused { None } else { Some(self.answer(&request.into_inner().code)?) };
        Ok(Response::new(ResolveResponse { answer }))
    }
}
