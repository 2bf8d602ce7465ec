//! Ways to prove an identity.

use portcullis_ir::{
    Algorithm, AuthMethod, CertificateRule, EndpointUrl, Expression, Introspection, JwtKeys, JwtMethod, MethodKind,
    Oidc, TokenSource,
};

use crate::bounds::{
    ALGORITHMS, KEY_SET, LABEL, NAME, POLICY_RULES, POLICY_TEXT, POLICY_VALUES, ROOTS, SUBJECT_ALT_NAME, TOKEN_SOURCES,
    ascending, der, duration, list, nanoseconds, required, span, text,
};
use crate::convert::credential::{consumer_set, decode_consumer_set};
use crate::convert::{key, matches};
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;
use crate::proto::auth_method::Kind;
use crate::proto::jwt_method::Keys;
use crate::proto::token_source::Kind as Source;

pub(super) fn encode(method: &AuthMethod) -> proto::AuthMethod {
    let AuthMethod { name, kind } = method;
    let kind = match kind {
        MethodKind::Jwt(jwt) => Kind::Jwt(encode_jwt(jwt)),
        MethodKind::ApiKey { consumers, from } => {
            Kind::ApiKey(proto::ApiKeyMethod { consumers: Some(consumer_set(consumers)), from: sources(from) })
        }
        MethodKind::Basic { users, realm } => {
            Kind::Basic(proto::BasicMethod { users: Some(key::credential(users)), realm: realm.to_string() })
        }
        MethodKind::ClientCertificate { rules } => {
            Kind::ClientCertificate(proto::ClientCertificateMethod { rules: rules.iter().map(encode_rule).collect() })
        }
        MethodKind::Oidc(oidc) => Kind::Oidc(encode_oidc(oidc)),
        MethodKind::Introspection(introspection) => Kind::Introspection(encode_introspection(introspection)),
        MethodKind::Anonymous => Kind::Anonymous(proto::Any {}),
    };
    proto::AuthMethod { name: name.to_string(), kind: Some(kind) }
}

pub(super) fn decode(method: proto::AuthMethod) -> Result<AuthMethod, InvalidResource> {
    let proto::AuthMethod { name, kind } = method;
    let kind = match kind.ok_or_else(|| Problem::Unsupported.into()).at("kind")? {
        Kind::Jwt(jwt) => MethodKind::Jwt(Box::new(decode_jwt(jwt).at("jwt")?)),
        Kind::ApiKey(proto::ApiKeyMethod { consumers, from }) => MethodKind::ApiKey {
            consumers: required(consumers).and_then(decode_consumer_set).at("api_key.consumers")?,
            from: decode_sources(from).at("api_key.from")?,
        },
        Kind::Basic(proto::BasicMethod { users, realm }) => MethodKind::Basic {
            users: required(users).and_then(key::decode_credential).at("basic.users")?,
            realm: text(realm, LABEL).at("basic.realm")?.into(),
        },
        Kind::ClientCertificate(proto::ClientCertificateMethod { rules }) => MethodKind::ClientCertificate {
            rules: list(rules, POLICY_RULES, decode_rule).at("client_certificate.rules")?,
        },
        Kind::Oidc(oidc) => MethodKind::Oidc(Box::new(decode_oidc(oidc).at("oidc")?)),
        Kind::Introspection(asked) => {
            MethodKind::Introspection(Box::new(decode_introspection(asked).at("introspection")?))
        }
        Kind::Anonymous(proto::Any {}) => MethodKind::Anonymous,
    };
    Ok(AuthMethod { name: text(name, NAME).at("name")?.into(), kind })
}

fn encode_jwt(jwt: &JwtMethod) -> proto::JwtMethod {
    let JwtMethod { issuer, audiences, algorithms, leeway, from, keys } = jwt;
    let keys = match keys {
        JwtKeys::Issuer(issuer) => Keys::Issued(issuer.0.to_string()),
        JwtKeys::Inline(set) => Keys::Inline(set.to_string()),
        JwtKeys::Credential(credential) => Keys::Credential(key::credential(credential)),
    };
    proto::JwtMethod {
        issuer: issuer.as_ref().map(ToString::to_string),
        audiences: strings(audiences),
        algorithms: algorithms.iter().map(|algorithm| encode_algorithm(*algorithm)).collect(),
        leeway: nanoseconds(*leeway),
        from: sources(from),
        keys: Some(keys),
    }
}

fn decode_jwt(jwt: proto::JwtMethod) -> Result<JwtMethod, InvalidResource> {
    let proto::JwtMethod { issuer, audiences, algorithms, leeway, from, keys } = jwt;
    let keys = match keys.ok_or_else(|| Problem::Unsupported.into()).at("keys")? {
        Keys::Issued(issuer) => JwtKeys::Issuer(key::decode_issuer(issuer).at("issued")?),
        Keys::Inline(set) => JwtKeys::Inline(text(set, KEY_SET).at("inline")?.into()),
        Keys::Credential(credential) => JwtKeys::Credential(key::decode_credential(credential).at("credential")?),
    };
    let algorithms = list(algorithms, ALGORITHMS, decode_algorithm).at("algorithms")?;
    ascending(&algorithms, |algorithm| *algorithm).at("algorithms")?;
    Ok(JwtMethod {
        issuer: optional(issuer).at("issuer")?,
        audiences: texts(audiences).at("audiences")?,
        algorithms,
        leeway: span(leeway).at("leeway")?,
        from: decode_sources(from).at("from")?,
        keys,
    })
}

fn encode_algorithm(algorithm: Algorithm) -> i32 {
    let algorithm = match algorithm {
        Algorithm::RS256 => proto::Algorithm::Rs256,
        Algorithm::RS384 => proto::Algorithm::Rs384,
        Algorithm::RS512 => proto::Algorithm::Rs512,
        Algorithm::PS256 => proto::Algorithm::Ps256,
        Algorithm::PS384 => proto::Algorithm::Ps384,
        Algorithm::PS512 => proto::Algorithm::Ps512,
        Algorithm::ES256 => proto::Algorithm::Es256,
        Algorithm::ES384 => proto::Algorithm::Es384,
        Algorithm::ES512 => proto::Algorithm::Es512,
        Algorithm::EdDSA => proto::Algorithm::Eddsa,
        Algorithm::HS256 => proto::Algorithm::Hs256,
        Algorithm::HS384 => proto::Algorithm::Hs384,
        Algorithm::HS512 => proto::Algorithm::Hs512,
    };
    algorithm.into()
}

fn decode_algorithm(algorithm: i32) -> Result<Algorithm, InvalidResource> {
    Ok(match proto::Algorithm::try_from(algorithm).map_err(|_| Problem::Unsupported)? {
        proto::Algorithm::Unspecified => return Err(Problem::Missing.into()),
        proto::Algorithm::Rs256 => Algorithm::RS256,
        proto::Algorithm::Rs384 => Algorithm::RS384,
        proto::Algorithm::Rs512 => Algorithm::RS512,
        proto::Algorithm::Ps256 => Algorithm::PS256,
        proto::Algorithm::Ps384 => Algorithm::PS384,
        proto::Algorithm::Ps512 => Algorithm::PS512,
        proto::Algorithm::Es256 => Algorithm::ES256,
        proto::Algorithm::Es384 => Algorithm::ES384,
        proto::Algorithm::Es512 => Algorithm::ES512,
        proto::Algorithm::Eddsa => Algorithm::EdDSA,
        proto::Algorithm::Hs256 => Algorithm::HS256,
        proto::Algorithm::Hs384 => Algorithm::HS384,
        proto::Algorithm::Hs512 => Algorithm::HS512,
    })
}

fn sources(from: &[TokenSource]) -> Vec<proto::TokenSource> {
    let encode = |source: &TokenSource| {
        let kind = match source {
            TokenSource::Header { name, prefix } => {
                Source::Header(proto::TokenHeader { name: name.to_string(), prefix: prefix.to_string() })
            }
            TokenSource::Cookie(name) => Source::Cookie(name.to_string()),
            TokenSource::Query(name) => Source::Query(name.to_string()),
        };
        proto::TokenSource { kind: Some(kind) }
    };
    from.iter().map(encode).collect()
}

fn decode_sources(from: Vec<proto::TokenSource>) -> Result<Vec<TokenSource>, InvalidResource> {
    list(from, TOKEN_SOURCES, |proto::TokenSource { kind }| {
        Ok(match kind.ok_or(Problem::Unsupported)? {
            Source::Header(proto::TokenHeader { name, prefix }) => TokenSource::Header {
                name: matches::decode_header_name(&name).at("name")?,
                prefix: text(prefix, NAME).at("prefix")?.into(),
            },
            Source::Cookie(name) => TokenSource::Cookie(text(name, NAME).at("cookie")?.into()),
            Source::Query(name) => TokenSource::Query(text(name, NAME).at("query")?.into()),
        })
    })
}

fn encode_rule(rule: &CertificateRule) -> proto::CertificateRule {
    let CertificateRule { subject_alt_names, issuers, fingerprints } = rule;
    proto::CertificateRule {
        subject_alt_names: strings(subject_alt_names),
        issuers: strings(issuers),
        fingerprints: fingerprints.iter().map(|fingerprint| fingerprint.to_vec()).collect(),
    }
}

fn decode_rule(rule: proto::CertificateRule) -> Result<CertificateRule, InvalidResource> {
    let proto::CertificateRule { subject_alt_names, issuers, fingerprints } = rule;
    let name = |name| Ok(text(name, SUBJECT_ALT_NAME)?.into());
    let fingerprint = |bytes: Vec<u8>| {
        <[u8; 32]>::try_from(bytes).map_err(|_| Problem::Text("is no SHA-256 hash; it must have 32 bytes").into())
    };
    Ok(CertificateRule {
        subject_alt_names: list(subject_alt_names, POLICY_VALUES, name).at("subject_alt_names")?,
        issuers: texts(issuers).at("issuers")?,
        fingerprints: list(fingerprints, POLICY_VALUES, fingerprint).at("fingerprints")?,
    })
}

fn encode_oidc(oidc: &Oidc) -> proto::Oidc {
    let Oidc {
        issuer,
        discovered,
        roots,
        client_id,
        client_secret,
        scopes,
        redirect_path,
        logout_path,
        post_logout,
        allowed_hosts,
        cookie_name,
        cookie_domain,
        session_lifetime,
    } = oidc;
    proto::Oidc {
        issuer: issuer.to_string(),
        discovered: discovered.0.to_string(),
        roots: roots.iter().map(|root| root.to_vec()).collect(),
        client_id: client_id.to_string(),
        client_secret: Some(key::credential(client_secret)),
        scopes: strings(scopes),
        redirect_path: redirect_path.to_string(),
        logout_path: logout_path.to_string(),
        post_logout: post_logout.as_ref().map(ToString::to_string),
        allowed_hosts: strings(allowed_hosts),
        cookie_name: cookie_name.to_string(),
        cookie_domain: cookie_domain.as_ref().map(ToString::to_string),
        session_lifetime: nanoseconds(*session_lifetime),
    }
}

fn decode_oidc(oidc: proto::Oidc) -> Result<Oidc, InvalidResource> {
    let proto::Oidc {
        issuer,
        discovered,
        roots,
        client_id,
        client_secret,
        scopes,
        redirect_path,
        logout_path,
        post_logout,
        allowed_hosts,
        cookie_name,
        cookie_domain,
        session_lifetime,
    } = oidc;
    let label = |value| -> Result<Box<str>, InvalidResource> { Ok(text(value, LABEL)?.into()) };
    Ok(Oidc {
        issuer: label(issuer).at("issuer")?,
        discovered: key::decode_issuer(discovered).at("discovered")?,
        roots: list(roots, ROOTS, |root| Ok(der(root)?.into())).at("roots")?,
        client_id: label(client_id).at("client_id")?,
        client_secret: required(client_secret).and_then(key::decode_credential).at("client_secret")?,
        scopes: texts(scopes).at("scopes")?,
        redirect_path: label(redirect_path).at("redirect_path")?,
        logout_path: label(logout_path).at("logout_path")?,
        post_logout: optional(post_logout).at("post_logout")?,
        allowed_hosts: texts(allowed_hosts).at("allowed_hosts")?,
        cookie_name: label(cookie_name).at("cookie_name")?,
        cookie_domain: optional(cookie_domain).at("cookie_domain")?,
        session_lifetime: duration(session_lifetime).at("session_lifetime")?,
    })
}

fn encode_introspection(introspection: &Introspection) -> proto::Introspection {
    let Introspection {
        endpoint: EndpointUrl { url, roots },
        client_id,
        client_secret,
        from,
        audiences,
        timeout,
        cache_ttl,
        cache_entries,
        when,
    } = introspection;
    proto::Introspection {
        endpoint: Some(proto::EndpointUrl {
            url: url.to_string(),
            roots: roots.iter().map(|root| root.to_vec()).collect(),
        }),
        client_id: client_id.to_string(),
        client_secret: Some(key::credential(client_secret)),
        from: sources(from),
        audiences: strings(audiences),
        timeout: nanoseconds(*timeout),
        cache_ttl: nanoseconds(*cache_ttl),
        cache_entries: *cache_entries,
        when: when.as_ref().map(|Expression(source)| source.to_string()),
    }
}

fn decode_introspection(introspection: proto::Introspection) -> Result<Introspection, InvalidResource> {
    let proto::Introspection {
        endpoint,
        client_id,
        client_secret,
        from,
        audiences,
        timeout,
        cache_ttl,
        cache_entries,
        when,
    } = introspection;
    let decode_endpoint = |proto::EndpointUrl { url, roots }| -> Result<EndpointUrl, InvalidResource> {
        Ok(EndpointUrl {
            url: text(url, LABEL).at("url")?.into(),
            roots: list(roots, ROOTS, |root| Ok(der(root)?.into())).at("roots")?,
        })
    };
    let when = when.map(|source| text(source, POLICY_TEXT)).transpose().at("when")?;
    Ok(Introspection {
        endpoint: required(endpoint).and_then(decode_endpoint).at("endpoint")?,
        client_id: text(client_id, LABEL).at("client_id")?.into(),
        client_secret: required(client_secret).and_then(key::decode_credential).at("client_secret")?,
        from: decode_sources(from).at("from")?,
        audiences: texts(audiences).at("audiences")?,
        timeout: duration(timeout).at("timeout")?,
        cache_ttl: span(cache_ttl).at("cache_ttl")?,
        cache_entries,
        when: when.map(|source| Expression(source.into())),
    })
}

pub(super) fn strings(values: &[Box<str>]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

pub(super) fn texts(values: Vec<String>) -> Result<Vec<Box<str>>, InvalidResource> {
    list(values, POLICY_VALUES, |value| Ok(text(value, LABEL)?.into()))
}

fn optional(value: Option<String>) -> Result<Option<Box<str>>, InvalidResource> {
    Ok(value.map(|value| text(value, LABEL)).transpose()?.map(Into::into))
}
