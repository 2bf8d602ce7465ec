//! Facts as CEL values, and only those that an expression looks at.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value;
use cel::objects::{Key, Map};
use http::HeaderMap;

use crate::shape::Shape;
use crate::{Facts, Identity};

pub(crate) fn request(shape: &Shape, facts: &Facts<'_>) -> Value {
    let field = |name: &&'static str| {
        let value = match *name {
            "method" => text(facts.method.as_str()),
            "scheme" => text(facts.scheme),
            "host" => text(facts.host),
            "path" => text(facts.path),
            "protocol" => text(facts.protocol),
            "headers" => headers(facts.headers),
            _ => query(facts.query.unwrap_or_default()),
        };
        (*name, value)
    };
    map(shape.request.iter().map(field))
}

pub(crate) fn source(facts: &Facts<'_>) -> Value {
    map([("address", text(&facts.client.to_string()))].into_iter())
}

pub(crate) fn auth(shape: &Shape, identity: Option<&Identity>) -> Value {
    let nobody = Identity::default();
    let identity = identity.unwrap_or(&nobody);
    let field = |name: &&'static str| {
        let value = match *name {
            "method" => text(&identity.method),
            "subject" => text(identity.subject.as_deref().unwrap_or_default()),
            "username" => text(identity.username.as_deref().unwrap_or_default()),
            "claims" => map(identity.claims.iter().map(|(name, value)| (name.as_str(), json(value)))),
            "apiKey" => api_key(identity),
            _ => certificate(identity),
        };
        (*name, value)
    };
    map(shape.auth.iter().map(field))
}

fn api_key(identity: &Identity) -> Value {
    let Some(key) = &identity.api_key else {
        return map([("id", text("")), ("metadata", map([].into_iter()))].into_iter());
    };
    let metadata = map(key.metadata.iter().map(|(name, value)| (&**name, text(value))));
    map([("id", text(&key.id)), ("metadata", metadata)].into_iter())
}

fn certificate(identity: &Identity) -> Value {
    let none = crate::CertificateIdentity::default();
    let certificate = identity.certificate.as_ref().unwrap_or(&none);
    let list = |names: &[Box<str>]| Value::List(Arc::new(names.iter().map(|name| text(name)).collect()));
    map([
        ("subject", text(&certificate.subject)),
        ("issuer", text(&certificate.issuer)),
        ("fingerprint", text(&certificate.fingerprint)),
        ("dnsNames", list(&certificate.dns_names)),
        ("uris", list(&certificate.uris)),
    ]
    .into_iter())
}

fn headers(headers: &HeaderMap) -> Value {
    let joined = |name: &http::HeaderName| {
        let mut values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let first = values.next().unwrap_or_default().into_owned();
        values.fold(first, |joined, value| format!("{joined},{value}"))
    };
    map(headers.keys().map(|name| (name.as_str(), text(&joined(name)))))
}

fn query(query: &str) -> Value {
    let mut values = HashMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        values.entry(key(&decoded(name))).or_insert_with(|| text(&decoded(value)));
    }
    Value::Map(Map { map: Arc::new(values) })
}

/// `application/x-www-form-urlencoded`; what is no valid escape stays as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = &after[2..];
            }
            (b'+', _, _) => bytes.push(b' '),
            (other, _, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(flag) => Value::Bool(*flag),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::Int(integer),
            (None, Some(integer)) => Value::UInt(integer),
            (None, None) => Value::Float(number.as_f64().unwrap_or_default()),
        },
        serde_json::Value::String(string) => text(string),
        serde_json::Value::Array(list) => Value::List(Arc::new(list.iter().map(json).collect())),
        serde_json::Value::Object(object) => map(object.iter().map(|(name, value)| (name.as_str(), json(value)))),
    }
}

fn map<'a>(entries: impl Iterator<Item = (&'a str, Value)>) -> Value {
    Value::Map(Map { map: Arc::new(entries.map(|(name, value)| (key(name), value)).collect()) })
}

fn key(name: &str) -> Key {
    Key::String(Arc::new(name.to_owned()))
}

fn text(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}
