//! Answers of our own, sent and noted.

use std::future::poll_fn;
use std::task::Poll;

use http::HeaderValue;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;

use super::cors::Grant;
use super::downstream::{ClientError, Downstream};
use super::head::Facts;
use super::headers::Seen;
use super::local::{self, Failure, Wishes};
use super::log::Log;
use super::request::Answered;
use crate::observe::flags;
use crate::policy::{Admitted, Refusal};
use crate::program::CompiledCors;

/// An answer of ours to a request that goes no further.
pub(super) async fn refuse(down: &mut Downstream, failure: &Failure, wishes: &Wishes<'_>, log: &mut Log) -> Answered {
    log.flags |= failure.flags;
    log.grpc_status = wishes.grpc_status(failure);
    if failure.flags.contains(flags::BAD_REQUEST) {
        down.note_malformed();
        down.close_after();
    }
    if failure.flags.contains(flags::MISDIRECTED) {
        // The client shall come again on a connection of its own; HTTP/2 clients know to do so.
        down.close_after();
    }
    let id = log.request.as_ref().and_then(|request| request.request_id.clone());
    let sent = poll_fn(|cx| Poll::Ready(local::answer(down, cx, failure, wishes, id.as_ref()))).await;
    note_sent(sent, log)
}

/// The answer of a policy.
pub(super) async fn turn_away(
    down: &mut Downstream,
    refusal: &Refusal,
    wishes: &Wishes<'_>,
    log: &mut Log,
) -> Answered {
    log.flags |= refusal.flags;
    if refusal.by.is_some() {
        log.judged().denied_by.clone_from(&refusal.by);
    }
    log.grpc_status = wishes.is_grpc().then_some(refusal.grpc);
    let id = log.request.as_ref().and_then(|request| request.request_id.clone());
    let sent = poll_fn(|cx| Poll::Ready(local::refusal(down, cx, refusal, wishes, id.as_ref()))).await;
    note_sent(sent, log)
}

pub(super) async fn redirect(
    down: &mut Downstream,
    status: http::StatusCode,
    location: HeaderValue,
    wishes: &Wishes<'_>,
    log: &mut Log,
) -> Answered {
    let mut location = Some(location);
    let sent = poll_fn(|cx| {
        let location = location.take().unwrap_or(HeaderValue::from_static("/"));
        Poll::Ready(local::redirect(down, cx, status, location, wishes.added()))
    })
    .await;
    note_sent(sent, log)
}

pub(super) fn note_sent(sent: Result<(http::StatusCode, u64), ClientError>, log: &mut Log) -> Answered {
    match sent {
        Ok((status, length)) => {
            log.status = status.as_u16();
            log.bytes_out = length;
            Answered::Complete
        }
        Err(_) => {
            log.flags |= flags::DOWNSTREAM_GONE;
            Answered::Broken
        }
    }
}

/// What a local answer depends on; looked up only when there is one.
pub(super) fn wishes<'p>(
    facts: &Facts,
    head: &Parts,
    cors: Option<&'p CompiledCors>,
    admitted: Option<&'p Admitted>,
) -> Wishes<'p> {
    let headers = &head.headers;
    let accept = if facts.seen.has(Seen::ACCEPT) { headers.get(ACCEPT) } else { None };
    let content_type = if facts.seen.has(Seen::CONTENT_TYPE) { headers.get(CONTENT_TYPE) } else { None };
    let mut wishes = Wishes::of(accept, content_type);
    wishes.cors = cors.map(|policy| Grant::of(policy, headers));
    wishes.admitted = admitted;
    wishes
}
