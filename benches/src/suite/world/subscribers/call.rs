//! gRPC to the controller as a data plane speaks it: TLS 1.3 with roots and a name that must fit, one call on each connection. By hand, because
//! a ready client keeps the room of its largest message for as long as it lives, which a thousand of them cannot.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use http::header::{AUTHORIZATION, CONTENT_TYPE, TE};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use portcullis_ir::GatewayKey;
use portcullis_wire::{ISSUE, IssueReply, IssueRequest, Limits};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The name that the controller's certificate has here.
const HOST: &str = "localhost";
/// What a data plane's client has.
const DIAL: Duration = Duration::from_secs(15);
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Messages that wait; as many as a data plane's client lets wait.
const QUEUE: usize = 16;
/// For the other side to end a call, and a connection, that we have ended.
const GOODBYE: Duration = Duration::from_secs(10);
/// Before each message: a byte that says whether it is compressed, and four with its length.
const PREFIX: usize = 5;

/// A certificate and its key.
pub(super) struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

/// Where the controller is, and what its certificate must lead to.
#[derive(Debug)]
pub(super) struct Way {
    controller: SocketAddr,
    roots: RootCertStore,
}

impl Way {
    pub(super) fn to(controller: SocketAddr, authority: &str) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(authority.as_bytes()).filter_map(Result::ok));
        ensure!(!roots.is_empty(), "the controller's bundle holds no certificate");
        Ok(Self { controller, roots })
    }

    pub(super) async fn dial(&self, identity: Option<&Identity>) -> anyhow::Result<Connection> {
        timeout(DIAL, self.connect(identity)).await.context("a connection took too long")?
    }

    async fn connect(&self, identity: Option<&Identity>) -> anyhow::Result<Connection> {
        let tcp = TcpStream::connect(self.controller).await.context("the controller takes no connection")?;
        tcp.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(self.tls(identity)?));
        let tls = connector.connect(ServerName::try_from(HOST)?, tcp).await.context("no TLS with the controller")?;
        let (calls, connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(tls))
            .await?;
        let mut driver = JoinSet::new();
        // How it ends is told by the call.
        driver.spawn(async move { drop(connection.await) });
        Ok(Connection { calls, driver })
    }

    fn tls(&self, identity: Option<&Identity>) -> anyhow::Result<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(self.roots.clone());
        let mut config = match identity {
            Some(Identity { chain, key }) => builder.with_client_auth_cert(chain.clone(), key.clone_key().into())?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Asks for a client certificate, on a connection that ends with the answer.
pub(super) async fn issue(way: &Way, gateway: &GatewayKey, token: &str) -> anyhow::Result<Identity> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    // Only the key counts; the controller knows by the token who asks.
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(&key)?.der().to_vec();
    let request = IssueRequest { gateway: gateway.clone(), csr }.encode_to_vec();
    let mut connection = way.dial(None).await?;
    let mut call = connection.call(ISSUE, token, &[request], More::No).await?;
    let reply = call.hear().await?.context("a call without an answer")?;
    call.end().await;
    connection.close().await;
    let IssueReply { chain } = IssueReply::decode(reply.content())?;
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    Ok(Identity { chain, key: PrivatePkcs8KeyDer::from(key.serialize_der()) })
}

type Said = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

/// Ends with it when it is dropped.
pub(super) struct Connection {
    calls: SendRequest<Said>,
    driver: JoinSet<()>,
}

impl Connection {
    /// Begins a call that has these messages first. Fails with the controller's own words if it is refused.
    pub(super) async fn call(
        &mut self,
        path: &str,
        token: &str,
        first: &[Vec<u8>],
        more: More,
    ) -> anyhow::Result<Call> {
        let (say, said) = mpsc::channel(QUEUE);
        for message in first {
            say.send(framed(message)?).await?;
        }
        // A question is not answered before it has ended.
        let say = (more == More::Later).then_some(say);
        let said = futures::stream::unfold(said, |mut said| async move {
            let message = said.recv().await?;
            Some((Ok(Frame::data(message)), said))
        });
        let request = Request::post(format!("https://{HOST}{path}"))
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .body(StreamBody::new(said.boxed()))?;
        self.calls.ready().await?;
        let response = self.calls.send_request(request).await?;
        ensure!(response.status().is_success(), "the controller answers {}", response.status());
        judge(response.headers())?;
        Ok(Call { say, heard: response.into_body(), messages: Messages::default() })
    }

    /// Waits a while until the other side has closed it too.
    pub(super) async fn close(self) {
        let Self { calls, mut driver } = self;
        drop(calls);
        let _ = timeout(GOODBYE, driver.join_next()).await;
    }
}

/// Whether messages follow those that a call begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum More {
    No,
    Later,
}

/// Messages in both directions.
pub(super) struct Call {
    /// None: nothing more is said.
    say: Option<mpsc::Sender<Bytes>>,
    heard: Incoming,
    messages: Messages,
}

impl Call {
    pub(super) async fn say(&self, message: &[u8]) -> anyhow::Result<()> {
        let say = self.say.as_ref().context("the call has said all that it had to say")?;
        say.send(framed(message)?).await.context("nobody reads our answers")
    }

    /// The next message; none if the controller has ended the call without a complaint.
    pub(super) async fn hear(&mut self) -> anyhow::Result<Option<Message>> {
        loop {
            if let Some(message) = self.messages.take()? {
                return Ok(Some(message));
            }
            let Some(frame) = self.heard.frame().await else { return Ok(None) };
            match frame.context("the stream broke off")?.into_data() {
                Ok(data) => self.messages.extend(&data),
                Err(frame) => judge(frame.trailers_ref().unwrap_or(&HeaderMap::new()))?,
            }
        }
    }

    /// Says no more, and reads what there still is.
    pub(super) async fn end(self) {
        let Self { say, mut heard, messages: _ } = self;
        drop(say);
        let ending = async { while let Some(Ok(_)) = heard.frame().await {} };
        let _ = timeout(GOODBYE, ending).await;
    }
}

/// A message as it came, with its prefix.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn content(&self) -> &[u8] {
        &self.0[PREFIX..]
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Cuts what comes over a stream into messages.
#[derive(Debug, Default)]
struct Messages(Vec<u8>);

impl Messages {
    fn extend(&mut self, data: &[u8]) {
        self.0.extend_from_slice(data);
    }

    fn take(&mut self) -> anyhow::Result<Option<Message>> {
        let Some((&[compressed, a, b, c, d], content)) = self.0.split_first_chunk::<PREFIX>() else { return Ok(None) };
        ensure!(compressed == 0, "a message is compressed, and nobody asked for that");
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d]))?;
        let max = Limits::default().max_message;
        ensure!(length <= max, "a message of {length} bytes is longer than the {max} that a data plane takes");
        if let Some(missing) = length.checked_sub(content.len()).filter(|missing| *missing > 0) {
            self.0.reserve_exact(missing);
            return Ok(None);
        }
        let rest = self.0.split_off(PREFIX + length);
        Ok(Some(Message(std::mem::replace(&mut self.0, rest))))
    }
}

fn framed(message: &[u8]) -> anyhow::Result<Bytes> {
    let length = u32::try_from(message.len())?;
    Ok([&[0], &length.to_be_bytes()[..], message].concat().into())
}

/// Of the head or the end of an answer.
fn judge(headers: &HeaderMap) -> anyhow::Result<()> {
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    match text("grpc-status") {
        Some(status) if status != "0" => {
            bail!("the controller says {status}: {}", text("grpc-message").unwrap_or_default())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn messages_are_whole_however_they_were_cut() {
        let stream = [framed(b"one").unwrap(), framed(b"").unwrap(), framed(b"three").unwrap()].concat();
        for size in 1..=stream.len() {
            let (mut messages, mut found) = (Messages::default(), Vec::new());
            for chunk in stream.chunks(size) {
                messages.extend(chunk);
                while let Some(message) = messages.take().unwrap() {
                    assert_eq!(message.len(), PREFIX + message.content().len());
                    found.push(message.content().to_vec());
                }
            }
            assert_eq!(found, [&b"one"[..], b"", b"three"], "cut every {size} bytes");
        }
    }

    #[test]
    fn what_no_data_plane_would_read_is_refused() {
        for prefix in [[1, 0, 0, 0, 0], [0, 255, 255, 255, 255]] {
            let mut messages = Messages::default();
            messages.extend(&prefix);
            assert!(messages.take().is_err(), "{prefix:?}");
        }
    }

    #[test]
    fn a_status_but_ok_is_an_error_in_the_controllers_words() {
        let mut headers = HeaderMap::new();
        assert!(judge(&headers).is_ok());
        headers.insert("grpc-status", HeaderValue::from_static("0"));
        assert!(judge(&headers).is_ok());
        headers.insert("grpc-status", HeaderValue::from_static("8"));
        headers.insert("grpc-message", HeaderValue::from_static("too many streams"));
        assert_eq!(judge(&headers).unwrap_err().to_string(), "the controller says 8: too many streams");
    }
}
