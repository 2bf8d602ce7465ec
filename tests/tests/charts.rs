//! The charts say what the documentation says, and are of the workspace's release.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What a rule allows: group, resources, names, verbs.
type Rule = (String, BTreeSet<String>, BTreeSet<String>, BTreeSet<String>);

#[test]
fn the_rights_of_the_chart_are_those_of_the_documentation() {
    let page = read("docs/reference/rbac.md");
    let roles = roles();
    assert_eq!(rules(&roles, "ClusterRole"), table(&page, "## The controller, in the whole cluster"));
    assert_eq!(rules(&roles, "Role"), table(&page, "## The controller, in its own namespace"));
}

#[test]
fn no_right_is_for_everything() {
    for kind in ["ClusterRole", "Role"] {
        for (group, resources, names, verbs) in rules(&roles(), kind) {
            let mut words = resources.iter().chain(&names).chain(&verbs).chain([&group]);
            assert!(words.all(|word| !word.contains('*')), "{group} {resources:?} {verbs:?}");
        }
    }
}

#[test]
fn no_role_is_bound_to_anybody_but_the_controller() {
    for role in roles().iter().filter(|role| role["kind"].as_str().unwrap().ends_with("Binding")) {
        let subjects = role["subjects"].as_array().unwrap();
        assert_eq!(subjects.len(), 1);
        assert_eq!(subjects[0]["kind"], "ServiceAccount");
        assert_eq!(subjects[0]["name"], "TEMPLATE");
    }
}

#[test]
fn the_class_outlives_the_release_for_its_finalizer_would_wait_for_a_controller_that_is_gone() {
    let text = read("charts/portcullis/templates/gatewayclass.yaml");
    for document in text.split("\n---\n") {
        assert!(document.contains("  annotations:\n    helm.sh/resource-policy: keep\n"), "{document}");
    }
}

#[test]
fn both_charts_are_of_the_release_of_the_workspace() {
    for chart in ["portcullis", "portcullis-crds"] {
        let text = read(&format!("charts/{chart}/Chart.yaml"));
        let chart: Value = serde_norway::from_str(&text).unwrap();
        assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    }
}

#[test]
fn the_dashboard_has_a_row_for_limits_and_one_for_authentication() {
    let dashboard: Value = serde_json::from_str(&read("charts/portcullis/files/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<&Value> = panels.iter().filter(|panel| panel["type"] == "row").map(|row| &row["title"]).collect();
    assert_eq!(rows, ["Limits", "Authentication"]);
    let shown: String = panels.iter().map(|panel| panel["targets"].to_string()).collect();
    let alerts = read("charts/portcullis/templates/monitoring.yaml");
    let pages = read("docs/rate-limits.md") + &read("docs/authentication.md");
    for metric in [
        "portcullis_dataplane_rate_limit_requests_total",
        "portcullis_dataplane_rate_limit_store_failures_total",
        "portcullis_dataplane_rate_limit_leased_units_total",
        "portcullis_dataplane_rate_limit_returned_units_total",
        "portcullis_dataplane_rate_limit_evicted_keys_total",
        "portcullis_dataplane_auth_methods_total",
        "portcullis_controller_auth_downgrades",
    ] {
        assert!(shown.contains(metric) && pages.contains(metric), "{metric}");
    }
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(
        names,
        ["PortcullisCounterStoreFails", "PortcullisRateLimitForgetsKeys", "PortcullisAuthenticationDowngraded"]
    );
}

#[test]
fn every_value_is_in_the_schema_and_in_the_readme() {
    let values: Value = serde_norway::from_str(&read("charts/portcullis/values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&read("charts/portcullis/values.schema.json")).unwrap();
    let readme = read("charts/portcullis/README.md");
    for name in values.as_object().unwrap().keys() {
        assert!(schema["properties"][name].is_object(), "{name} is not in values.schema.json");
        assert!(readme.contains(&format!("`{name}")), "{name} is not in README.md");
    }
}

#[test]
fn nothing_in_the_templates_differs_from_one_rendering_to_the_next() {
    for entry in fs::read_dir(root().join("charts/portcullis/templates")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = fs::read_to_string(&path).unwrap();
            for word in ["rand", "genCA", "genSigned", "genPrivateKey", "uuidv4", "now ", "date "] {
                assert!(
                    !text.contains(&format!("{{{{ {word}")) && !text.contains(&format!("({word}")),
                    "{}: {word}",
                    path.display()
                );
            }
        }
    }
}

/// The documents of `rbac.yaml`, whose templates stand only where names and labels do.
fn roles() -> Vec<Value> {
    let text = read("charts/portcullis/templates/rbac.yaml");
    let text = text.replace("[{{ .Values.caSecret }}]", "[portcullis-ca]");
    let plain = text.lines().filter(|line| !line.trim_start().starts_with("{{-")).map(|line| match line.find("{{") {
        Some(start) => format!("{}TEMPLATE", &line[..start]),
        None => line.to_owned(),
    });
    let plain = plain.collect::<Vec<_>>().join("\n");
    let documents: Vec<Value> = plain.split("\n---\n").map(|one| serde_norway::from_str(one).unwrap()).collect();
    assert_eq!(documents.len(), 4);
    documents
}

fn rules(roles: &[Value], kind: &str) -> Vec<Rule> {
    let role = roles.iter().find(|role| role["kind"] == kind).unwrap();
    let strings = |value: &Value| {
        value.as_array().into_iter().flatten().map(|one| one.as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let rules = role["rules"].as_array().unwrap().iter().map(|rule| {
        let groups = strings(&rule["apiGroups"]);
        assert_eq!(groups.len(), 1, "one group in each rule");
        let group = groups.first().unwrap().clone();
        (group, strings(&rule["resources"]), strings(&rule["resourceNames"]), strings(&rule["verbs"]))
    });
    sorted(rules.collect())
}

/// The rows of the table below `heading`; a table of four columns has no names.
fn table(page: &str, heading: &str) -> Vec<Rule> {
    let section = page.split(heading).nth(1).unwrap().split("\n## ").next().unwrap();
    let rows =
        section.lines().filter(|line| line.starts_with("| ") && !line.contains("---") && !line.contains("API group"));
    let rules = rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let words = |cell: &str| {
            let words = cell.split(',').map(|word| word.trim().trim_matches('`').to_owned());
            words.filter(|word| !word.is_empty()).collect::<BTreeSet<_>>()
        };
        let group = cells[0].trim_matches('`').replace("core", "");
        let names = if cells.len() == 5 { words(cells[2]) } else { BTreeSet::new() };
        (group, words(cells[1]), names, words(cells[cells.len() - 2]))
    });
    sorted(rules.collect())
}

fn sorted(mut rules: Vec<Rule>) -> Vec<Rule> {
    assert!(!rules.is_empty());
    rules.sort();
    rules
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
