//! Certificates: a CA whose key is in the controller's Secret, and short-lived leaves that are in memory only.
//!
//! ```text
//! Secret (tls.crt, tls.key, ca.crt) ─► CaMaterial ─► Ca ─► server certificate   24 h, one per replica, renewed in time
//!   ours, or cert-manager's                            └─► client certificates  24 h, for the key of a pod's CSR
//! ca.crt ─► bundle ─► ConfigMap beside each data plane: whom pods trust
//! ```
//!
//! A new CA is vouched for by the old one (`tls.crt` holds both certificates), so that pods whose bundle has not been
//! renewed yet, and replicas that have not seen the new Secret, go on trusting each other.

mod ca;
mod pem;
mod verify;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use portcullis_ir::GatewayKey;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};

use crate::PodIdentity;
use crate::gate::lock;
use crate::identity::Subject;
pub use ca::Ca;
use ca::{LEAF_LIFE, Purpose};

const ALPN: &[u8] = b"h2";

/// What the CA's Secret holds.
#[derive(Clone, PartialEq, Eq)]
pub struct CaMaterial {
    /// `tls.crt`: the CA's certificate first, then those that vouch for it.
    pub certificate_pem: String,
    /// `tls.key`: PKCS#8. No printer shows it.
    pub key_pem: String,
    /// `ca.crt`: whom to trust; all roots that are still good. Empty: the CA's own certificate.
    pub bundle_pem: String,
}

/// The certificates of one replica: the CA of now, and what it issued to itself.
#[derive(Debug)]
pub struct Pki {
    provider: Arc<CryptoProvider>,
    names: Vec<String>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    ca: Arc<Ca>,
    /// With the certificate of now; none until it is asked for.
    server: Option<Renewed>,
}

#[derive(Debug)]
struct Renewed {
    config: Arc<ServerConfig>,
    /// When half of the certificate's life is over.
    until: SystemTime,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCa {
    #[error(
        "{field} holds no certificate or key that can be read: {why}; put a PEM of a CA there, or delete the Secret"
    )]
    Pem { field: &'static str, why: String },
    #[error("tls.crt is no CA's certificate; use an issuer with isCA, or delete the Secret")]
    NotCa,
    #[error("tls.key is not the key of tls.crt; delete the Secret, and a new CA is made")]
    OtherKey,
    #[error("the CA has expired; renew it, or delete the Secret, and a new CA is made")]
    Expired,
    #[error("the CA cannot issue a certificate: {0}; delete the Secret, and a new CA is made")]
    Issue(String),
}

/// A signing request that is not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    #[error("the certificate request does not parse: {0}; send a PKCS#10 request signed by its own key")]
    Malformed(String),
    #[error("no certificate can be issued: {0}; look at the CA's Secret")]
    Issuer(String),
}

impl Pki {
    /// `names`: the DNS names (or addresses) of the server's certificate; whoever dials checks the first one.
    pub fn new(ca: Ca, names: Vec<String>) -> Arc<Self> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let inner = Mutex::new(Inner { ca: Arc::new(ca), server: None });
        Arc::new(Self { provider, names, inner })
    }

    /// Uses another CA from now on. Open connections stay.
    pub fn replace(&self, ca: Ca) {
        *lock(&self.inner) = Inner { ca: Arc::new(ca), server: None };
    }

    /// As [`Ca::bundle_pem`], of the CA in use.
    pub fn bundle_pem(&self, now: SystemTime) -> String {
        self.ca().bundle_pem(now)
    }

    /// The CA in use.
    pub fn ca(&self) -> Arc<Ca> {
        Arc::clone(&lock(&self.inner).ca)
    }

    /// A certificate for the key of a signing request, leaf first, good for a day. Nothing but the key is taken from
    /// the request.
    ///
    /// # Errors
    /// [`InvalidRequest`] for a request that is not signed by its own key.
    pub fn issue_client(
        &self,
        csr_der: &[u8],
        gateway: &GatewayKey,
        identity: &PodIdentity,
        now: SystemTime,
    ) -> Result<Vec<CertificateDer<'static>>, InvalidRequest> {
        let subject = Subject::Pod { gateway: gateway.clone(), pod: Arc::clone(&identity.pod) };
        self.ca().sign_request(csr_der, &subject, now)
    }

    /// For the next connection; the certificate is renewed when half of its life is over.
    pub(crate) fn server_config(&self, now: SystemTime) -> Result<Arc<ServerConfig>, InvalidCa> {
        let mut inner = lock(&self.inner);
        if let Some(Renewed { config, until }) = &inner.server
            && now < *until
        {
            return Ok(Arc::clone(config));
        }
        let (chain, key) = inner.ca.own(&Purpose::Server(&self.names), now)?;
        let asking = Arc::new(verify::AskForCertificate(Arc::clone(&self.provider)));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(asking)
            .with_single_cert(chain, private_key(key))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Resumed sessions would carry certificates that were judged once.
        config.send_tls13_tickets = 0;
        let config = Arc::new(config);
        inner.server = Some(Renewed { config: Arc::clone(&config), until: now + LEAF_LIFE / 2 });
        Ok(config)
    }

    /// For dialling another replica, and the name that its certificate must have.
    pub(crate) fn client_config(
        &self,
        replica: &Arc<str>,
        now: SystemTime,
    ) -> Result<(Arc<ClientConfig>, ServerName<'static>), InvalidCa> {
        let ca = self.ca();
        let subject = Subject::Controller { replica: Arc::clone(replica) };
        let (chain, key) = ca.own(&Purpose::Client(&subject), now)?;
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])?
            .with_root_certificates(roots(&ca))
            .with_client_auth_cert(chain, private_key(key))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        let name = self.names.first().cloned().unwrap_or_default();
        Ok((Arc::new(config), ServerName::try_from(name)?))
    }

    /// Whom a peer's chain names, or why it is no good.
    pub(crate) fn judge(&self, chain: &[CertificateDer<'_>], now: SystemTime) -> Result<Subject, String> {
        verify::judge(Arc::clone(&self.provider), roots(&self.ca()), chain, now)
    }
}

fn roots(ca: &Ca) -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(ca.roots().cloned());
    store
}

fn private_key(pkcs8: Vec<u8>) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(pkcs8).into()
}

impl InvalidCa {
    fn pem(field: &'static str, why: impl fmt::Display) -> Self {
        Self::Pem { field, why: why.to_string() }
    }
}

impl From<rcgen::Error> for InvalidCa {
    fn from(error: rcgen::Error) -> Self {
        Self::Issue(error.to_string())
    }
}

impl From<rustls::Error> for InvalidCa {
    fn from(error: rustls::Error) -> Self {
        Self::Issue(error.to_string())
    }
}

impl From<InvalidDnsNameError> for InvalidCa {
    fn from(error: InvalidDnsNameError) -> Self {
        Self::Issue(error.to_string())
    }
}

impl fmt::Debug for CaMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { certificate_pem, key_pem: _, bundle_pem } = self;
        f.debug_struct("CaMaterial")
            .field("certificate_pem", certificate_pem)
            .field("key_pem", &"[redacted]")
            .field("bundle_pem", bundle_pem)
            .finish()
    }
}
