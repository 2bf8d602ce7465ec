//! What the pods of a Gateway said, and whether its newest version is in force.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_ir::{ListenerKey, ResourceKey};
use portcullis_wire::{State, Version};

/// One data plane, as it spoke last.
pub use portcullis_wire::PodState as Pod;

/// All data planes of one Gateway, whichever controller replica they are connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// The newest state. Single pods may be told another one.
    pub target: State,
    /// The listeners that the newest state has.
    pub listeners: BTreeSet<ListenerKey>,
    /// By pod name. A pod that has left stays for a while, not connected.
    pub pods: BTreeMap<Arc<str>, Pod>,
}

/// What the status of a Gateway says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The newest state's.
    pub wanted: Version,
    /// The number by which pods have that state: another one where all of them have it from another controller, for what a
    /// pod holds already it is not sent again.
    pub known_as: u64,
    /// Ready pods that run the newest state, but for resources that they rejected.
    pub in_force: usize,
    /// Ready pods in all.
    pub ready: usize,
    /// Listeners about which all ready pods have spoken, or one has refused: bound, or why not. One that is missing is
    /// still waited for.
    pub listeners: BTreeMap<ListenerKey, Result<(), String>>,
    /// Ready pods that do not run the newest state.
    pub laggards: Vec<Laggard>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Laggard {
    pub pod: Arc<str>,
    /// For people.
    pub why: String,
}

impl Outcome {
    /// Every ready pod, and at least one, runs the newest state.
    pub fn is_settled(&self) -> bool {
        self.ready > 0 && self.in_force == self.ready
    }
}

impl Fleet {
    /// How far the newest state has come among the pods that take traffic.
    pub fn outcome(&self, ready_pods: &BTreeSet<Arc<str>>) -> Outcome {
        let mut laggards = Vec::new();
        let mut refusals: BTreeMap<&ListenerKey, Vec<String>> = BTreeMap::new();
        let target = self.target.version;
        let mut in_force = 0;
        let (mut sent_it, mut of_others) = (false, None);
        for name in ready_pods {
            let pod = self.pods.get(name);
            match pod {
                Some(pod) if pod.answered == Some(self.target.digests) => {
                    in_force += 1;
                    match pod.held.map(|held| held.version) {
                        Some(held) if held.epoch == target.epoch => sent_it = true,
                        held => of_others = of_others.max(held.map(|held| held.number)),
                    }
                }
                _ => laggards.push(Laggard { pod: Arc::clone(name), why: why_not(pod) }),
            }
            for rejection in pod.map(|pod| &pod.rejected[..]).unwrap_or_default() {
                if let Some(ResourceKey::Listener(key)) = &rejection.key {
                    refusals.entry(key).or_default().push(rejection.message.clone());
                }
            }
        }
        let settled = !ready_pods.is_empty() && in_force == ready_pods.len();
        let outcome_of = |key: &ListenerKey| match refusals.get(key) {
            Some(reasons) => Some(Err(describe(reasons, ready_pods.len()))),
            None => settled.then_some(Ok(())),
        };
        let listeners = self.listeners.iter().filter_map(|key| Some((key.clone(), outcome_of(key)?)));
        Outcome {
            wanted: target,
            known_as: of_others.filter(|_| !sent_it).unwrap_or(target.number),
            in_force,
            ready: ready_pods.len(),
            listeners: listeners.collect(),
            laggards,
        }
    }
}

/// The first reason, and how many pods have one; in a stable order, so that a status does not flicker.
fn describe(reasons: &[String], pods: usize) -> String {
    let first = reasons.iter().min().map_or("", String::as_str);
    match reasons.len() {
        count if count == pods => first.to_owned(),
        count => format!("{first} (on {count} of {pods} replicas)"),
    }
}

fn why_not(pod: Option<&Pod>) -> String {
    match pod {
        None => "it has not asked for its configuration yet".to_owned(),
        Some(Pod { refused: Some(why), .. }) => format!("it refused the newest version: {why}"),
        Some(Pod { connected: false, .. }) => "it has lost its controller; it serves what it held last".to_owned(),
        Some(Pod { held: None, .. }) => "it has not applied its first version yet".to_owned(),
        Some(Pod { held: Some(held), .. }) => format!("it still runs version {}", held.version),
    }
}

#[cfg(test)]
mod tests {
    use portcullis_ir::{Digest, GatewayKey, ListenerSetKey};
    use portcullis_wire::{Digests, Rejection, RejectionCode};

    use super::*;

    fn state(number: u64, config: u128) -> State {
        let digests = Digests { config: Digest::from_bits(config), live: Digest::EMPTY };
        State { version: Version { epoch: 1, number }, digests }
    }

    fn listener(name: &str) -> ListenerKey {
        ListenerKey::new(GatewayKey::new("ns", "gw"), name)
    }

    fn pod(at: State, rejected: &[(&str, &str)]) -> Pod {
        let rejection = |(name, why): &(&str, &str)| Rejection {
            key: Some(ResourceKey::Listener(listener(name))),
            code: RejectionCode::Unbindable,
            message: (*why).to_owned(),
        };
        let rejected = rejected.iter().map(rejection).collect();
        Pod { held: Some(at), answered: Some(at.digests), rejected, connected: true, ..Pod::default() }
    }

    fn fleet(pods: &[(&str, Pod)]) -> Fleet {
        Fleet {
            target: state(2, 20),
            listeners: [listener("http"), listener("https")].into(),
            pods: pods.iter().map(|(name, pod)| ((*name).into(), pod.clone())).collect(),
        }
    }

    fn ready(names: &[&str]) -> BTreeSet<Arc<str>> {
        names.iter().map(|name| (*name).into()).collect()
    }

    #[test]
    fn every_ready_pod_counts_and_no_other() {
        let other_replica = State { version: Version { epoch: 9, number: 7 }, ..state(2, 20) };
        let fleet = fleet(&[
            ("a", pod(state(2, 20), &[])),
            ("b", pod(other_replica, &[])),
            ("starting", pod(state(1, 10), &[])),
        ]);
        let outcome = fleet.outcome(&ready(&["a", "b"]));
        assert!(outcome.is_settled());
        assert_eq!(outcome.listeners, [(listener("http"), Ok(())), (listener("https"), Ok(()))].into());
        let outcome = fleet.outcome(&ready(&["a", "starting", "unknown"]));
        assert_eq!((outcome.in_force, outcome.ready, outcome.is_settled()), (1, 3, false));
        assert_eq!(outcome.listeners, BTreeMap::new());
        let whys: Vec<_> = outcome.laggards.iter().map(|laggard| (&*laggard.pod, &*laggard.why)).collect();
        assert_eq!(whys[0], ("starting", "it still runs version 1.1"));
        assert_eq!(whys[1], ("unknown", "it has not asked for its configuration yet"));
    }

    #[test]
    fn what_all_pods_have_from_another_controller_keeps_its_number() {
        let of_before = |number| pod(State { version: Version { epoch: 9, number }, ..state(2, 20) }, &[]);
        let known_as = |pods: &[(&str, Pod)]| fleet(pods).outcome(&ready(&["a", "b"])).known_as;
        assert_eq!(known_as(&[("a", of_before(41)), ("b", of_before(42))]), 42);
        assert_eq!(
            known_as(&[("a", of_before(42)), ("b", pod(state(2, 20), &[]))]),
            2,
            "this one has sent it to a pod"
        );
        assert_eq!(known_as(&[("a", pod(state(1, 10), &[]))]), 2, "nobody has it");
    }

    #[test]
    fn a_listener_that_one_pod_could_not_bind_says_where() {
        let fleet =
            fleet(&[("a", pod(state(2, 20), &[("https", "port 443 is taken")])), ("b", pod(state(2, 20), &[]))]);
        let outcome = fleet.outcome(&ready(&["a", "b"]));
        assert!(outcome.is_settled());
        let why = "port 443 is taken (on 1 of 2 replicas)".to_owned();
        assert_eq!(outcome.listeners, [(listener("http"), Ok(())), (listener("https"), Err(why))].into());
    }

    #[test]
    fn listeners_of_one_name_are_told_apart_by_their_listener_set() {
        let set = ListenerSetKey::new("team", "set");
        let of_set = ListenerKey::of_set(GatewayKey::new("ns", "gw"), set, "https");
        let mut fleet = fleet(&[("a", pod(state(2, 20), &[("https", "port 443 is taken")]))]);
        fleet.listeners.insert(of_set.clone());
        let outcome = fleet.outcome(&ready(&["a"]));
        assert_eq!(outcome.listeners[&of_set], Ok(()));
        assert!(outcome.listeners[&listener("https")].is_err());
    }

    #[test]
    fn nothing_is_settled_without_a_ready_pod() {
        let outcome = fleet(&[]).outcome(&ready(&[]));
        assert!(!outcome.is_settled());
        assert_eq!(outcome.listeners, BTreeMap::new());
    }
}
