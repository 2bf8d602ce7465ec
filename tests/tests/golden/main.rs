//! Golden cases: `tests/golden/<topic>/<case>/{in,ir,status,requests}.yaml`.
//!
//! * `in.yaml`: objects as users write them, several documents; at most one of kind `Settings`
//!   (`{kind: Settings, bindAddresses: true, now: 2027-01-01T00:00:00Z}`) sets what is no object's.
//! * `ir.yaml`, `status.yaml`: what `translate` makes of them.
//! * `requests.yaml`: a list of `ask`s (by hand) and their `answer`s by the real router. The router is given what came
//!   through the wire: every resource is encoded and decoded before it is compiled. Of connections to stream listeners
//!   it is told which rule has them.
//!
//! `GOLDEN=refresh cargo test -p portcullis-tests --test golden` rewrites what is generated; read the diff. A new case
//! needs no code.

#![allow(clippy::unwrap_used)]

mod answer;
mod ask;
mod case;
mod stream;

use std::path::{Path, PathBuf};

use case::Case;

/// Cases and lines of input are what a reader has to keep in mind: prefer extending a case to adding one.
const MAX_CASES: usize = 60;
const MAX_INPUT_LINES: usize = 220;

#[test]
fn every_case_is_translated_carried_and_routed_as_written() {
    let refresh = std::env::var("GOLDEN").is_ok_and(|value| value == "refresh");
    let mut failures = Vec::new();
    for folder in folders() {
        let case = Case::load(&folder);
        if let Err(why) = if refresh { case.refresh() } else { case.check() } {
            failures.push(format!("{}: {why}", case.name));
        }
    }
    assert!(failures.is_empty(), "{}\n(GOLDEN=refresh rewrites what is generated)", failures.join("\n\n"));
}

#[test]
fn the_corpus_keeps_its_budget() {
    let folders = folders();
    assert!((25..=MAX_CASES).contains(&folders.len()), "{} cases", folders.len());
    for folder in &folders {
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        files.sort();
        assert_eq!(files, ["in.yaml", "ir.yaml", "requests.yaml", "status.yaml"], "{}", folder.display());
        let lines = std::fs::read_to_string(folder.join("in.yaml")).unwrap().lines().count();
        assert!(lines <= MAX_INPUT_LINES, "{} has {lines} lines", folder.display());
    }
}

#[test]
fn no_generated_file_shows_a_private_key() {
    for folder in folders() {
        let ir = std::fs::read_to_string(folder.join("ir.yaml")).unwrap();
        assert!(!ir.contains("private_key:") || ir.contains("<redacted>"), "{}", folder.display());
    }
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let list = |folder: &Path| {
        let mut list: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        list.retain(|path| path.is_dir());
        list.sort();
        list
    };
    list(&root).iter().flat_map(|topic| list(topic)).collect()
}
