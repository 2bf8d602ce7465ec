//! What another replica tells of its pods, in case it is us who write status.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use portcullis_wire::{Report, Wanted};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::refuse::Refusal;
use super::service::{Inner, peer_of, subject_of};
use crate::DeniedReason;
use crate::identity::Subject;
use crate::stats::count;

pub(super) async fn receive(
    inner: Arc<Inner>,
    request: Request<Streaming<Bytes>>,
) -> Result<Response<ReceiverStream<Result<Bytes, Status>>>, Status> {
    let peer = peer_of(&request)?;
    let begun = match subject_of(&peer) {
        Ok(Subject::Controller { replica }) => Ok(Arc::clone(replica)),
        Ok(Subject::Pod { .. }) => {
            Err(Refusal::new(DeniedReason::Certificate, "only replicas of the controller report; this is a data plane"))
        }
        Err(refusal) => Err(refusal),
    };
    let replica = begun.map_err(|refusal| refusal.tell(&inner.stats, &peer, "Report"))?;
    let place = Arc::clone(&inner.streams).try_acquire_owned();
    let place = place.map_err(|_| {
        Refusal::new(DeniedReason::Limit, "too many streams; try again").tell(&inner.stats, &peer, "Report")
    })?;
    // Nothing is answered, but the stream's end.
    let (outgoing, answers) = mpsc::channel(1);
    let mut incoming = request.into_inner();
    // A replica that connects again may be here twice for a while.
    let connection: Arc<str> = format!("{replica}#{}", inner.reports.fetch_add(1, Ordering::Relaxed)).into();
    tokio::spawn(async move {
        tracing::info!(%replica, "another replica reports its data planes");
        let mut stop = inner.stop.clone();
        let status = tokio::select! {
            status = merge(&inner, &connection, &mut incoming) => status,
            _ = stop.wait_for(|stop| *stop) => Status::unavailable("this replica ends"),
        };
        inner.publisher.forget_peer(&connection);
        tracing::info!(%replica, why = status.message(), "another replica's reports have ended");
        let _ = outgoing.try_send(Err(status));
        drop(place);
    });
    Ok(Response::new(ReceiverStream::new(answers)))
}

async fn merge(inner: &Inner, connection: &Arc<str>, incoming: &mut Streaming<Bytes>) -> Status {
    loop {
        let message = match incoming.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return Status::ok("it ended"),
            Err(status) => return status,
        };
        match Report::decode(&message) {
            Ok(Report::Pod(report)) => {
                count(&inner.stats.reports);
                inner.publisher.merge_peer(connection, report);
            }
            Ok(Report::Wanted(Wanted { issuers })) => inner.publisher.want(issuers),
            Err(error) => return Status::failed_precondition(error.to_string()),
        }
    }
}
