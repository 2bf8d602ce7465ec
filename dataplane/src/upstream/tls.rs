//! TLS towards backends: one `ClientConfig` per policy, built when the policy is compiled and shared by all backends
//! and programs that hold an equal policy, so that sessions resume and pools survive swaps.
//!
//! A policy that cannot be built exactly as written is an error, and its backend refuses to connect: there is no
//! weaker second try.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use portcullis_ir as ir;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::verify::{BackendVerifier, SubjectName};

/// Policies whose configurations are kept apart at most; beyond it, the dead ones are swept at each insert anyway.
const SWEEP_ABOVE: usize = 64;

/// A policy ready to connect with.
#[derive(Debug)]
pub(crate) struct TlsPolicy {
    /// Never given twice in a process: what connections of this policy are pooled under.
    pub(crate) id: u64,
    pub(crate) server_name: ServerName<'static>,
    /// Offers what the protocol asks for: `h2, http/1.1` or `h2` alone.
    pub(crate) config: Arc<ClientConfig>,
    /// Offers `http/1.1` alone, for upgrades; none where the backend speaks HTTP/2 only.
    pub(crate) http1_only: Option<Arc<ClientConfig>>,
    /// Offers no protocol, for bytes that are handed on as they come.
    pub(crate) raw: Arc<ClientConfig>,
}

/// Why a policy cannot be used. Shown to operators only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BrokenTls {
    #[error("hostname {0} is neither a DNS name nor an address; correct it")]
    Hostname(String),
    #[error("subjectAltNames holds {0}, which is neither a DNS name nor a URI; correct it")]
    SubjectName(String),
    #[error("certificate {0} of the CA bundle does not parse; replace it")]
    Root(usize),
    #[error("no system CA bundle was found; install ca-certificates or name a CA bundle in the policy")]
    NoSystemRoots,
    #[error("client certificate {0} is not there; check the name and the ReferenceGrant")]
    NoClientCertificate(ir::CertificateKey),
    #[error("client certificate {0} does not parse or does not fit its key; replace it")]
    BadClientCertificate(ir::CertificateKey),
    #[error("the TLS library refused its own defaults; report this")]
    Provider,
}

/// Equal policies share a configuration. Keys are compared whole, so no two policies can be taken for one another.
#[derive(Debug, Default)]
pub(crate) struct TlsCache(Mutex<HashMap<PolicyKey, Weak<TlsPolicy>>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct PolicyKey {
    protocol: ir::Protocol,
    hostname: ir::Host,
    subject_alt_names: Vec<Box<str>>,
    roots: Vec<Box<[u8]>>,
    client_certificate: Option<ClientCertificateKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ClientCertificateKey {
    chain: Vec<Box<[u8]>>,
    /// SHA-256 of the private key, so that a key is not kept (or printed) here.
    private_key: [u8; 32],
}

impl TlsCache {
    /// The policy's configuration: an existing one if an equal policy is in use anywhere, else a new one.
    pub(crate) fn policy(
        &self,
        protocol: ir::Protocol,
        tls: &ir::BackendTls,
        certificate: Option<&ir::Certificate>,
    ) -> Result<Arc<TlsPolicy>, BrokenTls> {
        let ir::BackendTls { hostname, subject_alt_names, roots, client_certificate } = tls;
        let certificate = match (client_certificate, certificate) {
            (None, _) => None,
            (Some(key), None) => return Err(BrokenTls::NoClientCertificate(key.clone())),
            (Some(_), Some(certificate)) => Some(certificate),
        };
        let key = PolicyKey {
            protocol,
            hostname: hostname.clone(),
            subject_alt_names: subject_alt_names.clone(),
            roots: roots.clone(),
            client_certificate: certificate.map(ClientCertificateKey::of),
        };
        // A panic while the lock was held cannot leave the map half changed.
        let mut policies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(policy) = policies.get(&key).and_then(Weak::upgrade) {
            return Ok(policy);
        }
        let policy = Arc::new(build(protocol, tls, certificate)?);
        if policies.len() >= SWEEP_ABOVE {
            policies.retain(|_, policy| policy.strong_count() > 0);
        }
        policies.insert(key, Arc::downgrade(&policy));
        Ok(policy)
    }
}

impl ClientCertificateKey {
    fn of(certificate: &ir::Certificate) -> Self {
        let ir::Certificate { key: _, chain, private_key } = certificate;
        let digest = aws_lc_rs_digest(private_key.expose());
        Self { chain: chain.clone(), private_key: digest }
    }
}

fn aws_lc_rs_digest(bytes: &[u8]) -> [u8; 32] {
    let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

fn build(
    protocol: ir::Protocol,
    tls: &ir::BackendTls,
    certificate: Option<&ir::Certificate>,
) -> Result<TlsPolicy, BrokenTls> {
    static NEXT: AtomicU64 = AtomicU64::new(FIRST_TLS_IDENTITY);

    let hostname = tls.hostname.as_str();
    let server_name =
        ServerName::try_from(hostname.to_owned()).map_err(|_| BrokenTls::Hostname(hostname.to_owned()))?;
    let names = tls
        .subject_alt_names
        .iter()
        .map(|name| SubjectName::parse(name).ok_or_else(|| BrokenTls::SubjectName(name.to_string())));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let roots = if tls.roots.is_empty() { system_roots()? } else { Arc::new(roots(&tls.roots)?) };

    let provider = CryptoProvider::get_default().map_or_else(|| Arc::new(aws_lc_rs::default_provider()), Arc::clone);
    let verifier = BackendVerifier::new(roots, names, provider.signature_verification_algorithms);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| BrokenTls::Provider)?
        .dangerous() // rustls' name for any verifier but its own; ours verifies chain, name and signatures
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let bad = || BrokenTls::BadClientCertificate(certificate.key.clone());
            let chain = certificate.chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
            let key = PrivateKeyDer::try_from(certificate.private_key.expose().to_vec()).map_err(|_| bad())?;
            builder.with_client_auth_cert(chain, key).map_err(|_| bad())?
        }
    };
    let raw = Arc::new(config.clone());
    let http1_only = match protocol {
        ir::Protocol::Http => {
            let mut http1 = config.clone();
            http1.alpn_protocols = vec![b"http/1.1".to_vec()];
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            Some(Arc::new(http1))
        }
        ir::Protocol::Http2 => {
            config.alpn_protocols = vec![b"h2".to_vec()];
            None
        }
    };
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    Ok(TlsPolicy { id, server_name, config: Arc::new(config), http1_only, raw })
}

/// Identities below are those of plain text.
const FIRST_TLS_IDENTITY: u64 = 16;

/// What plain-text connections are pooled under: nothing but the protocol tells them apart.
pub(crate) fn plain_identity(protocol: ir::Protocol) -> u64 {
    match protocol {
        ir::Protocol::Http => 1,
        ir::Protocol::Http2 => 2,
    }
}

fn roots(list: &[Box<[u8]>]) -> Result<RootCertStore, BrokenTls> {
    let mut store = RootCertStore::empty();
    for (index, der) in list.iter().enumerate() {
        store.add(CertificateDer::from(der.to_vec())).map_err(|_| BrokenTls::Root(index))?;
    }
    Ok(store)
}

/// The system's roots, read once when a policy first asks for them. Single certificates that do not parse are passed
/// over (it is not the user's bundle); none at all is an error.
fn system_roots() -> Result<Arc<RootCertStore>, BrokenTls> {
    static ROOTS: OnceLock<Option<Arc<RootCertStore>>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        let loaded = rustls_native_certs::load_native_certs();
        let (added, _) = store.add_parsable_certificates(loaded.certs);
        (added > 0).then(|| Arc::new(store))
    });
    roots.clone().ok_or(BrokenTls::NoSystemRoots)
}
