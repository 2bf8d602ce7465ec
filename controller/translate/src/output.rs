//! What a pass comes to: a program for each data plane, and a status for each object.

use std::collections::BTreeMap;
use std::sync::Arc;

use gateway_api::gatewayclasses::GatewayClassStatus;
use gateway_api::gateways::GatewayStatus;
use gateway_api::httproutes::HttpRouteStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use portcullis_crds::{BackendStatus, GatewayParametersStatus};
use portcullis_ir::{GatewayKey, Snapshot};
use serde::Serialize;

use crate::NamespacedName;

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
    pub http_routes: BTreeMap<NamespacedName, HttpRouteStatus>,
    pub backends: BTreeMap<NamespacedName, BackendStatus>,
    pub gateway_parameters: BTreeMap<NamespacedName, GatewayParametersStatus>,
    /// What `Programmed` said before, so that [`crate::programmed`] moves times only on a change.
    #[serde(skip)]
    pub(crate) programmed_before: BTreeMap<ProgrammedOf, Condition>,
}

impl Statuses {
    /// Those of Gateways alone: what [`crate::programmed`] works on, without a copy of what it leaves alone.
    #[must_use]
    pub fn of_gateways(&self) -> Self {
        let Self { gateways, programmed_before, .. } = self;
        Self { gateways: gateways.clone(), programmed_before: programmed_before.clone(), ..Self::default() }
    }
}

/// A Gateway's own `Programmed`, or that of one of its listeners.
pub(crate) type ProgrammedOf = (GatewayKey, Option<String>);
