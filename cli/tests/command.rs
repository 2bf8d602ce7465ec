//! The built binary, as people call it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn portcullis(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn quickstart() -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/quickstart");
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_good_folder_passes_check() {
    let output = portcullis(&["run", "--config", &quickstart(), "--once", "--check"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout), "5 objects in 3 files: 0 errors, 0 warnings\n");
}

#[test]
fn a_bad_folder_fails_check_and_every_problem_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().to_str().unwrap();
    fs::copy(format!("{}/gateway.yaml", quickstart()), folder.path().join("a.yaml")).unwrap();
    fs::write(
        folder.path().join("b.yaml"),
        "apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: lost}
spec:
  parentRefs: [{name: publik}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: nowhere}
spec:
  parentRefs: [{name: public}]
  rules: [{backendRefs: [{name: nope, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: typo}
spec: {parentRef: [{name: public}]}
",
    )
    .unwrap();
    let output = portcullis(&["run", "--config", config, "--once", "--check"]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stdout).replace(&format!("{config}/"), "");
    for expected in [
        "b.yaml:1:1: error: HTTPRoute default/lost: spec.parentRefs[0]: there is no Gateway default/publik; did you mean `public`?\n",
        "b.yaml:7:1: error: HTTPRoute default/nowhere: parent public: ",
        "BackendNotFound); create it, or correct the name, namespace or port\n",
        "b.yaml:17:8: error: HTTPRoute default/typo: spec.parentRef: unknown field; did you mean `parentRefs`?\n",
        "4 objects in 2 files: 3 errors, 0 warnings\n",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }

    let output = portcullis(&["run", "--config", config, "--check", "--log-format", "json"]);
    let lines = text(&output.stdout);
    let problem: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((problem["line"].as_u64(), problem["severity"].as_str()), (Some(1), Some("error")), "{problem}");
    assert_eq!(problem["object"], "HTTPRoute default/lost");
}

#[test]
fn status_of_a_folder_is_a_table_or_what_kubectl_would_print() {
    let output = portcullis(&["status", "--config", &quickstart()]);
    assert!(output.status.success(), "{output:?}");
    let table = text(&output.stdout);
    let line = |start: &str| table.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{table}"));
    assert!(line("default/public").contains("127.0.0.1"), "{table}");
    assert!(line("default/shop").contains("public"), "{table}");
    let output = portcullis(&["status", "--config", &quickstart(), "-o", "json"]);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let gateway = list["items"].as_array().unwrap().iter().find(|item| item["kind"] == "Gateway").unwrap();
    assert_eq!(gateway["status"]["listeners"][0]["attachedRoutes"], 2);
    let yaml = portcullis(&["status", "--config", &quickstart(), "-o", "yaml"]);
    assert!(text(&yaml.stdout).starts_with("apiVersion: v1\n"), "{yaml:?}");
}

#[test]
fn what_cannot_work_is_said_with_the_way_out() {
    for (arguments, expected) in [
        (vec!["run", "--config", "/nowhere", "--check"], "cannot read /nowhere; name a folder with YAML files"),
        (vec!["run", "--config", "/nowhere"], "/nowhere is not there; create it"),
        (
            vec!["status", "--admin", "127.0.0.1:1"],
            "nothing is running with its admin pages on 127.0.0.1:1; start `portcullis run`",
        ),
        (vec!["quickstart", "--config", "/nowhere"], "/nowhere is not there; run this from the root of the repository"),
        (vec!["run", "--config", "x", "--access-log", "0"], "write `off`, `all`, or a number from 1"),
    ] {
        let output = portcullis(&arguments);
        assert!(!output.status.success());
        let told = text(&output.stderr);
        assert!(told.contains(expected), "{arguments:?}: {told}");
    }
}

fn example(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples").join(name);
    path.to_str().unwrap().to_owned()
}

#[test]
fn explain_tells_where_each_part_comes_from_and_why_others_do_not_count() {
    let config = example("rate-limits");
    let output = portcullis(&["explain", "--config", &config, "HTTPRoute/default/shop", "login"]);
    assert!(output.status.success(), "{output:?}");
    let told = text(&output.stdout);
    for expected in [
        "HTTPRoute default/shop, rule 0 (login), on listener default/web/http\n",
        "    + attempts    default/login on HTTPRoute/default/shop/login\n",
        "    + per-client  default/platform on Gateway/default/web\n",
        "  AuthPolicy\n    none is attached\n",
    ] {
        assert!(told.contains(expected), "{expected:?} in {told}");
    }
    // A default gives way to what is more specific.
    let config = example("authentication");
    let output = portcullis(&["explain", "--config", &config, "HTTPRoute/default/shop", "api"]);
    assert!(text(&output.stdout).contains("    + method keys"), "{output:?}");
    let json = portcullis(&["explain", "--config", &config, "HTTPRoute/default/shop", "api", "-o", "json"]);
    let parts: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(parts[0]["ruleName"], "api");
    assert!(!text(&json.stdout).contains("correct-horse"));
}

#[test]
fn explain_says_what_it_cannot_find() {
    let config = example("rate-limits");
    for (route, words) in [
        ("HTTPRoute/default/gone", "there is no HTTPRoute default/gone"),
        ("shop", "write HTTPRoute/NAMESPACE/NAME"),
        ("TCPRoute/a/b", "name an HTTPRoute or a GRPCRoute"),
    ] {
        let output = portcullis(&["explain", "--config", &config, route]);
        assert_eq!(output.status.code(), Some(1), "{route}");
        assert!(text(&output.stderr).contains(words), "{output:?}");
    }
    let output = portcullis(&["explain", "--config", &config, "HTTPRoute/default/shop", "gone"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("rule gone of HTTPRoute default/shop is attached to no listener"));
}
