//! Everything that one data plane executes, in two lanes.

use std::sync::Arc;

use imbl::OrdMap;
use serde::Serialize;

use crate::{
    Attachment, Backend, BackendKey, Certificate, CertificateKey, Credential, CredentialContent, CredentialKey,
    Endpoints, Issuer, IssuerKey, Listener, ListenerKey, ResourceKey, Route, RouteKey, Store, StoreKey, StreamRoute,
};

/// Resources of one kind by their keys. A copy costs nothing and shares all that does not change, so that two of them are
/// compared in steps that grow with what differs.
pub type Table<K, V> = OrdMap<K, Arc<V>>;

/// The versioned lane: immutable once published, shared with its neighbours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Config {
    pub listeners: Table<ListenerKey, Listener>,
    pub routes: Table<RouteKey, Route>,
    pub stream_routes: Table<RouteKey, StreamRoute>,
    pub backends: Table<BackendKey, Backend>,
}

/// The live lane: never versioned, never waits, never comes back with a rollback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Live {
    pub endpoints: Table<BackendKey, Endpoints>,
    pub certificates: Table<CertificateKey, Certificate>,
    #[serde(skip_serializing_if = "OrdMap::is_empty")]
    pub stores: Table<StoreKey, Store>,
    #[serde(skip_serializing_if = "OrdMap::is_empty")]
    pub credentials: Table<CredentialKey, Credential>,
    #[serde(skip_serializing_if = "OrdMap::is_empty")]
    pub issuers: Table<IssuerKey, Issuer>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    pub config: Config,
    pub live: Live,
}

/// Any resource, as deltas carry them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Resource {
    Listener(Arc<Listener>),
    Route(Arc<Route>),
    StreamRoute(Arc<StreamRoute>),
    Backend(Arc<Backend>),
    Endpoints(Arc<Endpoints>),
    Certificate(Arc<Certificate>),
    Store(Arc<Store>),
    Credential(Arc<Credential>),
    Issuer(Arc<Issuer>),
}

impl Resource {
    pub fn key(&self) -> ResourceKey {
        match self {
            Self::Listener(listener) => ResourceKey::Listener(listener.key.clone()),
            Self::Route(route) => ResourceKey::Route(route.key.clone()),
            Self::StreamRoute(route) => ResourceKey::StreamRoute(route.key.clone()),
            Self::Backend(backend) => ResourceKey::Backend(backend.key.clone()),
            Self::Endpoints(endpoints) => ResourceKey::Endpoints(endpoints.key.clone()),
            Self::Certificate(certificate) => ResourceKey::Certificate(certificate.key.clone()),
            Self::Store(store) => ResourceKey::Store(store.key.clone()),
            Self::Credential(credential) => ResourceKey::Credential(credential.key.clone()),
            Self::Issuer(issuer) => ResourceKey::Issuer(issuer.key.clone()),
        }
    }
}

impl Snapshot {
    /// Puts a resource under its key and returns the one that it replaces.
    pub fn insert(&mut self, resource: Resource) -> Option<Resource> {
        match resource {
            Resource::Listener(value) => self.config.listeners.insert(value.key.clone(), value).map(Resource::Listener),
            Resource::Route(value) => self.config.routes.insert(value.key.clone(), value).map(Resource::Route),
            Resource::StreamRoute(value) => {
                self.config.stream_routes.insert(value.key.clone(), value).map(Resource::StreamRoute)
            }
            Resource::Backend(value) => self.config.backends.insert(value.key.clone(), value).map(Resource::Backend),
            Resource::Endpoints(value) => self.live.endpoints.insert(value.key.clone(), value).map(Resource::Endpoints),
            Resource::Certificate(value) => {
                self.live.certificates.insert(value.key.clone(), value).map(Resource::Certificate)
            }
            Resource::Store(value) => self.live.stores.insert(value.key.clone(), value).map(Resource::Store),
            Resource::Credential(value) => {
                self.live.credentials.insert(value.key.clone(), value).map(Resource::Credential)
            }
            Resource::Issuer(value) => self.live.issuers.insert(value.key.clone(), value).map(Resource::Issuer),
        }
    }

    pub fn remove(&mut self, key: &ResourceKey) -> Option<Resource> {
        match key {
            ResourceKey::Listener(key) => self.config.listeners.remove(key).map(Resource::Listener),
            ResourceKey::Route(key) => self.config.routes.remove(key).map(Resource::Route),
            ResourceKey::StreamRoute(key) => self.config.stream_routes.remove(key).map(Resource::StreamRoute),
            ResourceKey::Backend(key) => self.config.backends.remove(key).map(Resource::Backend),
            ResourceKey::Endpoints(key) => self.live.endpoints.remove(key).map(Resource::Endpoints),
            ResourceKey::Certificate(key) => self.live.certificates.remove(key).map(Resource::Certificate),
            ResourceKey::Store(key) => self.live.stores.remove(key).map(Resource::Store),
            ResourceKey::Credential(key) => self.live.credentials.remove(key).map(Resource::Credential),
            ResourceKey::Issuer(key) => self.live.issuers.remove(key).map(Resource::Issuer),
        }
    }

    pub fn contains(&self, key: &ResourceKey) -> bool {
        match key {
            ResourceKey::Listener(key) => self.config.listeners.contains_key(key),
            ResourceKey::Route(key) => self.config.routes.contains_key(key),
            ResourceKey::StreamRoute(key) => self.config.stream_routes.contains_key(key),
            ResourceKey::Backend(key) => self.config.backends.contains_key(key),
            ResourceKey::Endpoints(key) => self.live.endpoints.contains_key(key),
            ResourceKey::Certificate(key) => self.live.certificates.contains_key(key),
            ResourceKey::Store(key) => self.live.stores.contains_key(key),
            ResourceKey::Credential(key) => self.live.credentials.contains_key(key),
            ResourceKey::Issuer(key) => self.live.issuers.contains_key(key),
        }
    }

    /// Every resource, config lane first, each kind in key order.
    pub fn resources(&self) -> impl Iterator<Item = Resource> + '_ {
        let config = &self.config;
        let live = &self.live;
        (config.listeners.values().cloned().map(Resource::Listener))
            .chain(config.routes.values().cloned().map(Resource::Route))
            .chain(config.stream_routes.values().cloned().map(Resource::StreamRoute))
            .chain(config.backends.values().cloned().map(Resource::Backend))
            .chain(live.endpoints.values().cloned().map(Resource::Endpoints))
            .chain(live.certificates.values().cloned().map(Resource::Certificate))
            .chain(live.stores.values().cloned().map(Resource::Store))
            .chain(live.credentials.values().cloned().map(Resource::Credential))
            .chain(live.issuers.values().cloned().map(Resource::Issuer))
    }

    /// Takes all resources of `other` in. Standalone uses it to serve several Gateways from one process; keys of
    /// different Gateways never clash, and what they share (routes, backends) is merged by [`Snapshot::merge_route`].
    #[expect(clippy::needless_pass_by_value, reason = "what is merged is used up: its snapshot means nothing alone")]
    pub fn merge(&mut self, other: Self) {
        for resource in other.resources() {
            match resource {
                Resource::Route(route) => self.merge_route(&route),
                Resource::StreamRoute(route) => self.merge_stream_route(&route),
                Resource::Credential(credential) => self.merge_credential(credential),
                other => {
                    self.insert(other);
                }
            }
        }
    }

    /// One Secret may be a consumer of policies of several Gateways: it is one of all of them.
    fn merge_credential(&mut self, credential: Arc<Credential>) {
        match self.live.credentials.get_mut(&credential.key) {
            Some(present) => {
                if let (CredentialContent::Consumer { sets, .. }, CredentialContent::Consumer { sets: others, .. }) =
                    (&mut Arc::make_mut(present).content, &credential.content)
                {
                    sets.extend(others.iter().cloned());
                    sets.sort();
                    sets.dedup();
                }
            }
            None => drop(self.live.credentials.insert(credential.key.clone(), credential)),
        }
    }

    /// Two Gateways' snapshots hold the same rule with the attachments of one Gateway each: join them.
    fn merge_route(&mut self, route: &Arc<Route>) {
        match self.config.routes.get_mut(&route.key) {
            Some(present) => {
                join(&mut Arc::make_mut(present).attachments, &route.attachments);
            }
            None => {
                self.config.routes.insert(route.key.clone(), Arc::clone(route));
            }
        }
    }

    fn merge_stream_route(&mut self, route: &Arc<StreamRoute>) {
        match self.config.stream_routes.get_mut(&route.key) {
            Some(present) => join(&mut Arc::make_mut(present).attachments, &route.attachments),
            None => {
                self.config.stream_routes.insert(route.key.clone(), Arc::clone(route));
            }
        }
    }
}

fn join(attachments: &mut Vec<Attachment>, others: &[Attachment]) {
    attachments.extend(others.iter().cloned());
    attachments.sort_by(|a, b| a.listener.cmp(&b.listener));
}

impl FromIterator<Resource> for Snapshot {
    fn from_iter<I: IntoIterator<Item = Resource>>(resources: I) -> Self {
        let mut snapshot = Self::default();
        for resource in resources {
            snapshot.insert(resource);
        }
        snapshot
    }
}
