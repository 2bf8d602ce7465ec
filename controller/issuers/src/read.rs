//! What issuers answer, read: of a key set only public keys that a signature can be checked with, of a discovery only
//! the endpoints that we use. What nobody needs is never handed on.

use portcullis_auth::KeySet;
use portcullis_ir::Discovery;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Most keys that are kept of one set.
const MAX_KEYS: usize = 256;
/// Longest value of a member of a key; an RSA modulus of 16,384 bits has 2,731 bytes.
const MAX_MEMBER: usize = 4096;
/// Longest address.
const MAX_ADDRESS: usize = 2048;
/// The members that public keys have (RFC 7517, 4; RFC 7518, 6; RFC 8037). Private ones among them would be a leak of the
/// issuer's, which we do not spread.
const MEMBERS: [&str; 9] = ["kty", "use", "alg", "kid", "crv", "x", "y", "n", "e"];

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is no JSON object")]
    Json,
    #[error("it has no list `keys`; the address should lead to a JSON Web Key Set (RFC 7517)")]
    NoKeySet,
    #[error("it holds no public key that a signature can be checked with; keys of kind RSA, EC and OKP can be used")]
    NoKeys,
    #[error("it says it is issuer {0:?}, and not the one that was asked for; write the issuer exactly as it does")]
    OtherIssuer(String),
    #[error("{field} is missing or no address")]
    Address { field: &'static str },
}

/// An OpenID provider's metadata, as far as it is of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub jwks_uri: Box<str>,
    /// None: it is of no use for logins.
    pub discovery: Option<Discovery>,
}

/// The usable keys of a set, those that data planes take too, written anew: equal keys come to equal text, whatever else the issuer says of them. The
/// others are left out.
///
/// # Errors
/// [`Unreadable`] when nothing is left: an empty set in the place of a good one is taken for a fault of the issuer.
pub fn key_set(text: &[u8]) -> Result<String, Unreadable> {
    let set: Map<String, Value> = serde_json::from_slice(text).map_err(|_| Unreadable::Json)?;
    let Some(Value::Array(keys)) = set.get("keys") else { return Err(Unreadable::NoKeySet) };
    let keys: Vec<Value> = keys.iter().filter_map(public_key).filter(is_usable).take(MAX_KEYS).collect();
    if keys.is_empty() {
        return Err(Unreadable::NoKeys);
    }
    Ok(set_of(keys))
}

fn set_of(keys: Vec<Value>) -> String {
    Value::Object(Map::from_iter([("keys".to_owned(), Value::Array(keys))])).to_string()
}

/// By the same reader as at the data planes: what they could not use must not take the place of what they can.
fn is_usable(key: &Value) -> bool {
    KeySet::public(set_of(vec![key.clone()]).as_bytes()).is_ok()
}

fn public_key(key: &Value) -> Option<Value> {
    let key = key.as_object()?;
    // A symmetric key that everybody can fetch proves nothing.
    let needed: &[&str] = match key.get("kty")?.as_str()? {
        "RSA" => &["n", "e"],
        "EC" => &["crv", "x", "y"],
        "OKP" => &["crv", "x"],
        _ => return None,
    };
    let is_text = |member: &str| key.get(member).is_some_and(|value| value.as_str().is_some());
    if !needed.iter().all(|member| is_text(member)) {
        return None;
    }
    let mut public = Map::new();
    for member in MEMBERS {
        match key.get(member) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if text.len() <= MAX_MEMBER => {
                public.insert(member.to_owned(), Value::String(text.clone()));
            }
            Some(_) => return None,
        }
    }
    // What a key may be used for counts as much as the key (RFC 7517, 4.3).
    if let Some(operations) = key.get("key_ops") {
        let operations = operations.as_array()?;
        if !operations.iter().any(|operation| operation.as_str() == Some("verify")) {
            return None;
        }
    }
    Some(Value::Object(public))
}

/// What an issuer says at its well-known address.
///
/// # Errors
/// [`Unreadable`], also for the metadata of another issuer (OpenID Connect Discovery 1.0, 4.3).
pub fn discovery(text: &[u8], issuer: &str) -> Result<Document, Unreadable> {
    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
        #[serde(default)]
        jwks_uri: Option<String>,
        #[serde(default)]
        authorization_endpoint: Option<String>,
        #[serde(default)]
        token_endpoint: Option<String>,
        #[serde(default)]
        end_session_endpoint: Option<String>,
        #[serde(default)]
        introspection_endpoint: Option<String>,
    }
    let metadata: Metadata = serde_json::from_slice(text).map_err(|_| Unreadable::Json)?;
    if metadata.issuer != issuer {
        let mut said = metadata.issuer;
        said.truncate(said.floor_char_boundary(200));
        return Err(Unreadable::OtherIssuer(said));
    }
    let jwks_uri = metadata.jwks_uri.as_deref().and_then(address).ok_or(Unreadable::Address { field: "jwks_uri" })?;
    let optional = |field: Option<String>| field.as_deref().and_then(address);
    let discovery = match (optional(metadata.authorization_endpoint), optional(metadata.token_endpoint)) {
        (Some(authorization_endpoint), Some(token_endpoint)) => Some(Discovery {
            authorization_endpoint,
            token_endpoint,
            end_session_endpoint: optional(metadata.end_session_endpoint),
            introspection_endpoint: optional(metadata.introspection_endpoint),
        }),
        _ => None,
    };
    Ok(Document { jwks_uri, discovery })
}

/// An absolute address without a user and a fragment.
fn address(text: &str) -> Option<Box<str>> {
    let uri: http::Uri = text.parse().ok()?;
    let authority = uri.authority()?.as_str();
    let sound = text.len() <= MAX_ADDRESS
        && matches!(uri.scheme_str(), Some("https" | "http"))
        && !authority.contains('@')
        && !text.contains('#');
    sound.then(|| text.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn of_a_set_only_what_is_public_and_usable_is_kept() {
        let (modulus, x) = ("v".repeat(341) + "w", "x".repeat(42) + "w");
        let set = json!({ "keys": [
            { "kty": "RSA", "n": modulus, "e": "AQAB", "kid": "a", "d": "secret", "x5c": ["MII"], "use": "sig" },
            { "kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "short" },
            { "kty": "OKP", "crv": "Ed25519", "x": "short", "kid": "short" },
            { "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "e" },
            { "kty": "OKP", "crv": "Ed448", "x": x, "kid": "another curve" },
            { "kty": "EC", "crv": "P-256", "x": x, "y": x, "kid": "no point of the curve" },
            { "kty": "oct", "k": "secret" },
            { "kty": "EC", "crv": "P-256", "x": "x" },
            { "kty": "EC", "crv": "P-256", "x": "x", "y": "y", "key_ops": ["sign"] },
            { "kty": "OKP", "crv": "Ed25519", "x": "x", "kid": 7 },
            "garbage",
        ], "other": 1 });
        let kept = key_set(set.to_string().as_bytes()).unwrap();
        let expected = json!({ "keys": [
            { "kty": "RSA", "n": modulus, "e": "AQAB", "kid": "a", "use": "sig" },
            { "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "e" },
        ] });
        assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), expected);
        assert!(!kept.contains("secret"));
    }

    #[test]
    fn nonsense_is_no_set() {
        let deep = format!("{{\"keys\": {}{}}}", "[".repeat(5000), "]".repeat(5000));
        for (text, why) in [
            ("", Unreadable::Json),
            ("<html>", Unreadable::Json),
            ("[]", Unreadable::Json),
            (deep.as_str(), Unreadable::Json),
            ("{}", Unreadable::NoKeySet),
            ("{\"keys\": 1}", Unreadable::NoKeySet),
            ("{\"keys\": []}", Unreadable::NoKeys),
            ("{\"keys\": [{\"kty\": \"oct\", \"k\": \"aa\"}]}", Unreadable::NoKeys),
            ("{\"keys\": [{\"kty\": \"OKP\", \"crv\": \"Ed25519\", \"x\": \"eA\"}]}", Unreadable::NoKeys),
        ] {
            assert_eq!(key_set(text.as_bytes()), Err(why), "{text:.40}");
        }
    }

    #[test]
    fn a_discovery_counts_only_for_the_issuer_that_it_names() {
        let text = json!({ "issuer": "https://a.example", "jwks_uri": "https://keys.example/k",
            "authorization_endpoint": "https://a.example/auth", "token_endpoint": "https://a.example/token",
            "end_session_endpoint": "javascript:alert(1)" })
        .to_string();
        let document = discovery(text.as_bytes(), "https://a.example").unwrap();
        assert_eq!(&*document.jwks_uri, "https://keys.example/k");
        assert_eq!(document.discovery.unwrap().end_session_endpoint, None);
        for other in ["https://a.example/", "https://b.example", ""] {
            let refused = discovery(text.as_bytes(), other);
            assert_eq!(refused, Err(Unreadable::OtherIssuer("https://a.example".to_owned())), "{other}");
        }
        let without = json!({ "issuer": "i", "jwks_uri": "/relative" }).to_string();
        assert_eq!(discovery(without.as_bytes(), "i"), Err(Unreadable::Address { field: "jwks_uri" }));
    }
}
