//! Client certificates, which the listener has verified already: who they are of, and whether a rule takes them.

use std::net::IpAddr;
use std::sync::Arc;

use portcullis_expressions::{CertificateIdentity, Identity};
use portcullis_ir::CertificateRule;
use x509_parser::der_parser::asn1_rs::Any;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::X509Name;

use crate::Reason;
use crate::encoding::{hex, sha256};

/// A certificate, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub identity: CertificateIdentity,
    emails: Vec<Box<str>>,
    addresses: Vec<IpAddr>,
    fingerprint: [u8; 32],
}

/// The rules of a method. None: any verified certificate.
#[derive(Debug)]
pub struct Certificates {
    name: Arc<str>,
    id: [u8; 32],
    rules: Vec<CertificateRule>,
}

impl Shown {
    /// None: it cannot be read.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let mut shown = Self {
            identity: CertificateIdentity {
                subject: rfc4514(certificate.subject()).into(),
                issuer: rfc4514(certificate.issuer()).into(),
                ..CertificateIdentity::default()
            },
            emails: Vec::new(),
            addresses: Vec::new(),
            fingerprint: sha256(&[der]),
        };
        shown.identity.fingerprint = hex(&shown.fingerprint).into();
        let alternatives = certificate.subject_alternative_name().ok()?;
        for name in alternatives.iter().flat_map(|names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => shown.identity.dns_names.push((*name).into()),
                GeneralName::URI(uri) => shown.identity.uris.push((*uri).into()),
                GeneralName::RFC822Name(email) => shown.emails.push((*email).into()),
                GeneralName::IPAddress(bytes) => shown.addresses.extend(address(bytes)),
                _ => {}
            }
        }
        Some(shown)
    }

    fn is_named(&self, name: &str) -> bool {
        self.identity.dns_names.iter().any(|own| dns_matches(name, own))
            || self.identity.uris.iter().any(|own| **own == *name)
            || self.emails.iter().any(|own| own.eq_ignore_ascii_case(name))
            || name.parse::<IpAddr>().is_ok_and(|address| self.addresses.contains(&address))
    }
}

impl Certificates {
    pub fn new(name: &str, rules: &[CertificateRule]) -> Self {
        let id = sha256(&[b"certificate", name.as_bytes(), &[0], &serde_json::to_vec(rules).unwrap_or_default()]);
        Self { name: name.into(), id, rules: rules.to_vec() }
    }

    pub fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// Judges a certificate that was verified.
    ///
    /// # Errors
    /// It cannot be read, or no rule takes it.
    pub fn judge(&self, der: &[u8]) -> Result<Arc<Identity>, Reason> {
        let shown = Shown::read(der).ok_or(Reason::Malformed)?;
        if !self.rules.is_empty() && !self.rules.iter().any(|rule| takes(rule, &shown)) {
            return Err(Reason::Certificate);
        }
        Ok(Arc::new(Identity {
            method: Arc::clone(&self.name),
            subject: Some(shown.identity.subject.clone()),
            certificate: Some(shown.identity),
            ..Identity::default()
        }))
    }
}

fn takes(rule: &CertificateRule, shown: &Shown) -> bool {
    let CertificateRule { subject_alt_names, issuers, fingerprints } = rule;
    let named = subject_alt_names.is_empty() || subject_alt_names.iter().any(|name| shown.is_named(name));
    let issuer = tight(&shown.identity.issuer);
    let issued = issuers.is_empty() || issuers.iter().any(|name| tight(name) == issuer);
    let known = fingerprints.is_empty() || fingerprints.contains(&shown.fingerprint);
    named && issued && known
}

/// `*.` in a rule stands for one label. A certificate's own wildcard is a name like others: who holds it is not every
/// host of the domain.
fn dns_matches(rule: &str, own: &str) -> bool {
    match rule.strip_prefix("*.") {
        Some(suffix) => own
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && label != "*" && rest.eq_ignore_ascii_case(suffix)),
        None => own.eq_ignore_ascii_case(rule),
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// Without the spaces that people write behind separators.
fn tight(name: &str) -> String {
    let parts = name.split(',').map(str::trim_start);
    parts.collect::<Vec<_>>().join(",")
}

/// RFC 4514: the last part first, `,` between them, `+` inside of one.
fn rfc4514(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for part in name.iter_rdn() {
        let attributes: Vec<String> = (part.iter())
            .map(|attribute| {
                let kind = match attribute.attr_type().to_id_string().as_str() {
                    "2.5.4.3" => "CN".to_owned(),
                    "2.5.4.6" => "C".to_owned(),
                    "2.5.4.7" => "L".to_owned(),
                    "2.5.4.8" => "ST".to_owned(),
                    "2.5.4.9" => "STREET".to_owned(),
                    "2.5.4.10" => "O".to_owned(),
                    "2.5.4.11" => "OU".to_owned(),
                    "0.9.2342.19200300.100.1.1" => "UID".to_owned(),
                    "0.9.2342.19200300.100.1.25" => "DC".to_owned(),
                    other => other.to_owned(),
                };
                match attribute.as_str() {
                    Ok(value) => format!("{kind}={}", escaped(value)),
                    Err(_) => format!("{kind}=#{}", hex(raw(attribute.attr_value()))),
                }
            })
            .collect();
        parts.push(attributes.join("+"));
    }
    parts.reverse();
    parts.join(",")
}

fn raw<'a>(value: &'a Any<'_>) -> &'a [u8] {
    value.data
}

fn escaped(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (at, character) in value.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', character]),
            ' ' if at == 0 || at == last => out.extend(['\\', ' ']),
            '#' if at == 0 => out.extend(['\\', '#']),
            control if control.is_control() => {
                let mut buffer = [0; 4];
                for byte in control.encode_utf8(&mut buffer).bytes() {
                    out.push('\\');
                    out.push_str(&hex(&[byte]));
                }
            }
            other => out.push(other),
        }
    }
    out
}
