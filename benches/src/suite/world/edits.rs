//! What users and rollouts do to a world: fill it, and change it all the time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use rand::Rng as _;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::{World, objects};

/// gateway-api-bench: so many namespaces with so many routes each, every route with a Service and a slice of its own.
pub(crate) const NAMESPACES: usize = 50;
pub(crate) const ROUTES: usize = 100;

pub(crate) fn namespace(number: usize) -> String {
    format!("ns-{number}")
}

pub(crate) fn name(namespace: usize, number: usize) -> String {
    format!("app-{namespace}-{number}")
}

/// Fills the world: endpoints first, so that no route begins without.
pub(crate) async fn fill(world: &World, namespaces: usize, routes: usize) -> anyhow::Result<()> {
    world.create_all((0..namespaces).map(|number| objects::namespace(&namespace(number))).collect()).await?;
    let every =
        || (0..namespaces).flat_map(|space| (0..routes).map(move |number| (namespace(space), name(space, number))));
    let endpoint = world.upstream(0);
    let kinds: [Vec<Value>; 3] = [
        every().map(|(namespace, name)| objects::slice(&namespace, &name, endpoint)).collect(),
        every().map(|(namespace, name)| objects::service(&namespace, &name)).collect(),
        every().map(|(namespace, name)| objects::route(&namespace, &name, &name)).collect(),
    ];
    for objects in kinds {
        world.create_all(objects).await?;
    }
    Ok(())
}

/// A workload changes every 2 s, a configuration every 1 s, until it is dropped. Which one is chance.
pub(crate) struct Churn {
    stop: Arc<AtomicBool>,
    pub(crate) changes: Arc<AtomicU64>,
    pub(crate) failures: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<()>>,
}

impl Churn {
    pub(crate) fn start(world: &World) -> anyhow::Result<Self> {
        let (stop, changes, failures) = (Arc::default(), Arc::default(), Arc::default());
        let mut churn = Self { stop, changes, failures, tasks: Vec::new() };
        let upstreams = [world.upstream(0), world.upstream(1)];
        churn.every(world, "EndpointSlice", Duration::from_secs(2), move |_, turn| endpoint(upstreams[turn % 2]))?;
        churn.every(world, "HTTPRoute", Duration::from_secs(1), configuration)?;
        Ok(churn)
    }

    fn every(
        &mut self,
        world: &World,
        kind: &str,
        period: Duration,
        edit: impl Fn(&str, usize) -> Value + Send + 'static,
    ) -> anyhow::Result<()> {
        let kind = objects::resource(kind)?;
        let client = world.client.clone();
        let (stop, changes, failures) = (Arc::clone(&self.stop), Arc::clone(&self.changes), Arc::clone(&self.failures));
        self.tasks.push(tokio::spawn(async move {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut turn = 0;
            while !stop.load(Ordering::Relaxed) {
                ticks.tick().await;
                let (space, number) = {
                    let mut rng = rand::rng();
                    (rng.random_range(0..NAMESPACES), rng.random_range(0..ROUTES))
                };
                let name = name(space, number);
                let api: kube::Api<kube::api::DynamicObject> =
                    kube::Api::namespaced_with(client.clone(), &namespace(space), &kind);
                let patch = Patch::Merge(edit(&name, turn));
                match api.patch(&name, &PatchParams::default(), &patch).await {
                    Ok(_) => changes.fetch_add(1, Ordering::Relaxed),
                    Err(_) => failures.fetch_add(1, Ordering::Relaxed),
                };
                turn += 1;
            }
        }));
        Ok(())
    }

    pub(crate) async fn stop(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            // It ends at its next tick; a panic of it would have been printed.
            let _ = task.await;
        }
        (self.changes.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed))
    }
}

/// Another pod.
pub(crate) fn endpoint(address: SocketAddr) -> Value {
    json!({ "ports": [{ "name": "http", "port": address.port() }] })
}

/// Another header for the working half of a route.
pub(crate) fn configuration(name: &str, turn: usize) -> Value {
    let mut rules = objects::route("", name, name)["spec"]["rules"].clone();
    let header = json!({ "name": "x-turn", "value": turn.to_string() });
    rules[0]["filters"] = json!([{ "type": "RequestHeaderModifier", "requestHeaderModifier": { "set": [header] } }]);
    json!({ "spec": { "rules": rules } })
}
