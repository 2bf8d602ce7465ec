//! Bodies of watches, which can be ended between two events.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Frame;
use tokio::sync::broadcast::{self, error::RecvError};

use super::Call;
use super::fault::Predicate;

/// What a server says when it no longer holds the changes since a resource version.
const EXPIRED: &str = concat!(
    r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","#,
    r#""message":"too old resource version","reason":"Expired","code":410}}"#,
    "\n"
);

/// Ends some of the open watches.
#[derive(Clone)]
pub(crate) struct WatchOrder {
    which: Predicate,
    last_words: &'static str,
}

impl WatchOrder {
    pub(crate) fn close(which: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Self {
        Self { which: Arc::new(which), last_words: "" }
    }

    pub(crate) fn expire(which: impl Fn(&Call) -> bool + Send + Sync + 'static) -> Self {
        Self { which: Arc::new(which), last_words: EXPIRED }
    }
}

impl fmt::Debug for WatchOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchOrder").field("last_words", &self.last_words).finish_non_exhaustive()
    }
}

struct Open {
    call: Call,
    server: UnsyncBoxBody<Bytes, kube::Error>,
    orders: broadcast::Receiver<WatchOrder>,
    /// Whether the last event is whole; only then may another begin.
    between_events: bool,
    /// What is said before the end, once that is ordered.
    last_words: Option<&'static str>,
}

/// The server's events, until an order ends them. The end of the stream is the end of the watch.
pub(crate) fn events(
    call: Call,
    server: UnsyncBoxBody<Bytes, kube::Error>,
    orders: broadcast::Receiver<WatchOrder>,
) -> impl Stream<Item = Result<Frame<Bytes>, kube::Error>> + Send {
    let open = Open { call, server, orders, between_events: true, last_words: None };
    futures::stream::unfold(Some(open), |open: Option<Open>| async move {
        let mut open = open?;
        loop {
            if let Some(last_words) = open.last_words.filter(|_| open.between_events) {
                let frame = Frame::data(Bytes::from_static(last_words.as_bytes()));
                return (!last_words.is_empty()).then_some((Ok(frame), None));
            }
            tokio::select! {
                order = open.orders.recv() => match order {
                    Ok(order) if (order.which)(&open.call) => open.last_words = Some(order.last_words),
                    Ok(_) => {}
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return None,
                },
                frame = open.server.frame() => match frame? {
                    Ok(frame) => {
                        if let Some(last) = frame.data_ref().and_then(|data| data.last()) {
                            open.between_events = *last == b'\n';
                        }
                        return Some((Ok(frame), Some(open)));
                    }
                    Err(error) => return Some((Err(error), None)),
                },
            }
        }
    })
}
