//! A part of a request by which requests are told apart.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One part of a key. `type` says which; the field of that name says what exactly.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(
    validation = Rule::new("!has(self.clientIP) || self.type == 'ClientIP'").message("clientIP goes with type ClientIP"),
    validation = Rule::new("has(self.header) == (self.type == 'Header')").message("header goes with type Header, and type Header needs it"),
    validation = Rule::new("has(self.cookie) == (self.type == 'Cookie')").message("cookie goes with type Cookie, and type Cookie needs it"),
    validation = Rule::new("has(self.query) == (self.type == 'Query')").message("query goes with type Query, and type Query needs it"),
    validation = Rule::new("has(self.claim) == (self.type == 'Claim')").message("claim goes with type Claim, and type Claim needs it"),
    validation = Rule::new("has(self.expression) == (self.type == 'Expression')").message("expression goes with type Expression, and type Expression needs it")
)]
pub struct KeyPart {
    /// Which part of the request.
    #[serde(rename = "type")]
    pub kind: KeyPartType,

    /// Networks that count as one client, for `ClientIP`.
    #[serde(default, rename = "clientIP", skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<ClientIpKey>,

    /// A header's name, for `Header`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$"))]
    pub header: Option<String>,

    /// A cookie's name, for `Cookie`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^[A-Za-z0-9!#$%&'*+.^_|~-]+$"))]
    pub cookie: Option<String>,

    /// The name of a query parameter, for `Query`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub query: Option<String>,

    /// The name of a claim, for `Claim`; `.` leads into objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub claim: Option<String>,

    /// A CEL expression whose value is the part, for `Expression`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub expression: Option<String>,
}

/// The parts of a request that can be a key.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyPartType {
    /// The client's address, as forwarding headers of trusted proxies give it.
    #[default]
    #[serde(rename = "ClientIP")]
    ClientIp,
    /// A header's value.
    Header,
    /// A cookie's value.
    Cookie,
    /// A query parameter's value.
    Query,
    /// A claim of the identity that an AuthPolicy established.
    Claim,
    /// The id of the API key's owner.
    #[serde(rename = "APIKey")]
    ApiKey,
    /// What a CEL expression comes to.
    Expression,
}

/// How much of a client's address counts.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientIpKey {
    /// Bits of an IPv4 address.
    #[serde(default = "ClientIpKey::whole_ipv4")]
    #[schemars(range(min = 0, max = 32))]
    pub ipv4_prefix: i32,

    /// Bits of an IPv6 address: a household has a /64 to pick addresses from.
    #[serde(default = "ClientIpKey::network_ipv6")]
    #[schemars(range(min = 0, max = 128))]
    pub ipv6_prefix: i32,
}

impl ClientIpKey {
    fn whole_ipv4() -> i32 {
        32
    }

    fn network_ipv6() -> i32 {
        64
    }
}

impl Default for ClientIpKey {
    fn default() -> Self {
        Self { ipv4_prefix: Self::whole_ipv4(), ipv6_prefix: Self::network_ipv6() }
    }
}
