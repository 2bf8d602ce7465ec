//! What an introspection endpoint says of a token.

use std::sync::Arc;

use portcullis_auth::{Reason, parse_json};
use portcullis_expressions::Identity;
use serde_json::{Map, Value};

use super::Known;

/// Reads an answer of status 200. `now` is milliseconds since 1970.
///
/// # Errors
/// [`Reason::Refused`] for a token that is not active; what is wrong with an active one; [`Reason::Unavailable`] for what
/// is no answer.
pub(super) fn read(body: &[u8], method: &str, audiences: &[Box<str>], now: u64) -> Result<Known, Reason> {
    let mut claims = parse_json(body).map_err(|_| Reason::Unavailable)?;
    match claims.remove("active") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return Err(Reason::Refused),
        _ => return Err(Reason::Unavailable),
    }
    let until = seconds(&claims, "exp")?.unwrap_or(u64::MAX);
    if until <= now {
        return Err(Reason::Expired);
    }
    if seconds(&claims, "nbf")?.is_some_and(|from| now < from) {
        return Err(Reason::NotYetValid);
    }
    let is_wanted = |audience: &Value| audience.as_str().is_some_and(|name| audiences.iter().any(|one| **one == *name));
    let is_for_us = match claims.get("aud") {
        _ if audiences.is_empty() => true,
        Some(Value::Array(several)) => several.iter().any(is_wanted),
        Some(one) => is_wanted(one),
        None => false,
    };
    if !is_for_us {
        return Err(Reason::Audience);
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str).map(Box::from);
    let (subject, username) = (text("sub"), text("username"));
    let identity = Identity {
        method: method.into(),
        subject: subject.or_else(|| username.clone()),
        username,
        claims: claims.into(),
        ..Identity::default()
    };
    Ok(Known { identity: Arc::new(identity), until })
}

/// Of the first of several, in milliseconds.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, Reason> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let seconds = value.as_u64().or_else(|| value.as_f64().filter(|seconds| *seconds >= 0.0).map(whole));
            seconds.map(|seconds| Some(seconds.saturating_mul(1000))).ok_or(Reason::Unavailable)
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and the conversion saturates"
)]
fn whole(seconds: f64) -> u64 {
    seconds as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn judged(body: &str, audiences: &[&str]) -> Result<Known, Reason> {
        let audiences: Vec<Box<str>> = audiences.iter().map(|one| Box::from(*one)).collect();
        read(body.as_bytes(), "opaque", &audiences, 1_000_000)
    }

    #[test]
    fn an_active_token_is_for_somebody() {
        let known =
            judged(r#"{"active": true, "sub": "u1", "username": "ada", "exp": 1001, "scope": "a b"}"#, &[]).unwrap();
        assert_eq!((known.identity.subject.as_deref(), known.until), (Some("u1"), 1_001_000));
        assert_eq!(known.identity.claim("scope"), Some(&Value::from("a b")));
        assert_eq!(known.identity.claim("active"), None);
        let known = judged(r#"{"active": true, "username": "ada"}"#, &[]).unwrap();
        assert_eq!((known.identity.subject.as_deref(), known.until), (Some("ada"), u64::MAX));
    }

    #[test]
    fn anything_else_is_for_nobody() {
        for (body, audiences, why) in [
            (r#"{"active": false}"#, &[][..], Reason::Refused),
            (r#"{"active": "true"}"#, &[], Reason::Unavailable),
            ("{}", &[], Reason::Unavailable),
            ("[]", &[], Reason::Unavailable),
            ("<html>", &[], Reason::Unavailable),
            (r#"{"active": false, "active": true}"#, &[], Reason::Unavailable),
            (r#"{"active": true, "exp": 1000}"#, &[], Reason::Expired),
            (r#"{"active": true, "exp": "soon"}"#, &[], Reason::Unavailable),
            (r#"{"active": true, "exp": -1}"#, &[], Reason::Unavailable),
            (r#"{"active": true, "nbf": 1001}"#, &[], Reason::NotYetValid),
            (r#"{"active": true}"#, &["api"], Reason::Audience),
            (r#"{"active": true, "aud": ["a", "b"]}"#, &["api"], Reason::Audience),
        ] {
            assert_eq!(judged(body, audiences), Err(why), "{body}");
        }
        assert!(judged(r#"{"active": true, "aud": ["a", "api"]}"#, &["api"]).is_ok());
        assert!(judged(r#"{"active": true, "aud": "api"}"#, &["api"]).is_ok());
    }
}
