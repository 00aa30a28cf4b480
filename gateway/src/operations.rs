//! What operators' tools read over HTTP: metrics, whether the process lives, whether it is ready. On a listener of its
//! own, so that it is never behind validators in a queue.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::{health::Health, metrics::Metrics};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
    // Ends only with the task.
    let _never = axum::serve(listener, router).await;
}

async fn metrics_page(State(desk): State<Desk>) -> impl IntoResponse {
    let state = desk.health.state();
    desk.metrics.dependency("registry", state.registry);
    desk.metrics.dependency("authority", state.authority);
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
    for (dependency, up) in [("registry", state.registry), ("authority", state.authority)] {
        let _to_a_string = writeln!(page, "{dependency}: {}", if up { "up" } else { "down" });
    }
    (code, page)
}
