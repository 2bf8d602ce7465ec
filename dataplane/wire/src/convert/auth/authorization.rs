//! Authorization.

use http::Method;
use ipnet::IpNet;
use portcullis_ir::{Authorization, AuthorizationAction, AuthorizationRule, ClaimMatch, Expression};

use super::method::{strings, texts};
use crate::bounds::{LABEL, METHOD, NAME, POLICY_RULES, POLICY_TEXT, POLICY_VALUES, ascending, list, text};
use crate::convert::host::{decode_address, encode_address};
use crate::convert::matches;
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;

pub(super) fn encode(authorization: &Authorization) -> proto::Authorization {
    let Authorization { rules, default } = authorization;
    proto::Authorization { rules: rules.iter().map(encode_rule).collect(), default: encode_action(*default) }
}

pub(super) fn decode(authorization: proto::Authorization) -> Result<Authorization, InvalidResource> {
    let proto::Authorization { rules, default } = authorization;
    let rules = list(rules, POLICY_RULES, decode_rule).at("rules")?;
    ascending(&rules, |rule| rule.name.clone()).at("rules")?;
    Ok(Authorization { rules, default: decode_action(default).at("default")? })
}

fn encode_action(action: AuthorizationAction) -> i32 {
    let action = match action {
        AuthorizationAction::Allow => proto::AuthorizationAction::Allow,
        AuthorizationAction::Deny => proto::AuthorizationAction::Deny,
    };
    action.into()
}

fn decode_action(action: i32) -> Result<AuthorizationAction, InvalidResource> {
    match proto::AuthorizationAction::try_from(action) {
        Ok(proto::AuthorizationAction::Allow) => Ok(AuthorizationAction::Allow),
        Ok(proto::AuthorizationAction::Deny) => Ok(AuthorizationAction::Deny),
        Ok(proto::AuthorizationAction::Unspecified) => Err(Problem::Missing.into()),
        Err(_) => Err(Problem::Unsupported.into()),
    }
}

fn encode_rule(rule: &AuthorizationRule) -> proto::AuthorizationRule {
    let AuthorizationRule { name, action, claims, scopes, client_cidrs, methods, paths, expressions } = rule;
    proto::AuthorizationRule {
        name: name.to_string(),
        action: encode_action(*action),
        claims: (claims.iter())
            .map(|ClaimMatch { name, values }| proto::ClaimMatch { name: name.to_string(), values: strings(values) })
            .collect(),
        scopes: strings(scopes),
        client_cidrs: (client_cidrs.iter())
            .map(|network| proto::Network {
                address: encode_address(network.addr()),
                prefix: u32::from(network.prefix_len()),
            })
            .collect(),
        methods: methods.iter().map(ToString::to_string).collect(),
        paths: paths.iter().map(matches::encode_path).collect(),
        expressions: expressions.iter().map(|Expression(source)| source.to_string()).collect(),
    }
}

fn decode_rule(rule: proto::AuthorizationRule) -> Result<AuthorizationRule, InvalidResource> {
    let proto::AuthorizationRule { name, action, claims, scopes, client_cidrs, methods, paths, expressions } = rule;
    let claim = |proto::ClaimMatch { name, values }| -> Result<_, InvalidResource> {
        Ok(ClaimMatch { name: text(name, LABEL).at("name")?.into(), values: texts(values).at("values")? })
    };
    let method = |method| {
        let method = Method::from_bytes(text(method, METHOD)?.as_bytes());
        method.map_err(|_| Problem::Text("is no HTTP method; use a token of RFC 9110").into())
    };
    let expression = |source| Ok(Expression(text(source, POLICY_TEXT)?.into()));
    Ok(AuthorizationRule {
        name: text(name, NAME).at("name")?.into(),
        action: decode_action(action).at("action")?,
        claims: list(claims, POLICY_VALUES, claim).at("claims")?,
        scopes: texts(scopes).at("scopes")?,
        client_cidrs: list(client_cidrs, POLICY_VALUES, decode_network).at("client_cidrs")?,
        methods: list(methods, POLICY_VALUES, method).at("methods")?,
        paths: list(paths, POLICY_VALUES, |path| matches::decode_path(Some(path))).at("paths")?,
        expressions: list(expressions, POLICY_VALUES, expression).at("expressions")?,
    })
}

fn decode_network(network: proto::Network) -> Result<IpNet, InvalidResource> {
    let proto::Network { address, prefix } = network;
    let address = decode_address(&address).at("address")?;
    let network = u8::try_from(prefix).ok().and_then(|prefix| IpNet::new(address, prefix).ok());
    let problem = Problem::OutOfRange { value: prefix.into(), expected: "at most the bits of the address" };
    network.ok_or_else(|| problem.into()).at("prefix")
}
