//! AuthPolicies: their parts, from what is written to the values of the IR.

mod access;
mod assemble;
mod external;
mod methods;
mod output;
mod tokens;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use http::HeaderName;
use portcullis_crds::auth as api;
use portcullis_crds::{AuthPolicy, AuthPolicySpec};
use portcullis_ir::{
    AuthMethod, AuthorizationAction, AuthorizationRule, BackendKey, ConsumerSetKey, DenyResponse, ExternalAuth,
    IdentityHeader, IssuerKey, Match, Require, Xfcc,
};

use super::credentials::Consumers;
use super::field::{Invalid, at_most};
use super::{PolicyPlan, request, unreadable};
use crate::backend::Resolver;
use crate::world::Reader;
use crate::{IssuerSource, NamespacedName};

pub(crate) use assemble::{assemble, requires};

pub(crate) type AuthPlan = PolicyPlan<AuthPolicy>;

/// Names a part of an AuthPolicy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AuthKey {
    Mode,
    /// By method and path.
    Exempt(String),
    Require,
    Method(Box<str>),
    DefaultAction,
    Rule(Box<str>),
    External,
    /// By its name in lower case.
    Header(Box<str>),
    ForwardCredential,
    Xfcc,
    Unauthenticated,
    Unauthorized,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum AuthValue {
    Shadow(bool),
    Exempt(Match),
    Require(Require),
    /// And its position in the policy.
    Method(usize, AuthMethod),
    DefaultAction(AuthorizationAction),
    Rule(AuthorizationRule),
    External(ExternalAuth),
    Header(IdentityHeader),
    KeepCredential(bool),
    Xfcc(Xfcc),
    Response(DenyResponse),
}

/// What an AuthPolicy needs beside its parts.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AuthExtra {
    pub(crate) backends: Vec<BackendKey>,
    pub(crate) sources: BTreeMap<IssuerKey, IssuerSource>,
    pub(crate) consumers: BTreeMap<ConsumerSetKey, Consumers>,
    /// Headers that the policy sets, as far as they can be read: they are taken from requests even if it is broken.
    pub(crate) headers: Vec<HeaderName>,
    /// What is odd and does not break the policy.
    pub(crate) notes: Vec<String>,
}

impl fmt::Display for AuthKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode => f.write_str("mode"),
            Self::Exempt(what) => write!(f, "exempt {what}"),
            Self::Require => f.write_str("authentication.require"),
            Self::Method(name) => write!(f, "method {name}"),
            Self::DefaultAction => f.write_str("authorization.defaultAction"),
            Self::Rule(name) => write!(f, "authorization rule {name}"),
            Self::External => f.write_str("externalAuth"),
            Self::Header(name) => write!(f, "identity header {name}"),
            Self::ForwardCredential => f.write_str("identity.forwardCredential"),
            Self::Xfcc => f.write_str("identity.xfcc"),
            Self::Unauthenticated => f.write_str("deny.unauthenticated"),
            Self::Unauthorized => f.write_str("deny.unauthorized"),
        }
    }
}

/// What a policy that is being compiled has at hand.
struct Compile<'r, 'w, 'a> {
    reader: &'r Reader<'w, 'a>,
    name: &'r NamespacedName,
    resolver: Resolver<'r, 'w, 'a>,
    extra: AuthExtra,
}

/// The present version, or the last good one where that cannot be honoured.
pub(super) fn compile(reader: &Reader<'_, '_>, name: &NamespacedName) -> AuthPlan {
    let policy = reader.auth_policy(name).unwrap_or_else(|| Arc::new(AuthPolicy::default()));
    let present = plan(reader, name, &policy);
    let Err(why) = &present.parts else { return present };
    let former = reader.last_good(name).filter(|former| {
        let (now, then) = (&policy.metadata.uid, &former.metadata.uid);
        now.is_some() && now == then && !Arc::ptr_eq(former, &policy)
    });
    let Some(former) = former.map(|former| plan(reader, name, &former)) else { return present };
    match former.parts {
        // Where it stands is said by the present version, whatever is wrong with the rest of it.
        Ok(_) => AuthPlan { outdated: Some(why.clone()), strategy: present.strategy, ..former },
        Err(_) => present,
    }
}

fn plan(reader: &Reader<'_, '_>, name: &NamespacedName, policy: &AuthPolicy) -> AuthPlan {
    let resolver = Resolver::of_policy(reader, &name.namespace);
    let mut compile = Compile { reader, name, resolver, extra: AuthExtra::default() };
    let headers = policy.spec.identity.iter().flat_map(|identity| &identity.headers);
    compile.extra.headers = headers.filter_map(|header| header.name.parse().ok()).collect();
    let parts = unreadable(policy).map_or_else(|| compile.parts(&policy.spec), Err);
    let Compile { resolver, mut extra, .. } = compile;
    extra.backends = resolver.finish().0;
    PolicyPlan::new(policy, parts, extra)
}

type Parts = BTreeMap<AuthKey, AuthValue>;

impl Compile<'_, '_, '_> {
    fn parts(&mut self, spec: &AuthPolicySpec) -> Result<Parts, Invalid> {
        let AuthPolicySpec {
            target_refs: _,
            strategy: _,
            mode,
            exempt,
            authentication,
            authorization,
            external_auth,
            identity,
            deny,
        } = spec;
        let mut parts = Parts::new();
        if let Some(mode) = mode {
            parts.insert(AuthKey::Mode, AuthValue::Shadow(*mode == api::AuthMode::Shadow));
        }
        at_most("spec.exempt", exempt, 32)?;
        for (at, exemption) in exempt.iter().enumerate() {
            let (key, matched) = exempted(&format!("spec.exempt[{at}]"), exemption)?;
            parts.insert(AuthKey::Exempt(key), AuthValue::Exempt(matched));
        }
        if let Some(authentication) = authentication {
            self.authentication(authentication, &mut parts)?;
        }
        if let Some(authorization) = authorization {
            access::translate(authorization, &mut parts)?;
        }
        if let Some(external) = external_auth {
            parts.insert(AuthKey::External, AuthValue::External(self.external(external)?));
        }
        if let Some(identity) = identity {
            output::identity(identity, &mut parts)?;
        }
        if let Some(deny) = deny {
            output::deny(deny, &mut parts)?;
        }
        if parts.is_empty() {
            return Err(Invalid::new("spec", "asks for nothing; give authentication, authorization or externalAuth"));
        }
        Ok(parts)
    }

    fn authentication(&mut self, written: &api::Authentication, parts: &mut Parts) -> Result<(), Invalid> {
        let api::Authentication { require, methods } = written;
        if let Some(require) = require {
            let require = match require {
                api::Require::Any => Require::Any,
                api::Require::All => Require::All,
            };
            parts.insert(AuthKey::Require, AuthValue::Require(require));
        }
        at_most("spec.authentication.methods", methods, 16)?;
        if methods.is_empty() {
            return Err(Invalid::new("spec.authentication.methods", "is empty; give a method"));
        }
        for (at, method) in methods.iter().enumerate() {
            let field = format!("spec.authentication.methods[{at}]");
            let value = AuthValue::Method(at, self.method(&field, method)?);
            if parts.insert(AuthKey::Method(method.name.as_str().into()), value).is_some() {
                return Err(Invalid::new(format!("{field}.name"), format!("{} stands twice; rename one", method.name)));
            }
        }
        Ok(())
    }

    fn own(&self, secret: &str) -> NamespacedName {
        NamespacedName::new(Arc::clone(&self.name.namespace), secret)
    }
}

fn exempted(field: &str, exemption: &api::Exemption) -> Result<(String, Match), Invalid> {
    let api::Exemption { path, method } = exemption;
    let verb = method.map_or("*", portcullis_crds::policy::RequestMethod::as_str);
    let key = format!("{verb} {} ({:?})", path.value, path.kind);
    let matched = Match {
        path: request::path(&format!("{field}.path"), path)?,
        method: method.map(request::method),
        ..Match::default()
    };
    Ok((key, matched))
}

/// A part may stand beside those of an override if it can only ask for more: one more way in where one suffices, an
/// exemption, or a rule that allows would undo what was demanded.
pub(super) fn may_add(over: &Parts, key: &AuthKey, value: &AuthValue) -> bool {
    let has = |wanted: fn(&AuthKey) -> bool| over.keys().any(wanted);
    let has_methods = has(|key| matches!(key, AuthKey::Method(_)));
    let has_rules = has(|key| matches!(key, AuthKey::Rule(_) | AuthKey::DefaultAction));
    match (key, value) {
        (AuthKey::Mode | AuthKey::Exempt(_), _) => false,
        (AuthKey::Require, _) => !has_methods,
        (AuthKey::Method(_), _) => {
            !has_methods || over.get(&AuthKey::Require) == Some(&AuthValue::Require(Require::All))
        }
        (AuthKey::DefaultAction, _) => !has_rules,
        (AuthKey::Rule(_), AuthValue::Rule(rule)) => !has_rules || rule.action == AuthorizationAction::Deny,
        (AuthKey::Xfcc, AuthValue::Xfcc(mode)) => *mode != Xfcc::Forward,
        _ => true,
    }
}
