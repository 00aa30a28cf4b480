//! What is the same for every call: who may make it, its deadline, whose fault an unreadable message is, and the count
//! of how it ended.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use ridegate_proto::validator::v1::validator_service_server::ValidatorServiceServer;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status, body::Body, service::Routes};
use tower::Service;

use super::{
    SERVICES, VALIDATOR_SERVICE, ValidatorApi, deadline,
    identity::{self, Who},
    status,
};
use crate::{
    budget::Budget,
    door::{Handler, Peer},
    metrics::Metrics,
};

/// Calls that last as long as their callers like: their time says nothing.
const STREAMS: [&str; 4] = ["CheckStream", "BatchLink", "Watch", "ServerReflectionInfo"];

/// Calls that are answered when all of their messages have come.
const LONG: [&str; 1] = ["BatchLink"];
/// The longest that those may take. A connection is asked to leave long before.
const LONGEST: Duration = Duration::from_hours(24);

/// Answers every call.
#[derive(Debug, Clone)]
pub struct Calls {
    validators: ValidatorServiceServer<ValidatorApi>,
    /// The other services, behind a router. A tap has no time to be routed.
    others: Routes,
    longest: Duration,
    metrics: Arc<Metrics>,
}

/// What is known of a call's time.
#[derive(Debug, Clone, Copy)]
struct Timing {
    arrived: Instant,
    begun: Instant,
    /// When its answer must have begun: the caller's deadline, or the longest that any call may take.
    deadline: Instant,
}

/// The budget of a verdict whose message is there now: this long, or what the caller's deadline leaves. Until then its caller
/// was waited for, which is not the gateway's time; what the call had waited for a core before it was begun is.
pub(super) fn budget<T>(request: &tonic::Request<T>, longest: Duration, reply_margin: Duration) -> Budget {
    let now = Instant::now();
    let Some(Timing { arrived, begun, deadline }) = request.extensions().get().copied() else {
        return Budget::new(now, longest);
    };
    let budget = Budget::new(arrived + now.duration_since(begun), longest);
    deadline.checked_sub(reply_margin).map_or(budget, |deadline| budget.not_after(deadline))
}

impl Calls {
    pub(super) fn new(
        validators: ValidatorServiceServer<ValidatorApi>,
        others: Routes,
        longest: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { validators, others: others.prepare(), longest, metrics }
    }

    async fn call<B>(&self, service: &str, request: Request<B>) -> Result<Response<Body>, Infallible>
    where
        B: http_body::Body<Data = hyper::body::Bytes, Error = hyper::Error> + Send + 'static,
    {
        match service {
            VALIDATOR_SERVICE => self.validators.clone().call(request).await,
            _ => self.others.clone().call(request).await,
        }
    }

    /// A message that cannot be decoded is the caller's fault; tonic on its own calls it INTERNAL. A call whose time
    /// is over is dropped, and with it what it began.
    async fn answer_in_time<B>(&self, service: &str, request: Request<B>, deadline: Instant) -> Response<Body>
    where
        B: http_body::Body<Data = hyper::body::Bytes, Error = hyper::Error> + Send + 'static,
    {
        match timeout_at(deadline, self.call(service, request)).await {
            Ok(Ok(response)) => match response.extensions().get::<Status>().and_then(status::undecodable) {
                Some(status) => status.into_http(),
                None => response,
            },
            Ok(Err(never)) => match never {},
            Err(_) => status::deadline_exceeded().into_http(),
        }
    }
}

impl Handler for Calls {
    type Body = Body;

    async fn answer(&self, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
        let begun = Instant::now();
        let arrived = request.extensions().get::<Peer>().map_or(begun, |peer| peer.arrived);
        let given = deadline::timeout(request.headers()).unwrap_or(Duration::MAX);
        let called = Called::by(request.uri().path());
        let longest = if LONG.contains(&called.method) { LONGEST } else { self.longest };
        let deadline = arrived + given.min(longest);
        request.extensions_mut().insert(Timing { arrived, begun, deadline });
        let Called { service, who, method } = called;
        let broken_off = Arc::new(AtomicBool::new(false));
        let metrics = Arc::clone(&self.metrics);
        let mut ending =
            Ending { metrics, service, method, arrived, broken_off: Arc::clone(&broken_off), code: None };

        let response = match identity::admit(&mut request, who) {
            Ok(()) => {
                let note = move |error| {
                    broken_off.store(true, Relaxed);
                    error
                };
                self.answer_in_time(service, request.map(|body| body.map_err(note)), deadline).await
            }
            Err(status) => status.into_http(),
        };
        ending.see(response.headers());
        Ok(response.map(|body| {
            Body::new(body.map_frame(move |frame| {
                if let Some(trailers) = frame.trailers_ref() {
                    ending.see(trailers);
                }
                frame
            }))
        }))
    }

    fn is_business(&self, request: &Request<Incoming>) -> bool {
        !request.uri().path().starts_with("/grpc.")
    }
}

/// A known call, or `unknown`: what a caller may choose is no label.
struct Called {
    service: &'static str,
    who: Who,
    method: &'static str,
}

impl Called {
    fn by(path: &str) -> Self {
        let called = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        let known = |(service, method): (&str, &str)| {
            let (service, who, methods) = SERVICES.into_iter().find(|(known, ..)| *known == service)?;
            let method = methods.iter().find(|known| **known == method).unwrap_or(&"unknown");
            Some(Self { service, who, method })
        };
        // Of what is not there everybody may be told that it is not there.
        let unknown = Self { service: "unknown", who: Who::Everybody, method: "unknown" };
        called.and_then(known).unwrap_or(unknown)
    }
}

/// The end of one call, counted when it is dropped.
struct Ending {
    metrics: Arc<Metrics>,
    service: &'static str,
    method: &'static str,
    arrived: Instant,
    /// The caller's message did not come to its end.
    broken_off: Arc<AtomicBool>,
    code: Option<Code>,
}

impl Ending {
    /// The status is in the headers if there is no message, else in the trailers.
    fn see(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get("grpc-status") {
            self.code = Some(Code::from_bytes(code.as_bytes()));
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Without a status, or with one that only says that the message broke off, it was the caller who ended it.
        let code = self.code.filter(|_| !self.broken_off.load(Relaxed)).unwrap_or(Code::Cancelled);
        let took = (!STREAMS.contains(&self.method)).then(|| self.arrived.elapsed());
        self.metrics.rpc(self.service, self.method, status::name(code), took);
    }
}
