//! `Programmed`: what the data planes said about the listeners that they were given.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use portcullis_ir::{GatewayKey, ListenerKey, ListenerSetKey};

use crate::condition::{ConditionType, Reason, State};
use crate::output::{ProgrammedOf, Statuses};
use crate::policy_status;
use crate::{Kind, NamespacedName, ObjectRef};

/// What is known of the data planes when statuses are completed.
#[derive(Clone, Debug, Default)]
pub struct Acks {
    pub now: Timestamp,
    /// Gateways whose data planes acknowledged the program that the statuses were computed with.
    pub gateways: BTreeMap<GatewayKey, GatewayAck>,
}

#[derive(Clone, Debug, Default)]
pub struct GatewayAck {
    /// Its own listeners and those of ListenerSets: bound, or why not. One that is missing is still waited for.
    pub listeners: BTreeMap<ListenerKey, Result<(), String>>,
    pub standing: Standing,
}

/// How a Gateway stands as a whole, beside its listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// As its listeners do: there is one data plane, and it can be reached.
    #[default]
    AsListeners,
    /// Every replica executes the program, and the Gateway can be reached; says which program and how many replicas.
    InForce(String),
    /// Some replica does not execute the newest program yet. What was said of the same generation stays: a route that
    /// is edited does not make its Gateway flicker.
    Waiting(String),
    /// As `Waiting`; some replicas execute it already.
    Partly(String),
    /// It takes no connections, whatever its listeners do.
    Not(Reason, String),
}

/// Completes every `Programmed` that waits for the data plane's word; leaves all others alone.
pub fn programmed(statuses: &mut Statuses, acks: &Acks) {
    let Statuses {
        gateways,
        listener_sets,
        rate_limit_policies,
        auth_policies,
        programmed_before,
        gateway_of_sets,
        ..
    } = statuses;
    policy_status::complete(Kind::RateLimitPolicy, rate_limit_policies, programmed_before, acks);
    policy_status::complete(Kind::AuthPolicy, auth_policies, programmed_before, acks);
    for (key, ack) in &acks.gateways {
        let Some(status) = gateways.get_mut(key) else { continue };
        let completer = Completer {
            object: ObjectRef::namespaced(Kind::Gateway, &NamespacedName::from(key)),
            listener: ListenerKey::new(key.clone(), ""),
            programmed_before,
            ack,
            now: acks.now,
        };
        let listeners = status.listeners.iter_mut().flatten().map(|one| (&*one.name, &mut *one.conditions));
        let tally = completer.listeners(listeners);
        completer.own(status.conditions.as_deref_mut().unwrap_or_default(), &tally);
    }
    for (name, status) in listener_sets {
        let Some((key, ack)) = gateway_of_sets.get(name).and_then(|key| acks.gateways.get_key_value(key)) else {
            continue;
        };
        let set = ListenerSetKey::new(Arc::clone(&name.namespace), Arc::clone(&name.name));
        let completer = Completer {
            object: ObjectRef::namespaced(Kind::ListenerSet, name),
            listener: ListenerKey::of_set(key.clone(), set, ""),
            programmed_before,
            ack,
            now: acks.now,
        };
        let listeners = status.listeners.iter_mut().flatten().map(|one| (&*one.name, &mut *one.conditions));
        let tally = completer.listeners(listeners);
        completer.own(status.conditions.as_deref_mut().unwrap_or_default(), &tally);
    }
}

/// What is known of one Gateway or ListenerSet.
struct Completer<'a> {
    object: ObjectRef,
    /// The key of its listeners, but for the name.
    listener: ListenerKey,
    programmed_before: &'a BTreeMap<ProgrammedOf, Condition>,
    ack: &'a GatewayAck,
    now: Timestamp,
}

impl Completer<'_> {
    fn before(&self, listener: Option<&str>) -> Option<&Condition> {
        self.programmed_before.get(&(self.object.clone(), listener.map(str::to_owned)))
    }

    fn listeners<'s>(&self, listeners: impl Iterator<Item = (&'s str, &'s mut [Condition])>) -> Tally {
        let Self { ack, now, .. } = self;
        let mut tally = Tally::default();
        for (name, conditions) in listeners {
            let Some(condition) = pending(conditions) else { continue };
            let key = ListenerKey { name: name.into(), ..self.listener.clone() };
            let (state, reason, message) = match ack.listeners.get(&key) {
                None => {
                    tally.waiting += 1;
                    keep(condition, self.before(Some(name)), &ack.standing);
                    continue;
                }
                Some(Ok(())) => {
                    tally.bound += 1;
                    (State::True, Reason::Programmed, "the listener takes connections".to_owned())
                }
                Some(Err(why)) => {
                    tally.failures.push(format!("{name}: {why}"));
                    (State::False, Reason::PortUnavailable, why.clone())
                }
            };
            decide(condition, state, reason, message, self.before(Some(name)), *now);
        }
        tally
    }

    fn own(&self, conditions: &mut [Condition], tally: &Tally) {
        let Self { object, ack, now, .. } = self;
        let Some(condition) = pending(conditions) else { return };
        match tally.verdict(&ack.standing) {
            Some((mut state, mut reason, message)) => {
                if object.kind == Kind::ListenerSet {
                    (state, reason) = of_set(state, reason, &ack.standing);
                }
                decide(condition, state, reason, message, self.before(None), *now);
            }
            None => keep(condition, self.before(None), &ack.standing),
        }
    }
}

/// In the words of a ListenerSet (`ListenerSetConditionProgrammed`).
fn of_set(state: State, reason: Reason, standing: &Standing) -> (State, Reason) {
    match (state, standing) {
        (State::False, Standing::Not(..)) => (state, Reason::ParentNotProgrammed),
        (State::False, _) => (state, Reason::PortUnavailable),
        _ => (state, reason),
    }
}

/// What the listeners of one object came to.
#[derive(Default)]
struct Tally {
    bound: usize,
    waiting: usize,
    failures: Vec<String>,
}

impl Tally {
    /// None: it is too early to tell.
    fn verdict(&self, standing: &Standing) -> Option<(State, Reason, String)> {
        let Self { bound, waiting, failures } = self;
        let said = match standing {
            Standing::AsListeners => "the Gateway takes connections",
            Standing::InForce(said) => said,
            Standing::Waiting(_) | Standing::Partly(_) => return None,
            Standing::Not(reason, why) => return Some((State::False, *reason, why.clone())),
        };
        match (bound, waiting, failures.is_empty()) {
            (1.., _, true) => Some((State::True, Reason::Programmed, said.to_owned())),
            (1.., _, false) => {
                Some((State::True, Reason::Programmed, format!("{said}, but not on {}", failures.join("; "))))
            }
            (0, 0, false) => Some((State::False, Reason::AddressNotUsable, failures.join("; "))),
            _ => None,
        }
    }
}

/// While it is waited for: what was true of this generation stays true; else what is waited for is said.
fn keep(condition: &mut Condition, before: Option<&Condition>, standing: &Standing) {
    let (Standing::Waiting(why) | Standing::Partly(why)) = standing else { return };
    match before {
        Some(before)
            if before.status == State::True.as_str() && before.observed_generation == condition.observed_generation =>
        {
            condition.clone_from(before);
        }
        _ => condition.message.clone_from(why),
    }
}

fn pending(conditions: &mut [Condition]) -> Option<&mut Condition> {
    (conditions.iter_mut())
        .find(|one| one.type_ == ConditionType::Programmed.as_str() && one.reason == Reason::Pending.as_str())
}

fn decide(
    condition: &mut Condition,
    state: State,
    reason: Reason,
    message: String,
    before: Option<&Condition>,
    now: Timestamp,
) {
    condition.last_transition_time = match before {
        Some(before) if before.status == state.as_str() => before.last_transition_time.clone(),
        _ => Time(now),
    };
    condition.status = state.as_str().to_owned();
    condition.reason = reason.as_str().to_owned();
    condition.message = message;
}
