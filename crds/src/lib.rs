//! Our own kinds in group `portcullis.dev`: what they mean to a user, their bounds and their CEL rules beside each
//! field. `bin/crds` prints them as YAML (`crds/yaml`, and a copy in `charts/portcullis-crds`); a test compares.
//!
//! Pure: kube is used for its derive and metadata types alone.

// The derive repeats each struct inside a function, where `pub` reaches nobody; printer columns share their types.
#[allow(unreachable_pub, clippy::duplicated_attributes)]
pub mod auth;
#[allow(unreachable_pub, clippy::duplicated_attributes)]
mod backend;
#[allow(unreachable_pub, clippy::duplicated_attributes)]
mod parameters;
#[allow(unreachable_pub, clippy::duplicated_attributes)]
pub mod policy;
#[allow(unreachable_pub, clippy::duplicated_attributes)]
pub mod rate_limit;
mod routability;
mod write;

pub use auth::{AuthPolicy, AuthPolicySpec};
pub use backend::{
    Backend, BackendEndpoint, BackendProtocol, BackendSpec, BackendStatus, BackendTls, CaCertificateRef,
    SubjectAltName, SubjectAltNameType, WellKnownCaCertificates,
};
pub use parameters::{
    AccessLog, AccessLogMode, Autoscaling, CounterStore, CounterStoreMode, CounterStoreSecretRef, CounterStoreTls,
    DisruptionBudget, EnvironmentVariable, ExternalTrafficPolicy, GatewayParameters, GatewayParametersSpec,
    GatewayParametersStatus, ImagePullSecret, InvalidParameter, IpFamily, IpFamilyPolicy, PodOverlay, ProxyProtocol,
    Resources, ServiceSettings, ServiceType,
};
pub use policy::{MergeStrategy, PolicyStatus};
pub use rate_limit::{RateLimitPolicy, RateLimitPolicySpec};
pub use routability::{CLUSTER, SENTINEL, is_default, split_routability, with_routability};
pub use write::{Manifest, manifests};

/// The API group of our kinds.
pub const GROUP: &str = "portcullis.dev";
/// The label of CustomResourceDefinitions by which tools know a policy that is inherited (GEP-713).
pub const POLICY_LABEL: &str = "gateway.networking.k8s.io/policy";
