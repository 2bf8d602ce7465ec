//! Statuses as a cluster would hold them, for `portcullis status` and the admin page `/status`.

use std::fmt::Write;

use portcullis_ir::RouteKind;
use portcullis_translate::{Kind, Statuses};
use serde_json::{Value, json};

use super::diagnose::next_step;
use crate::load::Problem;

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub statuses: Statuses,
    pub problems: Vec<Problem>,
}

impl Report {
    /// A `List` of objects with nothing but their names and their status, as `kubectl get -o json` would print them.
    pub fn to_list(&self) -> Value {
        let Statuses {
            gateway_classes,
            gateways,
            routes,
            listener_sets,
            backend_tls_policies,
            backends,
            x_backends,
            gateway_parameters,
            rate_limit_policies,
            auth_policies,
            ..
        } = &self.statuses;
        let mut items = Vec::new();
        let mut push = |version: &str, kind: &str, namespace: Option<&str>, name: &str, status: Value| {
            let mut metadata = json!({ "name": name });
            if let Some(namespace) = namespace {
                metadata["namespace"] = namespace.into();
            }
            items.push(json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "status": status }));
        };
        let gateway_api = "gateway.networking.k8s.io/v1";
        let ours = "portcullis.dev/v1alpha1";
        for (name, status) in gateway_classes {
            push(gateway_api, "GatewayClass", None, name, json!(status));
        }
        for (key, status) in gateways {
            push(gateway_api, "Gateway", Some(&key.namespace), &key.name, json!(status));
        }
        for (object, status) in routes {
            push(gateway_api, object.kind.as_str(), object.namespace.as_deref(), &object.name, json!(status));
        }
        for (name, status) in listener_sets {
            push(gateway_api, "ListenerSet", Some(&name.namespace), &name.name, json!(status));
        }
        for (name, status) in backend_tls_policies {
            push(gateway_api, "BackendTLSPolicy", Some(&name.namespace), &name.name, json!(status));
        }
        for (name, status) in backends {
            push(ours, "Backend", Some(&name.namespace), &name.name, json!(status));
        }
        for (name, status) in x_backends {
            let version = Kind::XBackend.api_version();
            push(version, Kind::XBackend.as_str(), Some(&name.namespace), &name.name, json!(status));
        }
        for (name, status) in gateway_parameters {
            push(ours, "GatewayParameters", Some(&name.namespace), &name.name, json!(status));
        }
        for (name, status) in rate_limit_policies {
            push(ours, "RateLimitPolicy", Some(&name.namespace), &name.name, json!(status));
        }
        for (name, status) in auth_policies {
            push(ours, "AuthPolicy", Some(&name.namespace), &name.name, json!(status));
        }
        json!({ "apiVersion": "v1", "kind": "List", "items": items })
    }

    /// The list, with the problems beside it: what the admin page serves.
    pub fn to_page(&self) -> String {
        let mut page = self.to_list();
        page["problems"] = json!(self.problems);
        let mut text = serde_json::to_string_pretty(&page).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// The tables of `portcullis status`, from a [`Report::to_page`].
pub fn tables(page: &Value) -> String {
    let none = Vec::new();
    let items = page["items"].as_array().unwrap_or(&none);
    let of_kind = |kind: &'static str| items.iter().filter(move |item| item["kind"] == kind);
    let mut out = String::new();
    let mut notes = Vec::new();

    let mut rows = Vec::new();
    for gateway in of_kind("Gateway").chain(of_kind("ListenerSet")) {
        let name = full_name(gateway);
        let kind = gateway["kind"].as_str().unwrap_or_default();
        let status = &gateway["status"];
        let addresses: Vec<&str> = status["addresses"]
            .as_array()
            .unwrap_or(&none)
            .iter()
            .filter_map(|address| address["value"].as_str())
            .collect();
        let address = if addresses.is_empty() { "-".to_owned() } else { addresses.join(",") };
        rows.push(row([&name, "", &address, "", &state(status, "Accepted"), "", &state(status, "Programmed")]));
        note(&mut notes, &format!("{kind} {name}"), status);
        for listener in status["listeners"].as_array().unwrap_or(&none) {
            let listener_name = listener["name"].as_str().unwrap_or_default();
            let routes = listener["attachedRoutes"].to_string();
            let [accepted, resolved, programmed] =
                ["Accepted", "ResolvedRefs", "Programmed"].map(|kind| state(listener, kind));
            rows.push(row(["", listener_name, "", &routes, &accepted, &resolved, &programmed]));
            note(&mut notes, &format!("{kind} {name}, listener {listener_name}"), listener);
        }
    }
    table(&mut out, ["GATEWAY", "LISTENER", "ADDRESS", "ROUTES", "ACCEPTED", "RESOLVED", "PROGRAMMED"], rows);

    for kind in RouteKind::ALL.map(RouteKind::as_str) {
        let mut rows = Vec::new();
        for route in of_kind(kind) {
            let name = full_name(route);
            for parent in route["status"]["parents"].as_array().unwrap_or(&none) {
                let mut target = parent["parentRef"]["name"].as_str().unwrap_or_default().to_owned();
                if let Some(section) = parent["parentRef"]["sectionName"].as_str() {
                    target.push('/');
                    target.push_str(section);
                }
                rows.push(row([&name, &target, &state(parent, "Accepted"), &state(parent, "ResolvedRefs")]));
                note(&mut notes, &format!("{kind} {name}, parent {target}"), parent);
            }
        }
        table(&mut out, [&kind.to_uppercase(), "PARENT", "ACCEPTED", "RESOLVED"], rows);
    }

    for (kind, title) in [("BackendTLSPolicy", "BACKENDTLSPOLICY"), ("XBackend", "XBACKEND")] {
        let mut rows = Vec::new();
        for object in of_kind(kind) {
            let name = full_name(object);
            for ancestor in object["status"]["ancestors"].as_array().unwrap_or(&none) {
                let gateway = ancestor["ancestorRef"]["name"].as_str().unwrap_or_default();
                rows.push(row([&name, gateway, &state(ancestor, "Accepted"), &state(ancestor, "ResolvedRefs")]));
                note(&mut notes, &format!("{kind} {name}, Gateway {gateway}"), ancestor);
            }
        }
        table(&mut out, [title, "GATEWAY", "ACCEPTED", "RESOLVED"], rows);
    }
    for (kind, title) in
        [("Backend", "BACKEND"), ("GatewayParameters", "GATEWAYPARAMETERS"), ("GatewayClass", "GATEWAYCLASS")]
    {
        let mut rows = Vec::new();
        for object in of_kind(kind) {
            let name = full_name(object);
            rows.push(row([&name, &state(&object["status"], "Accepted")]));
            note(&mut notes, &format!("{kind} {name}"), &object["status"]);
        }
        table(&mut out, [title, "ACCEPTED"], rows);
    }
    if !notes.is_empty() {
        let _ = writeln!(out, "{}", notes.join("\n"));
    }
    out
}

fn full_name(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

/// What a condition says: `True`, `False (Reason)`, or `-` if there is none.
fn state(status: &Value, kind: &str) -> String {
    let none = Vec::new();
    let found = status["conditions"].as_array().unwrap_or(&none).iter().find(|condition| condition["type"] == kind);
    let Some(condition) = found else { return "-".to_owned() };
    let status = condition["status"].as_str().unwrap_or_default();
    let reason = condition["reason"].as_str().unwrap_or_default();
    if status == "True" { status.to_owned() } else { format!("{status} ({reason})") }
}

/// Lines for the conditions that want something done.
fn note(notes: &mut Vec<String>, what: &str, status: &Value) {
    let none = Vec::new();
    for condition in status["conditions"].as_array().unwrap_or(&none) {
        let [kind, status, reason, message] =
            ["type", "status", "reason", "message"].map(|field| condition[field].as_str().unwrap_or_default());
        let bad = match kind {
            "Conflicted" | "OverlappingTLSConfig" | "PartiallyInvalid" | "InsecureFrontendValidationMode" => {
                status == "True"
            }
            _ => status == "False",
        };
        if bad {
            notes.push(format!("{what}: {message} ({kind}={status}, {reason}); {}", next_step(reason)));
        }
    }
}

fn row<const N: usize>(cells: [&str; N]) -> [String; N] {
    cells.map(str::to_owned)
}

fn table<const N: usize>(out: &mut String, titles: [&str; N], rows: Vec<[String; N]>) {
    if rows.is_empty() {
        return;
    }
    let all: Vec<[String; N]> = std::iter::once(row(titles)).chain(rows).collect();
    let mut widths = [0; N];
    for cells in &all {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for cells in &all {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(cells) {
            let _ = write!(line, "{cell:width$}   ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out.push('\n');
}
