//! Backends that say who they are and then repeat what they hear, and the clients for them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_ir as ir;
use portcullis_ir::Resource;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::plane::{PATIENCE, loopback};

/// A certificate with its key.
pub(super) struct Pair {
    pub(super) der: Vec<u8>,
    key: Vec<u8>,
}

impl Pair {
    pub(super) fn new(name: &str) -> Self {
        let pair = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        Self { der: pair.cert.der().to_vec(), key: pair.signing_key.serialize_der() }
    }

    pub(super) fn resource(&self, name: &str) -> Resource {
        Resource::Certificate(Arc::new(ir::Certificate {
            key: ir::CertificateKey::new("ns", name),
            chain: vec![self.der.clone().into()],
            private_key: ir::Secret::new(self.key.clone()),
        }))
    }

    fn server(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let mut config =
            builder.with_no_client_auth().with_single_cert(vec![CertificateDer::from(self.der.clone())], key).unwrap();
        config.alpn_protocols = vec![b"of-the-backend".to_vec()];
        Arc::new(config)
    }
}

/// Says its name and a newline, repeats everything until the client has ended, and ends.
pub(super) async fn echo(name: &'static str) -> SocketAddr {
    echo_at(loopback(0), name).await
}

pub(super) async fn echo_at(at: SocketAddr, name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(talk(tcp, name));
        }
    });
    address
}

/// The same inside TLS.
pub(super) async fn tls_echo(name: &'static str, pair: &Pair) -> SocketAddr {
    let listener = TcpListener::bind(loopback(0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(pair.server());
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(tls) = acceptor.accept(tcp).await {
                    talk(tls, name).await;
                }
            });
        }
    });
    address
}

async fn talk<S: AsyncRead + AsyncWrite>(stream: S, name: &str) {
    let (mut reading, mut writing) = split(stream);
    // A client may leave whenever it likes.
    let _ = writing.write_all(format!("{name}\n").as_bytes()).await;
    let _ = copy(&mut reading, &mut writing).await;
    let _ = writing.shutdown().await;
}

/// Answers each datagram by its name, a colon and what it heard.
pub(super) async fn udp_echo(name: &'static str) -> SocketAddr {
    udp_echo_at(loopback(0), name).await
}

pub(super) async fn udp_echo_at(at: SocketAddr, name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind(at).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 65536];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            let mut answer = format!("{name}:").into_bytes();
            answer.extend_from_slice(&buffer[..length]);
            let _ = socket.send_to(&answer, client).await;
        }
    });
    address
}

/// An address that nobody listens on.
pub(super) async fn nobody() -> SocketAddr {
    TcpListener::bind(loopback(0)).await.unwrap().local_addr().unwrap()
}

pub(super) async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(loopback(port)).await.unwrap()
}

/// Who the backend says it is.
pub(super) async fn name<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut name = String::new();
    loop {
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap();
        if byte == b'\n' {
            return name;
        }
        name.push(byte.into());
    }
}

/// Sends and hears the same.
pub(super) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut heard = vec![0; text.len()];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut heard)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(heard).unwrap(), text);
}

/// What comes until the end, and whether the end is a reset.
pub(super) async fn rest<S: AsyncRead + Unpin>(stream: &mut S) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap();
    match read {
        Ok(_) => (bytes, false),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => (bytes, true),
        Err(error) => panic!("{error}"),
    }
}

/// Whether a new connection is reset without a byte. That may come before the client knows that it is connected.
pub(super) async fn is_reset(port: u16) -> bool {
    match TcpStream::connect(loopback(port)).await {
        Ok(mut client) => rest(&mut client).await == (Vec::new(), true),
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}

/// Trusts one certificate, and offers HTTP.
pub(super) fn trusting(root: &[u8]) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    store.add(CertificateDer::from(root.to_vec())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(store).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"of-the-backend".to_vec()];
    Arc::new(config)
}

pub(super) async fn tls(port: u16, sni: &str, config: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(sni.to_owned()).unwrap();
    let handshake = TlsConnector::from(Arc::clone(config)).connect(name, connect(port).await);
    tokio::time::timeout(PATIENCE, handshake).await.unwrap()
}

/// The first bytes of a client that asks for a server name.
pub(super) fn hello(sni: &str) -> Vec<u8> {
    let config = trusting(&Pair::new("a.example").der);
    let mut client = rustls::ClientConnection::new(config, ServerName::try_from(sni.to_owned()).unwrap()).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// A UDP client of a port, with an address of its own.
pub(super) async fn udp_client(port: u16) -> UdpSocket {
    let socket = UdpSocket::bind(loopback(0)).await.unwrap();
    socket.connect(loopback(port)).await.unwrap();
    socket
}

/// The answer to a datagram.
pub(super) async fn ask(client: &UdpSocket, text: &str) -> String {
    client.send(text.as_bytes()).await.unwrap();
    let mut buffer = vec![0; 65536];
    let length = tokio::time::timeout(PATIENCE, client.recv(&mut buffer)).await.unwrap().unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

/// Whether a datagram is answered at all. Loopback is quick: what has not come by then never does.
pub(super) async fn is_answered(client: &UdpSocket, text: &str) -> bool {
    client.send(text.as_bytes()).await.unwrap();
    let mut buffer = [0; 64];
    tokio::time::timeout(Duration::from_millis(300), client.recv(&mut buffer)).await.is_ok()
}
