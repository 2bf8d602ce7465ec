//! HTTP/2 towards backends, over the `h2` crate: pingora-core's client session shows neither informational responses
//! nor a way to send trailers (pingora.md 9.3).

mod connection;
mod errors;
mod hosts;
mod outgoing;
mod stream;

use std::sync::Arc;
use std::time::Instant;

use portcullis_ir as ir;
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
use connection::{Connection, Settled};
use hosts::{Dial, Place};

/// What asking for an HTTP/2 stream ended in. Made once per stream and taken apart at once.
#[allow(clippy::large_enum_variant)]
pub(super) enum Opened {
    Http2(Http2),
    /// The far side chose HTTP/1.1; its new connection, if one was made to find out.
    Http1(Option<(Wire, OpenGuard)>),
}

/// Where a connection leads and where it is kept.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) pool: &'a Arc<Pool>,
    pub(super) key: PoolKey,
    pub(super) backend: &'a BackendProgram,
    pub(super) endpoint: &'a Arc<Endpoint>,
    /// Spoken where nothing is agreed on by TLS.
    pub(super) protocol: ir::Protocol,
}

/// A stream on a connection with room, on a new connection, or the news that the far side speaks HTTP/1.1.
pub(super) async fn open(site: Site<'_>, deadline: Instant) -> Result<Opened, ConnectError> {
    let Site { pool, key, backend, endpoint, protocol } = site;
    loop {
        let place = pool.hosts().find(key, pool);
        let mut task = match place {
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
            Place::Dial(task) => Some(task),
        };
        pool.sweep_while_needed();
        let limit = Limit::new(backend, deadline);
        let opened = match pool.open() {
            None => Err(ConnectError::Overloaded),
            Some(open) => match dial(backend, protocol, key.address, false, limit.deadline).await {
                Ok(dialled) => adopt_for(site, dialled, open, limit.deadline, &mut task).await,
                Err(error) => Err(error),
            },
        };
        let outcome = opened.as_ref().map(|_| ()).map_err(|error| *error);
        limit.judge(endpoint, outcome);
        // A request that ran out of its own time says nothing about the endpoint: the next in line tries.
        if let Some(task) = task
            && !limit.is_request_out_of_time(outcome)
        {
            task.report(outcome);
        }
        return opened;
    }
}

/// Makes a new connection known by the protocol that was agreed on.
pub(super) async fn adopt(
    site: Site<'_>,
    dialled: Dialled,
    open: OpenGuard,
    deadline: Instant,
) -> Result<Opened, ConnectError> {
    adopt_for(site, dialled, open, deadline, &mut None).await
}

/// An HTTP/2 connection takes over the duty to report.
async fn adopt_for(
    site: Site<'_>,
    dialled: Dialled,
    open: OpenGuard,
    deadline: Instant,
    task: &mut Option<Dial>,
) -> Result<Opened, ConnectError> {
    let Site { pool, key, backend, endpoint, protocol: _ } = site;
    let Dialled { wire, http2 } = dialled;
    if !http2 {
        if backend.is_tls() {
            pool.hosts().set_http1(key);
        }
        return Ok(Opened::Http1(Some((wire, open))));
    }
    let establishing = connection::establish(wire, Arc::clone(endpoint), open);
    let (connection, settled) =
        timeout_at(deadline.into(), establishing).await.map_err(|_| ConnectError::Timeout)??;
    // Our own stream does not wait; others share the connection once it has said how many it takes.
    let slot = connection.reserve().ok_or(ConnectError::Protocol)?;
    tokio::spawn(share_when_settled(Arc::clone(pool), key, connection, settled, task.take()));
    Ok(Opened::Http2(Http2::new(slot, backend.is_tls())))
}

/// Ends with the connection's first answer, its end or its silence; so it is bounded as they are.
async fn share_when_settled(
    pool: Arc<Pool>,
    key: PoolKey,
    connection: Arc<Connection>,
    settled: Settled,
    task: Option<Dial>,
) {
    let outcome = match settled.await {
        Ok(()) => {
            pool.hosts().add(key, connection);
            pool.sweep_while_needed();
            Ok(())
        }
        Err(_) => {
            connection.endpoint().connect_failed();
            Err(ConnectError::Protocol)
        }
    };
    if let Some(task) = task {
        task.report(outcome);
    }
}
