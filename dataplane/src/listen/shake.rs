//! Handshakes in memory, for tests.

use std::sync::Arc;

use portcullis_ir as ir;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SignatureAlgorithm};
use rustls::{ClientConfig, ClientConnection, Error, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

pub(super) struct Authority {
    pub(super) root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A chain without its root, and the key of its leaf as PKCS#8.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: Vec<u8>,
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params
}

impl Authority {
    pub(super) fn new() -> Self {
        let (params, key) = (authority_params("root"), KeyPair::generate().unwrap());
        Self { root: params.self_signed(&key).unwrap().der().clone(), issuer: Issuer::new(params, key) }
    }

    pub(super) fn identity(&self, name: &str) -> Identity {
        self.identity_until(name, 4096)
    }

    pub(super) fn expired(&self, name: &str) -> Identity {
        self.identity_until(name, 2001)
    }

    /// A certificate for any kind of key.
    pub(super) fn identity_of(&self, name: &str, key: &KeyPair) -> Identity {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let leaf = params.signed_by(key, &self.issuer).unwrap();
        Identity { chain: vec![leaf.der().clone()], key: key.serialize_der() }
    }

    /// A leaf behind `depth` intermediate authorities.
    pub(super) fn identity_behind(&self, name: &str, depth: usize, algorithm: &'static SignatureAlgorithm) -> Identity {
        let (params, key) = (authority_params("first"), KeyPair::generate_for(algorithm).unwrap());
        let mut chain = vec![params.signed_by(&key, &self.issuer).unwrap().der().clone()];
        let mut issuer = Issuer::new(params, key);
        for number in 1..depth {
            let (params, key) = (authority_params(&format!("{number}")), KeyPair::generate_for(algorithm).unwrap());
            chain.insert(0, params.signed_by(&key, &issuer).unwrap().der().clone());
            issuer = Issuer::new(params, key);
        }
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        chain.insert(0, params.signed_by(&key, &issuer).unwrap().der().clone());
        Identity { chain, key: key.serialize_der() }
    }

    fn identity_until(&self, name: &str, year: i32) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Identity { chain: vec![leaf.der().clone()], key: key.serialize_der() }
    }
}

impl Identity {
    pub(super) fn certificate(&self, name: &str) -> Arc<ir::Certificate> {
        Arc::new(ir::Certificate {
            key: ir::CertificateKey::new("ns", name),
            chain: self.chain.iter().map(|der| der.to_vec().into()).collect(),
            private_key: ir::Secret::new(self.key.clone()),
        })
    }
}

/// A client that trusts `root` and shows `identity` when asked.
pub(super) fn client(
    root: &CertificateDer<'_>,
    identity: Option<&Identity>,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone().into_owned()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let builder = builder.with_root_certificates(roots);
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { chain, key }) => {
            let key = PrivateKeyDer::try_from(key.clone()).unwrap();
            builder.with_client_auth_cert(chain.clone(), key).unwrap()
        }
    })
}

/// Both ends after the handshake and what comes right behind it (tickets); or the error of whoever failed first.
pub(super) fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    for _ in 0..64 {
        let mut moved = false;
        while client.wants_write() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            let mut bytes = &bytes[..];
            while !bytes.is_empty() {
                server.read_tls(&mut bytes).unwrap();
                server.process_new_packets()?;
            }
            moved = true;
        }
        while server.wants_write() {
            let mut bytes = Vec::new();
            server.write_tls(&mut bytes).unwrap();
            let mut bytes = &bytes[..];
            while !bytes.is_empty() {
                client.read_tls(&mut bytes).unwrap();
                client.process_new_packets()?;
            }
            moved = true;
        }
        if !moved {
            break;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok((client, server))
}
