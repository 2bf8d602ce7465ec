//! A connection to the controller: resolve, try each address, TLS 1.3 with a name and roots that must fit.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::credentials::Identity;
use super::session::Cause;

/// One address.
const CONNECT: Duration = Duration::from_secs(3);
/// All of it.
const PATIENCE: Duration = Duration::from_secs(15);
/// A controller that does not answer within the two together is gone.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_PORT: u16 = 443;

pub(super) async fn dial(controller: &Uri, ca: &str, identity: Option<&Identity>) -> Result<Channel, Cause> {
    let config = Arc::new(tls(ca, identity)?);
    let host = controller.host().ok_or(Cause::Controller)?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = controller.port_u16().unwrap_or(DEFAULT_PORT);
    let name = ServerName::try_from(host.clone()).map_err(|_| Cause::Controller)?;
    // TLS is ours: the URI only gives the authority.
    let authority = controller.authority().ok_or(Cause::Controller)?;
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))
        .map_err(|_| Cause::Controller)?
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let connector = service_fn(move |_| {
        let (connector, name, host) = (TlsConnector::from(Arc::clone(&config)), name.clone(), host.clone());
        async move { Ok::<_, io::Error>(TokioIo::new(connect(&connector, name, &host, port).await?)) }
    });
    match timeout(PATIENCE, endpoint.connect_with_connector(connector)).await {
        Ok(connected) => connected.map_err(Cause::connect),
        Err(_) => Err(Cause::Connect("it took too long".to_owned())),
    }
}

fn tls(ca: &str, identity: Option<&Identity>) -> Result<ClientConfig, Cause> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(ca.as_bytes()).filter_map(Result::ok));
    if roots.is_empty() {
        return Err(Cause::NoRoots);
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(Cause::tls)?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain(), identity.key()).map_err(Cause::tls)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// The first address that answers.
async fn connect(
    connector: &TlsConnector,
    name: ServerName<'static>,
    host: &str,
    port: u16,
) -> io::Result<TlsStream<TcpStream>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in resolve(host).await? {
        let attempt = async {
            let tcp = TcpStream::connect(SocketAddr::new(address, port)).await?;
            tcp.set_nodelay(true)?;
            connector.connect(name.clone(), tcp).await
        };
        match timeout(CONNECT, attempt).await {
            Ok(Ok(connected)) => return Ok(connected),
            Ok(Err(error)) => last = io::Error::new(error.kind(), format!("{address}: {error}")),
            Err(_) => last = io::Error::new(io::ErrorKind::TimedOut, format!("{address}: no answer")),
        }
    }
    Err(last)
}

/// By our own resolver: a static binary has no system resolver to ask.
async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let resolver = TokioResolver::builder_tokio().and_then(hickory_resolver::ResolverBuilder::build);
    let lookup = resolver.map_err(io::Error::other)?.lookup_ip(host).await.map_err(io::Error::other)?;
    Ok(lookup.iter().collect())
}
