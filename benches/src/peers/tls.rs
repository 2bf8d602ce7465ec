//! One certificate for every proxy: ECDSA P-256, as the benches of TLS want it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::client::Resumption;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use super::TlsFiles;

/// The name that clients ask for.
pub const NAME: &str = "localhost";

#[derive(Debug)]
pub struct TlsMaterial {
    /// DER, for our own data plane.
    pub chain: Vec<u8>,
    pub key: Vec<u8>,
    pub files: TlsFiles,
    root: CertificateDer<'static>,
}

impl TlsMaterial {
    /// Writes the files into `folder`.
    pub fn generate(folder: &Path) -> anyhow::Result<Self> {
        let mut authority = CertificateParams::new(Vec::<String>::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let root = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let leaf = CertificateParams::new(vec![NAME.to_owned(), "127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
        let place = |name: &str| folder.join(name);
        let files = TlsFiles { chain: place("tls.crt"), key: place("tls.key"), both: place("tls.pem") };
        fs::write(&files.chain, leaf.pem())?;
        fs::write(&files.key, key.serialize_pem())?;
        fs::write(&files.both, leaf.pem() + &key.serialize_pem())?;
        Ok(Self { chain: leaf.der().to_vec(), key: key.serialize_der(), files, root: root.der().clone() })
    }

    /// The authority, for clients that get a file.
    #[must_use]
    pub fn root_der(&self) -> &[u8] {
        &self.root
    }
}

/// A client that trusts `root` and never resumes a session: every handshake is a full one. TLS 1.3 alone.
pub fn client_config(root: &[u8]) -> anyhow::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(root.to_vec()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
