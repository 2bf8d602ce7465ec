//! TLS per listener: one rustls configuration each, compiled off the hot path and kept as long as nothing about it
//! changes, its session tickets included.

use std::fmt;
use std::sync::Arc;

use portcullis_ir as ir;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::client_auth::{BoundedTickets, Clients, NoClientRoots};

/// What handshakes read.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsTable {
    listeners: imbl::OrdMap<ir::ListenerKey, Arc<ListenerTls>>,
}

/// What TLS carries at a listener that ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    Http,
    /// Between client and backend: none of the client's protocols is answered.
    Bytes,
}

/// One listener's TLS, or why it has none.
#[derive(Debug)]
pub(crate) struct ListenerTls {
    /// What it was built from: equal material, for the same inside, keeps the configuration.
    inside: Inside,
    material: Vec<Arc<ir::Certificate>>,
    validation: Option<ir::ClientValidation>,
    /// None: clients are not asked for a certificate.
    clients: Option<Result<Arc<Clients>, NoClientRoots>>,
    config: Result<Arc<ServerConfig>, BrokenListener>,
    /// Certificates that could not be used, each with its reason.
    unusable: Vec<(ir::CertificateKey, String)>,
    /// What is wrong with single roots for client certificates.
    unusable_roots: Vec<String>,
}

/// A listener whose handshakes are refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BrokenListener {
    #[error("listener has no usable certificate; check its certificateRefs")]
    NoCertificate,
    #[error(transparent)]
    NoClientRoots(#[from] NoClientRoots),
}

/// Makes our provider the process's before any other library can choose one. Idempotent.
pub(crate) fn install_provider() -> Arc<CryptoProvider> {
    if CryptoProvider::get_default().is_none() {
        // Lost a race: somebody else has installed one, and that is read below.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    CryptoProvider::get_default().map_or_else(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()), Arc::clone)
}

impl TlsTable {
    /// The configuration of a listener. Not in the table and broken are the same to a handshake.
    pub(crate) fn config(&self, listener: &ir::ListenerKey) -> Result<&Arc<ServerConfig>, BrokenListener> {
        match self.listeners.get(listener) {
            Some(tls) => tls.config.as_ref().map_err(Clone::clone),
            None => Err(BrokenListener::NoCertificate),
        }
    }

    /// How a listener judges its clients; none if they are not asked for a certificate (or the listener is broken, and
    /// no handshake is finished).
    pub(super) fn clients(&self, listener: &ir::ListenerKey) -> Option<&Arc<Clients>> {
        self.listeners.get(listener)?.clients.as_ref()?.as_ref().ok()
    }

    /// Why nobody is let in by a listener that asks for certificates, if so.
    pub(crate) fn no_client_roots(&self, listener: &ir::ListenerKey) -> Option<&NoClientRoots> {
        self.listeners.get(listener)?.clients.as_ref()?.as_ref().err()
    }

    /// What is wrong with single roots that a listener verifies client certificates by.
    pub(crate) fn unusable_roots(&self, listener: &ir::ListenerKey) -> &[String] {
        self.listeners.get(listener).map_or(&[], |tls| &tls.unusable_roots)
    }

    /// Certificates of a listener that cannot be used.
    pub(crate) fn unusable(&self, listener: &ir::ListenerKey) -> &[(ir::CertificateKey, String)] {
        self.listeners.get(listener).map_or(&[], |tls| &tls.unusable)
    }

    pub(crate) fn remove(&mut self, listener: &ir::ListenerKey) {
        self.listeners.remove(listener);
    }

    /// Compiles a listener's TLS, or keeps what it has if its certificates and the way it judges clients are the same.
    pub(crate) fn put(
        &mut self,
        listener: &ir::ListenerKey,
        inside: Inside,
        termination: &ir::TlsTermination,
        certificate: &dyn Fn(&ir::CertificateKey) -> Option<Arc<ir::Certificate>>,
    ) {
        let ir::TlsTermination { certificates, client_validation } = termination;
        let found: Vec<_> = certificates.iter().map(|key| (key, certificate(key))).collect();
        let material: Vec<_> = found.iter().filter_map(|(_, found)| found.clone()).collect();
        let complete = material.len() == found.len();
        let known = self.listeners.get(listener);
        let same = |tls: &Arc<ListenerTls>| {
            tls.inside == inside && tls.material == material && tls.validation == *client_validation
        };
        if complete && known.is_some_and(same) {
            return;
        }
        let provider = install_provider();
        let mut certificates = Vec::new();
        let mut unusable = Vec::new();
        for (key, found) in found {
            match found
                .ok_or_else(|| "certificate is not there; create the Secret".to_owned())
                .and_then(|certificate| Served::new(&certificate, &provider))
            {
                Ok(served) => certificates.push(served),
                Err(why) => unusable.push((key.clone(), why)),
            }
        }
        let (clients, unusable_roots) = match client_validation {
            None => (None, Vec::new()),
            Some(validation) => {
                let (clients, unusable) = Clients::new(validation, &provider);
                (Some(clients), unusable)
            }
        };
        let config = match &clients {
            _ if certificates.is_empty() => Err(BrokenListener::NoCertificate),
            Some(Err(broken)) => Err(broken.clone().into()),
            Some(Ok(clients)) => Ok(server_config(inside, certificates, Some(clients), provider)),
            None => Ok(server_config(inside, certificates, None, provider)),
        };
        let validation = client_validation.clone();
        // Broken TLS is built anew each time: no ticket of it is worth keeping.
        let tls = ListenerTls { inside, material, validation, clients, config, unusable, unusable_roots };
        self.listeners.insert(listener.clone(), Arc::new(tls));
    }
}

fn server_config(
    inside: Inside,
    certificates: Vec<Served>,
    clients: Option<&Arc<Clients>>,
    provider: Arc<CryptoProvider>,
) -> Arc<ServerConfig> {
    let resolver = Arc::new(Certificates(certificates));
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    // The provider is ours and knows both versions, so that the defaults always fit it.
    let Ok(builder) = builder else { unreachable!("aws-lc-rs speaks TLS 1.2 and 1.3") };
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.alpn_protocols = match inside {
        Inside::Http => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Inside::Bytes => Vec::new(),
    };
    // Tickets only: a session cache would be memory that clients fill. Each configuration has keys of its own, so a
    // session of one listener means nothing to another.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match rustls::crypto::aws_lc_rs::Ticketer::new() {
        Ok(ticketer) => config.ticketer = Arc::new(BoundedTickets(ticketer)),
        Err(error) => tracing::warn!(%error, "no session tickets: every TLS handshake is a full one"),
    }
    Arc::new(config)
}

/// The certificates of one listener, in the order written.
#[derive(Debug)]
struct Certificates(Vec<Served>);

struct Served {
    names: Vec<SanPattern>,
    key: Arc<CertifiedKey>,
}

/// A DNS name of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
enum SanPattern {
    Exact(String),
    /// `*.suffix`: exactly one label before it (RFC 6125, 6.4.3), unlike Gateway API's wildcards.
    Wildcard(String),
}

impl ResolvesServerCert for Certificates {
    /// The first whose names cover the server name, else the first.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name()).map(|served| Arc::clone(&served.key))
    }
}

impl Certificates {
    fn choose(&self, name: Option<&str>) -> Option<&Served> {
        let name = name.map(str::to_ascii_lowercase);
        let covering = name.and_then(|name| {
            let name = name.trim_end_matches('.');
            self.0.iter().find(|served| served.names.iter().any(|pattern| pattern.covers(name)))
        });
        covering.or_else(|| self.0.first())
    }
}

impl Served {
    fn new(certificate: &ir::Certificate, provider: &CryptoProvider) -> Result<Self, String> {
        let ir::Certificate { key: _, chain, private_key } = certificate;
        let leaf = chain.first().ok_or("certificate chain is empty; put the leaf first")?;
        let names = names(leaf)?;
        let chain = chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        let private = PrivateKeyDer::try_from(private_key.expose().to_vec())
            .map_err(|_| "private key is neither PKCS#8, PKCS#1 nor SEC1; convert it with openssl".to_owned())?;
        let key = CertifiedKey::from_der(chain, private, provider).map_err(|error| {
            format!("certificate and private key cannot be used together: {error}; check that they are a pair")
        })?;
        Ok(Self { names, key: Arc::new(key) })
    }
}

impl SanPattern {
    fn covers(&self, name: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == name,
            Self::Wildcard(suffix) => {
                name.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == suffix)
            }
        }
    }
}

fn names(leaf: &[u8]) -> Result<Vec<SanPattern>, String> {
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(leaf)
        .map_err(|_| "leaf is no X.509 certificate; check the PEM block".to_owned())?;
    let extension = parsed.subject_alternative_name().ok().flatten();
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => {
                let name = name.to_ascii_lowercase();
                Some(match name.strip_prefix("*.") {
                    Some(suffix) => SanPattern::Wildcard(suffix.to_owned()),
                    None => SanPattern::Exact(name),
                })
            }
            _ => None,
        })
        .collect())
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Served").field("names", &self.names).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
