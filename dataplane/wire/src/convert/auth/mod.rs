//! Authentication and authorization. What this build does not know of a policy denies, and is noted.

mod authorization;
mod external;
mod identity;
mod method;

pub(super) use external::{decode as decode_external, encode as encode_external};

use http::HeaderName;
use portcullis_ir::{Auth, AuthPolicy, BrokenAuth, ListenerKey, PolicyOrigin, PolicyTarget, Require};

use super::{matches, origin};
use crate::bounds::{AUTH_METHODS, EDITS, EXEMPT, POLICY_ORIGINS, POLICY_TEXT, list, required, text};
use crate::invalid::{At, Diagnostics, InvalidResource, Problem};
use crate::proto;
use crate::proto::auth::Kind;

pub(super) fn encode(auth: &Auth) -> proto::Auth {
    let kind = match auth {
        Auth::Enforce(policy) => Kind::Enforce(encode_policy(policy)),
        Auth::Broken(BrokenAuth { origin, message, identity_headers }) => Kind::Broken(proto::BrokenAuth {
            origin: Some(origin::encode(origin)),
            message: message.to_string(),
            identity_headers: identity_headers.iter().map(ToString::to_string).collect(),
        }),
    };
    proto::Auth { kind: Some(kind) }
}

/// A policy of a listener, or of a rule there. One that cannot be read is a broken one: a place that was to ask who its
/// clients are never serves as if it did not.
pub(super) fn decode(auth: proto::Auth, listener: &ListenerKey, diagnostics: &mut Diagnostics) -> Auth {
    let unreadable = Auth::Broken(BrokenAuth {
        origin: named(&auth).unwrap_or_else(|| somewhere(listener)),
        message: "holds what this data plane does not know; upgrade it to the version of the controller".into(),
        identity_headers: identity_headers(&auth),
    });
    diagnostics.instead(decode_known(auth).at("auth"), || unreadable)
}

fn decode_known(auth: proto::Auth) -> Result<Auth, InvalidResource> {
    let proto::Auth { kind } = auth;
    Ok(match kind.ok_or(Problem::Unsupported)? {
        Kind::Enforce(policy) => Auth::Enforce(Box::new(decode_policy(policy).at("enforce")?)),
        Kind::Broken(broken) => Auth::Broken(decode_broken(broken).at("broken")?),
    })
}

fn decode_broken(broken: proto::BrokenAuth) -> Result<BrokenAuth, InvalidResource> {
    let proto::BrokenAuth { origin, message, identity_headers } = broken;
    Ok(BrokenAuth {
        origin: required(origin).and_then(origin::decode).at("origin")?,
        message: text(message, POLICY_TEXT).at("message")?.into(),
        identity_headers: header_names(identity_headers).at("identity_headers")?,
    })
}

/// Which policy it is, as far as that can be read.
fn named(auth: &proto::Auth) -> Option<PolicyOrigin> {
    let origin = match auth.kind.as_ref()? {
        Kind::Enforce(policy) => policy.origins.last()?,
        Kind::Broken(broken) => broken.origin.as_ref()?,
    };
    origin::decode(origin.clone()).ok()
}

fn somewhere(listener: &ListenerKey) -> PolicyOrigin {
    let gateway = &listener.gateway;
    PolicyOrigin {
        namespace: gateway.namespace.clone(),
        name: gateway.name.clone(),
        uid: "unknown".into(),
        target: PolicyTarget::Listener(listener.clone()),
    }
}

fn identity_headers(auth: &proto::Auth) -> Vec<HeaderName> {
    let names: Vec<&String> = match &auth.kind {
        Some(Kind::Enforce(policy)) => policy.identity_headers.iter().map(|header| &header.name).collect(),
        Some(Kind::Broken(broken)) => broken.identity_headers.iter().collect(),
        None => Vec::new(),
    };
    names.into_iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).take(*EDITS.end()).collect()
}

fn encode_policy(policy: &AuthPolicy) -> proto::AuthPolicy {
    let AuthPolicy {
        origins,
        shadow,
        exempt,
        require,
        methods,
        authorization,
        external,
        identity,
        unauthenticated,
        unauthorized,
    } = policy;
    let require = match require {
        Require::Any => proto::Require::Any,
        Require::All => proto::Require::All,
    };
    proto::AuthPolicy {
        origins: origins.iter().map(origin::encode).collect(),
        shadow: *shadow,
        exempt: exempt.iter().map(matches::encode).collect(),
        require: require.into(),
        methods: methods.iter().map(method::encode).collect(),
        authorization: authorization.as_ref().map(authorization::encode),
        external: external.as_ref().map(external::encode),
        identity_headers: identity.headers.iter().map(identity::encode_header).collect(),
        keep_credential: identity.keep_credential,
        xfcc: identity::encode_xfcc(identity.xfcc),
        unauthenticated: Some(identity::encode_response(unauthenticated)),
        unauthorized: Some(identity::encode_response(unauthorized)),
    }
}

fn decode_policy(policy: proto::AuthPolicy) -> Result<AuthPolicy, InvalidResource> {
    let proto::AuthPolicy {
        origins,
        shadow,
        exempt,
        require,
        methods,
        authorization,
        external,
        identity_headers,
        keep_credential,
        xfcc,
        unauthenticated,
        unauthorized,
    } = policy;
    let require = match proto::Require::try_from(require) {
        Ok(proto::Require::Any) => Require::Any,
        Ok(proto::Require::All) => Require::All,
        Ok(proto::Require::Unspecified) => return Err(InvalidResource::new(Problem::Missing)).at("require"),
        Err(_) => return Err(InvalidResource::new(Problem::Unsupported)).at("require"),
    };
    let response = |response| required(response).and_then(identity::decode_response);
    Ok(AuthPolicy {
        origins: list(origins, POLICY_ORIGINS, origin::decode).at("origins")?,
        shadow,
        exempt: list(exempt, EXEMPT, matches::decode).at("exempt")?,
        require,
        methods: list(methods, AUTH_METHODS, method::decode).at("methods")?,
        authorization: authorization.map(authorization::decode).transpose().at("authorization")?,
        external: external.map(external::decode).transpose().at("external")?,
        identity: identity::decode(identity_headers, keep_credential, xfcc)?,
        unauthenticated: response(unauthenticated).at("unauthenticated")?,
        unauthorized: response(unauthorized).at("unauthorized")?,
    })
}

fn header_names(names: Vec<String>) -> Result<Vec<HeaderName>, InvalidResource> {
    list(names, EDITS, |name| matches::decode_header_name(&name))
}

fn encode_names(names: &[HeaderName]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}
