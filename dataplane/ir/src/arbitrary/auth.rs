//! Authentication and what is proved with it. Small: a rule with its policies stays one small message.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::sample::select;
use proptest::strategy::{Just, Strategy};
use proptest::{bool, num, option, prop_oneof};

use super::filter::target;
use super::name::{header_name, listener_key, method, path};
use crate::{
    Algorithm, ApiKeyHash, Auth, AuthMethod, AuthPolicy, Authorization, AuthorizationAction, AuthorizationRule,
    BrokenAuth, CertificateRule, ClaimMatch, ConsumerSetKey, Credential, CredentialContent, CredentialKey,
    CredentialUse, DenyResponse, Discovery, EndpointUrl, Expression, ExternalAuth, ExternalAuthCache,
    ExternalAuthProtocol, IdentityHeader, IdentityOutput, IdentityValue, Introspection, Issuer, IssuerKey, JwtKeys,
    JwtMethod, Match, MethodKind, Oidc, PathMatch, PolicyOrigin, PolicyTarget, Require, RouteKind, Secret, TokenSource,
    Xfcc,
};

pub fn auth() -> impl Strategy<Value = Arc<Auth>> {
    let broken = (origin(), vec(header_name(), 0..2)).prop_map(|(origin, identity_headers)| BrokenAuth {
        origin,
        message: "spec.authentication: names nothing".into(),
        identity_headers,
    });
    prop_oneof![
        4 => policy().prop_map(|policy| Auth::Enforce(Box::new(policy))),
        1 => broken.prop_map(Auth::Broken),
    ]
    .prop_map(Arc::new)
}

fn policy() -> impl Strategy<Value = AuthPolicy> {
    let exempt = (path(), option::of(method())).prop_map(|(path, method)| Match {
        path: PathMatch::prefix(&path),
        method,
        ..Match::default()
    });
    let methods = vec((select(vec!["first", "second"]), kind()), 0..2)
        .prop_map(|methods| methods.into_iter().map(|(name, kind)| AuthMethod { name: name.into(), kind }).collect());
    let head = (vec(origin(), 1..3), bool::ANY, vec(exempt, 0..2), select(vec![Require::Any, Require::All]));
    (head, methods, option::of(authorization()), option::of(external()), identity(), (deny(), deny())).prop_map(
        |((origins, shadow, exempt, require), methods, authorization, external, identity, (first, second))| {
            AuthPolicy {
                origins,
                shadow,
                exempt,
                require,
                methods,
                authorization,
                external,
                identity,
                unauthenticated: first,
                unauthorized: second,
            }
        },
    )
}

pub(super) fn origin() -> impl Strategy<Value = PolicyOrigin> {
    let names = select(vec!["shop", "team"]).prop_map(Arc::<str>::from);
    let target = prop_oneof![
        listener_key().prop_map(|listener| PolicyTarget::Gateway(listener.gateway)),
        listener_key().prop_map(|listener| match listener.set {
            Some(set) => PolicyTarget::ListenerSet(set),
            None => PolicyTarget::Listener(listener),
        }),
        (names.clone(), option::of(names.clone())).prop_map(|(name, rule)| {
            let (kind, namespace) = (RouteKind::HttpRoute, Arc::from("default"));
            match rule {
                Some(rule) => PolicyTarget::Rule { kind, namespace, name, rule },
                None => PolicyTarget::Route { kind, namespace, name },
            }
        }),
    ];
    (names.clone(), names, target).prop_map(|(namespace, name, target)| PolicyOrigin {
        namespace,
        name,
        uid: "6b0e".into(),
        target,
    })
}

fn kind() -> impl Strategy<Value = MethodKind> {
    let certificate =
        (vec(text(), 0..2), vec(text(), 0..2), vec(num::u8::ANY.prop_map(|byte| [byte; 32]), 0..2)).prop_map(
            |(subject_alt_names, issuers, fingerprints)| CertificateRule { subject_alt_names, issuers, fingerprints },
        );
    prop_oneof![
        jwt().prop_map(|jwt| MethodKind::Jwt(Box::new(jwt))),
        (consumer_set(), sources()).prop_map(|(consumers, from)| MethodKind::ApiKey { consumers, from }),
        (credential_key(CredentialUse::Users), text()).prop_map(|(users, realm)| MethodKind::Basic { users, realm }),
        vec(certificate, 0..2).prop_map(|rules| MethodKind::ClientCertificate { rules }),
        oidc().prop_map(|oidc| MethodKind::Oidc(Box::new(oidc))),
        introspection().prop_map(|introspection| MethodKind::Introspection(Box::new(introspection))),
        Just(MethodKind::Anonymous),
    ]
}

fn jwt() -> impl Strategy<Value = JwtMethod> {
    let algorithms = btree_set(
        select(vec![Algorithm::RS256, Algorithm::PS512, Algorithm::ES384, Algorithm::EdDSA, Algorithm::HS256]),
        1..4,
    )
    .prop_map(|algorithms| algorithms.into_iter().collect());
    let keys = prop_oneof![
        issuer_key().prop_map(JwtKeys::Issuer),
        Just(JwtKeys::Inline("{\"keys\":[]}".into())),
        credential_key(CredentialUse::Shared).prop_map(JwtKeys::Credential),
    ];
    let leeway = prop_oneof![Just(Duration::ZERO), super::duration()];
    (option::of(text()), vec(text(), 0..3), algorithms, leeway, sources(), keys).prop_map(
        |(issuer, audiences, algorithms, leeway, from, keys)| JwtMethod {
            issuer,
            audiences,
            algorithms,
            leeway,
            from,
            keys,
        },
    )
}

fn sources() -> impl Strategy<Value = Vec<TokenSource>> {
    let source = prop_oneof![
        (header_name(), select(vec!["", "Bearer "]))
            .prop_map(|(name, prefix)| TokenSource::Header { name, prefix: prefix.into() }),
        Just(TokenSource::Cookie("token".into())),
        Just(TokenSource::Query("token".into())),
    ];
    vec(source, 1..3)
}

fn oidc() -> impl Strategy<Value = Oidc> {
    (issuer_key(), option::of(text()), vec(text(), 0..2), super::duration()).prop_map(
        |(discovered, optional, allowed_hosts, session_lifetime)| Oidc {
            issuer: "https://issuer.test".into(),
            discovered,
            roots: vec![Box::from([1_u8])],
            client_id: "gateway".into(),
            client_secret: shared("oidc"),
            scopes: vec!["openid".into()],
            redirect_path: "/oauth2/callback".into(),
            logout_path: "/logout".into(),
            post_logout: optional.clone(),
            allowed_hosts,
            cookie_name: "session".into(),
            cookie_domain: optional,
            session_lifetime,
        },
    )
}

fn introspection() -> impl Strategy<Value = Introspection> {
    let ttl = prop_oneof![Just(Duration::ZERO), super::duration()];
    (sources(), vec(text(), 0..2), super::duration(), ttl, option::of(expression())).prop_map(
        |(from, audiences, timeout, cache_ttl, when)| Introspection {
            endpoint: EndpointUrl { url: "https://issuer.test/introspect".into(), roots: Vec::new() },
            client_id: "gateway".into(),
            client_secret: shared("introspection"),
            from,
            audiences,
            timeout,
            cache_ttl,
            cache_entries: 1000,
            when,
        },
    )
}

fn authorization() -> impl Strategy<Value = Authorization> {
    let action = || select(vec![AuthorizationAction::Allow, AuthorizationAction::Deny]);
    let claim = (text(), vec(text(), 0..2)).prop_map(|(name, values)| ClaimMatch { name, values });
    let network = prop_oneof![
        (num::u32::ANY, 0..=32_u8).prop_map(|(bits, prefix)| (std::net::IpAddr::V4(bits.into()), prefix)),
        (num::u128::ANY, 0..=128_u8).prop_map(|(bits, prefix)| (std::net::IpAddr::V6(bits.into()), prefix)),
    ]
    // The prefix is at most as long as the address.
    .prop_map(|(address, prefix)| ipnet::IpNet::new(address, prefix).unwrap_or_else(|_| address.into()));
    let parts = (vec(claim, 0..2), vec(text(), 0..2), vec(network, 0..2), vec(method(), 0..2));
    let more = (vec(path().prop_map(|path| PathMatch::prefix(&path)), 0..2), vec(expression(), 0..2));
    let rule =
        (action(), parts, more).prop_map(|(action, (claims, scopes, client_cidrs, methods), (paths, expressions))| {
            AuthorizationRule { name: "".into(), action, claims, scopes, client_cidrs, methods, paths, expressions }
        });
    (btree_map(select(vec!["admins", "everybody"]), rule, 0..2), action()).prop_map(|(rules, default)| Authorization {
        rules: rules.into_iter().map(|(name, rule)| AuthorizationRule { name: name.into(), ..rule }).collect(),
        default,
    })
}

pub(super) fn external() -> impl Strategy<Value = ExternalAuth> {
    let protocol = prop_oneof![
        (vec(header_name(), 0..2), vec(header_name(), 0..2)).prop_map(|(allowed_request_headers, response)| {
            ExternalAuthProtocol::Http {
                path_prefix: "/check".into(),
                allowed_request_headers,
                allowed_response_headers: response,
            }
        }),
        vec(header_name(), 0..2)
            .prop_map(|allowed_request_headers| ExternalAuthProtocol::Grpc { allowed_request_headers }),
    ];
    let part = super::limit::key_part();
    let cache =
        (vec(part, 0..2), super::duration()).prop_map(|(key, ttl)| ExternalAuthCache { key, ttl, max_entries: 1000 });
    (protocol, target(), num::u32::ANY, super::duration(), bool::ANY, option::of(cache)).prop_map(
        |(protocol, backend, max_body_bytes, timeout, fail_open, cache)| ExternalAuth {
            protocol,
            backend,
            max_body_bytes,
            timeout,
            fail_open,
            cache,
        },
    )
}

fn identity() -> impl Strategy<Value = IdentityOutput> {
    let value = prop_oneof![text().prop_map(IdentityValue::Claim), expression().prop_map(IdentityValue::Expression),];
    let xfcc = select(vec![Xfcc::SanitizeSet, Xfcc::Sanitize, Xfcc::Forward]);
    (btree_map(select(vec!["x-user", "x-tenant"]), value, 0..2), bool::ANY, xfcc).prop_map(
        |(headers, keep_credential, xfcc)| IdentityOutput {
            headers: headers
                .into_iter()
                .map(|(name, value)| IdentityHeader { name: HeaderName::from_static(name), value })
                .collect(),
            keep_credential,
            xfcc,
        },
    )
}

fn deny() -> impl Strategy<Value = DenyResponse> {
    let headers = vec(Just((Box::from("X-Why"), Box::from("policy"))), 0..2);
    (option::of(select(vec![302, 401, 403])), headers, option::of(text()), option::of(text()))
        .prop_map(|(status, headers, body, redirect)| DenyResponse { status, headers, body, redirect })
}

pub fn credential() -> impl Strategy<Value = Credential> {
    let hash = prop_oneof![
        num::u8::ANY.prop_map(|byte| ApiKeyHash::Sha256([byte; 32])),
        Just(ApiKeyHash::Argon2("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA".into())),
    ];
    let sets = btree_set(consumer_set(), 0..3).prop_map(|sets| sets.into_iter().collect());
    let consumer = (sets, text(), btree_map(text(), text(), 0..2), vec(hash, 0..3))
        .prop_map(|(sets, id, metadata, keys)| CredentialContent::Consumer { sets, id, metadata, keys });
    let bytes = || vec(num::u8::ANY, 0..32).prop_map(Secret::new);
    let of = |purpose, content: proptest::strategy::BoxedStrategy<CredentialContent>| {
        (credential_key(purpose), content).prop_map(|(key, content)| Credential { key, content })
    };
    prop_oneof![
        of(CredentialUse::Consumer, consumer.boxed()),
        of(CredentialUse::Users, bytes().prop_map(CredentialContent::Users).boxed()),
        of(CredentialUse::Shared, bytes().prop_map(CredentialContent::Shared).boxed()),
    ]
}

pub fn issuer() -> impl Strategy<Value = Issuer> {
    let discovery =
        (option::of(text()), option::of(text())).prop_map(|(end_session_endpoint, introspection_endpoint)| Discovery {
            authorization_endpoint: "https://issuer.test/authorize".into(),
            token_endpoint: "https://issuer.test/token".into(),
            end_session_endpoint,
            introspection_endpoint,
        });
    (issuer_key(), option::of(Just(Arc::from("{\"keys\":[]}"))), option::of(discovery))
        .prop_map(|(key, keys, discovery)| Issuer { key, keys, discovery })
}

fn issuer_key() -> impl Strategy<Value = IssuerKey> {
    select(vec!["https://issuer.test/keys", "http://other.test/keys 1"]).prop_map(|address| IssuerKey(address.into()))
}

fn consumer_set() -> impl Strategy<Value = ConsumerSetKey> {
    select(vec!["keys", "partners"]).prop_map(|method| ConsumerSetKey {
        namespace: "default".into(),
        policy: "shop".into(),
        method: method.into(),
    })
}

fn credential_key(purpose: CredentialUse) -> impl Strategy<Value = CredentialKey> {
    (0..4_u8).prop_map(move |name| CredentialKey {
        purpose,
        namespace: "default".into(),
        name: format!("secret-{name}").into(),
    })
}

fn shared(name: &str) -> CredentialKey {
    CredentialKey { purpose: CredentialUse::Shared, namespace: "default".into(), name: name.into() }
}

fn expression() -> impl Strategy<Value = Expression> {
    select(vec!["auth.method == 'first'", "request.path"]).prop_map(|source| Expression(source.into()))
}

fn text() -> impl Strategy<Value = Box<str>> {
    select(vec!["", "a", "a.b"]).prop_map(Box::from)
}
