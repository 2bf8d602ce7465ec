//! The places of one rule on one listener where policies can be, from the most general to the most specific.

use std::sync::Arc;

use portcullis_ir::{ListenerKey, PolicyOrigin, PolicyTarget, RouteKey};

use super::index::{Place, Targets};
use super::{Policy, PolicyPlan};
use crate::{Kind, NamespacedName};

/// A policy at its place.
#[derive(Debug)]
pub(crate) struct Level<P: Policy> {
    pub(crate) target: PolicyTarget,
    pub(crate) plan: Arc<PolicyPlan<P>>,
}

impl<P: Policy> Clone for Level<P> {
    fn clone(&self) -> Self {
        Self { target: self.target.clone(), plan: Arc::clone(&self.plan) }
    }
}

impl<P: Policy> Level<P> {
    pub(crate) fn origin(&self) -> PolicyOrigin {
        let PolicyPlan { name, uid, .. } = &*self.plan;
        PolicyOrigin {
            namespace: Arc::clone(&name.namespace),
            name: Arc::clone(&name.name),
            uid: Arc::clone(uid),
            target: self.target.clone(),
        }
    }
}

/// The policies that reach a listener.
pub(crate) fn of_listener<P: Policy>(targets: &Targets<P>, listener: &ListenerKey) -> Vec<Level<P>> {
    let gateway = NamespacedName::from(&listener.gateway);
    let whole = Place::whole(Kind::Gateway, gateway.clone());
    let mut levels = Vec::new();
    levels.extend(targets.level(&whole, || PolicyTarget::Gateway(listener.gateway.clone())));
    let section = match &listener.set {
        None => Place::section(Kind::Gateway, gateway, Arc::clone(&listener.name)),
        Some(set) => {
            let name = NamespacedName::new(Arc::clone(&set.namespace), Arc::clone(&set.name));
            let whole = Place::whole(Kind::ListenerSet, name.clone());
            levels.extend(targets.level(&whole, || PolicyTarget::ListenerSet(set.clone())));
            Place::section(Kind::ListenerSet, name, Arc::clone(&listener.name))
        }
    };
    levels.extend(targets.level(&section, || PolicyTarget::Listener(listener.clone())));
    levels
}

/// The policies of a route and of one of its rules.
pub(crate) fn of_rule<P: Policy>(targets: &Targets<P>, key: &RouteKey, rule: Option<&str>) -> Vec<Level<P>> {
    let (kind, namespace, name) = (key.kind, &key.namespace, &key.name);
    let route = NamespacedName::new(Arc::clone(namespace), Arc::clone(name));
    let mut levels = Vec::new();
    let whole = Place::whole(kind.into(), route.clone());
    levels.extend(targets.level(&whole, || PolicyTarget::Route {
        kind,
        namespace: Arc::clone(namespace),
        name: Arc::clone(name),
    }));
    if let Some(rule) = rule {
        let rule: Arc<str> = rule.into();
        let section = Place::section(kind.into(), route, Arc::clone(&rule));
        levels.extend(targets.level(&section, || PolicyTarget::Rule {
            kind,
            namespace: Arc::clone(namespace),
            name: Arc::clone(name),
            rule,
        }));
    }
    levels
}
