//! A data plane with policies before a recording backend.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderName;
use portcullis_dataplane::Settings;
use portcullis_ir as ir;
use portcullis_ir::Resource;
use serde_json::{Value, json};

use crate::plane::{Plane, free_port, loopback, settings};
use crate::resources;
use crate::support::{Backend, Client, Response};
use crate::tokens::{Signer, key_set};

pub const ISSUER: &str = "https://issuer.test";
/// Header under which a second API key is shown.
pub const EXTRA: &str = "x-extra-key";

/// The issuer's key, one for all tests: it is costly to make.
pub static SIGNER: LazyLock<Signer> = LazyLock::new(|| Signer::rsa("k1", "RS256"));

pub struct World {
    pub plane: Plane,
    pub port: u16,
    pub backend: Backend,
    rules: u16,
}

impl World {
    pub async fn new() -> Self {
        Self::with(settings()).await
    }

    pub async fn with(settings: Settings) -> Self {
        let backend = Backend::echoing_lines().await;
        let port = free_port();
        let mut plane = Plane::start(settings).await;
        let mut all = vec![resources::http("web", port)];
        all.extend(resources::backend("b", backend.address));
        plane.put(all).await;
        Self { plane, port, backend, rules: 0 }
    }

    pub fn address(&self) -> SocketAddr {
        loopback(self.port)
    }

    pub async fn put(&mut self, all: impl IntoIterator<Item = Resource>) {
        let verdict = self.plane.put(all).await;
        assert!(verdict.rejected.is_empty() && verdict.warnings.is_empty(), "{verdict:?}");
    }

    /// A rule for a prefix under a policy of its own.
    pub fn rule(&mut self, path: &str, auth: ir::Auth) -> Resource {
        self.rule_at("web", path, Some(auth))
    }

    pub fn rule_at(&mut self, listener: &str, path: &str, auth: Option<ir::Auth>) -> Resource {
        let Resource::Route(route) = resources::forward("shop", &[listener], "b") else { unreachable!() };
        let mut route = (*route).clone();
        route.key.rule = self.rules;
        self.rules += 1;
        route.matches = vec![ir::Match { path: ir::PathMatch::prefix(path), ..ir::Match::default() }];
        route.attachments[0].auth = auth.map(Arc::new);
        Resource::Route(Arc::new(route))
    }

    /// One request on a connection of its own, with raw header lines.
    pub async fn ask(&self, path: &str, headers: &[String]) -> Response {
        let mut client = Client::connect(self.address()).await;
        ask_on(&mut client, path, headers).await
    }
}

pub async fn ask_on(client: &mut Client, path: &str, headers: &[String]) -> Response {
    ask_at(client, "a.test", path, headers).await
}

pub async fn ask_at(client: &mut Client, host: &str, path: &str, headers: &[String]) -> Response {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    client.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{lines}\r\n")).await;
    client.response().await
}

pub fn origin(name: &str) -> ir::PolicyOrigin {
    let target = ir::PolicyTarget::Gateway(resources::gateway());
    ir::PolicyOrigin { namespace: "team".into(), name: name.into(), uid: "uid".into(), target }
}

/// A policy that says who the client is in `x-user`.
pub fn policy(methods: Vec<ir::AuthMethod>) -> ir::AuthPolicy {
    let user = ir::IdentityHeader {
        name: HeaderName::from_static("x-user"),
        value: ir::IdentityValue::Expression(ir::Expression("auth.subject".into())),
    };
    ir::AuthPolicy {
        origins: vec![origin("policy")],
        shadow: false,
        exempt: Vec::new(),
        require: ir::Require::Any,
        methods,
        authorization: None,
        external: None,
        identity: ir::IdentityOutput { headers: vec![user], ..ir::IdentityOutput::default() },
        unauthenticated: ir::DenyResponse::default(),
        unauthorized: ir::DenyResponse::default(),
    }
}

pub fn enforce(policy: ir::AuthPolicy) -> ir::Auth {
    ir::Auth::Enforce(Box::new(policy))
}

fn method(name: &str, kind: ir::MethodKind) -> ir::AuthMethod {
    ir::AuthMethod { name: name.into(), kind }
}

pub fn bearer() -> ir::TokenSource {
    ir::TokenSource::Header { name: http::header::AUTHORIZATION, prefix: "Bearer ".into() }
}

fn header(name: &'static str) -> ir::TokenSource {
    ir::TokenSource::Header { name: HeaderName::from_static(name), prefix: "".into() }
}

pub fn jwt() -> ir::AuthMethod {
    jwt_with(ir::JwtKeys::Inline(key_set(&[&SIGNER]).into()))
}

pub fn jwt_with(keys: ir::JwtKeys) -> ir::AuthMethod {
    let jwt = ir::JwtMethod {
        issuer: Some(ISSUER.into()),
        audiences: vec!["shop".into()],
        algorithms: vec![ir::Algorithm::RS256, ir::Algorithm::ES256, ir::Algorithm::HS256],
        leeway: Duration::ZERO,
        from: vec![bearer(), ir::TokenSource::Cookie("token".into()), ir::TokenSource::Query("token".into())],
        keys,
    };
    method("jwt", ir::MethodKind::Jwt(Box::new(jwt)))
}

pub fn api_key() -> ir::AuthMethod {
    let from = vec![header("x-api-key"), ir::TokenSource::Query("key".into())];
    method("keys", ir::MethodKind::ApiKey { consumers: consumers("keys"), from })
}

pub fn slow_key() -> ir::AuthMethod {
    method("slow", ir::MethodKind::ApiKey { consumers: consumers("slow"), from: vec![header("x-api-key")] })
}

pub fn extra() -> ir::AuthMethod {
    method("extra", ir::MethodKind::ApiKey { consumers: consumers("extra"), from: vec![header(EXTRA)] })
}

pub fn basic() -> ir::AuthMethod {
    method("people", ir::MethodKind::Basic { users: users_key(), realm: "shop".into() })
}

pub fn certificate(rules: Vec<ir::CertificateRule>) -> ir::AuthMethod {
    method("partners", ir::MethodKind::ClientCertificate { rules })
}

pub fn anonymous() -> ir::AuthMethod {
    method("anybody", ir::MethodKind::Anonymous)
}

pub fn introspection() -> ir::AuthMethod {
    let secret = ir::CredentialKey { purpose: ir::CredentialUse::Shared, namespace: "ns".into(), name: "none".into() };
    let introspection = ir::Introspection {
        endpoint: ir::EndpointUrl { url: "http://127.0.0.1:9/introspect".into(), roots: Vec::new() },
        client_id: "gateway".into(),
        client_secret: secret,
        from: vec![bearer()],
        audiences: Vec::new(),
        timeout: Duration::from_secs(1),
        cache_ttl: Duration::ZERO,
        cache_entries: 0,
        when: None,
    };
    method("asked", ir::MethodKind::Introspection(Box::new(introspection)))
}

fn consumers(method: &str) -> ir::ConsumerSetKey {
    ir::ConsumerSetKey { namespace: "team".into(), policy: "policy".into(), method: method.into() }
}

fn users_key() -> ir::CredentialKey {
    ir::CredentialKey { purpose: ir::CredentialUse::Users, namespace: "ns".into(), name: "people".into() }
}

pub fn sha256(key: &str) -> ir::ApiKeyHash {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    ir::ApiKeyHash::Sha256(digest.as_ref().try_into().unwrap())
}

pub fn consumer(id: &str, sets: &[&str], keys: Vec<ir::ApiKeyHash>) -> Resource {
    let mut sets: Vec<_> = sets.iter().map(|method| consumers(method)).collect();
    sets.sort();
    let name: Arc<str> = format!("{id}-{}", sets[0].method).into();
    Resource::Credential(Arc::new(ir::Credential {
        key: ir::CredentialKey { purpose: ir::CredentialUse::Consumer, namespace: "ns".into(), name },
        content: ir::CredentialContent::Consumer { sets, id: id.into(), metadata: BTreeMap::new(), keys },
    }))
}

/// A file with `alice` and her password `key-alice`, under SHA-1 as the oldest files have it.
pub fn people(lines: &str) -> Resource {
    let content = ir::CredentialContent::Users(ir::Secret::new(lines.as_bytes().to_vec()));
    Resource::Credential(Arc::new(ir::Credential { key: users_key(), content }))
}

/// bcrypt with the least cost.
pub fn bcrypt_line(name: &str, password: &str) -> String {
    use base64::Engine;
    let engine = base64::engine::GeneralPurpose::new(
        &base64::alphabet::BCRYPT,
        base64::engine::GeneralPurposeConfig::new().with_encode_padding(false),
    );
    let hash = bcrypt::bcrypt(4, [7; 16], format!("{password}\0").as_bytes());
    format!("{name}:$2y$04${}{}\n", engine.encode([7; 16]), engine.encode(&hash[..23]))
}

/// argon2id with the least cost.
pub fn argon2(key: &str) -> ir::ApiKeyHash {
    use base64::Engine;
    let mut hash = [0; 32];
    let params = argon2::Params::new(8, 1, 1, Some(32)).unwrap();
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(key.as_bytes(), b"somesalt", &mut hash)
        .unwrap();
    let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes);
    ir::ApiKeyHash::Argon2(format!("$argon2id$v=19$m=8,t=1,p=1${}${}", encode(b"somesalt"), encode(&hash)).into())
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "alice", "aud": "shop", "exp": now() + 600, "iat": now() - 1 })
}

pub fn authorization(scheme: &str, credentials: &str) -> String {
    format!("Authorization: {scheme} {credentials}")
}

pub fn basic_header(name: &str, password: &str) -> String {
    use base64::Engine;
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    authorization("Basic", &credentials)
}

/// Exempts everything below `/…/open`.
pub fn open(path: &str) -> Vec<ir::Match> {
    vec![ir::Match { path: ir::PathMatch::prefix(&format!("{path}/open")), ..ir::Match::default() }]
}
