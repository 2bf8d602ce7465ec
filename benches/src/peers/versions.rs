//! Which peers a report speaks of.

use std::path::Path;
use std::process::Command;

use super::{Programs, haproxy};

/// Name and version, in the order of the report.
#[must_use]
pub fn versions(programs: &Programs) -> Vec<(&'static str, String)> {
    let wheel = |program: Option<&Path>, argument: &str, line: &str| {
        program.map_or_else(|| "not installed".to_owned(), |program| first(program, argument, line))
    };
    vec![
        ("haproxy", first(&haproxy(), "-v", "version")),
        ("envoy", wheel(programs.envoy.as_deref(), "--version", "version:")),
        ("traefik", wheel(programs.traefik.as_deref(), "version", "Version:")),
        ("wrk", first(Path::new("wrk"), "-v", "wrk")),
        ("h2load", first(Path::new("h2load"), "--version", "h2load")),
        ("pingora", "0.9.1, stock HttpProxy (benches/src/bin/peer_pingora.rs)".to_owned()),
    ]
}

/// The first line of what it prints that holds `part`, without the folder that it calls itself by.
fn first(program: &Path, argument: &str, part: &str) -> String {
    let Ok(output) = Command::new(program).arg(argument).output() else { return "not installed".to_owned() };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| line.contains(part)).unwrap_or("of unknown version").trim();
    let words = line.split_whitespace().filter(|word| !word.starts_with('/') && !word.starts_with("http"));
    words.collect::<Vec<_>>().join(" ")
}
