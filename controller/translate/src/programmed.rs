//! `Programmed`: what the data planes said about the listeners that they were given.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_api::gateways::GatewayStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use portcullis_ir::GatewayKey;

use crate::condition::{ConditionType, Reason, State};
use crate::output::{ProgrammedOf, Statuses};

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
}

/// Completes every `Programmed` that waits for the data plane's word; leaves all others alone.
pub fn programmed(statuses: &mut Statuses, acks: &Acks) {
    let Statuses { gateways, programmed_before, .. } = statuses;
    let before = |of: &ProgrammedOf| programmed_before.get(of);
    for (key, ack) in &acks.gateways {
        let Some(status) = gateways.get_mut(key) else { continue };
        let mut bound = 0;
        let mut waiting = 0;
        let mut failures = Vec::new();
        for listener in status.listeners.iter_mut().flatten() {
            let Some(condition) = pending(&mut listener.conditions) else { continue };
            let (state, reason, message) = match ack.listeners.get(listener.name.as_str()) {
                None => {
                    waiting += 1;
                    continue;
                }
                Some(Ok(())) => {
                    bound += 1;
                    (State::True, Reason::Programmed, "the listener takes connections".to_owned())
                }
                Some(Err(why)) => {
                    failures.push(format!("{}: {why}", listener.name));
                    (State::False, Reason::PortUnavailable, why.clone())
                }
            };
            let old = before(&(key.clone(), Some(listener.name.clone())));
            decide(condition, state, reason, message, old, acks.now);
        }
        let (state, reason, message) = match (bound, waiting, failures.is_empty()) {
            (1.., _, true) => (State::True, Reason::Programmed, "the Gateway takes connections".to_owned()),
            (1.., _, false) => {
                let message = format!("the Gateway takes connections, but not on {}", failures.join("; "));
                (State::True, Reason::Programmed, message)
            }
            (0, 0, false) => (State::False, Reason::AddressNotUsable, failures.join("; ")),
            _ => continue,
        };
        if let Some(condition) = own_pending(status) {
            decide(condition, state, reason, message, before(&(key.clone(), None)), acks.now);
        }
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
    before: Option<&(String, Time)>,
    now: Timestamp,
) {
    condition.last_transition_time = match before {
        Some((status, since)) if status == state.as_str() => since.clone(),
        _ => Time(now),
    };
    condition.status = state.as_str().to_owned();
    condition.reason = reason.as_str().to_owned();
    condition.message = message;
}
