//! After a 101 the connection is no longer HTTP: bytes are copied both ways until one side ends.
//!
//! Such streams may be silent for hours, so no idle time cuts them; they end with the drain's deadline.

use std::io;
use std::pin::pin;
use std::task::Poll;

use bytes::BytesMut;
use tokio::io::{AsyncWriteExt, copy_bidirectional};

use super::conn::Conn;
use super::io::Io;
use super::log::Log;
use crate::observe::flags;
use crate::upstream::Upgraded;

/// Both ends of what was a request.
pub(super) struct Tunnel {
    pub(super) upgraded: Upgraded,
    pub(super) log: Log,
}

/// `early` is what the client sent before it could know of the 101.
pub(super) async fn run(tunnel: Tunnel, io: &Io, early: BytesMut, conn: &Conn) {
    let Tunnel { mut upgraded, mut log } = tunnel;
    let before = io.traffic();
    let mut client = io.clone();
    let metrics = &conn.worker.shared.metrics;
    metrics.upgraded_open.add(1);
    let mut drain = conn.drain.clone();
    let ended = {
        let mut copying = pin!(copy(&mut client, &mut upgraded, &early));
        let mut aborted = pin!(drain.aborted());
        std::future::poll_fn(|cx| match copying.as_mut().poll(cx) {
            Poll::Ready(copied) => Poll::Ready(Some(copied)),
            Poll::Pending => aborted.as_mut().poll(cx).map(|()| None),
        })
        .await
    };
    metrics.upgraded_open.add(-1);
    if matches!(ended, Some(Err(_))) {
        log.flags |= flags::DOWNSTREAM_GONE;
    }
    let after = io.traffic();
    log.bytes_in = early.len() as u64 + after.0.saturating_sub(before.0);
    log.bytes_out = after.1.saturating_sub(before.1);
    log.finish(conn);
}

async fn copy(client: &mut Io, upgraded: &mut Upgraded, early: &[u8]) -> io::Result<()> {
    upgraded.write_all(early).await?;
    upgraded.flush().await?;
    copy_bidirectional(client, upgraded).await.map(drop)
}
