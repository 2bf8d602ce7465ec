//! `/healthz`, `/readyz` and `/metrics`, for probes and scrapers.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use portcullis_publish::Stats;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::metrics::Metrics;

/// What the pages are made of.
#[derive(Clone, Debug)]
pub(crate) struct Pages {
    pub(crate) metrics: Metrics,
    pub(crate) stats: Arc<Stats>,
    /// Of whoever fetches issuers' keys; none on replicas that do not.
    pub(crate) issuers: watch::Receiver<Option<Arc<portcullis_issuers::Stats>>>,
    /// What is missing before the first program.
    pub(crate) missing: watch::Receiver<Vec<String>>,
}

/// Serves until `shutdown` ends.
pub(crate) async fn serve(listener: TcpListener, pages: Pages, shutdown: impl Future<Output = ()> + Send + 'static) {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(pages);
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(shutdown).await {
        tracing::error!(%error, "admin listener has ended");
    }
}

async fn ready(State(pages): State<Pages>) -> (StatusCode, String) {
    let missing = pages.missing.borrow();
    if missing.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    let lines: String = missing.iter().map(|one| format!("- {one}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready:\n{lines}"))
}

async fn metrics(State(pages): State<Pages>) -> String {
    let issuers = pages.issuers.borrow().clone();
    pages.metrics.render(&pages.stats, issuers.as_deref())
}
