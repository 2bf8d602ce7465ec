//! What is made for a Gateway, whole, as YAML. `INSTA_UPDATE=always` rewrites the files after a change that is meant.

#![allow(clippy::unwrap_used)]

use gateway_api::gateways::Gateway;
use portcullis_crds::GatewayParametersSpec;
use portcullis_provision::{Desired, Kind, Object, Port, Request, Settings, Transport, Unprovisionable, desired};

fn make(gateway: &str, class: &str, own: &str, ports: &[u16]) -> Result<Desired, Unprovisionable> {
    let ports: Vec<(u16, Transport)> = ports.iter().map(|number| (*number, Transport::Tcp)).collect();
    make_at(gateway, class, own, &ports)
}

fn make_at(gateway: &str, class: &str, own: &str, ports: &[(u16, Transport)]) -> Result<Desired, Unprovisionable> {
    let gateway: Gateway = serde_norway::from_str(gateway).unwrap();
    let class: Option<GatewayParametersSpec> = serde_norway::from_str(class).unwrap();
    let own: Option<GatewayParametersSpec> = serde_norway::from_str(own).unwrap();
    let settings = Settings {
        controller_name: "portcullis.dev/gateway-controller".to_owned(),
        controller_namespace: "portcullis-system".to_owned(),
        controller_service: "portcullis-controller".to_owned(),
        controller_port: 18000,
        dataplane_image: "portcullis/dataplane:0.1.0".to_owned(),
        image_pull_policy: "IfNotPresent".to_owned(),
    };
    desired(&Request {
        gateway: &gateway,
        class_parameters: class.as_ref(),
        parameters: own.as_ref(),
        ports: &ports.iter().map(|(number, transport)| Port { number: *number, transport: *transport }).collect(),
        ca_bundle: "-----BEGIN CERTIFICATE-----\n",
        settings: &settings,
    })
}

fn yaml(desired: &Desired) -> String {
    let one = |object: &Object| serde_norway::to_string(&object.to_value().unwrap()).unwrap();
    desired.objects.iter().map(one).collect::<Vec<_>>().join("---\n")
}

fn gateway(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: {name}, namespace: shop, uid: 6f0e}}, \
         spec: {{gatewayClassName: portcullis, listeners: [], {spec}}}}}"
    )
}

const EVERYTHING: &str = "
proxyProtocol: {ports: [80]}
trustedProxies: [10.0.0.0/8, 'fd00::/8']
accessLog: {mode: Sampled, sample: 10}
replicas: 3
podDisruptionBudget: {minAvailable: 50%}
image: registry.example/dataplane:1
resources: {requests: {cpu: 2}, limits: {memory: 1Gi}}
service:
  type: LoadBalancer
  annotations: {balancer.example/scheme: internal, infrastructure: overruled}
  labels: {tier: edge}
  externalTrafficPolicy: Local
  loadBalancerClass: balancer.example/nlb
  loadBalancerSourceRanges: [192.0.2.0/24]
  ipFamilyPolicy: PreferDualStack
  ipFamilies: [IPv6, IPv4]
pod:
  labels: {team: edge}
  annotations: {scrape.example/port: '9901'}
  nodeSelector: {pool: edge}
  tolerations: [{key: edge, operator: Exists}]
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: gpu, operator: DoesNotExist}]}]}}}
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule}]
  priorityClassName: system-cluster-critical
  terminationGracePeriodSeconds: 120
  imagePullSecrets: [{name: registry}]
  env: [{name: PORTCULLIS_LOG, value: debug}]
";

#[test]
fn a_plain_gateway() {
    insta::assert_snapshot!(yaml(&make(&gateway("web", ""), "null", "null", &[443, 80]).unwrap()));
}

#[test]
fn a_gateway_that_says_everything() {
    let spec = "addresses: [{type: IPAddress, value: 192.0.2.7}, {type: IPAddress}], \
                infrastructure: {labels: {key1: value1, app.kubernetes.io/managed-by: me}, annotations: {infrastructure: kept}}";
    insta::assert_snapshot!(yaml(&make(&gateway("web", spec), "{replicas: 9}", EVERYTHING, &[80]).unwrap()));
}

#[test]
fn an_autoscaled_gateway_behind_a_cluster_address() {
    let class = "{replicas: 2, service: {loadBalancerClass: balancer.example/nlb}}";
    let own = "{autoscaling: {maxReplicas: 10}, service: {type: ClusterIP}, accessLog: {mode: Off}}";
    let made = make(&gateway("web", "addresses: [{value: 192.0.2.7}, {value: '2001:DB8::1'}]"), class, own, &[80]);
    insta::assert_snapshot!(yaml(&made.unwrap()));
}

#[test]
fn a_gateway_with_a_long_name_and_no_listener_that_is_served() {
    let name = format!("{}.example", "web-".repeat(50));
    insta::assert_snapshot!(yaml(&make(&gateway(&name, ""), "null", "null", &[]).unwrap()));
}

#[test]
fn listeners_never_change_the_pods() {
    let deployment = |ports: &[u16]| {
        let made = make(&gateway("web", ""), "null", "null", ports).unwrap();
        made.objects.into_iter().find(|object| object.kind() == Kind::Deployment).unwrap()
    };
    assert_eq!(deployment(&[80]), deployment(&[80, 443, 8080]));
    assert_ne!(deployment(&[80]), deployment(&[9901]), "but for one that wants the port of the admin pages");
}

#[test]
fn a_port_is_of_a_transport_and_one_number_can_be_of_both() {
    let ports = [(53, Transport::Udp), (53, Transport::Tcp), (80, Transport::Tcp), (9901, Transport::Udp)];
    let made = make_at(&gateway("web", ""), "null", "null", &ports).unwrap();
    let service = made.objects.iter().find_map(|object| match object {
        Object::Service(service) => service.spec.clone(),
        _ => None,
    });
    let ports = service.unwrap().ports.unwrap();
    let seen: Vec<_> = ports
        .iter()
        .map(|port| (port.name.as_deref().unwrap(), port.port, port.protocol.as_deref().unwrap()))
        .collect();
    let expected =
        [("port-53", 53, "TCP"), ("port-53-udp", 53, "UDP"), ("port-80", 80, "TCP"), ("port-9901-udp", 9901, "UDP")];
    assert_eq!(seen, expected);
    let plain = make(&gateway("web", ""), "null", "null", &[80]).unwrap();
    let deployment = |made: Desired| made.objects.into_iter().find(|object| object.kind() == Kind::Deployment);
    assert_eq!(deployment(made), deployment(plain), "the admin pages share a number with UDP");
}

#[test]
fn an_internal_address_alone_is_not_to_be_had_from_outside() {
    let spec = |addresses: &str| {
        let own = "{service: {type: LoadBalancer, externalTrafficPolicy: Local, loadBalancerClass: a.b/c}}";
        let made = make(&gateway("web", &format!("addresses: [{addresses}]")), "null", own, &[80]).unwrap();
        let service = made.objects.into_iter().find_map(|object| match object {
            Object::Service(service) => service.spec,
            _ => None,
        });
        let spec = service.unwrap();
        (spec.type_.unwrap(), spec.cluster_ip, spec.load_balancer_ip, spec.load_balancer_class)
    };
    let marked = |routability: &str, value: &str| format!("{{type: IPAddress of routability {routability}{value}}}");
    let (internal, wide) = (|ip: Option<&str>| ("ClusterIP".to_owned(), ip.map(str::to_owned), None, None), "{}");
    assert_eq!(spec(&marked("Cluster", "")), internal(None));
    assert_eq!(spec(&marked("Cluster", ", value: 10.96.0.9")), internal(Some("10.96.0.9")));
    assert_eq!(spec(&marked("a.example/wan", "")), internal(None), "nothing stands in for what is not known");
    let balanced = |ip: Option<&str>, of: Option<&str>| {
        ("LoadBalancer".to_owned(), ip.map(str::to_owned), of.map(str::to_owned), Some("a.b/c".to_owned()))
    };
    assert_eq!(
        spec(&format!("{wide}, {}", marked("Cluster", ", value: 10.96.0.9"))),
        balanced(Some("10.96.0.9"), None)
    );
    assert_eq!(spec(&marked("testing.x-k8s.io/sentinel", ", value: 192.0.2.1")), balanced(None, Some("192.0.2.1")));
}

#[test]
fn what_cannot_be_made_says_what_to_do() {
    let said = |gateway: &str, own: &str| make(gateway, "null", own, &[80]).unwrap_err().to_string();
    let two = gateway("web", "addresses: [{value: 192.0.2.7}, {value: 192.0.2.8}]");
    assert!(said(&two, "null").contains("asks for 2; give one"));
    assert!(make(&two, "null", "{service: {type: NodePort}}", &[80]).is_ok());
    assert!(said(&gateway("web", "addresses: [{value: nowhere}]"), "null").contains("correct spec.addresses"));
    assert!(said(&gateway("web", ""), "{replicas: 0}").contains("spec.replicas is 0; give 1 to 1000"));
    let contradicting = make(
        &gateway("web", ""),
        "{resources: {limits: {memory: 1Gi}}}",
        "{resources: {requests: {memory: 2Gi}}}",
        &[80],
    );
    assert!(contradicting.unwrap_err().to_string().contains("is above spec.resources.limits.memory"));
}
