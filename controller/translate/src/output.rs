//! What a pass comes to: a program for each data plane, and a status for each object.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_api::backendtlspolicies::BackendTlsPolicyStatus;
use gateway_api::gatewayclasses::GatewayClassStatus;
use gateway_api::gateways::GatewayStatus;
use gateway_api::listenersets::ListenerSetStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use portcullis_crds::{BackendStatus, GatewayParametersStatus};
use portcullis_ir::{GatewayKey, Snapshot};
use serde::Serialize;

use crate::{NamespacedName, ObjectRef, RouteStatus};

#[derive(Clone, Debug, Default)]
pub struct Output {
    /// One for each Gateway of our classes, also for those that are not accepted (theirs serve nothing).
    pub snapshots: BTreeMap<GatewayKey, Snapshot>,
    pub statuses: Statuses,
}

/// Only what is ours: whoever writes them leaves other controllers' entries and conditions alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Statuses {
    pub gateway_classes: BTreeMap<Arc<str>, GatewayClassStatus>,
    /// `addresses` is left to the caller, who knows where the Gateway can be reached. `Programmed` is Unknown where the
    /// data plane's word is needed: see [`crate::programmed`].
    pub gateways: BTreeMap<GatewayKey, GatewayStatus>,
    /// `parents` of our controller name alone. An empty list takes back entries of an earlier pass.
    pub routes: BTreeMap<ObjectRef, RouteStatus>,
    /// `Programmed` as in `gateways`.
    pub listener_sets: BTreeMap<NamespacedName, ListenerSetStatus>,
    /// `ancestors` of our controller name alone, as in `routes`.
    pub backend_tls_policies: BTreeMap<NamespacedName, BackendTlsPolicyStatus>,
    pub backends: BTreeMap<NamespacedName, BackendStatus>,
    pub gateway_parameters: BTreeMap<NamespacedName, GatewayParametersStatus>,
    /// What `Programmed` said before, so that [`crate::programmed`] moves times only on a change.
    #[serde(skip)]
    pub(crate) programmed_before: BTreeMap<ProgrammedOf, Condition>,
    /// The Gateway of each ListenerSet, whose data planes [`crate::programmed`] listens to.
    #[serde(skip)]
    pub(crate) gateway_of_sets: BTreeMap<NamespacedName, GatewayKey>,
}

impl Statuses {
    /// Those of Gateways and ListenerSets alone: what [`crate::programmed`] works on, without a copy of what it leaves
    /// alone.
    #[must_use]
    pub fn of_gateways(&self) -> Self {
        let Self { gateways, listener_sets, programmed_before, gateway_of_sets, .. } = self;
        Self {
            gateways: gateways.clone(),
            listener_sets: listener_sets.clone(),
            programmed_before: programmed_before.clone(),
            gateway_of_sets: gateway_of_sets.clone(),
            ..Self::default()
        }
    }
}

/// The own `Programmed` of a Gateway or a ListenerSet, or that of one of its listeners.
pub(crate) type ProgrammedOf = (ObjectRef, Option<String>);
