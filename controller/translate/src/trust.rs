//! Whom we take for a backend: the CA certificates of ConfigMaps, and the names of which a certificate must carry one.

use k8s_openapi::api::core::v1::ConfigMap;
use portcullis_ir::HostPattern;

use crate::tls::{InvalidPem, trusted_roots};
use crate::trust_bundle::{self, InvalidBundle};
use crate::world::Reader;
use crate::{Kind, NamespacedName, ObjectRef};

/// Most ConfigMaps with CA certificates that one object names.
pub(crate) const MAX_CA_REFS: usize = 8;
/// Most subject alternative names of one object.
pub(crate) const MAX_NAMES: usize = 5;
/// Longest subject alternative name.
const MAX_NAME: usize = 253;
/// The key of a ConfigMap that holds trusted certificates.
const CA_KEY: &str = "ca.crt";

/// Trusted certificates as DER, each once.
#[derive(Debug, Default)]
pub(crate) struct Roots(Vec<Box<[u8]>>);

impl Roots {
    /// Adds those of a ConfigMap, or says what is wrong with it. What is added is never empty: an empty set would mean
    /// "the system's".
    pub(crate) fn add(&mut self, reader: &Reader<'_, '_>, name: &NamespacedName) -> Result<(), String> {
        self.extend(config_map_roots(reader, name)?);
        Ok(())
    }

    /// The same for a ClusterTrustBundle.
    pub(crate) fn add_bundle(&mut self, reader: &Reader<'_, '_>, name: &str) -> Result<(), InvalidBundle> {
        self.extend(trust_bundle::roots(name, &reader.trust_bundle(name))?);
        Ok(())
    }

    fn extend(&mut self, roots: Vec<Box<[u8]>>) {
        for root in roots {
            if !self.0.contains(&root) {
                self.0.push(root);
            }
        }
    }

    pub(crate) fn into_inner(self) -> Vec<Box<[u8]>> {
        self.0
    }
}

fn config_map_roots(reader: &Reader<'_, '_>, name: &NamespacedName) -> Result<Vec<Box<[u8]>>, String> {
    let Some(found) = reader.config_map(name) else {
        return Err(match reader.invalid(&ObjectRef::namespaced(Kind::ConfigMap, name)) {
            Some(why) => format!("cannot be read: {why}"),
            None => "does not exist; create it or correct the name".to_owned(),
        });
    };
    let ConfigMap { data, .. } = &*found;
    let pem = data.as_ref().and_then(|data| data.get(CA_KEY));
    let pem = pem.ok_or_else(|| format!("has no key {CA_KEY}; put the certificates there as PEM"))?;
    trusted_roots(pem.as_bytes(), CA_KEY).map_err(|error: InvalidPem| format!("is invalid: {error}"))
}

/// A DNS name that a certificate may carry, `*.suffix` included, in lower case.
pub(crate) fn dns_name(raw: &str) -> Option<Box<str>> {
    let sound = raw.len() <= MAX_NAME && !matches!(HostPattern::parse(raw), Ok(HostPattern::Any) | Err(_));
    sound.then(|| raw.to_ascii_lowercase().into())
}

/// A URI that a certificate may carry: a scheme and something after it (RFC 3986, 3). It is compared byte by byte.
pub(crate) fn uri(raw: &str) -> Option<Box<str>> {
    let (scheme, rest) = raw.split_once(':')?;
    let scheme_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let sound = raw.len() <= MAX_NAME
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(scheme_byte)
        && !rest.is_empty()
        && rest.bytes().all(|byte| byte.is_ascii_graphic());
    sound.then(|| raw.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_what_no_certificate_carries() {
        assert_eq!(dns_name("A.Example.com").as_deref(), Some("a.example.com"));
        assert_eq!(dns_name("*.example.com").as_deref(), Some("*.example.com"));
        for wrong in ["", "a b", "*", "a..b", "spiffe://a/b"] {
            assert_eq!(dns_name(wrong), None, "{wrong}");
        }
        assert_eq!(uri("spiffe://Cluster/ns/a/sa/b").as_deref(), Some("spiffe://Cluster/ns/a/sa/b"));
        assert_eq!(uri("urn:a:b").as_deref(), Some("urn:a:b"));
        for wrong in ["", "a.example.com", ":x", "1a:b", "a:", "a:b c", &format!("a:{}", "b".repeat(MAX_NAME))] {
            assert_eq!(uri(wrong), None, "{wrong}");
        }
    }
}
