//! What a pass leaves for the next one. It only ever saves work: a result taken from here is the result that would be
//! computed (`tests/laws` holds it to that).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use portcullis_ir::{BackendKey, GatewayKey, ListenerKey, Snapshot};

use crate::backend::CompiledBackend;
use crate::backend_object::BackendPlan;
use crate::cache::Cache;
use crate::client_validation::ParsedRoots;
use crate::gateway::{AttachPoints, GatewayPlan};
use crate::introduce::Introduced;
use crate::policy::kept::PolicyMemo;
use crate::policy::{AuthPlan, LimitPlan};
use crate::recent::Recent;
use crate::route::CompiledRoute;
use crate::route_table::RouteTable;
use crate::snapshot::Assembly;
use crate::tls::ParsedSecrets;
use crate::tls_policy::PolicyPlan;
use crate::{Inputs, NamespacedName, ObjectRef, RouteStatus};

/// Start with `Memo::default()` and hand the same one to every pass. As large as the world, no larger: what a pass did
/// not need is dropped at its end.
#[derive(Default)]
pub struct Memo {
    pub(crate) secrets: ParsedSecrets,
    pub(crate) roots: ParsedRoots,
    pub(crate) tls_policies: Cache<NamespacedName, PolicyPlan>,
    pub(crate) backend_objects: Cache<NamespacedName, BackendPlan>,
    pub(crate) x_backends: Cache<NamespacedName, BackendPlan>,
    pub(crate) attach_points: BTreeMap<NamespacedName, Arc<AttachPoints>>,
    pub(crate) set_points: BTreeMap<NamespacedName, Arc<AttachPoints>>,
    pub(crate) listeners: BTreeMap<ListenerKey, Arc<portcullis_ir::Listener>>,
    /// Of all kinds.
    pub(crate) routes: Cache<ObjectRef, CompiledRoute, RouteStatus>,
    pub(crate) backends: Cache<BackendKey, CompiledBackend>,
    pub(crate) introduced: Introduced,
    pub(crate) rate_limit_policies: Cache<NamespacedName, LimitPlan>,
    pub(crate) auth_policies: Cache<NamespacedName, AuthPlan>,
    pub(crate) policies: PolicyMemo,
    pub(crate) recent: Recent,
    pub(crate) table: RouteTable,
    pub(crate) assembly: Assembly,
}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memo").field("routes", &self.routes.len()).finish_non_exhaustive()
    }
}

impl Memo {
    /// Drops what this pass had no use for, but for routes and backends, which have been brought up to now.
    pub(crate) fn forget(
        &mut self,
        inputs: &Inputs,
        gateways: &[&GatewayPlan],
        snapshots: &BTreeMap<GatewayKey, Snapshot>,
    ) {
        let planned: BTreeSet<NamespacedName> = gateways.iter().map(|plan| NamespacedName::from(&plan.key)).collect();
        let sets: BTreeSet<&NamespacedName> =
            gateways.iter().flat_map(|plan| &plan.sets).map(|set| &set.name).collect();
        let Self {
            secrets,
            roots,
            tls_policies,
            backend_objects,
            x_backends,
            attach_points,
            set_points,
            listeners,
            routes: _,
            backends: _,
            introduced,
            rate_limit_policies,
            auth_policies,
            policies: _,
            recent: _,
            table: _,
            assembly: _,
        } = self;
        rate_limit_policies
            .retain(inputs.rate_limit_policies.len(), |name| inputs.rate_limit_policies.contains_key(name));
        auth_policies.retain(inputs.auth_policies.len(), |name| inputs.auth_policies.contains_key(name));
        roots.retain(|name, _| inputs.config_maps.contains_key(name));
        set_points.retain(|name, _| sets.contains(name));
        introduced
            .retain(|gateway, key| snapshots.get(gateway).is_some_and(|one| one.config.backends.contains_key(key)));
        secrets.retain(|key, _| {
            let name = NamespacedName::new(Arc::clone(&key.namespace), Arc::clone(&key.name));
            inputs.secrets.contains_key(&name)
        });
        tls_policies.retain(inputs.backend_tls_policies.len(), |name| inputs.backend_tls_policies.contains_key(name));
        backend_objects.retain(inputs.backends.len(), |name| inputs.backends.contains_key(name));
        x_backends.retain(inputs.x_backends.len(), |name| inputs.x_backends.contains_key(name));
        attach_points.retain(|name, _| planned.contains(name));
        listeners
            .retain(|key, _| snapshots.get(&key.gateway).is_some_and(|one| one.config.listeners.contains_key(key)));
    }
}
