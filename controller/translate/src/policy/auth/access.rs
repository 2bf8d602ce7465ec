//! Authorization.

use ipnet::IpNet;
use portcullis_crds::auth as api;
use portcullis_ir::{AuthorizationAction, AuthorizationRule, ClaimMatch};

use super::{AuthKey, AuthValue, Parts};
use crate::policy::field::{Invalid, at_most, expressions};
use crate::policy::request;

pub(super) fn translate(written: &api::Authorization, parts: &mut Parts) -> Result<(), Invalid> {
    let api::Authorization { rules, default_action } = written;
    if let Some(default) = default_action {
        parts.insert(AuthKey::DefaultAction, AuthValue::DefaultAction(action(*default)));
    }
    at_most("spec.authorization.rules", rules, 32)?;
    for (at, written) in rules.iter().enumerate() {
        let field = format!("spec.authorization.rules[{at}]");
        let value = AuthValue::Rule(rule(&field, written)?);
        if parts.insert(AuthKey::Rule(written.name.as_str().into()), value).is_some() {
            return Err(Invalid::new(format!("{field}.name"), format!("{} stands twice; rename one", written.name)));
        }
    }
    if rules.is_empty() && default_action.is_none() {
        return Err(Invalid::new("spec.authorization", "gives neither rules nor defaultAction; give one"));
    }
    Ok(())
}

fn action(action: api::AuthorizationAction) -> AuthorizationAction {
    match action {
        api::AuthorizationAction::Allow => AuthorizationAction::Allow,
        api::AuthorizationAction::Deny => AuthorizationAction::Deny,
    }
}

fn rule(field: &str, written: &api::AuthorizationRule) -> Result<AuthorizationRule, Invalid> {
    let api::AuthorizationRule { name, action: does, claims, scopes, client_cidrs, methods, paths, cel } = written;
    let claim = |claim: &api::ClaimMatch| {
        let api::ClaimMatch { name, values } = claim;
        ClaimMatch { name: name.as_str().into(), values: values.iter().map(|one| one.as_str().into()).collect() }
    };
    let network = |(at, text): (usize, &String)| {
        let wrong = |_| {
            let why = format!("{text:?} is no CIDR; write it like 10.0.0.0/8");
            Invalid::new(format!("{field}.clientCIDRs[{at}]"), why)
        };
        text.parse::<IpNet>().map_err(wrong)
    };
    let paths = paths.iter().enumerate().map(|(at, path)| request::path(&format!("{field}.paths[{at}]"), path));
    Ok(AuthorizationRule {
        name: name.as_str().into(),
        action: action(*does),
        claims: claims.iter().map(claim).collect(),
        scopes: scopes.iter().map(|scope| scope.as_str().into()).collect(),
        client_cidrs: client_cidrs.iter().enumerate().map(network).collect::<Result<_, _>>()?,
        methods: methods.iter().copied().map(request::method).collect(),
        paths: paths.collect::<Result<_, _>>()?,
        expressions: expressions(&format!("{field}.cel"), cel)?,
    })
}
