//! The token endpoint (RFC 6749, 3.2), and the tokens that it gives.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use portcullis_auth::{Jwt, KeySet, Reason, parse_json};
use portcullis_fetch::{Bounds, Client};
use portcullis_ir::Secret;
use serde_json::{Map, Value};

use crate::form;

/// Bytes of an answer.
const MAX_ANSWER: usize = 256 * 1024;
/// Longest refresh token that is kept.
const MAX_REFRESH: usize = 4096;

/// What the endpoint gave.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) id_token: Option<String>,
    pub(super) refresh_token: Option<String>,
    /// Seconds.
    pub(super) expires_in: Option<u64>,
}

/// Why it gave none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoTokens {
    /// It says that the code or the refresh token is none (`invalid_grant`).
    Refused,
    /// It cannot be asked, or does not take us for its client.
    Unavailable,
}

/// Whom is asked, and as whom.
pub(super) struct TokenEndpoint {
    pub(super) client: Client,
    pub(super) address: Box<str>,
    pub(super) client_id: Box<str>,
    pub(super) secret: Secret,
    pub(super) bounds: std::time::Duration,
}

impl TokenEndpoint {
    pub(super) async fn ask(&self, parameters: &[(&str, &str)]) -> Result<Tokens, NoTokens> {
        let request = self.request(parameters).ok_or(NoTokens::Unavailable)?;
        let bounds = Bounds { timeout: self.bounds, body: MAX_ANSWER };
        let answer = match self.client.send(request, bounds).await {
            Ok(answer) => answer,
            Err(error) => {
                tracing::warn!(%error, "the token endpoint cannot be asked");
                return Err(NoTokens::Unavailable);
            }
        };
        let status = answer.status();
        let body = parse_json(answer.body());
        match (status, body) {
            (StatusCode::OK, Ok(body)) => Ok(read(&body)),
            (status, Ok(body)) if status.is_client_error() => {
                let error = body.get("error").and_then(Value::as_str).unwrap_or_default();
                if error == "invalid_grant" {
                    return Err(NoTokens::Refused);
                }
                tracing::warn!(%status, "the token endpoint does not take us for its client; check id and secret");
                Err(NoTokens::Unavailable)
            }
            (status, _) => {
                tracing::warn!(%status, "the token endpoint gives no tokens");
                Err(NoTokens::Unavailable)
            }
        }
    }

    fn request(&self, parameters: &[(&str, &str)]) -> Option<Request<Bytes>> {
        let mut request = Request::new(Bytes::from(form::encode(parameters)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.address.parse().ok()?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(AUTHORIZATION, form::basic(&self.client_id, self.secret.expose())?);
        Some(request)
    }
}

fn read(body: &Map<String, Value>) -> Tokens {
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    Tokens {
        id_token: text("id_token"),
        refresh_token: text("refresh_token").filter(|token| token.len() <= MAX_REFRESH),
        expires_in: body.get("expires_in").and_then(Value::as_u64),
    }
}

/// The claims of an ID token (OpenID Connect Core 1.0, 3.1.3.7). `nonce` is that of the login; none after a refresh,
/// where it need not be there (12.2).
///
/// # Errors
/// The first rule that it breaks.
pub(super) fn claims(
    jwt: &Jwt,
    client_id: &str,
    keys: Option<&KeySet>,
    id_token: &str,
    nonce: Option<&str>,
    now: u64,
) -> Result<Map<String, Value>, Reason> {
    let verified = jwt.verify(id_token.as_bytes(), keys, now)?;
    let claims = verified.identity.claims.map();
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    if text("sub").is_none_or(str::is_empty) || !claims.contains_key("exp") {
        return Err(Reason::Malformed);
    }
    if nonce.is_some_and(|nonce| text("nonce") != Some(nonce)) {
        return Err(Reason::Refused);
    }
    let several = claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    match text("azp") {
        Some(party) if party != client_id => Err(Reason::Audience),
        None if several => Err(Reason::Audience),
        _ => Ok(claims.clone()),
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(<redacted>)")
    }
}
