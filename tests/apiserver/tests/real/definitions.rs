//! Our kinds as the server judges them: bounds, patterns and CEL rules, accepted and refused.

use kube::Client;
use portcullis_apiserver::{apply, apply_document};

use crate::SERVER;

/// Specs of Backends that mean something.
const GOOD_BACKENDS: &[&str] = &[
    "{endpoints: [{hostname: payments.example.com, port: 443}]}",
    "{endpoints: [{hostname: _grpc.Payments.example.com, port: 1}]}",
    "{endpoints: [{ip: 10.0.0.1, port: 65535}, {ip: '2001:db8::1', port: 80}]}",
    "{endpoints: [{ip: 10.0.0.1, port: 80}], protocol: HTTP2, connectTimeout: 1m}",
    "{endpoints: [{ip: 10.0.0.1, port: 80}], connectTimeout: 1ms}",
    "{endpoints: [{ip: 10.0.0.1, port: 80}], connectTimeout: 0h0m1s500ms}",
    "{endpoints: [{hostname: a.example, port: 443}], tls: {hostname: a.example, wellKnownCACertificates: System}}",
    "{endpoints: [{ip: 10.0.0.1, port: 443}], tls: {hostname: a.example, caCertificateRefs: [{name: roots}, {name: more}]}}",
    "{endpoints: [{ip: 10.0.0.1, port: 443}], tls: {hostname: a.example, wellKnownCACertificates: System, subjectAltNames: [
       {type: Hostname, hostname: '*.a.example'}, {type: URI, uri: 'spiffe://cluster.local/ns/shop/sa/cart'}]}}",
];

/// Specs of Backends that mean nothing, and words of the message that says why.
const BAD_BACKENDS: &[(&str, &str)] = &[
    ("{}", "spec.endpoints: Required value"),
    ("{endpoints: []}", "should have at least 1 items"),
    ("{endpoints: [{port: 80}]}", "give exactly one of hostname and ip"),
    ("{endpoints: [{hostname: a.example, ip: 10.0.0.1, port: 80}]}", "give exactly one of hostname and ip"),
    (
        "{endpoints: [{hostname: a.example, port: 80}, {ip: 10.0.0.1, port: 80}]}",
        "use either hostname in every endpoint or ip in every endpoint",
    ),
    ("{endpoints: [{ip: 10.0.0.256, port: 80}]}", "ip must be an IPv4 or IPv6 address"),
    ("{endpoints: [{ip: 10.0.0.0/8, port: 80}]}", "ip must be an IPv4 or IPv6 address"),
    ("{endpoints: [{ip: 10.0.0.1, port: 0}]}", "should be greater than or equal to 1"),
    ("{endpoints: [{ip: 10.0.0.1, port: 65536}]}", "should be less than or equal to 65535"),
    ("{endpoints: [{ip: 10.0.0.1, port: '80'}]}", "expected numeric"),
    ("{endpoints: [{ip: 10.0.0.1}]}", "port: Required value"),
    ("{endpoints: [{hostname: a..example, port: 80}]}", "should match"),
    ("{endpoints: [{hostname: '*.example', port: 80}]}", "should match"),
    ("{endpoints: [{ip: 10.0.0.1, port: 80}], protocol: HTTP3}", "Unsupported value"),
    ("{endpoints: [{ip: 10.0.0.1, port: 80}], connectTimeout: 0s}", "connectTimeout must be from 1ms to 1m"),
    ("{endpoints: [{ip: 10.0.0.1, port: 80}], connectTimeout: 61s}", "connectTimeout must be from 1ms to 1m"),
    ("{endpoints: [{ip: 10.0.0.1, port: 80}], connectTimeout: 1.5s}", "should match"),
    ("{endpoints: [{ip: 10.0.0.1, port: 80}], timeout: 1s}", "field not declared in schema"),
    ("{endpoints: [{ip: 10.0.0.1, port: 80, weight: 3}]}", "field not declared in schema"),
    (
        "{endpoints: [{ip: 10.0.0.1, port: 80}], tls: {hostname: a.example}}",
        "give exactly one of caCertificateRefs and wellKnownCACertificates",
    ),
    (
        "{endpoints: [{ip: 10.0.0.1, port: 80}], tls: {hostname: a.example, caCertificateRefs: []}}",
        "give exactly one of caCertificateRefs and wellKnownCACertificates",
    ),
    (
        "{endpoints: [{ip: 10.0.0.1, port: 80}], tls: {hostname: a.example, wellKnownCACertificates: System, caCertificateRefs: [{name: a}]}}",
        "give exactly one of caCertificateRefs and wellKnownCACertificates",
    ),
    ("{endpoints: [{ip: 10.0.0.1, port: 80}], tls: {wellKnownCACertificates: System}}", "tls.hostname: Required value"),
    (
        "{endpoints: [{ip: 10.0.0.1, port: 80}], tls: {hostname: A.example, wellKnownCACertificates: System}}",
        "should match",
    ),
    (
        "{endpoints: [{ip: 10.0.0.1, port: 80}], tls: {hostname: a.example, wellKnownCACertificates: None}}",
        "Unsupported value",
    ),
    (
        "{endpoints: [{ip: 10.0.0.1, port: 80}], tls: {hostname: a.example, wellKnownCACertificates: System, subjectAltNames: [{type: URI, hostname: a.example}]}}",
        "give hostname for type Hostname, and uri for type URI",
    ),
    (
        "{endpoints: [{ip: 10.0.0.1, port: 80}], tls: {hostname: a.example, wellKnownCACertificates: System, subjectAltNames: [{type: Hostname}]}}",
        "give hostname for type Hostname, and uri for type URI",
    ),
    (
        "{endpoints: [{ip: 10.0.0.1, port: 80}], tls: {hostname: a.example, insecureSkipVerify: true, wellKnownCACertificates: System}}",
        "field not declared in schema",
    ),
];

const GOOD_PARAMETERS: &[&str] = &[
    "{}",
    "{proxyProtocol: {ports: []}}",
    "{proxyProtocol: {ports: [80, 65535]}}",
    "{counterStore: {addresses: ['redis.shop:6379']}}",
    "{counterStore: {addresses: ['[fd00::1]:6379'], tls: {}, authSecretRef: {name: redis}, database: 3}}",
    "{counterStore: {mode: Sentinel, sentinelMaster: main, addresses: ['s1:26379', 's2:26379']}}",
    "{counterStore: {mode: Cluster, addresses: ['10.0.0.1:7000'], tls: {caCertificateRefs: [{name: roots}]}}}",
];

const BAD_PARAMETERS: &[(&str, &str)] = &[
    ("{proxyProtocol: {}}", "proxyProtocol.ports: Required value"),
    ("{proxyProtocol: {ports: [0]}}", "should be greater than or equal to 1"),
    ("{proxyProtocol: {ports: [70000]}}", "should be less than or equal to 65535"),
    ("{proxyProtocol: {ports: [80, 80]}}", "duplicate"),
    ("{proxyprotocol: {ports: [80]}}", "field not declared in schema"),
    ("{counterStore: {addresses: []}}", "should have at least 1 items"),
    ("{counterStore: {addresses: [redis]}}", "should match"),
    ("{counterStore: {addresses: ['a:1', 'a:1']}}", "duplicate entries"),
    ("{counterStore: {mode: Sentinel, addresses: ['s:1']}}", "sentinelMaster goes with mode Sentinel"),
    ("{counterStore: {sentinelMaster: main, addresses: ['s:1']}}", "sentinelMaster goes with mode Sentinel"),
    ("{counterStore: {mode: Cluster, database: 1, addresses: ['s:1']}}", "a cluster has database 0 alone"),
    ("{counterStore: {addresses: ['s:1'], password: secret}}", "field not declared in schema"),
];

#[tokio::test]
async fn backends() {
    judge("Backend", GOOD_BACKENDS, BAD_BACKENDS).await;
}

#[tokio::test]
async fn gateway_parameters() {
    judge("GatewayParameters", GOOD_PARAMETERS, BAD_PARAMETERS).await;
}

#[tokio::test]
async fn the_server_adds_the_defaults() {
    let yaml = object("Backend", "defaults", GOOD_BACKENDS[0]);
    let [backend] = &apply(&SERVER.client(), "definitions", &yaml).await[..] else { panic!("one object") };
    assert_eq!(backend.data["spec"]["protocol"], "HTTP");
}

/// Submits specs that mean something, and others with words of the message that says why they do not.
pub(crate) async fn judge(kind: &str, good: &[impl AsRef<str>], bad: &[(impl AsRef<str>, &str)]) {
    let client = SERVER.client();
    let mut complaints = Vec::new();
    for (index, spec) in good.iter().enumerate() {
        let spec = spec.as_ref();
        if let Err(error) = submit(&client, kind, &format!("good-{index}"), spec).await {
            complaints.push(format!("{spec}\n  should be taken, but: {error}"));
        }
    }
    for (index, (spec, words)) in bad.iter().enumerate() {
        let spec = spec.as_ref();
        match submit(&client, kind, &format!("bad-{index}"), spec).await {
            Ok(()) => complaints.push(format!("{spec}\n  is taken; {words:?} was to come")),
            Err(error) if !error.contains(words) => {
                complaints.push(format!("{spec}\n  should be refused with {words:?}, but: {error}"));
            }
            Err(_) => {}
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

async fn submit(client: &Client, kind: &str, name: &str, spec: &str) -> Result<(), String> {
    let answer = apply_document(client, "definitions", &object(kind, name, spec)).await;
    answer.map(drop).map_err(|error| error.to_string())
}

fn object(kind: &str, name: &str, spec: &str) -> String {
    format!("{{apiVersion: portcullis.dev/v1alpha1, kind: {kind}, metadata: {{name: {name}}}, spec: {spec}}}")
}
