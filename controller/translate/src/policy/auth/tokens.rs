//! Tokens: signed ones, logins, and those that their issuer is asked about.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use portcullis_crds::auth as api;
use portcullis_crds::{BackendEndpoint, CaCertificateRef};
use portcullis_ir::{
    Algorithm, CredentialKey, CredentialUse, EndpointUrl, Introspection, IssuerKey, JwtKeys, JwtMethod, Oidc, Target,
};

use super::Compile;
use super::methods::{bearer, sources};
use crate::filter_view::RefView;
use crate::policy::credentials;
use crate::policy::field::{Invalid, at_most, duration_within, expression, number_within};
use crate::trust::Roots;
use crate::{IssuerLocation, IssuerSource, MAX_STALE, MIN_REFETCH, NamespacedName, REFRESH};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Most of a JSON Web Key Set that stands in a policy.
const MAX_INLINE: usize = 65536;
/// How many answers a replica keeps unless a policy says otherwise.
pub(super) const CACHE_ENTRIES: i64 = 10_000;
/// How long a session lives unless a policy says otherwise.
const SESSION: Duration = Duration::from_secs(8 * 3600);

/// What may happen on a way that nobody guards.
const KEYS: &str = "whoever is on the way can put keys of their own in place of the issuer's";
const SECRETS: &str = "the client's secret and the tokens cross the network in the open";

const ASYMMETRIC: [Algorithm; 10] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::ES512,
    Algorithm::EdDSA,
];
const SYMMETRIC: [Algorithm; 3] = [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512];

impl Compile<'_, '_, '_> {
    pub(super) fn jwt(&mut self, field: &str, written: &api::Jwt) -> Result<JwtMethod, Invalid> {
        let api::Jwt { issuer, audiences, algorithms, leeway, from, jwks } = written;
        let keys = match (jwks, issuer) {
            (Some(jwks), _) => self.jwks(&format!("{field}.jwks"), jwks)?,
            (None, Some(issuer)) => {
                check_url(&format!("{field}.issuer"), issuer)?;
                self.note_plain(&format!("{field}.issuer"), issuer, KEYS);
                JwtKeys::Issuer(self.source(IssuerSource {
                    insecure: issuer.starts_with("http:"),
                    ..IssuerSource::new(IssuerLocation::Issuer(issuer.as_str().into()), Vec::new())
                }))
            }
            (None, None) => return Err(Invalid::new(field, "gives neither issuer nor jwks; give one")),
        };
        let secret = matches!(keys, JwtKeys::Credential(_));
        let mut taken: Vec<Algorithm> = algorithms.iter().copied().map(algorithm).collect();
        if let Some(at) = taken.iter().position(|one| SYMMETRIC.contains(one)).filter(|_| !secret) {
            let why = "goes with jwks.secretRef alone: a key that others can read signs nothing; remove it";
            return Err(Invalid::new(format!("{field}.algorithms[{at}]"), why));
        }
        if taken.is_empty() {
            taken.extend(ASYMMETRIC);
            taken.extend(SYMMETRIC.into_iter().filter(|_| secret));
        }
        taken.sort_unstable();
        taken.dedup();
        Ok(JwtMethod {
            issuer: issuer.as_deref().map(Into::into),
            audiences: audiences.iter().map(|one| one.as_str().into()).collect(),
            algorithms: taken,
            leeway: duration_within(
                &format!("{field}.leeway"),
                leeway.as_deref(),
                Duration::ZERO,
                (Duration::ZERO, 5 * MINUTE),
            )?,
            from: sources(&format!("{field}.from"), from, bearer())?,
            keys,
        })
    }

    fn jwks(&mut self, field: &str, written: &api::Jwks) -> Result<JwtKeys, Invalid> {
        match written {
            api::Jwks { remote: Some(remote), inline: None, secret_ref: None } => {
                self.remote(&format!("{field}.remote"), remote)
            }
            api::Jwks { remote: None, inline: Some(inline), secret_ref: None } => {
                let why = "is no JSON Web Key Set; give {\"keys\": [...]}";
                let sound = inline.len() <= MAX_INLINE && is_key_set(inline.as_bytes());
                sound
                    .then(|| JwtKeys::Inline(inline.as_str().into()))
                    .ok_or_else(|| Invalid::new(format!("{field}.inline"), why))
            }
            api::Jwks { remote: None, inline: None, secret_ref: Some(reference) } => {
                let field = format!("{field}.secretRef");
                self.secret(&field, &reference.name, credentials::token_key)?;
                Ok(JwtKeys::Credential(self.shared(&reference.name)))
            }
            _ => Err(Invalid::new(field, "needs exactly one of remote, inline and secretRef; give one")),
        }
    }

    fn remote(&mut self, field: &str, written: &api::RemoteJwks) -> Result<JwtKeys, Invalid> {
        let api::RemoteJwks { uri, backend_ref, path, refresh_interval, min_refetch_interval, max_stale, tls } =
            written;
        let roots = self.roots(&format!("{field}.tls"), tls.as_ref())?;
        let url = match (uri, backend_ref) {
            (Some(uri), None) => uri.clone(),
            (None, Some(backend)) => {
                let path = path.as_deref().unwrap_or("/.well-known/jwks.json");
                format!("{}{path}", self.origin_of(&format!("{field}.backendRef"), backend, tls.is_some())?)
            }
            _ => return Err(Invalid::new(field, "needs exactly one of uri and backendRef; give one")),
        };
        check_url(&format!("{field}.uri"), &url)?;
        self.note_plain(field, &url, KEYS);
        let interval = |name: &str, written: &Option<String>, default, bounds| {
            duration_within(&format!("{field}.{name}"), written.as_deref(), default, bounds)
        };
        let refresh = interval("refreshInterval", refresh_interval, REFRESH, (Duration::from_secs(10), 24 * HOUR))?;
        let source = IssuerSource {
            insecure: url.starts_with("http:"),
            refresh,
            min_refetch: interval(
                "minRefetchInterval",
                min_refetch_interval,
                MIN_REFETCH,
                (Duration::from_secs(1), HOUR),
            )?,
            max_stale: interval("maxStale", max_stale, MAX_STALE, (MINUTE, 720 * HOUR))?.max(refresh),
            ..IssuerSource::new(IssuerLocation::Keys(url.into()), roots)
        };
        Ok(JwtKeys::Issuer(self.source(source)))
    }

    pub(super) fn oidc(&mut self, field: &str, method: &str, written: &api::Oidc) -> Result<Oidc, Invalid> {
        let api::Oidc {
            issuer,
            client_id,
            client_secret_ref,
            scopes,
            redirect_path,
            logout_path,
            post_logout_redirect,
            allowed_hosts,
            cookie,
            session_lifetime,
            tls,
        } = written;
        check_url(&format!("{field}.issuer"), issuer)?;
        self.note_plain(&format!("{field}.issuer"), issuer, SECRETS);
        let roots = self.roots(&format!("{field}.tls"), tls.as_ref())?;
        self.secret(&format!("{field}.clientSecretRef"), &client_secret_ref.name, credentials::client_secret)?;
        let discovered = self.source(IssuerSource {
            insecure: issuer.starts_with("http:"),
            ..IssuerSource::new(IssuerLocation::Issuer(issuer.as_str().into()), roots.clone())
        });
        let redirect_path = redirect_path.as_deref().unwrap_or("/oauth2/callback");
        let logout_path = logout_path.as_deref().unwrap_or("/oauth2/logout");
        if redirect_path == logout_path {
            return Err(Invalid::new(format!("{field}.logoutPath"), "is the redirectPath; change one"));
        }
        if let Some(after) = post_logout_redirect {
            let host = http::Uri::try_from(after.as_str()).ok().and_then(|uri| uri.host().map(str::to_owned));
            let sound = match host {
                // `//host` would be another site.
                None => after.starts_with('/') && !after.starts_with("//"),
                Some(host) => allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(&host)),
            };
            if !sound {
                let why = "is neither a path nor an address of a host in allowedHosts; add the host there";
                return Err(Invalid::new(format!("{field}.postLogoutRedirect"), why));
            }
        }
        let scopes = match scopes.as_slice() {
            [] => vec!["openid".into()],
            given if given.iter().any(|scope| scope == "openid") => {
                given.iter().map(|scope| scope.as_str().into()).collect()
            }
            _ => return Err(Invalid::new(format!("{field}.scopes"), "lacks openid; add it")),
        };
        let (cookie_name, cookie_domain) = cookie.as_ref().map_or((None, None), |cookie| {
            let api::SessionCookie { name, domain } = cookie;
            (name.as_deref().map(Into::into), domain.as_deref().map(Into::into))
        });
        Ok(Oidc {
            issuer: issuer.as_str().into(),
            discovered,
            roots,
            client_id: client_id.as_str().into(),
            client_secret: self.shared(&client_secret_ref.name),
            scopes,
            redirect_path: redirect_path.into(),
            logout_path: logout_path.into(),
            post_logout: post_logout_redirect.as_deref().map(Into::into),
            allowed_hosts: allowed_hosts.iter().map(|host| host.to_ascii_lowercase().into()).collect(),
            cookie_name: cookie_name.unwrap_or_else(|| cookie_of(self.name, method)),
            cookie_domain,
            session_lifetime: duration_within(
                &format!("{field}.sessionLifetime"),
                session_lifetime.as_deref(),
                SESSION,
                (MINUTE, 720 * HOUR),
            )?,
        })
    }

    pub(super) fn introspection(
        &mut self,
        field: &str,
        written: &api::Introspection,
    ) -> Result<Introspection, Invalid> {
        let api::Introspection {
            endpoint,
            backend_ref,
            tls,
            client_id,
            client_secret_ref,
            from,
            audiences,
            when,
            timeout,
            cache,
        } = written;
        check_url(&format!("{field}.endpoint"), endpoint)?;
        self.note_plain(&format!("{field}.endpoint"), endpoint, SECRETS);
        let url = match backend_ref {
            None => endpoint.clone(),
            Some(backend) => {
                let secure = endpoint.starts_with("https:");
                let origin = self.origin_of(&format!("{field}.backendRef"), backend, secure)?;
                let path = http::Uri::try_from(endpoint.as_str()).ok().and_then(|uri| uri.into_parts().path_and_query);
                format!("{origin}{}", path.as_ref().map_or("/", http::uri::PathAndQuery::as_str))
            }
        };
        let roots = self.roots(&format!("{field}.tls"), tls.as_ref())?;
        self.secret(&format!("{field}.clientSecretRef"), &client_secret_ref.name, credentials::client_secret)?;
        let api::CachedAnswers { ttl, max_entries } = cache.clone().unwrap_or_default();
        Ok(Introspection {
            endpoint: EndpointUrl { url: url.into(), roots },
            client_id: client_id.as_str().into(),
            client_secret: self.shared(&client_secret_ref.name),
            from: sources(&format!("{field}.from"), from, bearer())?,
            audiences: audiences.iter().map(|one| one.as_str().into()).collect(),
            timeout: duration_within(
                &format!("{field}.timeout"),
                timeout.as_deref(),
                Duration::from_secs(1),
                (Duration::from_millis(1), Duration::from_secs(10)),
            )?,
            cache_ttl: duration_within(&format!("{field}.cache.ttl"), ttl.as_deref(), MINUTE, (Duration::ZERO, HOUR))?,
            cache_entries: number_within(
                &format!("{field}.cache.maxEntries"),
                max_entries.map_or(CACHE_ENTRIES, i64::from),
                1,
                1_000_000,
            )?,
            when: when.as_ref().map(|source| expression(&format!("{field}.when"), source)).transpose()?,
        })
    }

    pub(super) fn backend(&mut self, field: &str, reference: &api::AuthBackendRef) -> Result<Target, Invalid> {
        let resolved = self.resolver.resolve(view(reference));
        resolved.map(Target::Backend).map_err(|error| Invalid::new(field, error.to_string()))
    }

    /// Scheme and authority of a backend, for the controller, which fetches by name.
    fn origin_of(&mut self, field: &str, reference: &api::AuthBackendRef, tls: bool) -> Result<String, Invalid> {
        let key = self.resolver.resolve(view(reference)).map_err(|error| Invalid::new(field, error.to_string()))?;
        let scheme = |tls: bool| if tls { "https" } else { "http" };
        if reference.kind == "Service" {
            return Ok(format!("{}://{}.{}.svc:{}", scheme(tls), key.name, key.namespace, key.port));
        }
        let found = self.reader.backend(&NamespacedName::new(key.namespace, key.name));
        let first = found.as_ref().and_then(|backend| backend.spec.endpoints.first().map(|first| (backend, first)));
        let Some((backend, BackendEndpoint { hostname, ip, port })) = first else {
            return Err(Invalid::new(field, "names a Backend without endpoints; give it one"));
        };
        let host = match (hostname, ip) {
            (Some(hostname), _) => hostname.clone(),
            (None, Some(ip)) if ip.contains(':') => format!("[{ip}]"),
            (None, ip) => ip.clone().unwrap_or_default(),
        };
        Ok(format!("{}://{host}:{port}", scheme(tls || backend.spec.tls.is_some())))
    }

    fn roots(&self, field: &str, tls: Option<&api::AuthTls>) -> Result<Vec<Box<[u8]>>, Invalid> {
        let mut roots = Roots::default();
        let Some(api::AuthTls { ca_certificate_refs, well_known_ca_certificates: _ }) = tls else {
            return Ok(Vec::new());
        };
        at_most(&format!("{field}.caCertificateRefs"), ca_certificate_refs, 8)?;
        for (at, CaCertificateRef { name }) in ca_certificate_refs.iter().enumerate() {
            let name = self.own(name);
            roots.add(self.reader, &name).map_err(|why| {
                Invalid::new(format!("{field}.caCertificateRefs[{at}]"), format!("names ConfigMap {name}, which {why}"))
            })?;
        }
        Ok(roots.into_inner())
    }

    fn source(&mut self, source: IssuerSource) -> IssuerKey {
        let key = source.key.clone();
        match self.extra.sources.get_mut(&key) {
            Some(known) => known.join(&source),
            None => drop(self.extra.sources.insert(key.clone(), source)),
        }
        key
    }

    /// Whoever writes `http:` is taken at their word, and told what that means.
    fn note_plain(&mut self, field: &str, url: &str, what: &str) {
        if url.starts_with("http:") {
            self.extra.notes.push(format!("{field} is http: {what}; use https"));
        }
    }

    fn shared(&self, secret: &str) -> CredentialKey {
        let NamespacedName { namespace, name } = self.own(secret);
        CredentialKey { purpose: CredentialUse::Shared, namespace, name }
    }
}

fn view(reference: &api::AuthBackendRef) -> RefView<'_> {
    let api::AuthBackendRef { group, kind, name, namespace, port } = reference;
    RefView { group: Some(group), kind: Some(kind), name, namespace: namespace.as_deref(), port: *port }
}

fn check_url(field: &str, url: &str) -> Result<(), Invalid> {
    let parsed = http::Uri::try_from(url).ok();
    let sound = parsed.is_some_and(|uri| {
        let plain = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
        matches!(uri.scheme_str(), Some("http" | "https")) && plain
    });
    sound.then_some(()).ok_or_else(|| {
        Invalid::new(field, format!("{url:?} is no address; give an absolute one of http or https without a password"))
    })
}

/// A JSON Web Key Set (RFC 7517, 5).
pub(super) fn is_key_set(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(bytes)
        .is_ok_and(|set| set["keys"].as_array().is_some_and(|keys| keys.iter().all(serde_json::Value::is_object)))
}

/// One that no other policy's session has.
fn cookie_of(policy: &NamespacedName, method: &str) -> Box<str> {
    let hash = digest(&SHA256, format!("{policy}/{method}").as_bytes());
    let digits: String = hash.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("portcullis-{digits}").into()
}

fn algorithm(written: api::JwtAlgorithm) -> Algorithm {
    match written {
        api::JwtAlgorithm::RS256 => Algorithm::RS256,
        api::JwtAlgorithm::RS384 => Algorithm::RS384,
        api::JwtAlgorithm::RS512 => Algorithm::RS512,
        api::JwtAlgorithm::PS256 => Algorithm::PS256,
        api::JwtAlgorithm::PS384 => Algorithm::PS384,
        api::JwtAlgorithm::PS512 => Algorithm::PS512,
        api::JwtAlgorithm::ES256 => Algorithm::ES256,
        api::JwtAlgorithm::ES384 => Algorithm::ES384,
        api::JwtAlgorithm::ES512 => Algorithm::ES512,
        api::JwtAlgorithm::EdDSA => Algorithm::EdDSA,
        api::JwtAlgorithm::HS256 => Algorithm::HS256,
        api::JwtAlgorithm::HS384 => Algorithm::HS384,
        api::JwtAlgorithm::HS512 => Algorithm::HS512,
    }
}
