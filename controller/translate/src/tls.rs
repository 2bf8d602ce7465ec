//! Certificates: PEM to what the data plane serves, checked by the parser that the data plane itself uses.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use portcullis_ir::{Certificate, CertificateKey};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// Keys of a Secret of type `kubernetes.io/tls`.
const CERTIFICATE: &str = "tls.crt";
const PRIVATE_KEY: &str = "tls.key";
/// Longest chain, leaf included.
const MAX_CHAIN: usize = 16;
/// Largest certificate or key as DER.
const MAX_DER: usize = 64 * 1024;
/// Most trusted certificates of one ConfigMap.
const MAX_ROOTS: usize = 128;

/// A usable certificate and what is worth knowing about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParsedCertificate {
    pub(crate) certificate: Arc<Certificate>,
    not_before: i64,
    not_after: i64,
    /// A defect that does not keep us from serving it.
    defect: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidCertificate {
    #[error("has no {0}; put it there as PEM")]
    Missing(&'static str),
    #[error("holds no certificate in tls.crt; it must hold PEM blocks named CERTIFICATE")]
    NoCertificate,
    #[error("holds no private key in tls.key; it must hold a PEM block of an unencrypted PKCS#8, PKCS#1 or SEC1 key")]
    NoKey,
    #[error("holds an encrypted private key in tls.key; decrypt it (openssl pkey -in tls.key)")]
    EncryptedKey,
    #[error("{0}")]
    Pem(#[from] InvalidPem),
    #[error(
        "holds a private key of a kind that is not supported; use RSA of 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519"
    )]
    UnsupportedKey,
    #[error("holds a key that does not belong to its certificate; put the matching pair there")]
    Mismatch,
    #[error("holds a key that belongs to certificate {0} of the chain; put that one first in tls.crt")]
    LeafNotFirst(usize),
    #[error("holds a chain of more than {MAX_CHAIN} certificates; leave out what clients have")]
    LongChain,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidPem {
    #[error("{0} is malformed PEM; copy it again, whole lines and both markers included")]
    Malformed(&'static str),
    #[error("certificate {number} of {place} cannot be parsed; issue it again")]
    Certificate { place: &'static str, number: usize },
    #[error("ca.crt holds no certificate; it must hold PEM blocks named CERTIFICATE")]
    Empty,
    #[error("ca.crt holds more than {MAX_ROOTS} certificates; keep those that are needed")]
    TooMany,
}

/// Secrets that were parsed, so that an unchanged one is not parsed again.
pub(crate) type ParsedSecrets = BTreeMap<CertificateKey, (Arc<Secret>, Result<ParsedCertificate, InvalidCertificate>)>;

/// Parses a Secret, or takes the result of the last time. An equal certificate keeps its `Arc`.
pub(crate) fn parse_cached(
    parsed: &mut ParsedSecrets,
    key: &CertificateKey,
    secret: &Arc<Secret>,
) -> Result<ParsedCertificate, InvalidCertificate> {
    let old = match parsed.get(key) {
        Some((seen, result)) if Arc::ptr_eq(seen, secret) => return result.clone(),
        Some((_, Ok(old))) => Some(old.clone()),
        _ => None,
    };
    let mut result = parse(key, secret);
    if let (Some(old), Ok(new)) = (old, &mut result)
        && *old.certificate == *new.certificate
    {
        new.certificate = old.certificate;
    }
    parsed.insert(key.clone(), (Arc::clone(secret), result.clone()));
    result
}

impl ParsedCertificate {
    /// What to tell whoever uses it, though it is served: an expired certificate that clients warn about is better
    /// than a handshake that is refused.
    pub(crate) fn warning(&self, now: Timestamp) -> Option<String> {
        let day =
            |seconds: i64| Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |t| t.to_string());
        if now.as_second() > self.not_after {
            return Some(format!("expired at {}; renew it", day(self.not_after)));
        }
        if now.as_second() < self.not_before {
            return Some(format!("is not valid before {}; check the clocks", day(self.not_before)));
        }
        self.defect.map(str::to_owned)
    }
}

fn parse(key: &CertificateKey, secret: &Secret) -> Result<ParsedCertificate, InvalidCertificate> {
    let chain_pem = value(secret, CERTIFICATE)?;
    let key_pem = value(secret, PRIVATE_KEY)?;
    let chain = certificates(&chain_pem, CERTIFICATE)?;
    if chain.len() > MAX_CHAIN {
        return Err(InvalidCertificate::LongChain);
    }
    let leaf = chain.first().ok_or(InvalidCertificate::NoCertificate)?;
    let private_key = private_key(&key_pem)?;
    let provider = aws_lc_rs::default_provider().key_provider;
    let signer = provider.load_private_key(private_key.clone_key()).map_err(|_| InvalidCertificate::UnsupportedKey)?;
    let fits = |certificate: &CertificateDer<'static>| {
        match CertifiedKey::new(vec![certificate.clone()], Arc::clone(&signer)).keys_match() {
            // A signer that cannot name its public key cannot be compared; the handshake will tell.
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => true,
            Err(_) => false,
        }
    };
    if !fits(leaf) {
        let other = chain.iter().position(fits);
        return Err(other.map_or(InvalidCertificate::Mismatch, |at| InvalidCertificate::LeafNotFirst(at + 1)));
    }
    let parsed = chain.iter().enumerate().map(|(at, certificate)| x509(certificate, CERTIFICATE, at));
    let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    let signed = parsed.windows(2).all(|pair| pair[0].issuer() == pair[1].subject());
    let validity = parsed[0].validity();
    Ok(ParsedCertificate {
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
        defect: (!signed).then_some("has a chain in which a certificate is not signed by the next; put them in order"),
        certificate: Arc::new(Certificate {
            key: key.clone(),
            chain: chain.iter().map(|certificate| certificate.to_vec().into_boxed_slice()).collect(),
            private_key: portcullis_ir::Secret::new(private_key.secret_der()),
        }),
    })
}

/// Trusted certificates as DER, each one parsed as a trust anchor. `place` is how messages call where they stand.
pub(crate) fn trusted_roots(pem: &[u8], place: &'static str) -> Result<Vec<Box<[u8]>>, InvalidPem> {
    let roots = certificates(pem, place)?;
    if roots.is_empty() {
        return Err(InvalidPem::Empty);
    }
    if roots.len() > MAX_ROOTS {
        return Err(InvalidPem::TooMany);
    }
    let mut store = RootCertStore::empty();
    for (at, root) in roots.iter().enumerate() {
        store.add(root.clone()).map_err(|_| InvalidPem::Certificate { place, number: at + 1 })?;
    }
    Ok(roots.iter().map(|root| root.to_vec().into_boxed_slice()).collect())
}

/// A value of a Secret; `stringData` wins over `data`, as on an API server.
fn value(secret: &Secret, key: &'static str) -> Result<Vec<u8>, InvalidCertificate> {
    let text = secret.string_data.as_ref().and_then(|data| data.get(key)).map(|text| text.as_bytes().to_vec());
    let bytes = || secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.clone());
    text.or_else(bytes).ok_or(InvalidCertificate::Missing(key))
}

/// All PEM blocks named CERTIFICATE, whatever else stands between them.
fn certificates(pem: &[u8], place: &'static str) -> Result<Vec<CertificateDer<'static>>, InvalidPem> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|_| InvalidPem::Malformed(place))?;
    for (at, certificate) in certificates.iter().enumerate() {
        x509(certificate, place, at)?;
    }
    Ok(certificates)
}

fn x509<'c>(der: &'c CertificateDer<'_>, place: &'static str, at: usize) -> Result<X509Certificate<'c>, InvalidPem> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) if der.len() <= MAX_DER => Ok(certificate),
        _ => Err(InvalidPem::Certificate { place, number: at + 1 }),
    }
}

/// The first private key, be it PKCS#8, PKCS#1 or SEC1 (before which OpenSSL writes a block of EC parameters).
fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, InvalidCertificate> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        PemError::NoItemsFound if String::from_utf8_lossy(pem).contains("BEGIN ENCRYPTED PRIVATE KEY") => {
            InvalidCertificate::EncryptedKey
        }
        PemError::NoItemsFound => InvalidCertificate::NoKey,
        _ => InvalidCertificate::Pem(InvalidPem::Malformed(PRIVATE_KEY)),
    })
}
