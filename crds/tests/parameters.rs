//! Settings that mean nothing are refused with their field and a way out, whatever an API server let through.

#![allow(clippy::unwrap_used)]

use portcullis_crds::GatewayParametersSpec;

fn complaint(yaml: &str) -> String {
    let spec: GatewayParametersSpec = serde_norway::from_str(yaml).unwrap();
    spec.check().expect_err(yaml).to_string()
}

#[test]
fn each_complaint_names_its_field_and_what_to_do() {
    for (yaml, field, fix) in [
        ("{proxyProtocol: {ports: [0]}}", "spec.proxyProtocol.ports holds 0", "give 1 to 65535"),
        ("{proxyProtocol: {ports: [80, 80]}}", "spec.proxyProtocol.ports holds 80 twice", "remove one"),
        ("{trustedProxies: [10.0.0.1]}", "spec.trustedProxies", "write it like 10.0.0.0/8"),
        ("{trustedProxies: [10.0.0.0/33]}", "spec.trustedProxies", "write it like 10.0.0.0/8"),
        ("{accessLog: {mode: All, sample: 5}}", "spec.accessLog.sample", "remove one"),
        ("{accessLog: {mode: Sampled, sample: 0}}", "spec.accessLog.sample is 0", "give 1 to 1000000"),
        ("{replicas: 0}", "spec.replicas is 0", "give 1 to 1000"),
        ("{replicas: 1, autoscaling: {maxReplicas: 2}}", "spec.replicas and spec.autoscaling", "remove one"),
        ("{autoscaling: {maxReplicas: 2, minReplicas: 3}}", "spec.autoscaling.minReplicas is 3", "give 1 to 2"),
        ("{autoscaling: {maxReplicas: 0}}", "spec.autoscaling.maxReplicas is 0", "give 1 to 1000"),
        (
            "{autoscaling: {maxReplicas: 2, targetCPUUtilizationPercentage: 101}}",
            "spec.autoscaling.targetCPUUtilizationPercentage is 101",
            "give 1 to 100",
        ),
        ("{podDisruptionBudget: {}}", "spec.podDisruptionBudget", "give one"),
        ("{podDisruptionBudget: {minAvailable: 1, maxUnavailable: 1}}", "spec.podDisruptionBudget", "give one"),
        ("{podDisruptionBudget: {minAvailable: -1}}", "spec.podDisruptionBudget.minAvailable", "give 1 or 25%"),
        ("{podDisruptionBudget: {maxUnavailable: 101%}}", "spec.podDisruptionBudget.maxUnavailable", "give 1 or 25%"),
        ("{image: 'a b'}", "spec.image", "give REPOSITORY:TAG"),
        ("{resources: {limits: {memory: lots}}}", "spec.resources.limits.memory is \"lots\"", "500m or 1Gi"),
        (
            "{resources: {requests: {memory: 1Gi}, limits: {memory: 1G}}}",
            "spec.resources.requests.memory is above spec.resources.limits.memory",
            "lower it or raise the limit",
        ),
        (
            "{service: {type: ClusterIP, externalTrafficPolicy: Local}}",
            "spec.service.externalTrafficPolicy",
            "remove it",
        ),
        ("{service: {type: NodePort, loadBalancerClass: a/b}}", "spec.service.loadBalancerClass", "remove it"),
        (
            "{service: {type: NodePort, loadBalancerSourceRanges: [10.0.0.0/8]}}",
            "spec.service.loadBalancerSourceRanges",
            "remove it",
        ),
        ("{service: {loadBalancerSourceRanges: [x]}}", "spec.service.loadBalancerSourceRanges holds", "10.0.0.0/8"),
        ("{service: {ipFamilies: []}}", "spec.service.ipFamilies is empty", "give IPv4 or IPv6"),
        ("{service: {ipFamilies: [IPv4, IPv4]}}", "spec.service.ipFamilies holds IPv4 twice", "remove one"),
        ("{service: {ipFamilies: [IPv4, IPv6, IPv6]}}", "spec.service.ipFamilies holds", "remove one"),
        (
            "{service: {ipFamilyPolicy: SingleStack, ipFamilies: [IPv4, IPv6]}}",
            "spec.service.ipFamilies",
            "use PreferDualStack",
        ),
        ("{service: {labels: {a: 'b c'}}}", "spec.service.labels.a", "use letters"),
        ("{service: {annotations: {'a b': c}}}", "spec.service.annotations", "example.com/name"),
        ("{service: {annotations: {'A.example/b': c}}}", "spec.service.annotations", "example.com/name"),
        ("{pod: {labels: {app.kubernetes.io/name: x}}}", "spec.pod.labels holds app.kubernetes.io/name", "remove it"),
        (
            "{pod: {labels: {gateway.networking.k8s.io/gateway-name: x}}}",
            "spec.pod.labels holds gateway.networking.k8s.io/gateway-name",
            "remove it",
        ),
        (
            "{pod: {terminationGracePeriodSeconds: 14}}",
            "spec.pod.terminationGracePeriodSeconds is 14",
            "give 15 to 86400",
        ),
        ("{counterStore: {addresses: []}}", "spec.counterStore.addresses needs 1 to 16", "give host:port"),
        ("{counterStore: {addresses: ['redis']}}", "spec.counterStore.addresses holds \"redis\"", "redis.example:6379"),
        ("{counterStore: {addresses: ['redis:0']}}", "spec.counterStore.addresses holds", "redis.example:6379"),
        (
            "{counterStore: {mode: Sentinel, addresses: ['s:26379']}}",
            "spec.counterStore.sentinelMaster",
            "add or remove",
        ),
        (
            "{counterStore: {mode: Cluster, addresses: ['n:6379'], database: 1}}",
            "spec.counterStore.database is 1",
            "give 0 to 0",
        ),
        ("{pod: {env: [{name: PORTCULLIS_NODE, value: x}]}}", "spec.pod.env holds PORTCULLIS_NODE", "remove it"),
        ("{pod: {env: [{name: A, value: x}, {name: A, value: y}]}}", "spec.pod.env holds A twice", "remove one"),
    ] {
        let said = complaint(yaml);
        assert!(said.contains(field) && said.contains(fix), "{yaml}: {said}");
    }
}

#[test]
fn what_means_something_is_accepted() {
    for yaml in [
        "{}",
        "{replicas: 1000, resources: {requests: {cpu: 1, memory: 64Mi}, limits: {cpu: '1', memory: 64Mi}}}",
        "{autoscaling: {maxReplicas: 2}, podDisruptionBudget: {maxUnavailable: 0}}",
        "{podDisruptionBudget: {minAvailable: 100%}}",
        "{service: {externalTrafficPolicy: Local, loadBalancerClass: a.example/b, loadBalancerSourceRanges: ['fd00::/8', 0.0.0.0/0]}}",
        "{service: {ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6, IPv4]}}",
        "{service: {ipFamilyPolicy: SingleStack, ipFamilies: [IPv6]}}",
        "{service: {ipFamilies: [IPv4, IPv6]}}",
        "{service: {annotations: {example.com/a: 'anything at all'}, labels: {example.com/team: ''}}}",
        "{pod: {tolerations: [{operator: Exists}], env: [{name: PORTCULLIS_LOG, value: debug}]}}",
        "{counterStore: {addresses: ['redis.shop:6379'], tls: {}, authSecretRef: {name: redis}, database: 3}}",
        "{counterStore: {mode: Sentinel, sentinelMaster: main, addresses: ['[fd00::1]:26379', 's2:26379']}}",
        "{proxyProtocol: {ports: []}, trustedProxies: [], accessLog: {mode: Sampled}}",
    ] {
        let spec: GatewayParametersSpec = serde_norway::from_str(yaml).unwrap();
        assert_eq!(spec.check(), Ok(()), "{yaml}");
    }
}
