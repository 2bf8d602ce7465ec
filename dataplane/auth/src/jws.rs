//! A JSON Web Signature in compact form (RFC 7515, 3.1), taken apart.

use serde_json::{Map, Value};

use crate::Reason;
use crate::encoding::base64url;
use crate::json;

pub(crate) struct Jws<'a> {
    /// What was signed.
    pub(crate) signed: &'a [u8],
    pub(crate) signature: Vec<u8>,
    pub(crate) header: Header,
    pub(crate) claims: Map<String, Value>,
}

/// Of the header only what matters: keys that it brings along or points at (`jwk`, `jku`, `x5u`) are not looked at.
pub(crate) struct Header {
    pub(crate) algorithm: String,
    pub(crate) key_id: Option<String>,
    /// There is a `crit`, and we know no extension (RFC 7515, 4.1.11).
    pub(crate) critical: bool,
}

impl<'a> Jws<'a> {
    /// `token` has been found short enough.
    pub(crate) fn parse(token: &'a [u8]) -> Result<Self, Reason> {
        let mut dots = token.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(at, _)| at);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(Reason::Malformed);
        };
        let part = |part: &[u8]| base64url(part).ok_or(Reason::Malformed);
        let object = |bytes: Vec<u8>| json::parse(&bytes).map_err(|_| Reason::Malformed);
        Ok(Self {
            signed: &token[..second],
            header: Header::of(object(part(&token[..first])?)?)?,
            claims: object(part(&token[first + 1..second])?)?,
            signature: part(&token[second + 1..])?,
        })
    }
}

impl Header {
    fn of(mut header: Map<String, Value>) -> Result<Self, Reason> {
        let mut text = |name: &str| match header.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Reason::Malformed),
        };
        Ok(Self {
            algorithm: text("alg")?.ok_or(Reason::Malformed)?,
            key_id: text("kid")?,
            critical: header.contains_key("crit"),
        })
    }
}
