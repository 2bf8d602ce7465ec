//! What a pass leaves of its policies for the next one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_crds::{AuthPolicy, RateLimitPolicy};
use portcullis_ir::{GatewayKey, Listener, ListenerKey, Route, Store};

use super::apply::{Applied, At, Effective, GovernedKey};
use super::credentials;
use super::level::Level;
use super::merge::same;

#[derive(Default)]
pub(crate) struct PolicyMemo {
    effective: BTreeMap<At, Arc<Effective>>,
    pub(super) listeners: BTreeMap<ListenerKey, Arc<Listener>>,
    routes: BTreeMap<GovernedKey, Arc<Route>>,
    /// Of [`Self::routes`]: others than in the last pass.
    altered: BTreeSet<GovernedKey>,
    pub(super) stores: BTreeMap<GatewayKey, Arc<Store>>,
    pub(super) credentials: credentials::Made,
}

impl PolicyMemo {
    /// There are no policies. Returns the rules that they had changed.
    pub(super) fn clear(&mut self) -> BTreeSet<GovernedKey> {
        std::mem::take(self).routes.into_keys().collect()
    }

    /// What counts at a place that was looked at in this pass.
    pub(crate) fn at(&self, at: &At) -> Option<&Arc<Effective>> {
        self.effective.get(at)
    }

    pub(super) fn effective(
        &mut self,
        at: &At,
        limit_levels: Vec<Level<RateLimitPolicy>>,
        auth_levels: Vec<Level<AuthPolicy>>,
    ) -> Arc<Effective> {
        let old = self.effective.get(at);
        if let Some(old) = old
            && same(&old.limit_levels, &limit_levels)
            && same(&old.auth_levels, &auth_levels)
        {
            return Arc::clone(old);
        }
        let mut new = Effective::new(&at.0.gateway, limit_levels, auth_levels);
        // What comes out equal keeps its `Arc`.
        if let Some(old) = old {
            keep(&mut new.limits, &old.limits);
            keep(&mut new.auth, &old.auth);
        }
        let new = Arc::new(new);
        self.effective.insert(at.clone(), Arc::clone(&new));
        new
    }

    /// A rule with what counts there. One that comes out equal keeps its `Arc`.
    pub(super) fn rule(&mut self, key: &GovernedKey, rule: Route) -> Arc<Route> {
        match self.routes.get(key) {
            Some(old) if **old == rule => Arc::clone(old),
            _ => {
                let rule = Arc::new(rule);
                self.routes.insert(key.clone(), Arc::clone(&rule));
                self.altered.insert(key.clone());
                rule
            }
        }
    }

    /// Drops what this pass did not look at. Returns the rules that policies changed otherwise than in the last pass, or do not
    /// change any more.
    pub(super) fn retain(&mut self, seen: &BTreeSet<At>, applied: &Applied) -> BTreeSet<GovernedKey> {
        self.effective.retain(|at, _| seen.contains(at));
        self.listeners.retain(|key, _| applied.listeners.contains_key(key));
        let mut altered = std::mem::take(&mut self.altered);
        self.routes.retain(|key, _| {
            let stays = applied.routes.contains_key(key);
            if !stays {
                altered.insert(key.clone());
            }
            stays
        });
        altered
    }
}

fn keep<T: PartialEq>(new: &mut Option<Arc<T>>, old: &Option<Arc<T>>) {
    if new.as_deref() == old.as_deref() {
        new.clone_from(old);
    }
}
