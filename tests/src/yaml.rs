//! Objects as users write them.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

/// Writes a file as careful editors and ConfigMap mounts do: beside it, then renamed over it.
pub fn write_atomically(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    fs::write(&beside, text)?;
    fs::rename(&beside, path)
}

/// A Gateway with one HTTP listener on loopback.
pub fn gateway(port: u16) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge, namespace: default}}
spec:
  gatewayClassName: portcullis
  addresses: [{{type: IPAddress, value: 127.0.0.1}}]
  listeners:
  - {{name: http, port: {port}, protocol: HTTP}}
---
"
    )
}

/// A Backend of our own group with one address.
pub fn backend(name: &str, address: SocketAddr) -> String {
    format!(
        "apiVersion: portcullis.dev/v1alpha1
kind: Backend
metadata: {{name: {name}, namespace: default}}
spec:
  endpoints:
  - {{ip: {}, port: {}}}
---
",
        address.ip(),
        address.port()
    )
}

/// An HTTPRoute on `prefix` to one Backend, which marks request and response with `mark`.
pub fn route(name: &str, prefix: &str, backend: &str, mark: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: default}}
spec:
  parentRefs: [{{name: edge}}]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: {prefix}}}}}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {{set: [{{name: x-mark, value: {mark}}}]}}
    - type: ResponseHeaderModifier
      responseHeaderModifier: {{set: [{{name: x-mark, value: {mark}}}]}}
    backendRefs:
    - {{group: portcullis.dev, kind: Backend, name: {backend}}}
---
"
    )
}

/// `count` routes, each with a prefix of its own, all to one Backend.
pub fn many_routes(count: usize, backend: &str) -> String {
    let mut text = String::new();
    for index in 0..count {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: route-{index}, namespace: default}}
spec:
  parentRefs: [{{name: edge}}]
  rules:
  - matches: [{{path: {{type: PathPrefix, value: /route-{index}}}}}]
    backendRefs:
    - {{group: portcullis.dev, kind: Backend, name: {backend}}}
---
"
        );
    }
    text
}
