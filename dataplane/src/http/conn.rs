//! What the requests of one connection share, and which protocol is spoken on it.

use std::sync::Arc;

use super::client::Peer;
use super::{h1, h2};
use crate::conn::ConnInfo;
use crate::listen::{DrainSignal, Stream};
use crate::settings::HttpLimits;
use crate::worker::Worker;

pub(super) struct Conn {
    pub(super) info: Arc<ConnInfo>,
    pub(super) worker: Arc<Worker>,
    pub(super) drain: DrainSignal,
    pub(super) peer: Peer,
}

impl Conn {
    pub(super) fn limits(&self) -> &HttpLimits {
        &self.worker.shared.settings.limits
    }
}

pub(super) async fn serve(stream: Stream, info: Arc<ConnInfo>, worker: Arc<Worker>, drain: DrainSignal) {
    let http2 = stream.is_h2_preface() || info.tls.as_ref().is_some_and(|tls| tls.http2);
    let peer = Peer::new(info.client, info.tls.is_some(), &worker.shared.settings.trusted_proxies);
    let conn = Conn { info, worker, drain, peer };
    // The listener's own read deadline covered what came before; from here on deadlines are the loop's.
    stream.control().set_read_deadline(None);
    // Boxed apart: a connection carries only the state of the protocol that it speaks.
    if http2 {
        Box::pin(h2::run(stream, Arc::new(conn))).await;
    } else {
        Box::pin(h1::run(stream, &conn)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::size_of_future;

    /// An idle connection holds all of it, so what is rarely needed goes into boxes of its own.
    #[test]
    fn the_state_of_a_connection_stays_within_its_size_class() {
        let held = size_of_future(|(stream, conn): (Stream, &'static Conn)| h1::run(stream, conn));
        assert!(held <= 7 * 1024, "{held}");
    }
}
