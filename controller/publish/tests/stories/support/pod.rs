//! A data plane of which every word is the test's: for what a real one never says, and for orders of events.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use portcullis_ir::GatewayKey;
use portcullis_publish::{Pki, PodIdentity};
use portcullis_wire::{
    Assembler, ClientMessage, Hello, ISSUE, IssueReply, IssueRequest, Limits, REPORT, Received, SUBSCRIBE,
    ServerMessage, State, answer,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use super::gateway::gateway;
use super::replica::HOST;

/// A certificate and its key.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Clone for Identity {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// As `pki` would issue it at `now`.
pub(crate) fn identity_at(pki: &Pki, gateway: &GatewayKey, pod: &str, now: SystemTime) -> Identity {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap();
    let pod = PodIdentity { namespace: Arc::clone(&gateway.namespace), pod: pod.into() };
    let chain = pki.issue_client(csr.der(), gateway, &pod, now).unwrap();
    Identity { chain, key: PrivatePkcs8KeyDer::from(key.serialize_der()) }
}

pub(crate) fn identity(pki: &Pki, pod: &str) -> Identity {
    identity_at(pki, &gateway(), pod, SystemTime::now())
}

/// Trusts what `pki` trusts.
pub(crate) async fn dial(address: SocketAddr, pki: &Pki, identity: Option<Identity>) -> Channel {
    let bundle = pki.bundle_pem(SystemTime::now());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(bundle.as_bytes()).map(Result::unwrap));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(Identity { chain, key }) => builder.with_client_auth_cert(chain, key.into()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);
    let connector = tower::service_fn(move |_| {
        let connector = TlsConnector::from(Arc::clone(&config));
        async move {
            let tcp = TcpStream::connect(address).await?;
            let name = ServerName::try_from(HOST).unwrap();
            std::io::Result::Ok(TokioIo::new(connector.connect(name, tcp).await?))
        }
    });
    Endpoint::from_static("http://controller").connect_with_connector(connector).await.unwrap()
}

pub(crate) async fn issue(channel: Channel, token: Option<&str>, message: Vec<u8>) -> Result<IssueReply, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let request = authorized(Request::new(Bytes::from(message)), token);
    let reply = client.unary(request, PathAndQuery::from_static(ISSUE), Raw).await?;
    Ok(IssueReply::decode(reply.get_ref()).unwrap())
}

pub(crate) fn request_for(gateway: GatewayKey) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let csr = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    IssueRequest { gateway, csr }.encode_to_vec()
}

pub(crate) fn hello(gateway: GatewayKey, held: Option<State>) -> Vec<u8> {
    ClientMessage::Hello(Hello { node: "test".to_owned(), gateway, held }).encode_to_vec()
}

/// An open stream.
pub(crate) struct Stream {
    pub(crate) say: mpsc::Sender<Bytes>,
    pub(crate) hear: Streaming<Bytes>,
    pub(crate) reader: Assembler,
}

pub(crate) async fn subscribe(channel: Channel, token: Option<&str>, first: Vec<u8>) -> Result<Stream, Status> {
    open(channel, token, first, SUBSCRIBE).await
}

pub(crate) async fn report(channel: Channel, first: Vec<u8>) -> Result<Stream, Status> {
    open(channel, None, first, REPORT).await
}

async fn open(channel: Channel, token: Option<&str>, first: Vec<u8>, path: &'static str) -> Result<Stream, Status> {
    let mut client = Grpc::new(channel);
    client.ready().await.unwrap();
    let (say, messages) = mpsc::channel(16);
    say.send(first.into()).await.unwrap();
    let request = authorized(Request::new(ReceiverStream::new(messages)), token);
    let hear = client.streaming(request, PathAndQuery::from_static(path), Raw).await?.into_inner();
    Ok(Stream { say, hear, reader: Assembler::new(Limits::default()) })
}

impl Stream {
    pub(crate) async fn next(&mut self) -> Result<Option<ServerMessage>, Status> {
        let message = super::within("a message of the server", self.hear.message()).await?;
        Ok(message.map(|message| ServerMessage::decode(&message).unwrap()))
    }

    /// The next update, all its parts; taken, but not answered yet.
    pub(crate) async fn update(&mut self) -> State {
        loop {
            let message = self.next().await.unwrap().expect("the stream goes on");
            if let Received::Update(_) = self.reader.push(message).unwrap() {
                return self.reader.held().unwrap();
            }
        }
    }

    pub(crate) async fn acknowledge(&self) {
        self.send(answer(self.reader.held().unwrap(), Vec::new(), Vec::new())).await;
    }

    pub(crate) async fn send(&self, message: ClientMessage) {
        self.say.send(message.encode_to_vec().into()).await.unwrap();
    }

    /// How the server ends it.
    pub(crate) async fn end(&mut self) -> Status {
        loop {
            match self.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok(""),
                Err(status) => return status,
            }
        }
    }
}

fn authorized<T>(mut request: Request<T>, token: Option<&str>) -> Request<T> {
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    request
}

#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}
