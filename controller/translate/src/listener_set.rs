//! ListenerSets: listeners that others add to a Gateway, if it lets them.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_api::gateways::{
    Gateway, GatewayListeners, GatewayListenersAllowedRoutes, GatewayListenersAllowedRoutesKinds,
    GatewayListenersAllowedRoutesNamespaces, GatewayListenersAllowedRoutesNamespacesFrom,
    GatewayListenersAllowedRoutesNamespacesSelector, GatewayListenersAllowedRoutesNamespacesSelectorMatchExpressions,
    GatewayListenersTls, GatewayListenersTlsCertificateRefs, GatewayListenersTlsMode,
};
use gateway_api::listenersets::{
    ListenerSet, ListenerSetListeners, ListenerSetListenersAllowedRoutes, ListenerSetListenersAllowedRoutesKinds,
    ListenerSetListenersAllowedRoutesNamespaces, ListenerSetListenersAllowedRoutesNamespacesFrom,
    ListenerSetListenersAllowedRoutesNamespacesSelector,
    ListenerSetListenersAllowedRoutesNamespacesSelectorMatchExpressions, ListenerSetListenersTls,
    ListenerSetListenersTlsCertificateRefs, ListenerSetListenersTlsMode, ListenerSetParentRef,
};
use portcullis_ir::{GatewayKey, ListenerKey, ListenerSetKey};

use crate::condition::{ConditionType, Reason, State, Verdict};
use crate::gateway::AttachPoint;
use crate::listener::GATEWAY_GROUP;
use crate::listener_plan::{ListenerPlan, pending};
use crate::namespaces::{AllowedNamespaces, InvalidSelector};
use crate::world::World;
use crate::{Inputs, NamespacedName};

/// A ListenerSet that names a Gateway.
#[derive(Clone, Copy)]
pub(crate) struct Set<'i> {
    pub(crate) name: &'i NamespacedName,
    pub(crate) object: &'i ListenerSet,
}

/// What a ListenerSet comes to.
pub(crate) struct SetPlan {
    pub(crate) name: NamespacedName,
    /// None of a set that the Gateway does not take.
    pub(crate) listeners: Vec<ListenerPlan>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// Why a Gateway does not take a ListenerSet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAllowed {
    #[error("the Gateway takes no ListenerSets; have spec.allowedListeners set there")]
    None,
    #[error("the Gateway takes no ListenerSets of this namespace; have spec.allowedListeners changed there")]
    Namespace,
    #[error("spec.allowedListeners of the Gateway cannot be read, so it takes none: {0}")]
    Selector(#[from] InvalidSelector),
}

impl Set<'_> {
    pub(crate) fn key(&self) -> ListenerSetKey {
        ListenerSetKey { namespace: Arc::clone(&self.name.namespace), name: Arc::clone(&self.name.name) }
    }

    /// What routes see of a set that the Gateway does not take: listeners that take nothing.
    pub(crate) fn refusing_points(&self, gateway: &GatewayKey) -> Vec<AttachPoint> {
        let entries = self.object.spec.listeners.iter();
        let key = |entry: &ListenerSetListeners| ListenerKey::of_set(gateway.clone(), self.key(), entry.name.as_str());
        entries.map(|entry| AttachPoint { listener: key(entry), port: entry.port, takes: None }).collect()
    }

    /// The entries as a Gateway would write them, so that one judge is enough; or why they do not count.
    pub(crate) fn listeners(&self, world: &World<'_>, allowed: &Allowed) -> Result<Vec<GatewayListeners>, NotAllowed> {
        let Allowed { own, namespaces } = allowed;
        let namespaces = namespaces.as_ref().map_err(Clone::clone)?.as_ref().ok_or(NotAllowed::None)?;
        let namespace = &self.name.namespace;
        let labels = world.inputs.namespaces.get(namespace).and_then(|object| object.metadata.labels.as_ref());
        if !namespaces.allows(own, namespace, labels) {
            return Err(NotAllowed::Namespace);
        }
        Ok(self.object.spec.listeners.iter().map(listener).collect())
    }
}

/// Whose ListenerSets a Gateway takes.
pub(crate) struct Allowed {
    own: Arc<str>,
    namespaces: Result<Option<AllowedNamespaces>, InvalidSelector>,
}

impl Allowed {
    pub(crate) fn by(name: &NamespacedName, gateway: &Gateway) -> Self {
        let allowed = gateway.spec.allowed_listeners.as_ref().and_then(|allowed| allowed.namespaces.as_ref());
        Self { own: Arc::clone(&name.namespace), namespaces: AllowedNamespaces::of_listener_sets(allowed) }
    }
}

impl SetPlan {
    /// "Successfully attached" (`GatewayStatus.attachedListenerSets`).
    pub(crate) fn is_accepted(&self) -> bool {
        self.verdicts.iter().any(|verdict| verdict.kind == ConditionType::Accepted && verdict.state == State::True)
    }

    pub(crate) fn refused(name: &NamespacedName, why: &NotAllowed) -> Self {
        let verdicts = [ConditionType::Accepted, ConditionType::Programmed]
            .map(|kind| Verdict::no(kind, Reason::NotAllowed, why.to_string()));
        Self { name: name.clone(), listeners: Vec::new(), verdicts: verdicts.to_vec() }
    }

    pub(crate) fn new(name: &NamespacedName, listeners: Vec<ListenerPlan>, parent_is_accepted: bool) -> Self {
        let (accepted, programmed) = (ConditionType::Accepted, ConditionType::Programmed);
        // An entry that nothing can be served with does not make a set valid: its references, too, must be of use.
        let invalid: Vec<&str> = (listeners.iter())
            .filter(|listener| !ListenerPlan::awaits_data_plane(listener))
            .map(|listener| &*listener.key.name)
            .collect();
        let verdicts = if !parent_is_accepted {
            let message = "the Gateway is not accepted; see its conditions";
            vec![
                Verdict::no(accepted, Reason::ParentNotAccepted, message),
                Verdict::no(programmed, Reason::ParentNotProgrammed, message),
            ]
        } else if invalid.len() == listeners.len() {
            let message = "no listener is valid; see the conditions of each";
            vec![
                Verdict::no(accepted, Reason::ListenersNotValid, message),
                Verdict::no(programmed, Reason::ListenersNotValid, message),
            ]
        } else if invalid.is_empty() {
            vec![Verdict::yes(accepted, Reason::Accepted, "the ListenerSet is valid"), pending()]
        } else {
            let message = format!("listeners {} are not valid and are not served; the others are", invalid.join(", "));
            vec![Verdict::yes(accepted, Reason::ListenersNotValid, message), pending()]
        };
        Self { name: name.clone(), listeners, verdicts }
    }
}

/// ListenerSets by the Gateway that they name, in order of precedence: the oldest first, then "alphabetically by
/// '{namespace}/{name}'" (`ListenerSetSpec.listeners`).
pub(crate) fn by_gateway(inputs: &Inputs) -> BTreeMap<NamespacedName, Vec<Set<'_>>> {
    let mut found: BTreeMap<NamespacedName, Vec<Set<'_>>> = BTreeMap::new();
    for (name, object) in &inputs.listener_sets {
        let ListenerSetParentRef { group, kind, name: gateway, namespace } = &object.spec.parent_ref;
        let (group, kind) = (group.as_deref().unwrap_or(GATEWAY_GROUP), kind.as_deref().unwrap_or("Gateway"));
        if (group, kind) == (GATEWAY_GROUP, "Gateway") {
            let namespace = namespace.as_deref().map_or_else(|| Arc::clone(&name.namespace), Arc::from);
            let gateway = NamespacedName::new(namespace, gateway.as_str());
            found.entry(gateway).or_default().push(Set { name, object });
        }
    }
    for sets in found.values_mut() {
        sets.sort_by_cached_key(|Set { name, object }| {
            let created = object.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (created.unwrap_or_default(), name.to_string())
        });
    }
    found
}

fn listener(entry: &ListenerSetListeners) -> GatewayListeners {
    let ListenerSetListeners { allowed_routes, hostname, name, port, protocol, tls } = entry;
    GatewayListeners {
        allowed_routes: allowed_routes.as_ref().map(allowed),
        hostname: hostname.clone(),
        name: name.clone(),
        port: *port,
        protocol: protocol.clone(),
        tls: tls.as_ref().map(terminated),
    }
}

fn allowed(allowed: &ListenerSetListenersAllowedRoutes) -> GatewayListenersAllowedRoutes {
    let ListenerSetListenersAllowedRoutes { kinds, namespaces } = allowed;
    let kind = |kind: &ListenerSetListenersAllowedRoutesKinds| {
        let ListenerSetListenersAllowedRoutesKinds { group, kind } = kind;
        GatewayListenersAllowedRoutesKinds { group: group.clone(), kind: kind.clone() }
    };
    let kinds = kinds.as_ref().map(|kinds| kinds.iter().map(kind).collect());
    GatewayListenersAllowedRoutes { kinds, namespaces: namespaces.as_ref().map(namespaces_of) }
}

fn namespaces_of(namespaces: &ListenerSetListenersAllowedRoutesNamespaces) -> GatewayListenersAllowedRoutesNamespaces {
    let ListenerSetListenersAllowedRoutesNamespaces { from, selector } = namespaces;
    let from = from.as_ref().map(|from| match from {
        ListenerSetListenersAllowedRoutesNamespacesFrom::All => GatewayListenersAllowedRoutesNamespacesFrom::All,
        ListenerSetListenersAllowedRoutesNamespacesFrom::Same => GatewayListenersAllowedRoutesNamespacesFrom::Same,
        ListenerSetListenersAllowedRoutesNamespacesFrom::Selector => {
            GatewayListenersAllowedRoutesNamespacesFrom::Selector
        }
    });
    let selector = selector.as_ref().map(|selector| {
        let ListenerSetListenersAllowedRoutesNamespacesSelector { match_expressions, match_labels } = selector;
        let expression = |one: &ListenerSetListenersAllowedRoutesNamespacesSelectorMatchExpressions| {
            let ListenerSetListenersAllowedRoutesNamespacesSelectorMatchExpressions { key, operator, values } = one;
            GatewayListenersAllowedRoutesNamespacesSelectorMatchExpressions {
                key: key.clone(),
                operator: operator.clone(),
                values: values.clone(),
            }
        };
        GatewayListenersAllowedRoutesNamespacesSelector {
            match_expressions: match_expressions.as_ref().map(|list| list.iter().map(expression).collect()),
            match_labels: match_labels.clone(),
        }
    });
    GatewayListenersAllowedRoutesNamespaces { from, selector }
}

fn terminated(tls: &ListenerSetListenersTls) -> GatewayListenersTls {
    let ListenerSetListenersTls { certificate_refs, mode, options } = tls;
    GatewayListenersTls {
        certificate_refs: certificate_refs.as_ref().map(|list| list.iter().map(certificate_ref).collect()),
        mode: mode.as_ref().map(|mode| match mode {
            ListenerSetListenersTlsMode::Terminate => GatewayListenersTlsMode::Terminate,
            ListenerSetListenersTlsMode::Passthrough => GatewayListenersTlsMode::Passthrough,
        }),
        options: options.clone(),
    }
}

pub(crate) fn certificate_ref(
    reference: &ListenerSetListenersTlsCertificateRefs,
) -> GatewayListenersTlsCertificateRefs {
    let ListenerSetListenersTlsCertificateRefs { group, kind, name, namespace } = reference;
    GatewayListenersTlsCertificateRefs {
        group: group.clone(),
        kind: kind.clone(),
        name: name.clone(),
        namespace: namespace.clone(),
    }
}
