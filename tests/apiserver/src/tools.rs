//! Where the programs are.

use std::env;
use std::path::PathBuf;

/// The folder that `e2e/build-tools.sh` links every program into.
fn folder() -> PathBuf {
    let cache = match env::var_os("XDG_CACHE_HOME") {
        Some(cache) if !cache.is_empty() => PathBuf::from(cache),
        _ => PathBuf::from(env::var_os("HOME").expect("HOME is set")).join(".cache"),
    };
    cache.join("portcullis/tools/bin")
}

/// The path of a program of the `kubernetes` set.
///
/// # Panics
/// If it has not been built, with the command that does so.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(
        path.exists(),
        "{} is missing: run `e2e/build-tools.sh kubernetes` (`make test` does), then run this test again",
        path.display()
    );
    path
}
