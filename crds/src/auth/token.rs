//! Tokens: signed, of a login, or judged by their issuer.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::source::{AuthBackendRef, AuthTls, SecretRef, TokenSource};

/// A JSON Web Token. The algorithm is the key's, never the token's.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.issuer) || has(self.jwks)").message("give issuer, jwks or both")
)]
pub struct Jwt {
    /// What `iss` must be. Without `jwks`, its keys are found by OpenID Connect Discovery at this address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub issuer: Option<String>,

    /// `aud` must name one of them. Without it `aud` is not looked at: a token for any other service would do here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 1024)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub audiences: Vec<String>,

    /// Algorithms that are taken; all but HS* where nothing is said, those too if the keys come from a Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 13))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub algorithms: Vec<JwtAlgorithm>,

    /// By how much clocks may differ, at most 5m; not at all where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(
        validation = Rule::new("duration(self) <= duration('5m')").message("leeway must be at most 5m")
    )]
    pub leeway: Option<String>,

    /// Where the token is looked for; the first that is there counts. `Authorization: Bearer` where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub from: Vec<TokenSource>,

    /// The keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<Jwks>,
}

/// Algorithms of signatures (RFC 7518, RFC 8037).
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum JwtAlgorithm {
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

/// Keys: exactly one of the fields.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("[has(self.remote), has(self.inline), has(self.secretRef)].filter(x, x).size() == 1")
        .message("give exactly one of remote, inline and secretRef")
)]
pub struct Jwks {
    /// Fetched, by one fetcher for all policies that name the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteJwks>,

    /// A JSON Web Key Set (RFC 7517).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 65536))]
    pub inline: Option<String>,

    /// A Secret: its key `jwks` holds a JSON Web Key Set, or its key `key` the bytes of a symmetric key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
}

/// Keys that are fetched in the background. No request waits for that.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.uri) != has(self.backendRef)").message("give exactly one of uri and backendRef"),
    validation = Rule::new("!has(self.path) || has(self.backendRef)").message("path goes with backendRef")
)]
pub struct RemoteJwks {
    /// An absolute http or https address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 1024), regex(pattern = r"^https?://[^\s/?#@]+([/?][^\s#]*)?$"))]
    pub uri: Option<String>,

    /// A Service in place of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<AuthBackendRef>,

    /// The path at the Service; `/.well-known/jwks.json` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[^\s#]*$"))]
    pub path: Option<String>,

    /// How often the keys are fetched, 10s to 24h; 5m where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('24h')")
            .message("refreshInterval must be from 10s to 24h")
    )]
    pub refresh_interval: Option<String>,

    /// How often they are fetched at most because a token names a key that is not known, 1s to 1h; 30s where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')")
            .message("minRefetchInterval must be from 1s to 1h")
    )]
    pub min_refetch_interval: Option<String>,

    /// How long the last good keys count while none can be fetched, 1m to 720h; 24h where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('720h')")
            .message("maxStale must be from 1m to 720h")
    )]
    pub max_stale: Option<String>,

    /// Whom the address is trusted by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<AuthTls>,
}

/// Browser login: OpenID Connect, code flow with PKCE, an encrypted session in a cookie.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.scopes) || self.scopes.exists(s, s == 'openid')").message("scopes must contain openid"),
    validation = Rule::new("!has(self.redirectPath) || !has(self.logoutPath) || self.redirectPath != self.logoutPath")
        .message("redirectPath and logoutPath must differ")
)]
pub struct Oidc {
    /// The provider; its endpoints are found by OpenID Connect Discovery.
    #[schemars(length(min = 8, max = 1024), regex(pattern = r"^https?://[^\s/?#@]+(/[^\s?#]*)?$"))]
    pub issuer: String,

    /// What the provider knows us by.
    #[serde(rename = "clientID")]
    #[schemars(length(min = 1, max = 256))]
    pub client_id: String,

    /// A Secret whose key `client-secret` holds what we prove that with. Sessions are encrypted by it, too.
    pub client_secret_ref: SecretRef,

    /// Scopes to ask for; `openid` alone where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub scopes: Vec<String>,

    /// Where logins come back to, on the route's own host; `/oauth2/callback` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 256), regex(pattern = r"^/[^\s?#]+$"))]
    pub redirect_path: Option<String>,

    /// What ends a session; `/oauth2/logout` where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 256), regex(pattern = r"^/[^\s?#]+$"))]
    pub logout_path: Option<String>,

    /// Where logout ends: a path, or an absolute address of a host in `allowedHosts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^(/|https?://)[^\s]*$"))]
    pub post_logout_redirect: Option<String>,

    /// Hosts to which a login may return beside the request's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_hosts: Vec<String>,

    /// The cookie that holds the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<SessionCookie>,

    /// How long a session lives at most, 1m to 720h; 8h where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('1m') && duration(self) <= duration('720h')")
            .message("sessionLifetime must be from 1m to 720h")
    )]
    pub session_lifetime: Option<String>,

    /// Whom the provider is trusted by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<AuthTls>,
}

/// A session's cookie. It is `Secure`, `HttpOnly` and `SameSite=Lax`, always.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SessionCookie {
    /// Its name; one of the policy's own where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[A-Za-z0-9_-]+$"))]
    pub name: Option<String>,

    /// A domain whose hosts share the session; the request's host alone where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+$")
    )]
    pub domain: Option<String>,
}

/// OAuth 2.0 token introspection (RFC 7662).
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Introspection {
    /// The endpoint: an absolute http or https address.
    #[schemars(length(min = 8, max = 1024), regex(pattern = r"^https?://[^\s/?#@]+([/?][^\s#]*)?$"))]
    pub endpoint: String,

    /// A backend to send to instead of the address's own host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend_ref: Option<AuthBackendRef>,

    /// Whom the endpoint is trusted by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<AuthTls>,

    /// What the endpoint knows us by.
    #[serde(rename = "clientID")]
    #[schemars(length(min = 1, max = 256))]
    pub client_id: String,

    /// A Secret whose key `client-secret` holds what we prove that with.
    pub client_secret_ref: SecretRef,

    /// Where the token is looked for; the first that is there counts. `Authorization: Bearer` where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub from: Vec<TokenSource>,

    /// `aud` of the answer must name one of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 1024)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub audiences: Vec<String>,

    /// A CEL predicate over the answer (`auth.claims`) that must hold as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub when: Option<String>,

    /// How long the endpoint is waited for, 1ms to 10s; 1s where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('1ms') && duration(self) <= duration('10s')")
            .message("timeout must be from 1ms to 10s")
    )]
    pub timeout: Option<String>,

    /// How answers are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CachedAnswers>,
}

/// How answers are kept. A token is never believed beyond its own `exp`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CachedAnswers {
    /// For how long, up to 1h; 1m where nothing is said. `0s` asks each time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(
        validation = Rule::new("duration(self) <= duration('1h')").message("ttl must be at most 1h")
    )]
    pub ttl: Option<String>,

    /// How many, in each replica; 10,000 where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_entries: Option<i32>,
}
