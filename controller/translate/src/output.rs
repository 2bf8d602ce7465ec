//! What a pass comes to: a program for each data plane, and a status for each object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gateway_api::backendtlspolicies::BackendTlsPolicyStatus;
use gateway_api::gatewayclasses::GatewayClassStatus;
use gateway_api::gateways::GatewayStatus;
use gateway_api::listenersets::ListenerSetStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use portcullis_crds::{AuthPolicy, BackendStatus, GatewayParametersStatus, PolicyStatus};
use portcullis_ir::{GatewayKey, IssuerKey, Snapshot, Table};
use serde::Serialize;

use crate::{IssuerSource, NamespacedName, ObjectRef, RouteStatus};

#[derive(Clone, Debug, Default)]
pub struct Output {
    /// One for each Gateway of our classes, also for those that are not accepted (theirs serve nothing).
    pub snapshots: BTreeMap<GatewayKey, Snapshot>,
    pub statuses: Statuses,
    /// What has to be fetched for the policies of these snapshots; what came of it belongs into
    /// [`crate::Inputs::issuers`].
    pub issuers: BTreeMap<IssuerKey, IssuerSource>,
    /// The AuthPolicies that can be honoured as they are: the caller keeps them for [`crate::Inputs::last_good`].
    pub good_auth_policies: BTreeMap<NamespacedName, Arc<AuthPolicy>>,
    /// Policies that drop an authentication requirement which they would inherit.
    pub downgrades: BTreeSet<Downgrade>,
}

/// An AuthPolicy of a more specific place that drops what it would inherit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Downgrade {
    pub policy: NamespacedName,
    /// What it is attached to.
    pub target: ObjectRef,
    pub gateway: GatewayKey,
    /// The policy whose requirement is dropped.
    pub inherited: NamespacedName,
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
    /// Shared with the next pass where nothing about the route changes.
    pub routes: Table<ObjectRef, RouteStatus>,
    /// `Programmed` as in `gateways`.
    pub listener_sets: BTreeMap<NamespacedName, ListenerSetStatus>,
    /// `ancestors` of our controller name alone, as in `routes`.
    pub backend_tls_policies: BTreeMap<NamespacedName, BackendTlsPolicyStatus>,
    pub backends: BTreeMap<NamespacedName, BackendStatus>,
    /// As in `backend_tls_policies`; [`crate::XBackend::status_as_written`] puts it as its release does.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub x_backends: BTreeMap<NamespacedName, BackendTlsPolicyStatus>,
    pub gateway_parameters: BTreeMap<NamespacedName, GatewayParametersStatus>,
    /// `ancestors` of our controller name alone, as in `routes`. `Programmed` as in `gateways`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rate_limit_policies: BTreeMap<NamespacedName, PolicyStatus>,
    /// As `rate_limit_policies`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub auth_policies: BTreeMap<NamespacedName, PolicyStatus>,
    /// What `Programmed` said before, so that [`crate::programmed`] moves times only on a change.
    #[serde(skip)]
    pub(crate) programmed_before: BTreeMap<ProgrammedOf, Condition>,
    /// The Gateway of each ListenerSet, whose data planes [`crate::programmed`] listens to.
    #[serde(skip)]
    pub(crate) gateway_of_sets: BTreeMap<NamespacedName, GatewayKey>,
}

impl Statuses {
    /// Those of Gateways, ListenerSets and policies alone: what [`crate::programmed`] works on, without a copy of what it leaves
    /// alone.
    #[must_use]
    pub fn of_gateways(&self) -> Self {
        let Self {
            gateways,
            listener_sets,
            rate_limit_policies,
            auth_policies,
            programmed_before,
            gateway_of_sets,
            ..
        } = self;
        Self {
            gateways: gateways.clone(),
            listener_sets: listener_sets.clone(),
            rate_limit_policies: rate_limit_policies.clone(),
            auth_policies: auth_policies.clone(),
            programmed_before: programmed_before.clone(),
            gateway_of_sets: gateway_of_sets.clone(),
            ..Self::default()
        }
    }
}

/// The own `Programmed` of a Gateway or a ListenerSet, or that of one of its listeners; or that of a policy for one
/// Gateway.
pub(crate) type ProgrammedOf = (ObjectRef, Option<String>);
