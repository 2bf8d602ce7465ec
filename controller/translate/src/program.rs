//! The program of one Gateway from pass to pass, and who in it names which backend.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_ir::{
    Backend, BackendKey, Config, Endpoints, GatewayKey, Live, Route, RouteKey, Shared, Snapshot, Table,
};

use crate::gateway::GatewayPlan;
use crate::mend::{mend, set};
use crate::policy::apply::Applied;
use crate::policy::needs::Needs;
use crate::route::CompiledRoute;
use crate::world::World;

#[derive(Default)]
pub(crate) struct Program {
    pub(crate) snapshot: Snapshot,
    pub(crate) users: Users,
}

/// How many routes name each backend, and what else of the Gateway does.
#[derive(Default)]
pub(crate) struct Users {
    counts: BTreeMap<BackendKey, u32>,
    /// Named by listeners and policies; counted as by one route.
    others: BTreeSet<BackendKey>,
    /// Those that were named first, or are named no more, since they were last asked for.
    touched: BTreeSet<BackendKey>,
}

impl Program {
    /// A Gateway that is not accepted has no listener that a rule could be attached to, and what else a program holds is only of
    /// use to a listener.
    pub(crate) fn is_served(&self) -> bool {
        !self.snapshot.config.listeners.is_empty()
    }

    /// All but routes and backends. Whether the Gateway is served as it was: as now, or not.
    pub(crate) fn prepare(&mut self, world: &World<'_>, plan: &GatewayPlan, policies: &Applied) -> bool {
        let was_served = self.is_served();
        let planned = plan.all_listeners().filter_map(|one| one.listener.as_ref());
        let listeners: BTreeMap<_, _> = planned
            .map(|listener| (&listener.key, policies.listeners.get(&listener.key).unwrap_or(listener)))
            .collect();
        mend(&mut self.snapshot.config.listeners, listeners);
        if !self.is_served() {
            *self = Self::default();
            return !was_served;
        }
        let nothing = Needs::default();
        let Needs { backends, issuers, credentials, store, .. } = policies.needs.get(&plan.key).unwrap_or(&nothing);
        let live = &mut self.snapshot.live;
        mend(&mut live.certificates, &plan.certificates);
        mend(&mut live.issuers, issuers.iter().filter_map(|key| world.inputs.issuers.get_key_value(key)));
        mend(&mut live.credentials, credentials);
        mend(&mut live.stores, store.iter().map(|store| (&store.key, store)));
        let asked = plan.all_listeners().filter(|one| one.listener.is_some());
        self.users.name_others(asked.flat_map(|one| &one.backends).chain(backends).cloned().collect());
        was_served
    }

    /// Puts the rules of a route, with what policies say of them, in the place of those that it had.
    pub(crate) fn exchange(
        &mut self,
        gateway: &GatewayKey,
        before: Option<&CompiledRoute>,
        after: Option<&CompiledRoute>,
        policies: &Applied,
    ) {
        let Config { routes, stream_routes, .. } = &mut self.snapshot.config;
        let rules = |route: Option<&'_ CompiledRoute>| route.and_then(|route| route.rules.get(gateway).cloned());
        let mut governed = rules(after).unwrap_or_default();
        governed.iter_mut().for_each(|rule| *rule = Arc::clone(policies.rule(gateway, rule)));
        exchange(routes, &rules(before).unwrap_or_default(), &governed, |rule| &rule.key);
        let rules = |route: Option<&'_ CompiledRoute>| route.and_then(|route| route.streams.get(gateway).cloned());
        exchange(stream_routes, &rules(before).unwrap_or_default(), &rules(after).unwrap_or_default(), |rule| {
            &rule.key
        });
        let here = |route: &&CompiledRoute| route.gateways().any(|one| one == gateway);
        after.filter(here).into_iter().flat_map(|route| &route.backends).for_each(|key| self.users.join(key));
        before.filter(here).into_iter().flat_map(|route| &route.backends).for_each(|key| self.users.leave(key));
    }

    /// What a rule comes to; none: the route has no such rule here.
    pub(crate) fn govern(&mut self, key: &RouteKey, rule: Option<&Arc<Route>>) {
        set(&mut self.snapshot.config.routes, key, rule);
    }

    /// What a backend comes to; none: there is nothing to be served.
    pub(crate) fn place(
        &mut self,
        key: &BackendKey,
        backend: Option<&Arc<Backend>>,
        endpoints: Option<&Arc<Endpoints>>,
    ) {
        let Snapshot { config, live: Live { endpoints: there, .. } } = &mut self.snapshot;
        set(&mut config.backends, key, backend);
        set(there, key, endpoints);
    }
}

impl Users {
    /// Names what routes do not: in the place of what was named so before.
    fn name_others(&mut self, others: BTreeSet<BackendKey>) {
        if others == self.others {
            return;
        }
        let before = std::mem::replace(&mut self.others, others);
        for key in self.others.difference(&before).cloned().collect::<Vec<_>>() {
            self.join(&key);
        }
        before.difference(&self.others).cloned().collect::<Vec<_>>().iter().for_each(|key| self.leave(key));
    }

    fn join(&mut self, key: &BackendKey) {
        match self.counts.get_mut(key) {
            Some(count) => *count += 1,
            None => {
                self.counts.insert(key.clone(), 1);
                self.touched.insert(key.clone());
            }
        }
    }

    fn leave(&mut self, key: &BackendKey) {
        if let Some(count) = self.counts.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(key);
                self.touched.insert(key.clone());
            }
        }
    }

    pub(crate) fn touched(&mut self) -> BTreeSet<BackendKey> {
        std::mem::take(&mut self.touched)
    }

    pub(crate) fn has(&self, key: &BackendKey) -> bool {
        self.counts.contains_key(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &BackendKey> {
        self.counts.keys()
    }

    pub(crate) fn len(&self) -> usize {
        self.counts.len()
    }

    pub(crate) fn others(&self) -> impl Iterator<Item = &BackendKey> {
        self.others.iter()
    }

    /// Counted anew. `named` is by whom ever, in order.
    pub(crate) fn counted(&self, named: &[&BackendKey]) -> Self {
        let runs = named.chunk_by(|one, other| one.order(other).is_eq());
        let count = |run: &[&BackendKey]| (run[0].clone(), u32::try_from(run.len()).unwrap_or(u32::MAX));
        Self { counts: runs.map(count).collect(), others: self.others.clone(), touched: BTreeSet::new() }
    }
}

fn exchange<V>(table: &mut Table<RouteKey, V>, before: &[Arc<V>], after: &[Arc<V>], key: impl Fn(&V) -> &RouteKey) {
    for gone in before.iter().filter(|one| !after.iter().any(|other| key(other) == key(one))) {
        table.remove(key(gone));
    }
    for one in after {
        set(table, key(one), Some(one));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> BackendKey {
        BackendKey::service("ns", name, 80)
    }

    #[test]
    fn a_backend_is_touched_by_its_first_user_and_its_last() {
        let (a, b) = (key("a"), key("b"));
        let mut users = Users::default();
        users.join(&a);
        assert_eq!(users.touched(), [a.clone()].into());
        users.join(&a);
        users.leave(&a);
        assert!(users.touched().is_empty() && users.has(&a));
        users.name_others([a.clone(), b.clone()].into());
        assert_eq!(users.touched(), [b.clone()].into());
        users.leave(&a);
        assert!(users.touched().is_empty(), "a listener names it");
        users.name_others([b.clone()].into());
        assert!(users.touched() == [a.clone()].into() && !users.has(&a));
        let anew = users.counted(&[&a, &a, &b]);
        assert_eq!((anew.len(), anew.has(&a), anew.others().count()), (2, true, 1));
    }
}
