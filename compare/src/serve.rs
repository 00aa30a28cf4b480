//! What users would pick instead, each as a server of its own, over mTLS as the gateway is.

use std::{collections::HashMap, num::NonZero, path::Path};

use anyhow::{Context, Result};
use clap::ValueEnum;
use envoy_types::pb::envoy::service::ratelimit::v3::{
    RateLimitRequest, RateLimitResponse,
    rate_limit_response::Code,
    rate_limit_service_server::{RateLimitService, RateLimitServiceServer},
};
use governor::{DefaultKeyedRateLimiter, Quota};
use limitador::{
    RateLimiter,
    limit::{Context as Values, Expression, Limit},
};
use ridegate_proto::validator::v1::{
    CheckRequest, CheckResponse, Reason, ReportInspectionRequest, ReportInspectionResponse, Verdict,
    validator_service_server::{ValidatorService, ValidatorServiceServer},
};
use ridegate_sim::pki::Files;
use tokio::net::TcpListener;
use tokio_stream::{Empty, empty};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

/// So many a second that nobody is refused.
const PLENTY: u32 = 1_000_000_000;
pub const DOMAIN: &str = "ridegate";
/// What the budget is by.
pub const PARTNER: &str = "partner";

/// Somebody to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// tonic alone: takes the same question and gives the same answer to all.
    Echo,
    /// tonic and governor, speaking Envoy's rate-limit protocol.
    Governor,
    /// The limitador library, in memory, speaking the same.
    Limitador,
}

impl Peer {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Echo => "tonic, which echoes",
            Self::Governor => "tonic + governor, a limit by partner",
            Self::Limitador => "limitador in memory, a limit by partner",
        }
    }
}

/// Serves until it is ended. Says where on standard output.
#[expect(clippy::print_stdout, reason = "who started it reads where it listens")]
pub async fn run(peer: Peer, pki: &Path) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
    let (server, ca) = (Files::of(pki, "server"), Files::of(pki, "ca").certificate);
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(read(&server.certificate)?, read(&server.key)?))
        .client_ca_root(Certificate::from_pem(read(&ca)?));
    let mut server = Server::builder().tls_config(tls)?;
    let router = match peer {
        Peer::Echo => server.add_service(ValidatorServiceServer::new(Echo)),
        Peer::Governor => server.add_service(RateLimitServiceServer::new(Governor::new()?)),
        Peer::Limitador => server.add_service(RateLimitServiceServer::new(Limitador::new()?)),
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Ok(router.serve_with_incoming(incoming).await?)
}

struct Echo;

#[tonic::async_trait]
impl ValidatorService for Echo {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(CheckResponse {
            request_id: request.into_inner().request_id,
            verdict_id: "0191a1b2-0000-7000-8000-000000000000".into(),
            verdict: Verdict::Allow.into(),
            reason: Reason::HealthOk.into(),
            policy_version: "beijing-2022/1".into(),
            ..CheckResponse::default()
        }))
    }

    type CheckStreamStream = Empty<Result<CheckResponse, Status>>;

    async fn check_stream(
        &self,
        _: Request<Streaming<CheckRequest>>,
    ) -> Result<Response<Self::CheckStreamStream>, Status> {
        Ok(Response::new(empty()))
    }

    async fn report_inspection(
        &self,
        _: Request<ReportInspectionRequest>,
    ) -> Result<Response<ReportInspectionResponse>, Status> {
        Ok(Response::new(ReportInspectionResponse {}))
    }
}

struct Governor(DefaultKeyedRateLimiter<String>);

impl Governor {
    fn new() -> Result<Self> {
        let plenty = NonZero::new(PLENTY).context("not zero")?;
        Ok(Self(DefaultKeyedRateLimiter::keyed(Quota::per_second(plenty))))
    }
}

#[tonic::async_trait]
impl RateLimitService for Governor {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let request = request.into_inner();
        let mut entries = request.descriptors.iter().flat_map(|descriptor| &descriptor.entries);
        let partner = entries.find(|entry| entry.key == PARTNER);
        let partner = partner.ok_or_else(|| Status::invalid_argument("no partner"))?;
        Ok(answer(self.0.check_key(&partner.value).is_err()))
    }
}

struct Limitador(RateLimiter);

impl Limitador {
    fn new() -> Result<Self> {
        let limiter = RateLimiter::new(10_000);
        let partner = Expression::parse(format!("descriptors[0].{PARTNER}"))?;
        limiter.add_limit(Limit::new(DOMAIN, u64::from(PLENTY), 1, [], [partner]));
        Ok(Self(limiter))
    }
}

/// As limitador's own server does it.
#[tonic::async_trait]
impl RateLimitService for Limitador {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let request = request.into_inner();
        let descriptors = request.descriptors.into_iter().map(|descriptor| {
            descriptor.entries.into_iter().map(|entry| (entry.key, entry.value)).collect::<HashMap<_, _>>()
        });
        let mut values = Values::default();
        values.list_binding("descriptors".to_owned(), descriptors.collect());
        let hits = u64::from(request.hits_addend.max(1));
        let checked = self.0.check_rate_limited_and_update(&request.domain.into(), &values, hits);
        checked.map(|checked| answer(checked.limited)).map_err(|error| Status::unavailable(error.to_string()))
    }
}

fn answer(limited: bool) -> Response<RateLimitResponse> {
    let code = if limited { Code::OverLimit } else { Code::Ok };
    Response::new(RateLimitResponse { overall_code: code.into(), ..RateLimitResponse::default() })
}
