//! `Backend`: host names or addresses with ports, for what is no Service: hosts outside the cluster, and everything in
//! standalone mode. A route names it in `backendRefs` with group `portcullis.dev` and kind `Backend`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where requests can be sent. All endpoints are replicas of one thing: requests are balanced over them, each at its
/// own port. `backendRef.port` may be left out; if it is given, it must be the port of every endpoint.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "Backend",
    plural = "backends",
    shortname = "pbe",
    category = "portcullis",
    namespaced,
    status = "BackendStatus",
    derive = "Default",
    derive = "PartialEq",
    doc = "Host names or addresses that routes can send requests to.",
    printcolumn(name = "Protocol", type_ = "string", json_path = ".spec.protocol"),
    printcolumn(name = "TLS", type_ = "string", json_path = ".spec.tls.hostname"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Accepted")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendSpec {
    /// The replicas: either all host names or all addresses.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(
        merge_strategy = ListMerge::Atomic,
        validation = Rule::new("self.all(e, has(e.hostname)) || self.all(e, has(e.ip))")
            .message("use either hostname in every endpoint or ip in every endpoint")
    )]
    pub endpoints: Vec<BackendEndpoint>,

    /// What the endpoints speak.
    #[serde(default)]
    pub protocol: BackendProtocol,

    /// Encrypt and verify connections to the endpoints; without it they are plain text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<BackendTls>,

    /// How long connecting to an endpoint may take, TLS handshake included, as a Gateway API duration (`500ms`, `5s`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('1ms') && duration(self) <= duration('1m')")
            .message("connectTimeout must be from 1ms to 1m")
    )]
    pub connect_timeout: Option<String>,
}

/// One replica.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("has(self.hostname) != has(self.ip)").message("give exactly one of hostname and ip")
)]
pub struct BackendEndpoint {
    /// A DNS name; all its IPv4 and IPv6 addresses are used, and it is resolved again when its records expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-zA-Z0-9_]([-a-zA-Z0-9_]*[a-zA-Z0-9_])?(\.[a-zA-Z0-9_]([-a-zA-Z0-9_]*[a-zA-Z0-9_])?)*$")
    )]
    pub hostname: Option<String>,

    /// An IPv4 or IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 39))]
    #[x_kube(validation = Rule::new("isIP(self)").message("ip must be an IPv4 or IPv6 address"))]
    pub ip: Option<String>,

    /// The port to connect to.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// What is spoken to a backend.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendProtocol {
    /// HTTP/1.1; with TLS, HTTP/2 too where the backend takes it.
    #[default]
    #[serde(rename = "HTTP")]
    Http,
    /// HTTP/2 alone: with prior knowledge on plain connections, by ALPN with TLS.
    #[serde(rename = "HTTP2")]
    Http2,
}

/// How the endpoints are authenticated. There is no setting that skips it.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("(has(self.caCertificateRefs) && size(self.caCertificateRefs) > 0) != has(self.wellKnownCACertificates)")
        .message("give exactly one of caCertificateRefs and wellKnownCACertificates")
)]
pub struct BackendTls {
    /// Sent as SNI, and the name that the certificate must carry unless `subjectAltNames` says otherwise.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub hostname: String,

    /// ConfigMaps of the same namespace whose key `ca.crt` holds trusted certificates in PEM form.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub ca_certificate_refs: Vec<CaCertificateRef>,

    /// `System`: trust what the system of the data plane trusts.
    #[serde(default, rename = "wellKnownCACertificates", skip_serializing_if = "Option::is_none")]
    pub well_known_ca_certificates: Option<WellKnownCaCertificates>,

    /// Names of which the certificate must carry one; `hostname` is then SNI alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub subject_alt_names: Vec<SubjectAltName>,
}

/// Names a ConfigMap of the Backend's own namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaCertificateRef {
    /// The ConfigMap's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// Sets of roots that need no object.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum WellKnownCaCertificates {
    /// The roots of the data plane's system.
    System,
}

/// One name that a certificate may carry.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("self.type == 'Hostname' ? has(self.hostname) && !has(self.uri) : has(self.uri) && !has(self.hostname)")
        .message("give hostname for type Hostname, and uri for type URI")
)]
pub struct SubjectAltName {
    /// Which kind of name it is.
    #[serde(rename = "type")]
    pub kind: SubjectAltNameType,

    /// A DNS name, for type `Hostname`; may start with `*.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub hostname: Option<String>,

    /// A URI such as `spiffe://cluster.local/ns/shop/sa/cart`, for type `URI`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-zA-Z][a-zA-Z0-9+.-]*:.+$"))]
    pub uri: Option<String>,
}

/// The kinds of names that are compared.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubjectAltNameType {
    /// A DNS name.
    #[default]
    Hostname,
    /// A URI.
    #[serde(rename = "URI")]
    Uri,
}

/// What the controller says about the object.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BackendStatus {
    /// `Accepted`: whether the object can be used at all. `ResolvedRefs`: whether its CA certificates were found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_owned()]))]
    pub conditions: Vec<Condition>,
}
