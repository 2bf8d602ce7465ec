//! What the backend learns: headers of a policy's own, and `X-Forwarded-Client-Cert`.

use http::{HeaderName, HeaderValue};
use portcullis_expressions::{Facts, Identity, Program};
use portcullis_ir::{IdentityHeader, IdentityValue};
use serde_json::Value;

use crate::Shown;

/// Longest value that is set, in bytes.
const MAX_VALUE: usize = 8 * 1024;

/// The headers that a policy sets.
#[derive(Debug)]
pub struct HeaderValues(Vec<(HeaderName, Source)>);

#[derive(Debug)]
enum Source {
    Claim(Box<str>),
    Expression(Program),
}

impl HeaderValues {
    /// # Errors
    /// Which expression does not compile, and why.
    pub fn new(headers: &[IdentityHeader]) -> Result<Self, String> {
        let header = |IdentityHeader { name, value }: &IdentityHeader| {
            let source = match value {
                IdentityValue::Claim(claim) => Source::Claim(claim.clone()),
                IdentityValue::Expression(expression) => Source::Expression(
                    Program::compile(&expression.0).map_err(|error| format!("identity header {name}: {error}"))?,
                ),
            };
            Ok((name.clone(), source))
        };
        Ok(Self(headers.iter().map(header).collect::<Result<_, String>>()?))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.0.iter().map(|(name, _)| name)
    }

    /// Those that have a value; what is not there, or empty, or no header value, is left out.
    pub fn values<'a>(&'a self, facts: &Facts<'a>) -> impl Iterator<Item = (HeaderName, HeaderValue)> + 'a {
        let facts = *facts;
        self.0.iter().filter_map(move |(name, source)| {
            let text = match source {
                Source::Claim(claim) => text(facts.identity?.claim(claim)?)?,
                Source::Expression(program) => program.text(&facts).ok()?,
            };
            let value = HeaderValue::from_str(&text).or_else(|_| HeaderValue::from_bytes(text.as_bytes()));
            (!text.is_empty() && text.len() <= MAX_VALUE).then_some((name.clone(), value.ok()?))
        })
    }
}

/// Lists are joined by `,`, objects are written as JSON.
fn text(claim: &Value) -> Option<String> {
    match claim {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(several) => several.iter().map(text).collect::<Option<Vec<_>>>().map(|several| several.join(",")),
        other => Some(other.to_string()),
    }
}

/// The value that Envoy and its peers write for a verified certificate.
pub fn xfcc(shown: &Shown) -> Option<HeaderValue> {
    let identity = &shown.identity;
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut parts = vec![format!("Hash={}", identity.fingerprint), format!("Subject={}", quoted(&identity.subject))];
    parts.extend(identity.uris.iter().map(|uri| format!("URI={}", quoted(uri))));
    parts.extend(identity.dns_names.iter().map(|name| format!("DNS={}", quoted(name))));
    HeaderValue::from_bytes(parts.join(";").as_bytes()).ok().filter(|value| value.len() <= MAX_VALUE)
}

/// Whether an identity is somebody, and not nobody who was let in.
pub(crate) fn is_somebody(identity: &Identity) -> bool {
    identity.subject.is_some()
        || !identity.claims.is_empty()
        || identity.api_key.is_some()
        || identity.username.is_some()
        || identity.certificate.is_some()
}
