//! Who a TLS backend must be: a chain to the policy's roots, and the policy's name.
//!
//! rustls' own verifier checks the chain and the SNI name. Gateway API asks for more: with `subjectAltNames` the name
//! for SNI no longer counts, and the certificate must carry one of the listed DNS names or URIs (SPIFFE identities).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::extensions::GeneralName;

#[derive(Debug)]
pub(super) struct BackendVerifier {
    roots: Arc<RootCertStore>,
    /// Empty: the SNI name counts.
    names: Vec<SubjectName>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// One of the names of which the certificate must carry one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SubjectName {
    Dns(ServerName<'static>),
    /// `*.suffix`, which the certificate must carry as such.
    WildcardDns(Box<str>),
    /// Compared byte by byte (RFC 3986 leaves no other way that is safe).
    Uri(Box<str>),
}

impl SubjectName {
    /// A name with a colon is a URI: no DNS name holds one.
    pub(super) fn parse(name: &str) -> Option<Self> {
        if name.contains(':') && name.parse::<std::net::IpAddr>().is_err() {
            return Some(Self::Uri(name.into()));
        }
        if let Some(suffix) = name.strip_prefix("*.") {
            return (!suffix.is_empty()).then(|| Self::WildcardDns(name.into()));
        }
        ServerName::try_from(name.to_owned()).ok().map(Self::Dns)
    }
}

impl BackendVerifier {
    pub(super) fn new(
        roots: Arc<RootCertStore>,
        names: Vec<SubjectName>,
        algorithms: WebPkiSupportedAlgorithms,
    ) -> Self {
        Self { roots, names, algorithms }
    }

    fn carries_a_name(&self, leaf: &CertificateDer<'_>, parsed: &ParsedCertificate<'_>) -> Result<(), Error> {
        let mut refused = Error::InvalidCertificate(CertificateError::NotValidForName);
        for name in &self.names {
            match name {
                SubjectName::Dns(name) => match verify_server_name(parsed, name) {
                    Ok(()) => return Ok(()),
                    Err(error) => refused = error,
                },
                SubjectName::WildcardDns(name) => {
                    if carries(leaf, |it| matches!(it, GeneralName::DNSName(dns) if dns.eq_ignore_ascii_case(name))) {
                        return Ok(());
                    }
                }
                SubjectName::Uri(uri) => {
                    if carries(leaf, |it| matches!(it, GeneralName::URI(found) if **found == **uri)) {
                        return Ok(());
                    }
                }
            }
        }
        Err(refused)
    }
}

impl ServerCertVerifier for BackendVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let leaf = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(&leaf, &self.roots, intermediates, now, self.algorithms.all)
            .map_err(unsigned_is_untrusted)?;
        if self.names.is_empty() {
            verify_server_name(&leaf, server_name)?;
        } else {
            self.carries_a_name(end_entity, &leaf)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// A root of the same name but another key: the chain leads there, and its signature does not hold. Said of the chain
/// alone: a signature of the handshake that does not hold is no matter of issuers.
fn unsigned_is_untrusted(error: Error) -> Error {
    match error {
        Error::InvalidCertificate(CertificateError::BadSignature) => CertificateError::UnknownIssuer.into(),
        error => error,
    }
}

fn carries(leaf: &CertificateDer<'_>, wanted: impl Fn(&GeneralName<'_>) -> bool) -> bool {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(leaf) else { return false };
    match certificate.subject_alternative_name() {
        Ok(Some(names)) => names.value.general_names.iter().any(wanted),
        _ => false,
    }
}
