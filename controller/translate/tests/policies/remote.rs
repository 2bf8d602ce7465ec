//! What policies ask others for: where they are reached, and what is said while they are not, or not safely.

use std::sync::Arc;

use portcullis_ir::{Auth, Issuer, MethodKind};

use crate::world::{GATEWAY, ROUTE, auth, fresh, policy, said, says, world};

const SECRET: &str = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: login, namespace: infra}\n\
                      data: {client-secret: c2VjcmV0}\n";
const OBJECTS: &str = "---
apiVersion: v1
kind: Service
metadata: {name: idp, namespace: infra}
spec: {ports: [{port: 8443}]}
---
apiVersion: portcullis.dev/v1alpha1
kind: Backend
metadata: {name: idp, namespace: infra}
spec: {endpoints: [{hostname: idp.internal, port: 9443}]}
";

fn asked(endpoint: &str, rest: &str) -> String {
    let introspection = format!("{{endpoint: '{endpoint}', clientID: gw, clientSecretRef: {{name: login}}{rest}}}");
    format!("authentication: {{methods: [{{name: asked, introspection: {introspection}}}]}}")
}

#[test]
fn an_introspection_endpoint_is_reached_where_the_policy_says() {
    for (endpoint, rest, url) in [
        ("https://id.example/introspect?a=b", "", "https://id.example/introspect?a=b"),
        (
            "https://id.example/introspect?a=b",
            ", backendRef: {name: idp, port: 8443}",
            "https://idp.infra.svc:8443/introspect?a=b",
        ),
        ("http://id.example", ", backendRef: {name: idp, port: 8443}", "http://idp.infra.svc:8443/"),
        (
            "https://id.example/introspect",
            ", backendRef: {group: portcullis.dev, kind: Backend, name: idp}",
            "https://idp.internal:9443/introspect",
        ),
    ] {
        let yaml = policy("AuthPolicy", "p", ROUTE, &asked(endpoint, rest)) + SECRET + OBJECTS;
        let output = fresh(&world(&yaml));
        let compiled = auth(&output, "web", 0).unwrap();
        let Auth::Enforce(compiled) = &*compiled else { panic!("{compiled:?}") };
        let MethodKind::Introspection(method) = &compiled.methods[0].kind else { panic!("{compiled:?}") };
        assert_eq!(&*method.endpoint.url, url);
    }
    let yaml = policy("AuthPolicy", "p", ROUTE, &asked("https://id.example", ", backendRef: {name: gone, port: 1}"));
    let output = fresh(&world(&(yaml + SECRET)));
    assert!(matches!(&*auth(&output, "web", 0).unwrap(), Auth::Broken(_)));
    says(&output, "AuthPolicy infra/p", "Accepted=False:Invalid", "introspection.backendRef");
}

#[test]
fn what_crosses_the_network_in_the_open_is_told() {
    let jwks = |url: &str| format!("jwt: {{jwks: {{remote: {{uri: '{url}'}}}}}}");
    let oidc = |url: &str| format!("oidc: {{issuer: '{url}', clientID: gw, clientSecretRef: {{name: login}}}}");
    let issuer = |url: &str| format!("jwt: {{issuer: '{url}'}}");
    let asked =
        |url: &str| format!("introspection: {{endpoint: '{url}', clientID: gw, clientSecretRef: {{name: login}}}}");
    type Method<'a> = (&'a dyn Fn(&str) -> String, &'static str, &'static str);
    let methods: [Method<'_>; 4] = [
        (&jwks, "jwt.jwks.remote is http", "keys of their own"),
        (&issuer, "jwt.issuer is http", "keys of their own"),
        (&oidc, "oidc.issuer is http", "the client's secret"),
        (&asked, "introspection.endpoint is http", "the client's secret"),
    ];
    for (method, field, words) in methods {
        for (url, is_told) in [("http://id.example/x", true), ("https://id.example/x", false)] {
            let spec = format!("authentication: {{methods: [{{name: a, {}}}]}}", method(url));
            let output = fresh(&world(&(policy("AuthPolicy", "p", ROUTE, &spec) + SECRET)));
            says(&output, "AuthPolicy infra/p", "Accepted=True:Accepted", "valid");
            let told = format!("{:?}", said(&output, "AuthPolicy infra/p"));
            assert_eq!(told.contains(field) && told.contains(words), is_told, "{told}");
        }
    }
}

#[test]
fn keys_that_are_missing_are_told_until_they_are_there() {
    const MISSING: &str = "no keys are known of https://id.example";
    let spec = "authentication: {methods: [{name: a, jwt: {issuer: 'https://id.example'}}]}";
    let mut inputs = world(&policy("AuthPolicy", "p", GATEWAY, spec));
    let output = fresh(&inputs);
    says(&output, "AuthPolicy infra/p", "Accepted=True:Accepted", MISSING);
    let key = output.issuers.keys().next().unwrap().clone();
    for (keys, is_told) in [(None, true), (Some("{}".into()), false)] {
        inputs.issuers.insert(key.clone(), Arc::new(Issuer { key: key.clone(), keys, discovery: None }));
        let told = format!("{:?}", said(&fresh(&inputs), "AuthPolicy infra/p"));
        assert_eq!(told.contains(MISSING), is_told, "{told}");
    }
}
