//! What is wrong with files is told with file, line, object, field and fix, and costs nothing else.

#![allow(clippy::unwrap_used)]

use std::fs;

use portcullis_cli::load::{Loaded, Loader};
use portcullis_translate::NamespacedName;
use tempfile::TempDir;

fn load(files: &[(&str, &str)]) -> (TempDir, Loaded) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let loaded = Loader::new(folder.path()).load(&|_| false).unwrap().news.unwrap();
    (folder, loaded)
}

/// The problems of one file, without the folder that it stands in.
fn problems(text: &str) -> Vec<String> {
    let (folder, loaded) = load(&[("a.yaml", text)]);
    let prefix = format!("{}/", folder.path().display());
    loaded.problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
}

const ROUTE: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: public}]
  rules:
";

#[test]
fn each_mistake_is_told_with_its_place_and_a_fix() {
    let route = |rules: &str| format!("{ROUTE}{rules}");
    let cases: Vec<(String, &str)> = vec![
        // The text itself.
        ("kind: [\n".into(), "a.yaml:2:1: error: document 1: malformed YAML:"),
        ("a: 1\n---\nb: \"x\n".into(), "a.yaml:1:1: error: document 1: kind: `kind` is missing; say what it is, such as `kind: HTTPRoute`"),
        ("- a\n".into(), "a.yaml:1:1: error: document 1: an object is due here, not a list; start with `apiVersion:`, `kind:` and `metadata:`"),
        (
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  name: b\n".into(),
            "a.yaml:5:3: error: Namespace a: key `name` is given twice, first on line 4; keep one of the two",
        ),
        // What the object is.
        ("kind: Gateway\nmetadata: {name: a}\n".into(), "a.yaml:1:1: error: Gateway default/a: apiVersion: kind Gateway is not served as apiVersion ``; write `apiVersion: gateway.networking.k8s.io/v1`"),
        (
            "apiVersion: gateway.networking.k8s.io/v1alpha2\nkind: HTTPRoute\nmetadata: {name: a}\n".into(),
            "a.yaml:1:1: error: HTTPRoute default/a: apiVersion: kind HTTPRoute is not served as apiVersion `gateway.networking.k8s.io/v1alpha2`; write",
        ),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HttpRoute\nmetadata: {name: a}\n".into(),
            "a.yaml:2:1: error: HTTPRoute default/a: kind: unknown kind `HttpRoute`; did you mean `HTTPRoute`?",
        ),
        (
            "apiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XMesh\nmetadata: {name: a}\n".into(),
            "a.yaml:2:1: error: document 1: kind: kind XMesh is not supported yet; remove it: nothing would honour it",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n".into(),
            "a.yaml:2:1: warning: document 1: Deployment of apps/v1 is nothing that a gateway reads; it is left alone; move it out of this folder to silence this",
        ),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {namespace: a}\n".into(),
            "a.yaml:3:11: error: document 1: metadata.name: Secret has no name; add `metadata.name:` with a name of your choice",
        ),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: A_b}\n".into(),
            "a.yaml:3:12: error: Secret default/A_b: metadata.name: `A_b` is no name for a Secret; use lower-case letters",
        ),
        // Fields.
        (route("  - match: []\n"), "a.yaml:7:5: error: HTTPRoute default/r: spec.rules[0].match: unknown field; did you mean `matches`?"),
        (
            route("  - matches: [{path: {type: Prefix, value: /a}}]\n"),
            "a.yaml:7:29: error: HTTPRoute default/r: spec.rules[0].matches[0].path.type: `Prefix` is not allowed here; use one of Exact, PathPrefix, RegularExpression",
        ),
        (
            route("  - matches: [{path: {type: PathPrefix, value: a}}]\n"),
            "a.yaml:7:22: error: HTTPRoute default/r: spec.rules[0].matches[0].path: value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']; change it so that this holds",
        ),
        (route("  - matches: [{path: {value: /a//b}}]\n"), "spec.rules[0].matches[0].path: must not contain '//'"),
        (route("  - matches: [{path: {value: /a%2fb}}]\n"), "spec.rules[0].matches[0].path: must not contain '%2f'"),
        (route("  - matches: [{path: {value: /a/../b}}]\n"), "spec.rules[0].matches[0].path: must not contain '/../'"),
        (route("  - matches: [{path: {value: /a/..}}]\n"), "spec.rules[0].matches[0].path: must not end with '/..'"),
        (route("  - matches: [{method: get}]\n"), "`get` is not allowed here; did you mean `GET`?"),
        (route("  - matches: [{headers: [{name: 'a b', value: c}]}]\n"), "spec.rules[0].matches[0].headers[0].name: `a b` does not have the required form; use what header names are made of"),
        (route("  - matches: [{headers: [{name: a, value: 1}]}]\n"), "headers[0].value: must be a string, not an integer; put it in quotes"),
        (route("  - backendRefs: [{name: a, port: 70000}]\n"), "spec.rules[0].backendRefs[0].port: 70000 is out of range; use 1 to 65535"),
        (route("  - backendRefs: [{name: a}]\n"), "spec.rules[0].backendRefs[0]: Must have port for Service reference"),
        (route("  - backendRefs: [{name: a, port: 80, weight: -1}]\n"), "weight: -1 is out of range; use 0 to 1000000"),
        (route("  - timeouts: {request: 10}\n"), "a.yaml:7:25: error: HTTPRoute default/r: spec.rules[0].timeouts.request: must be a string, not an integer; put it in quotes"),
        (route("  - timeouts: {request: 10 s}\n"), "timeouts.request: `10 s` does not have the required form; write a duration such as 10s, 500ms or 1h30m"),
        (route("  - timeouts: {request: 1s, backendRequest: 2s}\n"), "spec.rules[0].timeouts: backendRequest timeout cannot be longer than request timeout"),
        (route("  - filters: [{type: URLRewrite}]\n"), "spec.rules[0].filters[0]: filter.urlRewrite must be specified for URLRewrite filter.type"),
        (
            route("  - filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: a, value: b}, {name: a, value: c}]}}]\n"),
            "set[1]: has the same name as item 0; keep one, or tell them apart",
        ),
        (route("  - name: A\n    name: b\n"), "a.yaml:8:5: error: HTTPRoute default/r: key `name` is given twice, first on line 7"),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {hostnames: ['http://a.com']}\n".into(),
            "a.yaml:4:20: error: HTTPRoute default/r: spec.hostnames[0]: `http://a.com` does not have the required form; write a lower-case host name",
        ),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {gatewayClassName: portcullis}\n".into(),
            "a.yaml:4:7: error: Gateway default/g: spec: `listeners` is missing; add `listeners:`",
        ),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec:\n  gatewayClassName: portcullis\n  listeners:\n  - {name: a, port: 80, protocol: HTTP}\n  - {name: b, port: 80, protocol: HTTP}\n".into(),
            "Gateway default/g: spec.listeners: Combination of port, protocol and hostname must be unique for each listener",
        ),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: kubernetes.io/tls\ndata: {tls.crt: eA==}\n".into(),
            "a.yaml:1:1: error: Secret default/s: a Secret of type kubernetes.io/tls needs both `tls.crt` and `tls.key`",
        ),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: hunter2}\n".into(),
            "a.yaml:4:11: error: Secret default/s: data.a: is not base64; encode it, or put it under `stringData` as it is",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}, {port: 81}]}\n".into(),
            "Service default/s: spec.ports: each of several ports needs a `name`",
        ),
        (
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s}\naddressType: IPv4\nendpoints: [{addresses: [localhost]}]\n".into(),
            "a.yaml:5:12: error: EndpointSlice default/s: endpoints: addresses must be IP addresses (for host names use a Backend)",
        ),
        (
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s}\naddressType: IPv4\nendpoints: [{addresses: [10.0.0.1]}]\n".into(),
            "a.yaml:1:1: warning: EndpointSlice default/s: metadata.labels: belongs to no Service; add the label `kubernetes.io/service-name`",
        ),
        (
            "apiVersion: portcullis.dev/v1alpha1\nkind: Backend\nmetadata: {name: b}\nspec: {endpoints: [{hostname: a.com, ip: 10.0.0.1, port: 80}]}\n".into(),
            "Backend default/b: spec.endpoints[0]: give exactly one of hostname and ip",
        ),
        (
            "apiVersion: portcullis.dev/v1alpha1\nkind: Backend\nmetadata: {name: b}\nspec: {endpoints: [{ip: 300.0.0.1, port: 80}], connectTimeout: 2m}\n".into(),
            "Backend default/b: spec.connectTimeout: connectTimeout must be from 1ms to 1m",
        ),
        (
            "apiVersion: portcullis.dev/v1alpha1\nkind: Backend\nmetadata: {name: b}\nspec: {endpoints: [{ip: 10.0.0.1, port: 80}], protocol: http2}\n".into(),
            "Backend default/b: spec.protocol: `http2` is not allowed here; did you mean `HTTP2`?",
        ),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {name: g}\nspec: {from: [], to: [{group: '', kind: Service}]}\n".into(),
            "a.yaml:4:14: error: ReferenceGrant default/g: spec.from: must not be empty; give at least 1 item",
        ),
    ];
    for (text, expected) in cases {
        let found = problems(&text);
        assert!(
            found.iter().any(|problem| problem.contains(expected)),
            "{text}\nexpected {expected}\nfound {found:#?}"
        );
    }
}

#[test]
fn no_message_shows_what_a_secret_holds() {
    for text in [
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: hunter2}\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: [hunter2]}\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: hunter2\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: hunter2_}\ntype: 7\n",
    ] {
        let found = problems(text);
        assert!(!found.is_empty());
        let told =
            found.iter().filter(|problem| !problem.contains("Secret hunter2_/s")).any(|it| it.contains("hunter2"));
        assert!(!told, "{found:?}");
    }
}

#[test]
fn a_broken_document_costs_only_itself() {
    let good = format!("{ROUTE}  - backendRefs: [{{name: a, port: 80}}]\n");
    let text = format!(
        "{}---\n{}---\n{}",
        good.replace("name: r", "name: first"),
        "kind: [\n",
        good.replace("name: r", "name: last")
    );
    let (_folder, loaded) = load(&[("a.yaml", &text), ("b/c.yml", "x: {"), ("d.json", "{\"kind\": 1}")]);
    let names: Vec<String> = loaded.inputs.http_routes.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["default/first", "default/last"]);
    assert_eq!(loaded.problems.len(), 3, "{:?}", loaded.problems);
    assert!(loaded.problems[0].to_string().contains("a.yaml:"), "{}", loaded.problems[0]);
}

#[test]
fn an_object_that_is_invalid_is_known_to_be_and_never_its_former_self() {
    let (_folder, loaded) = load(&[("a.yaml", &format!("{ROUTE}  - match: []\n"))]);
    assert!(loaded.inputs.http_routes.is_empty());
    let (reference, why) = loaded.inputs.invalid.iter().next().unwrap();
    assert_eq!(reference.to_string(), "HTTPRoute default/r");
    assert_eq!(why, "spec.rules[0].match: unknown field");
}

#[test]
fn of_two_objects_with_one_name_the_first_counts_and_both_places_are_named() {
    let service = |port: u16| {
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\nspec: {{ports: [{{port: {port}}}]}}\n")
    };
    let (folder, loaded) = load(&[("b.yaml", &service(2)), ("a.yaml", &format!("# one\n{}", service(1)))]);
    let service = &loaded.inputs.services[&NamespacedName::new("default", "s")];
    assert_eq!(service.spec.as_ref().unwrap().ports.as_ref().unwrap()[0].port, 1);
    let path = folder.path().display();
    let expected = format!(
        "{path}/b.yaml:1:1: error: Service default/s: is defined twice, first in {path}/a.yaml:2; remove or rename one; the first one counts"
    );
    assert_eq!(loaded.problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
}

#[test]
fn a_file_that_is_no_text_or_a_broken_link_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), b"a: 1\n\xff\n").unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("b.yaml")).unwrap();
    std::os::unix::fs::symlink(".", folder.path().join("loop")).unwrap();
    fs::write(folder.path().join(".hidden.yaml"), "x").unwrap();
    fs::write(folder.path().join("notes.txt"), "x").unwrap();
    let loaded = Loader::new(folder.path()).load(&|_| false).unwrap().news.unwrap();
    let found: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
    assert!(found[0].contains("a.yaml: error: cannot be read: line 2 is not UTF-8"), "{found:?}");
    assert!(found[1].contains("b.yaml: error: cannot be read"), "{found:?}");
    assert!(found[2].contains("leads back to a folder above it"), "{found:?}");
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn what_a_cluster_has_of_its_own_accord_is_there() {
    let (_folder, loaded) =
        load(&[("a.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\n")]);
    assert!(loaded.inputs.gateway_classes.contains_key("portcullis"));
    let labels = loaded.inputs.namespaces["shop"].metadata.labels.as_ref().unwrap();
    assert_eq!(labels["kubernetes.io/metadata.name"], "shop");
}

#[test]
fn an_edit_keeps_every_other_object_as_it_is_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    let map = |name: &str, value: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: {value}}}\n---\n")
    };
    fs::write(&path, map("one", "x") + &map("two", "x")).unwrap();
    let mut loader = Loader::new(folder.path());
    let before = loader.load(&|_| false).unwrap().news.unwrap();
    assert!(loader.load(&|_| false).unwrap().news.is_none());
    // A comment above moves everything and changes nothing.
    fs::write(&path, format!("# moved\n{}{}", map("one", "x"), map("two", "y"))).unwrap();
    let after = loader.load(&|_| false).unwrap().news.unwrap();
    let [one, two] = ["one", "two"].map(|name| NamespacedName::new("default", name));
    assert!(std::sync::Arc::ptr_eq(&before.inputs.config_maps[&one], &after.inputs.config_maps[&one]));
    assert!(!std::sync::Arc::ptr_eq(&before.inputs.config_maps[&two], &after.inputs.config_maps[&two]));
    assert!(std::sync::Arc::ptr_eq(&before.inputs.namespaces["default"], &after.inputs.namespaces["default"]));
    assert_eq!(after.changes.changed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ConfigMap default/two"]);
}
