//! What operators' tools read over HTTP: metrics, whether the process lives, whether it is ready. On a listener of its
//! own, so that it is never behind validators in a queue.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{health::Health, metrics::Metrics};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Connections at once. Scrapers and probes are few.
const CONNECTIONS: usize = 64;
/// The longest that one may be open: a page is asked for and read.
const LONGEST: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone)]
struct Desk {
    metrics: Arc<Metrics>,
    health: Health,
}

/// Serves until dropped.
pub async fn serve(listener: TcpListener, metrics: Arc<Metrics>, health: Health) {
    let router = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready_page))
        .with_state(Desk { metrics, health });
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        match listener.accept().await {
            Ok((socket, _)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    let _too_long = timeout(LONGEST, answer(socket, router)).await;
                    drop(place);
                });
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn answer(socket: TcpStream, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).keep_alive(false);
    // Who breaks off needs no answer.
    let _ended = http.serve_connection(TokioIo::new(socket), TowerToHyperService::new(router)).await;
}

async fn metrics_page(State(desk): State<Desk>) -> impl IntoResponse {
    let state = desk.health.state();
    desk.metrics.dependency("registry", state.registry);
    desk.metrics.dependency("authority", state.authority);
    if let Some(up) = state.redis {
        desk.metrics.dependency("redis", up);
    }
    ([(CONTENT_TYPE, OPEN_METRICS)], desk.metrics.encode())
}

/// 200 or 503, and what is up and what is not.
async fn ready_page(State(desk): State<Desk>) -> impl IntoResponse {
    let state = desk.health.state();
    let (code, word) = if state.is_ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    };
    let mut page = format!("{word}\n");
    let redis = state.redis.map(|up| ("redis", up));
    for (dependency, up) in
        [("registry", state.registry), ("authority", state.authority)].into_iter().chain(redis)
    {
        let _to_a_string = writeln!(page, "{dependency}: {}", if up { "up" } else { "down" });
    }
    (code, page)
}
