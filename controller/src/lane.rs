//! What a change calls for.

use std::sync::Arc;

use kube::Resource;
use portcullis_translate::{Inputs, Kind, NamespacedName, Object, ObjectRef};

/// What a change calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    Nothing,
    /// Only statuses changed, most often by our own hand: nothing is compiled, and what was written is compared.
    Status,
    /// Only endpoints changed: no route is looked at.
    Endpoints,
    Full,
}

/// What an object calls for, beside what is there: nothing after a list that came again, little if only its status
/// differs.
pub(crate) fn of(inputs: &Inputs, object: &Object) -> Lane {
    let ObjectRef { kind, namespace, name } = object.reference();
    let of_namespace = NamespacedName { namespace: namespace.unwrap_or_default(), name: Arc::clone(&name) };
    let difference = match object {
        Object::GatewayClass(new) => difference(inputs.gateway_classes.get(&name), new, |a, b| a.spec == b.spec),
        Object::Gateway(new) => difference(inputs.gateways.get(&of_namespace), new, |a, b| a.spec == b.spec),
        Object::HttpRoute(new) => difference(inputs.http_routes.get(&of_namespace), new, |a, b| a.spec == b.spec),
        Object::GrpcRoute(new) => difference(inputs.grpc_routes.get(&of_namespace), new, |a, b| a.spec == b.spec),
        Object::TlsRoute(new) => difference(inputs.tls_routes.get(&of_namespace), new, |a, b| a.spec == b.spec),
        Object::TcpRoute(new) => difference(inputs.tcp_routes.get(&of_namespace), new, |a, b| a.spec == b.spec),
        Object::UdpRoute(new) => difference(inputs.udp_routes.get(&of_namespace), new, |a, b| a.spec == b.spec),
        Object::ListenerSet(new) => difference(inputs.listener_sets.get(&of_namespace), new, |a, b| a.spec == b.spec),
        Object::BackendTlsPolicy(new) => {
            difference(inputs.backend_tls_policies.get(&of_namespace), new, |a, b| a.spec == b.spec)
        }
        Object::GatewayParameters(new) => {
            difference(inputs.gateway_parameters.get(&of_namespace), new, |a, b| a.spec == b.spec)
        }
        Object::Backend(new) => difference(inputs.backends.get(&of_namespace), new, |a, b| a.spec == b.spec),
        Object::RateLimitPolicy(new) => {
            difference(inputs.rate_limit_policies.get(&of_namespace), new, |a, b| a.spec == b.spec)
        }
        Object::AuthPolicy(new) => difference(inputs.auth_policies.get(&of_namespace), new, |a, b| a.spec == b.spec),
        Object::XBackend(new) => difference(inputs.x_backends.get(&of_namespace), new, |a, b| a.spec == b.spec),
        // Of these the status is looked at as well, or there is none.
        Object::ClusterTrustBundle(new) => {
            difference(inputs.cluster_trust_bundles.get(&name), new, |a, b| a.spec == b.spec)
        }
        Object::Namespace(new) => difference(inputs.namespaces.get(&name), new, |_, _| false),
        Object::ReferenceGrant(new) => difference(inputs.reference_grants.get(&of_namespace), new, |_, _| false),
        Object::Service(new) => difference(inputs.services.get(&of_namespace), new, |_, _| false),
        Object::EndpointSlice(new) => difference(inputs.endpoint_slices.get(&of_namespace), new, |_, _| false),
        Object::Secret(new) => difference(inputs.secrets.get(&of_namespace), new, |_, _| false),
        Object::ConfigMap(new) => difference(inputs.config_maps.get(&of_namespace), new, |_, _| false),
    };
    match difference {
        Difference::None => Lane::Nothing,
        Difference::Status => Lane::Status,
        Difference::Meaning => of_kind(kind),
    }
}

enum Difference {
    /// The very same version.
    None,
    Status,
    Meaning,
}

fn difference<T: Resource>(old: Option<&Arc<T>>, new: &T, same_spec: impl Fn(&T, &T) -> bool) -> Difference {
    let Some(old) = old else { return Difference::Meaning };
    let (before, after) = (old.meta(), new.meta());
    if before.resource_version.is_some() && before.resource_version == after.resource_version {
        return Difference::None;
    }
    let same = before.uid == after.uid
        && before.generation == after.generation
        && before.deletion_timestamp == after.deletion_timestamp
        && before.labels == after.labels
        && before.annotations == after.annotations
        && same_spec(old, new);
    if same { Difference::Status } else { Difference::Meaning }
}

pub(crate) fn of_kind(kind: Kind) -> Lane {
    if kind == Kind::EndpointSlice { Lane::Endpoints } else { Lane::Full }
}
