//! A certificate authority, and TLS backends with its certificates.

use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_ir as ir;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub(in crate::upstream::tests) struct Authority {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

pub(in crate::upstream::tests) struct Identity {
    pub(in crate::upstream::tests) chain: Vec<CertificateDer<'static>>,
    pub(in crate::upstream::tests) key: Vec<u8>,
}

impl Authority {
    pub(in crate::upstream::tests) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Self { root, issuer: Issuer::new(params, key) }
    }

    pub(in crate::upstream::tests) fn identity(&self, names: &[&str], uris: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }

    /// A policy that trusts this authority alone.
    pub(in crate::upstream::tests) fn policy(&self, hostname: &str, subject_alt_names: &[&str]) -> ir::BackendTls {
        ir::BackendTls {
            hostname: ir::Host::parse(hostname).unwrap(),
            subject_alt_names: subject_alt_names.iter().map(|name| (*name).into()).collect(),
            roots: vec![self.root.to_vec().into()],
            client_certificate: None,
        }
    }

    fn store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        store.add(self.root.clone()).unwrap();
        store
    }
}

impl Identity {
    pub(in crate::upstream::tests) fn certificate(&self, key: ir::CertificateKey) -> Arc<ir::Certificate> {
        let chain = self.chain.iter().map(|der| der.to_vec().into()).collect();
        Arc::new(ir::Certificate { key, chain, private_key: ir::Secret::new(self.key.clone()) })
    }

    /// Accepts who comes, or only who has a certificate of `clients`.
    pub(in crate::upstream::tests) fn server_config(
        &self,
        clients: Option<&Authority>,
        alpn: &[&str],
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
        let builder = match clients {
            None => builder.unwrap().with_no_client_auth(),
            Some(clients) => {
                let roots = Arc::new(clients.store());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap();
                builder.unwrap().with_client_cert_verifier(verifier)
            }
        };
        let key = PrivateKeyDer::try_from(self.key.clone()).unwrap();
        let mut config = builder.with_single_cert(self.chain.clone(), key).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// An HTTP/1.1 backend over TLS that answers each head with `ok` and the SNI it was asked for.
pub(in crate::upstream::tests) async fn tls_backend(config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(config);
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                let name = tls.get_ref().1.server_name().unwrap_or("none").to_owned();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
                let mut got = Vec::new();
                let mut byte = [0];
                while let Ok(1) = tls.read(&mut byte).await {
                    got.push(byte[0]);
                    if got.ends_with(b"\r\n\r\n") {
                        got.clear();
                        if tls.write_all(answer.as_bytes()).await.is_err() || tls.flush().await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}
