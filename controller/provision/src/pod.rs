//! The pod: one container without rights, which dials the controller and listens.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Capabilities, ConfigMap, ConfigMapVolumeSource, Container, ContainerPort, EmptyDirVolumeSource, EnvVar,
    EnvVarSource, HTTPGetAction, KeyToPath, LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec,
    Probe, ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecurityContext, ServiceAccount,
    ServiceAccountTokenProjection, Sysctl, TopologySpreadConstraint, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use portcullis_crds::{AccessLog, AccessLogMode, PodOverlay, Resources};

use crate::{CA_KEY, Plan, TOKEN_AUDIENCE};

const USER: i64 = 65532;
const TOKEN_FOLDER: &str = "/var/run/secrets/portcullis";
const CA_FOLDER: &str = "/etc/portcullis/ca";
const STATE_FOLDER: &str = "/var/lib/portcullis";
/// Seconds until load balancers have noticed that a pod ends, and it stops taking connections.
const DRAIN_DELAY: i64 = 5;
/// Seconds between the last moment that requests may take and SIGKILL.
const SPARE: i64 = 5;
const DEFAULT_GRACE: i64 = 45;
const DEFAULT_REQUESTS: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "128Mi")];

/// An account without a right: its token says who the pod is, and nothing else.
pub(crate) fn service_account(plan: &Plan<'_>) -> ServiceAccount {
    ServiceAccount {
        metadata: plan.metadata(None, None),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

pub(crate) fn config_map(plan: &Plan<'_>) -> ConfigMap {
    let data = BTreeMap::from([(CA_KEY.to_owned(), plan.ca_bundle.to_owned())]);
    ConfigMap { metadata: plan.metadata(None, None), data: Some(data), ..ConfigMap::default() }
}

pub(crate) fn pod(plan: &Plan<'_>) -> PodSpec {
    let PodOverlay {
        labels: _,
        annotations: _,
        node_selector,
        tolerations,
        affinity,
        topology_spread_constraints,
        priority_class_name,
        termination_grace_period_seconds: _,
        image_pull_secrets,
        env: _,
    } = &plan.pod;
    let secrets = image_pull_secrets
        .as_ref()
        .map(|secrets| secrets.iter().map(|secret| LocalObjectReference { name: secret.name.clone() }).collect());
    PodSpec {
        service_account_name: Some(plan.name.clone()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        termination_grace_period_seconds: Some(grace(plan)),
        security_context: Some(pod_security()),
        containers: vec![container(plan)],
        volumes: Some(volumes(plan)),
        node_selector: node_selector.clone(),
        tolerations: tolerations.clone(),
        affinity: affinity.clone(),
        topology_spread_constraints: Some(spread(plan, topology_spread_constraints.as_deref())),
        priority_class_name: priority_class_name.clone(),
        image_pull_secrets: secrets,
        ..PodSpec::default()
    }
}

fn grace(plan: &Plan<'_>) -> i64 {
    plan.pod.termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE)
}

fn container(plan: &Plan<'_>) -> Container {
    let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    };
    Container {
        name: "dataplane".to_owned(),
        image: Some(plan.parameters.image.clone().unwrap_or_else(|| plan.settings.dataplane_image.clone())),
        image_pull_policy: Some(plan.settings.image_pull_policy.clone()),
        args: Some(arguments(plan)),
        env: Some(environment(plan)),
        // Not those of listeners: they need not be named to be reached, and naming them would roll the pods.
        ports: Some(vec![ContainerPort {
            name: Some("admin".to_owned()),
            container_port: i32::from(plan.admin_port),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        resources: Some(resources(plan.parameters.resources.as_ref())),
        startup_probe: Some(probe(plan, "/healthz", 1, 60)),
        readiness_probe: Some(probe(plan, "/readyz", 2, 2)),
        liveness_probe: Some(probe(plan, "/healthz", 10, 6)),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(vec![
            mount("token", TOKEN_FOLDER, true),
            mount("ca", CA_FOLDER, true),
            mount("state", STATE_FOLDER, false),
        ]),
        ..Container::default()
    }
}

/// The words of `portcullis-dataplane --help`.
fn arguments(plan: &Plan<'_>) -> Vec<String> {
    let settings = plan.settings;
    let controller = format!(
        "https://{}.{}.svc:{}",
        settings.controller_service, settings.controller_namespace, settings.controller_port
    );
    let mut arguments: Vec<String> = [
        ("--controller", controller),
        ("--gateway", format!("{}/{}", plan.owner.namespace, plan.owner.name)),
        ("--token-file", format!("{TOKEN_FOLDER}/token")),
        ("--ca-file", format!("{CA_FOLDER}/{CA_KEY}")),
        ("--state-dir", STATE_FOLDER.to_owned()),
        ("--admin", format!("0.0.0.0:{}", plan.admin_port)),
        ("--drain-delay", DRAIN_DELAY.to_string()),
        ("--drain-deadline", (grace(plan) - DRAIN_DELAY - SPARE).max(1).to_string()),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value])
    .collect();
    if let Some(AccessLog { mode, sample }) = &plan.parameters.access_log {
        let word = match mode {
            AccessLogMode::Off => "off",
            AccessLogMode::Sampled => "sampled",
            AccessLogMode::All => "all",
        };
        arguments.extend(["--access-log".to_owned(), word.to_owned()]);
        if let Some(sample) = sample {
            arguments.extend(["--access-log-sample".to_owned(), sample.to_string()]);
        }
    }
    for network in plan.parameters.trusted_proxies.iter().flatten() {
        arguments.extend(["--trusted-proxy".to_owned(), network.clone()]);
    }
    arguments
}

fn environment(plan: &Plan<'_>) -> Vec<EnvVar> {
    let name = ObjectFieldSelector { field_path: "metadata.name".to_owned(), api_version: Some("v1".to_owned()) };
    let source = EnvVarSource { field_ref: Some(name), ..EnvVarSource::default() };
    let node = EnvVar { name: "PORTCULLIS_NODE".to_owned(), value_from: Some(source), value: None };
    let own = plan.pod.env.iter().flatten().map(|variable| EnvVar {
        name: variable.name.clone(),
        value: Some(variable.value.clone()),
        value_from: None,
    });
    std::iter::once(node).chain(own).collect()
}

/// What is asked for, and for CPU and memory the defaults where neither a request nor a limit says anything.
fn resources(own: Option<&Resources>) -> ResourceRequirements {
    let Resources { requests, limits } = own.cloned().unwrap_or_default();
    let mut requests = requests.unwrap_or_default();
    for (name, amount) in DEFAULT_REQUESTS {
        if limits.as_ref().is_none_or(|limits| !limits.contains_key(name)) {
            requests.entry(name.to_owned()).or_insert_with(|| Quantity(amount.to_owned()));
        }
    }
    ResourceRequirements {
        requests: (!requests.is_empty()).then_some(requests),
        limits: limits.filter(|limits| !limits.is_empty()),
        claims: None,
    }
}

fn probe(plan: &Plan<'_>, path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(i32::from(plan.admin_port)),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        // Port 80 without a capability, and port 53: in spite of its name it is for IPv6 and UDP as well. It is one of the
        // sysctls that every node allows.
        sysctls: Some(vec![Sysctl { name: "net.ipv4.ip_unprivileged_port_start".to_owned(), value: "0".to_owned() }]),
        ..PodSecurityContext::default()
    }
}

fn volumes(plan: &Plan<'_>) -> Vec<Volume> {
    let token = ServiceAccountTokenProjection {
        audience: Some(TOKEN_AUDIENCE.to_owned()),
        expiration_seconds: Some(3600),
        path: "token".to_owned(),
    };
    let projection = VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() };
    let ca = ConfigMapVolumeSource {
        name: plan.name.clone(),
        items: Some(vec![KeyToPath { key: CA_KEY.to_owned(), path: CA_KEY.to_owned(), mode: None }]),
        ..ConfigMapVolumeSource::default()
    };
    vec![
        Volume {
            name: "token".to_owned(),
            projected: Some(ProjectedVolumeSource { sources: Some(vec![projection]), default_mode: None }),
            ..Volume::default()
        },
        Volume { name: "ca".to_owned(), config_map: Some(ca), ..Volume::default() },
        // Outlives the container: one that starts again while no controller answers serves what it had.
        Volume {
            name: "state".to_owned(),
            empty_dir: Some(EmptyDirVolumeSource { medium: None, size_limit: Some(Quantity("1Gi".to_owned())) }),
            ..Volume::default()
        },
    ]
}

fn spread(plan: &Plan<'_>, own: Option<&[TopologySpreadConstraint]>) -> Vec<TopologySpreadConstraint> {
    let Some(own) = own else {
        return vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(plan.label_selector()),
            // Pods of the last rollout do not count, or the new ones would lean away from them.
            match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
            ..TopologySpreadConstraint::default()
        }];
    };
    let mut own = own.to_vec();
    for constraint in &mut own {
        constraint.label_selector.get_or_insert_with(|| plan.label_selector());
    }
    own
}
