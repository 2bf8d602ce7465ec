//! The generated files are what the types say, and the definitions hold what they promise.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use portcullis_crds::{Backend, BackendProtocol, GatewayParameters, manifests};
use serde_json::{Value, json};

fn definitions() -> Vec<Value> {
    manifests().unwrap().iter().map(|manifest| serde_norway::from_str(&manifest.yaml).unwrap()).collect()
}

/// Calls `visit` with the path and the schema of every property.
fn walk(path: &str, schema: &Value, visit: &mut dyn FnMut(&str, &Value)) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        visit(&path, property);
        walk(&path, property, visit);
        walk(&format!("{path}[]"), &property["items"], visit);
    }
}

#[test]
fn checked_in_files_are_what_the_types_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["yaml", "../charts/portcullis-crds/templates"] {
        let mut expected: Vec<String> = Vec::new();
        for manifest in manifests().unwrap() {
            let path = root.join(folder).join(&manifest.file_name);
            let present = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(present == manifest.yaml, "{} is out of date; run `make crds`", path.display());
            expected.push(manifest.file_name);
        }
        let mut present: Vec<String> = std::fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        present.sort();
        expected.sort();
        assert_eq!(present, expected, "{folder} holds files of kinds that are gone");
    }
}

#[test]
fn every_field_is_described_and_every_list_and_string_is_bounded() {
    for definition in definitions() {
        let kind = &definition["spec"]["names"]["kind"];
        for version in definition["spec"]["versions"].as_array().unwrap() {
            let schema = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
            walk("spec", schema, &mut |path, property| {
                assert!(property["description"].is_string(), "{kind} {path} has no description");
                match property["type"].as_str() {
                    Some("array") => assert!(property["maxItems"].is_number(), "{kind} {path} has no maxItems"),
                    Some("string") => assert!(
                        ["maxLength", "pattern", "enum"].iter().any(|bound| !property[*bound].is_null()),
                        "{kind} {path} has no bound"
                    ),
                    Some("integer") => assert!(property["maximum"].is_number(), "{kind} {path} has no maximum"),
                    _ => {}
                }
            });
        }
    }
}

#[test]
fn the_rules_that_no_bound_can_say_are_in_the_definitions() {
    let all = manifests().unwrap().iter().map(|manifest| manifest.yaml.clone()).collect::<String>();
    for message in [
        "use either hostname in every endpoint or ip in every endpoint",
        "give exactly one of hostname and ip",
        "ip must be an IPv4 or IPv6 address",
        "give exactly one of caCertificateRefs and wellKnownCACertificates",
        "give hostname for type Hostname, and uri for type URI",
        "connectTimeout must be from 1ms to 1m",
        "ports must be unique",
        "give replicas or autoscaling, not both",
        "maxReplicas must not be below minReplicas",
        "give exactly one of minAvailable and maxUnavailable",
        "each entry must be a CIDR",
        "sample goes with mode Sampled",
        "externalTrafficPolicy goes with type LoadBalancer or NodePort",
        "loadBalancerClass and loadBalancerSourceRanges go with type LoadBalancer",
        "ipFamilyPolicy SingleStack goes with one entry of ipFamilies",
        "each family stands once",
        "PORTCULLIS_NODE is set by Portcullis",
        "sentinelMaster goes with mode Sentinel",
        "a cluster has database 0 alone",
        "a target is a Gateway, ListenerSet, HTTPRoute or GRPCRoute",
        "overrides are for Gateways and ListenerSets",
        "give exactly one of window and calendar",
        "burst goes with window",
        "window must be from 1ms to 744h",
        "storeTimeout must be from 1ms to 1s",
        "precision, localGuard, onStoreFailure and storeTimeout go with scope Fleet",
        "cost must be from 0 to 1000000",
        "header goes with type Header",
        "expression goes with type Expression",
        "a policy must ask for something",
        "give exactly one of jwt, apiKey, basic",
        "give issuer, jwks or both",
        "give exactly one of remote, inline and secretRef",
        "give exactly one of uri and backendRef",
        "give exactly one of secretSelector and secretRefs",
        "scopes must contain openid",
        "grpc goes with protocol GRPC",
        "give exactly one of claim and expression",
        "this header belongs to the protocol",
        "status must be 302, 303 or 307 with redirect",
    ] {
        assert!(all.contains(message), "{message}");
    }
}

#[test]
fn status_is_a_subresource_with_conditions_keyed_by_type() {
    for definition in definitions() {
        let version = &definition["spec"]["versions"][0];
        assert!(version["subresources"]["status"].is_object());
        let status = &version["schema"]["openAPIV3Schema"]["properties"]["status"];
        // Of a policy, each Gateway says something of its own.
        let ancestors = &status["properties"]["ancestors"];
        assert!(ancestors.is_null() || ancestors["maxItems"] == 16);
        let said = if ancestors.is_null() { status } else { &ancestors["items"] };
        let conditions = &said["properties"]["conditions"];
        assert_eq!(conditions["x-kubernetes-list-type"], "map");
        assert_eq!(conditions["x-kubernetes-list-map-keys"], json!(["type"]));
        assert!(!version["additionalPrinterColumns"].as_array().unwrap().is_empty());
    }
}

#[test]
fn policies_say_that_they_are_inherited_and_key_their_lists() {
    for definition in definitions() {
        let labels = &definition["metadata"]["labels"];
        let names = &definition["spec"]["names"];
        let expected = match names["kind"].as_str().unwrap() {
            "RateLimitPolicy" => Some("prl"),
            "AuthPolicy" => Some("pauth"),
            _ => None,
        };
        let Some(short) = expected else { continue };
        assert_eq!(labels[portcullis_crds::POLICY_LABEL], "Inherited");
        assert_eq!(names["shortNames"], json!([short]));
        let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let targets = &spec["properties"]["targetRefs"];
        assert_eq!(targets["x-kubernetes-list-map-keys"], json!(["group", "kind", "name", "sectionName"]));
        assert_eq!(targets["items"]["properties"]["sectionName"]["default"], "");
        assert_eq!(targets["items"]["properties"]["group"]["default"], "gateway.networking.k8s.io");
        assert_eq!(spec["properties"]["strategy"]["default"], "AtomicDefaults");
    }
}

#[test]
fn objects_of_users_are_read_with_their_defaults() {
    let backend: Backend = serde_norway::from_str(
        "{apiVersion: portcullis.dev/v1alpha1, kind: Backend, metadata: {name: a}, spec: {endpoints: [{hostname: a.example, port: 80}]}}",
    )
    .unwrap();
    assert_eq!(backend.spec.protocol, BackendProtocol::Http);
    assert_eq!(backend.spec.tls, None);
    let parameters: GatewayParameters = serde_norway::from_str(
        "{apiVersion: portcullis.dev/v1alpha1, kind: GatewayParameters, metadata: {name: a}, spec: {proxyProtocol: {ports: [80]}}}",
    )
    .unwrap();
    assert_eq!(parameters.spec.proxy_protocol.unwrap().ports, [80]);
}
