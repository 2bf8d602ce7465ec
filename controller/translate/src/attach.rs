//! Which listeners a route is attached to, and for which hosts.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_ir::{Attachment, HostPattern, ListenerKey, RouteHostname, RouteKind};

use crate::condition::Reason;
use crate::gateway::{AttachPoints, Takes};
use crate::world::Reader;

/// The part of a parentRef that chooses among the listeners of its Gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) port: Option<i32>,
}

/// Why a parent takes nothing of a route.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAttached {
    #[error("{parent} has no listener {wanted}; correct sectionName or port")]
    NoMatchingParent { parent: String, wanted: String },
    #[error("no listener that is meant allows {kind}s of namespace {namespace}; see its allowedRoutes and conditions")]
    NotAllowed { kind: RouteKind, namespace: String },
    #[error("no hostname of the route is one of the listeners' ({listeners}); change either")]
    NoMatchingHostname { listeners: String },
}

impl NotAttached {
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::NoMatchingParent { .. } => Reason::NoMatchingParent,
            Self::NotAllowed { .. } => Reason::NotAllowedByListeners,
            Self::NoMatchingHostname { .. } => Reason::NoMatchingListenerHostname,
        }
    }
}

/// "One accepting listener is enough": the route is attached to every listener that is meant, allows it and shares a
/// hostname with it (`ParentReference`, `HTTPRouteSpec.hostnames`). No hostnames mean every host.
pub(crate) fn attach(
    reader: &Reader<'_, '_>,
    (kind, namespace): (RouteKind, &Arc<str>),
    section: Section<'_>,
    parent: &AttachPoints,
    hostnames: &[HostPattern],
) -> Result<BTreeMap<ListenerKey, Vec<RouteHostname>>, NotAttached> {
    let meant: Vec<_> = (parent.points.iter())
        .filter(|point| section.name.is_none_or(|name| *point.listener.name == *name))
        .filter(|point| section.port.is_none_or(|port| point.port == port))
        .collect();
    if meant.is_empty() {
        let parent = parent.parent.to_string();
        return Err(NotAttached::NoMatchingParent { parent, wanted: section.to_string() });
    }
    let allowing: Vec<_> = (meant.into_iter())
        .filter_map(|point| point.takes.as_ref().map(|takes| (&point.listener, takes)))
        .filter(|(_, takes)| takes.kinds.contains(&kind) && allows(reader, namespace, parent, takes))
        .collect();
    if allowing.is_empty() {
        return Err(NotAttached::NotAllowed { kind, namespace: namespace.to_string() });
    }
    let attached: BTreeMap<_, _> = (allowing.iter())
        .map(|(listener, takes)| ((*listener).clone(), intersect(&takes.hostname, hostnames)))
        .filter(|(_, hostnames)| !hostnames.is_empty())
        .collect();
    if attached.is_empty() {
        let listeners: Vec<_> = allowing.iter().map(|(_, takes)| takes.hostname.to_string()).collect();
        return Err(NotAttached::NoMatchingHostname { listeners: listeners.join(", ") });
    }
    Ok(attached)
}

/// Attachments to the listeners of one Gateway, of all parentRefs together, in the order that [`Attachment`]s keep.
pub(crate) fn attachments(listeners: &BTreeMap<ListenerKey, Vec<RouteHostname>>) -> Vec<Attachment> {
    listeners.iter().map(|(listener, hostnames)| Attachment::new(listener.clone(), hostnames.clone())).collect()
}

fn allows(reader: &Reader<'_, '_>, namespace: &Arc<str>, parent: &AttachPoints, takes: &Takes) -> bool {
    // The labels are looked at only where they matter, so that a label elsewhere recompiles nothing.
    let object = takes.namespaces.asks_for_labels().then(|| reader.namespace(namespace)).flatten();
    let labels = object.as_ref().and_then(|object| object.metadata.labels.as_ref());
    takes.namespaces.allows(&parent.namespace, namespace, labels)
}

fn intersect(listener: &HostPattern, hostnames: &[HostPattern]) -> Vec<RouteHostname> {
    let any = [HostPattern::Any];
    let written = if hostnames.is_empty() { &any[..] } else { hostnames };
    let both = |written: &HostPattern| {
        listener.intersect(written).map(|effective| RouteHostname { effective, written: written.clone() })
    };
    let mut list: Vec<_> = written.iter().filter_map(both).collect();
    list.sort();
    list.dedup();
    list
}

impl std::fmt::Display for Section<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.name, self.port) {
            (Some(name), Some(port)) => write!(f, "{name} on port {port}"),
            (Some(name), None) => f.write_str(name),
            (None, Some(port)) => write!(f, "on port {port}"),
            (None, None) => f.write_str("at all"),
        }
    }
}
