//! Who a client proved to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::Claims;

/// What authentication found out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    /// The name of the method that succeeded; of several, the first.
    pub method: Arc<str>,
    /// `sub`, the consumer's id, the user's name or the certificate's subject.
    pub subject: Option<Box<str>>,
    pub claims: Claims,
    pub api_key: Option<ApiKeyIdentity>,
    pub username: Option<Box<str>>,
    pub certificate: Option<CertificateIdentity>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiKeyIdentity {
    pub id: Box<str>,
    pub metadata: BTreeMap<Box<str>, Box<str>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateIdentity {
    /// RFC 4514.
    pub subject: Box<str>,
    /// RFC 4514.
    pub issuer: Box<str>,
    pub dns_names: Vec<Box<str>>,
    pub uris: Vec<Box<str>>,
    /// SHA-256 of the DER, lower-case hexadecimal.
    pub fingerprint: Box<str>,
}

impl Identity {
    /// A claim by its name. A name that is there as it is written goes before the same name as a path (`a.b` leads to
    /// the member `b` of the object `a`).
    pub fn claim(&self, name: &str) -> Option<&Value> {
        if let Some(value) = self.claims.get(name) {
            return Some(value);
        }
        let mut parts = name.split('.');
        let mut value = self.claims.get(parts.next()?)?;
        for part in parts {
            value = value.as_object()?.get(part)?;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_found_by_its_name_or_its_path() {
        let Value::Object(claims) = serde_json::json!({"a": {"b": {"c": 1}}, "x.y": 2, "x": {"y": 3}}) else {
            panic!()
        };
        let identity = Identity { claims: claims.into(), ..Identity::default() };
        assert_eq!(identity.claim("a.b.c"), Some(&Value::from(1)));
        assert_eq!(identity.claim("x.y"), Some(&Value::from(2)));
        assert_eq!(identity.claim("a.c"), None);
        assert_eq!(identity.claim("a.b.c.d"), None);
        assert_eq!(identity.claim(""), None);
    }
}
