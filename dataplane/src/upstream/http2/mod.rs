//! HTTP/2 towards backends, over the `h2` crate: pingora-core's client session shows neither informational responses
//! nor a way to send trailers (pingora.md 9.3).

mod connection;
mod errors;
mod hosts;
mod outgoing;
mod stream;

use std::sync::Arc;
use std::time::Instant;

use tokio::time::timeout_at;

pub(super) use hosts::Hosts;
pub(super) use stream::Http2;

use super::backend::BackendProgram;
use super::connect::{Dialled, Limit, dial};
use super::endpoints::Endpoint;
use super::error::ConnectError;
use super::pool::{Pool, PoolKey};
use super::stream::OpenGuard;
use super::wire::Wire;
use hosts::Place;

/// What asking for an HTTP/2 stream ended in. Made once per stream and taken apart at once.
#[allow(clippy::large_enum_variant)]
pub(super) enum Opened {
    Http2(Http2),
    /// The far side chose HTTP/1.1; its new connection, if one was made to find out.
    Http1(Option<(Wire, OpenGuard)>),
}

/// A stream on a connection with room, on a new connection, or the news that the far side speaks HTTP/1.1.
pub(super) async fn open(
    pool: &Arc<Pool>,
    key: PoolKey,
    backend: &BackendProgram,
    endpoint: &Arc<Endpoint>,
    deadline: Instant,
) -> Result<Opened, ConnectError> {
    loop {
        let place = pool.hosts().find(key, pool);
        let task = match place {
            Place::Taken(slot) => return Ok(Opened::Http2(Http2::new(slot, backend.is_tls()))),
            Place::Http1 => return Ok(Opened::Http1(None)),
            Place::Full => return Err(ConnectError::Overloaded),
            Place::Wait(mut outcome) => {
                match timeout_at(deadline.into(), outcome.wait_for(Option::is_some)).await {
                    Ok(Ok(outcome)) => {
                        if let Some(Err(error)) = *outcome {
                            return Err(error);
                        }
                    }
                    // Whoever made it was cancelled: look again.
                    Ok(Err(_)) => {}
                    Err(_) => return Err(ConnectError::Timeout),
                }
                continue;
            }
            Place::Dial(task) => task,
        };
        pool.sweep_while_needed();
        let limit = Limit::new(backend, deadline);
        let opened = match pool.open() {
            None => Err(ConnectError::Overloaded),
            Some(open) => match dial(backend, key.address, false, limit.deadline).await {
                Ok(dialled) => adopt(pool, key, backend, endpoint, dialled, open, limit.deadline).await,
                Err(error) => Err(error),
            },
        };
        let outcome = opened.as_ref().map(|_| ()).map_err(|error| *error);
        limit.judge(endpoint, outcome);
        // A request that ran out of its own time says nothing about the endpoint: the next in line tries.
        if !limit.is_request_out_of_time(outcome) {
            task.report(outcome);
        }
        return opened;
    }
}

/// Makes a new connection known by the protocol that was agreed on.
pub(super) async fn adopt(
    pool: &Arc<Pool>,
    key: PoolKey,
    backend: &BackendProgram,
    endpoint: &Arc<Endpoint>,
    dialled: Dialled,
    open: OpenGuard,
    deadline: Instant,
) -> Result<Opened, ConnectError> {
    let Dialled { wire, http2 } = dialled;
    if !http2 {
        if backend.is_tls() {
            pool.hosts().set_http1(key);
        }
        return Ok(Opened::Http1(Some((wire, open))));
    }
    let establishing = connection::establish(wire, Arc::clone(endpoint), open);
    let connection = timeout_at(deadline.into(), establishing).await.map_err(|_| ConnectError::Timeout)??;
    // Our own place first: those who wait must not take it.
    let slot = connection.reserve().ok_or(ConnectError::Protocol)?;
    pool.hosts().add(key, connection);
    Ok(Opened::Http2(Http2::new(slot, backend.is_tls())))
}
