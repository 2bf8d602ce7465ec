//! The rights that the chart gives, given to an account of a test.

use serde_json::{Value, json};

pub(crate) const ACCOUNT: &str = "controller";

/// The chart's roles under names of the test's own, bound to an account, as YAML documents.
pub(crate) fn objects(name: &str, namespace: &str) -> String {
    let rbac = |kind: &str| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind});
    let subjects = json!([{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}]);
    let reference = |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
    let mut documents = vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, "namespace": namespace}}),
    ];
    for role in ["ClusterRole", "Role"] {
        let metadata = match role {
            "Role" => json!({"name": name, "namespace": namespace}),
            _ => json!({"name": name}),
        };
        let mut granted = rbac(role);
        granted["metadata"] = metadata.clone();
        granted["rules"] = rules(role);
        let mut binding = rbac(&format!("{role}Binding"));
        binding["metadata"] = metadata;
        binding["roleRef"] = reference(role);
        binding["subjects"] = subjects.clone();
        documents.extend([granted, binding]);
    }
    documents.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n---\n")
}

/// Of a role of the chart, whose templates stand only where names and labels do.
fn rules(kind: &str) -> Value {
    let text = include_str!("../../../../charts/portcullis/templates/rbac.yaml");
    let text = text.replace("[{{ .Values.caSecret }}]", "[portcullis-ca]");
    let plain = text.lines().filter(|line| !line.trim_start().starts_with("{{-")).map(|line| match line.find("{{") {
        Some(start) => format!("{}template", &line[..start]),
        None => line.to_owned(),
    });
    let plain = plain.collect::<Vec<_>>().join("\n");
    let roles = plain.split("\n---\n").map(|one| serde_norway::from_str::<Value>(one).unwrap());
    let role = roles.into_iter().find(|role| role["kind"] == kind).expect("the chart has such a role");
    role["rules"].clone()
}
