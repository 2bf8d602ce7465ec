//! Prints our CustomResourceDefinitions as YAML, or writes them where they are kept.
//!
//! `crds` writes `crds/yaml` and `charts/portcullis-crds/templates`; `--check` compares them instead and fails on a
//! difference; `--print` prints all of them; `--write DIR` writes to another folder.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use portcullis_crds::{Manifest, manifests};

const USAGE: &str = "usage: crds [--check | --print | --write DIR]";

fn main() -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if the terminal is gone.
            let _ = writeln!(io::stderr(), "crds: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> io::Result<()> {
    let manifests = manifests().map_err(io::Error::other)?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => folders().iter().try_for_each(|folder| write(folder, &manifests)),
        ["--check"] => folders().iter().try_for_each(|folder| check(folder, &manifests)),
        ["--write", folder] => write(Path::new(folder), &manifests),
        ["--print"] => {
            let mut out = io::stdout().lock();
            manifests.iter().try_for_each(|manifest| write!(out, "---\n{}", manifest.yaml))
        }
        _ => Err(io::Error::other(USAGE)),
    }
}

fn folders() -> [PathBuf; 2] {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    [root.join("yaml"), root.join("../charts/portcullis-crds/templates")]
}

fn write(folder: &Path, manifests: &[Manifest]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    manifests.iter().try_for_each(|manifest| std::fs::write(folder.join(&manifest.file_name), &manifest.yaml))
}

fn check(folder: &Path, manifests: &[Manifest]) -> io::Result<()> {
    for manifest in manifests {
        let path = folder.join(&manifest.file_name);
        if std::fs::read_to_string(&path).ok().as_deref() != Some(&manifest.yaml) {
            return Err(io::Error::other(format!("{} is out of date; run `make crds`", path.display())));
        }
    }
    Ok(())
}
