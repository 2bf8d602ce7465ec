//! Which Secrets and ConfigMaps the world names: nothing else of these kinds needs to be read, let alone held.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_crds::CaCertificateRef;

use crate::{Inputs, Kind, NamespacedName, ObjectRef};

/// Every Secret and ConfigMap that an object of `inputs` names, whether or not it may: permission is judged when the
/// reference is resolved, and can be granted later.
pub fn references(inputs: &Inputs) -> BTreeSet<ObjectRef> {
    let mut named = BTreeSet::new();
    for (gateway, object) in &inputs.gateways {
        for reference in object.spec.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
            for certificate in reference.certificate_refs.iter().flatten() {
                let is_secret = certificate.group.as_deref().unwrap_or_default().is_empty()
                    && certificate.kind.as_deref().unwrap_or("Secret") == "Secret";
                if is_secret {
                    let namespace =
                        certificate.namespace.as_deref().map_or_else(|| Arc::clone(&gateway.namespace), Arc::from);
                    let name = NamespacedName::new(namespace, certificate.name.as_str());
                    named.insert(ObjectRef::namespaced(Kind::Secret, &name));
                }
            }
        }
    }
    for (backend, object) in &inputs.backends {
        for CaCertificateRef { name } in object.spec.tls.iter().flat_map(|tls| &tls.ca_certificate_refs) {
            let name = NamespacedName::new(Arc::clone(&backend.namespace), name.as_str());
            named.insert(ObjectRef::namespaced(Kind::ConfigMap, &name));
        }
    }
    named
}
