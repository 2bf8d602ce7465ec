//! The head of a report: what ran where.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Name and value, in order.
#[must_use]
pub fn describe(repository: &Path) -> Vec<(&'static str, String)> {
    let git = |arguments: &[&str]| printed(Command::new("git").arg("-C").arg(repository).args(arguments));
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]);
    let commit =
        git(&["rev-parse", "--short=12", "HEAD"]) + if changed.is_empty() { "" } else { " with uncommitted changes" };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        ("date", printed(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]))),
        ("commit", commit),
        ("build", "release: fat LTO, one codegen unit".to_owned()),
        ("machine", format!("{}, {cores} cores, {:.0} GiB", processor(), memory_gib())),
        ("kernel", printed(Command::new("uname").arg("-sr"))),
        ("rust", printed(Command::new("rustc").arg("--version"))),
        ("valgrind", printed(Command::new("valgrind").arg("--version"))),
        ("nginx", nginx()),
    ]
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, name)| name)
        .to_owned()
}

fn memory_gib() -> f64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.unwrap_or_default() / 1024.0 / 1024.0
}

fn nginx() -> String {
    let output = ["/usr/sbin/nginx", "nginx"].iter().find_map(|program| Command::new(program).arg("-v").output().ok());
    output.map_or_else(
        || "missing".to_owned(),
        |output| String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("nginx version: ").to_owned(),
    )
}

fn printed(command: &mut Command) -> String {
    command
        .output()
        .map_or_else(|_| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
