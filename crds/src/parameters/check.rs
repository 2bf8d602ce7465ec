//! What no schema can say, or an API server of another age did not: each complaint names the field and the fix.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::quantity::thousandths;
use super::{
    AccessLogMode, CounterStore, DisruptionBudget, GatewayParametersSpec, IpFamilyPolicy, PodOverlay, Resources,
    ServiceSettings, ServiceType,
};

/// Why settings mean nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidParameter(String);

impl std::fmt::Display for InvalidParameter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidParameter {}

pub(super) type Checked = Result<(), InvalidParameter>;

pub(super) fn wrong<T>(why: String) -> Result<T, InvalidParameter> {
    Err(InvalidParameter(why))
}

impl GatewayParametersSpec {
    /// Whether the settings can be honoured, all of them.
    ///
    /// # Errors
    /// The first that cannot, by its field, and what to do.
    pub fn check(&self) -> Checked {
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
        if let Some(proxy_protocol) = proxy_protocol {
            ports(&proxy_protocol.ports)?;
        }
        networks("spec.trustedProxies", trusted_proxies)?;
        if let Some(log) = access_log {
            if log.sample.is_some() && log.mode != AccessLogMode::Sampled {
                return wrong("spec.accessLog.sample goes with mode Sampled; remove one of them".to_owned());
            }
            within("spec.accessLog.sample", log.sample.map(i64::from), 1, 1_000_000)?;
        }
        if replicas.is_some() && autoscaling.is_some() {
            return wrong("spec.replicas and spec.autoscaling exclude each other; remove one".to_owned());
        }
        within("spec.replicas", replicas.map(i64::from), 1, 1000)?;
        if let Some(scaling) = autoscaling {
            within("spec.autoscaling.maxReplicas", Some(scaling.max_replicas.into()), 1, 1000)?;
            let most = scaling.max_replicas.into();
            within("spec.autoscaling.minReplicas", scaling.min_replicas.map(i64::from), 1, most)?;
            let target = scaling.target_cpu_utilization_percentage;
            within("spec.autoscaling.targetCPUUtilizationPercentage", target.map(i64::from), 1, 100)?;
        }
        pod_disruption_budget.as_ref().map_or(Ok(()), DisruptionBudget::check)?;
        if image.as_ref().is_some_and(|image| image.is_empty() || image.contains(char::is_whitespace)) {
            return wrong("spec.image is no image reference; give REPOSITORY:TAG, or remove it".to_owned());
        }
        resources.as_ref().map_or(Ok(()), Resources::check)?;
        service.as_ref().map_or(Ok(()), ServiceSettings::check)?;
        pod.as_ref().map_or(Ok(()), PodOverlay::check)?;
        counter_store.as_ref().map_or(Ok(()), CounterStore::check)
    }
}

impl DisruptionBudget {
    fn check(&self) -> Checked {
        let Self { min_available, max_unavailable } = self;
        if min_available.is_some() == max_unavailable.is_some() {
            let field = "spec.podDisruptionBudget";
            return wrong(format!("{field} needs exactly one of minAvailable and maxUnavailable; give one"));
        }
        for (field, value) in [("minAvailable", min_available), ("maxUnavailable", max_unavailable)] {
            let sound = match value {
                None => true,
                Some(IntOrString::Int(pods)) => (0..=1000).contains(pods),
                Some(IntOrString::String(share)) => share
                    .strip_suffix('%')
                    .filter(|digits| digits.len() <= 3 && digits.bytes().all(|byte| byte.is_ascii_digit()))
                    .and_then(|digits| digits.parse::<u8>().ok())
                    .is_some_and(|percent| percent <= 100),
            };
            if !sound {
                return wrong(format!(
                    "spec.podDisruptionBudget.{field} is neither 0 to 1000 pods nor a percentage; give 1 or 25%"
                ));
            }
        }
        Ok(())
    }
}

impl Resources {
    fn check(&self) -> Checked {
        let Self { requests, limits } = self;
        for (field, amounts) in [("requests", requests), ("limits", limits)] {
            for (name, quantity) in amounts.iter().flatten() {
                key(&format!("spec.resources.{field}"), name)?;
                amount(&format!("spec.resources.{field}.{name}"), quantity)?;
            }
        }
        for (name, limit) in limits.iter().flatten() {
            let request = requests.as_ref().and_then(|requests| requests.get(name));
            if request.is_some_and(|request| thousandths(request) > thousandths(limit)) {
                return wrong(format!(
                    "spec.resources.requests.{name} is above spec.resources.limits.{name}; lower it or raise the limit"
                ));
            }
        }
        Ok(())
    }
}

impl ServiceSettings {
    fn check(&self) -> Checked {
        let Self {
            r#type,
            annotations,
            labels: own_labels,
            external_traffic_policy,
            load_balancer_class,
            load_balancer_source_ranges,
            ip_family_policy,
            ip_families,
        } = self;
        let kind = r#type.unwrap_or_default();
        let only = |field: &str, types: &str| {
            wrong(format!("spec.service.{field} goes with type {types}; remove it or change spec.service.type"))
        };
        if kind != ServiceType::LoadBalancer && load_balancer_class.is_some() {
            return only("loadBalancerClass", "LoadBalancer");
        }
        if kind != ServiceType::LoadBalancer && load_balancer_source_ranges.is_some() {
            return only("loadBalancerSourceRanges", "LoadBalancer");
        }
        if kind == ServiceType::ClusterIp && external_traffic_policy.is_some() {
            return only("externalTrafficPolicy", "LoadBalancer or NodePort");
        }
        networks("spec.service.loadBalancerSourceRanges", load_balancer_source_ranges)?;
        match ip_families.as_deref() {
            Some([]) => return wrong("spec.service.ipFamilies is empty; give IPv4 or IPv6, or remove it".to_owned()),
            Some([_, second, third, ..]) => {
                let twice = if second == third { second } else { third };
                return wrong(format!("spec.service.ipFamilies holds {} twice; remove one", twice.as_str()));
            }
            Some([first, second]) if first == second => {
                return wrong(format!("spec.service.ipFamilies holds {} twice; remove one", first.as_str()));
            }
            Some([_, _]) if *ip_family_policy == Some(IpFamilyPolicy::SingleStack) => {
                let why = "spec.service.ipFamilies holds two families, and ipFamilyPolicy SingleStack goes with one";
                return wrong(format!("{why}; remove one, or use PreferDualStack"));
            }
            _ => {}
        }
        keys("spec.service.annotations", annotations)?;
        labels("spec.service.labels", own_labels)?;
        reserved("spec.service.labels", own_labels)
    }
}

impl PodOverlay {
    fn check(&self) -> Checked {
        let Self {
            labels: own_labels,
            annotations,
            node_selector,
            // The API server judges what these say when the pods are made; its answer becomes the Gateway's condition.
            tolerations: _,
            affinity: _,
            topology_spread_constraints: _,
            priority_class_name: _,
            termination_grace_period_seconds,
            image_pull_secrets: _,
            env,
        } = self;
        labels("spec.pod.labels", own_labels)?;
        reserved("spec.pod.labels", own_labels)?;
        keys("spec.pod.annotations", annotations)?;
        labels("spec.pod.nodeSelector", node_selector)?;
        within("spec.pod.terminationGracePeriodSeconds", *termination_grace_period_seconds, 15, 86400)?;
        let mut seen = BTreeSet::new();
        for variable in env.iter().flatten() {
            let name = &variable.name;
            if name == "PORTCULLIS_NODE" {
                return wrong("spec.pod.env holds PORTCULLIS_NODE, which Portcullis sets; remove it".to_owned());
            }
            if !seen.insert(name) {
                return wrong(format!("spec.pod.env holds {name} twice; remove one"));
            }
        }
        Ok(())
    }
}

fn ports(ports: &[i32]) -> Checked {
    let mut seen = BTreeSet::new();
    for port in ports {
        if !(1..=65535).contains(port) {
            return wrong(format!("spec.proxyProtocol.ports holds {port}, which is no port; give 1 to 65535"));
        }
        if !seen.insert(port) {
            return wrong(format!("spec.proxyProtocol.ports holds {port} twice; remove one"));
        }
    }
    Ok(())
}

pub(super) fn within(field: &str, value: Option<i64>, least: i64, most: i64) -> Checked {
    match value {
        Some(value) if !(least..=most).contains(&value) => wrong(format!("{field} is {value}; give {least} to {most}")),
        _ => Ok(()),
    }
}

fn networks(field: &str, networks: &Option<Vec<String>>) -> Checked {
    for network in networks.iter().flatten() {
        let sound = network.split_once('/').is_some_and(|(address, length)| {
            let most = match address.parse::<IpAddr>() {
                Ok(IpAddr::V4(_)) => 32,
                Ok(IpAddr::V6(_)) => 128,
                Err(_) => return false,
            };
            length.bytes().all(|byte| byte.is_ascii_digit()) && length.parse::<u8>().is_ok_and(|bits| bits <= most)
        });
        if !sound {
            return wrong(format!("{field} holds {network:?}, which is no CIDR; write it like 10.0.0.0/8"));
        }
    }
    Ok(())
}

fn amount(field: &str, quantity: &Quantity) -> Checked {
    match thousandths(quantity) {
        Some(_) => Ok(()),
        None => wrong(format!("{field} is {:?}, which is no amount; write it like 500m or 1Gi", quantity.0)),
    }
}

fn labels(field: &str, labels: &Option<BTreeMap<String, String>>) -> Checked {
    keys(field, labels)?;
    for (name, value) in labels.iter().flatten() {
        if !value.is_empty() && !is_name(value) {
            return wrong(format!(
                "{field}.{name} is {value:?}, which no label can be; use letters, digits, -, _ and ."
            ));
        }
    }
    Ok(())
}

fn keys(field: &str, map: &Option<BTreeMap<String, String>>) -> Checked {
    map.iter().flatten().try_for_each(|(name, _)| key(field, name))
}

/// A qualified name: `[PREFIX/]NAME`, the prefix a DNS name.
fn key(field: &str, key: &str) -> Checked {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let dns = |prefix: &str| {
        let label = |label: &str| !label.is_empty() && is_name(label) && !label.contains('_');
        prefix.len() <= 253 && prefix.split('.').all(label) && !prefix.contains(|c: char| c.is_ascii_uppercase())
    };
    if is_name(name) && prefix.is_none_or(dns) {
        return Ok(());
    }
    wrong(format!("{field} holds the key {key:?}, which Kubernetes does not take; write it like example.com/name"))
}

fn is_name(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let inside = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
    bytes.len() <= 63 && edge(bytes.first()) && edge(bytes.last()) && inside
}

/// Labels that pods, Services and budgets find each other by.
fn reserved(field: &str, labels: &Option<BTreeMap<String, String>>) -> Checked {
    let ours = |key: &String| {
        key.starts_with("gateway.networking.k8s.io/")
            || key.starts_with("portcullis.dev/")
            || ["app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by"]
                .contains(&key.as_str())
    };
    match labels.iter().flatten().map(|(key, _)| key).find(|key| ours(key)) {
        Some(key) => wrong(format!("{field} holds {key}, which Portcullis sets; remove it")),
        None => Ok(()),
    }
}
