//! References to backends: from a `backendRef` to the key of what it names, and from the key to what is served.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use portcullis_ir::{Backend, BackendKey, BackendKind, Endpoints, Protocol, RouteKind, Source, Transport};

use crate::condition::Reason;
use crate::filter_view::RefView;
use crate::grants::{From, To, permitted};
use crate::listener::GATEWAY_GROUP;
use crate::service;
use crate::tls_policy;
use crate::world::Reader;
use crate::x_backend;
use crate::{Kind, NamespacedName, ObjectRef};

/// How long connecting may take where no object says otherwise.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What the data plane gets for one key.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct CompiledBackend {
    pub(crate) backend: Option<Arc<Backend>>,
    pub(crate) endpoints: Option<Arc<Endpoints>>,
}

/// Why a reference names nothing that could be sent to. Its share of requests answers 500.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidReference {
    #[error("{kind} of group {group:?} is no backend; use a Service, or a Backend of portcullis.dev")]
    Kind { group: String, kind: String },
    #[error("{kind} {to} is in another namespace that does not allow it; add a ReferenceGrant there")]
    NotPermitted { kind: BackendKind, to: NamespacedName },
    #[error("{kind} {to} does not exist; create it or correct the name")]
    NotFound { kind: BackendKind, to: NamespacedName },
    #[error("{kind} {to} cannot be read: {why}")]
    Unreadable { kind: BackendKind, to: NamespacedName, why: String },
    #[error("Service {to} is referred to without a port; give one")]
    NoPort { to: NamespacedName },
    #[error("Service {to} has no port {port}; it has {known}")]
    UnknownPort { to: NamespacedName, port: i32, known: String },
    #[error("port {port} is not the port of every endpoint of {kind} {to} ({known}); leave the port out")]
    BackendPort { kind: BackendKind, to: NamespacedName, port: i32, known: String },
    #[error(
        "port {port} of Service {to} is {protocol}, which no {route} can use; use a {} port",
        route.transport().as_str()
    )]
    Transport { to: NamespacedName, port: u16, protocol: String, route: RouteKind },
    #[error("{kind} {to} is reached over TCP, which no {route} can use; use a Service with a UDP port")]
    TransportOfBackend { kind: BackendKind, to: NamespacedName, route: RouteKind },
    #[error(
        "appProtocol {protocol:?} of Service {to} port {port} is not supported; use kubernetes.io/h2c, kubernetes.io/ws or none"
    )]
    AppProtocol { to: NamespacedName, port: u16, protocol: String },
    #[error("Service {to} is of type ExternalName, which is not supported; use a Backend of portcullis.dev")]
    ExternalName { to: NamespacedName },
    #[error("{kind} {to} has protocol TCP, which no {route} can use; use HTTP, or a TCPRoute")]
    Streams { kind: BackendKind, to: NamespacedName, route: RouteKind },
    #[error("{kind} {to} cannot be used: {why}")]
    Broken { kind: BackendKind, to: NamespacedName, why: String },
}

impl InvalidReference {
    /// The reason that it gives `ResolvedRefs`.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::Kind { .. } | Self::ExternalName { .. } | Self::TransportOfBackend { .. } => Reason::InvalidKind,
            Self::NotPermitted { .. } => Reason::RefNotPermitted,
            Self::NotFound { .. } | Self::NoPort { .. } | Self::UnknownPort { .. } | Self::BackendPort { .. } => {
                Reason::BackendNotFound
            }
            Self::Transport { .. } | Self::AppProtocol { .. } | Self::Streams { .. } => Reason::UnsupportedProtocol,
            Self::Unreadable { .. } | Self::Broken { .. } => Reason::InvalidBackend,
        }
    }
}

/// Resolves the references of one route and remembers what it used.
pub(crate) struct Resolver<'r, 'w, 'a> {
    reader: &'r Reader<'w, 'a>,
    from: RouteKind,
    /// Group and kind of the object that refers, as ReferenceGrants name it.
    referrer: (&'static str, &'static str),
    namespace: Arc<str>,
    used: BTreeSet<BackendKey>,
    /// XBackends, which are told by whom they are used.
    named: BTreeSet<NamespacedName>,
}

impl<'r, 'w, 'a> Resolver<'r, 'w, 'a> {
    /// For references that a route of `namespace` makes.
    pub(crate) fn new(reader: &'r Reader<'w, 'a>, from: RouteKind, namespace: &Arc<str>) -> Self {
        let (used, named) = (BTreeSet::new(), BTreeSet::new());
        let referrer = (GATEWAY_GROUP, from.as_str());
        Self { reader, from, referrer, namespace: Arc::clone(namespace), used, named }
    }

    /// For references that an AuthPolicy of `namespace` makes.
    pub(crate) fn of_policy(reader: &'r Reader<'w, 'a>, namespace: &Arc<str>) -> Self {
        let referrer = (portcullis_crds::GROUP, Kind::AuthPolicy.as_str());
        Self { referrer, ..Self::new(reader, RouteKind::HttpRoute, namespace) }
    }

    /// For references that a listener of a Gateway or a ListenerSet in `namespace` makes.
    pub(crate) fn of_listener(reader: &'r Reader<'w, 'a>, kind: &'static str, namespace: &Arc<str>) -> Self {
        Self { referrer: (GATEWAY_GROUP, kind), ..Self::new(reader, RouteKind::HttpRoute, namespace) }
    }

    pub(crate) fn resolve(&mut self, view: RefView<'_>) -> Result<BackendKey, InvalidReference> {
        let RefView { group, kind, name, namespace, port } = view;
        let backend_kind = match (group.unwrap_or_default(), kind.unwrap_or("Service")) {
            ("", "Service") => BackendKind::Service,
            (portcullis_crds::GROUP, "Backend") => BackendKind::Backend,
            (x_backend::GROUP, "XBackend") => BackendKind::XBackend,
            (group, kind) => {
                return Err(InvalidReference::Kind { group: group.to_owned(), kind: kind.to_owned() });
            }
        };
        let namespace = namespace.map_or_else(|| Arc::clone(&self.namespace), Arc::from);
        let to = NamespacedName::new(namespace, name);
        self.check_permitted(backend_kind, &to)?;
        if backend_kind == BackendKind::XBackend {
            self.named.insert(to.clone());
        }
        let key = match backend_kind {
            BackendKind::Service => self.service(to, port)?,
            BackendKind::Backend => self.backend(backend_kind, Kind::Backend, to, port)?,
            BackendKind::XBackend => self.backend(backend_kind, Kind::XBackend, to, port)?,
        };
        self.used.insert(key.clone());
        Ok(key)
    }

    /// Every backend that is used, and every XBackend that is named, usable or not.
    pub(crate) fn finish(self) -> (Vec<BackendKey>, Vec<NamespacedName>) {
        (self.used.into_iter().collect(), self.named.into_iter().collect())
    }

    /// Before anything is looked up: who may not refer to a namespace learns nothing about what is in it.
    fn check_permitted(&self, kind: BackendKind, to: &NamespacedName) -> Result<(), InvalidReference> {
        if to.namespace == self.namespace {
            return Ok(());
        }
        let group = match kind {
            BackendKind::Service => "",
            BackendKind::Backend => portcullis_crds::GROUP,
            BackendKind::XBackend => x_backend::GROUP,
        };
        let (group_from, kind_from) = self.referrer;
        let from = From { group: group_from, kind: kind_from, namespace: &self.namespace };
        let target = To { group, kind: kind.as_str(), namespace: &to.namespace, name: &to.name };
        if permitted(from, target, &self.reader.grants(&to.namespace)) {
            Ok(())
        } else {
            Err(InvalidReference::NotPermitted { kind, to: to.clone() })
        }
    }

    fn service(&self, to: NamespacedName, port: Option<i32>) -> Result<BackendKey, InvalidReference> {
        let Some(found) = self.reader.service(&to) else {
            return Err(self.missing(BackendKind::Service, Kind::Service, to));
        };
        let number = service::resolve_port(&to, &found, port, self.from)?;
        Ok(BackendKey::new(BackendKind::Service, to.namespace, to.name, number, self.from.transport()))
    }

    fn backend(
        &self,
        kind: BackendKind,
        object: Kind,
        to: NamespacedName,
        port: Option<i32>,
    ) -> Result<BackendKey, InvalidReference> {
        if self.from.transport() != Transport::Tcp {
            return Err(InvalidReference::TransportOfBackend { kind, to, route: self.from });
        }
        let Some(plan) = self.reader.backend_plan(kind, &to) else {
            return Err(self.missing(kind, object, to));
        };
        let usable = plan.usable().map_err(|why| InvalidReference::Broken { kind, to: to.clone(), why })?;
        if self.from.is_http() && !usable.speaks_http {
            return Err(InvalidReference::Streams { kind, to, route: self.from });
        }
        match port {
            Some(port) if usable.ports.iter().any(|known| i32::from(*known) != port) => {
                let known = usable.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                Err(InvalidReference::BackendPort { kind, to, port, known })
            }
            _ => Ok(usable.key.clone()),
        }
    }

    fn missing(&self, kind: BackendKind, object: Kind, to: NamespacedName) -> InvalidReference {
        match self.reader.invalid(&ObjectRef::namespaced(object, &to)) {
            Some(why) => InvalidReference::Unreadable { kind, to, why },
            None => InvalidReference::NotFound { kind, to },
        }
    }
}

/// What is served for a key that a route used.
pub(crate) fn compile(reader: &Reader<'_, '_>, key: &BackendKey, old: Option<&CompiledBackend>) -> CompiledBackend {
    let name = NamespacedName::new(Arc::clone(&key.namespace), Arc::clone(&key.name));
    let (backend, endpoints) = match key.kind {
        BackendKind::Service => match reader.service(&name) {
            None => return CompiledBackend::default(),
            Some(found) => {
                let (tls, broken) = match tls_policy::on_port(reader, key, &found) {
                    Ok(tls) => (tls, None),
                    Err(failure) => (None, Some(failure)),
                };
                let backend = Backend {
                    key: key.clone(),
                    protocol: service::protocol(&found, key.port).unwrap_or(Protocol::Http),
                    tls: tls.map(Box::new),
                    source: Source::Endpoints,
                    connect_timeout: CONNECT_TIMEOUT,
                    broken,
                };
                let endpoints = service::endpoints(&found, key.port, key.transport, &reader.slices(&name));
                (backend, Some(Endpoints { key: key.clone(), endpoints }))
            }
        },
        kind @ (BackendKind::Backend | BackendKind::XBackend) => {
            match reader.backend_plan(kind, &name).as_deref().map(|plan| plan.usable()) {
                Some(Ok(usable)) => (usable.backend.clone(), usable.endpoints.clone()),
                _ => return CompiledBackend::default(),
            }
        }
    };
    let same = |old: Option<&Arc<Backend>>| old.filter(|old| ***old == backend).cloned();
    CompiledBackend {
        backend: Some(same(old.and_then(|old| old.backend.as_ref())).unwrap_or_else(|| Arc::new(backend))),
        endpoints: endpoints.map(|endpoints| {
            let old = old.and_then(|old| old.endpoints.as_ref()).filter(|old| ***old == endpoints);
            old.cloned().unwrap_or_else(|| Arc::new(endpoints))
        }),
    }
}
