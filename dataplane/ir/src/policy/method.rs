//! How a client proves who it is.

use std::time::Duration;

use http::HeaderName;
use serde::Serialize;

use super::{ConsumerSetKey, CredentialKey, Expression, IssuerKey};

/// How many of the methods must succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Require {
    #[default]
    Any,
    All,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuthMethod {
    /// Labels metrics; `auth.method` of expressions.
    pub name: Box<str>,
    pub kind: MethodKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum MethodKind {
    Jwt(Box<JwtMethod>),
    ApiKey {
        consumers: ConsumerSetKey,
        /// At least one.
        from: Vec<TokenSource>,
    },
    Basic {
        users: CredentialKey,
        realm: Box<str>,
    },
    /// A certificate that the listener verified and that any of the rules takes.
    ClientCertificate {
        rules: Vec<CertificateRule>,
    },
    Oidc(Box<Oidc>),
    Introspection(Box<Introspection>),
    /// Succeeds always, as nobody.
    Anonymous,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JwtMethod {
    /// What `iss` must be. None: it is not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Box<str>>,
    /// `aud` must name one of them. Empty: it is not looked at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<Box<str>>,
    /// At least one, ascending, each once. A key is used with its own algorithm, and only if that is listed.
    pub algorithms: Vec<Algorithm>,
    /// By how much clocks may differ.
    pub leeway: Duration,
    /// At least one; the first that is there counts.
    pub from: Vec<TokenSource>,
    pub keys: JwtKeys,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
    HS256,
    HS384,
    HS512,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum JwtKeys {
    /// Fetched.
    Issuer(IssuerKey),
    /// A JSON Web Key Set.
    Inline(Box<str>),
    /// A Secret that holds a JSON Web Key Set, or nothing but the bytes of a symmetric key.
    Credential(CredentialKey),
}

/// Where a token or key is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TokenSource {
    Header {
        #[serde(serialize_with = "crate::serialize::header_name")]
        name: HeaderName,
        /// What stands before the token, compared without regard to case (`Bearer `). May be empty.
        prefix: Box<str>,
    },
    Cookie(Box<str>),
    Query(Box<str>),
}

/// All parts that are given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CertificateRule {
    /// Any of these subject alternative names: a DNS name (`*.` for one label), a URI, an e-mail or an address.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub subject_alt_names: Vec<Box<str>>,
    /// Any of these issuers as RFC 4514 strings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<Box<str>>,
    /// Any of these SHA-256 hashes of the certificate's DER.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fingerprints: Vec<[u8; 32]>,
}

/// An absolute http or https address and whom it is trusted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointUrl {
    pub url: Box<str>,
    /// DER; none: the system's.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "crate::serialize::certificates")]
    pub roots: Vec<Box<[u8]>>,
}

/// Browser login (OpenID Connect Core 1.0, code flow with PKCE).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Oidc {
    pub issuer: Box<str>,
    /// Where its keys and endpoints stand.
    pub discovered: IssuerKey,
    /// Roots for the token endpoint. DER; none: the system's.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "crate::serialize::certificates")]
    pub roots: Vec<Box<[u8]>>,
    pub client_id: Box<str>,
    pub client_secret: CredentialKey,
    /// Contains `openid`.
    pub scopes: Vec<Box<str>>,
    /// Paths on the route's own host.
    pub redirect_path: Box<str>,
    pub logout_path: Box<str>,
    /// Where logout ends: a path, or an absolute address of a listed host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_logout: Option<Box<str>>,
    /// Hosts to which a login may return beside the request's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<Box<str>>,
    pub cookie_name: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie_domain: Option<Box<str>>,
    /// How long a session lives at most.
    pub session_lifetime: Duration,
}

/// OAuth 2.0 token introspection (RFC 7662).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Introspection {
    pub endpoint: EndpointUrl,
    pub client_id: Box<str>,
    pub client_secret: CredentialKey,
    pub from: Vec<TokenSource>,
    pub audiences: Vec<Box<str>>,
    pub timeout: Duration,
    /// How long an answer counts at most; 0 asks each time.
    pub cache_ttl: Duration,
    pub cache_entries: u32,
    /// What of the answer makes it a yes beyond `active`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Expression>,
}
