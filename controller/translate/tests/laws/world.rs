//! Random objects from a few names, so that they refer to each other; a seed makes the same object each time.

use std::sync::OnceLock;

use portcullis_ir::{Action, BackendKey, Filter, Route, StreamRoute, Target};
use portcullis_translate::{Inputs, Kind, NamespacedName, Object, ObjectRef};
use serde_json::{Value, json};

/// Kinds that worlds are made of, by number.
const KINDS: [Kind; 19] = [
    Kind::GatewayClass,
    Kind::Gateway,
    Kind::HttpRoute,
    Kind::ReferenceGrant,
    Kind::Namespace,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Secret,
    Kind::ConfigMap,
    Kind::GatewayParameters,
    Kind::Backend,
    Kind::GrpcRoute,
    Kind::TlsRoute,
    Kind::TcpRoute,
    Kind::UdpRoute,
    Kind::ListenerSet,
    Kind::BackendTlsPolicy,
    Kind::XBackend,
    Kind::ClusterTrustBundle,
];
pub(crate) const ID_KINDS: u8 = KINDS.len() as u8;
const NAMESPACES: [&str; 2] = ["one", "two"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) kind: u8,
    pub(crate) number: u8,
}

#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Put(Id, u64),
    Remove(Id),
    /// As if it did not parse.
    Break(Id),
}

impl Edit {
    pub(crate) fn id(&self) -> Id {
        match self {
            Self::Put(id, _) | Self::Remove(id) | Self::Break(id) => *id,
        }
    }
}

impl Id {
    /// One of any kind of route, by number.
    pub(crate) fn route(kind: u8, number: u8) -> Self {
        Self { kind: [2, 11, 12, 13, 14][usize::from(kind)], number }
    }

    pub(crate) fn slice(number: u8) -> Self {
        Self { kind: 6, number }
    }

    pub(crate) fn reference(self) -> ObjectRef {
        let kind = KINDS[usize::from(self.kind)];
        let name = self.name();
        match kind {
            Kind::GatewayClass | Kind::Namespace | Kind::ClusterTrustBundle => ObjectRef::cluster(kind, name),
            _ => ObjectRef::namespaced(kind, &NamespacedName::new(self.namespace(), name)),
        }
    }

    fn name(self) -> String {
        match KINDS[usize::from(self.kind)] {
            Kind::GatewayClass | Kind::Namespace if self.number > 90 => "new".to_owned(),
            Kind::GatewayClass => "class-0".to_owned(),
            Kind::Namespace => NAMESPACES[usize::from(self.number % 2)].to_owned(),
            kind => format!("{}-{}", kind.as_str().to_lowercase(), self.number),
        }
    }

    fn namespace(self) -> &'static str {
        NAMESPACES[usize::from(self.number % 2)]
    }
}

pub(crate) fn world_of(edits: &[Edit]) -> Inputs {
    let mut inputs = Inputs::default();
    // Without a class and a Gateway nothing would ever happen.
    for kind in 0..2 {
        apply(&mut inputs, &Edit::Put(Id { kind, number: 0 }, 7));
    }
    edits.iter().for_each(|edit| apply(&mut inputs, edit));
    inputs
}

pub(crate) fn apply(inputs: &mut Inputs, edit: &Edit) {
    match edit {
        Edit::Put(id, seed) => inputs.insert(Object::parse(object(*id, *seed)).unwrap()),
        Edit::Remove(id) => inputs.remove(&id.reference()),
        Edit::Break(id) => inputs.insert_invalid(id.reference(), "spec.x: expected a number"),
    }
}

fn object(id: Id, seed: u64) -> Value {
    let kind = KINDS[usize::from(id.kind)];
    let mut dice = Dice(seed ^ 0x9e37_79b9_7f4a_7c15);
    let mut value = match kind {
        Kind::GatewayClass => json!({ "spec": { "controllerName": "portcullis.dev/gateway-controller" } }),
        Kind::Gateway => json!({ "spec": gateway(&mut dice) }),
        Kind::HttpRoute => json!({ "spec": route(&mut dice, &rule) }),
        Kind::GrpcRoute => json!({ "spec": route(&mut dice, &call) }),
        Kind::TlsRoute | Kind::TcpRoute | Kind::UdpRoute => json!({ "spec": route(&mut dice, &stream) }),
        Kind::ReferenceGrant => json!({ "spec": grant(&mut dice) }),
        Kind::Namespace => json!({}),
        Kind::Service => {
            let spoken = dice.of(&["http", "http", "kubernetes.io/h2c", "kubernetes.io/wss"]);
            let udp = json!({ "name": "udp", "port": dice.of(&[80, 80, 81]), "protocol": "UDP" });
            json!({ "spec": { "ports": [{ "name": "http", "port": 80, "appProtocol": spoken }, udp] } })
        }
        Kind::EndpointSlice => slice(&mut dice),
        Kind::Secret => secret(&mut dice),
        Kind::ConfigMap => json!({ "data": { "ca.crt": dice.of(&[pair().0.as_str(), pair().0.as_str(), "rubbish"]) } }),
        Kind::GatewayParameters => json!({ "spec": { "proxyProtocol": { "ports": [dice.of(&[80, 0])] } } }),
        Kind::Backend => json!({ "spec": backend(&mut dice) }),
        Kind::ListenerSet => {
            let mut spec = json!({ "parentRef": reference(&mut dice, "gateway", 4) });
            spec["listeners"] = listeners(&mut dice).into();
            json!({ "spec": spec })
        }
        Kind::BackendTlsPolicy => json!({ "spec": tls_policy(&mut dice), "status": tls_policy_status(&mut dice) }),
        Kind::ClusterTrustBundle => {
            json!({ "spec": { "trustBundle": dice.of(&[pair().0.as_str(), pair().0.as_str(), ""]) } })
        }
        Kind::XBackend => json!({ "spec": x_backend(&mut dice), "status": tls_policy_status(&mut dice) }),
        Kind::RateLimitPolicy | Kind::AuthPolicy => unreachable!("worlds with policies: tests/policies/laws.rs"),
    };
    value["apiVersion"] = kind.api_version().into();
    value["kind"] = kind.as_str().into();
    let labels = match kind {
        Kind::EndpointSlice => json!({ "kubernetes.io/service-name": format!("service-{}", id.number) }),
        _ => json!({ "team": dice.of(&["a", "b"]) }),
    };
    value["metadata"] = json!({ "name": id.name(), "labels": labels, "generation": dice.below(3) });
    if kind.is_namespaced() {
        value["metadata"]["namespace"] = id.namespace().into();
    }
    if dice.below(2) == 0 {
        value["metadata"]["creationTimestamp"] = format!("2026-01-0{}T00:00:00Z", 1 + dice.below(3)).into();
    }
    value
}

pub(crate) fn backends_of(route: &Route) -> Vec<BackendKey> {
    let mut targets: Vec<&Target> = Vec::new();
    if let Action::Forward(backends) = &route.action {
        targets.extend(backends.iter().map(|one| &one.target));
    }
    targets.extend(route.filters.iter().filter_map(|filter| match filter {
        Filter::Mirror(mirror) => Some(&mirror.target),
        _ => None,
    }));
    targets.into_iter().filter_map(key).collect()
}

pub(crate) fn backends_of_stream(route: &StreamRoute) -> Vec<BackendKey> {
    route.backends.iter().filter_map(|one| key(&one.target)).collect()
}

fn key(target: &Target) -> Option<BackendKey> {
    match target {
        Target::Backend(key) => Some(key.clone()),
        Target::Invalid(_) => None,
    }
}

fn gateway(dice: &mut Dice) -> Value {
    let mut spec = json!({ "gatewayClassName": "class-0", "listeners": listeners(dice) });
    if dice.below(4) == 0 {
        let name = format!("gatewayparameters-{}", dice.below(4));
        spec["infrastructure"] =
            json!({ "parametersRef": { "group": "portcullis.dev", "kind": "GatewayParameters", "name": name } });
    }
    if dice.below(6) == 0 {
        spec["addresses"] = json!([{ "value": dice.of(&["127.0.0.1", "127.0.0.2", "not one"]) }]);
    }
    let allowed = dice.of(&[
        json!({}),
        json!({ "from": "None" }),
        json!({ "from": "All" }),
        json!({ "from": "All" }),
        json!({ "from": "Same" }),
        json!({ "from": "Selector", "selector": { "matchLabels": { "team": "a" } } }),
        json!({ "from": "Selector" }),
    ]);
    spec["allowedListeners"] = json!({ "namespaces": allowed });
    if dice.below(2) == 0 {
        spec["tls"]["backend"]["clientCertificateRef"] = reference(dice, "secret", 4);
    }
    if dice.below(2) == 0 {
        let default = if dice.below(4) == 0 { json!({}) } else { json!({ "validation": validation(dice) }) };
        let of_port = if dice.below(2) == 0 { json!({}) } else { json!({ "validation": validation(dice) }) };
        let port = dice.of(&[80, 443, 8443]);
        spec["tls"]["frontend"] = json!({ "default": default, "perPort": [{ "port": port, "tls": of_port }] });
    }
    spec
}

fn validation(dice: &mut Dice) -> Value {
    let references: Vec<Value> = (0..=dice.below(2))
        .map(|_| {
            let mut reference = reference(dice, "configmap", 4);
            reference["group"] = "".into();
            reference["kind"] = dice.of(&["ConfigMap", "ConfigMap", "ConfigMap", "Service"]).into();
            if dice.below(4) == 0 {
                reference = bundle(dice);
            }
            reference
        })
        .collect();
    json!({ "caCertificateRefs": references, "mode": dice.of(&["AllowValidOnly", "AllowInsecureFallback"]) })
}

fn listeners(dice: &mut Dice) -> Vec<Value> {
    (0..=dice.below(4))
        .map(|at| {
            let protocol = dice.of(&["HTTP", "HTTP", "HTTPS", "HTTPS", "TLS", "TLS", "TCP", "TCP", "UDP", "UDP", "SCTP"]);
            // Streams seldom meet others on a port: there they would only conflict.
            let port = match protocol {
                "HTTP" | "HTTPS" => dice.of(&[80, 81, 443, 8443, 8080, 9443, 0]),
                _ => dice.of(&[443, 9001, 9002, 9003, 9004]),
            };
            let mut listener = json!({
                "name": format!("l{at}"),
                "port": port,
                "protocol": protocol,
                "allowedRoutes": { "namespaces": dice.of(&[
                    json!({ "from": "All" }), json!({ "from": "Same" }),
                    json!({ "from": "Selector", "selector": { "matchLabels": { "team": "a" } } }), json!({ "from": "Selector" }),
                ]) },
            });
            if let Some(hostname) = hostname(dice) {
                listener["hostname"] = hostname.into();
            }
            if listener["protocol"] == "TLS" && dice.below(2) == 0 {
                listener["tls"] = json!({ "mode": "Passthrough" });
            } else if listener["protocol"] == "HTTPS" || listener["protocol"] == "TLS" {
                let names: Vec<Value> = (0..=dice.below(2))
                    .map(|_| reference(dice, "secret", 4))
                    .collect();
                listener["tls"] = json!({ "certificateRefs": names });
                if dice.below(6) == 0 {
                    listener["tls"]["options"] = json!({ "a.b/c": "d" });
                }
            }
            listener
        })
        .collect()
}

fn route(dice: &mut Dice, rule: &dyn Fn(&mut Dice) -> Value) -> Value {
    let parents: Vec<Value> = (0..=dice.below(3))
        .map(|_| {
            let kind = dice.of(&["gateway", "gateway", "gateway", "listenerset"]);
            let mut parent = reference(dice, kind, 4);
            if kind == "listenerset" {
                parent["kind"] = "ListenerSet".into();
            }
            if dice.below(4) == 0 {
                parent["sectionName"] = format!("l{}", dice.below(4)).into();
            }
            parent
        })
        .collect();
    let rules: Vec<Value> = (0..=dice.below(4)).map(|_| rule(dice)).collect();
    let hostnames: Vec<&str> = (0..dice.below(3)).filter_map(|_| hostname(dice)).collect();
    json!({ "parentRefs": parents, "hostnames": hostnames, "rules": rules })
}

fn rule(dice: &mut Dice) -> Value {
    let matches: Vec<Value> = (0..dice.below(3))
        .map(|_| {
            dice.of(&[
                json!({ "path": { "value": "/a" } }),
                json!({ "path": { "type": "Exact", "value": "/a/%c3%bc" } }),
                json!({ "path": { "type": "RegularExpression", "value": "/[a-z]+" } }),
                json!({ "path": { "type": "RegularExpression", "value": "(" } }),
                json!({ "method": "GET", "headers": [{ "name": "a", "value": "b" }], "queryParams": [{ "name": "q", "value": "1" }] }),
            ])
        })
        .collect();
    let filters: Vec<Value> = (0..dice.below(3))
        .map(|_| {
            dice.of(&[
                json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": { "set": [{ "name": "A", "value": "b" }] } }),
                json!({ "type": "URLRewrite", "urlRewrite": { "path": { "type": "ReplacePrefixMatch", "replacePrefixMatch": "/x" } } }),
                json!({ "type": "RequestRedirect", "requestRedirect": { "scheme": "https" } }),
                json!({ "type": "RequestMirror", "requestMirror": { "backendRef": { "name": "service-1", "port": 80 }, "percent": 5 } }),
                json!({ "type": "CORS", "cors": {} }),
                json!({ "type": "CORS", "cors": { "allowOrigins": ["https://a.example", "http://*.b.example:80", "https://*"], "allowMethods": ["GET"], "maxAge": 60 } }),
                json!({ "type": "CORS", "cors": { "allowOrigins": ["*"], "allowHeaders": ["*"], "exposeHeaders": ["x-a", "X-A"], "allowCredentials": true } }),
                json!({ "type": "Teleport", "teleport": { "to": "mars" } }),
            ])
        })
        .collect();
    let backends = backends(dice);
    let timeouts =
        dice.of(&[json!({}), json!({ "request": "1s" }), json!({ "request": "1s", "backendRequest": "2s" })]);
    let retry = dice.of(&[
        json!(null),
        json!({}),
        json!({ "attempts": 3, "codes": [503, 500, 503], "backoff": "100ms" }),
        json!({ "attempts": 0, "backoff": "0s" }),
        json!({ "codes": [200] }),
    ]);
    let session = dice.of(&[
        json!(null),
        json!({}),
        json!({ "sessionName": "cart", "absoluteTimeout": "8h", "cookieConfig": { "lifetimeType": "Permanent" } }),
        json!({ "type": "Header", "idleTimeout": "30m" }),
        json!({ "sessionName": "a b" }),
    ]);
    json!({ "matches": matches, "filters": filters, "backendRefs": backends, "timeouts": timeouts, "retry": retry,
        "sessionPersistence": session })
}

/// A rule of a GRPCRoute.
fn call(dice: &mut Dice) -> Value {
    let matches: Vec<Value> = (0..dice.below(3))
        .map(|_| {
            dice.of(&[
                json!({ "method": { "service": "a.B", "method": "Get" } }),
                json!({ "method": { "service": "a.B" } }),
                json!({ "method": { "method": "Get" }, "headers": [{ "name": "a", "value": "b" }] }),
                json!({ "method": { "type": "RegularExpression", "service": "a.*", "method": "Get|Put" } }),
                json!({ "method": { "type": "RegularExpression", "method": "(" } }),
                json!({ "method": {} }),
            ])
        })
        .collect();
    let filters: Vec<Value> = (0..dice.below(2))
        .map(|_| {
            dice.of(&[
                json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": { "set": [{ "name": "A", "value": "b" }] } }),
                json!({ "type": "RequestMirror", "requestMirror": { "backendRef": { "name": "service-1", "port": 80 }, "percent": 5 } }),
                json!({ "type": "ExtensionRef", "extensionRef": { "group": "a.b", "kind": "C", "name": "d" } }),
            ])
        })
        .collect();
    json!({ "matches": matches, "filters": filters, "backendRefs": backends(dice) })
}

/// A rule of a TLSRoute, a TCPRoute or a UDPRoute.
fn stream(dice: &mut Dice) -> Value {
    json!({ "name": dice.of(&["", "some"]), "backendRefs": backends(dice) })
}

fn backends(dice: &mut Dice) -> Vec<Value> {
    (0..dice.below(4))
        .map(|_| {
            let mut reference = if dice.below(3) == 0 {
                let (group, kind) =
                    dice.of(&[("portcullis.dev", "Backend"), ("gateway.networking.x-k8s.io", "XBackend")]);
                let mut backend = reference(dice, &kind.to_lowercase(), 4);
                backend["group"] = group.into();
                backend["kind"] = kind.into();
                backend
            } else {
                let mut service = reference(dice, "service", 5);
                service["port"] = dice.of(&[80, 80, 80, 81]).into();
                service
            };
            reference["weight"] = dice.of(&[0, 1, 5, -1]).into();
            reference
        })
        .collect()
}

/// Policies are in the namespace of Services with numbers of the same parity as their own.
fn tls_policy(dice: &mut Dice) -> Value {
    let target = |dice: &mut Dice| {
        let kind = dice.of(&["Service", "Service", "Service", "Gadget"]);
        let mut target = json!({ "group": "", "kind": kind, "name": format!("service-{}", dice.below(5)) });
        if let Some(section) = dice.of(&[None, None, Some("http"), Some("other")]) {
            target["sectionName"] = section.into();
        }
        target
    };
    let targets: Vec<Value> = (0..=dice.below(3)).map(|_| target(dice)).collect();
    let mut validation = json!({ "hostname": dice.of(&["a.example.com", "b.example.com", "c.example.com", "d.example.com", "192.0.2.1"]) });
    if dice.below(2) == 0 {
        validation["wellKnownCACertificates"] = dice.of(&["System", "System", "System", "example.com/mine"]).into();
    } else {
        let reference = |dice: &mut Dice| match dice.below(4) {
            0 => bundle(dice),
            _ => {
                json!({ "group": "", "kind": dice.of(&["ConfigMap", "ConfigMap", "ConfigMap", "Secret"]), "name": format!("configmap-{}", dice.below(4)) })
            }
        };
        validation["caCertificateRefs"] = (0..=dice.below(2)).map(|_| reference(dice)).collect();
    }
    validation["subjectAltNames"] = dice.of(&[
        json!(null),
        json!(null),
        json!([]),
        json!([]),
        json!([]),
        json!([{ "type": "URI", "uri": "spiffe://a/b" }, { "type": "Hostname", "hostname": "*.Example.com" }]),
        json!([{ "type": "URI", "uri": "nothing" }]),
        json!([{ "type": "Address", "address": "192.0.2.1" }]),
    ]);
    json!({ "targetRefs": targets, "validation": validation })
}

/// A reference to a ClusterTrustBundle.
fn bundle(dice: &mut Dice) -> Value {
    json!({ "group": "certificates.k8s.io", "kind": "ClusterTrustBundle", "name": format!("clustertrustbundle-{}", dice.below(4)) })
}

/// What earlier passes and others left there.
fn tls_policy_status(dice: &mut Dice) -> Value {
    let entry = |controller: &str| {
        json!({ "controllerName": controller, "conditions": [{ "type": "Accepted", "status": "True", "reason": "Accepted",
                "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z" }],
            "ancestorRef": { "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "one", "name": "gateway-0" } })
    };
    dice.of(&[
        json!(null),
        json!({ "ancestors": [entry("example.com/other")] }),
        json!({ "ancestors": [entry("portcullis.dev/gateway-controller")] }),
    ])
}

fn grant(dice: &mut Dice) -> Value {
    let kind = dice.of(&["HTTPRoute", "Gateway", "ListenerSet", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"]);
    let to = dice.of(&[
        json!({ "group": "", "kind": "Service" }),
        json!({ "group": "", "kind": "Secret" }),
        json!({ "group": "", "kind": "ConfigMap" }),
        json!({ "group": "portcullis.dev", "kind": "Backend" }),
        json!({ "group": "gateway.networking.x-k8s.io", "kind": "XBackend" }),
    ]);
    json!({ "from": [{ "group": "gateway.networking.k8s.io", "kind": kind, "namespace": dice.of(&NAMESPACES) }], "to": [to] })
}

fn slice(dice: &mut Dice) -> Value {
    let endpoints: Vec<Value> = (0..dice.below(4))
        .map(|_| json!({ "addresses": [format!("10.0.0.{}", dice.below(4))], "conditions": { "ready": dice.below(3) != 0, "serving": dice.below(2) == 0, "terminating": dice.below(2) == 0 } }))
        .collect();
    let ports = json!([{ "name": "http", "port": 8080 }, { "name": "udp", "port": 8053, "protocol": "UDP" }]);
    json!({ "addressType": "IPv4", "ports": ports, "endpoints": endpoints })
}

fn backend(dice: &mut Dice) -> Value {
    let endpoint = dice.of(&[
        json!({ "hostname": "a.example.com", "port": 80 }),
        json!({ "ip": "192.0.2.1", "port": 80 }),
        json!({ "hostname": "a b", "port": 80 }),
        json!({ "ip": "192.0.2.1", "port": 0 }),
    ]);
    let mut spec = json!({ "endpoints": [endpoint] });
    if dice.below(2) == 0 {
        spec["tls"] = json!({ "hostname": "a.example.com" });
        match dice.below(2) {
            0 => spec["tls"]["wellKnownCACertificates"] = "System".into(),
            _ => spec["tls"]["caCertificateRefs"] = json!([{ "name": format!("configmap-{}", dice.below(4)) }]),
        }
    }
    spec
}

fn x_backend(dice: &mut Dice) -> Value {
    let port = dice.of(&[json!({ "number": 443 }), json!({ "port": 443 }), json!({ "number": 443 }), json!({})]);
    let mut spec = json!({ "type": dice.of(&["ExternalHostname", "ExternalHostname", "EndpointSelector"]), "port": port,
        "externalHostname": { "hostname": dice.of(&["a.example.com", "a.example.com", "192.0.2.1"]) },
        "protocol": dice.of(&["HTTP", "HTTP", "TCP", "GRPC", "MCP"]) });
    if dice.below(2) == 0 {
        let reference = json!({ "group": "", "kind": "ConfigMap", "name": format!("configmap-{}", dice.below(4)) });
        spec["tls"] = json!({ "mode": "ServerOnly", "validation": { "hostname": "a.example.com", "caCertificateRefs": [reference] } });
    }
    spec
}

fn secret(dice: &mut Dice) -> Value {
    let (certificate, key) = pair();
    let key = dice.of(&[key.as_str(), key.as_str(), "rubbish"]);
    json!({ "type": "kubernetes.io/tls", "stringData": { "tls.crt": certificate, "tls.key": key } })
}

/// One key pair for all: making them is slow, and which one it is does not matter.
fn pair() -> &'static (String, String) {
    static PAIR: OnceLock<(String, String)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(vec!["a.example.com".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    })
}

/// A reference by name and, nine times in ten, the namespace that such an object is in.
fn reference(dice: &mut Dice, kind: &str, count: u64) -> Value {
    let number = dice.below(count);
    let elsewhere = u64::from(dice.below(10) == 0);
    let namespace = NAMESPACES[usize::from((number + elsewhere) % 2 == 1)];
    json!({ "name": format!("{kind}-{number}"), "namespace": namespace })
}

fn hostname(dice: &mut Dice) -> Option<&'static str> {
    dice.of(&[None, Some("a.example.com"), Some("*.example.com"), Some("b.example.org"), Some("a..b")])
}

struct Dice(u64);

impl Dice {
    /// splitmix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.below(list.len() as u64)).unwrap()].clone()
    }
}
