//! A way to a backend: an endpoint that answers, or why there is none.

use std::sync::Arc;
use std::time::Instant;

use super::session::Session;
use crate::observe::{ConnectOutcome, Outcome};
use crate::upstream::{BackendProgram, CONNECT_BOUND, Carry, ConnectError, Endpoint, EndpointRef, Raw};
use crate::worker::Worker;

/// Endpoints tried for one connection.
const MAX_TRIES: u32 = 3;
/// Connects to an endpoint of the backend. Nothing of the client's has been sent while that is not done, so every
/// failure may be tried on another endpoint.
pub(super) async fn connect(
    worker: &Worker,
    backend: &BackendProgram,
    carry: Carry,
    session: &mut Session,
) -> Result<(EndpointRef, Raw), Outcome> {
    // For all tries together; a single one ends by the backend's own connect timeout.
    let deadline = Instant::now() + CONNECT_BOUND;
    let mut avoid: Option<Arc<Endpoint>> = None;
    let mut last = Outcome::NoEndpoints;
    while session.attempts < MAX_TRIES {
        let Some(endpoint) = worker.upstreams.pick_resolved(backend, avoid.as_deref()).await else { return Err(last) };
        if avoid.as_ref().is_some_and(|avoid| avoid.address() == endpoint.address()) {
            // There is no other.
            return Err(last);
        }
        session.attempts += 1;
        session.endpoint = Some(endpoint.address());
        let metrics = &worker.shared.metrics;
        match worker.upstreams.connect_raw(backend, &endpoint, carry, deadline).await {
            Ok(upstream) => {
                metrics.upstream_connect(ConnectOutcome::Connected);
                return Ok((endpoint, upstream));
            }
            Err(error) => {
                tracing::debug!(endpoint = %endpoint.address(), %error, "no connection");
                metrics.upstream_connect(error.into());
                if error == ConnectError::Misconfigured {
                    return Err(Outcome::Invalid);
                }
                last = Outcome::ConnectFailed;
                if !error.blames_endpoint() || deadline <= Instant::now() {
                    return Err(last);
                }
                avoid = Some(Arc::clone(endpoint.shared()));
            }
        }
    }
    Err(last)
}
