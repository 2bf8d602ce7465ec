//! An OpenID provider, as far as a gateway sees it: its metadata, its keys, and a token endpoint.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_auth::KeySet;
use portcullis_ir::{CredentialKey, CredentialUse, Discovery, IssuerKey, Oidc, Secret};
use serde_json::{Map, Value, json};

use crate::server::{Answer, Server, root};

/// Milliseconds since 1970.
pub(crate) const NOW: u64 = 1_800_000_000_000;
const ISSUER: &str = "https://idp.example";

pub(crate) fn config() -> Oidc {
    Oidc {
        issuer: ISSUER.into(),
        discovered: IssuerKey(ISSUER.into()),
        roots: vec![root()],
        client_id: "gateway".into(),
        client_secret: CredentialKey { purpose: CredentialUse::Shared, namespace: "ns".into(), name: "s".into() },
        scopes: vec!["openid".into(), "email".into()],
        redirect_path: "/oauth2/callback".into(),
        logout_path: "/oauth2/logout".into(),
        post_logout: None,
        allowed_hosts: Vec::new(),
        cookie_name: "sid".into(),
        cookie_domain: None,
        session_lifetime: Duration::from_secs(8 * 3600),
    }
}

pub(crate) struct Provider {
    server: Server,
    key: EcdsaKeyPair,
    keys: Arc<KeySet>,
    pub(crate) discovery: Option<Discovery>,
    pub(crate) secret: Secret,
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let server = Server::start(Answer::status(500, "")).await;
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = key.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
        let set = json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": "k", "alg": "ES256", "x": x, "y": y }] });
        let keys = Arc::new(KeySet::public(set.to_string().as_bytes()).unwrap());
        let discovery = Discovery {
            authorization_endpoint: format!("{ISSUER}/auth").into(),
            token_endpoint: server.url("/token").into(),
            end_session_endpoint: Some(format!("{ISSUER}/logout").into()),
            introspection_endpoint: None,
        };
        Self { server, key, keys, discovery: Some(discovery), secret: Secret::new(*b"secret") }
    }

    pub(crate) fn known(&self) -> portcullis_remote::Provider<'_> {
        portcullis_remote::Provider {
            discovery: self.discovery.as_ref(),
            keys: Some(&self.keys),
            secret: Some(&self.secret),
        }
    }

    /// What the token endpoint answers from now on.
    #[allow(clippy::needless_pass_by_value)]
    pub(crate) fn give(&self, token: Signed, extra: Value) {
        let mut body = json!({ "id_token": token.sign(&self.key), "access_token": "a", "token_type": "Bearer" });
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.server.answer(Answer::json(&body.to_string()));
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.server.answer(answer);
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.server.asked()
    }
}

/// An ID token.
pub(crate) struct Signed(Map<String, Value>);

impl Default for Signed {
    fn default() -> Self {
        let claims = json!({ "iss": ISSUER, "aud": "gateway", "sub": "ada", "email": "ada@a.example",
            "iat": NOW / 1000, "exp": NOW / 1000 + 3600 });
        Self(claims.as_object().unwrap().clone())
    }
}

impl Signed {
    pub(crate) fn nonce(self, nonce: &str) -> Self {
        self.claim("nonce", json!(nonce))
    }

    pub(crate) fn claim(mut self, name: &str, value: Value) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    fn sign(self, key: &EcdsaKeyPair) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({ "alg": "ES256", "kid": "k" })), part(&Value::Object(self.0)));
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Of a query or a form, as it stands there.
pub(crate) fn parameter(text: &str, name: &str) -> String {
    let query = text.rsplit(['?', '\n']).next().unwrap();
    let found = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
}

/// Of a PKCE verifier.
pub(crate) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}
