//! Which Secrets and ConfigMaps the world names: nothing else of these kinds needs to be read, let alone held.

use std::collections::BTreeSet;
use std::sync::Arc;

use gateway_api::backendtlspolicies::BackendTlsPolicyValidationCaCertificateRefs;
use gateway_api::gateways::Gateway;
use portcullis_crds::auth as api;
use portcullis_crds::{AuthPolicy, CaCertificateRef};

use crate::certificates::CertificateRef;
use crate::client_validation::CaRef;
use crate::listener_set;
use crate::{Inputs, Kind, NamespacedName, ObjectRef};

/// Every Secret and ConfigMap that an object of `inputs` names, whether or not it may: permission is judged when the
/// reference is resolved, and can be granted later.
pub fn references(inputs: &Inputs) -> BTreeSet<ObjectRef> {
    let mut named = Named::default();
    for (name, object) in &inputs.gateways {
        named.gateway(&name.namespace, object);
    }
    for (name, object) in &inputs.listener_sets {
        let entries = object.spec.listeners.iter().filter_map(|entry| entry.tls.as_ref());
        for reference in entries.flat_map(|tls| tls.certificate_refs.iter().flatten()) {
            let reference = listener_set::certificate_ref(reference);
            named.certificate(&name.namespace, CertificateRef::of_listener(&reference));
        }
    }
    for (name, object) in &inputs.backend_tls_policies {
        for reference in object.spec.validation.ca_certificate_refs.iter().flatten() {
            let BackendTlsPolicyValidationCaCertificateRefs { group, kind, name: config_map } = reference;
            named.ca(&name.namespace, CaRef { group, kind, name: config_map, namespace: None });
        }
    }
    for (name, object) in &inputs.x_backends {
        let validation = object.spec.tls.as_ref().and_then(|tls| tls.validation.as_ref());
        for reference in validation.iter().flat_map(|one| one.ca_certificate_refs.iter().flatten()) {
            let BackendTlsPolicyValidationCaCertificateRefs { group, kind, name: config_map } = reference;
            named.ca(&name.namespace, CaRef { group, kind, name: config_map, namespace: None });
        }
    }
    for (backend, object) in &inputs.backends {
        for CaCertificateRef { name } in object.spec.tls.iter().flat_map(|tls| &tls.ca_certificate_refs) {
            named.ca(&backend.namespace, CaRef { group: "", kind: "ConfigMap", name, namespace: None });
        }
    }
    for (policy, object) in &inputs.auth_policies {
        named.auth_policy(&policy.namespace, object);
    }
    for (parameters, object) in &inputs.gateway_parameters {
        let Some(store) = &object.spec.counter_store else { continue };
        store.auth_secret_ref.iter().for_each(|secret| named.secret(&parameters.namespace, &secret.name));
        for CaCertificateRef { name } in store.tls.iter().flat_map(|tls| &tls.ca_certificate_refs) {
            named.ca(&parameters.namespace, CaRef { group: "", kind: "ConfigMap", name, namespace: None });
        }
    }
    named.0
}

#[derive(Default)]
struct Named(BTreeSet<ObjectRef>);

impl Named {
    fn gateway(&mut self, namespace: &Arc<str>, gateway: &Gateway) {
        let listeners = gateway.spec.listeners.iter().filter_map(|listener| listener.tls.as_ref());
        let certificates = listeners.flat_map(|tls| tls.certificate_refs.iter().flatten());
        for reference in certificates.map(CertificateRef::of_listener).chain(CertificateRef::of_backends(gateway)) {
            self.certificate(namespace, reference);
        }
        let Some(frontend) = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref()) else { return };
        let default = frontend.default.validation.iter().flat_map(|validation| &validation.ca_certificate_refs);
        default.for_each(|one| self.ca(namespace, CaRef::of_default(one)));
        for validation in frontend.per_port.iter().flatten().filter_map(|entry| entry.tls.validation.as_ref()) {
            validation.ca_certificate_refs.iter().for_each(|one| self.ca(namespace, CaRef::of_port(one)));
        }
    }

    /// Of API keys only those that are named: those that are selected are held for their label.
    fn auth_policy(&mut self, namespace: &Arc<str>, policy: &AuthPolicy) {
        for method in policy.spec.authentication.iter().flat_map(|authentication| &authentication.methods) {
            let api::AuthMethod {
                name: _,
                jwt,
                api_key,
                basic,
                client_certificate: _,
                oidc,
                introspection,
                anonymous: _,
            } = method;
            let jwks = jwt.as_ref().and_then(|jwt| jwt.jwks.as_ref());
            let secrets = (api_key.iter().flat_map(|key| &key.secret_refs))
                .chain(basic.iter().map(|basic| &basic.secret_ref))
                .chain(oidc.iter().map(|oidc| &oidc.client_secret_ref))
                .chain(introspection.iter().map(|introspection| &introspection.client_secret_ref))
                .chain(jwks.and_then(|jwks| jwks.secret_ref.as_ref()));
            secrets.for_each(|secret| self.secret(namespace, &secret.name));
            let remote = jwks.and_then(|jwks| jwks.remote.as_ref()).and_then(|remote| remote.tls.as_ref());
            let trusted = (remote.into_iter())
                .chain(oidc.iter().filter_map(|oidc| oidc.tls.as_ref()))
                .chain(introspection.iter().filter_map(|introspection| introspection.tls.as_ref()));
            for CaCertificateRef { name } in trusted.flat_map(|tls| &tls.ca_certificate_refs) {
                self.ca(namespace, CaRef { group: "", kind: "ConfigMap", name, namespace: None });
            }
        }
    }

    fn secret(&mut self, namespace: &Arc<str>, name: &str) {
        self.0.insert(ObjectRef::namespaced(Kind::Secret, &NamespacedName::new(Arc::clone(namespace), name)));
    }

    fn certificate(&mut self, namespace: &Arc<str>, reference: CertificateRef<'_>) {
        let secret = reference.secret(namespace);
        self.0.extend(secret.map(|name: NamespacedName| ObjectRef::namespaced(Kind::Secret, &name)));
    }

    fn ca(&mut self, namespace: &Arc<str>, reference: CaRef<'_>) {
        let config_map = reference.config_map(namespace);
        self.0.extend(config_map.map(|name| ObjectRef::namespaced(Kind::ConfigMap, &name)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::Object;

    #[test]
    fn whatever_names_a_secret_or_a_config_map_has_it_held() {
        let group = "gateway.networking.k8s.io/v1";
        let ca = |name: &str| json!({ "group": "", "kind": "ConfigMap", "name": name, "namespace": "b" });
        let validation = |name: &str| json!({ "validation": { "caCertificateRefs": [ca(name), { "group": "", "kind": "Service", "name": "no" }] } });
        let certificates =
            |name: &str| json!({ "certificateRefs": [{ "name": name }, { "kind": "Other", "name": "no" }] });
        let listener = |name: &str| json!({ "name": "l", "port": 443, "protocol": "HTTPS", "tls": certificates(name) });
        let mut inputs = Inputs::default();
        for (version, kind, spec) in [
            (
                group,
                "Gateway",
                json!({ "gatewayClassName": "c", "listeners": [listener("of-gateway")], "tls": {
                "frontend": { "default": validation("default"), "perPort": [{ "port": 443, "tls": validation("port") }] },
                "backend": { "clientCertificateRef": { "name": "client", "namespace": "b" } } } }),
            ),
            (group, "ListenerSet", json!({ "parentRef": { "name": "g" }, "listeners": [listener("of-set")] })),
            (
                group,
                "BackendTLSPolicy",
                json!({ "targetRefs": [{ "group": "", "kind": "Service", "name": "s" }], "validation": {
                "hostname": "a", "caCertificateRefs": [{ "group": "", "kind": "ConfigMap", "name": "policy" }, { "group": "", "kind": "Secret", "name": "no" }] } }),
            ),
            (
                "portcullis.dev/v1alpha1",
                "Backend",
                json!({ "endpoints": [], "tls": { "hostname": "a", "caCertificateRefs": [{ "name": "backend" }] } }),
            ),
            (
                "portcullis.dev/v1alpha1",
                "AuthPolicy",
                json!({ "targetRefs": [{ "kind": "Gateway", "name": "g" }], "authentication": { "methods": [
                    { "name": "a", "apiKey": { "secretRefs": [{ "name": "key" }] } },
                    { "name": "b", "basic": { "secretRef": { "name": "users" } } },
                    { "name": "c", "jwt": { "jwks": { "secretRef": { "name": "jwks" } } } },
                    { "name": "d", "jwt": { "jwks": { "remote": { "uri": "https://a/b",
                        "tls": { "caCertificateRefs": [{ "name": "remote" }] } } } } },
                    { "name": "e", "oidc": { "issuer": "https://a", "clientID": "c", "clientSecretRef": { "name": "oidc" } } },
                    { "name": "f", "introspection": { "endpoint": "https://a", "clientID": "c",
                        "clientSecretRef": { "name": "introspection" } } },
                ] } }),
            ),
            (
                "portcullis.dev/v1alpha1",
                "GatewayParameters",
                json!({ "counterStore": { "addresses": ["a:1"], "authSecretRef": { "name": "store" },
                    "tls": { "caCertificateRefs": [{ "name": "store" }] } } }),
            ),
            (
                "gateway.networking.x-k8s.io/v1alpha1",
                "XBackend",
                json!({ "type": "ExternalHostname", "tls": { "mode": "ServerOnly", "validation": {
                "hostname": "a", "caCertificateRefs": [{ "group": "", "kind": "ConfigMap", "name": "x-backend" }] } } }),
            ),
        ] {
            let object = json!({ "apiVersion": version, "kind": kind, "metadata": { "namespace": "a", "name": "o" }, "spec": spec });
            inputs.insert(Object::parse(object).unwrap());
        }
        let named: Vec<String> = references(&inputs).iter().map(ToString::to_string).collect();
        assert_eq!(
            named,
            [
                "Secret a/introspection",
                "Secret a/jwks",
                "Secret a/key",
                "Secret a/of-gateway",
                "Secret a/of-set",
                "Secret a/oidc",
                "Secret a/store",
                "Secret a/users",
                "Secret b/client",
                "ConfigMap a/backend",
                "ConfigMap a/policy",
                "ConfigMap a/remote",
                "ConfigMap a/store",
                "ConfigMap a/x-backend",
                "ConfigMap b/default",
                "ConfigMap b/port",
            ]
        );
    }
}
