//! What a Gateway needs in the cluster, as one pure function of the Gateway and its parameters.
//!
//! ```text
//! Gateway ─┐                     ┌─ ServiceAccount, ConfigMap (CA)   who the pods are, and whom they believe
//! class    ├─► Plan ─► desired ──┼─ Deployment ─► pod                what runs
//! own      ┘                     ├─ Service                          where it is reached
//!   parameters                   └─ PodDisruptionBudget, HorizontalPodAutoscaler
//! ```
//!
//! Nothing in the pod's template follows from listeners or routes: ports open and close in a running pod, so that no
//! edit of them restarts one.

mod deployment;
mod metadata;
mod name;
mod object;
mod plan;
mod pod;
mod port;
mod scale;
mod service;

use std::collections::BTreeSet;

use gateway_api::gateways::Gateway;
use portcullis_crds::{GatewayParametersSpec, InvalidParameter};

pub use metadata::{CLASS_LABEL, CONTROLLER_LABEL, GATEWAY_LABEL, MANAGED_BY, MANAGED_BY_LABEL, made_by};
pub use name::{resource_name, service_account_name};
pub use object::{Kind, Object, Owner};
pub use port::{Port, Transport};

use plan::Plan;

/// The key of the ConfigMap that holds the CA bundle, and the file it becomes.
pub const CA_KEY: &str = "ca.crt";
/// The audience of the data planes' tokens, which the controller asks for in its TokenReview.
pub const TOKEN_AUDIENCE: &str = "portcullis.dev/controller";

/// What `desired` looks at.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub gateway: &'a Gateway,
    /// What the GatewayClass's `parametersRef` leads to.
    pub class_parameters: Option<&'a GatewayParametersSpec>,
    /// What the Gateway's `spec.infrastructure.parametersRef` leads to.
    pub parameters: Option<&'a GatewayParametersSpec>,
    /// Ports of the listeners that are served, the Gateway's own and those of its ListenerSets; without any there is no
    /// Service.
    pub ports: &'a BTreeSet<Port>,
    /// PEM certificates by which data planes know the controller.
    pub ca_bundle: &'a str,
    pub settings: &'a Settings,
}

/// What the installation decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The `controllerName` of our GatewayClasses.
    pub controller_name: String,
    pub controller_namespace: String,
    /// The Service in front of the controller's replicas.
    pub controller_service: String,
    /// Its port for the stream.
    pub controller_port: u16,
    pub dataplane_image: String,
    /// `IfNotPresent`, `Always` or `Never`.
    pub image_pull_policy: String,
}

/// Everything that a Gateway needs, in the order in which it is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    pub owner: Owner,
    pub objects: Vec<Object>,
}

/// Why a Gateway gets nothing new. What it has already stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unprovisionable {
    #[error("the Gateway has no {0}; only a Gateway that an API server has stored can be provisioned")]
    NotStored(&'static str),
    #[error("{0}")]
    Parameters(#[from] InvalidParameter),
    #[error("address {0:?} is no IP address; correct spec.addresses")]
    Address(String),
    #[error("a Service of type LoadBalancer has one requested address, and spec.addresses asks for {0}; give one")]
    Addresses(usize),
}

/// What must be in the cluster for the Gateway to be served.
///
/// # Errors
/// If the Gateway or its parameters ask for what cannot be made.
pub fn desired(request: &Request<'_>) -> Result<Desired, Unprovisionable> {
    let plan = Plan::new(request)?;
    let mut objects = vec![
        Object::ServiceAccount(pod::service_account(&plan)),
        Object::ConfigMap(pod::config_map(&plan)),
        Object::Deployment(Box::new(deployment::deployment(&plan))),
    ];
    if let Some(service) = service::service(&plan)? {
        objects.push(Object::Service(service));
    }
    objects.push(Object::PodDisruptionBudget(scale::disruption_budget(&plan)));
    if let Some(autoscaler) = scale::autoscaler(&plan) {
        objects.push(Object::HorizontalPodAutoscaler(autoscaler));
    }
    Ok(Desired { owner: plan.owner, objects })
}
