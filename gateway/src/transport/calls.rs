//! What is the same for every call: its deadline, whose fault an unreadable message is, and the count of how it ended.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status, body::Body, service::Routes};
use tower::Service;

use super::{RPCS, deadline, identity, status};
use crate::{door::Handler, metrics::Metrics};

/// Answers every call.
#[derive(Debug, Clone)]
pub struct Calls {
    routes: Routes,
    longest: Duration,
    metrics: Arc<Metrics>,
}

/// When a call's answer must have begun: the caller's deadline, or the longest that any call may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(pub(super) Instant);

impl Calls {
    pub(super) fn new(routes: Routes, longest: Duration, metrics: Arc<Metrics>) -> Self {
        Self { routes: routes.prepare(), longest, metrics }
    }

    /// A message that cannot be decoded is the caller's fault; tonic on its own calls it INTERNAL. A call whose time
    /// is over is dropped, and with it what it began.
    async fn answer_in_time(&self, request: Request<Incoming>, deadline: Instant) -> Response<Body> {
        match timeout_at(deadline, self.routes.clone().call(request)).await {
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
        let arrived = Instant::now();
        let given = deadline::timeout(request.headers()).unwrap_or(Duration::MAX);
        let deadline = arrived + given.min(self.longest);
        request.extensions_mut().insert(Deadline(deadline));
        let (service, method) = name(request.uri().path());
        let mut ending = Ending { metrics: Arc::clone(&self.metrics), service, method, arrived, code: None };

        let response = match identity::may_look(&request) {
            Ok(()) => self.answer_in_time(request, deadline).await,
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

/// The end of one call, counted when it is dropped.
struct Ending {
    metrics: Arc<Metrics>,
    service: &'static str,
    method: &'static str,
    arrived: Instant,
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
        // Without a status it was the caller who ended it.
        let code = status::name(self.code.unwrap_or(Code::Cancelled));
        self.metrics.rpc(self.service, self.method, code, self.arrived.elapsed());
    }
}

/// A known call's names, or `unknown`: what a caller may choose is no label.
fn name(path: &str) -> (&'static str, &'static str) {
    let called = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    let known = |(service, method): (&str, &str)| {
        let (service, methods) = RPCS.into_iter().find(|(known, _)| *known == service)?;
        let method = methods.iter().find(|known| **known == method)?;
        Some((service, *method))
    };
    called.and_then(known).unwrap_or(("unknown", "unknown"))
}
