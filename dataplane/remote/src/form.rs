//! `application/x-www-form-urlencoded`, and what OAuth makes of it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

/// Name and value pairs, encoded.
pub(crate) fn encode(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        push(&mut out, name.as_bytes());
        out.push('=');
        push(&mut out, value.as_bytes());
    }
    out
}

fn push(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
}

/// The value of the one parameter of that name; none if there is none, more than one, or what is no text.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    let mut found = query.split('&').filter_map(|pair| {
        let (other, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(other)? == name).then(|| decode(value))
    });
    let first = found.next()?;
    if found.next().is_some() { None } else { first }
}

fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).ok()?);
                at += 2;
            }
            (b'%', ..) => return None,
            (b'+', ..) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).ok()
}

/// `Authorization` of a client (RFC 6749, 2.3.1: both parts are form-encoded first).
pub(crate) fn basic(id: &str, secret: &[u8]) -> Option<HeaderValue> {
    let mut pair = String::new();
    push(&mut pair, id.as_bytes());
    pair.push(':');
    push(&mut pair, secret);
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_read_again() {
        let query = encode(&[("a b", "ü&=+"), ("c", "")]);
        assert_eq!(query, "a%20b=%C3%BC%26%3D%2B&c=");
        assert_eq!(parameter(&query, "a b").as_deref(), Some("ü&=+"));
        assert_eq!(parameter(&query, "c").as_deref(), Some(""));
        assert_eq!(parameter("a=1&a=2", "a"), None, "which of the two?");
        assert_eq!(parameter("a=%zz", "a"), None);
        assert_eq!(parameter("a=%ff", "a"), None);
        assert_eq!(parameter("", "a"), None);
    }

    #[test]
    fn a_clients_parts_cannot_run_into_each_other() {
        assert_eq!(
            basic("a:b", b"c").map(|value| value.as_bytes().to_vec()),
            basic("a:b", b"c").map(|value| value.as_bytes().to_vec())
        );
        assert_ne!(basic("a:b", b"c"), basic("a", b"b:c"));
    }
}
