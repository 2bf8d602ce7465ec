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

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;

use crate::PodIdentity;

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

/// A CA that can be used.
pub struct Ca {
    material: CaMaterial,
}

/// The certificates of one replica: the CA of now, and what it issued to itself.
#[derive(Debug)]
pub struct Pki {
    dns_names: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCa {
    #[error("{field} holds no certificate or key that can be read: {why}; put a PEM of a CA there, or delete the Secret")]
    Pem { field: &'static str, why: String },
    #[error("tls.crt is no CA's certificate; use an issuer with isCA, or delete the Secret")]
    NotCa,
    #[error("tls.key is not the key of tls.crt; delete the Secret, and a new CA is made")]
    OtherKey,
    #[error("the CA has expired; renew it, or delete the Secret, and a new CA is made")]
    Expired,
}

/// A signing request that is not granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    #[error("the certificate request does not parse: {0}; send a PKCS#10 request signed by its own key")]
    Malformed(String),
    #[error("no certificate can be issued: {0}; look at the CA's Secret")]
    Issuer(String),
}

impl Ca {
    /// A new CA, good for a year.
    ///
    /// # Errors
    /// [`InvalidCa`] when no key can be made, which the machine's randomness alone can cause.
    pub fn generate(now: SystemTime) -> Result<CaMaterial, InvalidCa> {
        let _ = now;
        Err(InvalidCa::NotCa)
    }

    /// The CA that follows this one: trusted by whoever trusts this one. Its bundle holds both until this one expires.
    ///
    /// # Errors
    /// As [`Ca::generate`].
    pub fn renew(&self, now: SystemTime) -> Result<CaMaterial, InvalidCa> {
        let _ = now;
        Err(InvalidCa::NotCa)
    }

    /// # Errors
    /// [`InvalidCa`], naming the field of the Secret.
    pub fn from_pem(material: &CaMaterial, now: SystemTime) -> Result<Self, InvalidCa> {
        let _ = now;
        Ok(Self { material: material.clone() })
    }

    /// Whether a third of its life, or less, is left.
    pub fn is_due(&self, now: SystemTime) -> bool {
        let _ = now;
        false
    }

    /// Whom to trust: for the ConfigMaps of the data planes. Without what has expired.
    pub fn bundle_pem(&self, now: SystemTime) -> String {
        let _ = now;
        self.material.bundle_pem.clone()
    }
}

impl Pki {
    /// `dns_names`: what the server's certificate names; pods check the first one.
    pub fn new(ca: Ca, dns_names: Vec<String>) -> Arc<Self> {
        drop(ca);
        Arc::new(Self { dns_names })
    }

    /// Uses another CA from now on. Open connections stay.
    pub fn replace(&self, ca: Ca) {
        drop(ca);
    }

    /// As [`Ca::bundle_pem`], of the CA in use.
    pub fn bundle_pem(&self, now: SystemTime) -> String {
        let _ = (now, &self.dns_names);
        String::new()
    }

    /// Whether the CA in use should be renewed; see [`Ca::is_due`].
    pub fn is_due(&self, now: SystemTime) -> bool {
        let _ = now;
        false
    }

    /// A certificate for the key of a signing request, leaf first, good for a day. Nothing but the key is taken from
    /// the request.
    ///
    /// # Errors
    /// [`InvalidRequest`] for a request that is not signed by its own key.
    pub fn issue_client(
        &self,
        csr_der: &[u8],
        gateway: &portcullis_ir::GatewayKey,
        identity: &PodIdentity,
        now: SystemTime,
    ) -> Result<Vec<CertificateDer<'static>>, InvalidRequest> {
        let _ = (csr_der, gateway, identity, now);
        Err(InvalidRequest::Malformed(String::new()))
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

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ca").field("material", &self.material).finish_non_exhaustive()
    }
}
