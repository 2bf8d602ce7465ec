//! The CA: made, renewed, read from a Secret.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::pem::{self, Block};
use super::{CaMaterial, InvalidCa, InvalidRequest};
use crate::identity::Subject;

const CA_LIFE: Duration = Duration::from_hours(365 * 24);
pub(super) const LEAF_LIFE: Duration = Duration::from_hours(24);
/// Clocks of nodes differ: what is issued is good from a little earlier on.
const SKEW: Duration = Duration::from_mins(5);

/// A CA that can be used.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    /// Sent after a leaf: what leads from the CA to the roots of whoever does not know it.
    intermediates: Vec<CertificateDer<'static>>,
    roots: Vec<Root>,
    life: Life,
}

#[derive(Clone, Debug)]
struct Root {
    block: Block,
    until: SystemTime,
}

/// From when to when a certificate is good.
#[derive(Clone, Copy, Debug)]
struct Life {
    from: SystemTime,
    until: SystemTime,
}

impl Ca {
    /// A new CA, good for a year.
    ///
    /// # Errors
    /// [`InvalidCa`] when no key can be made, which the machine's randomness alone can cause.
    pub fn generate(now: SystemTime) -> Result<CaMaterial, InvalidCa> {
        let key = KeyPair::generate()?;
        let certificate_pem = ca_params(&key, now).self_signed(&key)?.pem();
        Ok(CaMaterial { bundle_pem: certificate_pem.clone(), certificate_pem, key_pem: key.serialize_pem() })
    }

    /// The CA that follows this one: trusted by whoever trusts this one. Its bundle holds both until this one expires.
    ///
    /// # Errors
    /// As [`Ca::generate`].
    pub fn renew(&self, now: SystemTime) -> Result<CaMaterial, InvalidCa> {
        let key = KeyPair::generate()?;
        let mut params = ca_params(&key, now);
        let certificate = params.self_signed(&key)?.pem();
        // What the old one vouches for ends with it.
        params.not_after = self.life.until.min(now + CA_LIFE).into();
        let vouched = params.signed_by(&key, &self.issuer)?.pem();
        Ok(CaMaterial {
            certificate_pem: format!("{certificate}{vouched}"),
            key_pem: key.serialize_pem(),
            bundle_pem: format!("{certificate}{}", self.bundle_pem(now)),
        })
    }

    /// # Errors
    /// [`InvalidCa`], naming the field of the Secret.
    pub fn from_pem(material: &CaMaterial, now: SystemTime) -> Result<Self, InvalidCa> {
        let CaMaterial { certificate_pem, key_pem, bundle_pem } = material;
        let chain = pem::certificates("tls.crt", certificate_pem)?;
        let first = chain.first().ok_or_else(|| InvalidCa::pem("tls.crt", "it is empty"))?;
        let key = KeyPair::from_pem(key_pem).map_err(|error| InvalidCa::pem("tls.key", error))?;
        let certificate = parse("tls.crt", first)?;
        if !certificate.is_ca() {
            return Err(InvalidCa::NotCa);
        }
        if certificate.public_key().raw != key.subject_public_key_info() {
            return Err(InvalidCa::OtherKey);
        }
        let life = life(&certificate);
        if life.until <= now {
            return Err(InvalidCa::Expired);
        }
        let mut intermediates = Vec::new();
        let mut roots = Vec::new();
        for block in &chain {
            let certificate = parse("tls.crt", block)?;
            if certificate.subject() == certificate.issuer() {
                roots.push(Root { until: self::life(&certificate).until, block: block.clone() });
            } else {
                intermediates.push(block.der.clone());
            }
        }
        for block in pem::certificates("ca.crt", bundle_pem)? {
            let until = self::life(&parse("ca.crt", &block)?).until;
            if roots.iter().all(|root| root.block.der != block.der) {
                roots.push(Root { until, block });
            }
        }
        roots.retain(|root| root.until > now);
        if roots.is_empty() {
            // An intermediate CA without its root: it is what can be trusted.
            roots.push(Root { until: life.until, block: first.clone() });
        }
        let issuer = Issuer::from_ca_cert_der(&first.der, key)?;
        Ok(Self { issuer, intermediates, roots, life })
    }

    /// Whether a third of its life, or less, is left.
    pub fn is_due(&self, now: SystemTime) -> bool {
        let Life { from, until } = self.life;
        let third = until.duration_since(from).unwrap_or_default() / 3;
        now + third >= until
    }

    /// Whom to trust: for the ConfigMaps of the data planes. Without what has expired.
    pub fn bundle_pem(&self, now: SystemTime) -> String {
        self.roots.iter().filter(|root| root.until > now).map(|root| root.block.text.as_str()).collect()
    }

    pub(super) fn roots(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.roots.iter().map(|root| &root.block.der)
    }

    /// For the key of a request and nothing else in it.
    pub(super) fn sign_request(
        &self,
        csr_der: &[u8],
        subject: &Subject,
        now: SystemTime,
    ) -> Result<Vec<CertificateDer<'static>>, InvalidRequest> {
        let csr = CertificateSigningRequestDer::from(csr_der);
        let mut request = CertificateSigningRequestParams::from_der(&csr)
            .map_err(|error| InvalidRequest::Malformed(error.to_string()))?;
        let invalid = |error: rcgen::Error| InvalidRequest::Issuer(error.to_string());
        request.params = self.client_params(subject, now).map_err(invalid)?;
        let leaf = request.signed_by(&self.issuer).map_err(invalid)?;
        Ok(self.chain(leaf.der()))
    }

    /// A certificate for ourselves, with its key as PKCS#8.
    pub(super) fn own(
        &self,
        purpose: &Purpose<'_>,
        now: SystemTime,
    ) -> Result<(Vec<CertificateDer<'static>>, Vec<u8>), InvalidCa> {
        let key = KeyPair::generate()?;
        let params = match purpose {
            Purpose::Server(names) => {
                let mut params = self.leaf_params(now, ExtendedKeyUsagePurpose::ServerAuth);
                // Tells addresses from names.
                params.subject_alt_names = CertificateParams::new(*names)?.subject_alt_names;
                params
            }
            Purpose::Client(subject) => self.client_params(subject, now)?,
        };
        let leaf = params.signed_by(&key, &self.issuer)?;
        Ok((self.chain(leaf.der()), key.serialize_der()))
    }

    fn client_params(&self, subject: &Subject, now: SystemTime) -> Result<CertificateParams, rcgen::Error> {
        let mut params = self.leaf_params(now, ExtendedKeyUsagePurpose::ClientAuth);
        params.subject_alt_names.push(SanType::URI(subject.to_string().as_str().try_into()?));
        Ok(params)
    }

    fn leaf_params(&self, now: SystemTime, usage: ExtendedKeyUsagePurpose) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.not_before = (now - SKEW).into();
        params.not_after = (now + LEAF_LIFE).min(self.life.until).into();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        params
    }

    fn chain(&self, leaf: &CertificateDer<'static>) -> Vec<CertificateDer<'static>> {
        [leaf.clone()].into_iter().chain(self.intermediates.iter().cloned()).collect()
    }
}

/// What a certificate of our own is for.
pub(super) enum Purpose<'a> {
    Server(&'a [String]),
    Client(&'a Subject),
}

fn ca_params(key: &KeyPair, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    // Generations are told apart by name, or one could not vouch for the other.
    let id: String = params.key_identifier(key).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Portcullis CA {id}"));
    params.not_before = (now - SKEW).into();
    params.not_after = (now + CA_LIFE).into();
    // One more: the CA that follows.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn parse<'a>(field: &'static str, block: &'a Block) -> Result<X509Certificate<'a>, InvalidCa> {
    let (_, certificate) = X509Certificate::from_der(&block.der).map_err(|error| InvalidCa::pem(field, error))?;
    Ok(certificate)
}

fn life(certificate: &X509Certificate<'_>) -> Life {
    let time = |at: x509_parser::time::ASN1Time| {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(at.timestamp()).unwrap_or_default())
    };
    let validity = certificate.validity();
    Life { from: time(validity.not_before), until: time(validity.not_after) }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issuer: _, intermediates, roots, life } = self;
        let (intermediates, roots) = (intermediates.len(), roots.len());
        f.debug_struct("Ca")
            .field("key", &"[redacted]")
            .field("intermediates", &intermediates)
            .field("roots", &roots)
            .field("life", life)
            .finish()
    }
}
