//! The house rules that no compiler checks: sizes of files, which crate may know which, what stays pure, what is bounded, what is linked.
//!
//! A rule fails with the place and the way out. Exceptions live in the tables of this file, each with its reason, and one that is no longer
//! needed fails too.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};
use portcullis_translate::all_features;

const MEDIAN_LINES: usize = 150;
const LONG_FILE: usize = 400;
const TOO_LONG_FILE: usize = 600;

/// Files over 400 lines, and why they are not two files.
const LONG_FILES: &[(&str, &str)] = &[
    ("controller/translate/tests/laws/world.rs", "one generator per kind, and all of them refer to each other's names"),
    ("dataplane/src/http/exchange.rs", "one state machine, read from top to bottom"),
    ("tests/tests/hygiene.rs", "the rules and their tables of exceptions, each with its reason"),
];

/// Crates without a clock, I/O, randomness or async: what they compute follows from their arguments.
const PURE: &[&str] = &[
    "portcullis-crds",
    "portcullis-ir",
    "portcullis-wire",
    "portcullis-router",
    "portcullis-expressions",
    "portcullis-auth",
    "portcullis-limits",
    "portcullis-translate",
    "portcullis-provision",
];

/// What a pure crate may not link, not even through others. `jiff` alone is left out: the Kubernetes types hold its timestamps.
const IMPURE: &[&str] = &[
    "async-std",
    "chrono",
    "futures",
    "futures-util",
    "getrandom",
    "h2",
    "hickory-resolver",
    "hyper",
    "hyper-util",
    "mio",
    "notify",
    "pingora-core",
    "quanta",
    "rand",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "time",
    "tokio",
    "tokio-util",
    "tower",
    "tracing-subscriber",
];

/// Crates that compute only what they are given, although their names stand above.
const PURE_ENOUGH: &[(&str, &str, &str)] = &[
    ("portcullis-auth", "time", "x509-parser's dates; no clock is read"),
    ("portcullis-translate", "rustls", "without a connection it only judges whether a certificate and its key fit"),
    ("portcullis-translate", "time", "x509-parser's dates; no clock is read"),
];

/// What a pure crate may not say, whatever its Cargo.toml would let it.
const IMPURE_CODE: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "async fn",
    ".await",
];

/// The arrows of ARCHITECTURE.md: a crate and the crates of this workspace that it may build on.
const ARROWS: &[(&str, &[&str])] = &[
    ("portcullis-crds", &[]),
    ("portcullis-ir", &[]),
    ("portcullis-wire", &["portcullis-ir"]),
    ("portcullis-remote", &["portcullis-auth", "portcullis-expressions", "portcullis-fetch", "portcullis-ir"]),
    ("portcullis-router", &["portcullis-ir"]),
    ("portcullis-expressions", &[]),
    ("portcullis-auth", &["portcullis-expressions", "portcullis-ir"]),
    ("portcullis-external", &[]),
    ("portcullis-limits", &["portcullis-expressions", "portcullis-ir", "portcullis-router"]),
    ("portcullis-fetch", &[]),
    ("portcullis-issuers", &["portcullis-auth", "portcullis-fetch", "portcullis-ir", "portcullis-translate"]),
    ("portcullis-translate", &["portcullis-ir", "portcullis-crds", "portcullis-expressions"]),
    ("portcullis-provision", &["portcullis-crds"]),
    ("portcullis-publish", &["portcullis-ir", "portcullis-wire", "portcullis-router"]),
    (
        "portcullis-controller",
        &[
            "portcullis-crds",
            "portcullis-ir",
            "portcullis-wire",
            "portcullis-router",
            "portcullis-translate",
            "portcullis-provision",
            "portcullis-publish",
            "portcullis-issuers",
        ],
    ),
    (
        "portcullis-dataplane",
        &[
            "portcullis-ir",
            "portcullis-wire",
            "portcullis-router",
            "portcullis-expressions",
            "portcullis-auth",
            "portcullis-external",
            "portcullis-fetch",
            "portcullis-limits",
            "portcullis-remote",
        ],
    ),
    (
        "portcullis-cli",
        &[
            "portcullis-crds",
            "portcullis-ir",
            "portcullis-wire",
            "portcullis-router",
            "portcullis-translate",
            "portcullis-issuers",
            "portcullis-dataplane",
        ],
    ),
    (
        "portcullis-tests",
        &[
            "portcullis-crds",
            "portcullis-ir",
            "portcullis-wire",
            "portcullis-router",
            "portcullis-translate",
            "portcullis-dataplane",
            "portcullis-cli",
        ],
    ),
    // What tests of the controller and of the documents stand on: it installs our definitions, and knows no more of us.
    ("portcullis-apiserver", &["portcullis-crds"]),
    // The pieces by themselves, for what they cost; whole programs run as processes.
    (
        "portcullis-benches",
        &[
            "portcullis-crds",
            "portcullis-auth",
            "portcullis-ir",
            "portcullis-wire",
            "portcullis-router",
            "portcullis-dataplane",
            "portcullis-publish",
            "portcullis-translate",
            "portcullis-apiserver",
        ],
    ),
];

/// The data plane executes the IR: it knows neither our CRDs nor Kubernetes.
const KUBERNETES: &[&str] =
    &["gateway-api", "k8s-openapi", "kube", "kube-core", "portcullis-crds", "portcullis-translate", "schemars"];

#[test]
fn no_source_file_is_too_long_and_most_are_short() {
    let mut sizes = Vec::new();
    let mut complaints = Vec::new();
    let allowed: BTreeMap<&str, &str> = LONG_FILES.iter().copied().collect();
    for (path, text) in sources(&["rs", "go"]) {
        let lines = text.lines().count();
        sizes.push(lines);
        match (lines, allowed.get(path.as_str())) {
            (lines, _) if lines > TOO_LONG_FILE => complaints
                .push(format!("{path}: {lines} lines, over {TOO_LONG_FILE}: split it by what changes together")),
            (lines, None) if lines > LONG_FILE => {
                complaints.push(format!(
                    "{path}: {lines} lines, over {LONG_FILE}: split it, or give the reason in LONG_FILES"
                ));
            }
            (lines, Some(_)) if lines <= LONG_FILE => {
                complaints.push(format!("{path}: {lines} lines: take it out of LONG_FILES"))
            }
            _ => {}
        }
    }
    let known: BTreeSet<String> = sources(&["rs", "go"]).into_iter().map(|(path, _)| path).collect();
    complaints.extend(
        allowed
            .keys()
            .filter(|path| !known.contains(**path))
            .map(|path| format!("{path}: named in LONG_FILES, but gone")),
    );
    sizes.sort_unstable();
    let median = sizes[sizes.len() / 2];
    if median > MEDIAN_LINES {
        complaints.push(format!("the median file has {median} lines, over {MEDIAN_LINES}"));
    }
    none(&complaints);
}

#[test]
fn pure_crates_link_nothing_that_has_a_clock_a_socket_or_a_runtime() {
    let mut complaints = Vec::new();
    for name in PURE {
        let links = linked(name);
        for dependency in IMPURE.iter().filter(|dependency| links.contains(**dependency)) {
            if !PURE_ENOUGH.iter().any(|(crate_name, allowed, _)| crate_name == name && allowed == dependency) {
                complaints.push(format!("{name} links {dependency}: pass its result as an argument instead"));
            }
        }
        for (_, unused, _) in PURE_ENOUGH.iter().filter(|(crate_name, ..)| crate_name == name) {
            if !links.contains(*unused) {
                complaints.push(format!("{name} no longer links {unused}: take it out of PURE_ENOUGH"));
            }
        }
    }
    none(&complaints);
}

#[test]
fn pure_crates_name_no_clock_file_environment_or_thread() {
    let metadata = metadata();
    let mut complaints = Vec::new();
    for name in PURE {
        let package = metadata.workspace_packages().into_iter().find(|package| package.name.as_str() == *name).unwrap();
        let folder = package.manifest_path.parent().unwrap().join("src").into_std_path_buf();
        for (path, text) in sources_in(&folder, &["rs"]) {
            // A binary (`crds` writes its YAML) and unit tests may touch the world; the library may not.
            if path.contains("/bin/") || path.ends_with("tests.rs") || path.contains("/tests/") {
                continue;
            }
            let library = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (number, line) in code_lines(library) {
                for word in IMPURE_CODE.iter().filter(|word| line.contains(**word)) {
                    complaints
                        .push(format!("{path}:{number}: `{word}` in a pure crate: take its result as an argument"));
                }
            }
        }
    }
    none(&complaints);
}

#[test]
fn dependencies_follow_the_arrows_of_the_architecture() {
    let metadata = metadata();
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let members: BTreeSet<&str> =
        metadata.workspace_packages().into_iter().map(|package| package.name.as_str()).collect();
    let mut complaints = Vec::new();
    for package in metadata.workspace_packages() {
        let Some(allowed) = arrows.get(package.name.as_str()) else {
            complaints.push(format!("{}: not in ARROWS: say there what it may build on", package.name));
            continue;
        };
        for dependency in
            package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development)
        {
            if members.contains(dependency.name.as_str()) && !allowed.contains(&dependency.name.as_str()) {
                complaints.push(format!("{} depends on {}: against ARCHITECTURE.md", package.name, dependency.name));
            }
        }
    }
    none(&complaints);
}

#[test]
fn the_data_plane_links_nothing_of_kubernetes() {
    let links = linked("portcullis-dataplane");
    none(
        &KUBERNETES
            .iter()
            .filter(|name| links.contains(**name))
            .map(|name| format!("portcullis-dataplane links {name}"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let mut complaints = Vec::new();
    for package in metadata().workspace_packages() {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        if !manifest.contains("[lints]\nworkspace = true") {
            complaints.push(format!("{}: add `[lints]` with `workspace = true`", package.manifest_path));
        }
    }
    none(&complaints);
}

#[test]
fn every_queue_is_bounded() {
    none(&mentions(
        &["unbounded_channel", "mpsc::unbounded", "UnboundedSender", "UnboundedReceiver", "channel::unbounded"],
        "give the queue a bound",
    ));
}

#[test]
fn nothing_is_left_for_later() {
    none(&mentions(&["TODO", "FIXME", "XXX", "#[ignore"], "finish it, or file it and say what the code does today"));
}

#[test]
fn every_page_of_the_documentation_is_linked_from_its_front_page() {
    let docs = root().join("docs");
    let front = fs::read_to_string(docs.join("README.md")).expect("docs/README.md is the front page");
    let mut complaints = Vec::new();
    for (path, _) in sources_in(&docs, &["md"]) {
        let page = path.strip_prefix("docs/").unwrap().to_owned();
        if page != "README.md" && !front.contains(&format!("({page}")) {
            complaints.push(format!("{path}: no link to it in docs/README.md"));
        }
    }
    none(&complaints);
}

#[test]
fn the_readme_names_every_feature_that_a_gateway_class_can_publish() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let named: BTreeSet<&str> = readme.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let missing = all_features().filter(|feature| !named.contains(feature));
    none(&missing.map(|feature| format!("README.md does not name {feature}")).collect::<Vec<_>>());
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut complaints = Vec::new();
    for (path, text) in sources(&["md"]) {
        let folder = root().join(&path).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            let outside = file.is_empty() || file.contains("://") || file.starts_with("mailto:") || file.contains(' ');
            if !outside && !folder.join(file).exists() {
                complaints.push(format!("{path}: the link to {target} leads nowhere"));
            }
        }
    }
    none(&complaints);
}

fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn mentions(words: &[&str], way_out: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in sources(&["rs", "go", "proto", "sh"]) {
        if path == "tests/tests/hygiene.rs" {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            found.extend(
                words
                    .iter()
                    .filter(|word| line.contains(**word))
                    .map(|word| format!("{path}:{}: `{word}`: {way_out}", number + 1)),
            );
        }
    }
    found
}

/// Lines with their numbers, without comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Names of everything that `name` links in a build of its own: without the features that tests of others ask for.
fn linked(name: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", name])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let names: BTreeSet<String> = lines.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    assert!(names.contains(name), "cargo tree says nothing of {name}");
    names
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(vec!["--locked".to_owned()])
        .exec()
        .unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(extensions: &[&str]) -> Vec<(String, String)> {
    sources_in(&root(), extensions)
}

/// Every file below `folder` with one of the extensions: its path from the root, and its text. Build output and hidden folders are left out.
fn sources_in(folder: &Path, extensions: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "corpus" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted)) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_string_lossy().into_owned(), text));
            }
        }
    }
    found.sort();
    found
}
