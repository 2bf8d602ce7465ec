//! A Gateway's settings over its class's, field by field.

use super::{Autoscaling, GatewayParametersSpec, PodOverlay, Resources, ServiceSettings, ServiceType};

impl GatewayParametersSpec {
    /// These settings, and where they say nothing the class's. What is inside `service`, `pod` and `resources` counts as
    /// fields of its own; of `replicas` and `autoscaling`, either replaces both.
    #[must_use]
    pub fn over(&self, class: &Self) -> Self {
        let Self {
            proxy_protocol,
            trusted_proxies,
            access_log,
            replicas,
            autoscaling,
            pod_disruption_budget,
            image,
            resources,
            service,
            pod,
            counter_store,
        } = self;
        let (replicas, autoscaling) = scale((*replicas, autoscaling), class);
        Self {
            proxy_protocol: or(proxy_protocol, &class.proxy_protocol),
            trusted_proxies: or(trusted_proxies, &class.trusted_proxies),
            access_log: or(access_log, &class.access_log),
            replicas,
            autoscaling,
            pod_disruption_budget: or(pod_disruption_budget, &class.pod_disruption_budget),
            image: or(image, &class.image),
            resources: both(resources, &class.resources, Resources::over),
            service: both(service, &class.service, ServiceSettings::over),
            pod: both(pod, &class.pod, PodOverlay::over),
            counter_store: or(counter_store, &class.counter_store),
        }
    }
}

fn scale(
    own: (Option<i32>, &Option<Autoscaling>),
    class: &GatewayParametersSpec,
) -> (Option<i32>, Option<Autoscaling>) {
    match own {
        (None, None) => (class.replicas, class.autoscaling.clone()),
        (replicas, autoscaling) => (replicas, autoscaling.clone()),
    }
}

impl Resources {
    fn over(&self, class: &Self) -> Self {
        let Self { requests, limits } = self;
        Self { requests: or(requests, &class.requests), limits: or(limits, &class.limits) }
    }
}

impl ServiceSettings {
    /// A Gateway that changes the type does not inherit what belongs to the class's type.
    fn over(&self, class: &Self) -> Self {
        let Self {
            r#type,
            annotations,
            labels,
            external_traffic_policy,
            load_balancer_class,
            load_balancer_source_ranges,
            ip_family_policy,
            ip_families,
        } = self;
        // Said together, for they must fit each other.
        let families = if ip_family_policy.is_some() || ip_families.is_some() { self } else { class };
        let effective = or(r#type, &class.r#type);
        let balanced = effective.unwrap_or_default() == ServiceType::LoadBalancer;
        let outside = effective.unwrap_or_default() != ServiceType::ClusterIp;
        Self {
            r#type: effective,
            annotations: or(annotations, &class.annotations),
            labels: or(labels, &class.labels),
            external_traffic_policy: external_traffic_policy.or(class.external_traffic_policy.filter(|_| outside)),
            load_balancer_class: load_balancer_class.clone().or(class.load_balancer_class.clone().filter(|_| balanced)),
            load_balancer_source_ranges: load_balancer_source_ranges
                .clone()
                .or(class.load_balancer_source_ranges.clone().filter(|_| balanced)),
            ip_family_policy: families.ip_family_policy,
            ip_families: families.ip_families.clone(),
        }
    }
}

impl PodOverlay {
    fn over(&self, class: &Self) -> Self {
        let Self {
            labels,
            annotations,
            node_selector,
            tolerations,
            affinity,
            topology_spread_constraints,
            priority_class_name,
            termination_grace_period_seconds,
            image_pull_secrets,
            env,
        } = self;
        Self {
            labels: or(labels, &class.labels),
            annotations: or(annotations, &class.annotations),
            node_selector: or(node_selector, &class.node_selector),
            tolerations: or(tolerations, &class.tolerations),
            affinity: or(affinity, &class.affinity),
            topology_spread_constraints: or(topology_spread_constraints, &class.topology_spread_constraints),
            priority_class_name: or(priority_class_name, &class.priority_class_name),
            termination_grace_period_seconds: or(
                termination_grace_period_seconds,
                &class.termination_grace_period_seconds,
            ),
            image_pull_secrets: or(image_pull_secrets, &class.image_pull_secrets),
            env: or(env, &class.env),
        }
    }
}

fn or<T: Clone>(own: &Option<T>, class: &Option<T>) -> Option<T> {
    own.clone().or_else(|| class.clone())
}

fn both<T: Clone>(own: &Option<T>, class: &Option<T>, over: impl Fn(&T, &T) -> T) -> Option<T> {
    match (own, class) {
        (Some(own), Some(class)) => Some(over(own, class)),
        (own, class) => or(own, class),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spec(yaml: &str) -> GatewayParametersSpec {
        serde_norway::from_str(yaml).unwrap()
    }

    #[test]
    fn a_gateway_replaces_field_by_field() {
        let class =
            spec("{replicas: 3, service: {annotations: {a: x}, labels: {l: x}}, pod: {priorityClassName: high}}");
        let own = spec("{service: {annotations: {b: y}}, pod: {nodeSelector: {n: z}}}");
        let expected = "{replicas: 3, service: {annotations: {b: y}, labels: {l: x}}, pod: {priorityClassName: high, nodeSelector: {n: z}}}";
        assert_eq!(own.over(&class), spec(expected));
        assert_eq!(class.over(&GatewayParametersSpec::default()), class);
        assert_eq!(GatewayParametersSpec::default().over(&class), class);
    }

    #[test]
    fn replicas_and_autoscaling_replace_each_other() {
        let (fixed, scaled) = (spec("{replicas: 3}"), spec("{autoscaling: {maxReplicas: 9}}"));
        assert_eq!(fixed.over(&scaled), fixed);
        assert_eq!(scaled.over(&fixed), scaled);
    }

    #[test]
    fn another_service_type_does_not_inherit_what_it_cannot_have() {
        let class = spec(
            "{service: {externalTrafficPolicy: Local, loadBalancerClass: a.example/b, loadBalancerSourceRanges: [10.0.0.0/8]}}",
        );
        assert_eq!(spec("{service: {type: ClusterIP}}").over(&class), spec("{service: {type: ClusterIP}}"));
        assert_eq!(
            spec("{service: {type: NodePort}}").over(&class),
            spec("{service: {type: NodePort, externalTrafficPolicy: Local}}")
        );
    }

    #[test]
    fn families_of_addresses_are_said_together() {
        let both = spec("{service: {ipFamilyPolicy: RequireDualStack, ipFamilies: [IPv6, IPv4]}}");
        let one = spec("{service: {ipFamilyPolicy: SingleStack}}");
        assert_eq!(one.over(&both), one);
        assert_eq!(spec("{service: {type: LoadBalancer}}").over(&one).check(), Ok(()));
        let inherited = spec("{service: {labels: {a: b}}}").over(&both).service.unwrap();
        assert_eq!(inherited.ip_families, both.service.unwrap().ip_families);
    }
}
