//! Every example of the documentation is valid. What stands in the pages themselves is for a cluster: `tests/apiserver` applies it to one.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use portcullis_cli::quickstart;
use portcullis_cli::standalone::{Verdict, check};
use portcullis_translate::Timestamp;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

fn verdict(example: &str) -> Verdict {
    check(&docs().join("examples").join(example), Timestamp::now()).unwrap()
}

#[test]
fn every_example_passes_check() {
    let mut count = 0;
    for entry in fs::read_dir(docs().join("examples")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let verdict = verdict(&name);
        let problems: Vec<String> = verdict.pass.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, Vec::<String>::new(), "{name}");
        assert!(verdict.pass.objects > 1, "{name}");
        count += 1;
    }
    assert!(count >= 5);
}

/// What the types of a kind have no field for is kept on the way from a file as it is on the way from a cluster: left out,
/// it would open what it closes.
#[test]
fn a_listener_of_a_file_keeps_its_filters() {
    let snapshot = verdict("external-authorization").pass.snapshot;
    let asked: Vec<_> = snapshot.config.listeners.values().filter(|listener| !listener.external.is_empty()).collect();
    assert!(matches!(asked[..], [listener] if &*listener.key.gateway.name == "tenants"), "{asked:?}");
}

#[test]
fn the_quickstart_uses_the_ports_that_its_command_serves() {
    let snapshot = verdict("quickstart").pass.snapshot;
    let listeners: Vec<u16> = snapshot.config.listeners.values().map(|listener| listener.port).collect();
    assert_eq!(listeners, [quickstart::PORT]);
    let mut backends: Vec<(String, u16)> =
        snapshot.config.backends.keys().map(|key| (key.name.to_string(), key.port)).collect();
    backends.sort_by_key(|(_, port)| *port);
    let expected: Vec<(String, u16)> =
        quickstart::BACKENDS.iter().map(|(name, port)| ((*name).to_owned(), *port)).collect();
    assert_eq!(backends, expected);
}

#[test]
fn links_between_pages_lead_somewhere() {
    let mut pages = vec![docs()];
    while let Some(path) = pages.pop() {
        if path.is_dir() {
            pages.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path).unwrap();
            for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
                if !link.contains("://") && !link.is_empty() {
                    let target = path.parent().unwrap().join(link);
                    assert!(target.exists(), "{}: {link} leads nowhere", path.display());
                }
            }
        }
    }
}
