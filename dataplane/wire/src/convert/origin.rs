//! Where a part of a policy comes from, and the expressions in it.

use portcullis_ir::{Expression, PolicyOrigin, PolicyTarget};

use super::key;
use crate::bounds::{EXPRESSION, NAME, text};
use crate::invalid::{At, InvalidResource, Problem};
use crate::proto;
use crate::proto::policy_origin::Target;

pub(super) fn encode(origin: &PolicyOrigin) -> proto::PolicyOrigin {
    let PolicyOrigin { namespace, name, uid, target } = origin;
    let route = |kind, namespace: &str, name: &str, rule: &str| {
        Target::Route(proto::RouteTarget {
            kind: key::encode_route_kind(kind).into(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            rule: rule.to_owned(),
        })
    };
    let target = match target {
        PolicyTarget::Gateway(key) => Target::Gateway(key::encode_gateway(key)),
        PolicyTarget::ListenerSet(key) => Target::ListenerSet(key::listener_set(key)),
        PolicyTarget::Listener(key) => Target::Listener(key::listener(key)),
        PolicyTarget::Route { kind, namespace, name } => route(*kind, namespace, name, ""),
        PolicyTarget::Rule { kind, namespace, name, rule } => route(*kind, namespace, name, rule),
    };
    proto::PolicyOrigin {
        namespace: namespace.to_string(),
        name: name.to_string(),
        uid: uid.to_string(),
        target: Some(target),
    }
}

pub(super) fn decode(origin: proto::PolicyOrigin) -> Result<PolicyOrigin, InvalidResource> {
    let proto::PolicyOrigin { namespace, name, uid, target } = origin;
    let target = match target.ok_or_else(|| Problem::Unsupported.into()).at("target")? {
        Target::Gateway(gateway) => PolicyTarget::Gateway(key::decode_gateway(gateway).at("gateway")?),
        Target::ListenerSet(set) => PolicyTarget::ListenerSet(key::decode_listener_set(set).at("listener_set")?),
        Target::Listener(listener) => PolicyTarget::Listener(key::decode_listener(listener).at("listener")?),
        Target::Route(route) => decode_route(route).at("route")?,
    };
    if uid.is_empty() {
        return Err(InvalidResource::new(Problem::Missing)).at("uid");
    }
    Ok(PolicyOrigin {
        namespace: crate::bounds::name(namespace).at("namespace")?,
        name: crate::bounds::name(name).at("name")?,
        // `namespace/name` where there is none.
        uid: text(uid, 2 * NAME + 1).at("uid")?.into(),
        target,
    })
}

fn decode_route(route: proto::RouteTarget) -> Result<PolicyTarget, InvalidResource> {
    let proto::RouteTarget { kind, namespace, name, rule } = route;
    let kind = key::decode_route_kind(kind).at("kind")?;
    let namespace = crate::bounds::name(namespace).at("namespace")?;
    let name = crate::bounds::name(name).at("name")?;
    if rule.is_empty() {
        return Ok(PolicyTarget::Route { kind, namespace, name });
    }
    Ok(PolicyTarget::Rule { kind, namespace, name, rule: crate::bounds::name(rule).at("rule")? })
}

/// Whether it compiles is for its user to judge: the wire knows no CEL.
pub(super) fn decode_expression(source: String) -> Result<Expression, InvalidResource> {
    Ok(Expression(text(source, EXPRESSION)?.into()))
}
