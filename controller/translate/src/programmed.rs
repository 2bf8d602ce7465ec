//! `Programmed`: what the data planes said about the listeners that they were given.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_api::gateways::GatewayStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use portcullis_ir::GatewayKey;

use crate::condition::{ConditionType, Reason, State};
use crate::output::Statuses;

/// What is known of the data planes when statuses are completed.
#[derive(Clone, Debug, Default)]
pub struct Acks {
    pub now: Timestamp,
    /// Gateways whose data planes acknowledged the program that the statuses were computed with.
    pub gateways: BTreeMap<GatewayKey, GatewayAck>,
}

#[derive(Clone, Debug, Default)]
pub struct GatewayAck {
    /// By name: bound, or why not. A listener that is missing is still waited for.
    pub listeners: BTreeMap<Arc<str>, Result<(), String>>,
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
    /// It takes no connections, whatever its listeners do.
    Not(Reason, String),
}

/// Completes every `Programmed` that waits for the data plane's word; leaves all others alone.
pub fn programmed(statuses: &mut Statuses, acks: &Acks) {
    let Statuses { gateways, programmed_before, .. } = statuses;
    for (key, ack) in &acks.gateways {
        let Some(status) = gateways.get_mut(key) else { continue };
        let before = |listener: Option<&str>| programmed_before.get(&(key.clone(), listener.map(str::to_owned)));
        let mut tally = Tally::default();
        for listener in status.listeners.iter_mut().flatten() {
            let old = before(Some(&listener.name));
            let Some(condition) = pending(&mut listener.conditions) else { continue };
            let (state, reason, message) = match ack.listeners.get(listener.name.as_str()) {
                None => {
                    tally.waiting += 1;
                    keep(condition, old, &ack.standing);
                    continue;
                }
                Some(Ok(())) => {
                    tally.bound += 1;
                    (State::True, Reason::Programmed, "the listener takes connections".to_owned())
                }
                Some(Err(why)) => {
                    tally.failures.push(format!("{}: {why}", listener.name));
                    (State::False, Reason::PortUnavailable, why.clone())
                }
            };
            decide(condition, state, reason, message, old, acks.now);
        }
        let Some(condition) = own_pending(status) else { continue };
        match tally.verdict(&ack.standing) {
            Some((state, reason, message)) => decide(condition, state, reason, message, before(None), acks.now),
            None => keep(condition, before(None), &ack.standing),
        }
    }
}

/// What the listeners of one Gateway came to.
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
            Standing::Waiting(_) => return None,
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
    let Standing::Waiting(why) = standing else { return };
    match before {
        Some(before)
            if before.status == State::True.as_str() && before.observed_generation == condition.observed_generation =>
        {
            condition.clone_from(before);
        }
        _ => condition.message.clone_from(why),
    }
}

fn own_pending(status: &mut GatewayStatus) -> Option<&mut Condition> {
    pending(status.conditions.as_deref_mut().unwrap_or_default())
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
