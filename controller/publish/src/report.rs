//! What one replica tells the one that writes status: each pod that is connected to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use portcullis_ir::GatewayKey;
/// One pod of one Gateway, as one replica knows it.
pub use portcullis_wire::PodReport;
use portcullis_wire::{REPORT, Report, Wanted};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tower::service_fn;

use crate::codec::Raw;
use crate::{Pki, Pod, Publisher};

const CONNECT: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
const QUEUE: usize = 64;

type Told = BTreeMap<(GatewayKey, Arc<str>), Pod>;

/// Why there is no stream to the leader.
#[derive(Debug, thiserror::Error)]
enum NotReported {
    #[error("{0}")]
    Ca(#[from] crate::InvalidCa),
    #[error("{0}")]
    Address(String),
    #[error("{0:?}")]
    Connect(#[from] tonic::transport::Error),
    #[error("{}", .0.message())]
    Ended(#[from] Status),
}

/// Tells the replica at `leader` (`host:port` or `address:port` of its stream server) about our pods until `shutdown`
/// ends. Tries again for ever, with backoff; each connection begins with everything. `replica` is our own pod's name.
pub async fn report_to(
    leader: String,
    replica: Arc<str>,
    pki: Arc<Pki>,
    publisher: Arc<Publisher>,
    shutdown: impl Future<Output = ()> + Send,
) {
    tokio::pin!(shutdown);
    let mut wait = FIRST_RETRY;
    loop {
        let mut reached = false;
        let stream = report(&leader, &replica, &pki, &publisher, &mut reached);
        let error = tokio::select! {
            () = &mut shutdown => return,
            ended = stream => ended.err(),
        };
        if reached {
            wait = FIRST_RETRY;
        }
        let error = error.map(|error| error.to_string()).unwrap_or_default();
        tracing::warn!(leader, error, ?wait, "our data planes cannot be reported to the leader");
        tokio::select! {
            () = &mut shutdown => return,
            () = sleep(wait) => {}
        }
        wait = (wait * 2).min(LONGEST_RETRY);
    }
}

async fn report(
    leader: &str,
    replica: &Arc<str>,
    pki: &Pki,
    publisher: &Publisher,
    reached: &mut bool,
) -> Result<(), NotReported> {
    let mut client = Grpc::new(dial(leader, replica, pki).await?);
    client.ready().await?;
    let (outgoing, reports) = mpsc::channel(QUEUE);
    let request = Request::new(ReceiverStream::new(reports));
    let mut answers: Streaming<Bytes> =
        client.streaming(request, PathAndQuery::from_static(REPORT), Raw).await?.into_inner();
    *reached = true;
    tracing::info!(leader, "our data planes are reported to the leader");
    tokio::select! {
        // It never answers but by the end.
        ended = answers.message() => Ok(ended.map(drop)?),
        () = tell_changes(publisher, &outgoing) => Ok(()),
    }
}

/// Everything, and then what changes, until nobody listens.
async fn tell_changes(publisher: &Publisher, outgoing: &mpsc::Sender<Bytes>) {
    let mut changed = publisher.changed();
    let mut wanted = publisher.wanted();
    let mut told = Told::new();
    loop {
        changed.mark_unchanged();
        let now = publisher.local();
        let gone = told.keys().filter(|key| !now.contains_key(key)).map(|key| (key, None));
        let news = now.iter().filter(|(key, pod)| told.get(key) != Some(pod)).map(|(key, pod)| (key, Some(pod)));
        for ((gateway, pod), state) in gone.chain(news) {
            let report =
                Report::Pod(PodReport { gateway: gateway.clone(), pod: Arc::clone(pod), state: state.cloned() });
            if outgoing.send(report.encode_to_vec().into()).await.is_err() {
                return;
            }
        }
        told = now;
        wanted.mark_unchanged();
        let mut issuers = publisher.take_wanted();
        while let Some(wanted) = Wanted::take(&mut issuers) {
            if outgoing.send(Report::Wanted(wanted).encode_to_vec().into()).await.is_err() {
                return;
            }
        }
        tokio::select! {
            moved = changed.changed() => if moved.is_err() { return },
            moved = wanted.changed() => if moved.is_err() { return },
        }
    }
}

async fn dial(leader: &str, replica: &Arc<str>, pki: &Pki) -> Result<Channel, NotReported> {
    let (config, name) = pki.client_config(replica, SystemTime::now())?;
    // TLS is ours: the URI only names the address.
    let endpoint = Endpoint::from_shared(format!("http://{leader}"))
        .map_err(|_| NotReported::Address(format!("`{leader}` is no address; give it as host:port")))?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    let address: Arc<str> = leader.into();
    let connector = service_fn(move |_| {
        let (connector, name, address) = (TlsConnector::from(Arc::clone(&config)), name.clone(), Arc::clone(&address));
        async move {
            let tcp = TcpStream::connect(&*address).await?;
            tcp.set_nodelay(true)?;
            std::io::Result::Ok(TokioIo::new(connector.connect(name, tcp).await?))
        }
    });
    Ok(endpoint.connect_with_connector(connector).await?)
}
